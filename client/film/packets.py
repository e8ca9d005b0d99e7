"""Sound and subtitles on their way from one film to another, packet by packet."""

import threading
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.stream

# Read and not yet written, at most. A film that stores all its sound behind its pictures, and more of it than this,
# loses sound, and a notice says so.
MAX_WAITING_BYTES = 256 * 2**20

if TYPE_CHECKING:
    Packet = av.Packet[av.stream.Stream]  # generic in the library's stubs alone
else:
    Packet = av.Packet


class WaitingPackets:
    """Packets that were read and wait to be written: filled by the thread that reads, emptied by the one that writes.

    In an extract, only the packets inside it are given, and their times are counted from its start.
    """

    def __init__(self, streams: list[av.stream.Stream]) -> None:
        self.streams = streams  # of the film that is read
        self.dropped = 0  # packets, as too much was waiting
        self._begin_s = Fraction(0)
        self._end_s: Fraction | None = None
        self._packets: deque[Packet] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def cut(self, begin_s: Fraction, end_s: Fraction | None) -> None:
        """Makes it those of an extract, which begins and ends there on the film's clock."""
        self._begin_s = begin_s
        self._end_s = end_s

    def clear(self) -> None:
        """Forgets what is waiting: the film was moved to another place."""
        with self._lock:
            self._packets.clear()
            self._bytes = 0

    def put(self, packet: Packet) -> None:
        """Keeps a packet, unless too much is waiting already."""
        with self._lock:
            if self._bytes + packet.size > MAX_WAITING_BYTES:
                self.dropped += 1
                return
            self._packets.append(packet)
            self._bytes += packet.size

    def take(self, until_s: Fraction | None) -> Iterator[Packet]:
        """The packets that are due up to that time of the output, or all that were read. Each is given once."""
        while (packet := self._next(until_s)) is not None:
            if self._inside(time_of(packet)):
                move(packet, -self._begin_s)
                yield packet

    def _next(self, until_s: Fraction | None) -> Packet | None:
        with self._lock:
            if not self._packets:
                return None
            time_s = time_of(self._packets[0])
            if until_s is not None and time_s is not None and time_s - self._begin_s > until_s:
                return None
            packet = self._packets.popleft()
            self._bytes -= packet.size
            return packet

    def _inside(self, time_s: Fraction | None) -> bool:
        if time_s is None:
            return True
        return (self._begin_s == 0 or time_s >= self._begin_s) and (self._end_s is None or time_s < self._end_s)


def time_of(packet: Packet) -> Fraction | None:
    """When a packet is due, seconds; None where it does not say."""
    ticks = packet.pts if packet.pts is not None else packet.dts
    return None if ticks is None else ticks * packet.time_base


def move(packet: Packet, by_s: Fraction) -> None:
    """Changes the times of a packet, to the nearest tick."""
    ticks = round(by_s / packet.time_base)
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks
