"""Changes of light: paint gets as much lighter or darker as the film did since it was painted.

Only what is smooth is followed, over tens of pixels: detail that differs is another thing, or another place.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Flow, Picture
from .grid import halved_towards, pixel_grid

# Light is read on a grid so many times coarser than the canvas.
LIGHT_SCALE = 8
# Cells whose colours differ by more levels than this show something else: they say nothing of the light.
ANOTHER_THING = 48.0
# Sigma of what is smooth, cells of that grid.
SMOOTH_CELLS = 3.0
# So many levels are added to both sides of a ratio: in the dark, noise is most of what is seen.
DARK_LEVELS = 24.0
# Light changes by no more than this factor, either way.
MOST_GAIN = 2.0
# A change by less than this share is none, and as much less is made of any other one: what stands still beside
# something that moves is to stay as it is to the bit.
LEAST_CHANGE = 0.01

Gain = NDArray[np.float32]  # [h, w, 3], by channel, on the coarse grid


def gain_since(number: NDArray[np.uint8], offset: Flow, raws: Mapping[int, Picture], raw: Picture) -> Gain | None:
    """How much lighter a frame is than what its paint was painted of; None: it is not.

    number: [h, w], the reference of each pixel on the flow's grid, 0 for none; offset: [h, w, 2], pixels of that grid,
    into the reference. raws: the frames [H, W, 3] of the references; raw: [H, W, 3], the frame.
    """
    height, width = raw.shape[:2]
    w, h = max(1, width // LIGHT_SCALE), max(1, height // LIGHT_SCALE)
    middles = np.ix_(_middles(number.shape[0], h), _middles(number.shape[1], w))
    to_cells = np.array((w / number.shape[1], h / number.shape[0]), np.float32)
    number, places = number[middles], offset[middles] * to_cells + pixel_grid(w, h)
    now, known = _small(raw, (w, h)), np.isin(number, list(raws))
    then = now.copy()
    for each in np.unique(number[known]).tolist():
        seen = _small(raws[each], (w, h))
        there = cv2.remap(seen, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cv2.copyTo(there, (number == each).view(np.uint8), then)
    known &= np.abs(now - then).max(axis=2) < ANOTHER_THING
    change = np.log((now + np.float32(DARK_LEVELS)) / (then + np.float32(DARK_LEVELS)))
    change[~known] = 0
    if np.abs(change).max() <= LEAST_CHANGE:
        return None
    mass = cv2.GaussianBlur(known.astype(np.float32), (0, 0), SMOOTH_CELLS)
    smooth = cv2.GaussianBlur(change, (0, 0), SMOOTH_CELLS) / np.maximum(mass, np.float32(1e-3))[..., None]
    most = np.log(MOST_GAIN)
    felt = np.sign(smooth) * np.clip(np.abs(smooth) - LEAST_CHANGE, 0, most)
    return np.exp(felt).astype(np.float32) if felt.any() else None


def lit(paint: Picture, gain: Gain) -> Picture:
    """The paint [H, W, 3] in that light."""
    h, w = paint.shape[:2]
    return cv2.multiply(paint, cv2.resize(gain, (w, h), interpolation=cv2.INTER_LINEAR), dtype=cv2.CV_8U)


def _small(picture: Picture, size: tuple[int, int]) -> NDArray[np.float32]:
    return cv2.resize(halved_towards(picture, size), size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _middles(pixels: int, cells: int) -> NDArray[np.intp]:
    """The pixels in the middles of so many cells."""
    return np.minimum(((np.arange(cells) + 0.5) * pixels / cells).astype(np.intp), pixels - 1)
