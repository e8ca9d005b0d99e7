"""A stream in the driver's hands: what it waits for, what is painted beside it, and how much time it has used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..proto.errors import RefusedError
from .asks import Encode, FlowAsk
from .engine_room import Painting
from .store import Stored
from .stream import Stream

# A stream that has used this much more time than another one that is ready lets that go first, seconds. About one
# frame: less would make frames late that could have been done at once, more would let the busier one rule.
AHEAD_S = 0.03


@dataclass(slots=True, eq=False)
class Lane:
    """A stream, the painter that it uses, and what it waits for."""

    key: str
    stream: Stream
    painter: str
    linger_s: float
    used_s: float = 0.0  # of the driver's time, by which streams are served
    busy_s: float = 0.0  # the same, from none on
    stored_at: float = -math.inf  # time.monotonic() when it was last written down; it may start with the machine
    stored_changes: int = 0  # of the stream's, those that are written down
    unheard: tuple[int, Stored] | None = None  # to be written once the client has heard so many messages
    painting: Painting | None = None  # that the stream waits for: pacing `every`
    beside: list[Painting] = field(default_factory=list)  # under way while frames go on: pacing `live`
    ask: FlowAsk | None = None
    answer: Any = None
    failure: RefusedError | None = None

    @property
    def paintings(self) -> list[Painting]:
        """All that is under way at the painter."""
        return [*self.beside, *([self.painting] if self.painting else [])]

    def charge(self, seconds: float) -> None:
        """Notes time that was spent on this stream."""
        self.used_s += seconds
        self.busy_s += seconds

    def group(self, ask: FlowAsk) -> tuple[object, ...]:
        """What asks must have in common to be answered in one call. Those of pacing `every` are answered alone."""
        alone = None if self.stream.live else self.key
        if isinstance(ask, Encode):
            return self.stream.flow, "encode", ask.pictures[0].shape, alone
        return self.stream.flow, "match", ask.request.target.key, alone


class Turns:
    """Says whose turn it is: streams that are ready share the driver's time evenly."""

    def __init__(self) -> None:
        self._ready: set[str] = set()
        self._least_s = 0.0  # that a stream had used when it was last ready

    def next(self, ready: Sequence[Lane]) -> list[Lane]:
        """Those of the ready lanes whose turn it is, the one that has used least first; at least one if any is ready.

        One that was not ready the time before is owed nothing for it: it joins those that have used least.
        """
        for lane in ready:
            if lane.key not in self._ready:
                lane.used_s = max(lane.used_s, self._least_s)
        self._ready = {lane.key for lane in ready}
        if not ready:
            return []
        ordered = sorted(ready, key=lambda lane: lane.used_s)
        self._least_s = ordered[0].used_s
        return [lane for lane in ordered if lane.used_s <= self._least_s + AHEAD_S]


def weight(ask: FlowAsk) -> int:
    """How much of a call's time an ask is charged with, beside others."""
    return len(ask.pictures) if isinstance(ask, Encode) else len(ask.request.sources)
