"""Dense inverse search optical flow, with a confidence from what both directions and both pictures say.

Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016, as OpenCV has it. The
forward-backward check and its tolerance follow Sundaram et al., "Dense point trajectories by GPU-accelerated large
displacement optical flow", ECCV 2010.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..base import Confidence, Features, Flow, Match, MatchRequest, Picture
from ..grid import Window, halved_towards, inside, lengths, resample, scaled_flow, slopes
from .refine import Slopes, refined, refined_shift
from .still import FlatAreas, flat_areas, hold_still

# Flow is found at no more pixels than this and scaled up: beyond, it costs in proportion, and a painted film is no
# steadier, as the last step is found to parts of a pixel. docs/quality.md has the figures.
FLOW_PIXELS = 512 * 384

# Smaller pictures have the way back on the finer grid, too: it costs little there, and a quarter of them is coarse.
SMALL_PIXELS = 384 * 256

# Forward-backward disagreement, pixels, at which confidence is one half: DIS is right to within a pixel up to here.
DISAGREEMENT_PX = 0.75
# Disagreement that is allowed beside it, as a share of the motion: long ways are measured less well.
DISAGREEMENT_PER_PX = 0.01
# And so many pixels more as change nothing that is seen: this many levels over the local contrast, but no more than.
UNSEEN_LEVELS = 4.0
UNSEEN_PX = 8.0
# Levels of grey that differ by noise and compression alone, between pictures of the same thing.
NOISE_LEVELS = 4.0
# How many pixels of misplacement the photometric check forgives, in units of the local contrast.
FORGIVEN_PX = 0.6
# Where the flow squeezes its target together by this much a pixel (negative divergence), confidence is one half: the
# target has room there that the source had not, as beside the trailing edge of something that moves.
SQUEEZE = 0.15
# A pixel is no surer than its neighbours within this window, pixels: occlusions at small motion are slivers.
NEIGHBOURS = np.ones((3, 3), np.uint8)
# Photometric difference is read over this window, pixels: single pixels are noise, larger windows blur occlusions.
PHOTOMETRIC_WINDOW = 5
# Below this side DIS has no room for its pyramid of 8-pixel patches; smaller pictures are enlarged for it.
SMALLEST_SIDE = 64


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work DIS does. grid: flow is found on pictures of 1 / 2**grid of their sides.

    stride: from patch to patch, pixels of that grid. descent: steps of each patch. refinement: variational iterations
    on each grid. propagation: patches try what their neighbours found.
    """

    grid: int
    stride: int
    descent: int
    refinement: int
    propagation: bool

    def made(self) -> "cv2.DISOpticalFlow":
        """A fresh DIS, which costs nothing.

        OpenCV 5.0's keeps the last guess, which it mixes into the next flow, and crashes when it is given another size.
        """
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        dis.setFinestScale(self.grid)
        dis.setPatchStride(self.stride)
        dis.setGradientDescentIterations(self.descent)
        dis.setVariationalRefinementIterations(self.refinement)
        dis.setUseSpatialPropagation(self.propagation)
        return dis


# The way there, which paint follows, on half the picture: that makes a painted film steadier by a quarter than a
# quarter of it does. The way back only says whether the other can be believed, and tolerates more.
THERE = Effort(grid=1, stride=3, descent=16, refinement=2, propagation=True)
BACK = Effort(grid=2, stride=4, descent=12, refinement=2, propagation=True)
THERE_SMALL = Effort(grid=1, stride=4, descent=8, refinement=2, propagation=False)
BACK_SMALL = Effort(grid=1, stride=4, descent=8, refinement=0, propagation=False)


@dataclass(frozen=True, slots=True)
class DisFeatures:
    """A picture at the flow's scale: blurred BGR for comparing, grey for matching, and its local contrast."""

    gray: NDArray[np.uint8]  # [h, w]
    bgr: NDArray[np.uint8]  # [h, w, 3]
    contrast: NDArray[np.float32]  # [h, w], levels a pixel
    slopes: Slopes
    flat: FlatAreas
    size: tuple[int, int]  # of the picture, (W, H)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.gray.nbytes + self.bgr.nbytes + self.contrast.nbytes + self.slopes.nbytes + self.flat.nbytes

    @property
    def key(self) -> str:
        """The sizes: DIS matches pictures of one size."""
        return f"dis {self.size[0]}x{self.size[1]}"


class Dis:
    """FlowEngine on the CPU, by OpenCV. Needs no weights. Deterministic, whatever the number of threads."""

    def __init__(self, *, flow_pixels: int = FLOW_PIXELS) -> None:
        self._flow_pixels = flow_pixels

    def encode(self, pictures: Sequence[Picture]) -> list[Features]:
        """The features of each picture, [H, W, 3] uint8."""
        return [self._encode(picture) for picture in pictures]

    def _encode(self, picture: Picture) -> DisFeatures:
        height, width = picture.shape[:2]
        w, h = _flow_size(width, height, self._flow_pixels)
        small = picture if (w, h) == (width, height) else _resized(picture, (w, h))
        gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        contrast = _contrast(gray)
        soft = cv2.GaussianBlur(small, (3, 3), 0)
        return DisFeatures(gray, soft, contrast, Slopes.of(gray), flat_areas(contrast), (width, height))

    def match(self, requests: Sequence[MatchRequest]) -> list[list[Match]]:
        """The matches of each request. Features of another engine are a TypeError."""
        pairs = [
            (_ours(each.target), _ours(source), guess)
            for each in requests
            for source, guess in zip(each.sources, each.guesses, strict=True)
        ]
        found = iter(workers.each(lambda pair: self._match(*pair), pairs))
        return [[next(found) for _ in each.sources] for each in requests]

    def _match(self, target: DisFeatures, source: DisFeatures, guess: Flow | None) -> Match:
        h, w = target.gray.shape
        there, back = (THERE_SMALL, BACK_SMALL) if w * h <= SMALL_PIXELS else (THERE, BACK)
        turned_round = None if guess is None else _turned_round(guess)
        ways = (there, target, source, guess), (back, source, target, turned_round)
        forward, backward = workers.each(lambda way: self._flow(*way), ways)
        forward = refined(forward, target.slopes, source.slopes)
        still = _difference(target.bgr, source.bgr)
        areas = target.flat, source.flat
        flow, decided, photometric = hold_still(
            forward,
            still,
            areas,
            lambda *where: _moved(target, source, *where),
            lambda shift, *where: refined_shift(shift, target.slopes, source.slopes, *where),
        )
        undecided = (~decided).view(np.uint8)
        disagreement = cv2.copyTo(cv2.add(flow, resample(backward, flow)), undecided)
        squeeze = np.minimum(_divergence(forward), 0)
        confidence = _confidence(flow, disagreement, squeeze, photometric, target.contrast)
        size = target.size
        if size != (w, h):
            confidence = cv2.resize(confidence, size, interpolation=cv2.INTER_LINEAR)
        return Match(scaled_flow(flow, size), confidence)

    def _flow(self, effort: Effort, target: DisFeatures, source: DisFeatures, start: Flow | None) -> Flow:
        h, w = target.gray.shape
        guess = None if start is None else scaled_flow(start.copy(), (w, h))
        return effort.made().calc(target.gray, source.gray, guess)


def _ours(features: Features) -> DisFeatures:
    if not isinstance(features, DisFeatures):
        raise TypeError(f"features of {features.key!r} were given to the flow engine dis")
    return features


def _flow_size(width: int, height: int, most: int) -> tuple[int, int]:
    scale = min(1.0, (most / (width * height)) ** 0.5)
    enlarged = max(scale, SMALLEST_SIDE / min(width, height))
    if width * enlarged * height * enlarged <= most:  # a long narrow picture is stretched across alone
        scale = enlarged
    return max(SMALLEST_SIDE, round(width * scale)), max(SMALLEST_SIDE, round(height * scale))


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    picture = halved_towards(picture, size)
    shrinks = size[0] < picture.shape[1]  # by means over areas: an outline is to be where it is to parts of a pixel
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _turned_round(flow: Flow) -> Flow:
    """Nearly the inverse of a flow: two steps of the fixed point b(y) = -f(y + b(y))."""
    back = -flow
    for _ in range(2):
        back = -resample(flow, back)
    return back


def _contrast(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean gradient over a small window, levels a pixel; softened first, so that noise is not taken for texture."""
    soft = cv2.GaussianBlur(gray, (5, 5), 0)
    return cv2.blur(lengths(cv2.merge(slopes(soft))), (PHOTOMETRIC_WINDOW,) * 2)


def _difference(a: Picture, b: Picture) -> NDArray[np.float32]:
    """The mean absolute difference over channels and a small window, levels, [h, w]."""
    mean = cv2.transform(cv2.absdiff(a, b), np.full((1, 3), 1 / 3, np.float32))
    return cv2.boxFilter(mean, cv2.CV_32F, (PHOTOMETRIC_WINDOW,) * 2)


def _moved(target: DisFeatures, source: DisFeatures, flow: Flow, window: Window) -> NDArray[np.float32]:
    """The difference if, in this window, things have moved as the flow [h, w, 2] of the window says."""
    return _difference(target.bgr[window], resample(source.bgr, flow, window))


def _divergence(flow: Flow) -> NDArray[np.float32]:
    along_x = cv2.Sobel(flow[..., 0], cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    along_y = cv2.Sobel(flow[..., 1], cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    return cv2.add(along_x, along_y)


def _confidence(
    flow: Flow,
    disagreement: Flow,
    squeeze: NDArray[np.float32],
    photometric: NDArray[np.float32],
    contrast: NDArray[np.float32],
) -> Confidence:
    """Three checks as bells that fall to one half at their tolerance, multiplied; zero outside the source."""
    allowed_far = lengths(flow) * np.float32(DISAGREEMENT_PER_PX) + np.float32(DISAGREEMENT_PX)
    allowed_far += np.minimum(np.float32(UNSEEN_LEVELS) / np.maximum(contrast, np.float32(1e-3)), np.float32(UNSEEN_PX))
    allowed_difference = contrast * np.float32(FORGIVEN_PX) + np.float32(NOISE_LEVELS)
    bells = _bell(lengths(disagreement) / allowed_far)
    bells *= _bell(photometric / allowed_difference)
    bells *= _bell(squeeze / np.float32(SQUEEZE))
    seen = inside(flow).view(np.uint8)
    return cv2.erode(cv2.copyTo(1 / bells, seen), NEIGHBOURS)


def _bell(deviation: NDArray[np.float32]) -> NDArray[np.float32]:
    """One over the height of a bell at this many of its half widths."""
    deviation *= deviation
    deviation += 1
    return deviation
