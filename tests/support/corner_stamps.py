"""Numbers stamped into pictures, so that a frame is known again after lossy coding, painting and warping."""

import numpy as np
from numpy.typing import NDArray

# A stamp is two rows of square blocks in the upper left corner: the number's bits, and below each its complement.
BITS = 12
BLOCK = 32  # pixels: several blocks of any codec, and several cells of the grid that live flow is found on
WIDTH, HEIGHT = BITS * BLOCK, 2 * BLOCK
NUMBERS = 2**BITS
# Video levels of luma that no conversion clips, and how far apart a block and its complement must be read.
DARK, BRIGHT = 40, 210
LEAST_CONTRAST = 50
# Of a block only the middle is read: its edges are soft after coding and warping.
MARGIN = BLOCK // 4

Levels = NDArray[np.uint8]  # [H, W] or [H, W, 3]


def stamp(picture: Levels, number: int) -> None:
    """Stamps a number, modulo NUMBERS, into luma or a picture, in place."""
    for place, bit in enumerate(_bits(number)):
        left = place * BLOCK
        for row, level in enumerate((BRIGHT, DARK) if bit else (DARK, BRIGHT)):
            picture[row * BLOCK : (row + 1) * BLOCK, left : left + BLOCK] = level


def read_stamp(picture: Levels) -> int | None:
    """The number in luma or a picture; None: it cannot be read for sure."""
    corner = picture[:HEIGHT, :WIDTH].reshape(2, BLOCK, BITS, BLOCK, -1)
    middle = corner[:, MARGIN:-MARGIN, :, MARGIN:-MARGIN].astype(np.float32).mean(axis=(1, 3, 4))
    difference = middle[0] - middle[1]
    if np.abs(difference).min() < LEAST_CONTRAST:
        return None
    return int((difference > 0) @ (1 << np.arange(BITS - 1, -1, -1)))


def _bits(number: int) -> list[bool]:
    return [bool(number >> place & 1) for place in range(BITS - 1, -1, -1)]
