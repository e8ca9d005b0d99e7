"""Where to paint: boxes around groups of holes, so that the cost follows the area of the holes, not of the frame.

Boxes are found on a coarse grid of cells: a few thousand of them, however large the canvas.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import NO_HABITS, Habits, Mask

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

    A painter that wants certain sides has its boxes so. WHOLE_SHARE holds for any painter.
    """
    if not holes.any():
        return []
    h, w = holes.shape
    # The mean of a cell with one hole is 255 / 64, which rounds to 4.
    cells = cv2.resize(holes.view(np.uint8) * np.uint8(255), (w // CELL, h // CELL), interpolation=cv2.INTER_AREA) > 0
    canvas = Box(0, 0, cells.shape[1], cells.shape[0])
    lengths = _Lengths(canvas.x1, canvas.y1, habits)
    boxes = _merged([box for group in _groups(cells) for box in _cut(group, 0, 0, lengths)], lengths)
    if sum(box.area for box in boxes) > WHOLE_SHARE * canvas.area:
        boxes = [canvas]
    ordered = sorted(boxes, key=lambda box: (box.y0, box.x0))
    return [Box(box.x0 * CELL, box.y0 * CELL, box.x1 * CELL, box.y1 * CELL) for box in ordered]


def tiny(holes: Mask, least: int) -> Mask:
    """The holes [H, W] in connected groups that no square of so many pixels fits into: small ones, and thin ones."""
    found = np.zeros_like(holes)
    side = math.isqrt(least)
    if side > 1:
        square = np.ones((side, side), np.uint8)
        fitting = cv2.erode(holes.view(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        _, labels = cv2.connectedComponents(holes.view(np.uint8), connectivity=8)
        where = np.flatnonzero(holes)
        labels_there = labels.reshape(-1)[where]
        large = np.bincount(labels_there, fitting.reshape(-1)[where])
        found.reshape(-1)[where] = large[labels_there] == 0
    return found


class _Lengths:
    """What a box takes on each axis, by the cells of holes in it, with what is to be seen around them.

    Without certain sides that is as much as they need, and less at the canvas's edge. Otherwise the smallest side that
    holds them, or all of a canvas that is shorter; where none does they are cut, into as many as are needed.
    """

    def __init__(self, width: int, height: int, habits: Habits) -> None:
        self.margin = -(-habits.crop_context // CELL)
        self._canvas = width, height
        self._sides = [side // CELL for side in habits.crop_sides]
        self._across, self._down = self._table(width), self._table(height)

    def cost(self, width: Any, height: Any, *, turned: bool = False) -> Any:
        """The cells to paint for tight boxes of this size, numbers or arrays; turned: width is the height."""
        return self._down[width] * self._across[height] if turned else self._across[width] * self._down[height]

    def fits(self, width: int, height: int) -> bool:
        """Whether one box can hold them."""
        return not self._sides or all(
            canvas <= self._sides[-1] or length <= self._sides[-1] - 2 * self.margin
            for length, canvas in zip((width, height), self._canvas, strict=True)
        )

    def around(self, box: Box) -> Box:
        """The box to paint, around a tight one."""
        (x0, x1), (y0, y1) = (
            self._placed(start, end, table, length)
            for start, end, table, length in (
                (box.x0, box.x1, self._across, self._canvas[0]),
                (box.y0, box.y1, self._down, self._canvas[1]),
            )
        )
        return Box(x0, y0, x1, y1)

    def _table(self, canvas: int) -> NDArray[np.int64]:
        held = np.arange(canvas + 1)
        if not self._sides:
            return held + 2 * self.margin
        largest = self._sides[-1]
        many = largest * -(-held // (largest - 2 * self.margin))
        sides = np.array([*self._sides, 0])[np.searchsorted(self._sides, held + 2 * self.margin)]
        return np.minimum(np.where(sides > 0, sides, many), canvas)

    def _placed(self, start: int, end: int, table: NDArray[np.int64], canvas: int) -> tuple[int, int]:
        if not self._sides:
            return max(0, start - self.margin), min(canvas, end + self.margin)
        length = int(table[end - start])
        first = min(max(0, start - (length - (end - start)) // 2), canvas - length)
        return first, first + length


def _groups(cells: Mask) -> Iterator[Mask]:
    """The cells of each group of holes that lie near each other."""
    joined = cv2.dilate(cells.view(np.uint8), np.ones((JOIN, JOIN), np.uint8))
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    for group in range(1, count):
        yield cells & (labels == group)


def _cut(cells: Mask, x: int, y: int, lengths: _Lengths) -> list[Box]:
    """The tight box of these cells, which start at (x, y), or of their two parts where cutting saves enough."""
    box = _tight(cells)
    if box is None:
        return []
    inner = cells[box.slices]
    x, y = x + box.x0, y + box.y0
    h, w = inner.shape
    rows, columns = _cut_costs(inner, lengths), _cut_costs(inner.T, lengths, turned=True)
    best = min(rows.min(initial=np.inf), columns.min(initial=np.inf))
    if best > WORTH_CUTTING * lengths.cost(w, h) and lengths.fits(w, h):
        return [Box(x, y, x + w, y + h)]
    if best in rows:
        at = int(rows.argmin()) + 1
        return _cut(inner[:at], x, y, lengths) + _cut(inner[at:], x, y + at, lengths)
    at = int(columns.argmin()) + 1
    return _cut(inner[:, :at], x, y, lengths) + _cut(inner[:, at:], x + at, y, lengths)


def _tight(cells: Mask) -> Box | None:
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    if not rows.size:
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _cut_costs(cells: Mask, lengths: _Lengths, *, turned: bool = False) -> NDArray[np.float64]:
    """What the two tight boxes cost when tight cells [h, w] are cut above row 1, 2, ... h - 1: [h - 1]."""
    above, below = (_costs_above(each, lengths, turned=turned)[:-1] for each in (cells, cells[::-1]))
    return above + below[::-1]


def _costs_above(cells: Mask, lengths: _Lengths, *, turned: bool) -> NDArray[np.float64]:
    """What the tight box of rows 0 to i costs, for each i: [h]. Row 0 is not empty."""
    w = cells.shape[1]
    filled = cells.any(axis=1)
    left = np.where(filled, cells.argmax(axis=1), w)
    right = np.where(filled, w - cells[:, ::-1].argmax(axis=1), 0)
    width = np.maximum.accumulate(right) - np.minimum.accumulate(left)
    height = np.maximum.accumulate(np.where(filled, np.arange(1, len(cells) + 1), 0))
    costs: NDArray[np.float64] = lengths.cost(width, height, turned=turned).astype(np.float64)
    return costs


def _merged(tight: list[Box], lengths: _Lengths) -> list[Box]:
    """The boxes to paint around tight ones, with those made one that are no dearer together."""
    merged: list[tuple[Box, Box]] = []  # tight, and to paint
    for box in tight:
        pair = box, lengths.around(box)
        while (other := next((each for each in merged if _cheaper(pair, each, lengths)), None)) is not None:
            merged.remove(other)
            hull = _hull(pair[0], other[0])
            pair = hull, lengths.around(hull)
        merged.append(pair)
    return [painted for _, painted in merged]


def _cheaper(one: tuple[Box, Box], other: tuple[Box, Box], lengths: _Lengths) -> bool:
    """Whether two boxes, each tight and to paint, are no dearer together."""
    hull = _hull(one[0], other[0])
    fits = lengths.fits(hull.x1 - hull.x0, hull.y1 - hull.y0)
    return fits and lengths.around(hull).area <= one[1].area + other[1].area


def _hull(a: Box, b: Box) -> Box:
    return Box(min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1))
