"""What measures have in common: films as arrays, and the checks of them. And how near a film is to the truth."""

import math
from collections.abc import Sequence

import numpy as np

from ..base import Picture

Film = Sequence[Picture]  # frames of one size, in order

PEAK_LEVEL = 255.0


def psnr(film: Film, truth: Film) -> float:
    """The peak signal-to-noise ratio of a film over all its pixels, dB; inf if it equals the truth.

    Raises ValueError if the films differ in length or size.
    """
    check_alike(film, truth)
    error = float(np.mean([_mean_square(a, b) for a, b in zip(film, truth, strict=True)]))
    return 10 * math.log10(PEAK_LEVEL**2 / error) if error else math.inf


def _mean_square(a: Picture, b: Picture) -> float:
    return float(np.square(a.astype(np.float32) - b).mean(dtype=np.float64))


def check_one_size(film: Film) -> None:
    """Raises ValueError for a film without frames, or with frames of several sizes."""
    if not len(film):
        raise ValueError("a film without frames cannot be measured")
    shapes = {picture.shape for picture in film}
    if len(shapes) > 1:
        raise ValueError(f"the frames of a film must have one size, not {listed(shapes)}")


def check_alike(film: Film, other: Film) -> None:
    """Raises ValueError if the films differ in length or size, or check_one_size does."""
    check_one_size(film)
    check_one_size(other)
    if len(film) != len(other):
        raise ValueError(f"the films must have the same number of frames, not {len(film)} and {len(other)}")
    if film[0].shape != other[0].shape:
        raise ValueError(f"the films must have one size, not {listed([film[0].shape, other[0].shape])}")


def listed(shapes: set[tuple[int, ...]] | list[tuple[int, ...]]) -> str:
    """Shapes as sizes in words: 64x48 and 128x96."""
    return " and ".join(f"{w}x{h}" for h, w, *_ in sorted(shapes))
