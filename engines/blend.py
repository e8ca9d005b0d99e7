"""How one painting is laid over another: with a soft seam, or coming in over it all by and by."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Mask, Picture

Weight = NDArray[np.float32]  # [H, W], 0..1

# What a Gaussian of this sigma, pixels, takes out of a painting is the brush's: strokes, lines, texture.
BRUSH_SIGMA_PX = 2.0
# Less energy than this, squared levels, is rounding.
FLAT = 0.1


def seam(holes: Mask, feather: int) -> Weight:
    """How much of the new paint shows: 0 outside the holes, rising to 1 over `feather` pixels inside, [H, W]."""
    if not feather:
        return holes.astype(np.float32)
    depth = cv2.distanceTransform(holes.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.minimum(depth / np.float32(feather), 1)


def lay_over(paint: Picture, repaint: Picture, weight: Weight) -> Picture:
    """The repaint over the paint, by weight 0..1; where the weight is 0, the paint to the bit."""
    mixed = cv2.blendLinear(repaint, paint, weight, 1 - weight)
    return np.where(weight[..., None] > 0, mixed, paint)


def cross_faded(under: Picture, over: Picture, share: float, where: Mask | None = None, *, feather: int = 0) -> Picture:
    """A painting [H, W, 3] that comes in over another by this share, 0 to 1, with the strokes of a whole one.

    Strokes of two paintings that lie across each other cancel out in part: those of their mean have down to 1 / sqrt(2)
    of the contrast. It is given back, as much as is lost over all. Compare Heitz and Neyret, "High-Performance
    By-Example Noise using a Histogram-Preserving Blending Operator", HPG 2018. where: [H, W], where the one that comes
    is to be seen, softened at its rim over `feather` pixels inside; elsewhere the other is, to the bit.
    """
    mean = cv2.addWeighted(over, share, under, 1 - share, 0)
    gain = _lost(under, over, share, where)
    # So many times as much of what differs from its surroundings.
    strong = cv2.addWeighted(mean, gain, cv2.GaussianBlur(mean, (0, 0), BRUSH_SIGMA_PX), 1 - gain, 0)
    return strong if where is None else lay_over(under, strong, seam(where, feather))


def _lost(under: Picture, over: Picture, share: float, where: Mask | None) -> float:
    """How many times less contrast the mean has than the two paintings have in the mean, 1 to sqrt(2)."""
    a, b = (_strokes(each) if where is None else _strokes(each)[where] for each in (over, under))
    if not a.size:
        return 1.0
    of_mean = float(np.square(share * a + (1 - share) * b).mean(dtype=np.float64))
    of_each = share * _contrast(a) + (1 - share) * _contrast(b)
    return 1.0 if of_mean < FLAT else min(math.sqrt(2), max(1.0, of_each / math.sqrt(of_mean)))


def _contrast(strokes: NDArray[np.float32]) -> float:
    """Root mean square, levels."""
    return math.sqrt(np.square(strokes).mean(dtype=np.float64))


def _strokes(paint: Picture) -> NDArray[np.float32]:
    """What the brush has left in a painting: [H, W], levels."""
    gray = cv2.cvtColor(paint, cv2.COLOR_BGR2GRAY)
    return cv2.subtract(gray, cv2.GaussianBlur(gray, (0, 0), BRUSH_SIGMA_PX), dtype=cv2.CV_32F)
