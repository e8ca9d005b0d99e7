"""What PDCNet+ runs on: what is named, what is taken in its place and why, and what is refused with a command."""

import logging
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from support.pdc_exported import SIZE, Exported
from support.pdc_weights import make_weights
from warpaint.engines.flow import build, export
from warpaint.engines.flow.pdcnet import choosing, tensorrt
from warpaint.engines.flow.pdcnet.choosing import LADDERS, MAKERS, _why_no_plans, chosen
from warpaint.engines.flow.pdcnet.commands import Wanted, wanted_of
from warpaint.engines.flow.pdcnet.engine import opened
from warpaint.engines.flow.pdcnet.graphs import GRAPHS
from warpaint.engines.flow.pdcnet.making import Difference
from warpaint.engines.flow.pdcnet.plans import load_plan, save_plan
from warpaint.engines.flow.pdcnet.runtimes import GraphRuntime, Runtime, TorchRuntime
from warpaint.engines.flow.pdcnet.shelf import Shelf, Size, said
from warpaint.engines.flow.pdcnet.tensorrt import Library
from warpaint.engines.flow.pdcnet.weights import Weights
from warpaint.proto.errors import Code, RefusedError

ONNX = f"ONNX Runtime {onnxruntime.__version__}"
NEAR = Difference(0.0, 0.0, 0.0, 1e-3, 1e-3)
COMMANDS: dict[str, Any] = {"warpaint.engines.flow.export": export, "warpaint.engines.flow.build": build}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO)
    return lambda: [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch says that there is a GPU; whoever uses it finds that there is none."""
    monkeypatch.setattr(choosing, "device_of", lambda _: "cuda")
    monkeypatch.setattr(choosing, "TorchRuntime", Named)


class Named:
    """Stands for torch on a device that is not here."""

    name = "torch"
    precision = "fp32"

    def __init__(self, net: object, device: torch.device) -> None:
        self.device = device


def choice(exported: Exported, **fields: Any) -> Runtime:
    return chosen(exported.settings(**fields), exported.weights)


def refusal(exported: Exported, **fields: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        choice(exported, **fields)
    return caught.value


# Ladders


def test_every_ladder_ends_with_torch_and_begins_with_what_was_named() -> None:
    assert {ladder[0]: ladder[-1] for ladder in LADDERS.values()} == dict.fromkeys(LADDERS, "torch")
    assert {name for ladder in LADDERS.values() for name in ladder} == set(MAKERS)


def test_on_a_cpu_it_is_torch_even_where_there_are_graphs(
    pdc_exported: Exported, warnings: Callable[[], list[str]]
) -> None:
    for name in ("auto", "torch"):
        runtime = choice(pdc_exported, pdcnet_runtime=name)
        assert isinstance(runtime, TorchRuntime)
        assert runtime.device == torch.device("cpu")
    assert warnings() == []


def test_with_graphs_it_is_onnx_if_that_is_named(pdc_exported: Exported, warnings: Callable[[], list[str]]) -> None:
    runtime = choice(pdc_exported, pdcnet_runtime="onnx")
    assert isinstance(runtime, GraphRuntime)
    assert (runtime.name, runtime.sizes, warnings()) == (ONNX, [SIZE], [])


def test_without_a_gpu_tensorrt_falls_to_onnx_and_says_why(
    pdc_exported: Exported, warnings: Callable[[], list[str]]
) -> None:
    assert choice(pdc_exported, pdcnet_runtime="tensorrt").name == ONNX
    assert warnings() == [
        "pdcnet does not run on tensorrt: it needs a GPU of NVIDIA's, and the device is 'cpu'",
    ]


@pytest.mark.usefixtures("with_gpu")
def test_without_tensorrt_it_says_what_to_install(
    pdc_exported: Exported, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(tensorrt, "EXTRAS", {"no_tensorrt": "tensorrt"})
    assert choice(pdc_exported, pdcnet_runtime="tensorrt").name == "torch"
    assert "pip install 'warpaint[tensorrt]'" in warnings()[0]


@pytest.mark.usefixtures("with_gpu")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_where_neither_reaches_the_gpu_it_is_torch(
    pdc_planned: Exported, warnings: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """TensorRT has its plans, and no driver; this ONNX Runtime knows no GPU."""
    runtime = choice(pdc_planned, pdcnet_runtime="tensorrt")
    assert isinstance(runtime, Named)
    assert runtime.device.type == "cuda"
    first, second = (each for each in warnings() if each.startswith("pdcnet"))
    assert first.startswith("pdcnet does not run on tensorrt: tensorrt_rtx cannot load the plan: ")
    assert second == (
        "pdcnet does not run on onnx: this one knows no GPU: "
        "pip uninstall onnxruntime && pip install onnxruntime-gpu, at its version"
    )


def test_on_apples_gpu_it_is_torch(
    pdc_exported: Exported, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(choosing, "device_of", lambda _: "mps")
    monkeypatch.setattr(choosing, "TorchRuntime", Named)
    assert choice(pdc_exported, pdcnet_runtime="onnx").name == "torch"
    assert warnings() == ["pdcnet does not run on onnx: it is not used on the device 'mps'"]


@pytest.mark.usefixtures("with_gpu")
@pytest.mark.parametrize("has_graphs", [True, False])
def test_on_a_gpu_auto_is_tensorrt_if_there_are_graphs(
    pdc_exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_graphs: bool
) -> None:
    cache = pdc_exported.cache if has_graphs else tmp_path
    monkeypatch.setitem(MAKERS, "tensorrt", lambda _: "by tensorrt")
    monkeypatch.setitem(MAKERS, "torch", lambda _: "by torch")
    runtime: object = choice(pdc_exported, pdcnet_runtime="auto", pdcnet_cache=cache)
    assert runtime == ("by tensorrt" if has_graphs else "by torch")


def test_what_is_only_fallen_back_to_and_lacks_graphs_is_passed_over(
    pdc_exported: Exported, tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    assert isinstance(choice(pdc_exported, pdcnet_runtime="tensorrt", pdcnet_cache=tmp_path), TorchRuntime)
    first, second = warnings()
    assert first.startswith("pdcnet does not run on tensorrt: it needs a GPU")
    assert second.startswith("pdcnet does not run on onnx: PDCNet+ has no graphs for pictures of 256x256")


@pytest.mark.usefixtures("with_gpu")
def test_what_computes_something_else_on_a_gpu_is_not_used(
    pdc_planned: Exported, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    """It is compared before it serves. Here the difference is made up."""
    monkeypatch.setattr(choosing, "tensorrt_plan", lambda *_: None)
    far = replace(NEAR, flow_mean=0.5)
    monkeypatch.setattr(choosing, "difference", lambda *_: far)
    assert isinstance(choice(pdc_planned, pdcnet_runtime="tensorrt"), Named)
    assert f"pdcnet does not run on tensorrt: at 256x256 it does not compute what torch does: {far}" in warnings()
    monkeypatch.setattr(choosing, "difference", lambda *_: NEAR)
    assert isinstance(choice(pdc_planned, pdcnet_runtime="tensorrt"), GraphRuntime)


# What is refused


def test_halves_by_torch_on_a_cpu_are_singles_and_that_is_said(
    pdc_exported: Exported, warnings: Callable[[], list[str]]
) -> None:
    runtime = choice(pdc_exported, pdcnet_precision="mixed")
    assert isinstance(runtime, TorchRuntime)
    assert {each.dtype for each in runtime._net.parameters()} == {torch.float32}
    assert warnings() == ["pdcnet runs in fp32: torch takes minutes for halves on a CPU"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_refused_in_words(pdc_exported: Exported) -> None:
    error = refusal(pdc_exported, device="cuda", pdcnet_runtime="onnx")
    assert error.code is Code.UNKNOWN_ENGINE
    assert "there is no device 'cuda' here, or torch cannot use it; there is cpu" in str(error)


def command(text: str) -> tuple[Any, list[str]]:
    """The module of the command at the end of a text, and its arguments."""
    python, dash_m, module, *arguments = shlex.split(text[text.index("python -m ") :])
    assert (python, dash_m) == ("python", "-m")
    return COMMANDS[module], arguments


def asked_for(text: str, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    """What the command at the end of a text, word for word, would make."""
    module, arguments = command(text)
    wanted: list[Wanted] = []

    def note(*given: Any) -> Wanted:
        wanted.append(wanted_of(*given))
        raise RefusedError(Code.UNSUPPORTED, "that is enough")

    monkeypatch.setattr(module, "wanted_of", note)
    with pytest.raises(SystemExit):
        module.main(arguments)
    return wanted[0]


def test_without_graphs_the_command_that_makes_them_is_said(
    pdc_exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths have spaces in them now and then."""
    cache, file = tmp_path / "it's a cache", tmp_path / "the weights.safetensors"
    os.link(pdc_exported.file, file)
    wish = {"pdcnet_sizes": ["96x64", "301x250"], "pdcnet_cache": cache, "pdcnet_weights": file}
    error = refusal(pdc_exported, pdcnet_runtime="onnx", pdcnet_precision="mixed", **wish)
    assert error.code is Code.UNSUPPORTED
    assert "PDCNet+ has no graphs for pictures of 256x256; this makes them: python -m warpaint" in str(error)
    wanted = asked_for(str(error), monkeypatch)
    assert wanted.shelf == Shelf(cache, pdc_exported.weights.digest, "fast", "mixed")
    assert wanted.sizes == [(256, 256)]


def test_the_command_leaves_out_a_cache_that_is_not_named(
    pdc_exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    error = refusal(pdc_exported, pdcnet_runtime="onnx", pdcnet_cache=None, pdcnet_sizes=["768x512"])
    assert "--cache" not in str(error)
    wanted = asked_for(str(error), monkeypatch)
    assert (wanted.shelf.folder, wanted.sizes) == (tmp_path / "warpaint" / "pdcnet", [(768, 512)])


def test_without_sizes_it_is_ready_for_the_smallest_there_is(
    pdc_exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = replace(pdc_exported.shelf, folder=tmp_path)
    error = refusal(pdc_exported, pdcnet_runtime="onnx", pdcnet_cache=tmp_path)
    assert asked_for(str(error), monkeypatch).sizes == [(256, 256)]
    for size in ((320, 256), (264, 256)):
        shelf.save(size, {name: pdc_exported.shelf.graph(SIZE, name).read_bytes() for name in GRAPHS})
        assert choice(pdc_exported, pdcnet_runtime="onnx", pdcnet_cache=tmp_path).sizes == [size]


def test_a_size_that_comes_later_is_complained_of_with_the_command(
    pdc_exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = opened(pdc_exported.file, pdc_exported.settings(pdcnet_runtime="onnx"))
    assert flow.complaint((96, 64)) == flow.complaint((256, 256)) == ""
    assert asked_for(flow.complaint((775, 519)), monkeypatch).sizes == [(768, 512)]


# What is made at the start


@pytest.fixture
def made(pdc_exported: Exported, monkeypatch: pytest.MonkeyPatch) -> list[Size]:
    """The sizes that graphs are made for: those of the fixture, whatever the size."""
    sizes: list[Size] = []

    def make(_: Weights, shelf: Shelf, size: Size) -> Difference:
        sizes.append(size)
        shelf.save(size, {name: pdc_exported.shelf.graph(SIZE, name).read_bytes() for name in GRAPHS})
        return NEAR

    monkeypatch.setattr(choosing, "make_graphs", make)
    return sizes


def test_graphs_that_are_missing_are_made_once_if_that_is_wanted(
    pdc_exported: Exported, tmp_path: Path, made: list[Size], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wish: dict[str, Any] = {"pdcnet_runtime": "onnx", "pdcnet_build": True, "pdcnet_cache": tmp_path}
    assert choice(pdc_exported, pdcnet_sizes=["96x64", "255x256"], **wish).sizes == [(256, 256)]
    assert choice(pdc_exported, pdcnet_sizes=["301x250", "256x256"], **wish).sizes == [(256, 256), (296, 256)]
    assert made == [(256, 256), (296, 256)]
    logged = [each.getMessage() for each in caplog.records]
    assert "pdcnet: graphs are made for 296x256, which takes a minute" in logged
    assert f"pdcnet: {NEAR}" in logged


@pytest.mark.usefixtures("with_gpu")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_plans_that_are_missing_are_made_if_that_is_wanted(
    pdc_exported: Exported, tmp_path: Path, made: list[Size], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Size] = []
    monkeypatch.setattr(choosing, "make_plans", lambda _, shelf, size: built.append(size))
    wish: dict[str, Any] = {"pdcnet_runtime": "tensorrt", "pdcnet_build": True, "pdcnet_cache": tmp_path}
    error = refusal(pdc_exported, pdcnet_sizes=["96x64"], **wish)
    assert (made, built) == ([SIZE], [SIZE])
    assert "TensorRT has no plans of PDCNet+ for pictures of 256x256, made by tensorrt_rtx" in str(error)


@pytest.mark.usefixtures("with_gpu")
def test_plans_that_are_there_are_not_made_again(pdc_planned: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[bytes] = []

    monkeypatch.setattr(choosing, "make_plans", lambda *_: pytest.fail("they are made again"))
    monkeypatch.setattr(choosing, "tensorrt_plan", lambda _, plan: loaded.append(plan))
    monkeypatch.setattr(choosing, "difference", lambda *_: NEAR)
    runtime = choice(pdc_planned, pdcnet_runtime="tensorrt", pdcnet_build=True, pdcnet_sizes=["64x64"])
    assert (runtime.name, runtime.sizes, len(loaded)) == (f"tensorrt_rtx {tensorrt.library().version}", [SIZE], 3)


# Plans that cannot be used


@pytest.fixture(scope="module")
def rtx() -> Library:
    return tensorrt.library("tensorrt_rtx")


def plan_of(exported: Exported, name: str) -> Path:
    [path] = exported.shelf.graph(SIZE, name).parent.glob(f"*/{name}.plan")
    return path


def test_plans_that_fit_have_nothing_against_them(pdc_planned: Exported, rtx: Library) -> None:
    assert _why_no_plans(rtx, pdc_planned.shelf, SIZE) == ""


def test_plans_that_are_missing(pdc_exported: Exported, rtx: Library) -> None:
    for size in (SIZE, (768, 512)):
        assert _why_no_plans(rtx, pdc_exported.shelf, size) == (
            f"TensorRT has no plans of PDCNet+ for pictures of {said(size)}, made by tensorrt_rtx {rtx.version}"
        )


def test_plans_of_another_version(pdc_planned: Exported, rtx: Library, tmp_path: Path) -> None:
    copy = pdc_planned.copied(tmp_path / "cache")
    path = plan_of(copy, "prepare")
    built, stamp = load_plan(path)
    save_plan(path, built, stamp.model_copy(update={"version": "0.1"}))
    why = _why_no_plans(rtx, copy.shelf, SIZE)
    assert why.startswith("TensorRT's plans of PDCNet+ for pictures of 256x256 cannot be used: ")
    assert f"version: '{rtx.version}' is wanted, '0.1' was found" in why


def test_plans_that_are_damaged(pdc_planned: Exported, rtx: Library, tmp_path: Path) -> None:
    copy = pdc_planned.copied(tmp_path / "cache")
    path = plan_of(copy, "encode")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1000])
    assert f"cannot be used: '{path}' is damaged" in _why_no_plans(rtx, copy.shelf, SIZE)


# What it says of itself


def test_it_says_what_it_runs_on(pdc_exported: Exported) -> None:
    flow = opened(pdc_exported.file, pdc_exported.settings(pdcnet_runtime="onnx", pdcnet_confidence="mixture_weight"))
    assert flow.description == (
        f"PDCNet+ by {ONNX} on cpu, fp32, preset fast (3 local and 3 global iterations), "
        f"weights {pdc_exported.weights.digest[:12]} of weights.safetensors"
    )
    assert list(flow.sizes) == [SIZE]
    assert flow.nbytes == sum(each.nbytes for each in make_weights().values())


def test_it_is_tried_at_the_sizes_that_are_named(pdc_exported: Exported) -> None:
    assert list(opened(pdc_exported.file, pdc_exported.settings()).sizes) == []
    wish = pdc_exported.settings(pdcnet_runtime="onnx", pdcnet_sizes=["96x64", "200x256"])
    assert list(opened(pdc_exported.file, wish).sizes) == [(96, 64), (200, 256)]


def test_onnx_runtime_here_is_the_one_for_cpus() -> None:
    """Which some of these tests take for granted."""
    assert "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
