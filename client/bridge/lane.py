"""The way to one reader of a bridge: a bounded queue and a thread, so that a slow reader holds up itself alone."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import av

from ..film.media import reason
from .muxer import Muxer
from .parts import Coded
from .patience import LONGEST_PAUSE_S, pause_s

# What waits for a reader, at most: packets, which is some two seconds of picture and sound, and bytes, which is a
# second of raw 1280x720.
WAITING_PACKETS, WAITING_BYTES = 160, 48 * 2**20
# How long a lane may take for what waits when the bridge ends, seconds.
LAST_WORDS_S = 2.0

# Where a lane says what is amiss, in a sentence.
Say = Callable[[str], None]


class Wire(Protocol):
    """Where the bytes of a lane go. All of it raises OSError when nobody takes them any more."""

    name: str
    comes_back: bool  # after an OSError it may be opened again
    calls: bool  # we go to whoever reads, who is not expected to leave

    def open(self) -> None:
        """Waits until somebody reads, where that can be known."""

    def write(self, data: bytes) -> int:
        """The length of data."""

    def flush(self) -> None:
        """A packet is whole."""

    def interrupt(self) -> None:
        """Makes a `write` that waits in the lane's thread raise, if that can be done; called by another thread."""

    def close(self) -> None:
        """Ends it."""


class Lane:
    """Takes coded packets and writes them to a wire. It begins at a keyframe, and goes on at one after a gap."""

    def __init__(self, wire: Wire, *, wants_key: Callable[[], None], say: Say) -> None:
        """wants_key: called when a keyframe would let a reader see something."""
        self.over = False  # nobody reads any more
        self.dropped = 0  # packets, as the reader was too slow
        self.sent = 0
        self.broken: str | None = None  # why it is over
        self.name = wire.name
        self._wire = wire
        self._wants_key = wants_key
        self._say = say
        self._waiting: deque[Coded] = deque()
        self._bytes = 0
        self._gap = True  # packets are left out until a keyframe comes
        self._open = False  # somebody reads
        self._failures = 0  # in a row
        self._said: str | None = None  # of the last of them
        self._closing = False
        self._changed = threading.Condition()
        self._muxer: Muxer | None = None
        self._thread = threading.Thread(target=self._run, name="bridge-lane", daemon=True)
        self._thread.start()

    def put(self, coded: Coded) -> None:
        """Takes a packet, or drops it: what waits for a slow reader is old, and goes too."""
        with self._changed:
            if not self._open or self._closing or (self._gap and not (coded.key and coded.track == 0)):
                return
            self._gap = False
            self._waiting.append(coded)
            self._bytes += len(coded.data)
            full = len(self._waiting) > WAITING_PACKETS or self._bytes > WAITING_BYTES
            if full:
                self._drop()
            self._changed.notify()
        if full:
            self._wants_key()

    def close(self, within_s: float) -> None:
        """Writes what waits, if that does not take longer, and ends."""
        with self._changed:
            self._closing = True
            reads = self._open
            self._changed.notify()
        if not reads:
            self._wire.interrupt()
        self._thread.join(within_s)
        if self._thread.is_alive():
            self._wire.interrupt()

    def _drop(self) -> None:
        if not self.dropped:
            self._say(f"{self.name} is read too slowly: some of it is dropped")
        self.dropped += len(self._waiting)
        self._waiting.clear()
        self._bytes, self._gap = 0, True

    def _take(self) -> Coded | None:
        """The next packet; None when it ends."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if not self._waiting:
                return None
            coded = self._waiting.popleft()
            self._bytes -= len(coded.data)
            return coded

    def _run(self) -> None:
        while not self._closing:
            began_s, before = time.monotonic(), self.sent
            try:
                self._wire.open()
                self._begin()
                self._follow()
                break
            except (OSError, ValueError, av.FFmpegError) as error:
                self.broken = reason(error)
                self._lose()
                if not self._wire.comes_back:
                    break
                lasted = time.monotonic() - began_s > LONGEST_PAUSE_S
                self._pause(fine=lasted if self._wire.calls else self.sent > before)
        self._open, self.over = False, True
        with contextlib.suppress(OSError):
            self._wire.close()

    def _begin(self) -> None:
        """Somebody reads from here on: from the next keyframe."""
        with self._changed:
            self._waiting.clear()
            self._bytes, self._gap, self._open = 0, True, True
        self._wants_key()

    def _lose(self) -> None:
        """Nobody reads any more."""
        with self._changed:
            self._open = False
        self._end(complete=False)

    def _pause(self, *, fine: bool) -> None:
        """Waits before it tries again, longer after each failure; why is said once. fine: it was read until now."""
        if fine:
            self._failures, self._said = 0, None
        self._failures += 1
        with self._changed:
            if (self._wire.calls or not fine) and self.broken != self._said and not self._closing:
                self._said = self.broken
                self._say(f"{self.name}: {self.broken}; trying again")
            self._changed.wait_for(lambda: self._closing, pause_s(self._failures))

    def _follow(self) -> None:
        while (coded := self._take()) is not None:
            if self._muxer is None or not coded.layout.continues(self._muxer.layout):
                self._change(coded)
            if self._muxer is not None:
                self._muxer.write(coded)
            self._wire.flush()
            self.sent += 1
        self._end(complete=True)
        self._wire.flush()

    def _change(self, coded: Coded) -> None:
        """A new header. The end of the old container is not written: it would be one in the middle of a stream."""
        begun = self._muxer is not None
        self._end(complete=False)
        if begun and coded.layout.form == "flv" and self._wire.comes_back:
            self._wire.open()  # anew, as servers and players take one header alone
        self._muxer = Muxer(coded.layout, self._wire)

    def _end(self, *, complete: bool) -> None:
        if self._muxer is not None:
            self._muxer.close(complete=complete)
            self._muxer = None
