"""How steady a painted film is, judged against the raw film that it was painted from.

Steadiness is the warping error of Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018: how far a frame
is from an earlier one, moved along the motion of the raw film.

All differences are taken in floating point. In unsigned bytes 10 - 250 wraps round to 16, and 16 is what would be
squared: the worst flicker would pass for a small one.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..base import Picture
from .films import Film, check_one_size, listed
from .motion import RawFlow, flows_of, squared_error

Errors = NDArray[np.float64]  # [n - 1], squared levels, one for each pair of neighbouring frames


def warped_error(film: Film, flows: Sequence[RawFlow]) -> Errors:
    """How far each frame is from the one before it, moved along the flow: [n - 1] float64, squared levels.

    The mean over valid pixels and channels of the squared difference; NaN where a pair has no valid pixel, as at a
    cut. Raises ValueError if the film does not fit the flows.
    """
    _check_fits(film, flows)
    pairs = zip(pairwise(film), flows, strict=True)
    return np.array([pair_error(before, now, flow) for (before, now), flow in pairs], np.float64)


def pair_error(before: Picture, now: Picture, raw_flow: RawFlow) -> float:
    if not raw_flow.valid.any():
        return math.nan
    return float(squared_error(now, before, raw_flow.flow)[raw_flow.valid].mean(dtype=np.float64))


def mean_warped_error(film: Film, flows: Sequence[RawFlow]) -> float:
    """The mean of warped_error over the pairs that have one, squared levels: the E of excess_steadiness.

    Raises ValueError if no pair has a valid pixel, or the film does not fit the flows.
    """
    errors = warped_error(film, flows)
    if np.isnan(errors).all():
        raise ValueError(f"none of the {len(errors)} pairs of frames has a pixel whose motion is known")
    return float(np.nanmean(errors))


def excess_steadiness(raw: Film, ours: Film, alone: Film, flows: Sequence[RawFlow] | None = None) -> float:
    """How many times less `ours` flickers than `alone`, every frame painted alone, past what the raw film does itself.

    (E alone - E raw) / (E ours - E raw), E being the mean_warped_error along the raw film's motion. The raw film's
    own E is noise, change of light and error of the flow, which no painting is to blame for. So:

    - above 1: ours is steadier; 1: both flicker alike; 0 to 1: ours flickers more.
    - inf: ours flickers no more than the raw film, and alone does.
    - 0 or less: alone flickers no more than the raw film, and ours does.
    - nan: neither flickers more than the raw film, so there is nothing to compare.

    flows: those of flows_of(raw), if they are at hand. A film that stands still is not steady by this measure: it does
    not follow the raw one. Raises ValueError if the films differ in length or size, or no motion is known.
    """
    known = flows_of(raw) if flows is None else flows
    return steadier(*(mean_warped_error(film, known) for film in (raw, ours, alone)))


def steadier(raw: float, ours: float, alone: float, *, least: float = 0.0) -> float:
    """excess_steadiness of the films' errors, squared levels. least: so much excess of both counts as none."""
    ours_excess, alone_excess = ours - raw, alone - raw
    if max(ours_excess, alone_excess) <= least:
        return math.nan
    return alone_excess / ours_excess if ours_excess > 0 else math.inf


def _check_fits(film: Film, flows: Sequence[RawFlow]) -> None:
    check_one_size(film)
    if len(flows) != len(film) - 1:
        raise ValueError(f"{len(film)} frames need {len(film) - 1} flows, not {len(flows)}")
    shapes = {film[0].shape[:2]} | {raw_flow.valid.shape for raw_flow in flows}
    if len(shapes) > 1:
        raise ValueError(f"film and flows must have one size, not {listed(shapes)}")
