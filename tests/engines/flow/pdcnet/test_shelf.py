"""Where graphs and plans lie: paths that tell what they are of, and what is found beside the like."""

import re
from pathlib import Path

import pytest

from warpaint.engines.flow.pdcnet.graphs import GRAPHS
from warpaint.engines.flow.pdcnet.plans import Stamp
from warpaint.engines.flow.pdcnet.shelf import Shelf, default_folder, said

WEIGHTS = "0123456789abcdef" * 4


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path, WEIGHTS, "fast", "fp32")


def whole() -> dict[str, bytes]:
    return {name: name.encode() for name in GRAPHS}


def test_graphs_lie_by_weights_preset_precision_and_size(shelf: Shelf, tmp_path: Path) -> None:
    place = shelf.graph((768, 512), "match").relative_to(tmp_path).parts
    assert re.fullmatch(r"0123456789ab-fast-fp32-[0-9a-f]{12}", place[0])
    assert place[1:] == ("768x512", "match.onnx")
    others = [
        Shelf(tmp_path, WEIGHTS[::-1], "fast", "fp32"),
        Shelf(tmp_path, WEIGHTS, "paper", "fp32"),
        Shelf(tmp_path, WEIGHTS, "fast", "mixed"),
    ]
    shelf.save((256, 256), whole())
    assert [each.has((256, 256)) for each in (shelf, *others)] == [True, False, False, False]


def test_plans_lie_beside_the_graphs_by_library_version_and_gpu(shelf: Shelf) -> None:
    made = Stamp(
        graph="0" * 64,
        size=(512, 768),
        precision="fp32",
        library="tensorrt",
        version="10.13.0",
        gpu="NVIDIA GeForce RTX 4090, 8.9",
        batches=(1, 2, 8),
    )
    path = shelf.plan((768, 512), "match", made)
    assert path.parent.parent == shelf.graph((768, 512), "match").parent
    assert (path.parent.name, path.name) == ("tensorrt-10.13.0_NVIDIA_GeForce_RTX_4090_8.9", "match.plan")
    for other in ({"version": "10.14.0"}, {"gpu": "NVIDIA A100, 8.0"}, {"library": "tensorrt_rtx"}):
        assert shelf.plan((768, 512), "match", made.model_copy(update=other)) != path


def test_graphs_appear_whole_and_nothing_else_does(shelf: Shelf) -> None:
    shelf.save((256, 256), whole())
    shelf.save((256, 256), {**whole(), "encode": b"anew"})
    place = shelf.graph((256, 256), "encode").parent
    assert {each.name: each.read_bytes() for each in place.iterdir()} == {
        "encode.onnx": b"anew",
        "prepare.onnx": b"prepare",
        "match.onnx": b"match",
    }


def test_sizes_are_those_that_are_whole_smallest_first(shelf: Shelf) -> None:
    assert shelf.sizes == []
    for size in ((768, 512), (256, 264), (264, 256), (256, 256)):
        shelf.save(size, whole())
    place = shelf.graph((256, 256), "match").parent.parent
    for junk in ("x", "x256", "512x", "1x2x3", "-8x256", "ax256", ".graphs-x1", "256x320", "٣x٣"):
        (place / junk).mkdir()
    (place / "1024x1024").write_text("a file")
    shelf.save((512, 512), {"encode": b"alone"})
    assert shelf.sizes == [(256, 256), (256, 264), (264, 256), (768, 512)]


def test_a_size_is_written_width_first() -> None:
    assert said((768, 512)) == "768x512"


def test_by_default_it_is_this_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "warpaint" / "pdcnet"
