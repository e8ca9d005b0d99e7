"""The findings as one page of HTML that needs nothing beside it: table, curves, slices, strips."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from .charts import Chart, chart_svg
from .findings import Findings, Row
from .gathering import Gathered, gathered
from .judging import Films, Progress
from .maps import map_strip
from .pictures import COLOURS, Tiles, figure, strip
from .reading import Reels
from .table import FAILED, PASSED

PAGE = Path(__file__).with_name("page.html")
# Moments of the film that all films are shown at: as many as show a film in passing.
MOMENTS = 5

# The curves: name, title, unit, how to read it, the figures whose gates are drawn, and whether it counts from zero.
CURVES = (
    (
        "jumps",
        "Jumps from frame to frame",
        "levels",
        "How far each frame is from the one before it, moved along the raw film's motion, more than the raw film "
        "itself. Low and even is steady. A peak at a keyframe is a pop.",
        (),
        True,
    ),
    (
        "fidelity",
        "Difference to the frame painted alone",
        "levels",
        "Both blurred, so that strokes may differ and areas may not. It rises where paint lies in the wrong place, "
        "and falls where a keyframe sets it right.",
        ("fidelity_worst",),
        True,
    ),
    (
        "following",
        "Agreement of painted with raw edges",
        "",
        "Over the last second; 1 is as well as frame by frame, if that film is given. It falls where the painting "
        "lags.",
        ("following_worst",),
        False,
    ),
    (
        "crispness",
        "Detail, as a share of that painted frame by frame",
        "",
        "Below 1 is soft, above 1 is torn. Around 1, without steps, is good.",
        ("crispness",),
        False,
    ),
    (
        "drift",
        "Drift of colour",
        "levels",
        "How far the mean colour is from that painted frame by frame, over the last second. Paint that is carried "
        "keeps the light that it was painted in.",
        ("drift_mean",),
        True,
    ),
)


def report(findings: Findings, films: Films, reels: Reels, row: int, maps: Sequence[Path], progress: Progress) -> str:
    """The page. row: of the slices. maps: folders of the first painted films' maps. Reads the films once more."""
    even = _even_moments(findings.frames)
    wanted = set(even) | {frame for film in findings.films for frame in _around(film.pop_frame, findings.frames)}
    wanted |= {film.worst_frame for film in findings.films if film.worst_frame is not None}
    pops = [film.pop_frame for film in findings.films if film.pop_frame is not None]
    around = pops[0] if pops else findings.frames // 2

    def told(done: int) -> None:
        progress("drawing", done, findings.frames)

    shown = gathered(reels, wanted, row, around, told)
    title = f"{Path(findings.raw).name}: {', '.join(film.label for film in findings.films)}"
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        facts=escape(_facts(findings)),
        notes="".join(f'<p class="faint">{escape(note)}</p>' for note in findings.notes),
        verdicts=_verdicts(findings),
        table=_table(findings),
        legend=_legend(findings),
        charts="".join(_chart(findings, *curve) for curve in CURVES),
        row=row,
        first=shown.first,
        slices=_slices(films, shown),
        strips=_strips(findings, films, shown, even),
        worst=_worst(findings, films, shown),
        maps=_maps(findings, films, shown, maps, even),
    )


def _even_moments(frames: int) -> list[int]:
    """The middles of equal parts of the film."""
    count = min(MOMENTS, frames)
    return [frames * (2 * number + 1) // (2 * count) for number in range(count)]


def _around(frame: int | None, frames: int) -> list[int]:
    """A frame, the one before and the one after."""
    return [] if frame is None else [each for each in (frame - 1, frame, frame + 1) if 0 <= each < frames]


def _facts(findings: Findings) -> str:
    width, height = findings.size
    cuts = f"; cuts at {', '.join(map(str, findings.cuts))}" if findings.cuts else "; no cuts"
    return f"{findings.frames} frames of {width}x{height}, {findings.rate:.3g} a second{cuts}. Frames count from 0."


def _verdicts(findings: Findings) -> str:
    lines = []
    for film in findings.films:
        name = escape(film.label)
        if film.failures:
            failures = escape("; ".join(film.failures))
            lines.append(f'<li><span class="bad">{FAILED} {name} fails:</span> {failures}</li>')
        else:
            lines.append(f'<li><span class="good">{PASSED} {name} passes all gates</span></li>')
    return f"<ul>{''.join(lines)}</ul>"


def _table(findings: Findings) -> str:
    heads = "".join(f"<th>{escape(film.label)}</th>" for film in findings.films)
    rows = "".join(_table_row(row) for row in findings.rows)
    return f"<table><tr><th></th><th>allowed</th>{heads}</tr>{rows}</table>"


def _table_row(row: Row) -> str:
    cells = "".join(
        f'<td class="bad">{FAILED} {escape(cell.said)}</td>' if cell.failed else f"<td>{escape(cell.said)}</td>"
        for cell in row.cells
    )
    return f'<tr><td>{escape(row.title)}</td><td class="allowed">{escape(row.allowed)}</td>{cells}</tr>'


def _legend(findings: Findings) -> str:
    keys = (
        f'<span><span class="key film{number % COLOURS}"></span>{escape(film.label)}</span>'
        for number, film in enumerate(findings.films)
    )
    return f'<div class="legend">{"".join(keys)}</div>'


def _chart(
    findings: Findings, name: str, title: str, unit: str, how: str, figures: Sequence[str], from_zero: bool
) -> str:
    bounds = [bound for row in findings.rows if row.figure in figures for bound in row.bounds]
    chart = Chart(
        title=title,
        unit=unit,
        curves=[film.curves[name] for film in findings.films],
        rate=findings.rate,
        frames=findings.frames,
        cuts=findings.cuts,
        marks=[film.keyframes for film in findings.films] if name == "jumps" else (),
        bounds=bounds,
        from_zero=from_zero,
    )
    heading = f"{escape(title)}{f', {unit}' if unit else ''}"
    return f'<h3>{heading}</h3><p class="how">{escape(how)}</p><div class="chart">{chart_svg(chart)}</div>'


def _slices(films: Films, shown: Gathered) -> str:
    return "".join(
        figure(shown.slices[place], films.takes[place].label, scale=True) for place in _raw_alone_films(films)
    )


def _strips(findings: Findings, films: Films, shown: Gathered, moments: Sequence[int]) -> str:
    return strip([_tiles(findings, films, shown, moment, _raw_alone_films(films)) for moment in moments])


def _tiles(findings: Findings, films: Films, shown: Gathered, frame: int, places: Sequence[int]) -> Tiles:
    """These films at one moment."""
    return Tiles(_at(frame, findings), [(shown.pictures[frame][place], films.takes[place].label) for place in places])


def _worst(findings: Findings, films: Films, shown: Gathered) -> str:
    parts = []
    for place, film in enumerate(findings.films, start=1):
        name = escape(film.label)
        if film.pop_frame is not None:
            frames = _around(film.pop_frame, findings.frames)
            rows = [
                Tiles(films.takes[of].label, [(shown.pictures[frame][of], _at(frame, findings)) for frame in frames])
                for of in (0, place)
            ]
            parts.append(f"<h3>{name} jumps most at frame {film.pop_frame}</h3>")
            parts.append(
                '<p class="how">The frame before, it, and the next: what changes that does not in the raw film?</p>'
            )
            parts.append(strip(rows))
        if film.worst_frame is not None:
            places = [0, 1 + len(films.painted), place]
            parts.append(f"<h3>{name} is least like the frame painted alone at frame {film.worst_frame}</h3>")
            parts.append(strip([_tiles(findings, films, shown, film.worst_frame, places)]))
    return "".join(parts) or '<p class="none">There is none to be told from the others.</p>'


def _raw_alone_films(films: Films) -> list[int]:
    """The places of the takes as they stand side by side: raw, the references, the painted films."""
    painted = list(range(1, 1 + len(films.painted)))
    return [0, *range(1 + len(painted), len(films.takes)), *painted]


def _at(frame: int, findings: Findings) -> str:
    return f"frame {frame}, {frame / findings.rate:.2f} s"


def _maps(findings: Findings, films: Films, shown: Gathered, folders: Sequence[Path], moments: Sequence[int]) -> str:
    parts = []
    for place, (take, folder) in enumerate(zip(films.painted, folders, strict=False), start=1):
        pairs = [(moment, shown.pictures[moment][0], shown.pictures[moment][place]) for moment in moments]
        parts.append(f"<h2>What {escape(take.label)} rests on</h2>")
        parts.append(map_strip(folder, pairs, lambda frame: _at(frame, findings)))
    return "".join(parts)
