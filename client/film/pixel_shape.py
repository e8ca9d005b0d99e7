"""Writes the shape of the pixels into the header of Matroska and WebM, which FFmpeg leaves out here.

FFmpeg's muxer takes it from a field of the stream that PyAV does not set. So the track is given a name that keeps room
for it, and where the header is written the room is taken. All else stays where it is, as the file's parts point to it.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from .media import Pipe

# The name that keeps the room: more than the elements below take, and nothing that is found elsewhere.
ROOM = "warpaint keeps this room for the shape of the pixels"

# FFmpeg writes in pieces of this size, bytes. A header with the styles of subtitles takes more than the usual one, and
# what is in a piece when a disk is full is lost.
BUFFER_BYTES = 1 << 20
USUAL_BUFFER_BYTES = 1 << 15

# Elements, RFC 9559.
TRACKS = bytes.fromhex("1654AE6B")
TRACK, NAME, PICTURE, CHECKSUM, VOID = (bytes.fromhex(each) for each in ("AE", "536E", "E0", "BF", "EC"))
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = (bytes.fromhex(each) for each in ("54B0", "54BA", "54B2"))
ASPECT_RATIO = 3  # the unit of a width and height that are no sizes
CHECKSUM_BYTES = 6  # of the whole element


@dataclass(frozen=True, slots=True)
class Shape:
    """Width to height of the whole picture as it is shown."""

    width: int
    height: int

    def into(self, data: bytes) -> bytes:
        """What is written instead of data, of the same length: with this shape if a header with ROOM is in it.

        Raises ValueError where such a header is in pieces.
        """
        at = data.find(ROOM.encode())
        if at < 0:
            return data
        start = data.rfind(TRACKS, 0, at)
        tracks = next(_elements(data[start:]), None) if start >= 0 else None
        if tracks is None:
            raise ValueError("the header is too long")
        parts = [self._track(each) if each.id == TRACK else each.whole for each in _elements(tracks.content)]
        content = b"".join(parts)
        if content.startswith(CHECKSUM):
            rest = content[CHECKSUM_BYTES:]
            content = CHECKSUM + b"\x84" + zlib.crc32(rest).to_bytes(4, "little") + rest
        end = start + len(tracks.whole)
        return data[: end - len(content)] + content + data[end:]

    def _track(self, track: "_Element") -> bytes:
        """A track, the same unless it is the one with the room."""
        parts = list(_elements(track.content))
        room = sum(len(each.whole) for each in parts if each.id == NAME and each.content == ROOM.encode())
        if not room:
            return track.whole
        kept = [each for each in parts if each.id != NAME]
        content = b"".join(self._picture(each, room) if each.id == PICTURE else each.whole for each in kept)
        return track.whole[: -len(track.content)] + content

    def _picture(self, picture: "_Element", more: int) -> bytes:
        """The element about the picture with the shape, and so many bytes longer."""
        shape = b"".join(
            _element(kind, number.to_bytes((number.bit_length() + 7) // 8))
            for kind, number in (
                (DISPLAY_WIDTH, self.width),
                (DISPLAY_HEIGHT, self.height),
                (DISPLAY_UNIT, ASPECT_RATIO),
            )
        )
        content = picture.content + shape
        left = len(picture.whole) + more - len(_element(PICTURE, content + _element(VOID, b"")))
        return _element(PICTURE, content + _element(VOID, bytes(left)))


class ShapedPipe(Pipe):
    """A pipe that FFmpeg writes to."""

    def __init__(self, file: BinaryIO, shape: Shape) -> None:
        super().__init__(file)
        self._shape = shape

    def write(self, data: bytes) -> int:
        """The length of data, all of it written and flushed; nothing more once it is interrupted."""
        return super().write(self._shape.into(bytes(data)))


class ShapedFile(ShapedPipe):
    """A file that FFmpeg writes to, and goes back in. It is written on after an interruption, to be finished."""

    def __init__(self, file: BinaryIO, shape: Shape) -> None:
        super().__init__(file, shape)
        self.seek, self.tell = file.seek, file.tell

    def write(self, data: bytes) -> int:
        """The length of data, all of it written."""
        rest = memoryview(self._shape.into(bytes(data)))
        while rest:
            try:
                rest = rest[self._file.write(rest) :]
            except KeyboardInterrupt:
                self.interrupted = True
        return len(data)


@dataclass(frozen=True, slots=True)
class _Element:
    """An element of EBML: what it is, all of its bytes, and those without its head."""

    id: bytes
    whole: bytes
    content: bytes


def _elements(data: bytes) -> Iterator[_Element]:
    """The elements that lie one after the other in data, up to one that is not whole."""
    at = 0
    while at < len(data):
        id_end = at + _length(data[at])
        if id_end >= len(data):
            return
        size_end = id_end + _length(data[id_end])
        size = int.from_bytes(data[id_end:size_end]) & ~(1 << 7 * (size_end - id_end))
        end = size_end + size
        if end > len(data):
            return
        yield _Element(data[at:id_end], data[at:end], data[size_end:end])
        at = end


def _length(first: int) -> int:
    """How many bytes an id or a size takes, by its first one."""
    return 9 - first.bit_length()


def _element(kind: bytes, content: bytes) -> bytes:
    """An element whose size, below 16383, takes two bytes."""
    return kind + (1 << 14 | len(content)).to_bytes(2) + content
