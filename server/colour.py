"""Y'CbCr to BGR and back, by the matrix that the source announced.

The usual converters guess: swscale's default is BT.601 whatever the picture is, which is up to 17 levels off on a
BT.709 clip. Here the matrix and range are always given, chroma is repeated on the way in and averaged over each block
of 2x2 on the way out. One undoes the other, so a picture that no painter has touched comes back with no channel
moved by more than one level, as long as its colours exist in BGR.

Source: ITU-R BT.601-7, BT.709-6 and BT.2020-2 (non-constant luminance) for the weights, with 8-bit quantisation
in limited range; JFIF (ITU-T T.871) for full range. Chroma siting is not modelled: a block's chroma is its mean.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ..engines.base import Picture
from ..proto.messages import Colour, Matrix

Samples = NDArray[np.uint8]  # [H, W], one plane

# Kr and Kb, the shares of red and blue in luma; green has the rest.
_WEIGHTS: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}

# Where cv2.transform can use vector instructions it rounds its coefficients to fractions of 2**10. Rounding them here
# first gives the same result on every machine, and lets us choose which way each one goes.
_FIXED_POINT = 1024


@dataclass(frozen=True, slots=True)
class Space:
    """How samples mean colours: a Colour whose matrix is known."""

    matrix: Matrix
    full_range: bool


def space_of(colour: Colour, height: int) -> Space:
    """The Space of a source of `height` lines: without a matrix, bt709 from 720 lines up, bt601 below."""
    return Space(colour.matrix_for(height), colour.full_range)


def yuv_to_bgr(y: Samples, u: Samples, v: Samples, space: Space) -> Picture:
    """The picture [H, W, 3] of luma y [H, W] and chroma u, v [ceil(H / 2), ceil(W / 2)], or [H, W] for 4:4:4.

    Within one level of the matrix evaluated in real numbers; colours that BGR cannot hold are clipped.
    """
    if u.shape != y.shape:
        u, v = _doubled(u, y.shape), _doubled(v, y.shape)
    return _transform(cv2.merge([y, u, v]), _to_bgr(space))


def bgr_to_yuv(bgr: Picture, space: Space) -> tuple[Samples, Samples, Samples]:
    """Luma [H, W] and the two chroma planes [ceil(H / 2), ceil(W / 2)] of a picture [H, W, 3]: undoes yuv_to_bgr."""
    y, u, v = cv2.split(_transform(bgr, _to_yuv(space)))
    return _samples(y), _halved(_samples(u)), _halved(_samples(v))


def bgr_to_gray(bgr: Picture, space: Space) -> Samples:
    """Luma [H, W] of a picture [H, W, 3] in full range, 0 to 255, by the weights of the matrix."""
    luma = np.repeat(_to_yuv(Space(space.matrix, full_range=True))[:1], 3, axis=0)
    # Three equal rows and two of them thrown away: cv2.transform is five times slower for one channel than for three.
    return np.ascontiguousarray(_transform(bgr, luma)[:, :, 0])


def _transform(pixels: object, matrix: NDArray[np.float64]) -> Picture:
    return np.asarray(cv2.transform(np.asarray(pixels, np.uint8), matrix), np.uint8)


def _samples(plane: object) -> Samples:
    return np.asarray(plane, np.uint8)


def _doubled(plane: Samples, shape: tuple[int, ...]) -> Samples:
    """The plane with every sample repeated over a block of 2x2, cut to `shape`."""
    # Merging a plane with itself repeats along the row, four times as fast as cv2.resize.
    wide = _samples(cv2.merge([plane, plane])).reshape(plane.shape[0], -1)
    return np.repeat(wide, 2, axis=0)[: shape[0], : shape[1]]


def _halved(plane: Samples) -> Samples:
    """The mean of every block of 2x2; an odd last row or column stands for the missing one."""
    rows, columns = plane.shape
    if rows % 2 or columns % 2:
        plane = _samples(cv2.copyMakeBorder(plane, 0, rows % 2, 0, columns % 2, cv2.BORDER_REPLICATE))
    size = ((columns + 1) // 2, (rows + 1) // 2)
    return _samples(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))


@cache
def _to_yuv(space: Space) -> NDArray[np.float64]:
    """The 3x4 matrix from (B, G, R, 1) to (Y, Cb, Cr). White and the grays come out exact."""
    exact, offset = _definition(space)
    fixed = np.rint(exact * _FIXED_POINT)
    # What rounding did to a row's sum goes to its largest entry, where it matters least.
    missing = np.rint(exact.sum(axis=1) * _FIXED_POINT) - fixed.sum(axis=1)
    fixed[range(3), np.abs(exact).argmax(axis=1)] += missing
    return np.column_stack([fixed / _FIXED_POINT, offset])


@cache
def _to_bgr(space: Space) -> NDArray[np.float64]:
    """The 3x4 matrix from (Y, Cb, Cr, 1) to (B, G, R)."""
    exact, offset = _definition(space)
    fixed = np.rint(np.linalg.inv(exact) * _FIXED_POINT) / _FIXED_POINT
    return np.column_stack([fixed, -fixed @ offset])


def _definition(space: Space) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The matrix [3, 3] and offset [3] from (B, G, R) to (Y, Cb, Cr), all in levels of 0 to 255."""
    kr, kb = _WEIGHTS[space.matrix]
    luma = np.array([kb, 1 - kr - kb, kr])
    blue = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kb))
    red = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kr))
    if space.full_range:
        return np.stack([luma, blue, red]), np.array([0.0, 128.0, 128.0])
    return np.stack([luma * 219, blue * 224, red * 224]) / 255, np.array([16.0, 128.0, 128.0])
