"""What is found of a film: its figures, its curves, and the gates that it fails."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .figures import Figures
from .gates import GATES, Gate
from .windows import Series


@dataclass(frozen=True, slots=True)
class Cost:
    """What a film took to paint. keyframes: numbers of the frames that one was painted for, from 0 on.

    painted_share: area that was painted, as a share of painting each frame in full.
    """

    keyframes: Sequence[int]
    painted_share: float


@dataclass(frozen=True, slots=True)
class Curves:
    """One value a frame, NaN where there is none.

    jumps: levels, as pops.py says. fidelity: levels. following and crispness: shares of alone's, or following as it
    is. drift: levels, the largest of the channels' means over the last second, without its sign.
    """

    jumps: Series
    fidelity: Series
    following: Series
    crispness: Series
    drift: Series


@dataclass(frozen=True, slots=True)
class Verdict:
    """A film, judged. Frames are numbered from 0.

    pop_frame: the frame with the jump that `pop` is of. worst_frame: of the least fidelity. cuts: first frames of
    shots but the first. keyframes: empty if they are not known.
    """

    name: str
    frames: int
    against_alone: bool
    figures: Figures
    curves: Curves
    pop_frame: int | None
    worst_frame: int | None
    cuts: tuple[int, ...]
    keyframes: tuple[int, ...]

    @property
    def failures(self) -> list[str]:
        """The gates that it fails, in words, each with the figure and the bound."""
        return [
            f"{gate.title} {gate.said(value)}, {gate.bound_of(self.figures)}" + self._where(gate)
            for gate, value in self.failed()
        ]

    def failed(self) -> Iterator[tuple[Gate, float]]:
        """The gates that it fails, each with the figure."""
        for gate in GATES:
            value = getattr(self.figures, gate.figure)
            counts = value is not None and (self.against_alone or not gate.wants_alone)
            if counts and not gate.passes(value, self.figures):
                yield gate, value

    def _where(self, gate: Gate) -> str:
        frame = {"pop": self.pop_frame, "fidelity_worst": self.worst_frame}.get(gate.figure)
        return "" if frame is None else f", at frame {frame}"
