"""How steady and how detailed a painted film is, judged against the raw film that it was painted from.

Steadiness is the warping error of Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018: how far a frame
is from the one before it, moved along the motion of the raw film. Flow comes from Farneback, "Two-Frame Motion
Estimation Based on Polynomial Expansion", SCIA 2003, so no film is judged by the flow that made it.

All differences are taken in floating point. In unsigned bytes 10 - 250 wraps round to 16, and 16 is what would be
squared: the worst flicker would pass for a small one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Flow, Mask, Picture
from .detect import glance, is_cut
from .grid import inside, resample

Film = Sequence[Picture]  # frames of one size, in order
Luma = NDArray[np.float32]  # [H, W], levels
Errors = NDArray[np.float64]  # [n - 1], squared levels, one for each pair of neighbouring frames

# Farneback's parameters. Each level is half of the one before; OpenCV stops where a side falls below 32 pixels.
PYRAMID_SCALE = 0.5
PYRAMID_LEVELS = 6
# Side of the averaging window, pixels: larger ones hold on to noise less, and smear edges of motion more.
WINDOW_PX = 15
ITERATIONS = 3
# Neighbourhood of the polynomial expansion, pixels, and the sigma that its author pairs with it.
EXPANSION_PX = 7
EXPANSION_SIGMA_PX = 1.5
# So near the border, pixels, that neighbourhood hangs over it, and both directions agree on motion that is too short.
BORDER_PX = 7

# The two directions of flow may disagree by so much: squared pixels, and a share of both squared lengths beside it.
# Source: Sundaram et al., "Dense point trajectories by GPU-accelerated large displacement optical flow", ECCV 2010.
DISAGREEMENT_PX2 = 0.5
DISAGREEMENT_SHARE = 0.01
# What is seen at both ends may differ by so much, root mean square over the channels, levels. Both directions can agree
# on a wrong motion, and the few such pixels would outweigh all others. Lai et al. weigh a pixel down to 1/e about here.
UNLIKE_LEVELS = 20.0

# Bilinear resampling blurs, so it would count against a film that is sharp.
INTERPOLATION = cv2.INTER_CUBIC

# What a Gaussian of this sigma, pixels, takes out of the luma is detail: lines and texture of up to some six pixels.
DETAIL_SIGMA_PX = 1.5

# Less energy than this, squared levels, is rounding.
FLAT = 1e-6

PEAK_LEVEL = 255.0


@dataclass(frozen=True, slots=True)
class RawFlow:
    """The motion of the raw film between two neighbouring frames, on the grid of the later one, into the earlier.

    flow: [H, W, 2] float32, pixels. valid: [H, W] bool, where it can be believed; nowhere if the film cuts.
    """

    flow: Flow
    valid: Mask


def flows_of(raw: Film) -> list[RawFlow]:
    """The motion from each frame of the raw film to the one before it: n - 1 flows for n frames.

    A flow is valid where it ends inside the frame, the flow of the other direction leads back, and the raw film looks
    alike at both ends; never at the border.
    Needs about 9 bytes a pixel and pair. Raises ValueError for frames of several sizes.
    """
    _check_one_size(raw)
    glances = map(glance, raw)
    return [
        _no_flow(now.shape) if is_cut(earlier, later) else _raw_flow(now, before)
        for (earlier, later), (before, now) in zip(pairwise(glances), pairwise(raw), strict=True)
    ]


def _raw_flow(now: Picture, before: Picture) -> RawFlow:
    forward, backward = _both_directions(now, before)
    there = resample(backward, forward)
    disagreement = _squared_length(cv2.add(forward, there))
    allowed = DISAGREEMENT_PX2 + DISAGREEMENT_SHARE * (_squared_length(forward) + _squared_length(there))
    unlike = _squared_error(now, before, forward).mean(axis=2)
    believed = inside(forward) & (disagreement < allowed) & (unlike < UNLIKE_LEVELS**2)
    valid = np.zeros_like(believed)
    middle = np.s_[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    valid[middle] = believed[middle]
    return RawFlow(forward, valid)


def _both_directions(now: Picture, before: Picture) -> tuple[Flow, Flow]:
    target, source = (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (now, before))
    return _farneback(target, source), _farneback(source, target)


def _no_flow(shape: tuple[int, ...]) -> RawFlow:
    h, w = shape[:2]
    return RawFlow(np.zeros((h, w, 2), np.float32), np.zeros((h, w), np.bool_))


def _farneback(target: NDArray[np.uint8], source: NDArray[np.uint8]) -> Flow:
    return cv2.calcOpticalFlowFarneback(
        target,
        source,
        None,
        PYRAMID_SCALE,
        PYRAMID_LEVELS,
        WINDOW_PX,
        ITERATIONS,
        EXPANSION_PX,
        EXPANSION_SIGMA_PX,
        0,
    )


def _squared_length(flow: Flow) -> NDArray[np.float32]:
    return np.square(flow).sum(axis=2)


def warped_error(film: Film, flows: Sequence[RawFlow]) -> Errors:
    """How far each frame is from the one before it, moved along the flow: [n - 1] float64, squared levels.

    The mean over valid pixels and channels of the squared difference; NaN where a pair has no valid pixel, as at a
    cut. Raises ValueError if the film does not fit the flows.
    """
    _check_fits(film, flows)
    pairs = zip(pairwise(film), flows, strict=True)
    return np.array([_pair_error(before, now, flow) for (before, now), flow in pairs], np.float64)


def _pair_error(before: Picture, now: Picture, raw_flow: RawFlow) -> float:
    if not raw_flow.valid.any():
        return math.nan
    return float(_squared_error(now, before, raw_flow.flow)[raw_flow.valid].mean(dtype=np.float64))


def _squared_error(now: Picture, before: Picture, flow: Flow) -> NDArray[np.float32]:
    """The squared difference of a frame and the one before it, moved along the flow: [H, W, 3], squared levels."""
    moved = resample(before.astype(np.float32), flow, interpolation=INTERPOLATION)
    return np.square(cv2.subtract(now.astype(np.float32), moved))


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
    base = mean_warped_error(raw, known)
    ours_excess = mean_warped_error(ours, known) - base
    alone_excess = mean_warped_error(alone, known) - base
    if ours_excess > 0:
        return alone_excess / ours_excess
    return math.inf if alone_excess > 0 else math.nan


def detail_ratio(ours: Film, alone: Film) -> float:
    """The fine detail of `ours` as a share of that of `alone`: below 1 it is blurred, above 1 it is rougher.

    0.95 to 1.05 is as sharp as painting can be told to be. Detail is the mean_detail of a film. Raises ValueError if
    the films differ in length or size, or `alone` has no detail.
    """
    _check_alike(ours, alone)
    most = mean_detail(alone)
    if most < FLAT:
        raise ValueError("the film to compare with is flat: it has no detail to take a share of")
    return mean_detail(ours) / most


def mean_detail(film: Film) -> float:
    """The energy of what a Gaussian takes out of the luma, mean over pixels and frames, squared levels."""
    _check_one_size(film)
    return float(np.mean([np.square(_detail(picture)).mean(dtype=np.float64) for picture in film]))


def _detail(picture: Picture) -> Luma:
    luma = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_BGR2GRAY)
    return cv2.subtract(luma, cv2.GaussianBlur(luma, (0, 0), DETAIL_SIGMA_PX))


def psnr(film: Film, truth: Film) -> float:
    """The peak signal-to-noise ratio of a film over all its pixels, dB; inf if it equals the truth.

    Raises ValueError if the films differ in length or size.
    """
    _check_alike(film, truth)
    error = float(np.mean([_mean_square(a, b) for a, b in zip(film, truth, strict=True)]))
    return 10 * math.log10(PEAK_LEVEL**2 / error) if error else math.inf


def _mean_square(a: Picture, b: Picture) -> float:
    return float(np.square(a.astype(np.float32) - b).mean(dtype=np.float64))


def _check_one_size(film: Film) -> None:
    if not len(film):
        raise ValueError("a film without frames cannot be measured")
    shapes = {picture.shape for picture in film}
    if len(shapes) > 1:
        raise ValueError(f"the frames of a film must have one size, not {_listed(shapes)}")


def _check_alike(film: Film, other: Film) -> None:
    _check_one_size(film)
    _check_one_size(other)
    if len(film) != len(other):
        raise ValueError(f"the films must have the same number of frames, not {len(film)} and {len(other)}")
    if film[0].shape != other[0].shape:
        raise ValueError(f"the films must have one size, not {_listed([film[0].shape, other[0].shape])}")


def _check_fits(film: Film, flows: Sequence[RawFlow]) -> None:
    _check_one_size(film)
    if len(flows) != len(film) - 1:
        raise ValueError(f"{len(film)} frames need {len(film) - 1} flows, not {len(flows)}")
    shapes = {film[0].shape[:2]} | {raw_flow.valid.shape for raw_flow in flows}
    if len(shapes) > 1:
        raise ValueError(f"film and flows must have one size, not {_listed(shapes)}")


def _listed(shapes: set[tuple[int, ...]] | list[tuple[int, ...]]) -> str:
    return " and ".join(f"{w}x{h}" for h, w, *_ in sorted(shapes))
