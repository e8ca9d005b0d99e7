"""Real clips, and reading them without the code under test."""

from collections.abc import Iterator
from pathlib import Path

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
