"""One picture from several warped references: per pixel the first one that is sure, with soft seams.

A pixel that no reference explains is a hole. Nothing here knows about time or sessions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Confidence, Hops, Mask, Match, Picture
from .grid import inside, pixel_grid

# Confidence becomes trust by a ramp of this width around the threshold: seams between references are soft, and a
# pixel near the threshold does not flap between two sources.
TRUST_RAMP = 0.2
# A pixel is a hole when its references together are trusted less than this.
ENOUGH_TRUST = 0.5
# Holes that a disc of this diameter, pixels, does not fit into are not worth a brush yet: such slivers show the last
# output until that is worn, which is when it has been resampled too often.
SLIVER_PX = 11
# What a pixel weighs at least in the last layer, so that one that nothing explains shows that layer until it is
# painted. Not less: cv2.blendLinear adds 1e-5 to what it divides by, which would darken it.
NEXT_TO_NOTHING = 0.02
# Paint is resampled with this kernel: bilinear loses a tenth of the fine detail at each step.
PAINT_INTERPOLATION = cv2.INTER_CUBIC

# What a byte holds; the Brief allows one less.
MOST_HOPS = 255

Weight = NDArray[np.float32]  # [H, W], 0..1


@dataclass(frozen=True, slots=True)
class Layer:
    """A reference's paint on the target's grid: paint [H, W, 3]; trust [H, W], 0..1; hops [H, W]."""

    paint: Picture
    trust: Weight
    hops: Hops


@dataclass(frozen=True, slots=True)
class Composition:
    """paint [H, W, 3]; hops [H, W]; holes [H, W] bool. Inside holes, paint is the best guess there is."""

    paint: Picture
    hops: Hops
    holes: Mask

    @classmethod
    def of(cls, paint: Picture) -> "Composition":
        """A picture that was painted whole."""
        shape = paint.shape[:2]
        return cls(paint, np.zeros(shape, np.uint8), np.zeros(shape, np.bool_))


def warp(paint: Picture, hops: Hops, match: Match, *, threshold: float, max_hops: int) -> Layer:
    """A painted reference resampled once along the match. Pixels with more than max_hops are not trusted.

    paint: [H, W, 3]; hops: [H, W]. A pixel that has not moved is copied, which is no resampling. One that the reference
    does not hold has the most hops there are: what shows there is the reference's edge, drawn out.
    """
    h, w = match.confidence.shape
    there = cv2.add(match.flow, pixel_grid(w, h))
    warped = cv2.remap(paint, there, None, PAINT_INTERPOLATION, borderMode=cv2.BORDER_REPLICATE)
    before = cv2.remap(hops, there, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    moved = cv2.inRange(match.flow, (0, 0), (0, 0)) == 0
    after = cv2.add(before, moved.view(np.uint8))
    after[~inside(match.flow)] = MOST_HOPS
    return Layer(warped, trust(match.confidence, threshold) * (after <= max_hops), after)


def trust(confidence: Confidence, threshold: float) -> Weight:
    """Trust in a pixel: a ramp from 0 to 1 around the threshold, [H, W] float32."""
    low = threshold - TRUST_RAMP / 2
    return np.clip((confidence - np.float32(low)) / np.float32(TRUST_RAMP), 0, 1)


def compose(layers: Sequence[tuple[Layer, float]], *, max_hops: int, feather: int) -> Composition:
    """The layers laid over each other, the first on top, each with a gain 0..1 on its trust. At least one layer.

    Each takes its share of what those above it left open; hops are those of the largest share. Holes grow by
    `feather` pixels, so that the seam of a repaint lies on pixels that are sure. What no layer explains and has more
    than max_hops is a hole, however small.
    """
    top, gain = layers[0]
    paint, hops = top.paint, top.hops
    total = top.trust * np.float32(gain)
    largest = total
    for layer, gain in layers[1:]:
        share = (1 - total) * layer.trust * np.float32(gain)
        if layer is layers[-1][0]:
            share = np.maximum(share, NEXT_TO_NOTHING - total)
        paint = cv2.blendLinear(paint, layer.paint, total, share)
        hops = np.where(share > largest, layer.hops, hops)
        largest = np.maximum(largest, share)
        total = total + share
    return Composition(paint, hops, _holes(total, hops > max_hops, feather))


def _holes(total: Weight, worn: Mask, feather: int) -> Mask:
    open_ = (total < ENOUGH_TRUST).view(np.uint8)
    solid = cv2.morphologyEx(open_, cv2.MORPH_OPEN, _disc(SLIVER_PX)) | (open_ & worn)
    return (cv2.dilate(solid, _disc(2 * feather + 1)) if feather else solid).view(np.bool_)


def _disc(diameter: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))


def seam(holes: Mask, feather: int) -> Weight:
    """How much of the new paint shows: 0 outside the holes, rising to 1 over `feather` pixels inside, [H, W]."""
    if not feather:
        return holes.astype(np.float32)
    depth = cv2.distanceTransform(holes.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.minimum(depth / np.float32(feather), 1)


def lay_over(paint: Picture, repaint: Picture, weight: Weight) -> Picture:
    """The repaint over the paint, by weight 0..1; where the weight is 0, the paint to the bit."""
    mixed = cv2.blendLinear(repaint, paint, weight, 1 - weight)
    return np.where(weight[..., None] > 0, mixed, paint)
