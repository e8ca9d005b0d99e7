"""Means over blocks of a picture: what is bad in one place must not hide behind what is good in another."""

import cv2
import numpy as np
from numpy.typing import NDArray

# Side of a block, pixels: about the size of a head in a small film, and enough strokes for a mean.
BLOCK_PX = 64

Blocks = NDArray[np.float32]  # [h, w]


def blocks_of(values: NDArray[np.float32]) -> Blocks:
    """The means of values [H, W] over blocks of about BLOCK_PX a side that cover the picture evenly; at least one."""
    h, w = values.shape
    grid = max(1, round(w / BLOCK_PX)), max(1, round(h / BLOCK_PX))
    return cv2.resize(values, grid, interpolation=cv2.INTER_AREA).reshape(grid[::-1])
