"""Flow, confidence, hops and holes at some moments, from the folder that `warpaint run --maps` wrote."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import MediaError
from ..sheet import Flow, flow_colours, full_speed, holes_picture
from .pictures import Tiles, strip
from .reading import Picture

HOW = (
    "Flow: hue is the direction in which a pixel was looked for, white stands still, full colour is {speed:.1f} "
    "pixels. Confidence: dark is unsure. Hops: white is freshly painted, dark was resampled often. Holes are orange: "
    "they were painted anew."
)


def map_strip(folder: Path, moments: Sequence[tuple[int, Picture, Picture]], at: Callable[[int], str]) -> str:
    """A row of pictures for each moment: frame number, raw picture, painted picture. Raises MediaError."""
    flows = [_flow(folder, frame) for frame, _, _ in moments]
    speed = full_speed(flows)
    rows = []
    for (frame, raw, painted), flow in zip(moments, flows, strict=True):
        holes = _picture(folder, frame, "holes", cv2.IMREAD_GRAYSCALE)
        pictures = [
            (raw, "raw"),
            (painted, "painted"),
            (flow_colours(flow, speed), "flow"),
            (_picture(folder, frame, "confidence"), "confidence"),
            (_picture(folder, frame, "hops"), "hops"),
            (holes_picture(raw, holes > 0), "holes"),
        ]
        rows.append(Tiles(at(frame), pictures))
    return f'<p class="how">{HOW.format(speed=speed)}</p>' + strip(rows)


def _flow(folder: Path, frame: int) -> Flow:
    file = folder / f"{frame:06d}-flow.npy"
    try:
        flow = np.load(file, allow_pickle=False)
    except (OSError, ValueError):
        raise _missing(file) from None
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype != np.float32:
        raise _missing(file)
    return flow


def _picture(folder: Path, frame: int, name: str, flags: int = cv2.IMREAD_COLOR) -> Picture:
    file = folder / f"{frame:06d}-{name}.png"
    data = np.fromfile(file, np.uint8) if file.is_file() else np.empty(0, np.uint8)
    picture = cv2.imdecode(data, flags) if data.size else None
    if picture is None:
        raise _missing(file)
    return np.asarray(picture, np.uint8)


def _missing(file: Path) -> MediaError:
    return MediaError(f"{file}: this is to be a map that `warpaint run --maps` wrote, and is not")
