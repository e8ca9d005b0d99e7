"""One picture from several warped references: per pixel the first one that is sure, with soft seams.

A pixel that no reference explains is a hole. Nothing here knows about time or sessions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from . import workers
from .base import Confidence, Flow, Hops, Mask, Match, Picture
from .grid import inside, pixel_grid, scaled_flow

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

# Side of the tiles, pixels, in which a lower layer is resampled or left out: smaller ones save less than they cost.
TILE_PX = 32
# A share that changes no level of 256.
NOT_SEEN = 1 / 512

# What a byte holds; the Brief allows one less.
MOST_HOPS = 255

Weight = NDArray[np.float32]  # [H, W], 0..1


@dataclass(frozen=True, slots=True)
class Layer:
    """A painted reference, as seen from the target.

    paint: [H, W, 3], on the canvas; hops: [h, w] and match, on the flow's grid, which may be coarser than the canvas.
    gain: 0..1, on the trust in all its pixels.
    """

    paint: Picture
    hops: Hops
    match: Match
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class Composition:
    """paint [H, W, 3] and holes [H, W] bool on the canvas; hops [h, w] on the flow's grid.

    Inside holes, paint is the best guess there is.
    """

    paint: Picture
    hops: Hops
    holes: Mask

    @classmethod
    def of(cls, paint: Picture) -> "Composition":
        """A picture that was painted whole."""
        shape = paint.shape[:2]
        return cls(paint, np.zeros(shape, np.uint8), np.zeros(shape, np.bool_))


def compose(
    layers: Sequence[Layer], *, threshold: float, max_hops: int, feather: int, under_holes: bool = True
) -> Composition:
    """The layers laid over each other, the first on top, each resampled once along its match. At least one layer.

    threshold: the confidence at which a pixel is half trusted. Each layer takes its share of what those above it left
    open; hops are those of the largest share. Holes grow by `feather` pixels, so that the seam of a repaint lies on
    pixels that are sure. What no layer explains and has more than max_hops is a hole, however small. under_holes:
    whether lower layers are resampled inside holes as well; not, where something else will be seen there.
    """
    shares, hops, total = _shares(layers, threshold, max_hops)
    shape = layers[0].paint.shape
    holes = _holes(total, hops > max_hops, shape, feather)
    seen = shares if under_holes else [shares[0], *(_without(share, holes) for share in shares[1:])]
    size = shape[1], shape[0]
    fields = workers.each(lambda pair: _field(*pair, size), list(zip(layers, seen, strict=True)))
    bands = workers.each(lambda band: _laid(fields, band), _bands(shape[0]))
    return Composition(np.concatenate(bands) if len(bands) > 1 else bands[0], hops, holes)


def _shares(layers: Sequence[Layer], threshold: float, max_hops: int) -> tuple[list[Weight], Hops, Weight]:
    """Each layer's share of each pixel, the hops of the largest, and the shares together: [h, w] each."""
    share, hops = _claim(layers[0], threshold, max_hops)
    shares, total, largest = [share], share, share
    for number, layer in enumerate(layers[1:], start=2):
        trusted, after = _claim(layer, threshold, max_hops)
        share = (1 - total) * trusted
        if number == len(layers):
            share = np.maximum(share, NEXT_TO_NOTHING - total)
        hops = np.where(share > largest, after, hops)
        largest = np.maximum(largest, share)
        total = total + share
        shares.append(share)
    return shares, hops, total


def _without(share: Weight, holes: Mask) -> Weight:
    h, w = share.shape
    inside = cv2.resize(holes.view(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST)
    return np.where(inside, np.float32(0), share)


def _claim(layer: Layer, threshold: float, max_hops: int) -> tuple[Weight, Hops]:
    """How much a layer is trusted, 0..1, and the hops of its pixels: [h, w] each."""
    after = hops_after(layer.hops, layer.match.flow)
    gain = np.where(after <= max_hops, np.float32(layer.gain), np.float32(0))
    return trust(layer.match.confidence, threshold) * gain, after


def hops_after(hops: Hops, flow: Flow) -> Hops:
    """The hops [h, w] of pixels that are resampled once more. A pixel that has not moved is copied, which is no hop.

    One that the reference does not hold has the most hops there are: what shows there is its edge, drawn out.
    """
    h, w = hops.shape
    before = cv2.remap(hops, cv2.add(flow, pixel_grid(w, h)), None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    moved = cv2.inRange(flow, (0, 0), (0, 0)) == 0
    after = cv2.add(before, moved.view(np.uint8))
    after[~inside(flow)] = MOST_HOPS
    return after


@dataclass(frozen=True, slots=True)
class _Field:
    """A layer on the canvas: its paint, where each pixel is seen in it [H, W, 2], and its share [H, W]."""

    paint: Picture
    places: Flow
    share: Weight


def _field(layer: Layer, share: Weight, size: tuple[int, int]) -> _Field:
    share = cv2.resize(np.where(share < NOT_SEEN, np.float32(0), share), size, interpolation=cv2.INTER_LINEAR)
    return _Field(layer.paint, cv2.add(scaled_flow(layer.match.flow, size), pixel_grid(*size)), share)


def _bands(height: int) -> list[slice]:
    """The lines of the canvas in as many bands as there are threads to compose them, each of whole tiles."""
    tiles = -(-height // TILE_PX)
    ends = [round(tiles * part / workers.count()) * TILE_PX for part in range(workers.count() + 1)]
    return [slice(start, min(end, height)) for start, end in pairwise(ends) if start < min(end, height)]


def _laid(fields: Sequence[_Field], band: slice) -> Picture:
    """A band of the picture: the first layer resampled, and the others laid under it."""
    paint = _resampled(fields[0].paint, fields[0].places[band])
    above = fields[0].share[band]
    for field in fields[1:]:
        _lay_under(paint, field, above, band)
        above = above + field.share[band]
    return paint


def _lay_under(paint: Picture, field: _Field, above: Weight, band: slice) -> None:
    """Lays a layer into a band, in place, by its share beside that of all those above it.

    Only in strips where it has a share: a lower layer shows here and there, and resampling is what costs.
    """
    share, places = field.share[band], field.places[band]
    for strip in _strips(share):
        weights = np.ascontiguousarray(above[strip]), np.ascontiguousarray(share[strip])
        below = _resampled(field.paint, places[strip])
        paint[strip] = cv2.blendLinear(np.ascontiguousarray(paint[strip]), below, *weights)


def _resampled(paint: Picture, places: Flow) -> Picture:
    return cv2.remap(paint, places, None, PAINT_INTERPOLATION, borderMode=cv2.BORDER_REPLICATE)


def _strips(share: Weight) -> list[tuple[slice, slice]]:
    """Strips of TILE_PX lines that hold all pixels with a share, as indices."""
    h, w = share.shape
    rows, columns = -(-h // TILE_PX), -(-w // TILE_PX)
    there = cv2.resize(share, (columns, rows), interpolation=cv2.INTER_AREA) > 0
    ys, xs = np.linspace(0, h, rows + 1), np.linspace(0, w, columns + 1)
    strips = []
    for row in np.flatnonzero(there.any(axis=1)):
        ends = np.flatnonzero(np.diff(np.pad(there[row].view(np.int8), 1)))
        strips += [
            (slice(int(ys[row]), math.ceil(ys[row + 1])), slice(int(xs[first]), math.ceil(xs[last])))
            for first, last in ends.reshape(-1, 2)
        ]
    return strips


def trust(confidence: Confidence, threshold: float) -> Weight:
    """Trust in a pixel: a ramp from 0 to 1 around the threshold, [h, w] float32."""
    low = threshold - TRUST_RAMP / 2
    return np.clip((confidence - np.float32(low)) / np.float32(TRUST_RAMP), 0, 1)


def _holes(total: Weight, worn: Mask, shape: tuple[int, ...], feather: int) -> Mask:
    size = shape[1], shape[0]
    open_ = (cv2.resize(total, size, interpolation=cv2.INTER_LINEAR) < ENOUGH_TRUST).view(np.uint8)
    worn_out = cv2.resize(worn.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    solid = cv2.morphologyEx(open_, cv2.MORPH_OPEN, _disc(SLIVER_PX)) | (open_ & worn_out)
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
