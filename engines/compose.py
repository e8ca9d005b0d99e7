"""One picture from several warped references: per pixel the first one that is sure, with soft seams.

A pixel that no reference explains is a hole. Nothing here knows about time or sessions.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from . import workers
from .base import Confidence, Flow, Hops, Mask, Match, Picture
from .grid import enlarging_grid, inside, pixel_grid, scaled_flow

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
NEIGHBOURS = np.ones((3, 3), np.uint8)
# The weights of four pixels in a row for the sample in their middle. Sharper than Catmull and Rom's (-1, 9, 9, -1), as
# bilinear resampling softens it again. Of their kind they have the least error on `strokes` shifted by parts of a
# pixel: 0.95 levels, against 0.92 of bicubic resampling and 1.45 of bilinear; and they keep 0.86 of the detail, against
# 0.89 and 0.71.
HALFWAY = np.array((-1, 5, 5, -1), np.float32) / 8
# A layer that is seen in less than this share of the canvas has its flow enlarged there alone: that takes three times
# as long a pixel as all at once.
FLOW_IN_PARTS = 0.3
# A share that changes no level of 256.
NOT_SEEN = 1 / 512

# How far past the middle of its edge pixels a reference still holds something, pixels of the grid that hops are on. On
# a coarser grid than the canvas a slow pan stays within half a pixel from frame to frame, and would draw the edge out.
HALF_A_PIXEL = 0.5
NEXT_TO_NO_PIXEL = 0.03

# What a byte holds; the Brief allows one less.
MOST_HOPS = 255

Weight = NDArray[np.float32]  # [H, W], 0..1
Strip = tuple[slice, slice]  # an index of arrays [H, W, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A painted reference, as seen from the target.

    paint: [H, W, 3], on the canvas; hops: [h, w] and match, on the flow's grid, which may be coarser than the canvas.
    gain: 0..1, on the trust in all its pixels. fine: the paint as `doubled` gives it, to be resampled in its place.
    """

    paint: Picture
    hops: Hops
    match: Match
    gain: float = 1.0
    fine: Picture | None = None


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
    whether there is paint inside holes as well; not, where something else will be seen there.
    """
    shares, hops, total = _shares(layers, threshold, max_hops)
    holes = _holes(total, hops > max_hops, layers[0].paint.shape, feather)
    if not under_holes:
        hidden = _hidden(holes, shares[0].shape)
        shares = [np.where(hidden, np.float32(0), share) for share in shares]
    seen = workers.each(lambda parts: _seen(*parts), list(zip(layers, shares, strict=True)))
    paint, above = seen[0].paint, seen[0].share
    for below in seen[1:]:
        _lay_under(paint, above, below)
        above = cv2.add(above, below.share)
    return Composition(paint, hops, holes)


def _shares(layers: Sequence[Layer], threshold: float, max_hops: int) -> tuple[list[Weight], Hops, Weight]:
    """Each layer's share of each pixel, the hops of the largest, and the shares together: [h, w] each."""
    share, hops = _claim(layers[0], threshold, max_hops)
    if len(layers) == 1:
        share = np.maximum(share, NEXT_TO_NOTHING)
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


def _hidden(holes: Mask, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Where a share [h, w] would be seen in holes alone, also when it is spread as the canvas is larger."""
    inside = holes.view(np.uint8)
    if holes.shape == shape:
        return inside
    covered = cv2.resize(inside * np.uint8(255), shape[::-1], interpolation=cv2.INTER_AREA) == 255
    return cv2.erode(covered.view(np.uint8), NEIGHBOURS)


def _claim(layer: Layer, threshold: float, max_hops: int) -> tuple[Weight, Hops]:
    """How much a layer is trusted, 0..1, and the hops of its pixels: [h, w] each."""
    whole = layer.hops.shape == layer.paint.shape[:2]
    after = hops_after(layer.hops, layer.match.flow, slack=HALF_A_PIXEL if whole else NEXT_TO_NO_PIXEL)
    gain = np.where(after <= max_hops, np.float32(layer.gain), np.float32(0))
    return trust(layer.match.confidence, threshold) * gain, after


def hops_after(hops: Hops, flow: Flow, *, slack: float = HALF_A_PIXEL) -> Hops:
    """The hops [h, w] of pixels that are resampled once more. A pixel that has not moved is copied, which is no hop.

    One that the reference does not hold has the most hops there are: what shows there is its edge, drawn out. slack:
    how far past its edge pixels' middles the reference still holds something, pixels of this grid.
    """
    h, w = hops.shape
    before = cv2.remap(hops, cv2.add(flow, pixel_grid(w, h)), None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    moved = cv2.inRange(flow, (0, 0), (0, 0)) == 0
    after = cv2.add(before, moved.view(np.uint8))
    after[~inside(flow, slack)] = MOST_HOPS
    return after


@dataclass(frozen=True, slots=True)
class _Seen:
    """A layer on the canvas: its paint, resampled in these strips, and its share [H, W], none outside of them."""

    paint: Picture
    share: Weight
    strips: Sequence[Strip]


def _seen(layer: Layer, share: Weight) -> _Seen:
    """The layer resampled where it has a share: that is what costs. What has not moved is copied."""
    h, w = layer.paint.shape[:2]
    share = np.where(share < NOT_SEEN, np.float32(0), share)
    strips = _strips(share, (w, h))
    share = cv2.resize(share, (w, h), interpolation=cv2.INTER_LINEAR)
    if not strips or not layer.match.flow.any():
        return _Seen(layer.paint.copy(), share, strips)
    paint = np.zeros_like(layer.paint)
    for strip, places in _places(layer.match.flow, (w, h), strips):
        paint[strip] = _resampled(layer, places)
    return _Seen(paint, share, strips)


def _places(flow: Flow, size: tuple[int, int], strips: Sequence[Strip]) -> Iterator[tuple[Strip, Flow]]:
    """For each strip of the canvas (W, H), where its pixels are seen in the layer."""
    w, h = size
    grid = pixel_grid(w, h)
    area = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in strips)
    if flow.shape[:2] == (h, w) or area > FLOW_IN_PARTS * w * h:
        whole = scaled_flow(flow, size)
        places = cv2.add(whole, grid, dst=None if whole is flow else whole)
        yield from ((strip, places[strip]) for strip in strips)
    else:
        scaled = flow * np.array((w / flow.shape[1], h / flow.shape[0]), np.float32)
        finer = enlarging_grid(flow.shape[1::-1], size)
        for strip in strips:
            there = cv2.remap(scaled, finer[strip], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            yield strip, cv2.add(there, grid[strip], dst=there)


def _resampled(layer: Layer, places: Flow) -> Picture:
    if layer.fine is None:
        return cv2.remap(layer.paint, places, None, PAINT_INTERPOLATION, borderMode=cv2.BORDER_REPLICATE)
    finer = cv2.remap(layer.fine, places * np.float32(2), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(finer, cv2.COLOR_BGRA2BGR)


def doubled(paint: Picture) -> Picture:
    """The paint [H, W, 3] with a sample between each two, and a fourth channel that means nothing: [2H, 2W, 4].

    Resampled bilinearly, that is nearly as exact as the paint is bicubically, in a fifth of the time; what has not
    moved is the same to the bit. So it pays for paint that is resampled several times.
    """
    bgra = cv2.cvtColor(paint, cv2.COLOR_BGR2BGRA)
    fine = np.empty((2 * paint.shape[0], 2 * paint.shape[1], 4), np.uint8)
    pixels = fine.view(np.uint32)[..., 0]
    across = _halfway(bgra, down=False)
    for row, column, samples in (
        (0, 0, bgra),
        (0, 1, across),
        (1, 0, _halfway(bgra, down=True)),
        (1, 1, _halfway(across, down=True)),
    ):
        pixels[row::2, column::2] = samples.view(np.uint32)[..., 0]
    return fine


def _halfway(bgra: Picture, *, down: bool) -> Picture:
    """The samples halfway to the next pixel below, or to the right."""
    if down:
        return cv2.filter2D(bgra, -1, HALFWAY[:, None], anchor=(0, 1), borderType=cv2.BORDER_REPLICATE)
    return cv2.filter2D(bgra, -1, HALFWAY[None], anchor=(1, 0), borderType=cv2.BORDER_REPLICATE)


def _lay_under(paint: Picture, above: Weight, below: _Seen) -> None:
    """Lays a layer into the paint, in place, by its share beside that of all those above it."""
    for strip in below.strips:
        parts = (np.ascontiguousarray(each[strip]) for each in (paint, below.paint, above, below.share))
        paint[strip] = cv2.blendLinear(*parts)


def _strips(share: Weight, size: tuple[int, int]) -> list[Strip]:
    """Strips of TILE_PX lines of the canvas (W, H) that hold all pixels with a share [h, w]."""
    w, h = size
    rows, columns = -(-h // TILE_PX), -(-w // TILE_PX)
    reached = cv2.dilate(share, NEIGHBOURS)  # as far as it is spread when it is enlarged
    there = cv2.resize(reached, (columns, rows), interpolation=cv2.INTER_AREA) > 0
    ys, xs = np.linspace(0, h, rows + 1).tolist(), np.linspace(0, w, columns + 1).tolist()
    # In each row runs of tiles begin and end by turns.
    in_rows, ends = np.nonzero(np.diff(there, axis=1, prepend=False, append=False))
    return [
        (slice(int(ys[row]), math.ceil(ys[row + 1])), slice(int(xs[first]), math.ceil(xs[last])))
        for row, first, last in zip(in_rows[::2].tolist(), ends[::2].tolist(), ends[1::2].tolist(), strict=True)
    ]


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
