"""Real clips, and reading and coding them without the code under test."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

FOOTAGE = Path(__file__).parents[2] / "footage"


def clip(name: str) -> Path:
    """The path of a real clip: bigbuckbunny, bikes or carphone_pristine. Raises FileNotFoundError."""
    path = FOOTAGE / f"{name}.mp4"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run `make footage`")
    return path


def frames(
    name: str, size: tuple[int, int] | None = None, *, start: int = 0, stop: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Frames [H, W, 3], BGR, of a real clip, made this size (W, H)."""
    with av.open(str(clip(name))) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == stop:
                return
            if number >= start:
                picture = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                yield cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if size else picture


def coded(pictures: Sequence[NDArray[np.uint8]], *, gop: int | None = None) -> list[bytes]:
    """An h264 stream of BGR pictures of one size, one payload a picture.

    gop: every so many pictures there is a keyframe; None: only where the codec finds one is needed.
    """
    height, width = pictures[0].shape[:2]
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt, context.time_base = width, height, "yuv420p", Fraction(1, 25)
    context.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "8"}
    if gop is not None:
        context.gop_size = gop
    payloads = []
    for picture in pictures:
        (packet,) = context.encode(av.VideoFrame.from_ndarray(picture, "bgr24"))
        payloads.append(bytes(packet))
    return payloads
