"""Graphs that are checked when they are made, and plans of them: built here, where there is no GPU to run them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from support.pdc_exported import SIZE, Exported, in_onnx, shelf_in
from support.pdc_weights import network, state_dict
from warpaint.engines.flow.pdcnet import making, tensorrt
from warpaint.engines.flow.pdcnet.graphs import GRAPHS
from warpaint.engines.flow.pdcnet.making import (
    MEAN_FLOW_MANY_PX,
    MEAN_FLOW_PX,
    MOST_P_R_OFF,
    MOST_P_R_OFF_MANY,
    Difference,
    difference,
    load_plans,
    make_graphs,
    make_plans,
)
from warpaint.engines.flow.pdcnet.network import CHANNELS, LARGE_TILE, Field
from warpaint.engines.flow.pdcnet.plans import Built, StalePlanError, load_plan, save_plan
from warpaint.engines.flow.pdcnet.presets import PresetName
from warpaint.engines.flow.pdcnet.runtimes import MOST_TOGETHER
from warpaint.engines.flow.pdcnet.shelf import Shelf
from warpaint.engines.flow.pdcnet.tensorrt import BuildError, Library
from warpaint.engines.flow.pdcnet.weights import Weights
from warpaint.proto.errors import RefusedError


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def rtx() -> Library:
    return tensorrt.library("tensorrt_rtx")


# How far graphs are from torch


def test_what_is_exported_is_torch_but_for_rounding(pdc_exported: Exported) -> None:
    found = pdc_exported.difference
    assert found.is_rounding
    assert found.allowed_p_r_max == MOST_P_R_OFF
    assert found.allowed_flow_mean == MEAN_FLOW_PX
    assert 0 < found.flow_mean < found.flow_max < 0.1
    assert 0 < found.p_r_max < 1e-3


def test_graphs_of_other_weights_are_found_out(pdc_exported: Exported, tmp_path: Path) -> None:
    """Though but one number of 18 million differs, and by a thousandth: a step of GOCor's."""
    state = state_dict()
    state["local_corr.filter_optimizer.log_step_length"] += 1e-3
    save_file(state, tmp_path / "other.safetensors")
    other = Weights(tmp_path / "other.safetensors")
    assert other.digest != pdc_exported.weights.digest
    found = difference(other, pdc_exported.shelf, SIZE, in_onnx(pdc_exported.shelf))
    assert not found.is_rounding
    assert found.flow_mean > found.allowed_flow_mean


NEAR = Difference(flow_mean=1e-4, flow_max=1e-2, p_r_max=1e-5, allowed_flow_mean=1e-3, allowed_p_r_max=1e-3)


@pytest.mark.parametrize(
    ("found", "is_rounding"),
    [
        (NEAR, True),
        (replace(NEAR, flow_mean=1e-3), True),
        (replace(NEAR, flow_mean=1.1e-3), False),
        (replace(NEAR, flow_mean=math.nan), False),
        (replace(NEAR, flow_mean=math.inf), False),
        (replace(NEAR, p_r_max=1.1e-3), False),
        (replace(NEAR, p_r_max=math.nan), False),
    ],
    ids=str,
)
def test_rounding_is_told_from_faults(found: Difference, is_rounding: bool) -> None:
    assert found.is_rounding is is_rounding


def test_a_difference_reads_as_a_sentence() -> None:
    assert str(NEAR) == "flow differs by 1.0e-04 px in the mean and 1.0e-02 at most, p_R by 1.0e-05 at most"


@pytest.mark.parametrize(("preset", "allowed"), [("paper", MEAN_FLOW_MANY_PX), ("original", MEAN_FLOW_MANY_PX)])
def test_more_iterations_may_differ_more(
    pdc_exported: Exported, monkeypatch: pytest.MonkeyPatch, preset: PresetName, allowed: float
) -> None:
    nothing = torch.zeros(1, 2, 4, 4)
    monkeypatch.setattr(making, "_field", lambda *_: Field(nothing, nothing[:, :1], nothing))
    shelf = shelf_in(pdc_exported.cache, pdc_exported.weights, preset=preset)
    assert difference(pdc_exported.weights, shelf, SIZE, in_onnx(pdc_exported.shelf)) == Difference(
        0, 0, 0, allowed, MOST_P_R_OFF_MANY
    )


def test_graphs_that_are_off_are_not_kept(
    pdc_exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = {name: pdc_exported.shelf.graph(SIZE, name).read_bytes() for name in GRAPHS}
    monkeypatch.setattr(making, "exported", lambda *_: graphs)
    shelf = shelf_in(tmp_path, pdc_exported.weights)
    monkeypatch.setattr(making, "difference", lambda *_: replace(NEAR, flow_mean=math.nan))
    with pytest.raises(RefusedError, match=r"for 256x256 do not compute what torch does: flow differs by nan px"):
        make_graphs(pdc_exported.weights, shelf, SIZE)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(making, "difference", lambda *_: NEAR)
    assert make_graphs(pdc_exported.weights, shelf, SIZE) == NEAR
    assert shelf.has(SIZE)


def test_weights_are_known_by_what_they_are_not_by_what_their_file_says(pdc_exported: Exported, tmp_path: Path) -> None:
    state = state_dict()
    state["deconv2.bias"] += 1
    save_file(state, tmp_path / "changed.safetensors", {"weights_sha256": pdc_exported.weights.digest})
    assert Weights(tmp_path / "changed.safetensors").digest != pdc_exported.weights.digest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_size_that_is_no_multiple_of_the_coarse_grids(pdc_file: Path, tmp_path: Path) -> None:
    weights, size = Weights(pdc_file), (296, 264)
    shelf = shelf_in(tmp_path, weights)
    assert make_graphs(weights, shelf, size).is_rounding
    assert shelf.sizes == [size]
    assert make_plans(tensorrt.library("tensorrt_rtx"), shelf, size)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mixed_precision_is_exported_checked_and_built(pdc_file: Path, tmp_path: Path, rtx: Library) -> None:
    """What goes in and comes out is in single precision all the same."""
    weights = Weights(pdc_file)
    shelf = shelf_in(tmp_path, weights, precision="mixed")
    found = make_graphs(weights, shelf, SIZE)
    assert found.is_rounding
    assert found.flow_mean > MEAN_FLOW_PX
    fp32 = shelf_in(tmp_path, weights)
    assert not fp32.has(SIZE)
    for path in make_plans(rtx, shelf, SIZE):
        built, made = load_plan(path)
        assert made.precision == "mixed"
        assert {each.dtype for each in (*built.inputs, *built.outputs)} == {"float32"}


# Plans


def shapes() -> dict[str, tuple[int, ...]]:
    """What the runtime binds, by name; -1 for the batch."""
    width, height = SIZE
    sides = {1: (height // 4, width // 4), 2: (height // 8, width // 8), 3: (32, 32), 4: (16, 16)}
    features = {f"f{level}": (-1, CHANNELS[level], *sides[level]) for level in sides}
    pixels = LARGE_TILE.rows * LARGE_TILE.columns
    filters = {
        f"filters{level}": (-1, *LARGE_TILE.covering(*sides[level]), pixels, CHANNELS[level]) for level in (3, 2, 1)
    }
    return {
        "fine": (-1, 3, height, width),
        "coarse": (-1, 3, 256, 256),
        **{f"{side}{name}": shape for name, shape in features.items() for side in ("", "target_", "source_")},
        **filters,
        **{name: (-1, count, *sides[1]) for name, count in {"flow": 2, "log_variance": 1, "weights": 2}.items()},
    }


def built(exported: Exported, name: str) -> tuple[Path, Built]:
    """A plan, and where it lies."""
    [path] = exported.shelf.graph(SIZE, name).parent.glob(f"*/{name}.plan")
    return path, load_plan(path)[0]


@pytest.mark.parametrize("name", GRAPHS)
def test_a_plan_takes_and_gives_what_the_runtime_binds(pdc_planned: Exported, name: str) -> None:
    _, made = built(pdc_planned, name)
    for tensors, ends in zip((made.inputs, made.outputs), GRAPHS[name], strict=True):
        assert {each.name: each.shape for each in tensors} == {each: shapes()[each] for each in ends}
        assert {each.dtype for each in tensors} == {"float32"}


def test_the_shapes_are_those_that_the_network_gives() -> None:
    with torch.inference_mode():
        found = network(tile=LARGE_TILE).prepare(*(torch.zeros(1, *shapes()[f"f{level}"][1:]) for level in (1, 2, 3)))
    assert [(-1, *each.shape[1:]) for each in found] == [shapes()[f"filters{level}"] for level in (3, 2, 1)]


def test_plans_say_what_they_are_of(pdc_planned: Exported) -> None:
    path, _ = built(pdc_planned, "match")
    made = load_plan(path)[1]
    assert (made.size, made.precision, made.batches, made.gpu) == ((256, 256), "fp32", (1, 2, MOST_TOGETHER), "any")


def test_plans_are_stamped_with_height_and_width(rtx: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "build", lambda *_, **__: Built(b"a plan", (), ()))
    shelf = Shelf(tmp_path, "0" * 64, "fast", "fp32")
    shelf.save((320, 256), dict.fromkeys(GRAPHS, b"a graph"))
    assert [load_plan(path)[1].size for path in make_plans(rtx, shelf, (320, 256))] == [(256, 320)] * 3


def test_plans_are_loaded_again(pdc_planned: Exported, rtx: Library) -> None:
    plans = load_plans(rtx, pdc_planned.shelf, SIZE)
    assert list(plans) == list(GRAPHS)
    assert all(plans[name] == built(pdc_planned, name)[1].plan for name in GRAPHS)
    assert min(map(len, plans.values())) > 1_000_000


def test_without_plans_there_is_no_such_file(pdc_exported: Exported, rtx: Library) -> None:
    with pytest.raises(FileNotFoundError):
        load_plans(rtx, pdc_exported.shelf, SIZE)
    with pytest.raises(FileNotFoundError):
        load_plans(rtx, pdc_exported.shelf, (512, 512))


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", "0.1"), ("size", (256, 264))],
    ids=["version", "size"],
)
def test_a_plan_of_something_else_is_stale_and_says_in_what(
    pdc_planned: Exported, rtx: Library, tmp_path: Path, field: str, value: object
) -> None:
    copy = pdc_planned.copied(tmp_path / "cache")
    path, made = built(copy, "match")
    save_plan(path, made, load_plan(path)[1].model_copy(update={field: value}))
    with pytest.raises(StalePlanError, match=f"{field}: .* is wanted, .* was found") as caught:
        load_plans(rtx, copy.shelf, SIZE)
    assert caught.value.fields == (field,)


def test_plans_of_graphs_that_were_made_anew_are_stale(pdc_planned: Exported, rtx: Library, tmp_path: Path) -> None:
    copy = pdc_planned.copied(tmp_path / "cache")
    copy.shelf.save(SIZE, {name: copy.shelf.graph(SIZE, name).read_bytes() + b"\n" for name in GRAPHS})
    with pytest.raises(StalePlanError) as caught:
        load_plans(rtx, copy.shelf, SIZE)
    assert caught.value.fields == ("graph",)


def test_a_graph_that_cannot_be_built_is_said(pdc_exported: Exported, rtx: Library, tmp_path: Path) -> None:
    copy = pdc_exported.copied(tmp_path / "cache")
    copy.shelf.save(SIZE, {"encode": b"no graph at all"})
    with pytest.raises(BuildError, match="cannot read the graph"):
        make_plans(rtx, copy.shelf, SIZE)
