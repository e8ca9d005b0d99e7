"""What PDCNet+ takes: CPU seconds of a frame with one keyframe that is kept, and with two, beside the published net.

The weights are made by a rule: time does not depend on them.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.table import Table

from support.pdc_weights import save_weights
from warpaint.engines import workers
from warpaint.engines.base import MatchRequest, Picture
from warpaint.engines.flow.pdcnet.engine import PDCNetFlow
from warpaint.engines.flow.pdcnet.making import by_onnx, make_graphs
from warpaint.engines.flow.pdcnet.network import PDCNet, inputs
from warpaint.engines.flow.pdcnet.presets import PresetName
from warpaint.engines.flow.pdcnet.runtimes import GraphRuntime, Runtime, TorchRuntime
from warpaint.engines.flow.pdcnet.shelf import Shelf
from warpaint.engines.flow.pdcnet.weights import Weights

CPU = torch.device("cpu")
RUNS = 3  # of which the quickest counts


class Reference(NamedTuple):
    """The published program, one thread, where it was measured: CPU seconds of a pair; and of the stems of one picture.

    The stems are plain convolutions of torch's, the same here and there: they tell how the two machines compare.
    """

    pair_s: dict[PresetName, float]
    stems_s: float


REFERENCES = {
    (384, 256): Reference({"original": 6.7, "fast": 3.2}, 0.70),
    (768, 512): Reference({"original": 23.4, "fast": 10.4}, 2.1),
}
# At 14 and 6 iterations: how many times less than the reference, with one keyframe and with two.
AIMS = "4", "6"


def run() -> Table:
    """CPU seconds on one thread, and how many times less that is than the published program's, for this machine."""
    torch.set_num_threads(1)
    workers.use(1)
    title = "PDCNet+: CPU seconds a frame, one thread; beside the published program, by this machine's convolutions"
    columns = ("picture", "preset", "by", "one keyframe", "two", "published", "times less", "aim", "with two", "aim")
    table = Table(*columns, title=title)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "made.safetensors"
        save_weights(file)
        weights = Weights(file)
        for size, reference in REFERENCES.items():
            slower = _stems_s(weights.network("fast"), size) / reference.stems_s
            for preset, pair_s in reference.pair_s.items():
                for runtime in (_torch(weights, preset), _onnx(weights, preset, size, Path(folder))):
                    aims = AIMS if preset == "original" else ("", "")
                    cells = _cells(runtime, size, pair_s * slower, aims)
                    table.add_row(f"{size[0]}x{size[1]}", preset, runtime.name, *cells)
    return table


def _torch(weights: Weights, preset: PresetName) -> Runtime:
    return TorchRuntime(weights.network(preset), CPU)


def _onnx(weights: Weights, preset: PresetName, size: tuple[int, int], folder: Path) -> Runtime:
    shelf = Shelf(folder, weights.digest, preset, "fp32")
    make_graphs(weights, shelf, size)
    return GraphRuntime("onnx", CPU, lambda each: by_onnx(shelf, each, CPU))


def _cells(runtime: Runtime, size: tuple[int, int], pair_s: float, aims: tuple[str, str]) -> list[str]:
    flow = PDCNetFlow(runtime)
    one, two = (_frame_s(flow, size, keyframes) for keyframes in (1, 2))
    ratios = pair_s / one, 2 * pair_s / two
    cells = [f"{one:.2f}", f"{two:.2f}", f"{pair_s:.1f}"]
    return cells + [cell for ratio, aim in zip(ratios, aims, strict=True) for cell in (f"{ratio:.1f}", aim)]


def _frame_s(flow: PDCNetFlow, size: tuple[int, int], keyframes: int) -> float:
    """CPU seconds for a new frame: encoding it, its filters, and its match with each keyframe."""
    pictures = _pictures(size, keyframes + 1)
    kept = flow.encode(pictures[1:])

    def frame() -> None:
        [target] = flow.encode(pictures[:1])
        flow.match([MatchRequest(target, kept, [None] * keyframes)])

    return _least_s(frame)


def _stems_s(net: PDCNet, size: tuple[int, int]) -> float:
    """CPU seconds for the two stems of one picture, as plain convolutions, and making what they see."""
    [picture] = _pictures(size, 1)
    plain = torch.from_numpy(picture).permute(2, 0, 1)[None]

    def stems() -> None:
        seen = inputs(plain, size)
        for z, stem, blocks in ((seen.fine, net.pyramid, 4), (seen.coarse, net.pyramid_256, 5)):
            for block in list(stem.children())[:blocks]:
                z = block(z)

    return _least_s(stems)


def _least_s(work: Callable[[], None]) -> float:
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        with torch.inference_mode():
            work()
        times.append(time.process_time() - began)
    return min(times)


def _pictures(size: tuple[int, int], count: int) -> list[Picture]:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0] + count, 3), np.uint8)
    return [np.ascontiguousarray(noise[:, shift : shift + size[0]]) for shift in range(count)]
