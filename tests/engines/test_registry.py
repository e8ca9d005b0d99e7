import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

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


# PDCNet+, whose weights are looked at first


TOLD_BY = "local_corr.filter_initializer.scaling"  # a tensor of the network's


def pdcnet_refused(weights: Path | None) -> str:
    with pytest.raises(RefusedError) as caught:
        load_flow("pdcnet", EngineSettings(pdcnet_weights=weights, device="cpu"))
    assert caught.value.code is Code.UNKNOWN_ENGINE
    return str(caught.value)


def test_pdcnet_is_loaded_with_its_weights(pdc_file: Path) -> None:
    flow = load_flow("pdcnet", EngineSettings(pdcnet_weights=pdc_file, pdcnet_preset="fast", device="cpu"))
    assert f"PDCNet+ by torch {torch.__version__} on cpu" in getattr(flow, "description", "")


def test_pdcnet_without_weights_says_how_to_make_them() -> None:
    said = pdcnet_refused(None)
    assert "--pdcnet-weights" in said
    assert "`python -m warpaint.engines.flow.convert PDCNet_plus_m.pth.tar FILE.safetensors`" in said


def written(content: bytes) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(content), None)[1]


def cut(path: Path) -> None:
    save_file({TOLD_BY: np.ones(100, np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("w.safetensors", lambda path: None, "cannot be read: No such file"),
        ("w.safetensors", Path.mkdir, "cannot be read: Is a directory"),
        ("w.pth.tar", written(b"PK\x03\x04 and so on"), "convert it once with `python -m warpaint"),
        ("w.pth.tar", written(b"\x80\x02\x8a\x0al\xfc"), "is a torch file, which could run code"),
        ("w.safetensors", written(b""), "is not a safetensors file"),
        ("w.safetensors", written(b"a picture, perhaps"), "is not a safetensors file"),
        ("w.safetensors", cut, "is cut short or damaged"),
        ("w.safetensors", written(b"\x08" + bytes(7) + b"{no json"), "is cut short or damaged"),
        (
            "w.safetensors",
            lambda path: save_file({"unet.weight": np.ones(3, np.float32)}, path),
            "holds other weights than PDCNet+'s: it has no tensor 'local_corr.filter_initializer.scaling'",
        ),
        (
            "w.safetensors",
            lambda path: save_file({TOLD_BY: np.ones(3, np.float32)}, path),
            "has others: 'local_corr.filter_initializer.scaling' (3,) float32, not (1,) float32",
        ),
    ],
    ids=["missing", "folder", "zip", "pickle", "empty", "junk", "cut", "no header", "another's", "of a part"],
)
def test_pdcnet_with_a_file_that_is_not_its_weights(
    tmp_path: Path, name: str, write: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / name
    write(path)
    complaint = pdcnet_refused(path)
    assert str(path) in complaint
    assert said in complaint


@pytest.mark.parametrize(("package", "module"), [("safetensors", "files"), ("cachetools", "engine")])
def test_pdcnet_without_its_packages_says_what_to_install(
    pdc_file: Path, monkeypatch: pytest.MonkeyPatch, package: str, module: str
) -> None:
    monkeypatch.delitem(sys.modules, f"warpaint.engines.flow.pdcnet.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    assert pdcnet_refused(pdc_file) == (
        f"the flow 'pdcnet' needs the package {package}: pip install 'warpaint[pdcnet]'"
    )


def test_what_there_is_is_listed() -> None:
    with pytest.raises(RefusedError, match=r"there are .*dis, pdcnet"):
        load_flow("raft")
