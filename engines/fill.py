"""Holes filled cheaply: what is seen there, in the colours of the paint around it, until a painter comes to them.

And the colours themselves: how those of a painting come from those of its raw picture.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Mask, Picture
from .grid import spread

# An affine map of colours: [3, 4] float32, B, G, R and one of the raw picture, 0..255, to B, G, R of the paint.
Colours = NDArray[np.float32]

# The tone is found on a grid so many times coarser: it is smooth, and its cost is then next to nothing.
TONE_SCALE = 8
# The raw picture is smoothed by a median of this diameter, pixels: paint has no finer detail than its brush.
SMOOTH_PX = 5
# The evidence that it takes to change colours: ten pixels on the grid of the tone, eight levels apart. Where less paint
# is known, its few colours say nothing of the others. Squared levels.
LEAVE_ALONE = 10 * 8.0**2
# So far around a hole the tone is read, pixels.
RIM_PX = 16


def fill(paint: Picture, raw: Picture, holes: Mask) -> None:
    """Fills the holes [H, W] of the paint [H, W, 3], in place; outside them it stays as it is to the bit.

    What fills a hole is the raw picture [H, W, 3], smoothed, in the colours that raw ones have in the paint, plus what
    the paint around the hole differs from that, spread over it. So it joins the paint without a step, has its colours,
    and holds still as the raw picture does.
    """
    window = _window(holes)
    if window is None:
        return
    inside = holes[window]
    h, w = inside.shape
    size = max(1, w // TONE_SCALE), max(1, h // TONE_SCALE)
    known = cv2.resize(inside.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA) == 0
    small_paint, small_raw = (
        cv2.resize(each[window], size, interpolation=cv2.INTER_AREA).astype(np.float32) for each in (paint, raw)
    )
    colours = _colours(small_raw[known], small_paint[known])
    tone = spread(small_paint - cv2.transform(small_raw, colours), known, scale=1)
    smooth = cv2.medianBlur(np.ascontiguousarray(raw[window]), SMOOTH_PX)
    coloured = cv2.transform(smooth, colours)
    toned = cv2.add(coloured, cv2.resize(tone, (w, h), interpolation=cv2.INTER_LINEAR), dtype=cv2.CV_8U)
    paint[window] = cv2.copyTo(toned, inside.view(np.uint8), np.ascontiguousarray(paint[window]))


def colours_of(raw: Picture, paint: Picture) -> Colours:
    """How the colours of a painting [H, W, 3] come from those of its raw picture, over cells of TONE_SCALE pixels."""
    h, w = raw.shape[:2]
    size = max(1, w // TONE_SCALE), max(1, h // TONE_SCALE)
    small = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (raw, paint))
    return _colours(*(each.reshape(-1, 3).astype(np.float32) for each in small))


def coloured(raw: Picture, colours: Colours) -> Picture:
    """The picture [H, W, 3] in these colours."""
    return np.asarray(cv2.transform(raw, colours), np.uint8)


def _colours(raw: NDArray[np.float32], paint: NDArray[np.float32]) -> Colours:
    """The affine map [3, 4] that takes raw colours [n, 3] to the paint's: least squares, drawn to changing nothing."""
    known = np.column_stack([raw, np.full(len(raw), 255, np.float32)]).astype(np.float64)
    normal = known.T @ known + np.eye(4) * LEAVE_ALONE
    change = np.linalg.solve(normal, known.T @ (paint - raw))
    colours = np.eye(3, 4) + change.T
    colours[:, 3] *= 255
    return colours.astype(np.float32)


def _window(holes: Mask) -> tuple[slice, slice] | None:
    """The box that holds all holes and something of what is around them, in whole cells of the tone, as an index."""
    x, y, w, h = cv2.boundingRect(holes.view(np.uint8))
    if not w:
        return None

    def span(start: int, length: int) -> slice:
        first, end = max(0, start - RIM_PX) // TONE_SCALE, -(-(start + length + RIM_PX) // TONE_SCALE)
        return slice(first * TONE_SCALE, end * TONE_SCALE)

    return span(y, h), span(x, w)
