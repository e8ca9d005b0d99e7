"""Chooses what PDCNet+ runs on: what the settings name, or the next best that this machine can do."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnxruntime
import torch

from ....proto.errors import Code, RefusedError
from ...devices import device_of
from ...settings import EngineSettings, size_of
from . import tensorrt
from .making import by_onnx, difference, load_plans, make_graphs, make_plans
from .network import LARGE_TILE, SMALL_TILE, rounded
from .plans import StalePlanError
from .presets import RuntimeName
from .runtimes import GraphRuntime, Run, Runtime, TorchRuntime, tensorrt_plan
from .shelf import Shelf, Size, default_folder, said
from .unavailable import UnavailableError
from .weights import Weights

log = logging.getLogger(__name__)

# What is tried, one after another.
LADDERS: Mapping[RuntimeName, Sequence[RuntimeName]] = {
    "tensorrt": ("tensorrt", "onnx", "torch"),
    "onnx": ("onnx", "torch"),
    "torch": ("torch",),
}


@dataclass(frozen=True)
class Bench:
    """What a runtime is made of."""

    settings: EngineSettings
    weights: Weights
    shelf: Shelf
    device: torch.device
    sizes: Sequence[Size]  # that are wanted from the start

    def command(self, name: str, size: Size) -> str:
        """The command that makes what is missing for pictures of this size."""
        words = ["python", "-m", f"warpaint.engines.flow.{name}", "--weights", str(self.weights.path.resolve())]
        words += ["--size", said(size), "--preset", self.shelf.preset, "--precision", self.shelf.precision]
        words += [] if self.settings.pdcnet_cache is None else ["--cache", str(self.settings.pdcnet_cache.resolve())]
        return shlex.join(words)


def chosen(settings: EngineSettings, weights: Weights) -> Runtime:
    """The runtime that the settings name, ready for the sizes that they name.

    If this machine cannot run it, the next one of its ladder, with a warning that says why; on its own (`auto`) it does
    the same where graphs or plans are missing.
    Raises RefusedError: there are none for a size, and they are not to be made; or a device is not here.
    """
    device = torch.device(device_of(settings.device))
    folder = settings.pdcnet_cache or default_folder()
    shelf = Shelf(folder, weights.digest, settings.pdcnet_preset, settings.pdcnet_precision)
    sizes = sorted({rounded(size_of(each)) for each in settings.pdcnet_sizes})
    bench = Bench(settings, weights, shelf, device, sizes)
    wanted = settings.pdcnet_runtime
    if wanted == "auto":  # on a CPU, graphs gain nothing
        wanted = "tensorrt" if device.type == "cuda" and (shelf.sizes or settings.pdcnet_build) else "torch"
    *others, last = LADDERS[wanted]
    for name in others:
        try:
            return MAKERS[name](bench)
        except (UnavailableError, RefusedError) as error:
            # What was named and lacks something is refused, with what helps; what is fallen back to is passed over.
            if isinstance(error, RefusedError) and name == settings.pdcnet_runtime:
                raise
            log.warning("pdcnet does not run on %s: %s", name, error)
    return MAKERS[last](bench)


def _torch(bench: Bench) -> Runtime:
    on_cpu = bench.device.type == "cpu"
    net = bench.weights.network(bench.shelf.preset, tile=SMALL_TILE if on_cpu else LARGE_TILE)
    if bench.shelf.precision == "mixed" and on_cpu:
        log.warning("pdcnet runs in fp32: torch takes minutes for halves on a CPU")
    elif bench.shelf.precision == "mixed":
        net = net.halved()
    return TorchRuntime(net, bench.device)


def _onnx(bench: Bench) -> Runtime:
    if bench.device.type == "mps":
        raise UnavailableError("it is not used on the device 'mps'")
    if bench.device.type == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise UnavailableError(
            "this one knows no GPU: pip uninstall onnxruntime && pip install onnxruntime-gpu, at its version"
        )

    def complaint(size: Size) -> str:
        if bench.shelf.has(size):
            return ""
        return f"PDCNet+ has no graphs for pictures of {said(size)}; this makes them: {bench.command('export', size)}"

    _have_graphs(bench)
    return _ready(
        bench,
        GraphRuntime(
            f"ONNX Runtime {onnxruntime.__version__}",
            bench.device,
            lambda size: by_onnx(bench.shelf, size, bench.device),
            complaint,
            precision=bench.shelf.precision,
        ),
    )


def _tensorrt(bench: Bench) -> Runtime:
    if bench.device.type != "cuda":
        raise UnavailableError(f"it needs a GPU of NVIDIA's, and the device is {bench.device.type!r}")
    library = tensorrt.library()

    def complaint(size: Size) -> str:
        why = _why_no_plans(library, bench.shelf, size)
        return f"{why}; this makes them: {bench.command('build', size)}" if why else ""

    def opened(size: Size) -> Mapping[str, Run]:
        plans = load_plans(library, bench.shelf, size)
        return {name: tensorrt_plan(library, plan) for name, plan in plans.items()}

    _have_graphs(bench)
    if bench.settings.pdcnet_build:
        for size in bench.sizes:
            if complaint(size):
                log.info("pdcnet: TensorRT builds plans for %s, which takes minutes", said(size))
                _build(library, bench.shelf, size)
    name, precision = f"{library.name} {library.version}", bench.shelf.precision
    return _ready(bench, GraphRuntime(name, bench.device, opened, complaint, precision=precision))


def _build(library: tensorrt.Library, shelf: Shelf, size: Size) -> None:
    try:
        make_plans(library, shelf, size)
    except tensorrt.BuildError as error:
        raise RefusedError(Code.UNKNOWN_ENGINE, str(error)) from error


def _why_no_plans(library: tensorrt.Library, shelf: Shelf, size: Size) -> str:
    """Why the plans of a size cannot be loaded; empty: they can, as far as that is known without a GPU."""
    try:
        load_plans(library, shelf, size)
    except FileNotFoundError:
        return (
            f"TensorRT has no plans of PDCNet+ for pictures of {said(size)}, made by {library.name} {library.version}"
        )
    except (OSError, StalePlanError) as error:
        return f"TensorRT's plans of PDCNet+ for pictures of {said(size)} cannot be used: {error}"
    return ""


def _have_graphs(bench: Bench) -> None:
    """Makes the graphs that are missing, if that is wanted."""
    if bench.settings.pdcnet_build:
        for size in bench.sizes:
            if not bench.shelf.has(size):
                log.info("pdcnet: graphs are made for %s, which takes a minute", said(size))
                log.info("pdcnet: %s", make_graphs(bench.weights, bench.shelf, size))


def _ready(bench: Bench, runtime: GraphRuntime) -> Runtime:
    """The runtime, with the sizes opened that are wanted from the start; if none are named, the smallest there is.

    On a GPU it is compared with torch first. Raises UnavailableError if it does not compute the same.
    """
    there = [size for size in bench.shelf.sizes if not runtime.complaint(size)]
    for size in bench.sizes or there[:1] or [rounded((1, 1))]:
        runtime.open(size)
        if bench.device.type != "cpu":  # there, what was compared when the graphs were made is what runs
            found = difference(bench.weights, bench.shelf, size, runtime)
            log.info("pdcnet: %s at %s against torch on the CPU: %s", runtime.name, said(size), found)
            if not found.is_rounding:
                raise UnavailableError(f"at {said(size)} it does not compute what torch does: {found}")
    return runtime


MAKERS = {"torch": _torch, "onnx": _onnx, "tensorrt": _tensorrt}
