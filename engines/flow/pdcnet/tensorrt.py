"""Networks by TensorRT: ONNX graphs are built into plans, and plans are run on the GPU with torch's tensors.

Two packages have this API. `tensorrt` builds on the GPU that will run the plan, and for it alone. `tensorrt_rtx`
(TensorRT for RTX) builds without a GPU, for all from compute capability 8.0 on, and finishes the plan where it is
loaded. What was tried: building with tensorrt_rtx 1.7. Loading and running follow the documented API and were never
run: they need a GPU.
"""

import importlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Literal

import torch

from .plans import Built, Stamp, Tensor
from .unavailable import UnavailableError

log = logging.getLogger(__name__)

EXTRAS = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}  # of Warpaint, by module; the first is preferred
ANY_GPU = "any"
# By severity: internal error, error, warning, info. What is more verbose has thousands of lines a graph.
LEVELS = (logging.ERROR, logging.ERROR, logging.WARNING, logging.DEBUG)
SAID = 20  # messages kept for an error's text
TRT_TYPES = ("FLOAT", "HALF", "BF16", "INT32", "INT64", "INT8", "UINT8", "BOOL")
TORCH_TYPES = ("float32", "float16", "bfloat16", "int32", "int64", "int8", "uint8", "bool")
DTYPES = dict(zip(TRT_TYPES, TORCH_TYPES, strict=True))
ALIGNMENT = 256  # bytes; what TensorRT asks of addresses


class BuildError(ValueError):
    """A graph that TensorRT cannot build. The text holds all that it said."""


@dataclass(frozen=True)
class Library:
    """One of the two packages: its module, and the log that all of its objects get."""

    name: str
    version: str
    trt: Any
    log: Any

    @property
    def portable(self) -> bool:
        """Whether its plans are for any GPU, not for the one they were built on."""
        return self.name == "tensorrt_rtx"


# The library


def library(name: Literal["auto", "tensorrt", "tensorrt_rtx"] = "auto") -> Library:
    """The package of this name; auto: tensorrt, or else tensorrt_rtx. Raises UnavailableError if it cannot be had."""
    reasons = []
    for each in EXTRAS if name == "auto" else (name,):
        try:
            trt = importlib.import_module(each)
        except (ImportError, OSError, RuntimeError) as error:  # OSError: the system has no CUDA libraries for it
            reasons.append(_why_not(each, error))
        else:
            if reasons:
                log.info("%s; %s is used", reasons[0], each)
            return Library(each, str(trt.__version__), trt, _log_of(trt))
    raise UnavailableError("; ".join(reasons))


def _why_not(name: str, error: Exception) -> str:
    """What to do about a module that cannot be imported."""
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return f"{name} is not installed: pip install 'warpaint[{EXTRAS[name]}]'"
    return f"{name} is installed, but cannot be imported: {error}"


@cache  # TensorRT keeps the first log that it is given and takes no other
def _log_of(trt: Any) -> Any:
    """A log of TensorRT that goes to Python's, and keeps the last errors and warnings for an exception's text."""

    class Log(trt.ILogger):  # type: ignore[misc]  # a class of a module that is known at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: deque[str] = deque(maxlen=SAID)

        def log(self, severity: Any, message: str) -> None:
            number = int(severity)
            if number < len(LEVELS):
                log.log(LEVELS[number], "%s", message)
                if LEVELS[number] >= logging.WARNING:
                    self.said.append(_line(message))

    return Log()


def _line(text: str) -> str:
    """This text in one line."""
    return " ".join(text.split()).rstrip(".")


def _said(lib: Library) -> str:
    """What the library said since the log was cleared last. Two threads at once hear each other."""
    return "; ".join(lib.log.said) or "it does not say why"


def _made(lib: Library, kind: str) -> Any:
    """A Builder or a Runtime. Raises UnavailableError where the library makes none, which is so without a driver."""
    lib.log.said.clear()
    try:
        return getattr(lib.trt, kind)(lib.log)
    except (TypeError, RuntimeError) as error:  # TypeError: pybind's word for a null pointer
        raise UnavailableError(
            f"{lib.name} cannot start on this machine: {_said(lib)} ({_line(str(error))})"
        ) from error


def gpu(lib: Library) -> str:
    """What plans that are built here run on: the current GPU's name and compute capability, or "any"."""
    if lib.portable or not torch.cuda.is_available():
        return ANY_GPU
    major, minor = torch.cuda.get_device_capability()
    return f"{torch.cuda.get_device_name()}, {major}.{minor}"


# Building


def build(lib: Library, graph: bytes, *, batches: tuple[int, int, int]) -> Built:
    """The plan of an ONNX graph of less than 2 GB, with the types that the graph names, and without TF32.

    batches: the least, usual and most pictures at once, for a graph whose inputs leave their first dimension open.
    For tensorrt_rtx no compute capability is named: that makes a plan for every GPU from 8.0 on, whereas 7.5 would
    refuse products of float32 matrices.
    Raises BuildError for a graph that does not parse or build, UnavailableError where tensorrt finds no GPU.
    """
    least, usual, most = batches
    if not 1 <= least <= usual <= most:
        raise ValueError(f"batches are the least, usual and most, each at least 1, not {batches}")
    builder = _made(lib, "Builder")
    network = builder.create_network(1 << int(lib.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = lib.trt.OnnxParser(network, lib.log)  # holds the weights: it has to live until the plan is built
    if not parser.parse(graph):
        raise BuildError(f"{lib.name} cannot read the graph: {_parser_errors(parser)}")
    inputs = tuple(_tensor(network.get_input(i)) for i in range(network.num_inputs))
    outputs = tuple(_tensor(network.get_output(i)) for i in range(network.num_outputs))
    config = builder.create_builder_config()
    config.clear_flag(lib.trt.BuilderFlag.TF32)  # with it GOCor is off by a thousandth and more
    _open_batches(builder, config, inputs, batches)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError(f"{lib.name} cannot build the graph: {_said(lib)}")
    return Built(bytes(plan), inputs, outputs)


def _parser_errors(parser: Any) -> str:
    """What the parser found wrong, with the node and its operator where it names them."""
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    places = [" ".join(filter(None, (each.node_operator(), each.node_name()))) for each in errors]
    told = (
        f"{place}: {_line(each.desc())}" if place else _line(each.desc())
        for place, each in zip(places, errors, strict=True)
    )
    return "; ".join(told) or "it does not say why"


def _tensor(tensor: Any) -> Tensor:
    """What the network says of an input or output. Raises BuildError for a type that torch has no name for."""
    return Tensor(name=tensor.name, dtype=_dtype(tensor.name, tensor.dtype), shape=tuple(tensor.shape))


def _dtype(name: str, dtype: Any) -> str:
    if dtype.name not in DTYPES:
        raise BuildError(f"the tensor {name!r} has the type {dtype.name}; known are {', '.join(DTYPES)}")
    return DTYPES[dtype.name]


def _open_batches(builder: Any, config: Any, inputs: Sequence[Tensor], batches: tuple[int, int, int]) -> None:
    """Says how large open first dimensions may be. Raises BuildError if another dimension is open."""
    profile = builder.create_optimization_profile()
    opened = [each for each in inputs if -1 in each.shape]
    for each in opened:
        if -1 in each.shape[1:]:
            raise BuildError(
                f"the input {each.name!r} has the shape {each.shape}: only its first dimension may be open"
            )
        profile.set_shape(each.name, *((number, *each.shape[1:]) for number in batches))
    if opened and config.add_optimization_profile(profile) < 0:
        raise BuildError(f"batches of {batches} do not fit the graph")


def stamp(lib: Library, graph: bytes, *, size: tuple[int, int], precision: str, batches: tuple[int, int, int]) -> Stamp:
    """The stamp of what `build` makes of this graph, here and now."""
    made_with = {"library": lib.name, "version": lib.version, "gpu": gpu(lib)}
    return Stamp(graph=sha256(graph).hexdigest(), size=size, precision=precision, batches=batches, **made_with)


# Running


class Engine:
    """A plan on torch's current GPU, ready to run. For one thread at a time.

    tensorrt_rtx compiles for the GPU when an engine is made, and in the background for each number of pictures that
    is new: its documentation says that what serves until then is slower.
    """

    def __init__(self, lib: Library, plan: bytes) -> None:
        """Raises UnavailableError where there is no driver or GPU for it, or TensorRT does not take the plan."""
        self._lib = lib
        self._runtime = _made(lib, "Runtime")
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise UnavailableError(f"{lib.name} cannot load the plan: {_said(lib)}")
        if not torch.cuda.is_available():
            raise UnavailableError(f"{lib.name} has loaded the plan, but torch finds no GPU: install torch with CUDA")
        self._context = self._engine.create_execution_context()
        if self._context is None:  # for want of memory on the GPU, as a rule
            raise UnavailableError(f"{lib.name} cannot make ready to run the plan: {_said(lib)}")
        self.device = torch.device("cuda", torch.cuda.current_device())
        # Its own: on CUDA's default stream, TensorRT waits for the whole device at each run.
        self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.inputs, self.outputs = self._tensors("INPUT"), self._tensors("OUTPUT")

    def _tensors(self, mode: str) -> tuple[Tensor, ...]:
        """The engine's inputs or outputs, in its order."""
        engine = self._engine
        names = (engine.get_tensor_name(i) for i in range(engine.num_io_tensors))
        return tuple(
            Tensor(
                name=name,
                dtype=_dtype(name, engine.get_tensor_dtype(name)),
                shape=tuple(engine.get_tensor_shape(name)),
            )
            for name in names
            if engine.get_tensor_mode(name) == getattr(self._lib.trt.TensorIOMode, mode)
        )

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The outputs by name, on `device`, for work on the caller's current stream; this does not wait for them.

        Raises ValueError for inputs that do not fit, RuntimeError if TensorRT does not start the work.
        """
        check(self.inputs, inputs, self.device)
        self._lib.log.said.clear()
        with torch.cuda.device(self.device):
            bound = {name: _aligned(tensor) for name, tensor in inputs.items()}
            for name, tensor in bound.items():
                if not self._context.set_input_shape(name, tuple(tensor.shape)):
                    raise ValueError(f"{name!r} of the shape {tuple(tensor.shape)} is not taken: {_said(self._lib)}")
            outputs = {each.name: self._empty(each) for each in self.outputs}
            for name, tensor in {**bound, **outputs}.items():
                if not self._context.set_tensor_address(name, tensor.data_ptr()):
                    raise RuntimeError(f"{self._lib.name} does not take {name!r}: {_said(self._lib)}")
            # The tensors are of the caller's stream, and that waits for ours: memory that is freed from here on is used
            # again after this run, not during it. So nothing has to be recorded or kept.
            caller = torch.cuda.current_stream()
            self._stream.wait_stream(caller)
            started = self._context.execute_async_v3(self._stream.cuda_stream)
            caller.wait_stream(self._stream)
        if not started:
            raise RuntimeError(f"{self._lib.name} cannot run the plan: {_said(self._lib)}")
        return outputs

    def _empty(self, output: Tensor) -> torch.Tensor:
        """Room for this output, in the shape that the inputs give it."""
        shape = tuple(self._context.get_tensor_shape(output.name))
        return torch.empty(shape, dtype=getattr(torch, output.dtype), device=self.device)


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    """This tensor, or a copy if it begins where TensorRT cannot read it: a slice of a batch may."""
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def check(expected: Sequence[Tensor], given: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Raises ValueError, with what is wrong, unless just these tensors are given, contiguous and on this device."""
    names = [each.name for each in expected]
    if sorted(given) != sorted(names):
        raise ValueError(f"the inputs are {', '.join(names)}, not {', '.join(given)}")
    for each in expected:
        tensor = given[each.name]
        shape = tuple(tensor.shape)
        fits = len(shape) == len(each.shape) and all(a in (-1, b) for a, b in zip(each.shape, shape, strict=True))
        if not fits:
            raise ValueError(f"{each.name!r} has the shape {each.shape}, -1 for any, not {shape}")
        if tensor.dtype != getattr(torch, each.dtype):
            raise ValueError(f"{each.name!r} is of {each.dtype}, not {tensor.dtype}")
        if tensor.device != device:
            raise ValueError(f"{each.name!r} has to be on {device}, not {tensor.device}")
        if not tensor.is_contiguous():
            raise ValueError(f"{each.name!r} has to be contiguous; its strides are {tensor.stride()}")
