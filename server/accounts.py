"""The accounts of a stream: what became of its frames, and where the time went."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..proto.errors import Code
from ..proto.messages import Provenance, Totals
from .tallies import Tallies


@dataclass(slots=True)
class Stages:
    """Milliseconds spent in each stage."""

    ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time inside to this stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, (time.perf_counter() - began) * 1e3)

    def add(self, name: str, ms: float) -> None:
        """Adds to a stage."""
        self.ms[name] = self.ms.get(name, 0.0) + ms


@dataclass(slots=True)
class Accounts:
    """Counts of frames by what became of them, drops by stage, and sums of times.

    tallies: those of all streams together, which are kept here too.
    """

    tallies: Tallies = field(default_factory=Tallies)
    counts: Counter[str] = field(default_factory=Counter)
    dropped_at: Counter[str] = field(default_factory=Counter)
    stages: Stages = field(default_factory=Stages)
    delay_ms: float = 0.0  # of all painted frames together

    def received(self) -> None:
        """One more frame has come."""
        self.counts["received"] += 1
        self.tallies.counts["received"] += 1

    def painted(
        self, canvas: tuple[int, int], provenance: Provenance, holes: float, stages: Stages, delay_ms: float
    ) -> None:
        """One more painted frame. holes: the share of the canvas."""
        pixels = canvas[0] * canvas[1]
        self.counts["painted"] += 1
        self.counts["canvas_pixels"] += pixels
        self.delay_ms += delay_ms
        for name, ms in stages.ms.items():
            self.stages.add(name, ms)
        self.tallies.painted[provenance.value] += 1
        self.tallies.counts["canvas_pixels"] += pixels
        self.tallies.counts["hole_pixels"] += round(holes * pixels)
        self.tallies.add_times(stages.ms, delay_ms)

    def paint(self, *, keyframes: int, pixels: int) -> None:
        """So many keyframes, and so many pixels in all, came from the painter."""
        self.counts["keyframes"] += keyframes
        self.counts["painted_pixels"] += pixels
        self.tallies.counts["keyframes"] += keyframes
        self.tallies.counts["painted_pixels"] += pixels

    def dropped(self, stage: str, reason: Code) -> None:
        """One more dropped frame."""
        self.counts["dropped"] += 1
        self.dropped_at[stage] += 1
        self.tallies.dropped[stage, reason.value] += 1

    def failed(self, code: Code) -> None:
        """One more frame that failed."""
        self.counts["failed"] += 1
        self.tallies.failed[code.value] += 1

    @property
    def totals(self) -> Totals:
        """What became of the frames so far."""
        return Totals(**self.counts)

    def mean_ms(self) -> dict[str, float]:
        """The mean time of a painted frame in each stage."""
        frames = max(1, self.counts["painted"])
        return {name: ms / frames for name, ms in self.stages.ms.items()}

    @property
    def mean_delay_ms(self) -> float:
        """The mean delay of a painted frame."""
        return self.delay_ms / max(1, self.counts["painted"])
