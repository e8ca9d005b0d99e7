"""Makes what PDCNet+ runs on beside torch: graphs, checked against torch on the spot, and plans of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ....proto.errors import Code, RefusedError
from ... import workers
from . import tensorrt
from .graphs import GRAPHS, exported
from .network import LARGE_TILE, Field, Inputs, finished, inputs, p_r
from .plans import Stamp, load_plan, save_plan
from .presets import PRESETS
from .runtimes import GraphRuntime, Run, Runtime, TorchRuntime, most_together, onnx_graph
from .shelf import Shelf, Size, said
from .weights import Weights

CPU = torch.device("cpu")
# How far graphs may be from torch, mean over the picture, pixels. At three iterations, roundings are all; after six or
# more, a score near zero changes its sign between two roundings here and there, and a filter goes another way.
FEW_ITERATIONS = 3
MEAN_FLOW_PX, MEAN_FLOW_MANY_PX = 1e-3, 5e-3
# And p_R at any pixel.
MOST_P_R_OFF, MOST_P_R_OFF_MANY = 1e-3, 1e-2
# Half precision has three digits: off by this share of the largest flow, it is rounding and no fault.
MIXED_SHARE, MOST_P_R_OFF_MIXED = 0.01, 5e-2


@dataclass(frozen=True)
class Difference:
    """How far graphs are from torch in float32, on a pair of generated pictures; flow in pixels, p_R of 0..0.57."""

    flow_mean: float
    flow_max: float
    p_r_max: float
    allowed_flow_mean: float
    allowed_p_r_max: float

    @property
    def is_rounding(self) -> bool:
        """Whether it is no more than what rounding makes; not so for numbers that are not finite."""
        return self.flow_mean <= self.allowed_flow_mean and self.p_r_max <= self.allowed_p_r_max

    def __str__(self) -> str:
        return (
            f"flow differs by {self.flow_mean:.1e} px in the mean and {self.flow_max:.1e} at most, "
            f"p_R by {self.p_r_max:.1e} at most"
        )


def make_graphs(weights: Weights, shelf: Shelf, size: Size) -> Difference:
    """Makes the graphs of a size, and tells how far ONNX Runtime is with them from torch, both on the CPU.

    In mixed precision that is what rounding the weights does: on a CPU, ONNX Runtime computes halves in float32.
    Raises OSError, and RefusedError if the difference is more than rounding makes: they are not kept then.
    """
    net = weights.network(shelf.preset, tile=LARGE_TILE)
    metadata = {"weights_sha256": weights.digest, "preset": shelf.preset, "precision": shelf.precision}
    graphs = exported(net.halved() if shelf.precision == "mixed" else net, size, metadata)
    with TemporaryDirectory(prefix="warpaint-") as folder:
        trial = replace(shelf, folder=Path(folder))
        trial.save(size, graphs)
        found = difference(weights, shelf, size, GraphRuntime("onnx", CPU, lambda each: by_onnx(trial, each, CPU)))
    if not found.is_rounding:
        raise RefusedError(
            Code.UNKNOWN_ENGINE, f"graphs of PDCNet+ for {said(size)} do not compute what torch does: {found}"
        )
    shelf.save(size, graphs)
    return found


def difference(weights: Weights, shelf: Shelf, size: Size, runtime: Runtime) -> Difference:
    """How far a runtime is from torch in float32 on the CPU."""
    target, source = _pair(size)
    want, got = (_field(each, target, source) for each in (TorchRuntime(weights.network(shelf.preset), CPU), runtime))
    flow = (want.flow - got.flow).abs()
    few = max(PRESETS[shelf.preset]) <= FEW_ITERATIONS
    allowed_px, allowed_p_r = (MEAN_FLOW_PX, MOST_P_R_OFF) if few else (MEAN_FLOW_MANY_PX, MOST_P_R_OFF_MANY)
    if shelf.precision == "mixed":
        allowed_px, allowed_p_r = MIXED_SHARE * float(want.flow.abs().max()), MOST_P_R_OFF_MIXED
    off = (p_r(want) - p_r(got)).abs()
    return Difference(float(flow.mean()), float(flow.max()), float(off.max()), allowed_px, allowed_p_r)


def by_onnx(shelf: Shelf, size: Size, device: torch.device) -> Mapping[str, Run]:
    """The graphs of a size in ONNX Runtime. Raises RefusedError."""
    return {name: onnx_graph(shelf.graph(size, name), device, workers.count()) for name in GRAPHS}


def _pair(size: Size) -> tuple[Inputs, Inputs]:
    """Two pictures with a known shift, of soft noise."""
    width, height = size
    noise = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(noise, (height + 8, width + 8), mode="bicubic", align_corners=False)
    picture = 255 * large.clamp(0, 1)
    return inputs(picture[..., :-8, :-8], size), inputs(picture[..., 3:-5, 5:-3], size)


@torch.inference_mode()
def _field(runtime: Runtime, target: Inputs, source: Inputs) -> Field:
    """The field of a pair at the pictures' size, on the CPU."""
    seen, other = (runtime.encode(Inputs(*(each.to(runtime.device) for each in given))) for given in (target, source))
    field = runtime.match(seen, other, runtime.prepare(seen))
    return Field(*(each.cpu() for each in finished(field, (target.fine.shape[3], target.fine.shape[2]))))


# --- Plans ------------------------------------------------------------------------------------------------------------


def make_plans(library: tensorrt.Library, shelf: Shelf, size: Size) -> list[Path]:
    """Builds the plans of a size's graphs: their files. Raises OSError, BuildError, UnavailableError."""
    paths = []
    for name in GRAPHS:
        graph = shelf.graph(size, name).read_bytes()
        stamp = _stamp(library, graph, shelf, size)
        path = shelf.plan(size, name, stamp)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_plan(path, tensorrt.build(library, graph, batches=_batches(size)), stamp)
        paths.append(path)
    return paths


def load_plans(library: tensorrt.Library, shelf: Shelf, size: Size) -> dict[str, bytes]:
    """The plans of a size. Raises StalePlanError for one that is damaged or of something else, OSError for none."""
    plans = {}
    for name in GRAPHS:
        stamp = _stamp(library, shelf.graph(size, name).read_bytes(), shelf, size)
        plans[name] = load_plan(shelf.plan(size, name, stamp), stamp)[0].plan
    return plans


def _batches(size: Size) -> tuple[int, int, int]:
    """Pictures or pairs in a call of a plan: least, usual, most. A frame has two references as a rule."""
    most = most_together(size)
    return 1, min(2, most), most


def _stamp(library: tensorrt.Library, graph: bytes, shelf: Shelf, size: Size) -> Stamp:
    return tensorrt.stamp(library, graph, size=size[::-1], precision=shelf.precision, batches=_batches(size))
