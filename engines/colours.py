"""How the colours of a painting come from those of its raw picture, so that others can be put into the same colours.

A map that is affine and a table of what it leaves open beside it: paint has few colours, and not in a line. Colours are
B, G, R, 0..255.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Picture

# An affine map: [3, 4] float32, of B, G, R and one.
Affine = NDArray[np.float32]

# The evidence that it takes to change colours: ten pixels on the grid of the tone, eight levels apart. Where less paint
# is known, its few colours say nothing of the others. Squared levels.
LEAVE_ALONE = 10 * 8.0**2

# Pictures are compared over cells of so many pixels a side, at least: as exactly as edges of paint lie on those of the
# raw picture. And over so many cells at most: more of them tell no more, and take longer.
CELL_PX = 4
MOST_CELLS = 2**14
# Nodes of the table on each axis: 32 levels apart.
NODES = 9
# A node counts as seen with more cells than this; with fewer, what the affine map says is changed by less.
FEW_CELLS = 2.0
# Cells that are off by more levels than this count less, as their distance grows: outlines are painted over any colour.
OUTLYING = 8.0
# So often the cells are weighed anew, and what is left of them is added to the table: it has settled by then.
ROUNDS = 5
# The table is looked up with so many bits of each channel, between its nodes: steps of four levels.
BITS = 6
# Of so many sessions the table is kept at hand, 3 MB each: a frame has several holes, and a film many frames.
KEPT = 8

_WIRE = np.dtype("<f4")


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """The colours of a painting. rest: [NODES, NODES, NODES, 3] float32, by B, G, R of the raw picture, levels."""

    affine: Affine
    rest: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """The colours, to be read by `colours_from`: 9 kB."""
        return np.concatenate([self.affine.reshape(-1), self.rest.reshape(-1)]).astype(_WIRE).tobytes()


@lru_cache(maxsize=KEPT)
def colours_from(data: bytes) -> Colours | None:
    """The colours that `to_bytes` wrote; None for other bytes."""
    if len(data) != (3 * 4 + NODES**3 * 3) * _WIRE.itemsize:
        return None
    numbers = np.frombuffer(data, _WIRE).astype(np.float32)
    if not np.isfinite(numbers).all():
        return None
    return Colours(numbers[:12].reshape(3, 4), numbers[12:].reshape(NODES, NODES, NODES, 3))


def colours_of(raw: Picture, paint: Picture) -> Colours:
    """How the colours of a painting [H, W, 3] come from those of its raw picture [H, W, 3], for most of it."""
    h, w = raw.shape[:2]
    side = max(CELL_PX, math.sqrt(h * w / MOST_CELLS))
    size = max(1, int(w / side)), max(1, int(h / side))
    seen, made = (
        cv2.resize(each, size, interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float32) for each in (raw, paint)
    )
    affine = affine_of(seen, made)
    rest = made - cv2.transform(seen[None], affine)[0]
    nodes, shares = _nodes(seen)
    table = np.zeros((NODES**3, 3))
    left = rest.astype(np.float64)  # of the cells, by what the table says so far
    for _ in range(ROUNDS):
        weight = OUTLYING / np.maximum(np.sqrt(np.square(left).sum(axis=1)), OUTLYING)
        weighed = [(each, share * weight) for each, share in zip(nodes, shares, strict=True)]
        mass = sum(_summed(each, part) for each, part in weighed)
        for channel in range(3):
            total = sum(_summed(each, part * left[:, channel]) for each, part in weighed)
            table[:, channel] += total / (mass + FEW_CELLS)
        left = rest - sum(share[:, None] * table[each] for each, share in zip(nodes, shares, strict=True))
    return Colours(affine, table.reshape(NODES, NODES, NODES, 3).astype(np.float32))


def coloured(raw: Picture, colours: Colours) -> Picture:
    """The picture [H, W, 3] in these colours."""
    shift = 8 - BITS
    b, g, r = (each >> shift for each in cv2.split(raw))
    place = (b.astype(np.int32) << 2 * BITS) | (g.astype(np.int32) << BITS) | r
    plain = cv2.transform(raw.astype(np.float32), colours.affine)
    return np.rint(np.clip(plain + _finer(colours)[place], 0, 255)).astype(np.uint8)


def affine_of(raw: NDArray[np.float32], paint: NDArray[np.float32]) -> Affine:
    """The affine map that takes raw colours [n, 3] to the paint's: least squares, drawn to changing nothing."""
    known = np.column_stack([raw, np.full(len(raw), 255, np.float32)]).astype(np.float64)
    normal = known.T @ known + np.eye(4) * LEAVE_ALONE
    change = np.linalg.solve(normal, known.T @ (paint - raw))
    affine = np.eye(3, 4) + change.T
    affine[:, 3] *= 255
    return affine.astype(np.float32)


def _nodes(seen: NDArray[np.float32]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]]]:
    """The eight nodes around each colour [n, 3], and the share that each has in it."""
    place = seen.astype(np.float64) * ((NODES - 1) / 255)
    first = np.minimum(place.astype(np.int64), NODES - 2)
    part = place - first
    nodes, shares = [], []
    for corner in product((0, 1), repeat=3):
        b, g, r = (first + corner).T
        nodes.append((b * NODES + g) * NODES + r)
        shares.append(np.prod(np.where(corner, part, 1 - part), axis=1))
    return nodes, shares


def _summed(nodes: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(nodes, values, NODES**3).astype(np.float64)


@lru_cache(maxsize=KEPT)
def _finer(colours: Colours) -> NDArray[np.float32]:
    """The table with a place for each colour of so many bits: [n^3, 3], trilinear."""
    table = colours.rest
    levels = np.arange(2**BITS) * ((NODES - 1) / (2**BITS - 1))
    weights = np.maximum(0, 1 - np.abs(levels[:, None] - np.arange(NODES))).astype(np.float32)
    for axis in range(3):
        table = np.moveaxis(np.tensordot(weights, table, (1, axis)), 0, axis)
    return np.ascontiguousarray(table).reshape(-1, 3)
