"""A dense flow made exact: one step towards where the pictures agree.

Source: Lucas and Kanade, "An iterative image registration technique with an application to stereo vision", IJCAI 1981,
in the form of Baker and Matthews, "Lucas-Kanade 20 years on", IJCV 2004, that takes all slopes of the target: what is
known of it beforehand is found once, however many sources it is matched with.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..base import Flow, Mask
from ..grid import Window, resample, slopes

# Slopes are read off a picture that is softened by a Gaussian of this sigma, pixels: noise is steeper than things are.
SOFT_SIGMA_PX = 1.0
# The step is found on a grid so many times coarser, and is the best of what lies within a Gaussian of this sigma,
# cells of that grid: 5 pixels, as less follows noise, and more the wrong things.
STEP_SCALE = 4
STEP_SIGMA_CELLS = 1.25
# Squared slope, (levels a pixel) ** 2, below which a place says nothing: there the flow stays as it is.
LEAST_SLOPE = 10.0
# A pixel that differs by more levels than this says no more than that: it may be of something else.
MOST_LEVELS = 10.0
# The longest step, pixels: what is farther off is not to be found by going downhill.
LONGEST_PX = 1.0

# An area's shift is known if its slopes, summed over so many pixels' worth of what says something, tell both ways.
LEAST_SUM = LEAST_SLOPE * 32

Plane = NDArray[np.float32]  # [h, w]


@dataclass(frozen=True, slots=True)
class Slopes:
    """What a picture says about where it lies.

    soft: [h, w] float32, levels. across, down: [h, w], levels a pixel. inverse: of the structure tensor, its xx, xy and
    yy, [h / 4, w / 4] each.
    """

    soft: Plane
    across: Plane
    down: Plane
    inverse: tuple[Plane, Plane, Plane]

    @classmethod
    def of(cls, gray: NDArray[np.uint8]) -> "Slopes":
        """Those of a picture [h, w]."""
        soft = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), SOFT_SIGMA_PX)
        across, down = slopes(soft)
        xx, yy = (_around(cv2.multiply(each, each)) + np.float32(LEAST_SLOPE) for each in (across, down))
        xy = _around(cv2.multiply(across, down))
        determinant = xx * yy - xy * xy
        return cls(soft, across, down, (yy / determinant, -xy / determinant, xx / determinant))

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(each.nbytes for each in (self.soft, self.across, self.down, *self.inverse))


def refined(flow: Flow, target: Slopes, source: Slopes) -> Flow:
    """The flow [h, w, 2] a step nearer to where the source is as the target is."""
    h, w = target.soft.shape
    apart = cv2.subtract(resample(source.soft, flow), target.soft)
    np.clip(apart, -MOST_LEVELS, MOST_LEVELS, out=apart)
    x, y = _around(cv2.multiply(target.across, apart)), _around(cv2.multiply(target.down, apart))
    xx, xy, yy = target.inverse
    step = cv2.merge((xx * x + xy * y, xy * x + yy * y))
    np.clip(step, -LONGEST_PX, LONGEST_PX, out=step)
    return cv2.subtract(flow, cv2.resize(step, (w, h), interpolation=cv2.INTER_LINEAR))


def refined_shift(
    shift: NDArray[np.float64], target: Slopes, source: Slopes, window: Window, where: Mask
) -> NDArray[np.float64]:
    """The shift [2] of an area as a whole, a step nearer: found at the slopes of its outline.

    where: the area with its outline, in this window of the target. What has no slopes stays as it is.
    """
    flow = np.full((*where.shape, 2), shift, np.float32)
    apart = np.clip(resample(source.soft, flow, window) - target.soft[window], -MOST_LEVELS, MOST_LEVELS)[where]
    across, down = (each[window][where].astype(np.float64) for each in (target.across, target.down))
    # By sums and by hand: the last bit of a product of matrices depends on how many threads work on it.
    xx, xy, yy = (across * across).sum(), (across * down).sum(), (down * down).sum()
    if (xx + yy - np.hypot(xx - yy, 2 * xy)) / 2 < LEAST_SUM:  # the smaller eigenvalue
        return shift
    x, y = (across * apart).sum(), (down * apart).sum()
    step = np.array((yy * x - xy * y, xx * y - xy * x)) / (xx * yy - xy * xy)
    return shift - np.clip(step, -LONGEST_PX, LONGEST_PX)


def _around(values: Plane) -> Plane:
    """Their weighted mean around each cell of the coarse grid."""
    h, w = values.shape
    cells = cv2.resize(values, (max(1, w // STEP_SCALE), max(1, h // STEP_SCALE)), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(cells, (0, 0), STEP_SIGMA_CELLS)
