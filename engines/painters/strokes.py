"""The look `strokes`: layers of curved brush strokes, from coarse to fine.

After A. Hertzmann, "Painterly rendering with curved brush strokes of multiple sizes", SIGGRAPH 1998. Each brush paints
where the painting so far is unlike the picture; a stroke starts at the worst place of its cell, takes the picture's
colour there, and runs along the edges until the colour no longer fits. Departures: the direction is that of the
smoothed structure tensor, which holds where a lone gradient is noise; the tolerance is tighter at edges, and what
stands out is painted last, so that thin lines are kept; and a stroke is a tapered ribbon with bristles, whose height is
lit at the end, as in Hertzmann's "Fast paint texture", 2002.

Everything random comes from tables over the whole working canvas, so that a crop finds the strokes of its place.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..base import Mask, Picture

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
Place = tuple[int, int]  # x, y
Size = tuple[int, int]  # W, H


@dataclass(frozen=True, slots=True)
class Brush:
    """One layer of strokes. Lengths are in radii, but for `radius` itself."""

    radius: float  # share of sqrt(W * H) of the working canvas
    spacing: float  # side of the cells that strokes start from, one a cell
    tolerance: float  # colour error that is left alone, Euclidean in BGR, 0..441
    fewest: int  # steps of one radius that a stroke takes, whatever lies beneath
    most: int  # steps after which it ends
    bristles: int  # streaks a stroke
    jitter: float  # of the lightness of the paint, standard deviation, levels


# At 768 x 512 the radii are 15, 7.2, 3.4 and 1.5 pixels. The first brush paints everywhere, so that no canvas stays
# bare; each next one is half as wide, as in the paper, and its tolerance is well above the jitter of the layers below,
# or it would paint them over. The finest strokes are long and far apart: they are there for edges.
BRUSHES = (
    Brush(radius=0.0240, spacing=1.1, tolerance=0.0, fewest=3, most=12, bristles=10, jitter=7.0),
    Brush(radius=0.0115, spacing=1.1, tolerance=30.0, fewest=2, most=10, bristles=5, jitter=6.0),
    Brush(radius=0.0054, spacing=1.4, tolerance=32.0, fewest=2, most=10, bristles=2, jitter=5.0),
    Brush(radius=0.0024, spacing=2.6, tolerance=32.0, fewest=1, most=12, bristles=0, jitter=3.0),
)
RADIUS_MIN = 0.6  # pixels; OpenCV draws no thinner ribbon
SIZE_AT_NONE, SIZE_AT_FULL = 0.7, 1.1  # factor on the radii at strength 0 and 1; 1.0 at the default 0.75
COVER_POWER = 2  # the painting covers 1 - (1 - strength) ** this of the raw picture: 0.94 at the default 0.75
SMALL = 450.0  # sqrt(W * H), pixels, below which a canvas is painted enlarged, or the fine brushes would be lost
ZOOM = 2  # how much

SIMPLE = 0.6  # reach of the median that simplifies the picture for a brush, radii
FEEL = 0.5  # smoothing of the structure tensor, standard deviation, radii
HAND = 40.0  # weight of the hand's own direction beside the structure tensor, squared levels a pixel
HAND_NODES = 5  # of the field of the hand's direction, each way across the canvas: broad sweeps
EDGE_ENERGY = 60.0  # of the structure tensor at which half of CARE applies, squared levels a pixel
CARE = 0.6  # share of the tolerance that is taken away on strong edges
CANDIDATES = 4  # places of a cell that are looked at for the worst
FELT = 0.75  # reach of the mean error that calls for a stroke, radii: a thin line is repaired with what is beside it
AROUND = 3.0  # reach of the surroundings that a detail stands out from, radii
LAST = (
    60.0  # how far it stands out, Euclidean in BGR, to be painted after all that does not, or it would be painted over
)
NEAR = 2.5  # how far around a hole strokes may begin, radii: about where one that runs across the rim comes from
TURN = 0.6  # how far a step turns to the picture's direction, 0..1: the paper's curvature filter
EDGE = 55.0  # colour distance, Euclidean in BGR, at which a stroke ends whatever lies beneath

# A ribbon's half width before the first point, at it, at the last, and past it; CAP is how far before and past.
CAP_WIDTH, START_WIDTH, END_WIDTH, TIP_WIDTH = 0.45, 0.9, 0.7, 0.3  # radii
CAP = 0.7  # radii
WIDTH_SPREAD = 0.3  # a stroke is up to this share wider or thinner than its brush
BRISTLE_REACH = 0.8  # farthest streak from the middle, half widths
BRISTLE_DELAY = 0.5  # latest beginning of a streak, share of the stroke
BRISTLE_TONE = 11.0  # lightness of the streaks against their stroke, standard deviation, levels
HUE = 0.3  # jitter of each channel by itself, share of that of the lightness: with more, gray things turn gaudy
VIVID = 1.12  # factor on the distance of a colour from its gray: paint is richer than video
GRAY = (0.114, 0.587, 0.299)  # BGR weights of the lightness, BT.601

HEIGHT_REST = 128  # of paint that was there before; heights are 0..255, without a unit
HEIGHT_SPREAD = 18.0  # of strokes, standard deviation
RELIEF = 0.0011  # loss of lightness a unit of slope of the paint, away from the light
RELIEF_MAX = 0.12  # largest gain or loss
LIGHT = ((-2, -1, 0), (-1, 0, 1), (0, 1, 2))  # slope towards the lower right, light coming from the upper left
SHIFT = 4  # fractional bits of OpenCV's drawing coordinates

# Columns of the table of chance; two for each bristle follow: offset and beginning.
PLACES = slice(0, 2 * CANDIDATES)
ORDER, SIDE, WIDTH, TONE = range(PLACES.stop, PLACES.stop + 4)
PAINT = slice(TONE + 1, TONE + 6)  # lightness, blue, green, red, height
CHANCES = PAINT.stop


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a brush sees of the picture and of the painting before it."""

    reference: Picture  # the picture without details that are too small for the brush
    error: Floats  # [h, w], colour distance of the painting from it, 0..441
    detail: Floats  # [h, w], colour distance of its surroundings from it, 0..441: large on thin lines
    along: Floats  # [h, w, 2], the direction to paint in, unit vectors
    edges: Floats  # [h, w], 0..1, how much of an edge there is


@dataclass(frozen=True, slots=True)
class _Strokes:
    """The strokes of one layer, in the order of painting."""

    points: Floats  # [n, most + 1, 2], pixels, x then y; those past `steps` do not count
    steps: Integers  # [n]
    colours: Floats  # [n, 3], BGR, 0..255, as the picture has them
    chance: Floats  # [n, CHANCES + 2 * bristles], 0..1


def paint(
    bgr: Picture,
    strength: float,
    seed: int,
    *,
    origin: Place,
    size: Size,
    canvas: Picture | None = None,
    holes: Mask | None = None,
) -> Iterator[Picture]:
    """The painting after each brush, coarse to fine, for a caller that may stop early; the last one is finished.

    bgr: u8 [h, w, 3], the raw picture, or a crop that lies at `origin` (x, y) of a working canvas of `size` (W, H).
    strength: 0..1. With `holes` [h, w] the painting starts from `canvas` [h, w, 3] outside them, and only strokes that
    begin in or near a hole are painted, so that they run across the rim.
    """
    base = bgr if canvas is None or holes is None else np.where(holes[:, :, None], bgr, canvas)
    painting = base
    for painting in _scaled(bgr, base, strength, seed, origin, size, holes):
        yield painting
    cover = np.float32(1 - (1 - strength) ** COVER_POWER)
    yield _u8(np.rint(base + cover * (painting - base.astype(np.float32))))


def _scaled(
    bgr: Picture, base: Picture, strength: float, seed: int, origin: Place, size: Size, holes: Mask | None
) -> Iterator[Picture]:
    """The painting over `base` after each brush, and once its paint is lit; a small one is painted enlarged."""
    if math.sqrt(size[0] * size[1]) >= SMALL:
        yield from _layers(bgr, base, strength, seed, origin, size, holes, 1)
        return
    large, large_base = (_u8(cv2.resize(p, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)) for p in (bgr, base))
    large_holes = None if holes is None else holes.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    origin, size = (origin[0] * ZOOM, origin[1] * ZOOM), (size[0] * ZOOM, size[1] * ZOOM)
    for image in _layers(large, large_base, strength, seed, origin, size, large_holes, ZOOM):
        yield _u8(cv2.resize(image, bgr.shape[1::-1], interpolation=cv2.INTER_AREA))


def _layers(
    bgr: Picture, base: Picture, strength: float, seed: int, origin: Place, size: Size, holes: Mask | None, zoom: int
) -> Iterator[Picture]:
    """The same at the scale that it is given. The picture was enlarged by `zoom`, so its edges are softer."""
    painting = np.dstack([base, np.full(base.shape[:2], HEIGHT_REST, np.uint8)])
    structure = _structure(bgr) * np.float32(zoom * zoom)
    hand = _hand(seed, origin, size, bgr.shape)
    scale = (SIZE_AT_NONE + (SIZE_AT_FULL - SIZE_AT_NONE) * strength) * math.sqrt(size[0] * size[1])
    edge = cv2.LINE_AA if zoom == 1 else cv2.LINE_8  # making it smaller smooths the edges too, and takes half the time
    for number, brush in enumerate(BRUSHES):
        radius = max(RADIUS_MIN, brush.radius * scale)
        sight = _look(bgr, painting[:, :, :3], structure, hand, radius)
        cells = _cells(brush, radius, np.random.default_rng([seed, number]), origin, size, bgr.shape)
        starts, chance = _chosen(*cells, sight, brush, radius, holes)
        _draw(painting, _traced(starts, chance, sight, brush, radius), brush, radius, edge)
        yield painting[:, :, :3]
    yield _lit(painting)


def _look(bgr: Picture, painted: Picture, structure: Floats, hand: Floats, radius: float) -> _Sight:
    """What a brush of this radius sees. The median keeps edges; a fine brush sees the raw picture."""
    reference = _u8(cv2.medianBlur(bgr, 2 * int(SIMPLE * radius) + 1))
    error = _distance(reference, painted)
    detail = _distance(reference, cv2.blur(reference, _window(AROUND * radius)))
    smooth = cv2.GaussianBlur(structure, (0, 0), 1.0 + FEEL * radius)
    energy = np.hypot(smooth[:, :, 0], smooth[:, :, 1])
    felt = smooth + hand
    across = cv2.phase(felt[:, :, 0], felt[:, :, 1]) / 2
    along = np.dstack([-np.sin(across), np.cos(across)])
    return _Sight(reference, error, detail, along, energy / (energy + EDGE_ENERGY))


def _distance(a: Picture, b: Picture) -> Floats:
    """How far the colours of two pictures are apart: f32 [h, w], Euclidean in BGR, 0..441."""
    difference = cv2.absdiff(a, b).astype(np.float32)
    return np.sqrt(np.einsum("hwc,hwc->hw", difference, difference))


def _structure(bgr: Picture) -> Floats:
    """The structure tensor of the picture's lightness as (xx - yy, 2 xy): f32 [h, w, 2], squared levels a pixel."""
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    dx, dy = (cv2.Scharr(gray, cv2.CV_32F, x, 1 - x, scale=1 / 32) for x in (1, 0))
    return np.dstack([dx * dx - dy * dy, 2 * dx * dy])


def _hand(seed: int, origin: Place, size: Size, shape: tuple[int, ...]) -> Floats:
    """A tensor for the hand's own direction, for where the picture has none: f32 [h, w, 2], as `_structure`."""
    angles = np.random.default_rng(seed).uniform(0, 2 * math.pi, (HAND_NODES, HAND_NODES)).astype(np.float32)
    whole = cv2.resize(np.dstack([np.cos(angles), np.sin(angles)]), size, interpolation=cv2.INTER_CUBIC)
    crop = whole[origin[1] : origin[1] + shape[0], origin[0] : origin[0] + shape[1]]
    return np.multiply(crop, HAND, dtype=np.float32)


def _cells(
    brush: Brush, radius: float, rng: np.random.Generator, origin: Place, size: Size, shape: tuple[int, ...]
) -> tuple[Floats, Floats]:
    """The candidates [n, CANDIDATES, 2], pixels, and the chance [n, k] of each cell that meets the crop."""
    side = brush.spacing * radius
    columns, rows = (int(length / side) + 1 for length in size)
    table = rng.random((rows, columns, CHANCES + 2 * brush.bristles), np.float32)
    left, top = (int(start / side) for start in origin)
    right, bottom = (int((start + length) / side) + 1 for start, length in zip(origin, shape[1::-1], strict=True))
    chance = table[top:bottom, left:right]
    down, across = np.mgrid[top : top + chance.shape[0], left : left + chance.shape[1]]
    corners = np.dstack([across, down])[:, :, None] * side - np.array(origin)
    candidates = corners + chance[:, :, PLACES].reshape(*chance.shape[:2], CANDIDATES, 2) * side
    return candidates.astype(np.float32).reshape(-1, CANDIDATES, 2), chance.reshape(-1, chance.shape[2])


def _chosen(
    candidates: Floats, chance: Floats, sight: _Sight, brush: Brush, radius: float, holes: Mask | None
) -> tuple[Floats, Floats]:
    """The starts [n, 2] of the strokes that are wanted, and their chance [n, k], in the order of painting."""
    places = _pixels(candidates, sight)
    badness = cv2.blur(sight.error, _window(FELT * radius))[places]
    cells, worst = np.arange(len(candidates)), (badness + sight.detail[places]).argmax(axis=1)
    starts = candidates[cells, worst]
    pixels = _pixels(starts, sight)
    wanted = badness[cells, worst] >= brush.tolerance * (1 - CARE * sight.edges[pixels])
    wanted &= ((starts >= 0) & (starts < sight.error.shape[::-1])).all(axis=1)
    if holes is not None:
        wanted &= cv2.dilate(holes.astype(np.uint8), np.ones(_window(NEAR * radius), np.uint8))[pixels] > 0
    order = np.flatnonzero(wanted)
    order = order[(chance[:, ORDER] + sight.detail[pixels] / np.float32(LAST))[order].argsort(kind="stable")]
    return starts[order], chance[order]


def _window(reach: float) -> tuple[int, int]:
    """The size of a window that reaches so many pixels each way."""
    return (2 * math.ceil(reach) + 1, 2 * math.ceil(reach) + 1)


def _pixels(points: Floats, sight: _Sight) -> tuple[Integers, Integers]:
    """The rows and columns of the pixels that points [..., 2] lie in; of those outside, the nearest pixels."""
    height, width = sight.error.shape
    rows, columns = points[..., 1].clip(0, height - 1), points[..., 0].clip(0, width - 1)
    return rows.astype(np.int32), columns.astype(np.int32)


def _traced(starts: Floats, chance: Floats, sight: _Sight, brush: Brush, radius: float) -> _Strokes:
    """The strokes from their starts along the edges; all step together, one radius at a time (paper, section 2.2).

    One ends where its colour is farther from the picture than the painting is, or where the picture's colour is
    another one altogether.
    """
    here = _pixels(starts, sight)
    colours = sight.reference[here].astype(np.float32)
    heading = np.where(chance[:, SIDE, None] < 0.5, -sight.along[here], sight.along[here])
    points = np.repeat(starts[:, None], brush.most + 1, axis=1)
    steps, alive = np.zeros(len(starts), np.int32), np.arange(len(starts))
    for step in range(1, brush.most + 1):
        at = points[alive, step - 1]
        heading = _turned(heading, sight.along[_pixels(at, sight)])
        ahead = at + np.float32(radius) * heading
        there = _pixels(ahead, sight)
        unlike = np.linalg.norm(sight.reference[there] - colours[alive], axis=1)
        goes_on = unlike < EDGE
        if step > brush.fewest:
            goes_on &= unlike <= np.maximum(sight.error[there], brush.tolerance)
        alive, heading = alive[goes_on], heading[goes_on]
        points[alive, step], steps[alive] = ahead[goes_on], step
    return _Strokes(points, steps, colours, chance)


def _turned(heading: Floats, along: Floats) -> Floats:
    """The headings [n, 2] turned towards the directions, which have no front: each taken the way that turns less."""
    forward = np.einsum("nc,nc->n", along, heading)[:, None] >= 0
    turned = heading + np.float32(TURN) * (np.where(forward, along, -along) - heading)
    return turned / np.linalg.norm(turned, axis=1, keepdims=True)


def _draw(painting: Picture, strokes: _Strokes, brush: Brush, radius: float, edge: int) -> None:
    """Paints the strokes one after the other, each a ribbon of its colour and its bristles, into u8 [h, w, 4]."""
    ribbons, bristles = _shapes(strokes, radius)
    colours = _mixed(strokes, brush)
    tones = colours + _spread(strokes.chance[:, TONE, None]) * np.float32(BRISTLE_TONE)
    rows = zip(ribbons, colours.tolist(), bristles, tones.tolist(), strict=True)
    for ribbon, colour, streaks, tone in rows:
        cv2.fillPoly(painting, [ribbon], colour, edge, SHIFT)
        if len(streaks):
            cv2.polylines(painting, streaks, False, tone, 1, edge, SHIFT)


def _shapes(strokes: _Strokes, radius: float) -> tuple[list[Integers], list[Integers]]:
    """The outline [v, 2] and the bristles [bristles, v, 2] of each stroke, in 2**-SHIFT pixels."""
    ribbons, bristles = [np.empty(0, np.int32)] * len(strokes.steps), [np.empty(0, np.int32)] * len(strokes.steps)
    widths = np.float32(radius) * (1 + np.float32(WIDTH_SPREAD) * (2 * strokes.chance[:, WIDTH] - 1))
    for steps in np.unique(strokes.steps):  # as many points, one array
        rows = np.flatnonzero(strokes.steps == steps)
        points = strokes.points[rows, : steps + 1]
        headings = _headings(points)
        normals = headings[:, :, ::-1] * np.array((-1, 1), np.float32) * widths[rows, None, None]
        ends = headings[:, [0, -1]] * np.float32(CAP) * widths[rows, None, None]
        streaks = _streaks(points, normals, strokes.chance[rows, CHANCES:])
        for row, ribbon, streak in zip(rows, _ribbons(points, normals, ends), streaks, strict=True):
            ribbons[row], bristles[row] = ribbon, streak
    return ribbons, bristles


def _headings(points: Floats) -> Floats:
    """The direction of strokes [n, v, 2] at each point, unit vectors; that of a lone point is to the right."""
    if points.shape[1] == 1:
        return np.broadcast_to(np.array((1, 0), np.float32), points.shape)
    ways = np.gradient(points, axis=1)
    return ways / np.maximum(np.linalg.norm(ways, axis=2, keepdims=True), np.float32(1e-6))


def _ribbons(points: Floats, normals: Floats, ends: Floats) -> Integers:
    """The outlines of strokes [n, v, 2], tapered and capped: down one side and back along the other."""
    spine = np.concatenate([points[:, :1] - ends[:, :1], points, points[:, -1:] + ends[:, 1:]], axis=1)
    normals = np.concatenate([normals[:, :1], normals, normals[:, -1:]], axis=1)
    body = np.linspace(START_WIDTH, END_WIDTH, points.shape[1])
    half = normals * np.array([CAP_WIDTH, *body, TIP_WIDTH], np.float32)[:, None]
    return _fixed(np.concatenate([spine + half, (spine - half)[:, ::-1]], axis=1))


def _streaks(points: Floats, normals: Floats, chance: Floats) -> Integers:
    """The bristles of strokes [n, bristles, v, 2]: beside the middle, each beginning somewhat later than the stroke."""
    offset, delay = chance[:, 0::2, None], chance[:, 1::2, None]
    lines = points[:, None] + np.float32(BRISTLE_REACH) * (2 * offset - 1)[..., None] * normals[:, None]
    first = (np.float32(BRISTLE_DELAY) * delay * points.shape[1]).astype(np.int32)
    return _fixed(np.take_along_axis(lines, np.maximum(np.arange(points.shape[1]), first)[..., None], axis=2))


def _fixed(points: Floats) -> Integers:
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def _spread(chance: Floats) -> Floats:
    """Even chances 0..1 as deviations of mean 0 and standard deviation 1."""
    return (chance - np.float32(0.5)) * np.float32(math.sqrt(12))


def _mixed(strokes: _Strokes, brush: Brush) -> Floats:
    """The paint of each stroke [n, 4], BGR and height, 0..255: the picture's colour, livelier, and no two the same."""
    deviation = _spread(strokes.chance[:, PAINT])
    gray = (strokes.colours @ np.array(GRAY, np.float32))[:, None]
    jitter = np.float32(brush.jitter) * (deviation[:, :1] + np.float32(HUE) * deviation[:, 1:4])
    colours = gray + np.float32(VIVID) * (strokes.colours - gray) + jitter
    return np.hstack([colours, HEIGHT_REST + np.float32(HEIGHT_SPREAD) * deviation[:, 4:]]).clip(0, 255)


def _lit(painting: Picture) -> Picture:
    """The colours of a painting u8 [h, w, 4], its paint lit from the upper left: u8 [h, w, 3]."""
    height = cv2.GaussianBlur(painting[:, :, 3], (3, 3), 0)
    slope = cv2.filter2D(height, cv2.CV_32F, np.array(LIGHT, np.float32))
    gain = 1 - np.clip(RELIEF * slope, -RELIEF_MAX, RELIEF_MAX)
    return _u8(np.rint(painting[:, :, :3] * gain[:, :, None]).clip(0, 255))


def _u8(picture: NDArray[np.generic]) -> Picture:
    return picture.astype(np.uint8, copy=False)
