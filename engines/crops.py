"""Where to paint: boxes around groups of holes, so that the cost follows the area of the holes, not of the frame.

Boxes are found on a coarse grid of cells: a few thousand of them, however large the canvas.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Mask

# Side of a cell, pixels: the working size is a multiple of it, and so is a latent of a diffusion model.
CELL = 8
# A painter sees so many cells around a hole: a brush stroke's width.
MARGIN = 1
# Holes nearer to each other than this, cells, are painted together: a box of its own would mostly be margin.
JOIN = 1
# A box is cut in two where that leaves less than this share of its area to paint: each cut may show as a seam.
WORTH_CUTTING = 0.95
# Above this share of the canvas, all boxes together are one: the canvas.
WHOLE_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Box:
    """x0 <= x < x1 and y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        """How many pixels, or cells, lie inside."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The index of this box in an array [H, W, ...]."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


def crops(holes: Mask) -> list[Box]:
    """Boxes, pixels, that together hold all holes [H, W], with a margin; in reading order. H, W: multiples of CELL."""
    if not holes.any():
        return []
    h, w = holes.shape
    # The mean of a cell with one hole is 255 / 64, which rounds to 4.
    cells = cv2.resize(holes.view(np.uint8) * np.uint8(255), (w // CELL, h // CELL), interpolation=cv2.INTER_AREA) > 0
    canvas = Box(0, 0, cells.shape[1], cells.shape[0])
    boxes = [_with_margin(box, canvas) for group in _groups(cells) for box in _cut(group, 0, 0)]
    boxes = _merged(boxes)
    if sum(box.area for box in boxes) > WHOLE_SHARE * canvas.area:
        boxes = [canvas]
    ordered = sorted(boxes, key=lambda box: (box.y0, box.x0))
    return [Box(box.x0 * CELL, box.y0 * CELL, box.x1 * CELL, box.y1 * CELL) for box in ordered]


def _groups(cells: Mask) -> Iterator[Mask]:
    """The cells of each group of holes that lie near each other."""
    joined = cv2.dilate(cells.view(np.uint8), np.ones((JOIN, JOIN), np.uint8))
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    for group in range(1, count):
        yield cells & (labels == group)


def _cut(cells: Mask, x: int, y: int) -> list[Box]:
    """The tight box of these cells, which start at (x, y), or of their two parts where cutting saves enough."""
    box = _tight(cells)
    if box is None:
        return []
    inner = cells[box.slices]
    x, y = x + box.x0, y + box.y0
    h, w = inner.shape
    rows, columns = _cut_costs(inner), _cut_costs(inner.T)
    best = min(rows.min(initial=np.inf), columns.min(initial=np.inf))
    if best > WORTH_CUTTING * _cost(w, h):
        return [Box(x, y, x + w, y + h)]
    if best in rows:
        at = int(rows.argmin()) + 1
        return _cut(inner[:at], x, y) + _cut(inner[at:], x, y + at)
    at = int(columns.argmin()) + 1
    return _cut(inner[:, :at], x, y) + _cut(inner[:, at:], x + at, y)


def _tight(cells: Mask) -> Box | None:
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    if not rows.size:
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _cost(width: Any, height: Any) -> Any:
    """The cells to paint for boxes of this size, margin and all. Numbers or arrays."""
    return (width + 2 * MARGIN) * (height + 2 * MARGIN)


def _cut_costs(cells: Mask) -> NDArray[np.float64]:
    """What the two tight boxes cost when tight cells [h, w] are cut above row 1, 2, ... h - 1: [h - 1]."""
    return _costs_above(cells)[:-1] + _costs_above(cells[::-1])[:-1][::-1]


def _costs_above(cells: Mask) -> NDArray[np.float64]:
    """What the tight box of rows 0 to i costs, for each i: [h]. Row 0 is not empty."""
    w = cells.shape[1]
    filled = cells.any(axis=1)
    left = np.where(filled, cells.argmax(axis=1), w)
    right = np.where(filled, w - cells[:, ::-1].argmax(axis=1), 0)
    width = np.maximum.accumulate(right) - np.minimum.accumulate(left)
    height = np.maximum.accumulate(np.where(filled, np.arange(1, len(cells) + 1), 0))
    costs: NDArray[np.float64] = _cost(width, height).astype(np.float64)
    return costs


def _with_margin(box: Box, canvas: Box) -> Box:
    return Box(
        max(0, box.x0 - MARGIN),
        max(0, box.y0 - MARGIN),
        min(canvas.x1, box.x1 + MARGIN),
        min(canvas.y1, box.y1 + MARGIN),
    )


def _merged(boxes: list[Box]) -> list[Box]:
    """The boxes, with those made one that are no dearer together."""
    merged: list[Box] = []
    for box in boxes:
        while True:
            other = next((each for each in merged if _hull(box, each).area <= box.area + each.area), None)
            if other is None:
                break
            merged.remove(other)
            box = _hull(box, other)
        merged.append(box)
    return merged


def _hull(a: Box, b: Box) -> Box:
    return Box(min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1))
