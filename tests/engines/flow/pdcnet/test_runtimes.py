"""The graphs of one size in ONNX Runtime, against torch; and graphs that are missing, or damaged."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor

from support.pdc_exported import SIZE, Exported
from support.pdc_weights import network
from support.scenes import noise_texture
from warpaint.engines.flow.pdcnet import runtimes
from warpaint.engines.flow.pdcnet.graphs import FILTERS, GRAPHS, OPSET, PYRAMIDS
from warpaint.engines.flow.pdcnet.making import by_onnx
from warpaint.engines.flow.pdcnet.network import LARGE_TILE, Field, Filters, Inputs, Pyramids, inputs
from warpaint.engines.flow.pdcnet.runtimes import (
    MOST_TOGETHER,
    GraphRuntime,
    Run,
    TorchRuntime,
    most_on,
    most_together,
    onnx_graph,
    single_precision,
)
from warpaint.engines.flow.pdcnet.shelf import Size
from warpaint.engines.flow.pdcnet.unavailable import UnavailableError
from warpaint.proto.errors import Code, RefusedError

CPU = torch.device("cpu")
HOW = "no graphs for that; this makes them: command"

# What two ways to compute the same in single precision may differ by, as a share of the largest number.
FEATURES_OFF, FIELD_OFF = 2e-6, 2e-5
MEAN_FLOW_PX = 1e-3


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def graphs(pdc_exported: Exported) -> GraphRuntime:
    """The shared graphs in ONNX Runtime."""
    shelf = pdc_exported.shelf
    return GraphRuntime(
        "onnx", CPU, lambda size: by_onnx(shelf, size, CPU), lambda size: "" if shelf.has(size) else HOW
    )


# What torch computes, with the tiles of the graphs, which the layout of filters depends on


@cache
def given() -> list[Inputs]:
    """Three frames of a pan as the network sees them."""
    width, height = SIZE
    wall = torch.tensor(noise_texture((width + 20, height + 20), 1)).permute(2, 0, 1)[None]
    return [inputs(wall[..., 2 * i : 2 * i + height, 3 * i : 3 * i + width], SIZE) for i in range(3)]


@cache
def by_torch() -> TorchRuntime:
    return TorchRuntime(network(tile=LARGE_TILE), CPU)


@cache
@torch.inference_mode()
def seen() -> list[Pyramids]:
    return [by_torch().encode(each) for each in given()]


@cache
@torch.inference_mode()
def filters() -> list[Filters]:
    return [by_torch().prepare(each) for each in seen()]


def assert_near(made: Sequence[Tensor], expected: Sequence[Tensor], share: float) -> None:
    for one, other in zip(made, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=share * float(other.abs().max()))


def together(*tensors: Tensor) -> Tensor:
    return torch.cat(tensors)


def test_features_of_a_picture_and_of_a_batch_are_those_of_torch(graphs: GraphRuntime) -> None:
    assert_near(graphs.encode(given()[0]), seen()[0], FEATURES_OFF)
    batch = Pyramids(*map(together, *seen()[:2]))
    assert_near(graphs.encode(Inputs(*map(together, *given()[:2]))), batch, FEATURES_OFF)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_filters_are_those_of_torch(graphs: GraphRuntime, count: int) -> None:
    targets = Pyramids(*map(together, *seen()[:count]))
    assert_near(graphs.prepare(targets), Filters(*map(together, *filters()[:count])), FEATURES_OFF)


def test_the_field_of_a_pair_is_that_of_torch(graphs: GraphRuntime) -> None:
    first, second, _ = seen()
    with torch.inference_mode():
        expected = by_torch().match(first, second, filters()[0])
    found = graphs.match(first, second, filters()[0])
    assert_near(found, expected, FIELD_OFF)
    assert (found.flow - expected.flow).abs().mean() <= MEAN_FLOW_PX


def test_batches_of_pairs_equal_one_by_one(graphs: GraphRuntime) -> None:
    """Each pair has another target and another source, so that none can be taken for its neighbour."""
    targets, sources = seen(), [*seen()[1:], seen()[0]]
    alone = [graphs.match(*each) for each in zip(targets, sources, filters(), strict=True)]
    for count in (2, 3):
        found = graphs.match(
            Pyramids(*map(together, *targets[:count])),
            Pyramids(*map(together, *sources[:count])),
            Filters(*map(together, *filters()[:count])),
        )
        assert_near(found, Field(*map(together, *alone[:count])), FIELD_OFF)
    assert float((alone[0].flow - alone[1].flow).abs().mean()) > 1


def test_what_is_not_contiguous_is_taken(graphs: GraphRuntime) -> None:
    """As targets are that are expanded over their sources."""
    target = seen()[0]
    twice = Pyramids(*(each.expand(2, *each.shape[1:]) for each in target))
    assert_near(graphs.prepare(twice), Filters(*(together(each, each) for each in filters()[0])), FEATURES_OFF)


# The files


@cache
def model(path: Path) -> onnx.ModelProto:
    return onnx.load(path)


def described(values: Sequence[onnx.ValueInfoProto]) -> dict[str, tuple[int | str, ...]]:
    """Shapes by name; an open dimension by its own name."""
    for each in values:
        assert each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    return {
        each.name: tuple(side.dim_param or side.dim_value for side in each.type.tensor_type.shape.dim)
        for each in values
    }


def shapes() -> Mapping[str, tuple[int, ...]]:
    """The shape of each tensor of a picture or pair, without the batch's dimension, as torch has it."""
    width, height = SIZE
    sides = {"f1": (128, height // 4, width // 4), "f2": (256, height // 8, width // 8)}
    sides |= {"f3": (256, 32, 32), "f4": (512, 16, 16)}
    field = {"flow": 2, "log_variance": 1, "weights": 2}
    return {
        "fine": (3, height, width),
        "coarse": (3, 256, 256),
        **{f"{side}{name}": shape for name, shape in sides.items() for side in ("", "target_", "source_")},
        **{name: tuple(each.shape[1:]) for name, each in zip(FILTERS, filters()[0], strict=True)},
        **{name: (channels, height // 4, width // 4) for name, channels in field.items()},
    }


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_has_the_inputs_and_outputs_that_it_is_known_by(pdc_exported: Exported, name: str) -> None:
    graph = model(pdc_exported.shelf.graph(SIZE, name)).graph
    for ends, values in zip(GRAPHS[name], (graph.input, graph.output), strict=True):
        found = described(values)
        assert tuple(found) == ends
        assert {each: shape[1:] for each, shape in found.items()} == {each: shapes()[each] for each in ends}
        assert {shape[0] for shape in found.values()} == {"batch"}


def test_what_a_graph_gives_the_next_takes() -> None:
    assert GRAPHS["encode"].outputs == PYRAMIDS
    assert GRAPHS["prepare"].inputs == PYRAMIDS[:3]
    assert GRAPHS["match"].inputs[-3:] == GRAPHS["prepare"].outputs == FILTERS


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_says_what_it_was_made_from(pdc_exported: Exported, name: str) -> None:
    file = model(pdc_exported.shelf.graph(SIZE, name))
    assert {each.key: each.value for each in file.metadata_props} == {
        "weights_sha256": pdc_exported.weights.digest,
        "preset": "fast",
        "precision": "fp32",
    }
    assert {each.domain: each.version for each in file.opset_import} == {"": OPSET}


# Sizes


def counting(opened: list[Size]) -> GraphRuntime:
    """A runtime whose graphs give what they are given; there are none for 512x512."""

    def open_(size: Size) -> Mapping[str, Run]:
        opened.append(size)
        width, height = size
        made = {name: torch.ones(1, 2, height // 4, width // 4) for name in ("flow", "log_variance", "weights")}
        return {"match": lambda tensors: {**made, "other": tensors["source_f1"]}}

    return GraphRuntime("graphs", CPU, open_, lambda size: HOW if size == (512, 512) else "")


def test_graphs_are_opened_once_a_size_when_its_pictures_come() -> None:
    opened: list[Size] = []
    runtime = counting(opened)
    assert runtime.sizes == []
    for width in (256, 320, 256):
        f1 = torch.zeros(1, 1, 264 // 4, width // 4)
        field = runtime.match(Pyramids(f1, f1, f1, f1), Pyramids(f1, f1, f1, f1), Filters(f1, f1, f1))
        assert field.flow.shape[2:] == f1.shape[2:]
    assert opened == runtime.sizes == [(256, 264), (320, 264)]


def test_a_size_without_graphs_is_refused_with_the_command_that_makes_them() -> None:
    opened: list[Size] = []
    runtime = counting(opened)
    assert runtime.complaint((256, 256)) == ""
    assert runtime.complaint((512, 512)) == HOW
    with pytest.raises(RefusedError, match="this makes them: command") as caught:
        runtime.open((512, 512))
    assert caught.value.code is Code.UNSUPPORTED
    assert opened == runtime.sizes == []


def test_what_is_open_goes_on_though_its_files_are_taken_away() -> None:
    complaints = [""]
    runtime = GraphRuntime("graphs", CPU, lambda size: {}, lambda size: complaints[-1])
    runtime.open((256, 256))
    complaints.append(HOW)
    assert runtime.complaint((256, 256)) == ""
    assert runtime.complaint((264, 256)) == HOW


@pytest.mark.parametrize("content", [b"", b"no graph at all", "cut"], ids=["empty", "junk", "cut"])
def test_a_damaged_graph_is_refused_in_words(tmp_path: Path, pdc_exported: Exported, content: bytes | str) -> None:
    path = tmp_path / "prepare.onnx"
    whole = pdc_exported.shelf.graph(SIZE, "prepare").read_bytes()
    path.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    with pytest.raises(RefusedError, match=rf"ONNX Runtime does not take '{path}'") as caught:
        onnx_graph(path, CPU, 1)
    assert caught.value.code is Code.UNKNOWN_ENGINE


def test_a_gpu_is_given_as_much_as_its_memory_is_likely_to_hold() -> None:
    assert most_on(CPU) == most_together((256, 256), 1) == 1
    assert most_on(torch.device("cuda")) == most_together((256, 256)) == most_together((768, 512)) == MOST_TOGETHER
    assert most_together((1280, 720)) == 3
    assert most_together((4096, 2160)) == 1


def test_what_is_single_precision_is_computed_as_that_and_all_else_is_left_as_it_is() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

    def flags() -> tuple[bool, ...]:
        return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32

    before = flags()
    with single_precision():
        assert flags() == (*before[:3], False, False)
    assert flags() == before
    assert before[0]


def test_a_session_that_is_not_on_the_gpu_is_not_given_its_memory(
    pdc_exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime falls back to the CPU without a word where CUDA's libraries are missing."""
    monkeypatch.setattr(runtimes, "_provider", lambda _: "CPUExecutionProvider")
    with pytest.raises(UnavailableError, match="it finds no GPU"):
        onnx_graph(pdc_exported.shelf.graph(SIZE, "prepare"), torch.device("cuda"), 1)


def test_torch_takes_any_size() -> None:
    assert by_torch().complaint((8192, 8)) == ""
    assert list(by_torch().sizes) == []
