"""Holes filled cheaply: what is seen there, in the colours of the paint around it, until a painter comes to them."""

import cv2
import numpy as np

from .base import Mask, Picture
from .colours import Colours, affine_of, coloured
from .grid import spread

# The tone is found on a grid so many times coarser: it is smooth, and its cost is then next to nothing.
TONE_SCALE = 8
# The raw picture is smoothed by a median of this diameter, pixels: paint has no finer detail than its brush.
SMOOTH_PX = 5
# Around a hole, cells that are off by more levels than this from what is known of the colours are another thing's, or
# an outline: they say nothing of the tone.
EXPLAINED = 32.0
# So far around a hole the tone is read, pixels.
RIM_PX = 16


def fill(paint: Picture, raw: Picture, holes: Mask, colours: Colours | None = None) -> None:
    """Fills the holes [H, W] of the paint [H, W, 3], in place; outside them it stays as it is to the bit.

    What fills a hole is the raw picture [H, W, 3], smoothed, in the colours that raw ones have in the paint, plus what
    the paint around the hole differs from that, spread over it. So it joins the paint without a step, has its colours,
    and holds still as the raw picture does. colours: what is known of them; None: the paint around the hole tells.
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
    smooth = cv2.medianBlur(np.ascontiguousarray(raw[window]), SMOOTH_PX)
    if colours is None:
        affine = affine_of(small_raw[known], small_paint[known])
        plain, rest = cv2.transform(smooth, affine), small_paint - cv2.transform(small_raw, affine)
    else:
        plain = coloured(smooth, colours)
        rest = small_paint - cv2.resize(plain, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        known &= np.abs(rest).max(axis=2) < EXPLAINED
    tone = spread(rest, known, scale=1)
    toned = cv2.add(plain, cv2.resize(tone, (w, h), interpolation=cv2.INTER_LINEAR), dtype=cv2.CV_8U)
    paint[window] = cv2.copyTo(toned, inside.view(np.uint8), np.ascontiguousarray(paint[window]))


def _window(holes: Mask) -> tuple[slice, slice] | None:
    """The box that holds all holes and something of what is around them, in whole cells of the tone, as an index."""
    x, y, w, h = cv2.boundingRect(holes.view(np.uint8))
    if not w:
        return None

    def span(start: int, length: int) -> slice:
        first, end = max(0, start - RIM_PX) // TONE_SCALE, -(-(start + length + RIM_PX) // TONE_SCALE)
        return slice(first * TONE_SCALE, end * TONE_SCALE)

    return span(y, h), span(x, w)
