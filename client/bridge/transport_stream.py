"""The pictures of an MPEG transport stream, each as soon as its last byte is there. Bytes in, units out.

FFmpeg's demuxer gives a picture when the next one begins: its parser cannot know before that no more of it comes. A
multiplexer says so, though: by the length of the PES packet, or, where that is left open, as it is for most video, by
stuffing. A transport packet has 188 bytes, so that the last one of a PES packet is filled up, and no other is. Should a
stream be filled up elsewhere too, that is noticed, and each of its pictures waits for the next one from then on.

The numbers are those of ISO/IEC 13818-1, 2.4.3.
"""

from dataclasses import dataclass, field

PACKET = 188
SYNC = 0x47
# So many packets in a row must begin as they should before it is believed where they begin.
IN_STEP = 3
# Of a PES packet that never ends, bytes: the largest picture that a level of H.264 allows is half of it.
LARGEST_UNIT = 32 * 2**20
_VIDEO = range(0xE0, 0xF0)  # stream ids
_PES_START = b"\0\0\1"
_OPTIONAL = 3  # bytes of the optional header's flags and length, after the six of every PES packet
_HAS_PTS = 0x80


@dataclass(frozen=True, slots=True)
class Unit:
    """What one PES packet holds: a picture, or several. pts: ticks of 90 kHz, modulo 2**33; None: it has none."""

    data: bytes
    pts: int | None


@dataclass(slots=True)
class _Open:
    """A PES packet that has begun. left: bytes to come; None: it does not say. early: it was given already."""

    pts: int | None
    left: int | None
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    early: bool = False


class TransportStream:
    """The PES packets of one elementary stream of video. pid: its packets' identifier."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._rest = b""
        self._counter: int | None = None
        self._open: _Open | None = None
        self._stuffing_ends = True

    def feed(self, data: bytes) -> list[Unit]:
        """Takes bytes, any number of them. The units that are whole now."""
        data = self._rest + data
        units: list[Unit] = []
        at = 0
        while len(data) - at >= PACKET:
            if data[at] != SYNC:
                at = _in_step(data, at + 1)
                continue
            units += self._packet(data[at : at + PACKET])
            at += PACKET
        self._rest = data[at:]
        return units

    def end(self) -> list[Unit]:
        """What is left at the end of the stream."""
        self._rest = b""
        return self._closed()

    def _packet(self, packet: bytes) -> list[Unit]:
        if (packet[1] & 0x1F) << 8 | packet[2] != self._pid or packet[1] & 0x80:  # of another stream, or damaged
            return []
        control, counter = packet[3] >> 4 & 3, packet[3] & 0x0F
        if not control & 1 or self._counter == counter:  # without a payload, or sent twice
            return []
        self._counter = counter
        start, stuffed = 4, False
        if control & 2:
            start, stuffed = 5 + packet[4], _is_stuffed(packet)
            if start >= PACKET:
                return []
        return self._payload(packet[start:], begins=bool(packet[1] & 0x40), stuffed=stuffed)

    def _payload(self, payload: bytes, *, begins: bool, stuffed: bool) -> list[Unit]:
        units = []
        if begins:
            units += self._closed()
            self._open = _begun(payload)
        elif self._open is not None:
            if self._open.early:  # it was not its end: what was given was a part
                self._stuffing_ends = self._open.early = False
            _add(self._open, payload)
        current = self._open
        if current is None:
            return units
        if current.size > LARGEST_UNIT:
            self._open = None
        elif current.left == 0 or (current.left is None and stuffed and self._stuffing_ends):
            units += self._given()
        return units

    def _given(self) -> list[Unit]:
        """What has come of the unit that is open, which goes on if it turns out not to be whole."""
        current = self._open
        if current is None or not current.pieces:
            return []
        unit = Unit(b"".join(current.pieces), current.pts)
        if current.left == 0:
            self._open = None
        else:
            current.pieces, current.pts, current.early = [], None, True
        return [unit]

    def _closed(self) -> list[Unit]:
        """The unit that is open, as another one begins."""
        current, self._open = self._open, None
        return [Unit(b"".join(current.pieces), current.pts)] if current is not None and current.pieces else []


def _begun(payload: bytes) -> _Open | None:
    """The PES packet that a payload begins; None for one that is not of video, or that is not whole in its header."""
    if len(payload) < 6 + _OPTIONAL or payload[:3] != _PES_START or payload[3] not in _VIDEO:
        return None
    length = int.from_bytes(payload[4:6], "big")
    header = 6 + _OPTIONAL + payload[8]
    has_pts = payload[7] & _HAS_PTS and payload[8] >= 5 and len(payload) >= 14
    begun = _Open(_time(payload[9:14]) if has_pts else None, length - (header - 6) if length else None)
    _add(begun, payload[header:])
    return begun


def _add(current: _Open, payload: bytes) -> None:
    if current.left is not None:
        payload = payload[: current.left]
        current.left -= len(payload)
    current.pieces.append(payload)
    current.size += len(payload)


def _is_stuffed(packet: bytes) -> bool:
    """Whether an adaptation field is longer than what it says needs."""
    length = packet[4]
    if length == 0:
        return True  # one byte of stuffing is the length itself
    flags, needed = packet[5], 1
    needed += 6 * bool(flags & 0x10) + 6 * bool(flags & 0x08) + bool(flags & 0x04)
    for flag in (0x02, 0x01):  # private data and an extension say their own length
        if flags & flag:
            if 5 + needed >= PACKET:
                return False
            needed += 1 + packet[5 + needed]
    return length > needed


def _time(five: bytes) -> int:
    """33 bits in five bytes, with a mark after the 3rd, the 18th and the last."""
    middle, low = (int.from_bytes(five[at : at + 2], "big") >> 1 for at in (1, 3))
    return (five[0] >> 1 & 7) << 30 | middle << 15 | low


def _in_step(data: bytes, at: int) -> int:
    """Where packets begin, from `at` on: where so many do as are there, at most IN_STEP. The end, if nowhere."""
    while 0 <= (at := data.find(SYNC, at)) <= len(data) - PACKET:
        if all(data[each] == SYNC for each in range(at, min(len(data), at + IN_STEP * PACKET), PACKET)):
            return at
        at += 1
    return len(data) if at < 0 else at
