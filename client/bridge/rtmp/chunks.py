"""RTMP's chunk streams: bytes to messages, and messages to bytes. Pure.

A message is cut into chunks, and those of several messages are mixed, each on a chunk stream of its own.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from .errors import Unintelligible

# The length of a chunk until somebody says another one, bytes.
FIRST_CHUNK = 128
# Chunk streams of one sender, at most. OBS has 3, ffmpeg 5, and each costs no more than what is in it.
MOST_STREAMS = 32

# A time of three bytes that says: the next four are it.
EXTENDED = 0xFFFFFF
WRAP = 2**32  # of times, which are milliseconds


class Kind(IntEnum):
    """What a message is."""

    CHUNK_SIZE = 1
    ABORT = 2
    ACKNOWLEDGEMENT = 3
    USER_CONTROL = 4
    WINDOW = 5
    PEER_BANDWIDTH = 6
    AUDIO = 8
    VIDEO = 9
    DATA_AMF3 = 15
    COMMAND_AMF3 = 17
    DATA = 18
    COMMAND = 20
    AGGREGATE = 22


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message. kind: one of Kind, or what is not known; at_ms: modulo WRAP."""

    kind: int
    at_ms: int
    stream: int
    data: bytes


@dataclass(slots=True)
class _Stream:
    """A chunk stream: the header that the next one may leave out, and the message that is not whole yet."""

    kind: int = 0
    stream: int = 0
    length: int = 0
    step: int = 0  # what the last header said: a time, or how much later than the message before
    at_ms: int = 0
    extended: bool = False
    data: bytearray = field(default_factory=bytearray)
    midway: bool = False


class ChunkReader:
    """Makes messages of bytes that come in any pieces, and keeps at most `limit` bytes of what is not whole."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # of all messages together that are not whole, bytes
        self.chunk = FIRST_CHUNK
        self._streams: dict[int, _Stream] = {}
        self._announced = 0  # bytes that the messages will have that are not whole
        self._head = bytearray()  # of a header that is not whole
        self._current: _Stream | None = None
        self._left = 0  # of the current chunk, bytes

    def receive(self, data: bytes) -> Iterator[Message]:
        """The messages that end in this. What a message says of the next ones must be done before the next is taken.

        Raises Unintelligible; nothing may be received after that.
        """
        view = memoryview(data)
        while view or self._ready:
            if self._current is None:
                view = self._take_header(view)
            current = self._current
            if current is None:
                return
            taken = view[: self._left]
            current.data += taken
            self._left -= len(taken)
            view = view[len(taken) :]
            if not self._left:
                message = self._end_chunk(current)
                if message is not None:
                    yield message

    def abort(self, number: int) -> None:
        """Forgets what is there of a message."""
        stream = self._streams.get(number)
        if stream is not None and stream.midway:
            self._forget(stream)

    @property
    def _ready(self) -> bool:
        """Whether something can be done without more bytes: a chunk of none ends."""
        return self._current is not None and not self._left

    def _forget(self, stream: _Stream) -> None:
        self._announced -= stream.length
        stream.data = bytearray()
        stream.midway = False

    def _end_chunk(self, stream: _Stream) -> Message | None:
        self._current = None
        if len(stream.data) < stream.length:
            return None
        message = Message(stream.kind, stream.at_ms, stream.stream, bytes(stream.data))
        self._forget(stream)
        return message

    # Headers

    def _take_header(self, view: memoryview) -> memoryview:
        """Takes what a header still lacks, and gives what comes behind it. Begins a chunk, if the header is whole."""
        while True:
            wanted = self._wanted()
            if wanted <= len(self._head):
                break
            if not view:
                return view
            taken = view[: wanted - len(self._head)]
            self._head += taken
            view = view[len(taken) :]
        spare = self._begin_chunk(bytes(self._head))
        self._head.clear()
        return memoryview(spare + bytes(view)) if spare else view

    def _wanted(self) -> int:
        """How many bytes of the header there must be to know more."""
        head = self._head
        if not head:
            return 1
        basic = _basic(head[0])
        length = basic + (11, 7, 3, 0)[head[0] >> 6]
        if len(head) < length:
            return length
        if head[0] >> 6 == 3:
            stream = self._streams.get(_number(head))
            return length + 4 * (stream is not None and stream.extended)
        return length + 4 * (int.from_bytes(head[basic : basic + 3]) == EXTENDED)

    def _begin_chunk(self, head: bytes) -> bytes:
        """Begins the chunk of a whole header. Gives what was taken for a part of it, and is not."""
        form, number, basic = head[0] >> 6, _number(head), _basic(head[0])
        stream = self._streams.get(number)
        if stream is None:
            if form > 1:  # librtmp begins one by 1: of what may be left out there is nothing to know but 0
                raise Unintelligible("sent no RTMP: a chunk goes on that was never begun")
            if len(self._streams) == MOST_STREAMS:
                raise Unintelligible(f"opened more than {MOST_STREAMS} chunk streams")
            stream = self._streams[number] = _Stream()
        spare = b""
        if form < 3:
            self._read_header(stream, form, head[basic:])
        elif stream.extended and int.from_bytes(head[basic:]) != stream.step:
            spare = head[basic:]  # librtmp of before 2024, and so OBS up to 30, does not repeat a long time
        if not stream.midway:
            self._begin_message(stream, absolute=form == 0)
        self._current = stream
        self._left = min(self.chunk, stream.length - len(stream.data))
        return spare

    def _read_header(self, stream: _Stream, form: int, header: bytes) -> None:
        if stream.midway:
            raise Unintelligible("sent no RTMP: a message begins where another one goes on")
        stream.step = int.from_bytes(header[:3])
        stream.extended = stream.step == EXTENDED
        if stream.extended:
            stream.step = int.from_bytes(header[-4:])
        if form < 2:
            stream.length, stream.kind = int.from_bytes(header[3:6]), header[6]
        if form < 1:
            stream.stream = int.from_bytes(header[7:11], "little")

    def _begin_message(self, stream: _Stream, *, absolute: bool) -> None:
        stream.at_ms = stream.step if absolute else (stream.at_ms + stream.step) % WRAP
        if self._announced + stream.length > self.limit:
            raise Unintelligible(f"announced a message of more than the {self.limit} bytes that are allowed")
        self._announced += stream.length
        stream.midway = True


def _basic(first: int) -> int:
    """The length of a basic header, bytes."""
    return {0: 2, 1: 3}.get(first & 63, 1)


def _number(head: bytes | bytearray) -> int:
    """The chunk stream of a header."""
    low = head[0] & 63
    if low > 1:
        return low
    return 64 + int.from_bytes(head[1 : 2 + low], "little")


def chunked(message: Message, number: int, chunk: int) -> bytes:
    """A message as chunks of a chunk stream, 2 to 63."""
    step = min(message.at_ms, EXTENDED)
    late = struct.pack(">I", message.at_ms) if step == EXTENDED else b""
    sizes = struct.pack(">3s3sB", step.to_bytes(3), len(message.data).to_bytes(3), message.kind)
    header = bytes([number]) + sizes + struct.pack("<I", message.stream) + late
    pieces = [message.data[at : at + chunk] for at in range(0, len(message.data), chunk)] or [b""]
    return header + (bytes([0xC0 | number]) + late).join(pieces)
