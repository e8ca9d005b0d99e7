"""When a keyframe is due, and where the film cuts.

Source of the edge measure: sd_animation_optical_flow, which took it from PySceneDetect's content detector.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Picture

EdgeMap = NDArray[np.uint8]  # [H, W], 0 or 255

# Canny's two thresholds stand this share below and above the median brightness.
CANNY_SPREAD = 1 / 3
# Edges are made wider by a kernel that grows with the picture, so that a small shift is a small change.
KERNEL_BASE = 4
KERNEL_PIXELS = 192


def edge_map(picture: Picture) -> EdgeMap:
    """The widened edges of a picture's brightness (V of HSV): [H, W] uint8, 0 or 255."""
    blue, green, red = cv2.split(picture)
    value = cv2.max(cv2.max(blue, green), red)
    median = _median(value)
    edges = cv2.Canny(value, max(0.0, (1 - CANNY_SPREAD) * median), min(255.0, (1 + CANNY_SPREAD) * median))
    h, w = value.shape
    side = KERNEL_BASE + round((w * h) ** 0.5 / KERNEL_PIXELS)
    side += 1 - side % 2
    return cv2.dilate(edges, np.ones((side, side), np.uint8))


def _median(levels: NDArray[np.uint8]) -> float:
    """The median of bytes, from their histogram; of an even number the lower one of the middle two."""
    counts = cv2.calcHist([levels], [0], None, [256], (0, 256))
    return float(np.searchsorted(np.cumsum(counts), levels.size / 2))


def edge_change(before: EdgeMap, after: EdgeMap) -> float:
    """The mean absolute difference of two edge maps, 0 to 255."""
    return float(cv2.norm(before, after, cv2.NORM_L1)) / before.size


def keyframe_threshold(threshold: float, gap_s: float, max_gap_s: float) -> float:
    """The edge change that makes a keyframe after this gap: it falls linearly to zero at the longest gap."""
    return threshold * max(0.0, 1 - gap_s / max_gap_s)


# Between frames of one shot of the test clips the edges change by at most 66 and the colours by 0.16; at cuts by at
# least 112 and 0.44. A cut needs both: fast motion changes the edges alone, a flash the colours alone.
CUT_EDGE_CHANGE = 85.0
CUT_COLOUR_CHANGE = 0.25
# Colours are compared by histograms of hue, saturation and brightness of a small copy of the picture.
HISTOGRAM_BINS = (12, 4, 8)
HISTOGRAM_RANGES = (0, 180, 0, 256, 0, 256)
SMALL_SIZE = (160, 96)


@dataclass(frozen=True, slots=True)
class Glance:
    """What the detectors keep of a picture: its edges, and its colours as shares of histogram bins."""

    edges: EdgeMap
    colours: NDArray[np.float32]


def glance(picture: Picture) -> Glance:
    """What the detectors keep of a picture [H, W, 3]."""
    small = cv2.resize(picture, SMALL_SIZE, interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    histogram = cv2.calcHist([hsv], [0, 1, 2], None, HISTOGRAM_BINS, HISTOGRAM_RANGES)
    return Glance(edge_map(picture), histogram / np.float32(SMALL_SIZE[0] * SMALL_SIZE[1]))


def is_cut(before: Glance, after: Glance) -> bool:
    """Whether the film cuts between two neighbouring frames."""
    colour_change = 0.5 * float(cv2.norm(before.colours, after.colours, cv2.NORM_L1))
    return colour_change > CUT_COLOUR_CHANGE and edge_change(before.edges, after.edges) > CUT_EDGE_CHANGE
