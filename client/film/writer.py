"""Writes films: painted frames are encoded, sound and subtitles copied as they are, all with the times they had."""

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import av
import av.stream
from av.codec.context import Flags
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from ...proto.messages import Colour, Pixels
from ..errors import MediaError
from .formats import (
    HOLD_ROTATION,
    NO_NEGATIVE_TIMES,
    SHAPED_BY_US,
    add_copy,
    can_hold,
    codec_named,
    coding_of,
    container_of,
    holds_shape,
)
from .media import (
    DEFAULT_RATE,
    Buffer,
    ColourTags,
    FileLike,
    Film,
    Pipe,
    for_ffmpeg,
    frame_of,
    name_of,
    reason,
    uninterrupted,
    with_neutral_chroma,
)
from .packets import Packet, move
from .pictures import PictureFolderOut
from .pixel_shape import BUFFER_BYTES, ROOM, USUAL_BUFFER_BYTES, Shape, ShapedFile, ShapedPipe

# Keys that describe the file that was read, not the film.
FILE_METADATA = {"major_brand", "minor_version", "compatible_brands", "encoder", "creation_time", "duration"}


# For pipes: nothing waits in a buffer, and no frame longer than to the next one for sound that may still come
# (microseconds; 0 would mean for ever).
LIVE_OPTIONS = {"flush_packets": "1", "max_interleave_delta": "1"}


class FilmSink(Protocol):
    """Where painted frames go: a file, a pipe or a folder of pictures."""

    notices: list[str]

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, pts: int, duration: int | None, buffer: Buffer) -> None:
        """Takes one painted frame, in order of presentation."""


def create_film(
    file: FileLike,
    *,
    like: Film,
    codec: str = "h264",
    crf: int | None = None,
    format: str | None = None,  # noqa: A002
    width: int | None = None,
    pixels: Pixels | None = None,
) -> FilmSink:
    """Where to write the painted film: a PictureFolderOut if is_folder says so, else a FilmOut.

    width: of the frames, pixels, if it is not the film's: not for folders. pixels: their layout, if not the film's: for
    folders alone.
    """
    if isinstance(file, str | Path) and is_folder(file, format):
        if width is not None:
            raise MediaError(
                f"{file} would be a folder of pictures; frames of another width need a film, as in OUT.mp4"
            )
        return PictureFolderOut(Path(file), like=like, pixels=pixels)
    return FilmOut(file, like=like, codec=codec, crf=crf, format=format, width=width)


def is_folder(file: FileLike, format: str | None = None) -> bool:  # noqa: A002
    """Whether pictures are to be written there, into a folder: it is one, or is a path without extension."""
    return isinstance(file, str | Path) and format is None and (Path(file).is_dir() or not Path(file).suffix)


class FilmOut:
    """A film that is written; closing it finishes the file, also when an error or Ctrl-C ends it early.

    Frames are given in the layout of like.source, with its times; its size too, unless width and height say
    another one. `format` is FFmpeg's name of the container, for paths whose extension does not tell, and for file
    objects (there, nut by default). Where the file is a pipe, no frame is held back. Raises MediaError, here and
    in `write`.
    """

    def __init__(
        self,
        file: FileLike,
        *,
        like: Film,
        codec: str = "h264",
        crf: int | None = None,
        width: int | None = None,
        height: int | None = None,
        format: str | None = None,  # noqa: A002
    ) -> None:
        self.name = name_of(file)
        self.notices: list[str] = []
        self._like = like
        self._width = width or like.source.width
        self._height = height or like.source.height
        self._time_base = Fraction(*like.source.time_base)
        self._by_path = isinstance(file, str | Path)
        self._live = _is_live(file)
        self._codec = codec_named(codec, crf)
        self._format = container_of(file, codec, format)
        self._shift_s: Fraction | None = None  # set by the first frame
        self._end_s = Fraction(0)  # of the last frame written
        self._refused = 0  # packets that the container did not take
        self._failed = False
        self._closed = False
        self._own: io.FileIO | None = None
        _refuse_input(file, like)
        self._open(file, crf)

    def _open(self, file: FileLike, crf: int | None) -> None:
        existed = isinstance(file, str | Path) and Path(file).exists()
        options, shape = self._container_options(), self._missing_shape()
        buffer_bytes = USUAL_BUFFER_BYTES if shape is None else BUFFER_BYTES
        try:
            self._file = self._for_ffmpeg(file, shape)
            self._container = av.open(
                self._file, "w", format=self._format, container_options=options, buffer_size=buffer_bytes
            )
        except (OSError, ValueError, av.FFmpegError) as error:
            self._let_go()
            raise MediaError(f"{self.name} cannot be written: {reason(error)}") from None
        try:
            self._stream = self._add_pictures(crf)
            if shape is not None:
                self._stream.metadata["title"] = ROOM
            self._copies = self._add_copies()
            self._container.metadata.update(
                {key: value for key, value in self._like.metadata.items() if key.lower() not in FILE_METADATA}
            )
            self._container.start_encoding()
        except (OSError, ValueError, av.FFmpegError) as error:
            self._abandon()
            if isinstance(file, str | Path) and not existed:
                with contextlib.suppress(OSError):  # also where a folder of its path is a file
                    Path(file).unlink()
            how = "" if isinstance(error, OSError) else f" with {self._codec.encoder} at {self._width}x{self._height}"
            raise MediaError(f"{self.name} cannot be written{how}: {reason(error)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(MediaError):  # the error under way says more
            self.close(complete=False)

    def write(self, pts: int, duration: int | None, buffer: Buffer) -> None:
        """Takes one painted frame, in order of presentation; pts and duration in ticks of the source's time base."""
        if self._shift_s is None:
            # Players leave out what comes before 0: a film that begins there is moved, with its sound.
            self._shift_s = max(Fraction(0), -pts * self._time_base)
        time_s = pts * self._time_base
        frame = self._stored(buffer)
        frame.pts = pts + round(self._shift_s / self._time_base)
        frame.time_base = self._time_base
        frame.duration = duration or 0
        with self._writing():
            self._copy_until(time_s)
            self._encode(frame)
        self._end_s = time_s + (duration or 0) * self._time_base

    def close(self, *, complete: bool = True) -> None:
        """Finishes the file. complete: with all sound and subtitles that were read, also those after the last frame."""
        if self._closed:
            return
        self._closed = True
        if self._failed:
            return
        with self._writing():
            self._encode(None)
            self._copy_until(None if complete else self._end_s)
            self._container.close()
        self._let_go()
        if self._refused:
            self.notices.append(f"Packets of sound or subtitles that the file does not take: {self._refused}.")

    # Setting up

    def _for_ffmpeg(self, file: FileLike, shape: Shape | None) -> str | Pipe | BinaryIO:
        """What FFmpeg is to write to. shape: what is written into its header."""
        if shape is None:
            return for_ffmpeg(file)
        if isinstance(file, str | Path):
            file = self._own = io.FileIO(file, "w")
        return ShapedFile(file, shape) if file.seekable() else ShapedPipe(file, shape)

    def _missing_shape(self) -> Shape | None:
        """The shape of the picture, where it is to be written into the header that FFmpeg makes."""
        of_pixels = Fraction(*self._like.source.sample_aspect)
        if of_pixels == 1 or self._format not in SHAPED_BY_US:
            return None
        return Shape(*(of_pixels * Fraction(self._width, self._height)).as_integer_ratio())

    def _container_options(self) -> dict[str, str]:
        options = dict(LIVE_OPTIONS) if self._live else {}
        if self._format == "matroska":
            options |= {"avoid_negative_ts": "disabled"}  # else all is moved where sound begins before 0
            if self._live:
                options |= {"live": "1", "cluster_time_limit": "1"}  # ms; a cluster is written when it is full
        if self._format in ("mp4", "mov"):
            options |= self._mp4_flags()
            # In these ticks the start of each stream is stored: milliseconds, by default, would round it.
            options |= {"movie_timescale": str(_at_least(1000, self._time_base.denominator))}
        return options

    def _mp4_flags(self) -> dict[str, str]:
        """The index goes first, so that players on the network can begin; that takes a file that FFmpeg can reopen."""
        if self._live:
            return {"movflags": "frag_keyframe+empty_moov"}
        return {"movflags": "+faststart"} if self._by_path else {}

    def _add_pictures(self, crf: int | None) -> VideoStream:
        options = self._codec.options | (self._codec.live_options if self._live else {})
        if self._codec.crf is not None:
            options |= {"crf": str(self._codec.crf if crf is None else crf)}
        if self._format in NO_NEGATIVE_TIMES:
            options |= {"bf": "0"}
        rate = self._like.average_rate or DEFAULT_RATE
        stream = self._container.add_stream(self._codec.encoder, rate=rate, options=options, time_base=self._time_base)
        if not isinstance(stream, VideoStream):
            raise ValueError(f"{self._codec.encoder} is no encoder of pictures")
        self._pixels = self._stored_pixels()
        self._tags = self._stored_tags()
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, self._pixels
        context = stream.codec_context
        context.time_base = self._time_base
        context.sample_aspect_ratio = Fraction(*self._like.source.sample_aspect)
        context.colorspace, context.color_range = self._tags.matrix, self._tags.range
        context.color_primaries, context.color_trc = self._tags.primaries, self._tags.transfer
        context.flags |= Flags.frame_duration
        if self._codec.encoder == "libx265" and self._format in ("mp4", "mov"):
            stream.codec_tag = "hvc1"  # with the usual hev1, QuickTime shows nothing
        self._keep_rotation(stream)
        if context.sample_aspect_ratio != 1 and not holds_shape(self._format, self._codec):
            self.notices.append(
                f"{self._format} cannot say the shape of pixels with {self._codec.encoder}: they are shown as squares."
            )
        return stream

    def _stored_pixels(self) -> str:
        """FFmpeg's name of the layout that is encoded."""
        if self._codec.encoder == "ffv1":
            return {"bgr24": "bgr0"}.get(self._like.source.pixels, self._like.source.pixels)
        if self._codec.odd_sizes or (self._width % 2 == 0 and self._height % 2 == 0):
            return "yuv420p"
        self.notices.append(
            f"{self._width}x{self._height} is odd: it is stored as 4:4:4 to keep its size, which browsers do not play."
        )
        return "yuv444p"

    def _stored_tags(self) -> ColourTags:
        """The film's tags; RGB that becomes Y'CbCr gets the ones it is converted with."""
        tags = self._like.tags
        if self._like.source.pixels != "bgr24" or self._pixels == "bgr0":
            return tags
        matrix = Colorspace.ITU709 if Colour().matrix_for(self._height) == "bt709" else Colorspace.ITU601
        return ColourTags(int(matrix), tags.primaries, tags.transfer, int(ColorRange.MPEG))

    def _keep_rotation(self, stream: VideoStream) -> None:
        if self._like.display_matrix is None:
            return
        if self._format in HOLD_ROTATION:
            stream.set_display_matrix(self._like.display_matrix)
        else:
            self.notices.append(f"{self._format} cannot say that the picture is to be turned; it is shown as stored.")

    def _add_copies(self) -> dict[int, av.stream.Stream]:
        """The output streams that take copied packets, by the index of the stream they come from."""
        copies = {}
        for stream in self._like.copied.streams:
            if can_hold(self._format, stream):
                copies[stream.index] = add_copy(self._container, stream)
            else:
                language = f", {stream.language}" if stream.language not in (None, "und") else ""
                self.notices.append(
                    f"Stream {stream.index} ({stream.type}, {coding_of(stream)}{language}) is left out: "
                    f"{self._format} cannot hold it."
                )
        return copies

    # A frame

    def _stored(self, buffer: Buffer) -> VideoFrame:
        """The frame to encode."""
        pixels: Pixels = self._like.source.pixels
        if pixels == "gray" and self._pixels != "gray":
            pixels, buffer = "yuv420p", with_neutral_chroma(buffer, self._width, self._height)
        frame = frame_of(buffer, pixels, self._width, self._height)
        if self._pixels != pixels:
            frame = self._converted(frame, pixels)
        frame.colorspace, frame.color_range = self._tags.matrix, self._tags.range
        frame.color_primaries, frame.color_trc = self._tags.primaries, self._tags.transfer
        return frame

    def _converted(self, frame: VideoFrame, pixels: Pixels) -> VideoFrame:
        """RGB as Y'CbCr with the matrix of the tags; Y'CbCr with other chroma, nothing else changed."""
        matrix = self._tags.matrix if pixels == "bgr24" and self._pixels != "bgr0" else Colorspace.ITU709
        stored = ColorRange.MPEG if self._pixels != "bgr0" and not self._tags.full_range else ColorRange.JPEG
        return frame.reformat(
            format=self._pixels,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=ColorRange.JPEG if pixels == "bgr24" else stored,
            dst_color_range=stored,
        )

    def _encode(self, frame: VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _copy_until(self, until_s: Fraction | None) -> None:
        for packet in self._like.copied.take(until_s):
            copy = self._copies.get(packet.stream_index)
            if copy is not None:
                self._copy(packet, copy)

    def _copy(self, packet: Packet, copy: av.stream.Stream) -> None:
        move(packet, self._shift_s or Fraction(0))
        packet.stream = copy
        try:
            self._container.mux(packet)
        except (av.ArgumentError, av.InvalidDataError):  # a packet that is damaged or out of order
            self._refused += 1

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """What FFmpeg or the system object to becomes a MediaError, and the file is not written to again."""
        try:
            with uninterrupted(self._file):
                yield
        except (OSError, ValueError, av.FFmpegError) as error:
            self._failed = True
            self._abandon()
            raise MediaError(f"{self.name} cannot be written on: {reason(error)}") from None

    def _abandon(self) -> None:
        """Lets go of a file that cannot be finished; what is written of it stays."""
        with contextlib.suppress(OSError, ValueError, av.FFmpegError):
            self._container.close()
        self._let_go()

    def _let_go(self) -> None:
        """Closes the file, if it was opened here and not by FFmpeg."""
        if self._own is not None:
            with contextlib.suppress(OSError):  # it has no buffer: what could not be written was said then
                self._own.close()


def _at_least(least: int, unit: int) -> int:
    """The smallest multiple of unit that is no less than that."""
    return unit * ceil(least / unit)


def _is_live(file: FileLike) -> bool:
    """Whether somebody reads while it is written: a pipe or a device."""
    if isinstance(file, str | Path):
        return Path(file).exists() and not Path(file).is_file()
    return not file.seekable()


def _refuse_input(file: FileLike, like: Film) -> None:
    """Raises MediaError where the output is the input, which would be gone before it is read."""
    if not isinstance(file, str | Path) or like.path is None or not Path(file).exists():
        return
    if Path(file).samefile(like.path):
        raise MediaError(f"{file} is the input; the output must be another file")
