"""What a comparison finds, as it is shown: a table of figures with gates, and curves. Knows nothing of how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]  # [n], one value a frame, NaN where there is none


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of one film. said: in words, with its unit."""

    value: float | None
    said: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of all films, in their order. allowed: what it may be, in words; bounds: the same in numbers."""

    figure: str
    title: str
    allowed: str
    bounds: Sequence[float]
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class FilmFindings:
    """What was found of one film. failures: the gates that it fails, in words. curves: by name, see CURVES.

    keyframes: empty if they are not known. pop_frame, worst_frame: where it jumps most, where it is least like the
    frame painted alone.
    """

    label: str
    failures: Sequence[str]
    curves: Mapping[str, Series]
    keyframes: Sequence[int]
    pop_frame: int | None
    worst_frame: int | None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a comparison found. rate: frames a second. cuts: first frames of shots but the first. notes: sentences."""

    raw: str
    rate: float
    frames: int
    size: tuple[int, int]
    against_alone: bool
    cuts: Sequence[int]
    rows: Sequence[Row]
    films: Sequence[FilmFindings]
    notes: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether all films pass all gates."""
        return not any(film.failures for film in self.films)

    def as_json(self) -> dict[str, object]:
        """The same as a tree of JSON; what is not known is null, as is what is no number."""
        return {
            "raw": self.raw,
            "rate": self.rate,
            "frames": self.frames,
            "width": self.size[0],
            "height": self.size[1],
            "cuts": list(self.cuts),
            "notes": list(self.notes),
            "films": [self._film_as_json(place, film) for place, film in enumerate(self.films)],
        }

    def _film_as_json(self, place: int, film: FilmFindings) -> dict[str, object]:
        cells = {row.figure: row.cells[place] for row in self.rows}
        return {
            "film": film.label,
            "passes": not film.failures,
            "failures": list(film.failures),
            "figures": {figure: _number(cell.value) for figure, cell in cells.items()},
            "said": {figure: cell.said for figure, cell in cells.items()},
            "keyframes": list(film.keyframes),
            "pop_frame": film.pop_frame,
            "worst_frame": film.worst_frame,
            "curves": {name: [_number(each) for each in curve.tolist()] for name, curve in film.curves.items()},
        }


def _number(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
