"""Means over a second of a film: a single frame is noise, and a mean over the film hides a bad moment."""

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]  # [n] or [n, c], one value a frame


def moving_mean(series: Series, width: int) -> Series:
    """The mean of each `width` neighbouring frames, in the place of the last of them: [n] or [n, c].

    The first ones are means of the frames until then. NaN counts for nothing, and where there is nothing else it stays.
    """
    known = ~np.isnan(series)
    sums, counts = _sums(np.where(known, series, 0.0), width), _sums(known.astype(np.float64), width)
    return np.divide(sums, counts, out=np.full(series.shape, np.nan), where=counts > 0)


def _sums(values: Series, width: int) -> Series:
    total = np.cumsum(np.concatenate([np.zeros((1, *values.shape[1:])), values]), axis=0)
    begin = np.maximum(np.arange(1, len(total)) - width, 0)
    return total[1:] - total[begin]


def settled(series: Series, width: int) -> Series:
    """The part of a moving_mean that is over whole windows; the last value alone if the film is shorter than one."""
    return series[min(width, len(series)) - 1 :]
