"""One picture from several painted references: where each pixel's paint comes from, and that paint in its place.

The paint itself is never carried from frame to frame, only where it comes from: so each pixel is resampled once, from
what the painter made, however long it is followed. A pixel that nothing explains is a hole. Nothing here knows about
time or sessions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from . import workers
from .base import Confidence, Flow, Hops, Mask, Match, Picture
from .blend import Weight, cross_faded, lay_over, seam
from .grid import Array, enlarging_grid, inside, pixel_grid, scaled_flow
from .light import gain_since, lit

# Confidence becomes trust by a ramp of this width around the threshold.
TRUST_RAMP = 0.2
# A pixel is a hole when its references together are trusted less than this.
ENOUGH_TRUST = 0.5
# Paint that was seen before is kept where it is trusted at all, against other paint that is trusted by so much more: a
# change of source is seen as flicker.
KEPT = 0.5
LEAST_TRUST = 0.05
# What a reference finds by itself takes the place of what was followed there, if it is trusted by so much: so errors of
# the flow do not pile up.
FOUND_AGAIN = 0.5
# It takes the place by this share of the way a frame, where it is no farther off than so many pixels of the grid:
# what was followed is steadier from frame to frame, what is found anew is right in the long run.
EASE = 0.25
EASED_PX = 3.0
# Of references that are trusted alike the newer one is taken.
NEWER = 0.001
# Holes that a disc of this diameter, pixels, does not fit into are not worth a brush yet: such slivers show what is
# likeliest until that is worn, which is when it has been followed for too long.
SLIVER_PX = 7
# What is brought back from later frames has no parts that a disc of this diameter, pixels of the grid, does not fit
# into.
SPECK_PX = 5
# Where the paint of two references meets, the pixels on either side are softened by a Gaussian of this sigma, pixels:
# less is crisper, and shows the stairs of a seam that moves. docs/quality.md has what either costs.
SEAM_SIGMA_PX = 0.4
# On a grid coarser than the canvas, width of the soft seam, pixels of the grid: less shows stairs.
SEAM_PX = 3
# And how far past its own pixels a reference's offsets are drawn out there, for the seam and for being enlarged.
DRAWN_OUT_PX = 2

# Paint that is resampled in small parts, not worth being doubled.
PART_INTERPOLATION = cv2.INTER_CUBIC

# Side of the tiles, pixels, in which a reference is resampled or left out: smaller ones save less than they cost.
TILE_PX = 32
NEIGHBOURS = np.ones((3, 3), np.uint8)
# The weights of four pixels in a row for the sample in their middle, for bilinear resampling afterwards. Sharper than
# Catmull and Rom's (-1, 9, 9, -1), as bilinear resampling softens it again. Of their kind they have the least error on
# `strokes` shifted by parts of a pixel; see docs/quality.md for the figures of all ways.
HALFWAY = np.array((-1, 5, 5, -1), np.float32) / np.float32(8)


def _lanczos(lobes: int) -> NDArray[np.float32]:
    """Lanczos's weights for the sample halfway between two pixels."""
    places = np.arange(-lobes + 1, lobes + 1) - 0.5
    weights = np.sinc(places) * np.sinc(places / lobes)
    return np.asarray(weights / weights.sum(), np.float32)


# The same for bicubic resampling afterwards: as exact as Lanczos's kernel of eight pixels, in a quarter of its time.
HALFWAY_EXACT = _lanczos(4)
# A reference that is seen in less than this share of the canvas has its flow enlarged there alone: that takes three
# times as long a pixel as all at once.
FLOW_IN_PARTS = 0.3
# A share that changes no level of 256.
NOT_SEEN = 1 / 512

# How far past the middle of its edge pixels a reference still holds something, pixels of the grid that hops are on. On
# a coarser grid than the canvas a slow pan stays within half a pixel from frame to frame, and would draw the edge out.
HALF_A_PIXEL = 0.5
NEXT_TO_NO_PIXEL = 0.03

# What a byte holds; the Brief allows one less.
MOST_HOPS = 255
# References have numbers from 1 on, which a byte holds; 0 is none.
MOST_NUMBER = 255

Numbers = NDArray[np.uint8]  # [H, W]
Strip = tuple[slice, slice]  # an index of arrays [H, W, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """What was painted of a frame, to be shown in others.

    paint: [H, W, 3], on the canvas. own: [h, w], on the flow's grid, where it was painted itself; None: everywhere.
    fine: the paint as `doubled` gives it, resampled in its place, bicubically if exact. raw: [H, W, 3], the frame that
    it was painted of; None: its light is not followed.
    """

    paint: Picture
    own: Mask | None = None
    fine: Picture | None = None
    exact: bool = False
    raw: Picture | None = None


@dataclass(frozen=True, slots=True)
class Origins:
    """Where the paint of each pixel comes from, on the flow's grid.

    number: [h, w] uint8, of the reference, 0 for none. offset: [h, w, 2] float32, pixels of this grid, into the
    reference. hops: [h, w] uint8, how many flows in a row led there since it was painted or last found by itself.
    """

    number: Numbers
    offset: Flow
    hops: Hops

    @classmethod
    def of(cls, number: int, shape: tuple[int, ...]) -> "Origins":
        """A picture of this shape (h, w) that is all paint of one reference; 0: none at all."""
        hops = 0 if number else MOST_HOPS
        flow = np.zeros((*shape[:2], 2), np.float32)
        return cls(np.full(shape[:2], number, np.uint8), flow, np.full(shape[:2], hops, np.uint8))

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.number.nbytes + self.offset.nbytes + self.hops.nbytes

    def painted(self, where: Mask, number: int) -> "Origins":
        """These with fresh paint of a reference in some pixels [h, w]; number 0: with nothing there."""
        if not where.any():
            return self
        hops = 0 if number else MOST_HOPS
        offset = cv2.copyTo(self.offset, (~where).view(np.uint8))  # and zeros where nothing is copied
        return Origins(
            np.where(where, np.uint8(number), self.number), offset, np.where(where, np.uint8(hops), self.hops)
        )

    def over(self, others: "Origins", where: Mask) -> "Origins":
        """These, but in some pixels [h, w] others."""
        return Origins(
            np.where(where, others.number, self.number),
            cv2.copyTo(others.offset, where.view(np.uint8), self.offset.copy()),
            np.where(where, others.hops, self.hops),
        )

    def among(self, numbers: Sequence[int]) -> "Origins":
        """These with nothing where the paint is of none of these references."""
        known = np.zeros(MOST_NUMBER + 1, np.bool_)
        known[list(numbers)] = True
        gone = ~known[self.number]
        return self.painted(gone, 0) if gone.any() else self

    def shares(self) -> NDArray[np.float64]:
        """The share of the pixels that each number has, [256]."""
        return np.bincount(self.number.reshape(-1), minlength=MOST_NUMBER + 1) / self.number.size


@dataclass(frozen=True, slots=True)
class Composition:
    """paint [H, W, 3] and holes [H, W] bool on the canvas; origins on the flow's grid.

    Inside holes, paint is the best guess there is.
    """

    paint: Picture
    origins: Origins
    holes: Mask

    @classmethod
    def of(cls, paint: Picture, number: int, shape: tuple[int, ...]) -> "Composition":
        """A picture that was painted whole, as this reference; shape (h, w): of the flow's grid."""
        return cls(paint, Origins.of(number, shape), np.zeros(paint.shape[:2], np.bool_))

    @property
    def hops(self) -> Hops:
        """Those of the origins."""
        return self.origins.hops


def compose(
    sources: Mapping[int, Source],
    last: Origins,
    to_last: Match,
    matches: Mapping[int, Match],
    *,
    threshold: float,
    max_hops: int,
    feather: int,
    first: int | None = None,
    fade: float = 0.0,
    under_holes: bool = True,
    raw: Picture | None = None,
) -> Composition:
    """A frame from what is known of the last one's origins, and from the references that were sought in it.

    sources: by number, all that origins may point to. to_last: where the frame is seen in the last one. matches: where
    it is seen in references, by number, the newest first; at least one. threshold: the confidence at which a pixel is
    half trusted. first: a reference that comes in over all others, by its share `fade`; the origins are those without
    it until it is 1. Holes grow by `feather` pixels, so that the seam of a repaint lies on pixels that are sure. What
    nothing explains and has more than max_hops is a hole, however small. under_holes: whether there is paint inside
    holes as well; not, where something else will be seen there. raw: [H, W, 3], the frame, whose light the paint is to
    be seen in; None: as it was painted.
    """
    size = next(iter(sources.values())).paint.shape[:2]
    slack = _slack(to_last.confidence.shape, size)

    def find(number: int) -> _Find:
        if not number:
            return _followed(last, to_last, threshold, max_hops, slack)
        return _found(number, sources[number].own, matches[number], threshold, slack)

    followed, *found = workers.each(find, [0, *matches])
    finds = dict(zip(matches, found, strict=True))
    moved = _moved(to_last.flow)
    origins, total = _settled(followed, finds, moved, first if fade >= 1.0 else None)
    holes = _holes(total, origins.hops > max_hops, size, feather)
    hidden = None if under_holes else _hidden(holes, origins.number.shape)
    paint = _lit(_rendered(sources, origins, hidden), sources, origins, raw)
    if first is not None and 0.0 < fade < 1.0:
        other = _settled(followed, finds, moved, first)[0]
        over = _lit(_rendered(sources, other, hidden), sources, other, raw)
        paint = cross_faded(paint, over, fade)
    return Composition(paint, origins, holes)


def brought_back(
    sources: Mapping[int, Source],
    composition: Composition,
    later: Sequence[tuple[Origins, Match]],
    *,
    threshold: float,
    max_hops: int,
    feather: int,
    raw: Picture | None = None,
) -> Composition:
    """The composition with what later frames show of its holes. What they do not show stays a hole.

    later: of each of those frames where its paint comes from, and where this one is seen in it, the best first; at
    least one. raw: as for `compose`. Its other pixels stay as they are to the bit.
    """
    shape, size = composition.hops.shape, composition.holes.shape
    slack = _slack(shape, size)
    first, *others = workers.each(lambda each: _followed(*each, threshold, max_hops, slack), later)
    origins, trusted = first.origins, first.trust
    for each in others:
        better = (each.trust > trusted) & (trusted < FOUND_AGAIN)
        origins = origins.over(each.origins, better)
        trusted = np.where(better, each.trust, trusted)
    inside_holes = on_grid(composition.holes, shape)
    there = solid(inside_holes & (trusted >= ENOUGH_TRUST))
    if not there.any():
        return composition
    explained = composition.holes & on_grid(there, size)
    # Not rendered elsewhere, and not mixed with what is not rendered.
    shown = _rendered(sources, origins, (~there).view(np.uint8))
    # Soft towards what is painted, not towards what is still a hole: what lies beneath that is not to be seen.
    weight = cv2.copyTo(seam(composition.holes, feather), explained.view(np.uint8))
    paint = lay_over(composition.paint, _lit(shown, sources, origins, raw), weight)
    return Composition(paint, composition.origins.over(origins, there), composition.holes & ~explained)


def come_in(
    sources: Mapping[int, Source],
    composition: Composition,
    number: int,
    match: Match,
    share: float,
    *,
    threshold: float,
    feather: int,
    raw: Picture | None = None,
) -> Composition:
    """The composition with a reference over its paint, by this share, 0 to 1, where it is seen.

    match: where the frame is seen in the reference. Its origins and holes stay; so does its paint elsewhere, to the
    bit. Other arguments as for `compose`.
    """
    shape, size = composition.hops.shape, composition.holes.shape
    found = _found(number, sources[number].own, match, threshold, _slack(shape, size))
    there = solid(found.trust >= ENOUGH_TRUST)
    shown = _rendered(sources, found.origins, (~there).view(np.uint8))
    over = _lit(shown, sources, found.origins, raw)
    faded = cross_faded(composition.paint, over, share, on_grid(there, size), feather=feather)
    return replace(composition, paint=faded)


def _slack(shape: tuple[int, ...], size: tuple[int, ...]) -> float:
    """How far past its edge a reference still holds something, pixels of a grid (h, w); size: (H, W), the canvas."""
    return HALF_A_PIXEL if shape == size else NEXT_TO_NO_PIXEL


def solid(mask: Mask) -> Mask:
    """A mask [h, w] without its specks and threads, which would be seen as such."""
    return cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, _disc(SPECK_PX)).view(np.bool_)


def led(values: Numbers, match: Match, threshold: float) -> Numbers:
    """Another frame's values [h, w], where they are seen in this one; 0 where they are less than half trusted.

    match: where this frame is seen in the other. threshold: as for `compose`.
    """
    h, w = values.shape
    there = cv2.remap(values, cv2.add(match.flow, pixel_grid(w, h)), None, cv2.INTER_NEAREST)
    return cv2.copyTo(there, cv2.compare(match.confidence, threshold, cv2.CMP_GE))


def on_grid(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask on another grid (h, w)."""
    if mask.shape == shape:
        return mask
    return cv2.resize(mask.view(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST).view(np.bool_)


@dataclass(frozen=True, slots=True)
class _Find:
    """Where pixels may come from: origins [h, w], and how much each is trusted, 0..1."""

    origins: Origins
    trust: Weight


def _followed(last: Origins, to_last: Match, threshold: float, max_hops: int, slack: float) -> _Find:
    h, w = last.number.shape
    places = cv2.add(to_last.flow, pixel_grid(w, h))

    def nearest(values: Array) -> Array:
        return cv2.remap(values, places, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)

    hops = hops_after(nearest(last.hops), to_last.flow, slack=slack)
    number = nearest(last.number)
    known = (hops <= max_hops) & (number > 0)
    # Offsets are taken from the nearest pixel, not from between two: two neighbours may be of different things.
    origins = Origins(number, cv2.add(nearest(last.offset), to_last.flow), hops)
    return _Find(origins, cv2.copyTo(trust(to_last.confidence, threshold), known.view(np.uint8)))


def _found(number: int, own: Mask | None, match: Match, threshold: float, slack: float) -> _Find:
    h, w = match.confidence.shape
    hops = hops_after(np.zeros((h, w), np.uint8), match.flow, slack=slack)
    known = hops < MOST_HOPS
    if own is not None:
        places = cv2.add(match.flow, pixel_grid(w, h))
        known &= cv2.remap(own.view(np.uint8), places, None, cv2.INTER_NEAREST).view(np.bool_)
    origins = Origins(np.full((h, w), number, np.uint8), match.flow, hops)
    return _Find(origins, cv2.copyTo(trust(match.confidence, threshold), known.view(np.uint8)))


def hops_after(before: Hops, flow: Flow, *, slack: float = HALF_A_PIXEL) -> Hops:
    """The hops [h, w] of pixels that one more flow led to. One that has not moved has none more.

    One that the flow leads outside of the reference has the most hops there are: what shows there is its edge, drawn
    out. slack: how far past its edge pixels' middles the reference still holds something, pixels of this grid.
    """
    after = cv2.add(before, _moved(flow))
    after[~inside(flow, slack)] = MOST_HOPS
    return after


def _moved(flow: Flow) -> NDArray[np.uint8]:
    """Where a flow [h, w, 2] is not zero, [h, w], 0 or 1."""
    return (cv2.inRange(flow, (0, 0), (0, 0)) == 0).view(np.uint8)


def _settled(
    followed: _Find, found: Mapping[int, _Find], moved: NDArray[np.uint8], first: int | None
) -> tuple[Origins, Weight]:
    """Each pixel's origin, and how much all that may be there is trusted together, [h, w] each.

    What was there is kept as long as it is trusted; `first` goes before it. found: by number, the newest first. moved:
    [h, w], 0 or 1, since the last frame.
    """
    before = followed.origins
    number, offset, hops = before.number.copy(), before.offset.copy(), before.hops.copy()
    score = followed.trust + np.float32(KEPT) * (followed.trust > LEAST_TRUST)
    if first is not None:
        score += (number == first) * followed.trust * np.float32(1 + KEPT)
    score[number == 0] = -1
    unknown = 1 - followed.trust
    for place, (own, find) in enumerate(found.items()):
        bid = find.trust - np.float32(NEWER * place)
        if own == first:
            bid += find.trust * np.float32(1 + KEPT)
        again = (number == own) & (find.trust >= FOUND_AGAIN)
        taken = (bid > score) | again
        eased = again.view(np.uint8) & _near(offset, find.origins.offset)
        taken = taken.view(np.uint8)
        cv2.copyTo(find.origins.number, taken, number)
        # What has not moved since the last frame stays where it was, to the bit.
        cv2.copyTo(cv2.addWeighted(find.origins.offset, EASE, offset, 1 - EASE, 0), eased & moved, offset)
        cv2.copyTo(find.origins.offset, taken & ~eased, offset)
        cv2.copyTo(find.origins.hops, taken, hops)
        np.maximum(score, bid, out=score)
        unknown *= 1 - find.trust
    return Origins(number, offset, hops), 1 - unknown


def _near(followed: Flow, found: Flow) -> NDArray[np.uint8]:
    """Where the followed offsets [h, w, 2] are near those that were found, [h, w], 0 or 1."""
    return cv2.inRange(cv2.subtract(found, followed), (-EASED_PX, -EASED_PX), (EASED_PX, EASED_PX)) & 1


def _hidden(holes: Mask, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Where a share [h, w] would be seen in holes alone, also when it is spread as the canvas is larger."""
    inside = holes.view(np.uint8)
    if holes.shape == shape:
        return inside
    covered = cv2.resize(inside * np.uint8(255), shape[::-1], interpolation=cv2.INTER_AREA) == 255
    return cv2.erode(covered.view(np.uint8), NEIGHBOURS)


def _rendered(sources: Mapping[int, Source], origins: Origins, hidden: NDArray[np.uint8] | None) -> Picture:
    """The paint [H, W, 3] in its place. hidden: [h, w], where it need not be."""
    size = next(iter(sources.values())).paint.shape[:2]
    return (_placed if origins.number.shape == size else _blended)(sources, origins, hidden)


def _lit(paint: Picture, sources: Mapping[int, Source], origins: Origins, raw: Picture | None) -> Picture:
    """The paint in the light of the frame, if that is to be followed."""
    if raw is None:
        return paint
    raws = {number: each.raw for number, each in sources.items() if each.raw is not None}
    gain = gain_since(origins.number, origins.offset, raws, raw)
    return paint if gain is None else lit(paint, gain)


def _placed(sources: Mapping[int, Source], origins: Origins, hidden: NDArray[np.uint8] | None) -> Picture:
    """On a grid that is the canvas each pixel has one origin; a little softness hides the stairs between them."""
    h, w = origins.number.shape
    grid, number_at = pixel_grid(w, h), origins.number
    if hidden is not None:
        number_at = np.where(hidden > 0, np.uint8(0), number_at)

    def place(number: int) -> tuple[NDArray[np.uint8], list[tuple[Strip, Picture]]]:
        own = cv2.compare(number_at, float(number), cv2.CMP_EQ)
        parts = [
            (strip, _resampled(sources[number], cv2.add(origins.offset[strip], grid[strip])))
            for strip in _strips(own, (w, h))
        ]
        return own, parts

    result = np.zeros((h, w, 3), np.uint8)
    for own, parts in workers.each(place, _numbers(number_at)):
        for strip, paint in parts:
            cv2.copyTo(paint, own[strip], result[strip])
    seams = cv2.morphologyEx(number_at, cv2.MORPH_GRADIENT, NEIGHBOURS)
    if hidden is not None:
        seams[cv2.dilate(hidden, NEIGHBOURS) > 0] = 0  # there is no paint to mix with
    return cv2.copyTo(cv2.GaussianBlur(result, (3, 3), SEAM_SIGMA_PX), seams, result) if seams.any() else result


def _numbers(number: Numbers) -> list[int]:
    """The references that pixels [h, w] come from."""
    return [int(each) for each in np.flatnonzero(np.bincount(number.reshape(-1))) if each]


def _blended(sources: Mapping[int, Source], origins: Origins, hidden: NDArray[np.uint8] | None) -> Picture:
    """On a coarser grid the shares of the references are enlarged, and blended."""
    h, w = next(iter(sources.values())).paint.shape[:2]
    seen = workers.each(
        lambda number: _seen(sources[number], *_part(origins, number, hidden)), _numbers(origins.number)
    )
    paint, above = np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.float32)
    for part in (part for parts in seen for part in parts):
        before, share = np.ascontiguousarray(above[part.strip]), np.ascontiguousarray(part.share)
        paint[part.strip] = cv2.blendLinear(np.ascontiguousarray(paint[part.strip]), part.paint, before, share)
        above[part.strip] = cv2.add(before, share)
    return paint


def _part(origins: Origins, number: int, hidden: NDArray[np.uint8] | None) -> tuple[Flow, Weight]:
    """A reference's offsets [h, w, 2], drawn out past its pixels, and its share of each pixel [h, w]."""
    own = cv2.compare(origins.number, float(number), cv2.CMP_EQ)
    weight = own.astype(np.float32) / np.float32(255)
    share = cv2.blur(weight, (SEAM_PX, SEAM_PX), borderType=cv2.BORDER_REPLICATE)
    share[share < NOT_SEEN] = 0
    if hidden is not None:
        share[hidden > 0] = 0
    return _drawn_out(origins.offset, own, weight), share


def _drawn_out(offset: Flow, own: NDArray[np.uint8], weight: Weight) -> Flow:
    """The offsets of its own pixels, and around them the mean of those near by."""
    size = (2 * DRAWN_OUT_PX + 1,) * 2
    there = cv2.copyTo(offset, own)
    mass = cv2.blur(weight, size, borderType=cv2.BORDER_CONSTANT)
    drawn = cv2.blur(there, size, borderType=cv2.BORDER_CONSTANT)
    mean = cv2.divide(drawn, cv2.merge((mass, mass)))  # 0 where none is near
    return cv2.copyTo(there, own, mean)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is seen of a reference in a strip of the canvas: its paint, resampled, and its share."""

    strip: Strip
    paint: Picture
    share: Weight


def _seen(source: Source, offset: Flow, share: Weight) -> list[_Seen]:
    """The paint resampled where it has a share: that is what costs."""
    h, w = source.paint.shape[:2]
    strips = _strips(share, (w, h))
    area = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in strips)
    if area > FLOW_IN_PARTS * w * h:
        places, shares = cv2.add(scaled_flow(offset, (w, h)), pixel_grid(w, h)), cv2.resize(share, (w, h))
        return [_Seen(strip, _resampled(source, places[strip]), shares[strip]) for strip in strips]
    scaled = offset * np.array((w / share.shape[1], h / share.shape[0]), np.float32)
    grid, finer = pixel_grid(w, h), enlarging_grid(share.shape[::-1], (w, h))
    parts = []
    for strip in strips:
        there, part = (
            cv2.remap(each, finer[strip], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for each in (scaled, share)
        )
        parts.append(_Seen(strip, _resampled(source, cv2.add(there, grid[strip], dst=there)), part))
    return parts


def _resampled(source: Source, places: Flow) -> Picture:
    if source.fine is None:
        return cv2.remap(source.paint, places, None, PART_INTERPOLATION, borderMode=cv2.BORDER_REPLICATE)
    kernel = cv2.INTER_CUBIC if source.exact else cv2.INTER_LINEAR
    finer = cv2.remap(source.fine, places * np.float32(2), None, kernel, borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(finer, cv2.COLOR_BGRA2BGR)


def doubled(paint: Picture, *, exact: bool = False) -> Picture:
    """The paint [H, W, 3] with a sample between each two, and a fourth channel that means nothing: [2H, 2W, 4].

    Resampled bilinearly, that is nearly as exact as the paint is bicubically, in a quarter of the time; if exact, and
    resampled bicubically, as exact as the paint is by Lanczos's kernel, again in a quarter of the time. What has not
    moved is the same to the bit. So it pays for paint that is resampled several times.
    """
    weights = HALFWAY_EXACT if exact else HALFWAY
    bgra = cv2.cvtColor(paint, cv2.COLOR_BGR2BGRA)
    fine = np.empty((2 * paint.shape[0], 2 * paint.shape[1], 4), np.uint8)
    pixels = fine.view(np.uint32)[..., 0]
    across = _halfway(bgra, weights, down=False)
    for row, column, samples in (
        (0, 0, bgra),
        (0, 1, across),
        (1, 0, _halfway(bgra, weights, down=True)),
        (1, 1, _halfway(across, weights, down=True)),
    ):
        pixels[row::2, column::2] = samples.view(np.uint32)[..., 0]
    return fine


def _halfway(bgra: Picture, weights: NDArray[np.float32], *, down: bool) -> Picture:
    """The samples halfway to the next pixel below, or to the right."""
    before = len(weights) // 2 - 1
    if down:
        return cv2.filter2D(bgra, -1, weights[:, None], anchor=(0, before), borderType=cv2.BORDER_REPLICATE)
    return cv2.filter2D(bgra, -1, weights[None], anchor=(before, 0), borderType=cv2.BORDER_REPLICATE)


def _strips(share: Weight | NDArray[np.uint8], size: tuple[int, int]) -> list[Strip]:
    """Strips of TILE_PX lines of the canvas (W, H) that hold all pixels with a share [h, w], of 1.0 or of 255."""
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
