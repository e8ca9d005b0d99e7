"""What is measured of one film, frame by frame, while it goes by: sums and curves, no pictures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ..base import Picture
from .blocks import Blocks, blocks_of
from .detail import Luma, detail, luma
from .following import Edges, agreement, edges_of
from .motion import RawFlow
from .steadiness import pair_error
from .windows import Series

# Both pictures are blurred by so much, pixels, before they are compared: strokes may differ, areas may not.
FIDELITY_SIGMA_PX = 4.0
# The worst of a frame is not its very worst block, which may be one odd stroke.
WORST_BLOCKS_PERCENT = 95.0
# Seams reach so far, pixels, beyond where the motion is not known: programs grow their holes, and feather them.
SEAM_PX = 5


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known of a moment before any painting is looked at.

    away: [H, W] float32, 1 where detail counts, 0 at seams. edges: of the raw frame. alone: the frame painted alone, if
    it was.
    """

    away: NDArray[np.float32]
    edges: Edges
    alone: Picture | None


@dataclass(slots=True)
class Track:
    """The measures of one film as they grow. Curves have one value a frame, NaN where there is none."""

    errors: dict[int, list[float]]  # by distance: warped error, squared levels
    detail: list[float] = field(default_factory=list)  # mean energy away from seams, squared levels
    detail_blocks: Blocks | None = None  # sums of the same
    unlike: list[float] = field(default_factory=list)  # RMS difference to the frame painted alone, blurred, levels
    unlike_worst: list[float] = field(default_factory=list)  # and of its worst blocks
    follows: list[float] = field(default_factory=list)
    colours: list[NDArray[np.float64]] = field(default_factory=list)  # mean and deviation a channel, BGR: [6], levels

    def add_errors(self, picture: Picture, earlier: Mapping[int, Picture], flows: Mapping[int, RawFlow]) -> None:
        """Takes a frame's steadiness. earlier: the film's frames at the other ends of the flows, by distance."""
        for distance, errors in self.errors.items():
            flow = flows.get(distance)
            errors.append(math.nan if flow is None else pair_error(earlier[distance], picture, flow))

    def add_colours(self, picture: Picture) -> None:
        """Takes a frame's colours."""
        mean, deviation = cv2.meanStdDev(picture)
        self.colours.append(np.concatenate([mean, deviation]).ravel())

    def add_looks(self, picture: Picture, moment: Moment) -> None:
        """Takes what there is to see in a frame: its detail, its edges, and what else differs from alone."""
        of_picture = luma(picture)
        self._add_detail(of_picture, moment.away)
        if moment.alone is not None:
            self._add_unlike(picture, moment.alone)
        self.follows.append(agreement(edges_of(of_picture), moment.edges))

    def _add_detail(self, of_picture: Luma, away: NDArray[np.float32]) -> None:
        energy = np.square(detail(of_picture)) * away
        counted = float(away.sum(dtype=np.float64))
        self.detail.append(float(energy.sum(dtype=np.float64)) / counted if counted else math.nan)
        blocks = blocks_of(energy)
        self.detail_blocks = blocks if self.detail_blocks is None else self.detail_blocks + blocks

    def _add_unlike(self, picture: Picture, alone: Picture) -> None:
        squared = blurred_difference(picture, alone)
        self.unlike.append(math.sqrt(float(squared.mean(dtype=np.float64))))
        self.unlike_worst.append(math.sqrt(float(np.percentile(blocks_of(squared), WORST_BLOCKS_PERCENT))))

    def error_series(self, distance: int) -> Series:
        """The warped errors at this distance as an array."""
        return np.array(self.errors[distance], np.float64)

    def series(self, name: str) -> Series:
        """One of the curves as an array."""
        return np.array(getattr(self, name), np.float64)


def blurred_difference(
    ours: Picture | NDArray[np.float32], other: Picture | NDArray[np.float32]
) -> NDArray[np.float32]:
    """The squared difference of two pictures that are both blurred, mean over the channels: [H, W], squared levels."""
    difference = cv2.subtract(ours.astype(np.float32), other.astype(np.float32))
    return np.square(cv2.GaussianBlur(difference, (0, 0), FIDELITY_SIGMA_PX)).mean(axis=2)


def away_from_seams(flow: RawFlow | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Where detail counts, [H, W] float32, 0 or 1: not where the raw film's motion is not known, nor near there.

    Any program paints anew there, and has seams. In the first frame of a shot, without any motion, all counts.
    """
    if flow is None:
        return np.ones(shape[:2], np.float32)
    side = 2 * SEAM_PX + 1
    return cv2.erode(flow.valid.view(np.uint8), np.ones((side, side), np.uint8)).astype(np.float32)
