import sys

import pytest

from support.daemon import PLUGINS
from warpaint.engines.painters.filters import Filters
from warpaint.engines.registry import load_flow, load_painter
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
        ("nothing", "there are .*filters, identity"),
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
