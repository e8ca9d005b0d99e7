"""What became of all frames since the daemon started, of one pacing: counts, and histograms of times.

Written by the driver's thread alone, beside the accounts of each stream. Any other may read at any time: numbers only
grow, and one that is a frame older than its neighbour does no harm.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..proto.messages import Pacing

# Bounds of histograms, seconds. A stage takes from half a millisecond (decoding raw) to a minute (painting with a
# diffusion model on a CPU); three to the decade tell one machine from another.
STAGE_BOUNDS_S = (5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# A delay is looked at beside the time from frame to frame, 17 to 67 ms, and `max_delay_ms`, 100 ms unless it is set.
DELAY_BOUNDS_S = (0.01, 0.02, 0.033, 0.05, 0.067, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

Count = Literal["received", "keyframes", "canvas_pixels", "hole_pixels", "painted_pixels", "opened"]


class Histogram:
    """How many values lay up to each bound, and their sum."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[float, int]]:
        """Each bound, the last being infinite, with the number of values up to it."""
        total, found = 0, []
        for bound, count in zip((*self._bounds, float("inf")), list(self._counts), strict=True):
            total += count
            found.append((bound, total))
        return found


@dataclass(slots=True)
class Tallies:
    """Of one pacing: `counts` of what is counted singly, and the frames by what became of them."""

    counts: Counter[Count] = field(default_factory=Counter)
    painted: Counter[str] = field(default_factory=Counter)  # by provenance
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)  # by stage and reason
    failed: Counter[str] = field(default_factory=Counter)  # by code
    stages: dict[str, Histogram] = field(default_factory=dict)  # seconds of painted frames, by stage
    steady_pairs: int = 0  # pairs of neighbouring frames whose steadiness was measured
    steady_raw: float = 0.0  # sum over those, squared levels: how much the raw film flickers
    steady_painted: float = 0.0  # and the painted one
    delay: Histogram = field(default_factory=lambda: Histogram(DELAY_BOUNDS_S))  # seconds, of painted frames

    def add_steadiness(self, raw: float, painted: float) -> None:
        """How far one frame is from the one before it, moved along the raw film's motion, squared levels."""
        self.steady_raw += raw
        self.steady_painted += painted
        self.steady_pairs += 1

    def add_times(self, stages_ms: Mapping[str, float], delay_ms: float) -> None:
        """The times of one more painted frame."""
        self.delay.add(delay_ms / 1e3)
        for name, ms in stages_ms.items():
            stage = self.stages.get(name)
            if stage is None:
                stage = self.stages[name] = Histogram(STAGE_BOUNDS_S)
            stage.add(ms / 1e3)


@dataclass(frozen=True, slots=True)
class Depths:
    """How much waits where, now."""

    sessions: Mapping[Pacing, int]
    disconnected: int  # sessions whose client is gone, and may come back
    commands: int  # for the driver
    frames: int  # taken, and not yet begun
    replies: int  # of the driver's, for the gateway
    unsent: int  # that clients do not take
