"""What stands still, exactly; and what flat areas do, where flow cannot be seen.

A dense flow bleeds a little motion around everything that moves, and guesses on flat areas. In the film neither may
show: paint has texture everywhere, so a still wall whose flow is 0.3 px would shimmer, and a flat moving thing whose
flow is 0 would let the paint slide over it. So each pixel is asked which explains it better, the flow or no motion;
and a flat area moves as its outline does, or, where it has none of its own, as what surrounds it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..base import Flow, Mask
from ..grid import Window, lengths, spread

Residual = NDArray[np.float32]  # [h, w], mean absolute difference, levels of grey
ResidualOf = Callable[[Flow, Window], Residual]
Nearer = Callable[[NDArray[np.float64], Window, Mask], NDArray[np.float64]]
WHOLE: Window = np.s_[:, :]

# Motion below this, pixels, cannot be told from none after resampling, and is set to none where no motion fits.
STILL_PX = 0.3
# One explanation is better than another when its photometric difference is lower by this many levels of grey.
BETTER_LEVELS = 0.7
# No motion explains a pixel when its photometric difference is below this: noise and compression, levels of grey.
SAME_LEVELS = 5.0
# Below this contrast, levels a pixel, an area is flat: a displacement of a pixel changes less than noise does.
FLAT_CONTRAST = 1.2
# Flat areas smaller than this, pixels at the flow's scale, are left to the flow: their surroundings are in its patch.
SMALLEST_AREA = 200
# Contrast is read over a window, so flat areas end this many pixels short of their outline.
OUTLINE_PX = 5
# The same area in two pictures differs in size by less than this share, if nothing has come in front of it.
SAME_AREA = 0.1
# The camera moves when more than this share of the frame's border is seen to move: less may be noise or an object.
CAMERA_SHARE = 0.05

# What surrounds flat areas is spread over them on a grid so many times coarser: it is smooth there anyway.
SPREAD_SCALE = 4


@dataclass(frozen=True, slots=True)
class FlatAreas:
    """The connected flat areas of a picture; area 0 is everything else."""

    labels: NDArray[np.int32]  # [h, w]
    sizes: NDArray[np.int32]  # [n], pixels
    centres: NDArray[np.float64]  # [n, 2], pixels, x then y
    boxes: NDArray[np.int32]  # [n, 4]: x0, y0, x1, y1
    closed: Mask  # [n]: does not touch the frame's border, so that it has an outline all round
    ring: NDArray[np.intp]  # [k], where pixels lie around areas, outside of all, in the picture laid out in a row
    ringed: NDArray[np.int32]  # [k], the area that each of them lies around

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        arrays = self.labels, self.sizes, self.centres, self.ring, self.ringed
        return sum(each.nbytes for each in arrays)

    def around(self, voters: Mask) -> NDArray[np.intp]:
        """How many of these pixels [h, w] lie around each area, [n]."""
        return np.bincount(self.ringed[voters.reshape(-1)[self.ring]], minlength=len(self.sizes))

    def window(self, area: int, margin: int) -> Window:
        """The box of an area with a margin, pixels, as an index of arrays [h, w]."""
        x0, y0, x1, y1 = self.boxes[area]
        return np.s_[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin]


def flat_areas(contrast: NDArray[np.float32]) -> FlatAreas:
    """The flat areas of a picture, from its local contrast [h, w], levels a pixel."""
    h, w = contrast.shape
    flat = (contrast < FLAT_CONTRAST).view(np.uint8)
    _, labels, stats, centres = cv2.connectedComponentsWithStats(flat, connectivity=4)
    boxes = np.column_stack((stats[:, :2], stats[:, :2] + stats[:, 2:4]))
    closed = np.all((boxes[:, :2] > OUTLINE_PX) & (boxes[:, 2:] < (w - OUTLINE_PX, h - OUTLINE_PX)), axis=1)
    sizes = stats[:, cv2.CC_STAT_AREA].copy()
    sizes[0] = 0
    reached = cv2.dilate(labels.astype(np.float32), np.ones((2 * OUTLINE_PX + 1,) * 2, np.uint8)).reshape(-1)
    ring = np.flatnonzero((reached > 0) & (labels.reshape(-1) == 0))
    return FlatAreas(labels, sizes, centres, boxes, closed, ring, reached[ring].astype(np.int32))


def hold_still(
    flow: Flow,
    still_residual: Residual,
    areas: tuple[FlatAreas, FlatAreas],
    residual_of: ResidualOf,
    nearer: Nearer,
) -> tuple[Flow, Mask, Residual]:
    """The flow with exact zeros where things stand still, and with flat areas moving as a whole.

    flow: [h, w, 2], pixels; still_residual: the photometric difference if nothing had moved; areas: the flat areas
    of target and source; residual_of: the photometric difference under a flow, in a window; nearer: a shift [2] of what
    is in a mask in a window, nearer to where it fits. Also gives the mask [h, w] of pixels that were decided here, for
    which forward-backward agreement says nothing, and the residual of the result.
    """
    target, source = areas
    residual = residual_of(flow, WHOLE)
    slow = lengths(flow) < STILL_PX
    gain = still_residual - residual
    same = still_residual < SAME_LEVELS
    still = same & ((gain < -BETTER_LEVELS) | (slow & (gain < BETTER_LEVELS)))
    moving = ~slow & (gain > BETTER_LEVELS)

    shifts = _shifts(flow, target, source)
    shifted = np.isfinite(shifts[:, 0]) & ~_is_still(shifts)
    rests = _rests(target, shifts, still, moving)
    follows = (target.sizes >= SMALLEST_AREA) & ~rests & ~shifted

    decided = still | (np.take(rests, target.labels) & same)
    result = cv2.copyTo(flow, (~decided).view(np.uint8))
    residual = np.where(decided, still_residual, residual)
    if follows.any() and moving.any():
        where = np.take(follows, target.labels)
        cv2.copyTo(spread(flow, moving & (residual < SAME_LEVELS), scale=SPREAD_SCALE), where.view(np.uint8), result)
        decided |= where
        for area in np.flatnonzero(follows):
            window = target.window(int(area), 0)
            residual[window][where[window]] = residual_of(result[window], window)[where[window]]
    for area in np.flatnonzero(shifted):
        _shift(result, decided, target, int(area), shifts[area], residual, residual_of, nearer)
    return result, decided, residual


def _is_still(shifts: NDArray[np.float64]) -> Mask:
    return np.hypot(shifts[:, 0], shifts[:, 1]) < STILL_PX


def _shifts(flow: Flow, target: FlatAreas, source: FlatAreas) -> NDArray[np.float64]:
    """How far each closed area of the target lies from itself in the source: [n, 2] pixels, NaN where it is not found.

    An area is looked for where it lies and where the flow points, and is known again by its size.
    """
    h, w = target.labels.shape
    shifts = np.full((len(target.sizes), 2), np.nan)
    for area in np.flatnonzero(target.closed & (target.sizes >= SMALLEST_AREA)):
        x, y = target.centres[area]
        dx, dy = flow[min(round(y), h - 1), min(round(x), w - 1)]
        for sx, sy in ((x, y), (x + dx, y + dy)):
            there = source.labels[np.clip(round(sy), 0, h - 1), np.clip(round(sx), 0, w - 1)]
            size = target.sizes[area]
            if there and source.closed[there] and abs(source.sizes[there] - size) <= SAME_AREA * size:
                shifts[area] = source.centres[there] - target.centres[area]
                break
    return shifts


def _rests(target: FlatAreas, shifts: NDArray[np.float64], still: Mask, moving: Mask) -> Mask:
    """Which areas [n] stand still: those found in the same place, and those with more still than moving around them."""
    with np.errstate(invalid="ignore"):
        found_still = _is_still(shifts)
    votes = target.around(still) + _votes_of_border(target, still, moving)
    rests: Mask = found_still | (np.isnan(shifts[:, 0]) & (votes > target.around(moving)))
    return rests & (target.sizes >= SMALLEST_AREA)


def _votes_of_border(target: FlatAreas, still: Mask, moving: Mask) -> NDArray[np.int64]:
    """How much of the frame's border lies in each area [n]: a vote for stillness, unless the camera moves."""
    edge = np.ones_like(still)
    edge[OUTLINE_PX:-OUTLINE_PX, OUTLINE_PX:-OUTLINE_PX] = False
    count = len(target.sizes)
    seen_still = np.count_nonzero(still & edge & (target.labels == 0))
    seen_moving = np.count_nonzero(moving & edge)
    if seen_moving > max(seen_still, CAMERA_SHARE * np.count_nonzero(edge)):
        return np.zeros(count, np.int64)
    return np.bincount(target.labels[edge], minlength=count)


def _shift(
    flow: Flow,
    decided: Mask,
    target: FlatAreas,
    area: int,
    shift: NDArray[np.float64],
    residual: Residual,
    residual_of: ResidualOf,
    nearer: Nearer,
) -> None:
    """Shifts an area, grown to its outline, as a whole, where that explains it as well: in the three maps."""
    window = target.window(area, OUTLINE_PX)
    inside = target.labels[window] == area
    reach = cv2.dilate(inside.view(np.uint8), np.ones((2 * OUTLINE_PX + 1,) * 2, np.uint8)).view(np.bool_)
    # Where an area lies is known to half a pixel alone; what is behind its outline may lead a step astray.
    tries = [np.full((*inside.shape, 2), each, np.float32) for each in (shift, nearer(shift, window, reach))]
    explanations = [residual_of(each, window) for each in tries]
    best = int(np.argmin([np.minimum(each[reach], SAME_LEVELS).sum() for each in explanations]))
    shifted, explained = tries[best], explanations[best]
    better = explained <= residual[window] + np.where(inside, np.float32(BETTER_LEVELS), 0)
    flow[window][reach & better] = shifted[reach & better]
    residual[window][reach & better] = explained[reach & better]
    decided[window][reach] = better[reach]
