"""Pixel grids and resampling along a flow."""

from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Flow, Mask

Window = tuple[slice, slice]  # an index of arrays [H, W, ...]
Array = TypeVar("Array", NDArray[np.uint8], NDArray[np.float32])


@lru_cache(maxsize=8)
def pixel_grid(width: int, height: int) -> NDArray[np.float32]:
    """The position (x, y) of each pixel: [height, width, 2] float32, read-only."""
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width, dtype=np.float32)
    grid[..., 1] = np.arange(height, dtype=np.float32)[:, None]
    grid.flags.writeable = False
    return grid


@lru_cache(maxsize=4)
def enlarging_grid(size: tuple[int, int], larger: tuple[int, int]) -> NDArray[np.float32]:
    """The position (x, y), on a grid of one size (W, H), of each pixel of a larger: [H, W, 2] float32, read-only."""
    (w, h), (width, height) = size, larger
    scale = np.array((w / width, h / height), np.float32)
    grid = (pixel_grid(width, height) + np.float32(0.5)) * scale - np.float32(0.5)
    grid.flags.writeable = False
    return grid


def resample(
    source: Array, flow: Flow, window: Window | None = None, *, interpolation: int = cv2.INTER_LINEAR
) -> Array:
    """What the flow sees in the source: source(x + dx, y + dy) at (x, y). Past the edge the edge goes on.

    source: [H, W] or [H, W, C]; flow: [h, w, 2] float32, pixels, on the grid of the result, or of a window of a
    result that is as large as the source.
    """
    h, w = flow.shape[:2] if window is None else source.shape[:2]
    grid = pixel_grid(w, h) if window is None else pixel_grid(w, h)[window]
    return cv2.remap(source, cv2.add(flow, grid), None, interpolation, borderMode=cv2.BORDER_REPLICATE)


def halved(picture: Array) -> Array:
    """The picture on half the pixels each way: to just a half is ten times as quick as to any size."""
    return cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)


def halved_towards(picture: Array, size: tuple[int, int]) -> Array:
    """The picture halved as long as it is at least twice as large as that (W, H), each way."""
    while picture.shape[1] >= 2 * size[0] and picture.shape[0] >= 2 * size[1]:
        picture = halved(picture)
    return picture


def slopes(values: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How much the values [H, W] rise a pixel, to the right and down: [H, W] float32 each."""
    across, down = (cv2.Sobel(values, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    return across, down


def inside(flow: Flow, slack: float = 0.5) -> NDArray[np.bool_]:
    """Where the flow points inside the source: [H, W] bool. slack: past the middles of edge pixels."""
    h, w = flow.shape[:2]
    there = cv2.add(flow, pixel_grid(w, h))
    return cv2.inRange(there, (-slack, -slack), (w - 1 + slack, h - 1 + slack)).view(np.bool_)


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
    enlarged = size[0] > w
    scaled = flow.copy() if enlarged else cv2.resize(flow, size, interpolation=cv2.INTER_AREA)
    scaled[..., 0] *= np.float32(size[0] / w)  # on the smaller of the two; cv2.multiply takes ten times as long
    scaled[..., 1] *= np.float32(size[1] / h)
    return cv2.resize(scaled, size, interpolation=cv2.INTER_LINEAR) if enlarged else scaled


def spread(values: NDArray[np.float32], known: Mask, *, scale: int) -> NDArray[np.float32]:
    """The values [h, w, c] of the known pixels [h, w] spread over all others, smoothly.

    They are read on a grid `scale` times coarser. Averages at ever coarser scales, and back again: push and pull, from
    Gortler et al., "The Lumigraph", SIGGRAPH 1996.
    """
    h, w = known.shape
    coarse = max(1, w // scale), max(1, h // scale)
    weight = np.maximum(cv2.resize(known.astype(np.float32), coarse, interpolation=cv2.INTER_AREA), np.float32(1e-6))
    total = cv2.resize(cv2.copyTo(values, known.view(np.uint8)), coarse, interpolation=cv2.INTER_AREA)
    levels = [(total, weight)]
    while min(levels[-1][1].shape) > 2:
        total, mass = levels[-1]
        levels.append((cv2.pyrDown(total), cv2.pyrDown(mass)))
    result = levels[-1][0] / levels[-1][1][..., None]
    for total, mass in reversed(levels[:-1]):
        trust = np.minimum(mass, 1.0)[..., None]
        above = cv2.pyrUp(result, dstsize=mass.shape[::-1])
        result = trust * total / mass[..., None] + (1 - trust) * above
    return cv2.resize(result, (w, h), interpolation=cv2.INTER_LINEAR)
