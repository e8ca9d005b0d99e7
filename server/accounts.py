"""The accounts of a stream: what became of its frames, and where the time went."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..proto.messages import Totals


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
    """Counts of frames by what became of them, drops by stage, and sums of times."""

    counts: Counter[str] = field(default_factory=Counter)
    dropped_at: Counter[str] = field(default_factory=Counter)
    stages: Stages = field(default_factory=Stages)
    delay_ms: float = 0.0  # of all painted frames together

    def painted(self, canvas: tuple[int, int], stages: Stages, delay_ms: float) -> None:
        """One more painted frame."""
        self.counts["painted"] += 1
        self.counts["canvas_pixels"] += canvas[0] * canvas[1]
        self.delay_ms += delay_ms
        for name, ms in stages.ms.items():
            self.stages.add(name, ms)

    def dropped(self, stage: str) -> None:
        """One more dropped frame."""
        self.counts["dropped"] += 1
        self.dropped_at[stage] += 1

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
