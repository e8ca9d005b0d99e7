"""What goes through a bridge: pictures, packets of sound and subtitles, and what their streams are."""

import contextlib
import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
import av.stream
from av.container import InputContainer

from ...proto.messages import Source
from ..film.formats import add_copy, can_hold, coding_of
from ..film.media import Buffer, ColourTags
from .timeline import TICKS

Form = Literal["mpegts", "nut", "flv", "h264", "mjpeg", "rawvideo", "yuv4mpegpipe"]

FORMS: tuple[Form, ...] = ("mpegts", "nut", "flv", "h264", "mjpeg", "rawvideo", "yuv4mpegpipe")
# What may come in: containers that name no other files, and pictures alone.
IN_FORMS = ("mpegts", "nut", "matroska", "flv", "mov", "h264", "mjpeg", "rawvideo")
# What raw pictures may be, in FFmpeg's names: a byte a sample, without padding.
RAW_PIXELS = ("yuv420p", "nv12", "yuv422p", "yuyv422", "yuv444p", "gray", "bgr24", "rgb24", "bgra", "rgba")
# Forms that hold more than the picture.
CONTAINERS = ("mpegts", "nut", "flv")
# FFmpeg puts more into FLV, which servers and players do not find there; and they look for one track alone.
FLV_SOUND = ("aac", "mp3", "mp3float")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a picture is: the same for all of a session. Pictures are tight yuv420p."""

    source: Source
    tags: ColourTags


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture. pts: ticks, as the sender says; at_s: when it was decoded."""

    pts: int | None
    step: int
    at_s: float
    shape: Shape
    buffer: Buffer


@dataclass(frozen=True, slots=True)
class Sound:
    """A packet of sound or subtitles, as it came. track: its place in Tracks; pts, step: ticks."""

    track: int
    pts: int | None
    step: int
    at_s: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Placed:
    """A packet of sound or subtitles with its time in the output."""

    track: int
    pts: int
    step: int
    at_s: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Coded:
    """A packet to be written. track: 0 is the picture. key: whatever comes before it is not needed."""

    track: int
    pts: int
    step: int
    key: bool
    data: bytes
    layout: "Layout"


class Tracks:
    """The streams of sound and subtitles that came with the picture, and outlive the container that they came in."""

    def __init__(self, container: InputContainer | None = None) -> None:
        self.numbers: dict[int, int] = {}  # from the index in the container to the place here, counted from 1
        self.templates: list[av.stream.Stream] = []
        # Nothing is written into it. Matroska, as it takes nearly everything.
        self._holder = av.open(io.BytesIO(), "w", format="matroska")
        for stream in container.streams if container else ():
            if stream.type in ("audio", "subtitle") and stream.codec_context is not None:
                self._add(stream)
        self.key = tuple(_key(each) for each in self.templates)

    def _add(self, stream: av.stream.Stream) -> None:
        with contextlib.suppress(ValueError, av.FFmpegError):  # nothing that an output could hold either
            self.templates.append(add_copy(self._holder, stream))
            self.numbers[stream.index] = len(self.templates)

    def held_by(self, form: Form) -> list[int]:
        """The places of what an output can hold."""
        if form not in CONTAINERS:
            return []
        held = [number for number, each in enumerate(self.templates, 1) if can_hold(form, each)]
        if form == "flv":
            return [number for number in held if coding_of(self.templates[number - 1]) in FLV_SOUND][:1]
        return held

    def left_out(self, form: Form) -> list[str]:
        """What an output cannot hold, in sentences."""
        held = self.held_by(form)
        return [
            f"The {each.type} ({coding_of(each)}) is left out: {form} cannot hold it."
            for number, each in enumerate(self.templates, 1)
            if number not in held
        ]


def _key(stream: av.stream.Stream) -> tuple[Any, ...]:
    """What tells whether a stream can go on where another one was."""
    context = stream.codec_context
    return (
        *(stream.type, context.name, context.extradata, stream.language),
        *(getattr(context, name, None) for name in ("sample_rate", "channels")),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What an output holds. size: of the pictures at its beginning. head: of flv, the first of them, coded.

    rate: pictures a second, as far as that is known.
    """

    form: Form
    size: tuple[int, int]
    tracks: Tracks
    head: bytes = b""
    rate: Fraction | None = None

    def continues(self, other: "Layout") -> bool:
        """Whether it can be written on where that one was, without a new header: coded pictures say their size."""
        same_tracks = self.form not in CONTAINERS or self.tracks.key == other.tracks.key
        return same_tracks and (self.form, self.head) == (other.form, other.head)


def ticks(pts: int | None, time_base: Fraction | None) -> int | None:
    """A time in ticks; None where there is none."""
    return None if pts is None or time_base is None else round(pts * time_base * TICKS)
