"""The motion of the raw film, between neighbouring frames and over longer distances, and where it can be believed.

Flow comes from Farneback, "Two-Frame Motion Estimation Based on Polynomial Expansion", SCIA 2003, so no film is judged
by the flow that made it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from ..base import Flow, Mask, Picture
from ..detect import Glance, glance, is_cut
from ..grid import inside, resample, scaled_flow
from .films import Film, check_one_size

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

# Neighbouring flows are kept, to be put together to a first guess of a longer one, on a grid so many times coarser.
GUESS_SCALE = 4

# Flow is found at no more pixels than this and scaled up. At 1280x720 that takes half of the time, and films are found
# steadier by a tenth, all alike, than by flow at full size; at 384x216 by a fifth and more.
FLOW_PIXELS = 768 * 432


@dataclass(frozen=True, slots=True)
class RawFlow:
    """The motion of the raw film between two frames, on the grid of the later one, into the earlier.

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
    check_one_size(raw)
    glances = map(glance, raw)
    return [
        no_flow(now.shape) if is_cut(earlier, later) else _believed(now, before, *_both_directions(now, before))
        for (earlier, later), (before, now) in zip(pairwise(glances), pairwise(raw), strict=True)
    ]


def no_flow(shape: tuple[int, ...]) -> RawFlow:
    """The motion of a pair of frames of this shape, (H, W, ...), of which nothing is known."""
    h, w = shape[:2]
    return RawFlow(np.zeros((h, w, 2), np.float32), np.zeros((h, w), np.bool_))


def squared_error(now: Picture, before: Picture, flow: Flow) -> NDArray[np.float32]:
    """The squared difference of a frame and an earlier one, moved along the flow: [H, W, 3], squared levels."""
    moved = resample(before.astype(np.float32), flow, interpolation=INTERPOLATION)
    return np.square(cv2.subtract(now.astype(np.float32), moved))


@dataclass(frozen=True, slots=True)
class _Moment:
    """A raw frame, and its flows to and from the frame before it, on the guesses' grid. None: the first, or a cut."""

    picture: Picture
    gray: NDArray[np.uint8]
    forward: Flow | None
    backward: Flow | None


class Motion:
    """The motion of a raw film that comes frame by frame: from each frame into those a few frames before it.

    distances: how many frames apart, ascending from 1. every: of the pairs at longer distances only those whose later
    frame's number is a multiple of this are measured. Holds as many frames as the longest distance, and one.
    """

    def __init__(self, distances: Sequence[int], *, every: int = 1, flow_pixels: int = FLOW_PIXELS) -> None:
        if not distances or distances[0] != 1 or list(distances) != sorted(set(distances)):
            raise ValueError(f"distances begin at 1 and ascend, not {tuple(distances)}")
        self._distances = tuple(distances)
        self._every = every
        self._flow_pixels = flow_pixels
        self._moments: deque[_Moment] = deque(maxlen=distances[-1] + 1)
        self._seen: Glance | None = None
        self._number = -1
        self.cuts: list[int] = []  # the numbers of the first frames of shots, but the first

    def add(self, raw: Picture) -> dict[int, RawFlow]:
        """The motion from this frame into earlier ones, by distance: of pairs in one shot that are measured.

        At a cut, and at the first frame, there is none.
        """
        self._number += 1
        glimpse = glance(raw)
        cut = self._seen is None or is_cut(self._seen, glimpse)
        self._seen = glimpse
        if cut and self._number:
            self.cuts.append(self._number)
            self._moments.clear()
        gray = cv2.cvtColor(self._sight(raw), cv2.COLOR_BGR2GRAY)
        if cut:
            self._moments.append(_Moment(raw, gray, None, None))
            return {}
        before = self._moments[-1]
        forward, backward = _farneback(gray, before.gray), _farneback(before.gray, gray)
        self._moments.append(_Moment(raw, gray, _coarse(forward), _coarse(backward)))
        found = {1: _raw_flow(raw, before.picture, forward, backward)}
        for distance in self._distances[1:]:
            if distance < len(self._moments) and self._number % self._every == 0:
                found[distance] = self._farther(distance)
        return found

    def _farther(self, distance: int) -> RawFlow:
        """The motion over several frames, found from the flows between neighbours put together."""
        steps = list(self._moments)[-distance - 1 :]
        now, then = steps[-1], steps[0]
        size = now.gray.shape[1], now.gray.shape[0]
        ahead = scaled_flow(_led([step.forward for step in reversed(steps[1:])]), size)
        back = scaled_flow(_led([step.backward for step in steps[1:]]), size)
        forward, backward = _farneback(now.gray, then.gray, ahead), _farneback(then.gray, now.gray, back)
        return _raw_flow(now.picture, then.picture, forward, backward)

    def _sight(self, picture: Picture) -> Picture:
        """The picture as flow is found on it."""
        h, w = picture.shape[:2]
        share = (self._flow_pixels / (w * h)) ** 0.5
        if share >= 1:
            return picture
        return cv2.resize(picture, (max(1, round(w * share)), max(1, round(h * share))), interpolation=cv2.INTER_AREA)


def _raw_flow(now: Picture, before: Picture, forward: Flow, backward: Flow) -> RawFlow:
    size = now.shape[1], now.shape[0]
    return _believed(now, before, scaled_flow(forward, size), scaled_flow(backward, size))


def _coarse(flow: Flow) -> Flow:
    h, w = flow.shape[:2]
    return scaled_flow(flow, (max(1, w // GUESS_SCALE), max(1, h // GUESS_SCALE)))


def _led(flows: Sequence[Flow | None]) -> Flow:
    """The flow that leads along these, one after the other."""
    known = [flow for flow in flows if flow is not None]
    led = known[0]
    for flow in known[1:]:
        led = cv2.add(led, resample(flow, led))
    return led


def _believed(now: Picture, before: Picture, forward: Flow, backward: Flow) -> RawFlow:
    there = resample(backward, forward)
    disagreement = _squared_length(cv2.add(forward, there))
    allowed = DISAGREEMENT_PX2 + DISAGREEMENT_SHARE * (_squared_length(forward) + _squared_length(there))
    unlike = squared_error(now, before, forward).mean(axis=2)
    believed = inside(forward) & (disagreement < allowed) & (unlike < UNLIKE_LEVELS**2)
    valid = np.zeros_like(believed)
    middle = np.s_[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    valid[middle] = believed[middle]
    return RawFlow(forward, valid)


def _both_directions(now: Picture, before: Picture) -> tuple[Flow, Flow]:
    target, source = (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (now, before))
    return _farneback(target, source), _farneback(source, target)


def _farneback(target: NDArray[np.uint8], source: NDArray[np.uint8], guess: Flow | None = None) -> Flow:
    return cv2.calcOpticalFlowFarneback(
        target,
        source,
        None if guess is None else guess.copy(),
        PYRAMID_SCALE,
        PYRAMID_LEVELS,
        WINDOW_PX,
        ITERATIONS,
        EXPANSION_PX,
        EXPANSION_SIGMA_PX,
        0 if guess is None else cv2.OPTFLOW_USE_INITIAL_FLOW,
    )


def _squared_length(flow: Flow) -> NDArray[np.float32]:
    return np.square(flow).sum(axis=2)
