"""How detailed a painted film is: the energy of its fine lines and texture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ..base import Picture
from .films import Film, check_alike, check_one_size

Luma = NDArray[np.float32]  # [H, W], levels

# What a Gaussian of this sigma, pixels, takes out of the luma is detail: lines and texture of up to some six pixels.
DETAIL_SIGMA_PX = 1.5

# Less energy than this, squared levels, is rounding.
FLAT = 1e-6


def detail_ratio(ours: Film, alone: Film) -> float:
    """The fine detail of `ours` as a share of that of `alone`: below 1 it is blurred, above 1 it is rougher.

    0.95 to 1.05 is as sharp as painting can be told to be. Detail is the mean_detail of a film. Raises ValueError if
    the films differ in length or size, or `alone` has no detail.
    """
    check_alike(ours, alone)
    most = mean_detail(alone)
    if most < FLAT:
        raise ValueError("the film to compare with is flat: it has no detail to take a share of")
    return mean_detail(ours) / most


def mean_detail(film: Film) -> float:
    """The energy of what a Gaussian takes out of the luma, mean over pixels and frames, squared levels."""
    check_one_size(film)
    return float(np.mean([np.square(detail(luma(picture))).mean(dtype=np.float64) for picture in film]))


def luma(picture: Picture) -> Luma:
    """The luma of a picture: [H, W] float32, levels."""
    return cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_BGR2GRAY)


def detail(of: Luma) -> Luma:
    """What a Gaussian takes out of a luma: [H, W] float32, levels."""
    return cv2.subtract(of, cv2.GaussianBlur(of, (0, 0), DETAIL_SIGMA_PX))
