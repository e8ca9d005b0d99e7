"""Has the judge look at the films, and makes findings of its verdicts.

The judge is loaded when it is asked for, so its Gate and Verdict are Any here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..run_log import RunLog, read_log
from .findings import Cell, FilmFindings, Findings, Row
from .reading import LENGTHS_MAY_DIFFER_BY, Picture, Reels, Take

Progress = Callable[[str, int, int | None], None]  # what is done, frames so far, of how many


@dataclass(frozen=True, slots=True)
class Films:
    """What is to be compared. logs: one for each of the first painted films."""

    raw: Take
    painted: Sequence[Take]
    alone: Take | None = None
    fixed: Take | None = None
    logs: Sequence[Path] = ()

    @property
    def takes(self) -> list[Take]:
        """All of them, in the order in which they are read."""
        return [self.raw, *self.painted, *(each for each in (self.alone, self.fixed) if each is not None)]


class Bustle:
    """How much changes in each row of the raw film: [H], levels, mean over the film."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] | None = None
        self._sum: NDArray[np.float64] | None = None

    def add(self, picture: Picture) -> None:
        """Takes the next frame."""
        gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        if self._before is not None:
            change = cv2.absdiff(gray, self._before).mean(axis=1, dtype=np.float64)
            self._sum = change if self._sum is None else self._sum + change
        self._before = gray

    def row(self) -> int:
        """The row in which most changes; the middle one, if nothing does."""
        if self._sum is None or not self._sum.any():
            return 0 if self._before is None else len(self._before) // 2
        return int(self._sum.argmax())


def judged(films: Films, reels: Reels, progress: Progress) -> tuple[Findings, int]:
    """The findings, and the row of the film in which most changes. Raises MediaError."""
    from ...engines.measures import GATES, Cost, Judge

    logs = [read_log(path) for path in films.logs]
    labels = [take.label for take in films.painted]
    judge = Judge(labels, float(reels.rate), alone=films.alone is not None, fixed=films.fixed is not None)
    bustle = Bustle()
    for number, pictures in enumerate(reels):
        raw, *others = pictures
        paintings = dict(zip(labels, others, strict=False))
        rest = iter(others[len(labels) :])
        alone, fixed = (None if take is None else next(rest) for take in (films.alone, films.fixed))
        judge.add(raw, paintings, alone=alone, fixed=fixed)
        bustle.add(raw)
        progress("judging", number + 1, reels.expected)
    frames = reels.frames or 0
    costs = {label: _cost(Cost, log, frames, reels) for label, log in zip(labels, logs, strict=False)}
    verdicts = [judge.verdicts(costs)[label] for label in labels]
    rows = [_row(gate, verdicts) for gate in GATES]
    findings = Findings(
        raw=str(films.raw.path),
        rate=float(reels.rate),
        frames=frames,
        size=reels.size,
        against_alone=films.alone is not None,
        cuts=verdicts[0].cuts,
        rows=[row for row in rows if any(cell.value is not None for cell in row.cells)],
        films=[_film(verdict) for verdict in verdicts],
        notes=[*reels.notes, *_notes(films)],
    )
    return findings, bustle.row()


def _cost(make: Any, log: RunLog, frames: int, reels: Reels) -> Any:
    """What the film of this log took, up to so many frames. Raises MediaError if the log is of another film."""
    if len(log.lines) < frames or (reels.whole and len(log.lines) > frames + LENGTHS_MAY_DIFFER_BY):
        raise MediaError(f"{log.path} has {len(log.lines)} frames, and the films have {frames}: it is of another film")
    keyframes = tuple(number for number in log.keyframes if number < frames)
    return make(keyframes=keyframes, painted_share=log.painted_share(frames))


def _row(gate: Any, verdicts: Sequence[Any]) -> Row:
    failed = [{each.figure for each, _ in verdict.failed()} for verdict in verdicts]
    values = [getattr(verdict.figures, gate.figure) for verdict in verdicts]
    cells = [Cell(value, gate.said(value), gate.figure in those) for value, those in zip(values, failed, strict=True)]
    counts = verdicts[0].against_alone or not gate.wants_alone
    if not counts:
        return Row(gate.figure, gate.title, "", (), cells)
    figures = verdicts[0].figures
    bounds = [bound for bound in gate.bounds(figures) if bound is not None]
    return Row(gate.figure, gate.title, gate.allowed(figures), bounds, cells)


def _film(verdict: Any) -> FilmFindings:
    curves = verdict.curves
    return FilmFindings(
        label=verdict.name,
        failures=verdict.failures,
        curves={
            "jumps": curves.jumps,
            "fidelity": curves.fidelity,
            "following": curves.following,
            "crispness": curves.crispness,
            "drift": curves.drift,
        },
        keyframes=verdict.keyframes,
        pop_frame=verdict.pop_frame,
        worst_frame=verdict.worst_frame,
    )


def _notes(films: Films) -> list[str]:
    """What the figures lack, in sentences."""
    notes = []
    if films.alone is None:
        notes.append(
            "Without --alone, the film painted frame by frame with a new seed each, there is nothing to be steadier or "
            "crisper than: those figures are left out."
        )
    if not films.logs:
        notes.append("Without --log it is not known where keyframes are: a pop is the largest of all jumps.")
    return notes
