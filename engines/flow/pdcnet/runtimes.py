"""What PDCNet+ runs on: torch, ONNX Runtime or TensorRT. All take and give torch's tensors, on one device.

What was run: torch and ONNX Runtime, on a CPU. On a GPU the same calls are made with tensors that lie there, more
than one picture in a call, and without what is done for a CPU's caches (bands, layouts). That was never run, nor was
any plan of TensorRT's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from ....proto.errors import Code, RefusedError
from . import tensorrt
from .graphs import GRAPHS
from .network import Field, Filters, Inputs, PDCNet, Pyramids
from .presets import Precision
from .shelf import Size
from .unavailable import UnavailableError

# A graph, ready to run: tensors by name to tensors by name.
Run = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
# Pictures or pairs in one call on a GPU, at most, and pixels of theirs in all: at the finest level a pair of 768x512
# takes 154 MB for one layer alone. Whether a GPU gains from so many was not measured.
MOST_TOGETHER = 8
MOST_PIXELS = MOST_TOGETHER * 768 * 512


class Runtime(Protocol):
    """The three steps of the network, on tensors that lie on `device`. name: with its version.

    most: pictures or pairs that it is given at once. sizes: rounded ones that it is ready for, (W, H).
    """

    name: str
    device: torch.device
    precision: Precision
    most: int

    @property
    def sizes(self) -> Sequence[Size]: ...

    def complaint(self, size: Size) -> str:
        """Why pictures of this rounded size cannot be served, in a sentence; empty: they can."""

    def encode(self, given: Inputs) -> Pyramids:
        """The features of pictures."""

    def prepare(self, target: Pyramids) -> Filters:
        """The filters of targets."""

    def match(self, target: Pyramids, source: Pyramids, filters: Filters) -> Field:
        """The field of each pair, at level 1."""


def most_on(device: torch.device) -> int:
    """How many pictures or pairs at once: a CPU gains nothing from more than one, as its caches hold less of each."""
    return 1 if device.type == "cpu" else MOST_TOGETHER


def most_together(size: Size, most: int = MOST_TOGETHER) -> int:
    """How many pictures or pairs of this size, of so many, memory is likely to hold."""
    return max(1, min(most, MOST_PIXELS // (size[0] * size[1])))


@contextmanager
def single_precision() -> Iterator[None]:
    """What is float32 is computed as that: not as TF32, with which GOCor is off by a thousandth and more."""
    cudnn, before = torch.backends.cudnn, torch.backends.cuda.matmul.allow_tf32
    kept = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    try:
        torch.backends.cuda.matmul.allow_tf32 = False
        with cudnn.flags(**kept, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class TorchRuntime:
    """The network itself, for pictures of any size."""

    name = f"torch {torch.__version__}"
    sizes: Sequence[Size] = ()  # none before others

    def __init__(self, net: PDCNet, device: torch.device) -> None:
        self._net = net.to(device)
        self.precision: Precision = "mixed" if net.is_halved else "fp32"
        self.device, self.most = device, most_on(device)

    def complaint(self, size: Size) -> str:
        """Nothing: it takes any size."""
        return ""

    def encode(self, given: Inputs) -> Pyramids:
        """As of any runtime."""
        with single_precision():
            return self._net.encode(*given)

    def prepare(self, target: Pyramids) -> Filters:
        """As of any runtime."""
        with single_precision():
            return self._net.prepare(*target[:3])

    def match(self, target: Pyramids, source: Pyramids, filters: Filters) -> Field:
        """As of any runtime."""
        with single_precision():
            return self._net.match(target, source, filters)


class GraphRuntime:
    """Graphs that were made for certain sizes; those of a size are opened when its pictures first come.

    opened: makes the graphs of a size ready, or raises RefusedError; complaint: why there are none.
    """

    def __init__(
        self,
        name: str,
        device: torch.device,
        opened: Callable[[Size], Mapping[str, Run]],
        complaint: Callable[[Size], str] = lambda _: "",
        *,
        precision: Precision = "fp32",
    ) -> None:
        self.precision = precision
        self.name, self.device, self.most = name, device, most_on(device)
        self._opened, self._complaint = opened, complaint
        self._graphs: dict[Size, Mapping[str, Run]] = {}

    def complaint(self, size: Size) -> str:
        """Why there is nothing for this size, and what makes it."""
        return "" if size in self._graphs else self._complaint(size)

    @property
    def sizes(self) -> Sequence[Size]:
        """Those that are open."""
        return list(self._graphs)

    def open(self, size: Size) -> Mapping[str, Run]:
        """The graphs of this size. Raises RefusedError: there are none, or they cannot be loaded."""
        if size not in self._graphs:
            complaint = self.complaint(size)
            if complaint:
                raise RefusedError(Code.UNSUPPORTED, complaint)
            self._graphs[size] = self._opened(size)
        return self._graphs[size]

    def _run(self, name: str, fine: Tensor, scale: int, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Runs a graph; the size is told by `fine`, whose sides are 1 / scale of the picture's."""
        size = fine.shape[3] * scale, fine.shape[2] * scale
        ends = GRAPHS[name]
        inward = {each: tensor.contiguous() for each, tensor in zip(ends.inputs, given, strict=True)}
        found = self.open(size)[name](inward)
        return tuple(found[each] for each in ends.outputs)

    def encode(self, given: Inputs) -> Pyramids:
        """As of any runtime."""
        return Pyramids(*self._run("encode", given.fine, 1, given))

    def prepare(self, target: Pyramids) -> Filters:
        """As of any runtime."""
        return Filters(*self._run("prepare", target.f1, 4, target[:3]))

    def match(self, target: Pyramids, source: Pyramids, filters: Filters) -> Field:
        """As of any runtime."""
        return Field(*self._run("match", target.f1, 4, (*target, *source, *filters)))


# --- ONNX Runtime -----------------------------------------------------------------------------------------------------


def onnx_graph(path: Path, device: torch.device, threads: int) -> Run:
    """A graph in ONNX Runtime. Raises RefusedError for a file that it does not take.

    Raises UnavailableError if the device is a GPU, and it has none: it would compute on the CPU then, and say nothing.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # three sessions' threads, between frames
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[_provider(device)])
    except Exception as error:  # its exceptions have no base of their own
        raise RefusedError(Code.UNKNOWN_ENGINE, f"ONNX Runtime does not take {str(path)!r}: {error}") from error
    if device.type == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise UnavailableError("it finds no GPU: its CUDA libraries are missing, or of another version than it wants")
    return lambda given: _bound(session, given, device)


def _provider(device: torch.device) -> Any:
    if device.type != "cuda":
        return "CPUExecutionProvider"
    # Its usual search for convolutions tries all of them at each new number of pictures, while a frame waits.
    options = {"device_id": str(device.index or 0), "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return "CUDAExecutionProvider", options


def _bound(session: Any, given: Mapping[str, Tensor], device: torch.device) -> Mapping[str, Tensor]:
    """Runs a session on contiguous tensors where they lie, into new ones. On a GPU it waits for the result."""
    binding = session.io_binding()
    place = device.type, device.index or 0
    batch = next(iter(given.values())).shape[0]
    found = {}
    for name, tensor in given.items():
        binding.bind_input(name, *place, np.float32, tuple(tensor.shape), tensor.data_ptr())
    for each in session.get_outputs():
        found[each.name] = torch.empty(batch, *each.shape[1:], device=device)
        binding.bind_output(each.name, *place, np.float32, tuple(found[each.name].shape), found[each.name].data_ptr())
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()  # ONNX Runtime has a stream of its own
    session.run_with_iobinding(binding)
    return found


# --- TensorRT ---------------------------------------------------------------------------------------------------------


def tensorrt_plan(library: tensorrt.Library, plan: bytes) -> Run:
    """A plan of TensorRT's, on the current GPU. Raises UnavailableError where there is no GPU for it."""
    return tensorrt.Engine(library, plan).run
