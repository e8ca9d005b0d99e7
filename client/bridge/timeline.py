"""The clock of what a bridge sends: times are mended, and sound waits for its picture.

Pure: all times are given. Ticks are of 1/90000 s, MPEG-TS's own: exact for the usual frame rates.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

TICKS = 90_000  # a second

# Times that go back by no more than this are taken for jitter, ticks: the frame is moved behind the one before it. More
# is a clock that begins anew. A quarter of a second is more than any reordering, and less than a restart takes.
JITTER = TICKS // 4
# Times that are ahead of the clock on the wall by more than this are a jump, ticks. Less may be a sender that was
# stopped and went on, or stored frames that are sent at once.
AHEAD = 10 * TICKS

# How long sound waits for its picture, seconds: then it goes on alone, as when a camera is covered. More than a
# painting daemon holds up a frame of pacing `live`.
SOUND_WAIT_S = 2.0
# And at most so much of it, bytes: a minute of uncompressed stereo.
SOUND_BYTES = 16 * 2**20


@dataclass(slots=True)
class _Track:
    out: int  # the last time given
    at: int  # when that was, on the wall
    timed: bool  # it has times of its own


@dataclass(slots=True)
class Timeline:
    """Times for the packets of all tracks, as they come. The first ones stay as they are.

    When a sender begins anew, all its tracks are moved by the same step, so that sound and picture stay together.
    """

    mended: dict[str, int] = field(default_factory=dict)  # what had to be mended, in words, and how often
    _offsets: list[int] = field(default_factory=lambda: [0])  # the present one, and the one before
    _tracks: dict[int, _Track] = field(default_factory=dict)
    _newest: _Track | None = None

    def place(self, track: int, pts: int | None, at_s: float, step: int) -> int:
        """When a packet is to be shown, ticks: always later than the one before it on its track.

        pts: ticks, as the sender says; None: it does not say. at_s: when it came. step: how long one usually lasts.
        """
        at = round(at_s * TICKS)
        last = self._tracks.get(track)
        if pts is None:
            out, timed = self._guessed(last, at, step), last is not None and last.timed
        else:
            out, timed = pts + self._offset(last, pts, at, step), True
        if last is not None and out <= last.out:
            self._note("times that repeat or go back a little")
            out = last.out + 1
        self._tracks[track] = self._newest = _Track(out, at, timed)
        return out

    def _guessed(self, last: _Track | None, at: int, step: int) -> int:
        """For a packet without a time: the next step of a track that has times, else the clock on the wall."""
        if last is not None and last.timed:
            self._note("times that are missing")
            return last.out + step
        before = last or self._newest
        return 0 if before is None else before.out + at - before.at

    def _offset(self, last: _Track | None, pts: int, at: int, step: int) -> int:
        """What is added to the sender's times: what was, if that fits; what was before a jump, for those behind it."""
        before = last or self._newest
        if before is None:
            return self._offsets[0]
        back = JITTER if last is not None else AHEAD  # a track may begin behind the others
        due = before.out + max(0, at - before.at)
        for offset in self._offsets:
            if before.out - back <= pts + offset <= due + AHEAD:
                return offset
        self._note("times that jump")
        # Behind all tracks: else one that was ahead would go back, and jump by another step than this one.
        behind = max(track.out for track in self._tracks.values()) + step
        self._offsets = [max(due, behind) - pts, self._offsets[0]]
        return self._offsets[0]

    def _note(self, what: str) -> None:
        self.mended[what] = self.mended.get(what, 0) + 1


class Timed(Protocol):
    """What waits: when it is to be shown, ticks, when it came, seconds, and its bytes."""

    @property
    def pts(self) -> int: ...
    @property
    def at_s(self) -> float: ...
    @property
    def data(self) -> bytes: ...


T = TypeVar("T", bound=Timed)


class Delay(Generic[T]):
    """Sound and subtitles that wait until their picture is painted."""

    def __init__(self) -> None:
        self.dropped = 0  # as too much was waiting
        self._waiting: deque[T] = deque()
        self._bytes = 0

    def put(self, packet: T) -> None:
        """Keeps a packet; of too many, the oldest go."""
        self._waiting.append(packet)
        self._bytes += len(packet.data)
        while self._bytes > SOUND_BYTES:
            self._pop()
            self.dropped += 1

    def due(self, shown: int | None, now_s: float) -> list[T]:
        """What is to be sent: all up to the picture that was shown last, and what has waited for too long."""
        ready = []
        while self._waiting:
            first = self._waiting[0]
            in_time = shown is not None and first.pts <= shown
            if not in_time and now_s - first.at_s < SOUND_WAIT_S:
                break
            ready.append(self._pop())
        return ready

    def _pop(self) -> T:
        packet = self._waiting.popleft()
        self._bytes -= len(packet.data)
        return packet
