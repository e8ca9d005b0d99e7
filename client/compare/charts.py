"""Curves over time as SVG, all films in one chart. Colours are the page's: classes film0, film1 and so on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from .findings import Series
from .pictures import COLOURS

# The drawing's own units; the page scales it.
WIDTH, HEIGHT = 960.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 10.0, 26.0
# More points than this a curve cannot be told apart; of more, the least and the largest of each stretch are drawn.
POINTS = 1000
TICKS = 5


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn. curves: one a film. marks: frames of keyframes, one list a film. unit: of the values.

    bounds: what the gates allow, drawn as lines. frames: the length of the films.
    """

    title: str
    unit: str
    curves: Sequence[Series]
    rate: float
    frames: int
    cuts: Sequence[int] = ()
    marks: Sequence[Sequence[int]] = ()
    bounds: Sequence[float] = ()
    from_zero: bool = True


def chart_svg(chart: Chart) -> str:
    """The chart as an SVG element; without any value, a sentence that says so."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in chart.curves]) if chart.curves else np.empty(0)
    if not values.size:
        return '<p class="none">There is nothing to draw.</p>'
    low, high = _range(values, chart)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    plot = _Plot(low, high, chart.frames)
    parts = [*_grid(chart, plot, ticks)]
    for number, curve in enumerate(chart.curves):
        parts += [f'<polyline class="film{number % COLOURS}" points="{points}"/>' for points in _lines(curve, plot)]
    for number, frames in enumerate(chart.marks):
        y = HEIGHT - BOTTOM - 4 - 5 * number
        parts += [
            f'<circle class="film{number % COLOURS}" cx="{plot.x(frame):.1f}" cy="{y:.1f}" r="2.2"/>'
            for frame in frames
        ]
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(chart.title)}">'
        + "".join(parts)
        + "</svg>"
    )


@dataclass(frozen=True, slots=True)
class _Plot:
    """Where values lie in the drawing."""

    low: float
    high: float
    frames: int

    def x(self, frame: float) -> float:
        return LEFT + frame / max(1, self.frames - 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _range(values: Series, chart: Chart) -> tuple[float, float]:
    """The values that are shown: all of them and the bounds, and 0 where differences count from there."""
    low, high = float(values.min()), float(values.max())
    low, high = min([low, *chart.bounds]), max([high, *chart.bounds])
    if chart.from_zero:
        low = min(0.0, low)
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers that cover the range: steps of 1, 2 or 5."""
    rough = (high - low) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * times for times in (1, 2, 5, 10) if unit * times >= rough * 0.999)
    begin, end = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return [number * step for number in range(begin, end + 1)]


def _grid(chart: Chart, plot: _Plot, ticks: Sequence[float]) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for tick in ticks:
        y = plot.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8:g}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    length_s = max(1, chart.frames - 1) / chart.rate
    for tick in _ticks(0.0, length_s):
        if tick <= length_s * 1.0001:
            x = plot.x(tick * chart.rate)
            parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18:g}" text-anchor="middle">{tick:.4g} s</text>')
    for cut in chart.cuts:
        x = plot.x(cut)
        parts.append(f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP:g}" y2="{bottom:g}"/>')
    for bound in chart.bounds:
        y = plot.y(bound)
        parts.append(f'<line class="bound" x1="{LEFT:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
    return parts


def _lines(curve: Series, plot: _Plot) -> list[str]:
    """The points of each stretch of the curve that is without a gap."""
    lines, points = [], []
    for frame in _thinned(curve):
        value = float(curve[frame])
        if math.isfinite(value):
            points.append(f"{plot.x(frame):.1f},{plot.y(value):.1f}")
        elif points:
            lines.append(" ".join(points))
            points = []
    return [*lines, " ".join(points)] if points else lines


def _thinned(curve: Series) -> list[int]:
    """The numbers of the frames to draw: all, or of each stretch its least and its largest."""
    if len(curve) <= POINTS:
        return list(range(len(curve)))
    kept: set[int] = set()
    for stretch in np.array_split(np.arange(len(curve)), POINTS // 2):
        values = curve[stretch]
        if np.isnan(values).all():
            kept.add(int(stretch[0]))
        else:
            kept |= {int(stretch[np.nanargmin(values)]), int(stretch[np.nanargmax(values)])}
    return sorted(kept)
