"""Pixel grids and resampling along a flow."""

from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Flow

Array = TypeVar("Array", NDArray[np.uint8], NDArray[np.float32])


@lru_cache(maxsize=8)
def pixel_grid(width: int, height: int) -> NDArray[np.float32]:
    """The position (x, y) of each pixel: [height, width, 2] float32, read-only."""
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width, dtype=np.float32)
    grid[..., 1] = np.arange(height, dtype=np.float32)[:, None]
    grid.flags.writeable = False
    return grid


def resample(
    source: Array, flow: Flow, window: tuple[slice, slice] | None = None, *, interpolation: int = cv2.INTER_LINEAR
) -> Array:
    """What the flow sees in the source: source(x + dx, y + dy) at (x, y). Past the edge the edge goes on.

    source: [H, W] or [H, W, C]; flow: [h, w, 2] float32, pixels, on the grid of the result, or of a window of a
    result that is as large as the source.
    """
    h, w = flow.shape[:2] if window is None else source.shape[:2]
    grid = pixel_grid(w, h) if window is None else pixel_grid(w, h)[window]
    return cv2.remap(source, cv2.add(flow, grid), None, interpolation, borderMode=cv2.BORDER_REPLICATE)


def inside(flow: Flow) -> NDArray[np.bool_]:
    """Where the flow points inside the source: [H, W] bool."""
    h, w = flow.shape[:2]
    there = cv2.add(flow, pixel_grid(w, h))
    return cv2.inRange(there, (-0.5, -0.5), (w - 0.5, h - 0.5)).view(np.bool_)


def lengths(vectors: Flow) -> NDArray[np.float32]:
    """The length of each vector: [H, W] float32.

    Not by cv2.magnitude: the last bit of what it gives depends on where the arrays lie in memory, and the same film
    must give the same bits.
    """
    squares = vectors * vectors
    return np.sqrt(squares[..., 0] + squares[..., 1])


def scaled_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """The flow on a grid of another size (W, H), its vectors scaled with it."""
    h, w = flow.shape[:2]
    if (w, h) == size:
        return flow
    resized = cv2.resize(flow, size, interpolation=cv2.INTER_AREA if size[0] < w else cv2.INTER_LINEAR)
    return cv2.multiply(resized, (size[0] / w, size[1] / h, 0, 0)).astype(np.float32, copy=False)
