"""Where to paint: boxes around groups of holes, so that the cost follows the area of the holes, not of the frame.

Boxes are found on a coarse grid of cells: a few thousand of them, however large the canvas.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import NO_HABITS, Habits, Mask
from .squares import Squares

# Side of a cell, pixels: the working size is a multiple of it, and so is a latent of a diffusion model.
CELL = 8
# A painter that says nothing else sees so many cells around a hole: a brush stroke's width.
MARGIN = NO_HABITS.crop_context // CELL
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


def crops(holes: Mask, habits: Habits = NO_HABITS) -> list[Box]:
    """Boxes, pixels, that together hold all holes [H, W], with a margin; in reading order. H, W: multiples of CELL.

    A painter that paints squares of certain sides has its boxes so; where the canvas is shorter than a side, they span
    it. WHOLE_SHARE holds for any painter.
    """
    if not holes.any():
        return []
    h, w = holes.shape
    # The mean of a cell with one hole is 255 / 64, which rounds to 4.
    cells = cv2.resize(holes.view(np.uint8) * np.uint8(255), (w // CELL, h // CELL), interpolation=cv2.INTER_AREA) > 0
    canvas = Box(0, 0, cells.shape[1], cells.shape[0])
    boxes = _squares(cells, habits) if habits.crop_sides else _boxes(cells, canvas, habits)
    if sum(box.area for box in boxes) > WHOLE_SHARE * canvas.area:
        boxes = [canvas]
    ordered = sorted(boxes, key=lambda box: (box.y0, box.x0))
    return [Box(box.x0 * CELL, box.y0 * CELL, box.x1 * CELL, box.y1 * CELL) for box in ordered]


def tiny(holes: Mask, least: int) -> Mask:
    """The holes [H, W] in connected groups of fewer pixels than this."""
    found = np.zeros_like(holes)
    if least > 1:
        # OpenCV would count the pixels too, which takes it five times as long as finding the groups.
        _, labels = cv2.connectedComponents(holes.view(np.uint8), connectivity=8, ltype=cv2.CV_16U)
        where = np.flatnonzero(holes)
        labels_there = labels.reshape(-1)[where]
        found.reshape(-1)[where] = np.bincount(labels_there)[labels_there] < least
    return found


def _squares(cells: Mask, habits: Habits) -> list[Box]:
    h, w = cells.shape
    sides = [side // CELL for side in habits.crop_sides]
    return [Box(*each) for each in Squares((w, h), sides, _margin(habits)).around(cells)]


def _boxes(cells: Mask, canvas: Box, habits: Habits) -> list[Box]:
    margin = _margin(habits)
    return _merged([_with_margin(box, canvas, margin) for group in _groups(cells) for box in _cut(group, 0, 0, margin)])


def _margin(habits: Habits) -> int:
    return -(-habits.crop_context // CELL)


def _groups(cells: Mask) -> Iterator[Mask]:
    """The cells of each group of holes that lie near each other."""
    joined = cv2.dilate(cells.view(np.uint8), np.ones((JOIN, JOIN), np.uint8))
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    for group in range(1, count):
        yield cells & (labels == group)


def _cut(cells: Mask, x: int, y: int, margin: int) -> list[Box]:
    """The tight box of these cells, which start at (x, y), or of their two parts where cutting saves enough."""
    box = _tight(cells)
    if box is None:
        return []
    inner = cells[box.slices]
    x, y = x + box.x0, y + box.y0
    h, w = inner.shape
    rows, columns = _cut_costs(inner, margin), _cut_costs(inner.T, margin)
    best = min(rows.min(initial=np.inf), columns.min(initial=np.inf))
    if best > WORTH_CUTTING * _cost(w, h, margin):
        return [Box(x, y, x + w, y + h)]
    if best in rows:
        at = int(rows.argmin()) + 1
        return _cut(inner[:at], x, y, margin) + _cut(inner[at:], x, y + at, margin)
    at = int(columns.argmin()) + 1
    return _cut(inner[:, :at], x, y, margin) + _cut(inner[:, at:], x + at, y, margin)


def _tight(cells: Mask) -> Box | None:
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    if not rows.size:
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _cost(width: Any, height: Any, margin: int) -> Any:
    """The cells to paint for boxes of this size, margin and all. Numbers or arrays."""
    return (width + 2 * margin) * (height + 2 * margin)


def _cut_costs(cells: Mask, margin: int) -> NDArray[np.float64]:
    """What the two tight boxes cost when tight cells [h, w] are cut above row 1, 2, ... h - 1: [h - 1]."""
    return _costs_above(cells, margin)[:-1] + _costs_above(cells[::-1], margin)[:-1][::-1]


def _costs_above(cells: Mask, margin: int) -> NDArray[np.float64]:
    """What the tight box of rows 0 to i costs, for each i: [h]. Row 0 is not empty."""
    w = cells.shape[1]
    filled = cells.any(axis=1)
    left = np.where(filled, cells.argmax(axis=1), w)
    right = np.where(filled, w - cells[:, ::-1].argmax(axis=1), 0)
    width = np.maximum.accumulate(right) - np.minimum.accumulate(left)
    height = np.maximum.accumulate(np.where(filled, np.arange(1, len(cells) + 1), 0))
    costs: NDArray[np.float64] = _cost(width, height, margin).astype(np.float64)
    return costs


def _with_margin(box: Box, canvas: Box, margin: int) -> Box:
    return Box(
        max(0, box.x0 - margin),
        max(0, box.y0 - margin),
        min(canvas.x1, box.x1 + margin),
        min(canvas.y1, box.y1 + margin),
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
