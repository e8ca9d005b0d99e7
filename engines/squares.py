"""Squares of given sides around holes, of as little area together as is soon found: equal ones are painted in a batch.

All of it is on the grid of cells that crops.py speaks of. A need is what one square must hold: holes, and what the
painter wants to see around them, as far as the canvas goes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Mask

# Holes in more groups than this are taken as one group, and more squares than this are left as they are: to find the
# best of so many takes longer than a live frame has.
MOST = 96

Span = tuple[int, int]  # from, and up to, on one axis
Rect = tuple[int, int, int, int]  # x0, y0, x1, y1


class Squares:
    """The squares that fit a canvas of so many cells (W, H): an axis that is shorter than a side is spanned whole."""

    def __init__(self, size: tuple[int, int], sides: Sequence[int], margin: int) -> None:
        """sides: cells, ascending. margin: cells around holes, less than half the shortest side."""
        self._size = size
        self._margin = margin
        self._shapes = list(dict.fromkeys((min(side, size[0]), min(side, size[1])) for side in sides))

    def around(self, cells: Mask) -> list[Rect]:
        """Squares that together hold all the cells, with the margin."""
        # Sorted: in which order OpenCV finds groups is its own affair.
        needs = sorted(need for x, y, group in _groups(cells) for need in self._needs(group, x, y))
        return [self._placed(need) for need in self._merged(needs)]

    # One group

    def _needs(self, cells: Mask, x: int, y: int) -> list[Rect]:
        """Of one group of cells, which start at (x, y): one need, or those of a grid, whichever takes least."""
        whole = self._need((x, x + cells.shape[1]), (y, y + cells.shape[0]))
        smallest = self._smallest(whole)
        if smallest == 0:
            return [whole]
        grids = [list(self._grid(cells, x, y, shape)) for shape in self._shapes[:smallest]]
        return min([*([] if smallest is None else [[whole]]), *grids], key=self._area)

    def _grid(self, cells: Mask, x: int, y: int, shape: tuple[int, int]) -> Iterator[Rect]:
        """The needs in bands from above, in each band from the left, as much in each as such a square can hold."""
        width, height = self._size
        row = 0
        while row < len(cells):
            if not cells[row].any():
                row += 1
                continue
            below = self._reach(y + row, shape[1], height) - y
            band = cells[row:below]
            columns = np.flatnonzero(band.any(axis=0))
            while columns.size:
                right = self._reach(x + int(columns[0]), shape[0], width) - x
                inside, columns = columns[columns < right], columns[columns >= right]
                first, last = int(inside[0]), int(inside[-1]) + 1
                rows = np.flatnonzero(band[:, first:last].any(axis=1))
                above = y + row
                yield self._need((x + first, x + last), (above + int(rows[0]), above + int(rows[-1]) + 1))
            row = below

    def _reach(self, start: int, side: int, extent: int) -> int:
        """How far the holes may go that begin at `start`, in one square."""
        end = max(0, start - self._margin) + side
        return extent if end >= extent else end - self._margin

    def _need(self, across: Span, down: Span) -> Rect:
        (x0, x1), (y0, y1) = across, down
        width, height = self._size
        return (
            max(0, x0 - self._margin),
            max(0, y0 - self._margin),
            min(width, x1 + self._margin),
            min(height, y1 + self._margin),
        )

    def _smallest(self, need: Rect) -> int | None:
        """Which of the squares is the smallest that holds it; None: none does."""
        width, height = need[2] - need[0], need[3] - need[1]
        return next((i for i, (w, h) in enumerate(self._shapes) if w >= width and h >= height), None)

    def _shape(self, need: Rect) -> tuple[int, int]:
        found = self._smallest(need)
        return self._shapes[-1 if found is None else found]

    def _area(self, needs: Sequence[Rect]) -> int:
        return sum(w * h for w, h in map(self._shape, needs))

    # All together

    def _merged(self, needs: list[Rect]) -> list[Rect]:
        """The needs, with those made one that one square holds and that are no dearer together, the best first."""
        while 1 < len(needs) <= MOST:
            held = self._best_held(np.array(needs))
            if held is None:
                break
            hull = _hull([need for need, inside in zip(needs, held, strict=True) if inside])
            needs = [hull, *(need for need, inside in zip(needs, held, strict=True) if not inside)]
        return needs

    def _best_held(self, needs: NDArray[np.int64]) -> Mask | None:
        """Which of the needs [n, 4] are best held by one square: [n]; None: each is as good by itself.

        Squares are tried with their left edge where one need begins, and their upper edge where one does: whatever a
        square holds, one of these holds as well. All numbers are whole, so that their sums are exact.
        """
        shapes, size = np.array(self._shapes), self._size
        areas = np.array([w * h for w, h in (self._shape((a, b, c, d)) for a, b, c, d in needs.tolist())], np.float64)
        across, down = (_held(needs[:, axis::2], shapes[:, axis], size[axis]) for axis in (0, 1))
        below = down.transpose(0, 2, 1).astype(np.float64)
        saved: NDArray[Any] = (across * areas) @ below - shapes.prod(axis=1)[:, None, None]
        saved = np.where(across.astype(np.float64) @ below > 1, saved, -1.0)  # of several, that is
        shape, left, top = np.unravel_index(int(saved.argmax()), saved.shape)
        if saved[shape, left, top] < 0:
            return None
        held: Mask = across[shape, left] & down[shape, top]
        return held

    def _placed(self, need: Rect) -> Rect:
        """The smallest square that holds the need, which lies in its middle as far as the canvas lets it."""
        (w, h), (width, height) = self._shape(need), self._size
        x, y = _start(need[0], need[2], w, width), _start(need[1], need[3], h, height)
        return x, y, x + w, y + h


def _groups(cells: Mask) -> Iterator[tuple[int, int, Mask]]:
    """The cells of each group that hang together, and where they begin; all of them, if there are too many groups."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cells.view(np.uint8), connectivity=8)
    if count > MOST:
        x, y, w, h = cv2.boundingRect(cells.view(np.uint8))
        yield x, y, cells[y : y + h, x : x + w]
        return
    for label in range(1, count):
        x, y, w, h = (int(each) for each in stats[label][:4])
        yield x, y, labels[y : y + h, x : x + w] == label


def _held(spans: NDArray[np.int64], sides: NDArray[np.int64], extent: int) -> Mask:
    """Whether a square of each side that begins where each span does holds each span [n, 2]: [sides, n, n]."""
    starts = np.minimum(spans[:, 0], (extent - sides)[:, None])[..., None]
    held: Mask = (spans[:, 0] >= starts) & (spans[:, 1] <= starts + sides[:, None, None])
    return held


def _start(begin: int, end: int, side: int, extent: int) -> int:
    return min(max(0, begin - (side - (end - begin)) // 2), extent - side)


def _hull(rects: Sequence[Rect]) -> Rect:
    x0, y0, x1, y1 = zip(*rects, strict=True)
    return min(x0), min(y0), max(x1), max(y1)
