"""Reads films: every frame in order of presentation, and sound and subtitles as they are."""

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import av
import av.stream
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from pydantic import ValidationError

from ...proto.limits import MAX_PICTURE_PIXELS, MAX_SIDE
from ...proto.messages import Source
from ..errors import MediaError
from .decoder import DecodedPicture, FilmDecoder
from .media import (
    DEFAULT_RATE,
    Buffer,
    FileLike,
    Film,
    FilmFrame,
    Pipe,
    conformed,
    for_ffmpeg,
    moment,
    name_of,
    pixels_of,
    reason,
    seekable,
    tight_buffer,
    uninterrupted,
)
from .packets import WaitingPackets
from .pictures import PictureFolder
from .traits import display_matrix_of, notices_of, rotation_of, tags_of

# A pipe is probed no further than this, and not for its rate: enough for the headers of every format. Probing keeps
# no frame: those that it has seen come at once when the film is open, and each later one when it arrives.
PIPE_OPTIONS = {"probesize": "65536", "analyzeduration": "0", "fpsprobesize": "0"}

# A film may name other files (playlists do). Only files, so that nothing is fetched from a network.
FILES_ONLY = {"protocol_whitelist": "file,crypto,data"}

# FFmpeg draws any text as a film of letters.
NOT_FILMS = {"tty"}

# The index of a file may lead to a keyframe that is shown a few frames after it is decoded: begin this much earlier.
SEEK_MARGIN_S = Fraction(1)

_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")

DEINTERLACED = "Interlaced pictures are deinterlaced, one frame for each frame."

# A film that ends this much before its header says so was cut short.
SHORT_S = 0.5


def open_film(
    file: FileLike,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    format: str | None = None,  # noqa: A002 - the name that PyAV and FFmpeg use
    rate: Fraction = DEFAULT_RATE,
) -> Film:
    """A film to read, from a file, a file object that may be a pipe, or a folder of pictures (at `rate` a second).

    start_s and end_s, seconds from the film's start, cut an extract out of it, whose times begin at 0: the frames from
    start_s on, and before end_s. Either may lie ROUNDING_S behind the frame that is meant. `format` is FFmpeg's name of
    the container, where it cannot be seen from the file. Raises MediaError.
    """
    if not all(isfinite(each) for each in (start_s, end_s) if each is not None):
        raise MediaError(f"an extract begins and ends at numbers of seconds, not at {start_s} and {end_s}")
    if start_s is not None and start_s < 0:
        raise MediaError(f"the start of an extract must not be negative, and is {start_s} s")
    if end_s is not None and end_s <= (start_s or 0):
        raise MediaError(f"an extract must end after its start at {start_s or 0} s, not at {end_s} s")
    if isinstance(file, str | Path) and Path(file).is_dir():
        return PictureFolder(Path(file), rate=rate, start_s=start_s, end_s=end_s)
    return FilmIn(file, start_s=start_s, end_s=end_s, format=format)


class FilmIn:
    """A film that is read from a file or pipe, as media.Film says.

    Frames may be read in one thread while another takes the copied packets.
    """

    def __init__(
        self,
        file: FileLike,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        format: str | None = None,  # noqa: A002
    ) -> None:
        self.name = name_of(file)
        self.path = Path(file) if isinstance(file, str | Path) else None
        self.notices: list[str] = []
        self._seekable = seekable(file)
        if self.path is not None and self._seekable and self.path.stat().st_size == 0:
            raise MediaError(f"{self.name} is empty")
        given = for_ffmpeg(file)
        with uninterrupted(given):
            self._container = _open_container(given, self.name, format, seekable=self._seekable)
            try:
                self._begin(start_s, end_s)
            except BaseException:
                self._container.close()
                raise

    def _begin(self, start_s: float | None, end_s: float | None) -> None:
        self._stream = video_stream(self._container, self.name)
        # Frame threads would hold frames back, and an error in one frame would cost those beside it.
        self._stream.codec_context.thread_type = "SLICE"
        self.copied = WaitingPackets(self._streams_to_copy())
        self.metadata = dict(self._container.metadata)
        self.average_rate = self._stream.average_rate or self._stream.guessed_rate or None
        self.time_base = self._stream.time_base or 1 / DEFAULT_RATE
        self._begin_s = Fraction(0)  # of the extract, on the stream's clock
        self._end_s: Fraction | None = None
        self._decoder = FilmDecoder(self._container, self._stream, self.copied, self.average_rate or DEFAULT_RATE)
        self._pictures = self._decoder.pictures()
        first = self._first()
        self._describe(first.frame)
        self.duration_s = self._stored_length_s()
        if start_s is not None or end_s is not None:
            self._cut(first.pts, start_s or 0.0, end_s)
        self.frame_count_estimate = self._estimate(extract=start_s is not None or end_s is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file. The streams to copy must not be used after it."""
        self._container.close()

    def stem(self, pts: int) -> str | None:
        """None: the frames of a film have no names."""
        return None

    def times(self) -> Iterator[Fraction]:
        """When its frames are shown, seconds from the first: instead of reading them, which would take longer."""
        first: int | None = None
        for picture in self._pictures:
            first = picture.pts if first is None else first
            self.copied.clear()
            yield (picture.pts - first) * self.time_base

    def __iter__(self) -> Iterator[FilmFrame]:
        shift = round(self._begin_s / self.time_base)
        for picture in self._pictures:
            if self._end_s is not None and picture.pts * self.time_base >= self._end_s:
                self._decoder.read_copied_until(self._end_s)
                self._conclude(to_the_end=False)
                return
            yield FilmFrame(picture.pts - shift, picture.duration, self._buffer(picture.frame))
        self._conclude(to_the_end=True)

    # Opening

    def _streams_to_copy(self) -> list[av.stream.Stream]:
        copied = []
        for stream in self._container.streams:
            if stream.type in ("audio", "subtitle"):
                copied.append(stream)
            elif stream.index != self._stream.index:
                self.notices.append(f"Stream {stream.index} ({stream.type}) is left out.")
        return copied

    def _first(self) -> DecodedPicture:
        """The first picture, which stays the next one to come."""
        first = next(self._pictures, None)
        if first is None:
            raise MediaError(f"{self.name}: no picture of it can be decoded; the file is damaged or cut short")
        self._pictures = chain([first], self._pictures)
        return first

    def _describe(self, first: VideoFrame) -> None:
        """Sets what is known from the first frame."""
        self.tags = tags_of(first)
        self.display_matrix = display_matrix_of(first)
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        try:
            self.source = Source(
                width=first.width,
                height=first.height,
                pixels=pixels_of(first.format),
                colour=self.tags.on_wire(),
                time_base=self.time_base.as_integer_ratio(),
                sample_aspect=aspect.as_integer_ratio(),
                rotation=rotation_of(first),
            )
        except ValidationError:
            raise MediaError(
                f"{self.name}: pictures of {first.width}x{first.height} are too large; a side may have {MAX_SIDE} "
                f"pixels, a picture {MAX_PICTURE_PIXELS}"
            ) from None
        self.notices += notices_of(first, self.tags, self.source.rotation)
        if self._decoder.deinterlaces:
            self.notices.append(DEINTERLACED)

    def _stored_length_s(self) -> float | None:
        """The length that the header gives: of the pictures, or else of the whole file."""
        if self._stream.duration:
            return float(self._stream.duration * self.time_base)
        said = _DURATION.fullmatch(self._stream.metadata.get("DURATION", ""))  # of Matroska
        if said:
            hours, minutes, seconds = said.groups()
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return self._container.duration / av.time_base if self._container.duration else None

    def _estimate(self, *, extract: bool) -> int | None:
        if self._stream.frames and not extract:
            return int(self._stream.frames)
        if self.duration_s is None or self.average_rate is None:
            return None
        return max(1, round(self.duration_s * self.average_rate))

    def _cut(self, first_pts: int, start_s: float, end_s: float | None) -> None:
        """Goes to the first frame of the extract. Raises MediaError where there is none."""
        origin_s = first_pts * self.time_base
        begin_s = origin_s + moment(start_s)
        if self._seekable and self._stream.start_time is not None and start_s > SEEK_MARGIN_S:
            self._seek(begin_s - SEEK_MARGIN_S)
        self._end_s = None if end_s is None else origin_s + moment(end_s)
        for picture in self._pictures:
            time_s = picture.pts * self.time_base
            if time_s >= begin_s:
                break
        else:
            time_s = None
        if time_s is None or (self._end_s is not None and time_s >= self._end_s):
            length = "" if self.duration_s is None else f"; it lasts {self.duration_s:.3f} s"
            raise MediaError(f"{self.name} has no frame in the extract that begins at {start_s} s{length}")
        self._pictures = chain([picture], self._pictures)
        self._begin_s = time_s
        self.copied.cut(self._begin_s, self._end_s)
        if self.duration_s is not None:
            self.duration_s = min(self.duration_s, end_s or self.duration_s) - start_s

    def _seek(self, time_s: Fraction) -> None:
        """Goes back or on to a keyframe before that time, where the film can; else it stays where it is."""
        try:
            self._container.seek(int(time_s / self.time_base), stream=self._stream)
        except av.FFmpegError:
            return
        self.copied.clear()
        self._pictures = self._decoder.pictures()

    def _buffer(self, frame: VideoFrame) -> Buffer:
        if (frame.width, frame.height) != (self.source.width, self.source.height):
            size = f"{self.source.width}x{self.source.height}"
            notice = f"The picture changes its size within the film; all its frames become {size}."
            if notice not in self.notices:
                self.notices.append(notice)
        return tight_buffer(conformed(frame, self.source), self.source.pixels)

    def _conclude(self, *, to_the_end: bool) -> None:
        """Says what is known only now."""
        decoder = self._decoder
        if decoder.deinterlaces and DEINTERLACED not in self.notices:
            self.notices.append(DEINTERLACED)
        if decoder.stopped:
            self.notices.append(f"Reading stopped early: {decoder.stopped}.")
        stored_s = (self._container.duration or 0) / av.time_base
        read_s = float(decoder.last_s) - (self._container.start_time or 0) / av.time_base
        if to_the_end and read_s < stored_s - SHORT_S:
            self.notices.append(
                f"The file ends at {read_s:.2f} s, though it is to last {stored_s:.2f} s: it is cut short or damaged."
            )
        if decoder.damaged:
            self.notices.append(f"Damaged packets of the picture were skipped: {decoder.damaged}.")
        if self.copied.dropped:
            self.notices.append(f"Packets of sound or subtitles dropped, as too many waited: {self.copied.dropped}.")


def _open_container(file: str | Pipe | BinaryIO, name: str, format: str | None, *, seekable: bool) -> InputContainer:  # noqa: A002
    """The opened container. Raises MediaError, which says why not."""
    options = FILES_ONLY if seekable else FILES_ONLY | PIPE_OPTIONS
    try:
        container = av.open(file, "r", format=format, options=options, metadata_errors="replace")
    except FileNotFoundError:
        raise MediaError(f"{name}: there is no such file") from None
    except PermissionError:
        raise MediaError(f"{name} may not be read") from None
    except (EOFError, av.InvalidDataError):
        raise MediaError(f"{name} is not a film that can be read, or its header is damaged or cut off") from None
    except (OSError, ValueError, av.FFmpegError) as error:
        raise MediaError(f"{name} cannot be opened: {reason(error)}") from None
    if container.format.name in NOT_FILMS:
        container.close()
        raise MediaError(f"{name} is text, not a film")
    return container


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The stream to paint: the best one that is no cover picture of a piece of music."""
    films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    if not films:
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise MediaError(f"{name} has no pictures to paint, only {held}")
    stream = best if isinstance(best, VideoStream) and best in films else films[0]
    if stream.codec_context is None:
        raise MediaError(f"{name}: its pictures are coded in a way that this FFmpeg cannot decode")
    return stream
