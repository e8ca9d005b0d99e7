"""Pictures of flow, confidence, hops and holes, and the contact sheet that lays them out beside the film.

Pictures are BGR uint8 [H, W, 3]. A flow points from a frame into its reference, in pixels, x then y.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # [H, W, 3], BGR, 0..255
Flow = NDArray[np.float32]  # [H, W, 2], pixels, x then y
Confidence = NDArray[np.float32]  # [H, W], 0..1
Mask = NDArray[np.bool_]  # [H, W]
Hops = NDArray[np.uint8]  # [H, W], flows in a row since painted or found
Colour = tuple[int, int, int]  # BGR, 0..255

Column = Literal["raw", "painted", "flow", "confidence", "hops", "holes"]
COLUMNS: tuple[Column, ...] = get_args(Column)

# The colour wheel of flow: each colour, RGB, and how many steps of hue lead to the next, more where eyes see more.
# It turns clockwise from red, which is to the right. Source: the colour code of Baker et al., "A Database and
# Evaluation Methodology for Optical Flow", IJCV 2011.
WHEEL = (
    ((255, 0, 0), 15),
    ((255, 255, 0), 6),
    ((0, 255, 0), 4),
    ((0, 255, 255), 11),
    ((0, 0, 255), 13),
    ((255, 0, 255), 6),
)
UNKNOWN_FLOW: Colour = (0, 0, 0)
# A few wild vectors would leave all others pale: full colour is what this share, percent, stays below.
FULL_COLOUR_PERCENT = 99.0
# And no less than this, pixels: noise in a still is no motion.
LEAST_FULL_COLOUR_PX = 0.5

# From the low to the high end; both run from dark to light or back evenly, and so survive grey printing.
CONFIDENCE_RAMP: tuple[Colour, ...] = ((52, 20, 38), (102, 48, 128), (92, 110, 226), (150, 196, 250), (240, 250, 254))
HOPS_RAMP: tuple[Colour, ...] = ((255, 255, 255), (216, 226, 190), (190, 170, 84), (142, 92, 40), (78, 32, 20))
# Holes stand out in colour on a frame that is dim and grey.
HOLE_COLOUR: Colour = (40, 110, 250)
HOLE_OPACITY = 0.8
DIM_CONTRAST = 0.45  # share of the raw frame's contrast that stays
DIM_LIFT = 30.0  # levels of grey that are added

# The sheet, as shares of its width: so it looks the same at any size.
MARGIN = 1 / 60
GUTTER = 1 / 240
TIME_WIDTH = 1 / 22
TEXT_SIZE = 1 / 100
LINE = 2.1  # height of a line of captions or keys, as a multiple of the text's size
KEY_WIDTH = 0.4  # of a tile: the bar under a column that tells what its colours mean
LEAST_WIDTH = 640  # pixels: below, the text cannot be read

PAPER: Colour = (250, 250, 250)
INK: Colour = (48, 44, 42)
FAINT_INK: Colour = (128, 122, 118)
EMPTY: Colour = (236, 236, 236)
OUTLINE: Colour = (206, 204, 202)
REGULAR, SEMIBOLD = 400, 600  # weights of the font
CAPITALS = 0.7  # height of the font's capitals, as a share of its size
EMPTY_ASPECT = 16 / 9  # of a sheet without any picture


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One frame of the sheet: pts in seconds, and what is known of it; None leaves an empty tile.

    raw, painted: [H, W, 3]; flow: [H, W, 2]; confidence, hops, holes: [H, W]. Sizes may differ, shapes may not.
    """

    pts: float
    raw: Picture | None = None
    painted: Picture | None = None
    flow: Flow | None = None
    confidence: Confidence | None = None
    hops: Hops | None = None
    holes: Mask | None = None


def flow_colours(flow: Flow, most: float | None = None) -> Picture:
    """A flow in colours: hue for direction, as on the wheel, and saturation for speed, white standing still.

    flow: [H, W, 2]. most: the speed of full colour, pixels; None: full_speed of this flow. Faster is no fuller, and
    what is not finite is black. Raises ValueError unless most is above 0.
    """
    full = full_speed([flow]) if most is None else most
    if not full > 0:
        raise ValueError(f"the speed of full colour must be above 0 pixels, not {most}")
    known = np.isfinite(flow[..., 0]) & np.isfinite(flow[..., 1])
    x, y = np.moveaxis(np.where(known[..., None], flow, 0).astype(np.float32), 2, 0)
    wheel = _wheel()
    turn = np.arctan2(y, x) / (2 * math.pi) % 1
    hue = wheel[np.rint(turn * len(wheel)).astype(np.intp) % len(wheel)]
    saturation = np.minimum(np.hypot(x, y) / full, 1)[..., None]
    colours = np.rint(255 - saturation * (255 - hue)).astype(np.uint8)
    colours[~known] = UNKNOWN_FLOW
    return colours


def full_speed(flows: Sequence[Flow]) -> float:
    """The speed, pixels, that shows these flows well in one scale of colour: nearly all of them stay below it."""
    speeds = [np.hypot(flow[..., 0], flow[..., 1]) for flow in flows]
    known = [speed[np.isfinite(speed)] for speed in speeds]
    full = [float(np.percentile(speed, FULL_COLOUR_PERCENT)) for speed in known if speed.size]
    return max([LEAST_FULL_COLOUR_PX, *full])


@lru_cache(maxsize=1)
def _wheel() -> NDArray[np.float32]:
    """The colours of a full turn, evenly spaced: [n, 3], BGR."""
    corners = np.array([colour[::-1] for colour, _ in WHEEL] + [WHEEL[0][0][::-1]], np.float32)
    places = np.cumsum([0] + [steps for _, steps in WHEEL])
    fine = np.linspace(0, places[-1], 8 * int(places[-1]), endpoint=False)
    return np.stack([np.interp(fine, places, channel) for channel in corners.T], axis=1).astype(np.float32)


def confidence_picture(confidence: Confidence) -> Picture:
    """A confidence map [H, W], 0..1, in colours: dark is unsure, nearly white is sure."""
    return _on_ramp(confidence, CONFIDENCE_RAMP)


def hops_picture(hops: Hops, limit: int) -> Picture:
    """A map of hops [H, W] in colours: white is freshly painted, dark is `limit` hops or more."""
    if limit < 1:
        raise ValueError(f"the limit of hops must be at least 1, not {limit}")
    return _on_ramp(hops / np.float32(limit), HOPS_RAMP)


def _on_ramp(share: NDArray[np.floating], ramp: Sequence[Colour]) -> Picture:
    fine, places = np.linspace(0, 1, 256), np.linspace(0, 1, len(ramp))
    table = np.stack([np.interp(fine, places, channel) for channel in zip(*ramp, strict=True)], axis=1)
    levels = np.rint(np.clip(np.nan_to_num(share), 0, 1) * 255).astype(np.uint8)
    return np.rint(table).astype(np.uint8)[levels]


def holes_picture(raw: Picture, holes: Mask) -> Picture:
    """The raw frame [H, W, 3], dim and grey, with the holes marked. Holes of another size are scaled to the frame."""
    h, w = raw.shape[:2]
    marks = cv2.resize(holes.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST)[..., None]
    gray = cv2.cvtColor(cv2.cvtColor(raw, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    dim = cv2.convertScaleAbs(gray, None, DIM_CONTRAST, DIM_LIFT)
    marked = cv2.addWeighted(dim, 1 - HOLE_OPACITY, np.full_like(dim, HOLE_COLOUR), HOLE_OPACITY, 0)
    return np.where(marks > 0, marked, dim)


@dataclass(frozen=True, slots=True)
class _Scale:
    """What the colours of all rows mean: the speed of full colour, pixels, and the hops of the darkest."""

    full_speed: float
    max_hops: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things lie on the sheet, pixels. tile is (W, H)."""

    width: int
    height: int
    left: int
    top: int
    gutter: int
    text: int
    tile: tuple[int, int]

    def place(self, row: int, column: int) -> tuple[int, int]:
        """The upper left corner (x, y) of a tile."""
        w, h = self.tile
        return self.left + column * (w + self.gutter), self.top + row * (h + self.gutter)


def contact_sheet(
    rows: Sequence[SheetRow], columns: Sequence[Column] = COLUMNS, *, width: int = 1920, max_hops: int = 16
) -> Picture:
    """The rows as a table of pictures under captions, each with its time: [H, width, 3], H as the rows need it.

    Colours mean the same in all rows: flow is scaled by its full_speed over the sheet, hops by max_hops, and keys under
    the columns say so. Tiles have the shape of the first picture. Raises ValueError for no rows or columns, a column
    that there is not, or a width below LEAST_WIDTH.
    """
    _check(rows, columns, width)
    layout = _layout(rows, columns, width)
    scale = _Scale(full_speed([row.flow for row in rows if row.flow is not None]), max_hops)
    sheet = np.full((layout.height, width, 3), PAPER, np.uint8)
    for number, column in enumerate(columns):
        _draw_caption(sheet, layout, number, column)
        _draw_key(sheet, layout, number, column, len(rows), scale)
    for number, row in enumerate(rows):
        _draw_time(sheet, layout, number, row.pts)
        for place, column in enumerate(columns):
            _draw_tile(sheet, layout, layout.place(number, place), _tile(row, column, scale))
    return sheet


def _check(rows: Sequence[SheetRow], columns: Sequence[Column], width: int) -> None:
    if not rows or not columns:
        raise ValueError(f"a sheet has at least one row and one column, not {len(rows)} and {len(columns)}")
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        raise ValueError(f"a sheet has no column {unknown[0]!r}; it has {', '.join(COLUMNS)}")
    if width < LEAST_WIDTH:
        raise ValueError(f"a sheet must be at least {LEAST_WIDTH} pixels wide, not {width}")


def _layout(rows: Sequence[SheetRow], columns: Sequence[Column], width: int) -> _Layout:
    margin, gutter, text = (max(1, round(width * share)) for share in (MARGIN, GUTTER, TEXT_SIZE))
    left = margin + round(width * TIME_WIDTH)
    tile_width = (width - left - margin - gutter * (len(columns) - 1)) // len(columns)
    tile_height = max(1, round(tile_width / _aspect(rows, columns)))
    top = margin + round(LINE * text)
    keys = round(LINE * text) if any(column in ("flow", "confidence", "hops") for column in columns) else 0
    height = top + len(rows) * (tile_height + gutter) - gutter + keys + margin
    return _Layout(width, height, left, top, gutter, text, (tile_width, tile_height))


def _aspect(rows: Sequence[SheetRow], columns: Sequence[Column]) -> float:
    for row in rows:
        for column in columns:
            there = getattr(row, column)
            if there is not None:
                return float(there.shape[1] / there.shape[0])
    return EMPTY_ASPECT


def _tile(row: SheetRow, column: Column, scale: _Scale) -> Picture | None:
    """The picture of one tile; None where the row has nothing to show there."""
    match column:
        case "raw":
            return row.raw
        case "painted":
            return row.painted
        case "flow":
            return None if row.flow is None else flow_colours(row.flow, scale.full_speed)
        case "confidence":
            return None if row.confidence is None else confidence_picture(row.confidence)
        case "hops":
            return None if row.hops is None else hops_picture(row.hops, scale.max_hops)
        case "holes":
            return None if row.raw is None or row.holes is None else holes_picture(row.raw, row.holes)


def _draw_tile(sheet: Picture, layout: _Layout, place: tuple[int, int], picture: Picture | None) -> None:
    """The picture at its place with a hairline around it, so that a white one ends somewhere."""
    (x, y), (w, h) = place, layout.tile
    sheet[y : y + h, x : x + w] = EMPTY if picture is None else _fitted(picture, layout.tile)
    cv2.rectangle(sheet, (x - 1, y - 1), (x + w, y + h), OUTLINE)


def _fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    shrinks = size[0] < picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _draw_caption(sheet: Picture, layout: _Layout, number: int, column: Column) -> None:
    x, y = layout.place(0, number)
    _write(sheet, column, (x + layout.tile[0] // 2, y - layout.text), layout.text, align="centre", weight=SEMIBOLD)


def _draw_time(sheet: Picture, layout: _Layout, number: int, pts: float) -> None:
    x, y = layout.place(number, 0)
    middle = y + layout.tile[1] // 2
    _write(sheet, _clock(pts), (x - 3 * layout.gutter, middle), layout.text, align="right", colour=FAINT_INK)


def _clock(pts: float) -> str:
    """A time as `1.24 s`, or `2:01.24` from a minute on."""
    hundredths = round(pts * 100)
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes}:{rest / 100:05.2f}" if minutes > 0 else f"{hundredths / 100:.2f} s"


def _draw_key(sheet: Picture, layout: _Layout, number: int, column: Column, rows: int, scale: _Scale) -> None:
    """What the colours of a column mean: from one end to the other, under its last tile."""
    w, thick = round(layout.tile[0] * KEY_WIDTH), max(4, round(layout.text * 0.6))
    x, y = layout.place(rows, number)
    middle = x + layout.tile[0] // 2, y + layout.text
    match column:
        case "flow":
            _draw_wheel(sheet, middle, round(layout.text * 1.8), f"{scale.full_speed:.1f} px", layout.text)
        case "confidence":
            steps = np.linspace(0, 1, w, dtype=np.float32)
            _draw_bar(sheet, middle, confidence_picture(np.tile(steps, (thick, 1))), ("0", "1"), layout.text)
        case "hops":
            hops = (np.arange(w) * (scale.max_hops + 1) // w).astype(np.uint8)
            bar = hops_picture(np.tile(hops, (thick, 1)), scale.max_hops)
            _draw_bar(sheet, middle, bar, ("0", str(scale.max_hops)), layout.text)


def _draw_bar(sheet: Picture, middle: tuple[int, int], bar: Picture, ends: tuple[str, str], text: int) -> None:
    h, w = bar.shape[:2]
    x, y = middle[0] - w // 2, middle[1] - h // 2
    sheet[y : y + h, x : x + w] = bar
    cv2.rectangle(sheet, (x - 1, y - 1), (x + w, y + h), OUTLINE)
    _write(sheet, ends[0], (x - text // 2, middle[1]), text, align="right", colour=FAINT_INK)
    _write(sheet, ends[1], (x + w + text // 2, middle[1]), text, colour=FAINT_INK)


def _draw_wheel(sheet: Picture, middle: tuple[int, int], side: int, radius: str, text: int) -> None:
    """The colour wheel, and what its radius stands for."""
    fine = np.linspace(-1, 1, 4 * side, dtype=np.float32)
    flow = np.stack(np.meshgrid(fine, fine), axis=2)
    wheel = flow_colours(flow, 1.0)
    wheel[np.hypot(flow[..., 0], flow[..., 1]) > 1] = PAPER
    x, y = middle[0] - side, middle[1] - side // 2
    sheet[y : y + side, x : x + side] = _fitted(wheel, (side, side))
    _write(sheet, radius, (x + side + text // 2, middle[1]), text, colour=FAINT_INK)


def _write(
    sheet: Picture,
    words: str,
    at: tuple[int, int],
    size: int,
    *,
    align: Literal["left", "centre", "right"] = "left",
    colour: Colour = INK,
    weight: int = REGULAR,
) -> None:
    """Draws words that begin, are centred or end at `at` (x, y), halfway up the capitals. size in pixels."""
    h, w = sheet.shape[:2]
    length = cv2.getTextSize((w, h), words, (0, 0), _font(), size, weight)[2]
    start = at[0] - round(length * {"left": 0.0, "centre": 0.5, "right": 1.0}[align])
    baseline = at[1] + round(CAPITALS / 2 * size)
    cv2.putText(sheet, words, (start, baseline), colour, _font(), size, weight)


@lru_cache(maxsize=1)
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")
