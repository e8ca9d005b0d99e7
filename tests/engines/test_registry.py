import sys

import pytest

from support.daemon import PLUGINS
from warpaint.engines.painters.filters import Filters
from warpaint.engines.registry import PAINTERS, any_brief, brief_rule, load_flow, load_painter
from warpaint.engines.settings import EngineSettings
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, RefusedError


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.delitem(sys.modules, "painters_under_test", raising=False)


def test_built_in_engines_are_loaded_by_name() -> None:
    assert isinstance(load_painter("filters"), Filters)
    assert load_flow("dis")


def test_a_third_party_painter_is_loaded_by_module_and_class() -> None:
    assert load_painter("painters_under_test:Negative").looks == ("plain",)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing", "there are .*diffusion, filters, identity"),
        ("no_such_module:Class", "ModuleNotFoundError"),
        ("painters_under_test:Missing", "AttributeError"),
        ("painters_under_test:CannotBeMade", "RuntimeError: no weights"),
        ("painters_under_test:NoPainter", "needs a method `paint`"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why) as caught:
        load_painter(name)
    assert caught.value.code is Code.UNKNOWN_ENGINE


def test_a_painter_is_no_flow_engine() -> None:
    with pytest.raises(RefusedError, match="`encode` and `match`"):
        load_flow("painters_under_test:Negative")


def test_a_painter_is_made_with_the_engines_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[EngineSettings] = []

    def made(settings: EngineSettings) -> Filters:
        given.append(settings)
        return Filters()

    monkeypatch.setitem(PAINTERS, "filters", made)
    settings = EngineSettings(device="cpu")
    load_painter("filters", settings)
    load_painter("filters")
    assert given == [settings, EngineSettings()]


@pytest.mark.parametrize("name", ["filters", "identity", "painters_under_test:Negative", "no_such_module:Class"])
def test_a_painter_without_rules_follows_any_brief(name: str) -> None:
    rule = brief_rule(name, EngineSettings())
    assert rule is any_brief
    assert rule(Brief(loras=("ink",), strength=0.0)) == ""


def test_the_rule_of_a_painter_looks_at_its_settings() -> None:
    """Without loading it: here its models are nowhere."""
    brief = Brief(prompt="a harbour", loras=("ink:0.5",))
    held = EngineSettings.model_validate({"model_loras": ["/models/ink.safetensors"]})
    assert brief_rule("diffusion", held)(brief) == ""
    assert "'ink'" in brief_rule("diffusion", EngineSettings())(brief)
