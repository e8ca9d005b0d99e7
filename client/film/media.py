"""What reading and writing films share: pixel layouts, colour tags, and what a film is.

Stored samples are handed on as they are: a Y'CbCr film stays planes of Y'CbCr with its tags, and only what the wire
has no layout for (more than 8 bits, other chroma, palettes) is converted, here and nowhere else.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from ...proto.messages import Colour, Matrix, Pixels, Source
from ..errors import MediaError
from .packets import WaitingPackets

Buffer = NDArray[np.uint8]  # 1-D, one tight picture in the layout of Source.pixels
FileLike = str | Path | BinaryIO

# Film without a rate of its own, such as a folder of stills: the rate that FFmpeg gives such folders.
DEFAULT_RATE = Fraction(25)

# FFmpeg's numbers for the matrix of a stream. 5 and 6 (PAL, NTSC) are the same matrix; 10 is rare and near to 9.
MATRICES: dict[int, Matrix] = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
UNSPECIFIED = 2  # of matrix, primaries and transfer

# Stored layouts whose first planes are the wire's: full range has names of its own, and alpha comes last.
_AS_ON_WIRE: dict[str, tuple[str, ...]] = {
    "yuv420p": ("yuv420p", "yuvj420p", "yuva420p"),
    "gray": ("gray",),
    "bgr24": ("bgr24",),
}

# Seconds that are asked for are rounded: 5.48 as a float lies behind 137/25, and who reads that a frame of 30000/1001 a
# second is shown at 0.0333666... asks for 0.033367. So much they may lie behind the frame they mean.
ROUNDING_S = Fraction(1, 2_000_000)

NEUTRAL_CHROMA = 128  # a Y'CbCr picture without colour


@dataclass(frozen=True, slots=True)
class ColourTags:
    """How a stream's samples mean colours, in the numbers of FFmpeg (ISO/IEC 23091-2)."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range: int = int(ColorRange.UNSPECIFIED)

    @property
    def full_range(self) -> bool:
        """Samples use 0 to 255, not 16 to 235."""
        return self.range == ColorRange.JPEG

    @property
    def high_dynamic_range(self) -> bool:
        """The transfer is PQ or HLG, or the colours are those of BT.2020."""
        return self.transfer in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67) or (
            self.primaries == ColorPrimaries.BT2020 or MATRICES.get(self.matrix) == "bt2020"
        )

    def on_wire(self) -> Colour:
        """The Colour that says the same to the daemon. A matrix that the wire has no name for becomes None."""
        return Colour(matrix=MATRICES.get(self.matrix), full_range=self.full_range)


@dataclass(frozen=True, slots=True)
class FilmFrame:
    """One picture of a film. pts and duration are in ticks of Source.time_base; duration is None where unknown."""

    pts: int
    duration: int | None
    buffer: Buffer


class Film(Protocol):
    """A film that can be read: a file, a pipe or a folder of pictures."""

    name: str  # for messages
    path: Path | None  # None: a file object
    source: Source
    tags: ColourTags
    display_matrix: tuple[int, ...] | None  # as stored: rotation, flips
    metadata: dict[str, str]
    notices: list[str]  # what becomes of the picture, in sentences; grows while reading
    average_rate: Fraction | None  # frames a second
    frame_count_estimate: int | None
    duration_s: float | None
    copied: WaitingPackets  # its sound and subtitles

    def __iter__(self) -> Iterator[FilmFrame]: ...
    def times(self) -> Iterator[Fraction]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def stem(self, pts: int) -> str | None:
        """The name, without extension, of the picture shown at pts, where pictures have names."""


def name_of(file: FileLike) -> str:
    """What to call a file in a message."""
    return str(file) if isinstance(file, str | Path) else str(getattr(file, "name", "the stream"))


def reason(error: Exception) -> str:
    """Why FFmpeg or the system could not, in the words of a sentence's end."""
    return str(getattr(error, "strerror", None) or error)


def make_folder(folder: Path) -> None:
    """Makes a folder, with those above it, unless it is there. Raises MediaError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"{folder} cannot be made: {reason(error)}") from None


def moment(given_s: float) -> Fraction:
    """From when on a frame is no longer before so many seconds: as much earlier as these may be rounded up."""
    return max(Fraction(0), Fraction(given_s) - ROUNDING_S)


def seekable(file: FileLike) -> bool:
    """Whether one can go back in it: a regular file, or a file object that says so."""
    if isinstance(file, str | Path):
        return Path(file).is_file()
    return file.seekable()


class Pipe:
    """A file object without `seek`, for FFmpeg: reads give what is there, writes take everything."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._read_some = file.read1 if isinstance(file, io.BufferedReader) else file.read
        self.interrupted = False  # by Ctrl-C; what is raised here FFmpeg would swallow

    def read(self, size: int) -> bytes:
        """At least one byte as soon as there is one; none at the end."""
        try:
            return b"" if self.interrupted else self._read_some(size)
        except KeyboardInterrupt:
            self.interrupted = True
            return b""

    def write(self, data: bytes) -> int:
        """The length of data, all of it written and flushed; nothing more once it is interrupted."""
        rest = memoryview(data)
        try:
            while rest and not self.interrupted:
                rest = rest[self._file.write(rest) :]
            self._file.flush()
        except KeyboardInterrupt:
            self.interrupted = True
        return len(data)


@contextmanager
def uninterrupted(file: "str | Pipe | BinaryIO") -> Iterator[None]:
    """Raises at its end the KeyboardInterrupt that came while FFmpeg read or wrote a Pipe within it."""
    try:
        yield
    finally:
        if isinstance(file, Pipe) and file.interrupted:
            raise KeyboardInterrupt


def for_ffmpeg(file: FileLike) -> str | Pipe | BinaryIO:
    """What av.open is to be given. The prefix keeps a colon in a file's name from being read as a protocol."""
    if isinstance(file, str | Path):
        return f"file:{file}"
    return file if file.seekable() else Pipe(file)


def pixels_of(stored: VideoFormat) -> Pixels:
    """The wire's layout for a stored one: the only place where the two meet."""
    if stored.is_rgb or stored.has_palette:
        return "bgr24"
    return "gray" if colour_components(stored) == 1 else "yuv420p"


def colour_components(stored: VideoFormat) -> int:
    """How many components a stored pixel has, alpha left out."""
    return sum(not component.is_alpha for component in stored.components)


def plane_shapes(pixels: Pixels, width: int, height: int) -> list[tuple[int, int]]:
    """The planes of one tight picture, as (rows, bytes a row). Chroma of odd sizes is rounded up."""
    if pixels == "yuv420p":
        chroma = ((height + 1) // 2, (width + 1) // 2)
        return [(height, width), chroma, chroma]
    if pixels in ("gray", "bgr24"):
        return [(height, width * (3 if pixels == "bgr24" else 1))]
    raise ValueError(f"films are read and written as yuv420p, gray or bgr24, not {pixels}")


def buffer_bytes(pixels: Pixels, width: int, height: int) -> int:
    """The length of one tight picture."""
    return sum(rows * columns for rows, columns in plane_shapes(pixels, width, height))


def conformed(frame: VideoFrame, source: Source) -> VideoFrame:
    """The frame with 8 bits, in the source's layout and size; itself where it is so already.

    Matrix and range stay as they are, whatever they are: Y'CbCr goes to Y'CbCr, RGB to RGB. They are named all
    the same, as the range decides how 10 bits become 8, and the same matrix on both sides means none is applied.
    """
    same_size = (frame.width, frame.height) == (source.width, source.height)
    if same_size and frame.format.name in _AS_ON_WIRE[source.pixels]:
        return frame
    full_range = source.colour.full_range or source.pixels == "bgr24"
    samples = ColorRange.JPEG if full_range else ColorRange.MPEG
    return frame.reformat(
        source.width,
        source.height,
        source.pixels,
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=samples,
        dst_color_range=samples,
    )


def tight_buffer(frame: VideoFrame, pixels: Pixels) -> Buffer:
    """The samples of a conformed frame, without padding."""
    buffer = np.empty(buffer_bytes(pixels, frame.width, frame.height), np.uint8)
    begin = 0
    for (rows, columns), plane in zip(plane_shapes(pixels, frame.width, frame.height), frame.planes, strict=False):
        end = begin + rows * columns
        buffer[begin:end].reshape(rows, columns)[:] = _rows(plane)[:rows, :columns]
        begin = end
    return buffer


def frame_of(buffer: Buffer, pixels: Pixels, width: int, height: int) -> VideoFrame:
    """A frame that holds the samples of one tight picture. Raises MediaError where the length does not fit."""
    expected = buffer_bytes(pixels, width, height)
    if buffer.size != expected:
        raise MediaError(f"a {width}x{height} picture of {pixels} has {expected} bytes, not {buffer.size}")
    frame = VideoFrame(width, height, pixels)
    begin = 0
    for (rows, columns), plane in zip(plane_shapes(pixels, width, height), frame.planes, strict=True):
        end = begin + rows * columns
        _rows(plane)[:rows, :columns] = buffer[begin:end].reshape(rows, columns)
        begin = end
    return frame


def with_neutral_chroma(buffer: Buffer, width: int, height: int) -> Buffer:
    """The tight yuv420p picture that looks like a gray one."""
    neutral = np.full(buffer_bytes("yuv420p", width, height), NEUTRAL_CHROMA, np.uint8)
    neutral[: width * height] = buffer
    return neutral


def _rows(plane: VideoPlane) -> NDArray[np.uint8]:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
