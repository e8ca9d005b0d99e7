"""The working canvas: frames of any size, turned upright, made to fit, and given back as they came."""

from dataclasses import dataclass

import cv2

from ..engines.base import Picture
from ..engines.crops import CELL

_TURN = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True, slots=True)
class Canvas:
    """How frames of a source lie on the working canvas. All sizes are (W, H), pixels.

    `content` is the upright picture, scaled only if it must be; `size` is that, padded at the right and below to a
    multiple of CELL. A frame that fits is never resampled.
    """

    rotation: int
    upright: tuple[int, int]
    content: tuple[int, int]
    size: tuple[int, int]

    def put(self, picture: Picture) -> Picture:
        """A frame as stored, [h, w, 3], on the canvas: [H, W, 3]."""
        if self.rotation:
            picture = cv2.rotate(picture, _TURN[self.rotation])
        if self.content != self.upright:
            picture = cv2.resize(picture, self.content, interpolation=cv2.INTER_AREA)
        right, below = self.size[0] - self.content[0], self.size[1] - self.content[1]
        if right or below:
            picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
        return picture

    def take(self, painted: Picture) -> Picture:
        """A canvas [H, W, 3] as the source stores its frames: [h, w, 3]."""
        width, height = self.content
        picture = painted[:height, :width]
        if self.content != self.upright:
            picture = cv2.resize(picture, self.upright, interpolation=cv2.INTER_CUBIC)
        if self.rotation:
            picture = cv2.rotate(picture, _TURN[360 - self.rotation])
        return picture


def plan(width: int, height: int, rotation: int, max_pixels: int) -> Canvas:
    """The canvas of at most max_pixels for frames of this stored size."""
    upright = (height, width) if rotation in (90, 270) else (width, height)
    content = _fitted(upright, max_pixels)
    return Canvas(rotation, upright, content, (_padded(content[0]), _padded(content[1])))


def _fitted(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """The size itself, or the largest of its shape whose padded area is within max_pixels."""
    width, height = size
    scale = 1.0
    w, h = width, height
    while _padded(w) * _padded(h) > max_pixels and (w > CELL or h > CELL):
        scale *= min(0.995, (max_pixels / (_padded(w) * _padded(h))) ** 0.5)
        w, h = max(1, round(width * scale)), max(1, round(height * scale))
    return w, h


def _padded(side: int) -> int:
    return -(-side // CELL) * CELL
