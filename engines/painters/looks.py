"""Five looks made with filters, one plain function a look.

Each takes bgr: u8 [h, w, 3], a picture, or a crop of one that lies at `origin` (x, y) of a working canvas of `size`
(W, H); strength: 0..1, how far the result leaves the picture; and the seed of its textures. Each returns u8 [h, w, 3].
A pixel depends on its neighbourhood and its place on the canvas alone: no statistics of the frame, and textures are
functions of the place, so that what is painted in a crop fits the whole.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..base import Picture

Floats = NDArray[np.float32]
Place = tuple[int, int]  # x, y
Size = tuple[int, int]  # W, H

# Lengths that are "shares" are shares of sqrt(W * H) of the working canvas: 0.0016 is one pixel at 768 x 512.
COVER_POWER = 2  # a look covers 1 - (1 - strength) ** this of the raw picture: 0.94 at the default 0.75
PAPER = (226.0, 240.0, 246.0)  # BGR, a warm white
TILE = 256  # pixels; side of the square of noise that repeats over the canvas: too far apart to be seen

SMOOTHING_PIXEL = 0.0033  # share; side of the pixels that are smoothed: 2 at 768 x 512, where it costs a quarter
SMOOTHING_SIDE = 7  # of the window, such pixels
SMOOTHING_RANGE = 30.0  # levels that pass for one tone: more than noise and texture, less than an edge
SMOOTHING_PASSES = 3

LINE_MIN = 0.5  # pixels; a thinner line is lost between them
DOG_RATIO = 1.6  # of the wide to the narrow Gaussian, where their difference is nearest to a Laplacian
DOG_SHARPNESS = 12.0  # how far edges stand out
DOG_SLOPE = 5.0  # from line to paper
DOG_PAPER = 0.06  # dip of lightness that is not yet a line

INK_LINE = 0.0016  # share; line width
INK_LIGHT = 1.35  # factor on the lightness: the upper quarter is left as bare paper
INK_TONES, INK_SLOPE = 4, 5.0  # washes from black to paper, and how abruptly one turns into the next
INK_COLOUR = (52.0, 34.0, 28.0)  # BGR of undiluted ink, a blue black
INK_GRAIN = 2.0  # of the paper, standard deviation, levels

WASH_WOBBLE, WASH_WOBBLE_SCALE = 0.0026, 0.018  # shares; how far outlines stray, and over which length
WASH_EDGE, WASH_EDGE_REACH = 1.6, 0.010  # density of the pigment that gathers at an edge; share, how wide
WASH_GRAIN, WASH_GRAIN_SCALE = 0.06, 0.8  # density of the pigment that settles in the paper; pixels
WASH_CLOUDS, WASH_CLOUDS_SCALE = 0.16, 0.03  # density of uneven water; share
WASH_LIGHT = 0.14  # share of paper that shines through

OIL_RADIUS = 0.0085  # share; of the quadrants of the Kuwahara filter
OIL_SHARPNESS = 4.0  # power of the inverse variance: a large one picks a quadrant, a small one mixes them
OIL_NOISE = 16.0  # variance that counts as none, squared levels
OIL_VIVID = 1.25  # factor on the distance of a colour from its gray
OIL_STREAK, OIL_STREAK_SAMPLES = 0.018, 5  # share; length of the marks of the brush, and samples along them
OIL_RELIEF = 4.0  # depth of the marks, standard deviation, levels
OIL_HAND = 2.0  # weight of the hand's slant where the picture has no direction, squared levels a pixel

PENCIL_LINE = 0.0014  # share; line width
PENCIL_HATCHES = ((50.0, 0.80), (-35.0, 0.52), (80.0, 0.28))  # angle, degrees, and lightness, 0..1, where it begins
PENCIL_STROKE = 0.03  # share; length of a stroke of hatching
PENCIL_EVEN, PENCIL_MARKS = 0.8, 0.35  # of a layer of hatching: what is even, and the deviation of its strokes
PENCIL_LAYER = 0.8  # darkest that one layer gets, share
PENCIL_TOOTH = 0.12  # of the paper, which takes no graphite in its hollows, share
PENCIL_COLOUR = (70.0, 66.0, 64.0)  # BGR of graphite

POSTER_TONES, POSTER_SLOPE = 5, 9.0  # levels of lightness, and how abruptly one turns into the next
POSTER_LINE = 0.0022  # share; line width
POSTER_VIVID = 1.7  # factor on the distance of a colour from its gray


def ink(bgr: Picture, strength: float, seed: int, *, origin: Place, size: Size) -> Picture:
    """A drawing in ink: lines, and washes of a few tones, on warm paper."""
    tone = _lightness(_smooth(bgr, origin, size))
    washes = _steps(np.minimum(INK_LIGHT * tone, 1), INK_TONES, INK_SLOPE)
    drawn = cv2.addWeighted(tone, 0.5, _lightness(bgr), 0.5, 0)  # lines of textures at half their force
    bare = washes * _lines(drawn, INK_LINE * _unit(size))
    paper = np.array(PAPER, np.float32) + INK_GRAIN * _grain(bgr, origin, seed, 1.0)[:, :, None]
    drawing = np.array(INK_COLOUR, np.float32) * (1 - bare[:, :, None]) + paper * bare[:, :, None]
    return _over(bgr, drawing, strength)


def watercolor(bgr: Picture, strength: float, seed: int, *, origin: Place, size: Size) -> Picture:
    """A watercolour: washes with wavering outlines and dark wet edges, pigment in the grain of the paper.

    Density of pigment after A. Bousseau et al., "Interactive watercolor rendering", NPAR 2006: c (1 - (1 - c) d).
    """
    unit = _unit(size)
    dx, dy = (WASH_WOBBLE * unit * _grain(bgr, origin, seed + salt, WASH_WOBBLE_SCALE * unit) for salt in (1, 2))
    wash = _smooth(_displaced(bgr, dx, dy), origin, size)
    light = _lightness(wash)
    edges = np.maximum(cv2.GaussianBlur(light, (0, 0), WASH_EDGE_REACH * unit) - light, 0)
    density = WASH_EDGE * edges + WASH_GRAIN * _grain(bgr, origin, seed, WASH_GRAIN_SCALE)
    density += WASH_CLOUDS * _grain(bgr, origin, seed + 3, WASH_CLOUDS_SCALE * unit)
    colour = wash * np.float32(1 - WASH_LIGHT) + np.array(PAPER, np.float32) * np.float32(WASH_LIGHT)
    return _over(bgr, colour * (1 - (1 - colour / 255) * density[:, :, None]), strength)


def oil(bgr: Picture, strength: float, seed: int, *, origin: Place, size: Size) -> Picture:
    """An oil painting: patches of one colour with crisp borders, and the marks of a brush along them."""
    unit = _unit(size)
    paint = _kuwahara(bgr.astype(np.float32), max(1, round(OIL_RADIUS * unit)))
    gray = cv2.cvtColor(paint, cv2.COLOR_BGR2GRAY)
    marks = OIL_RELIEF * _brushed(_grain(bgr, origin, seed, 1.0), gray, OIL_STREAK * unit)
    flat = ((1 - OIL_VIVID) * gray + marks)[:, :, None]
    return _over(bgr, OIL_VIVID * paint + flat, strength)


def pencil(bgr: Picture, strength: float, seed: int, *, origin: Place, size: Size) -> Picture:
    """A drawing in pencil: outlines, and hatching in more directions the darker it gets."""
    unit = _unit(size)
    tone = _lightness(_smooth(bgr, origin, size))
    bare = _lines(_lightness(bgr), PENCIL_LINE * unit)
    for salt, (angle, begin) in enumerate(PENCIL_HATCHES, start=1):
        marks = _hatching(bgr, origin, seed + salt, PENCIL_STROKE * unit, angle)
        depth = np.maximum((begin - tone) / begin, 0) * (PENCIL_EVEN + PENCIL_MARKS * marks)
        bare *= 1 - PENCIL_LAYER * np.clip(depth, 0, 1)
    tooth = PENCIL_TOOTH * np.clip(_grain(bgr, origin, seed, 0.8), 0, 2)
    graphite = ((1 - bare) * (1 - tooth))[:, :, None]
    drawing = np.array(PAPER, np.float32) * (1 - graphite) + np.array(PENCIL_COLOUR, np.float32) * graphite
    return _over(bgr, drawing, strength)


def poster(bgr: Picture, strength: float, seed: int, *, origin: Place, size: Size) -> Picture:
    """A poster: a few flat tones in strong colours, with dark outlines. It has no texture: the seed changes nothing."""
    flat = _smooth(bgr, origin, size)
    light = _lightness(flat)
    tone = _steps(light, POSTER_TONES, POSTER_SLOPE) - POSTER_VIVID * light
    colour = 255 * tone[:, :, None] + POSTER_VIVID * flat.astype(np.float32)
    return _over(bgr, colour * _lines(light, POSTER_LINE * _unit(size))[:, :, None], strength)


def _over(bgr: Picture, look: Floats, strength: float) -> Picture:
    """The look over the raw picture, which shines through where the strength is low."""
    cover = 1 - (1 - strength) ** COVER_POWER
    mixed = cv2.addWeighted(bgr.astype(np.float32), 1 - cover, np.clip(look, 0, 255), cover, 0)
    return np.rint(mixed).astype(np.uint8)


def _unit(size: Size) -> float:
    return math.sqrt(size[0] * size[1])


def _lightness(bgr: Picture) -> Floats:
    """The lightness of a picture: f32 [h, w], 0..1."""
    return np.multiply(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), 1 / 255, dtype=np.float32)


def _smooth(bgr: Picture, origin: Place, size: Size) -> Picture:
    """The picture without texture, its edges kept: bilateral filters on a grid of coarse pixels, tied to the canvas."""
    coarse = max(1, round(SMOOTHING_PIXEL * _unit(size)))
    height, width = bgr.shape[:2]
    left, top = origin[0] % coarse, origin[1] % coarse
    right, bottom = -(left + width) % coarse, -(top + height) % coarse
    whole = cv2.copyMakeBorder(bgr, top, bottom, left, right, cv2.BORDER_REPLICATE)
    small = cv2.resize(whole, None, fx=1 / coarse, fy=1 / coarse, interpolation=cv2.INTER_AREA)
    for _ in range(SMOOTHING_PASSES):
        small = cv2.bilateralFilter(small, SMOOTHING_SIDE, SMOOTHING_RANGE, SMOOTHING_SIDE / 2)
    smooth = cv2.resize(small, whole.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return smooth[top : top + height, left : left + width].astype(np.uint8, copy=False)


def _steps(tone: Floats, count: int, slope: float) -> Floats:
    """A tone 0..1 drawn to `count` levels; soft between them, for hard borders flicker.

    H. Winnemöller et al., "Real-time video abstraction", SIGGRAPH 2006, section 3.3.
    """
    scaled = tone * (count - 1)
    nearest = np.rint(scaled)
    return (nearest + np.tanh(slope * (scaled - nearest)) / 2) / (count - 1)


def _lines(light: Floats, width: float) -> Floats:
    """The dark sides of the edges of a lightness as lines: f32 [h, w], 0 line, 1 none.

    A difference of Gaussians with a soft threshold: H. Winnemöller et al., "XDoG", Computers & Graphics 2012.
    """
    sigma = max(LINE_MIN, width)
    narrow, wide = (cv2.GaussianBlur(light, (0, 0), s) for s in (sigma, DOG_RATIO * sigma))
    return np.minimum(1 + np.tanh(DOG_SLOPE * (DOG_PAPER + DOG_SHARPNESS * (narrow - wide))), 1)


def _grain(bgr: Picture, origin: Place, seed: int, scale: float) -> Floats:
    """Noise tied to the canvas, its details of `scale` pixels: f32 [h, w], mean 0, standard deviation 1."""
    return _tiled(cv2.GaussianBlur(_noise(seed), (0, 0), scale), bgr, origin)


def _hatching(bgr: Picture, origin: Place, seed: int, length: float, angle: float) -> Floats:
    """Strokes of `length` pixels and `angle` degrees tied to the canvas: f32 [h, w], mean 0, standard deviation 1."""
    middle = math.ceil(min(length, TILE) / 2)
    way = length / 2 * np.array((math.cos(math.radians(angle)), -math.sin(math.radians(angle))))
    kernel = np.zeros((2 * middle + 1, 2 * middle + 1), np.float32)
    begin, end = (np.rint(middle + sign * way).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, begin, end, 1.0)
    return _tiled(cv2.GaussianBlur(cv2.filter2D(_noise(seed), -1, kernel), (0, 0), 0.7), bgr, origin)


def _noise(seed: int) -> Floats:
    """White noise, a tile with half of it around it again, so that a filter's rim is of no account."""
    tile = np.random.default_rng(seed).standard_normal((TILE, TILE), np.float32)
    return np.pad(tile, TILE // 2, mode="wrap")


def _tiled(noise: Floats, bgr: Picture, origin: Place) -> Floats:
    """The part of an endless plane of tiles that a picture at `origin` covers, with mean 0 and standard deviation 1."""
    tile = noise[TILE // 2 : -TILE // 2, TILE // 2 : -TILE // 2]
    tile = (tile - tile.mean()) / tile.std()
    rows, columns = ((np.arange(n) + start) % TILE for n, start in zip(bgr.shape[:2], origin[::-1], strict=True))
    return tile[np.ix_(rows, columns)]


def _displaced(picture: NDArray[Any], dx: Floats, dy: Floats) -> NDArray[Any]:
    """The picture, each pixel taken from (dx, dy) pixels away."""
    rows, columns = np.indices(dx.shape, np.float32)
    return cv2.remap(picture, columns + dx, rows + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _kuwahara(bgr: Floats, radius: int) -> Floats:
    """The mean of the four squares that meet in a pixel, the most even ones counting most: f32 [h, w, 3].

    Weights after G. Papari et al., "Artistic edge and corner enhancing smoothing", IEEE TIP 2007.
    """
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    total, weights = np.zeros_like(bgr), np.zeros_like(gray)
    for anchor in ((0, 0), (radius, 0), (0, radius), (radius, radius)):
        mean, square = (cv2.blur(p, (radius + 1, radius + 1), anchor=anchor) for p in (bgr, gray * gray))
        variance = np.maximum(square - cv2.cvtColor(mean, cv2.COLOR_BGR2GRAY) ** 2, 0)
        weight = (1 + variance / OIL_NOISE) ** -OIL_SHARPNESS
        total += mean * weight[:, :, None]
        weights += weight
    return total / weights[:, :, None]


def _brushed(noise: Floats, gray: Floats, length: float) -> Floats:
    """Noise smeared over `length` pixels along the edges of a picture: f32 [h, w], standard deviation about 1."""
    dx, dy = (cv2.Scharr(gray, cv2.CV_32F, x, 1 - x, scale=1 / 32) for x in (1, 0))
    xx, xy = (cv2.GaussianBlur(part, (0, 0), max(1.0, length / 3)) for part in (dx * dx - dy * dy, 2 * dx * dy))
    across = cv2.phase(xx, xy + np.float32(OIL_HAND)) / 2
    x, y = -np.sin(across), np.cos(across)
    smeared = np.zeros_like(gray)
    for way in np.linspace(-length / 2, length / 2, OIL_STREAK_SAMPLES, dtype=np.float32):
        smeared += _displaced(noise, way * x, way * y)
    return smeared / np.float32(math.sqrt(OIL_STREAK_SAMPLES))
