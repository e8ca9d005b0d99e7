"""Pops: moments at which a painting jumps, where the raw film does not."""

from collections.abc import Sequence

import numpy as np

from .windows import Series

# A median jump counts as at least this, levels: below it is rounding and the error of the flow, and in a film that
# hardly jumps any small jump would be many times as large.
LEAST_JUMP = 1.0
# A new keyframe comes in over so long, seconds: a jump within it is its doing.
COMING_IN_S = 0.2


def jumps_of(errors: Series, raw_errors: Series) -> Series:
    """How far each frame jumps from the one before it, more than the raw film does: [n] levels, NaN at cuts.

    errors, raw_errors: the warped errors at distance 1, squared levels. The jump is the root of what the painting has
    more than the raw film: where a raw frame is noisy, or lit by a flash, its own error is as large, and is not blamed
    on the painting.
    """
    return np.sqrt(np.maximum(errors - raw_errors, 0.0))


def pop_of(jumps: Series, keyframes: Sequence[int] | None, rate: float) -> tuple[float | None, int | None]:
    """The largest jump where a keyframe comes in, over the median jump of the film; and the frame that jumps so.

    keyframes: numbers of their frames; None: not known, then it is the largest of all. None, None: there is no such
    jump, as with one keyframe, or cuts alone.
    """
    among = np.arange(len(jumps))
    if keyframes is not None:
        reach = np.arange(max(1, round(COMING_IN_S * rate)))
        near = (np.array([each for each in keyframes if each > 0], np.int64)[:, None] + reach).ravel()
        among = np.unique(near[near < len(jumps)])
    known = among[~np.isnan(jumps[among])]
    if not known.size:
        return None, None
    frame = int(known[np.argmax(jumps[known])])
    return float(jumps[frame] / max(LEAST_JUMP, float(np.nanmedian(jumps)))), frame
