"""Small graphs through the real builder, which needs no GPU; loading and running with what stands in for one."""

import importlib
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from hashlib import sha256
from types import ModuleType, SimpleNamespace
from typing import Any, Literal
from unittest.mock import create_autospec

import numpy as np
import onnx
import pytest
import tensorrt_rtx
import torch
from onnx import TensorProto, helper, numpy_helper

from warpaint.engines.flow.pdcnet import tensorrt
from warpaint.engines.flow.pdcnet.plans import Tensor
from warpaint.engines.flow.pdcnet.tensorrt import (
    BuildError,
    Engine,
    Library,
    build,
    check,
    gpu,
    library,
    stamp,
)
from warpaint.engines.flow.pdcnet.unavailable import UnavailableError

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
BATCHES = (1, 2, 4)
OPEN = "batch"
CPU = torch.device("cpu")

Shape = Sequence[int | str]
Named = dict[str, tuple[int, Shape]]


@pytest.fixture(scope="module")
def rtx() -> Library:
    return library("tensorrt_rtx")


def graph(nodes: Sequence[onnx.NodeProto], inputs: Named, outputs: Named, **constants: Any) -> bytes:
    """An ONNX file in bytes; inputs and outputs: type and shape by name."""

    def described(named: Named) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in named.items()]

    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "graph", described(inputs), described(outputs), weights)
    file: bytes = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return file


def convolution(batch: int | str = OPEN) -> bytes:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    return graph([node], {"x": (FLOAT, (batch, 3, 8, 8))}, {"y": (FLOAT, (batch, 8, 8, 8))}, w=weight)


def warping() -> bytes:
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode="bilinear", padding_mode="zeros", align_corners=1)
    inputs: Named = {"x": (FLOAT, (OPEN, 4, 8, 8)), "grid": (FLOAT, (OPEN, 6, 6, 2))}
    return graph([node], inputs, {"y": (FLOAT, (OPEN, 4, 6, 6))})


def resizing() -> bytes:
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    node = helper.make_node("Resize", ["x", "", "by"], ["y"], **how)
    by = np.array([1, 1, 2, 2], np.float32)
    return graph([node], {"x": (FLOAT, (OPEN, 2, 8, 8))}, {"y": (FLOAT, (OPEN, 2, 16, 16))}, by=by)


def gathering() -> bytes:
    """The indices are a constant of a batch of one, widened to the batch: the exporter writes `expand` so."""
    nodes = [
        helper.make_node("Shape", ["x"], ["batch"], end=1),
        helper.make_node("Concat", ["batch", "rest"], ["wide"], axis=0),
        helper.make_node("Expand", ["at", "wide"], ["index"]),
        helper.make_node("GatherElements", ["x", "index"], ["y"], axis=2),
    ]
    at, rest = np.arange(20).reshape(1, 4, 5) % 16, np.array([4, 5])
    return graph(nodes, {"x": (FLOAT, (OPEN, 4, 16))}, {"y": (FLOAT, (OPEN, 4, 5))}, at=at, rest=rest)


def products() -> bytes:
    """The parts of GOCor: products of batches of matrices, signs, magnitudes, the largest of a row."""
    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["score"]),
        helper.make_node("Sign", ["score"], ["sign"]),
        helper.make_node("Abs", ["score"], ["magnitude"]),
        helper.make_node("Mul", ["sign", "magnitude"], ["again"]),
        helper.make_node("ReduceMax", ["again", "last"], ["y"], keepdims=1),
    ]
    inputs: Named = {"a": (FLOAT, (OPEN, 4, 64, 16)), "b": (FLOAT, (OPEN, 4, 16, 256))}
    return graph(nodes, inputs, {"y": (FLOAT, (OPEN, 4, 64, 1))}, last=np.array([-1]))


def widening() -> bytes:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[1] * 4)
    weight = np.ones((2, 2, 4, 4), np.float32)
    return graph([node], {"x": (FLOAT, (OPEN, 2, 8, 8))}, {"y": (FLOAT, (OPEN, 2, 16, 16))}, w=weight)


def mixing() -> bytes:
    """A convolution in float16 within float32, with an output of each type."""
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=HALF),
        helper.make_node("Conv", ["half", "w"], ["y16"], pads=[1] * 4),
        helper.make_node("Cast", ["y16"], ["wide"], to=FLOAT),
        helper.make_node("Add", ["wide", "x"], ["y"]),
    ]
    outputs: Named = {"y": (FLOAT, (OPEN, 3, 8, 8)), "y16": (HALF, (OPEN, 3, 8, 8))}
    return graph(nodes, {"x": (FLOAT, (OPEN, 3, 8, 8))}, outputs, w=np.ones((3, 3, 3, 3), np.float16))


# The library


def test_the_library_is_found_with_its_version(rtx: Library) -> None:
    assert (rtx.name, rtx.version, rtx.trt) == ("tensorrt_rtx", tensorrt_rtx.__version__, tensorrt_rtx)


def test_all_of_a_library_have_one_log(rtx: Library) -> None:
    assert library("tensorrt_rtx").log is rtx.log


def importing(monkeypatch: pytest.MonkeyPatch, modules: dict[str, ModuleType | Exception]) -> None:
    """Makes these modules all that can be imported, and these errors what others raise."""

    def import_module(name: str) -> ModuleType:
        found = modules.get(name, ModuleNotFoundError(f"No module named {name!r}", name=name))
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(importlib, "import_module", import_module)


def a_module(name: str, version: str) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(__version__=version, ILogger=object)
    return module


def test_auto_prefers_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, {"tensorrt": a_module("tensorrt", "10.13"), "tensorrt_rtx": a_module("tensorrt_rtx", "1.7")})
    assert (library().name, library().version) == ("tensorrt", "10.13")
    assert library("tensorrt_rtx").version == "1.7"


def test_auto_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, {"tensorrt_rtx": a_module("tensorrt_rtx", "1.7")})
    assert library().name == "tensorrt_rtx"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tensorrt", ["pip install 'warpaint[tensorrt]'"]),
        ("tensorrt_rtx", ["pip install 'warpaint[tensorrt-rtx]'"]),
        ("auto", ["pip install 'warpaint[tensorrt]'", "pip install 'warpaint[tensorrt-rtx]'"]),
    ],
)
def test_without_a_package_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: Literal["auto", "tensorrt", "tensorrt_rtx"], says: list[str]
) -> None:
    importing(monkeypatch, {})
    with pytest.raises(UnavailableError) as caught:
        library(name)
    assert all(each in str(caught.value) for each in says)
    assert str(caught.value).count("pip install") == len(says)


@pytest.mark.parametrize(
    "error",
    [
        OSError("libnvinfer.so.10: cannot open shared object file"),
        ImportError("libcudart.so.13: cannot open shared object file"),
        ModuleNotFoundError("No module named 'tensorrt_bindings'", name="tensorrt_bindings"),
    ],
)
def test_a_package_that_is_broken_says_why(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    importing(monkeypatch, {"tensorrt": error})
    with pytest.raises(UnavailableError) as caught:
        library("tensorrt")
    assert str(caught.value) == f"tensorrt is installed, but cannot be imported: {error}"


def test_a_library_that_cannot_start_is_unavailable(rtx: Library) -> None:
    """So does `tensorrt` without a driver: pybind gets a null pointer from the library, and raises TypeError."""

    def builder(log: Any) -> None:
        log.log(tensorrt_rtx.ILogger.Severity.WARNING, "CUDA initialization failure with error: 35.")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.raises(UnavailableError, match=r"cannot start on this machine: CUDA initialization failure.*35 \("):
        build(Library("tensorrt", "10.13", SimpleNamespace(Builder=builder), rtx.log), convolution(), batches=BATCHES)


def test_what_the_library_logs_goes_to_pythons_log(rtx: Library, caplog: pytest.LogCaptureFixture) -> None:
    severity = tensorrt_rtx.ILogger.Severity
    with caplog.at_level(logging.DEBUG, tensorrt.__name__):
        for each in (severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING, severity.INFO, severity.VERBOSE):
            rtx.log.log(each, f"100 % {each.name}")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "100 % INTERNAL_ERROR"),
        ("ERROR", "100 % ERROR"),
        ("WARNING", "100 % WARNING"),
        ("DEBUG", "100 % INFO"),
    ]


# Building


@pytest.mark.parametrize(
    ("made", "inputs", "outputs"),
    [
        (convolution, {"x": (-1, 3, 8, 8)}, {"y": (-1, 8, 8, 8)}),
        (warping, {"x": (-1, 4, 8, 8), "grid": (-1, 6, 6, 2)}, {"y": (-1, 4, 6, 6)}),
        (resizing, {"x": (-1, 2, 8, 8)}, {"y": (-1, 2, 16, 16)}),
        (gathering, {"x": (-1, 4, 16)}, {"y": (-1, 4, 5)}),
        (products, {"a": (-1, 4, 64, 16), "b": (-1, 4, 16, 256)}, {"y": (-1, 4, 64, 1)}),
        (widening, {"x": (-1, 2, 8, 8)}, {"y": (-1, 2, 16, 16)}),
    ],
)
def test_graphs_with_open_batches_build(
    rtx: Library, made: Callable[[], bytes], inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]
) -> None:
    built = build(rtx, made(), batches=BATCHES)
    assert len(built.plan) > 1000
    assert built.inputs == tuple(Tensor(name=name, dtype="float32", shape=shape) for name, shape in inputs.items())
    assert built.outputs == tuple(Tensor(name=name, dtype="float32", shape=shape) for name, shape in outputs.items())


def test_a_fixed_batch_stays_as_it_is(rtx: Library) -> None:
    built = build(rtx, convolution(3), batches=BATCHES)
    assert [each.shape for each in (*built.inputs, *built.outputs)] == [(3, 3, 8, 8), (3, 8, 8, 8)]


def test_types_are_those_of_the_graph(rtx: Library) -> None:
    built = build(rtx, mixing(), batches=BATCHES)
    assert [each.dtype for each in built.inputs] == ["float32"]
    assert {each.name: each.dtype for each in built.outputs} == {"y": "float32", "y16": "float16"}


def test_the_same_graph_makes_the_same_plan(rtx: Library) -> None:
    assert build(rtx, products(), batches=BATCHES) == build(rtx, products(), batches=BATCHES)


def test_types_are_not_changed_in_silence(rtx: Library) -> None:
    """Strong typing: a sum of float32 and float16 is an error, with the node that makes it."""
    node = helper.make_node("Add", ["x", "w"], ["y"], name="the_sum")
    mixed = graph([node], {"x": (FLOAT, (2,)), "w": (HALF, (2,))}, {"y": (FLOAT, (2,))})
    with pytest.raises(BuildError, match=r"cannot read the graph: Add the_sum: .*must have same input types") as caught:
        build(rtx, mixed, batches=BATCHES)
    assert "\n" not in str(caught.value)


def test_an_operator_that_is_not_known_is_named(rtx: Library) -> None:
    node = helper.make_node("Nonsense", ["x"], ["y"], name="here")
    with pytest.raises(BuildError, match="Nonsense here: "):
        build(rtx, graph([node], {"x": (FLOAT, (2,))}, {"y": (FLOAT, (2,))}), batches=BATCHES)


@pytest.mark.parametrize("damaged", [b"no graph at all", convolution()[:300]])
def test_a_damaged_graph_is_refused(rtx: Library, damaged: bytes) -> None:
    with pytest.raises(BuildError, match=r"cannot read the graph: .*Failed to parse the ONNX model"):
        build(rtx, damaged, batches=BATCHES)


def test_an_empty_graph_is_refused(rtx: Library) -> None:
    with pytest.raises(BuildError, match=r"cannot build the graph: .*output"):
        build(rtx, b"", batches=BATCHES)


def test_a_dimension_other_than_the_first_must_not_be_open(rtx: Library) -> None:
    node = helper.make_node("Abs", ["x"], ["y"])
    wide = graph([node], {"x": (FLOAT, (OPEN, 3, "width"))}, {"y": (FLOAT, (OPEN, 3, "width"))})
    with pytest.raises(BuildError, match=r"'x' has the shape \(-1, 3, -1\): only its first dimension may be open"):
        build(rtx, wide, batches=BATCHES)


@pytest.mark.parametrize("batches", [(0, 1, 2), (2, 1, 4), (1, 4, 2)])
def test_batches_grow(rtx: Library, batches: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="batches are the least, usual and most"):
        build(rtx, convolution(), batches=batches)


def test_a_stamp_says_what_the_plan_is_of(rtx: Library) -> None:
    made = stamp(rtx, b"graph", size=(512, 768), precision="fp32", batches=BATCHES)
    assert made.graph == sha256(b"graph").hexdigest()
    assert (made.library, made.version, made.gpu) == ("tensorrt_rtx", rtx.version, "any")
    assert (made.size, made.precision, made.batches) == ((512, 768), "fp32", BATCHES)


def test_plans_of_tensorrt_are_for_the_gpu_they_were_built_on(rtx: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA GeForce RTX 4090")
    assert gpu(Library("tensorrt", "10.13", rtx.trt, rtx.log)) == "NVIDIA GeForce RTX 4090, 8.9"
    assert gpu(rtx) == "any"


# Running


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_driver_an_engine_is_unavailable(rtx: Library) -> None:
    plan = build(rtx, convolution(), batches=BATCHES).plan
    with pytest.raises(UnavailableError, match=r"cannot load the plan: .*CUDA driver version is insufficient"):
        Engine(rtx, plan)


@pytest.mark.parametrize("plan", [b"", b"no plan at all", bytes(1000)])
def test_what_is_no_plan_is_refused(rtx: Library, plan: bytes) -> None:
    with pytest.raises(UnavailableError, match="cannot load the plan"):
        Engine(rtx, plan)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_an_engine_computes_what_torch_does(rtx: Library, batch: int) -> None:
    engine = Engine(rtx, build(rtx, products(), batches=BATCHES).plan)
    a = torch.randn(batch, 4, 64, 16, device=engine.device)
    b = torch.randn(batch, 4, 16, 256, device=engine.device)
    torch.testing.assert_close(engine.run({"a": a, "b": b})["y"], (a @ b).amax(-1, keepdim=True))


class Stream:
    """A CUDA stream that notes who waits for whom."""

    cuda_stream = 4711

    def __init__(self, name: str, happened: list[object]) -> None:
        self.name, self.happened = name, happened

    def wait_stream(self, other: "Stream") -> None:
        self.happened.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def happened() -> list[object]:
    return []


@pytest.fixture
def context(happened: list[object]) -> Any:
    """What stands in for an execution context, with the real one's methods alone; y is (batch, 8, 8, 8)."""
    context = create_autospec(tensorrt_rtx.IExecutionContext, instance=True)
    shapes: dict[str, tuple[int, ...]] = {}

    def set_input_shape(name: str, shape: tuple[int, ...]) -> bool:
        shapes[name] = shape
        return shape[0] <= max(BATCHES)

    def get_tensor_shape(name: str) -> tuple[int, ...]:
        return (shapes["x"][0], 8, 8, 8)

    def execute_async_v3(stream: int) -> bool:
        happened.append(f"run on {stream}")
        return True

    def set_tensor_address(name: str, address: int) -> bool:
        happened.append((name, address))
        return True

    for method in (set_input_shape, get_tensor_shape, execute_async_v3, set_tensor_address):
        getattr(context, method.__name__).side_effect = method
    return context


@pytest.fixture
def engine(rtx: Library, context: Any, happened: list[object], monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine of the convolution's inputs and outputs, on the CPU, with stand-ins for all that needs a GPU."""
    loaded = create_autospec(tensorrt_rtx.ICudaEngine, instance=True)
    loaded.num_io_tensors = 2
    loaded.get_tensor_name.side_effect = ["x", "y"].__getitem__
    loaded.get_tensor_dtype.return_value = tensorrt_rtx.DataType.FLOAT
    loaded.get_tensor_shape.side_effect = {"x": (-1, 3, 8, 8), "y": (-1, 8, 8, 8)}.__getitem__
    modes = {"x": tensorrt_rtx.TensorIOMode.INPUT, "y": tensorrt_rtx.TensorIOMode.OUTPUT}
    loaded.get_tensor_mode.side_effect = modes.__getitem__
    loaded.create_execution_context.return_value = context
    runtime = create_autospec(tensorrt_rtx.Runtime, instance=True)
    runtime.deserialize_cuda_engine.return_value = loaded
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream("engine", happened))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream("caller", happened))
    module = SimpleNamespace(Runtime=lambda log: runtime, TensorIOMode=tensorrt_rtx.TensorIOMode)
    engine = Engine(Library(rtx.name, rtx.version, module, rtx.log), b"plan")
    engine.device = CPU
    return engine


def test_an_engine_says_what_it_takes_and_gives(engine: Engine) -> None:
    assert engine.inputs == (Tensor(name="x", dtype="float32", shape=(-1, 3, 8, 8)),)
    assert engine.outputs == (Tensor(name="y", dtype="float32", shape=(-1, 8, 8, 8)),)


def test_a_run_is_in_order_with_the_callers_stream(engine: Engine, happened: list[object]) -> None:
    x = torch.zeros(2, 3, 8, 8)
    outputs = engine.run({"x": x})
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in outputs.items()} == {
        "y": (torch.Size([2, 8, 8, 8]), torch.float32)
    }
    assert [each[0] for each in happened[:2] if isinstance(each, tuple)] == ["x", "y"]
    assert happened[1] == ("y", outputs["y"].data_ptr())
    assert happened[2:] == ["engine waits for caller", "run on 4711", "caller waits for engine"]


@pytest.mark.parametrize("offset", [0, 64, 1])
def test_inputs_begin_where_tensorrt_can_read_them(engine: Engine, happened: list[object], offset: int) -> None:
    whole = torch.zeros(1000)
    start = -whole.data_ptr() // 4 % 64 + offset  # 64 numbers are 256 bytes
    x = whole[start : start + 192].view(1, 3, 8, 8)
    engine.run({"x": x})
    assert (("x", x.data_ptr()) in happened) == (offset % 64 == 0)


def test_a_batch_beyond_the_plan_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match=r"'x' of the shape \(5, 3, 8, 8\) is not taken"):
        engine.run({"x": torch.zeros(5, 3, 8, 8)})


def test_a_run_that_does_not_start_says_so(engine: Engine, context: Any, happened: list[object]) -> None:
    context.execute_async_v3.side_effect = lambda stream: False
    with pytest.raises(RuntimeError, match="tensorrt_rtx cannot run the plan"):
        engine.run({"x": torch.zeros(1, 3, 8, 8)})
    assert happened[-1] == "caller waits for engine"


def test_an_address_that_is_not_taken_says_so(engine: Engine, context: Any) -> None:
    context.set_tensor_address.side_effect = lambda name, address: False
    with pytest.raises(RuntimeError, match="does not take 'x'"):
        engine.run({"x": torch.zeros(1, 3, 8, 8)})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "the inputs are x, grid, not "),
        ({"x": torch.zeros(2, 3), "flow": torch.zeros(2, 4)}, "the inputs are x, grid, not x, flow"),
        ({"x": torch.zeros(2, 4), "grid": torch.zeros(2, 4)}, r"'x' has the shape \(-1, 3\).*not \(2, 4\)"),
        ({"x": torch.zeros(2, 3, 1), "grid": torch.zeros(2, 4)}, r"'x' has the shape .*not \(2, 3, 1\)"),
        ({"x": torch.zeros(2, 3).half(), "grid": torch.zeros(2, 4)}, "'x' is of float32, not torch.float16"),
        ({"x": torch.zeros(2, 3, device="meta"), "grid": torch.zeros(2, 4)}, "'x' has to be on cpu, not meta"),
        ({"x": torch.zeros(2, 3), "grid": torch.zeros(4, 2).T}, r"'grid' has to be contiguous.*\(1, 2\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(given: dict[str, torch.Tensor], says: str) -> None:
    expected = [Tensor(name=name, dtype="float32", shape=shape) for name, shape in (("x", (-1, 3)), ("grid", (2, 4)))]
    with pytest.raises(ValueError, match=says):
        check(expected, given, CPU)


def test_inputs_that_fit_are_taken() -> None:
    check([Tensor(name="x", dtype="int64", shape=(-1, 3))], {"x": torch.zeros(7, 3, dtype=torch.int64)}, CPU)
