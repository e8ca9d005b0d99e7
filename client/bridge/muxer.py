"""Writes coded packets into a container, or as they are, to something that takes bytes."""

import contextlib
import io
from fractions import Fraction
from typing import Protocol

import av
import av.stream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer

from ..film.formats import add_copy
from .parts import CONTAINERS, Coded, Layout
from .timeline import TICKS

TIME_BASE = Fraction(1, TICKS)
# Nothing waits in a buffer, nor for packets of other streams (microseconds; 0 would mean for ever). The length of a
# frame in MPEG-TS is told, so that a reader knows its end before the next one comes.
LIVE_OPTIONS = {
    "flush_packets": "1",
    "max_interleave_delta": "1",
    "omit_video_pes_length": "0",
    "flvflags": "no_duration_filesize",
}
# Width, height and rate. Chroma lies as it does in JPEG, which is what FFmpeg takes for plain yuv420p.
Y4M_HEADER = b"YUV4MPEG2 W%d H%d F%d:%d Ip C420jpeg\n"
# Pictures a second that are said where it is not known how many come: something must be there.
USUAL_RATE = Fraction(25)


class Writer(Protocol):
    """What takes bytes: all of them, or it raises OSError."""

    def write(self, data: bytes) -> int:
        """The length of data."""


class Muxer:
    """A container, or the pictures alone, in a Writer. Raises OSError and FFmpegError."""

    def __init__(self, layout: Layout, writer: Writer) -> None:
        self.layout = layout
        self._tap = _Tap(writer)
        self._streams: dict[int, av.stream.Stream] = {}
        self._before_each = b""
        self._container = self._opened() if layout.form in CONTAINERS else None
        if layout.form == "yuv4mpegpipe":
            self._before_each = b"FRAME\n"
            self._tap.write(Y4M_HEADER % (*layout.size, *(layout.rate or USUAL_RATE).as_integer_ratio()))

    def _opened(self) -> OutputContainer:
        layout = self.layout
        container = av.open(self._tap, "w", format=layout.form, container_options=LIVE_OPTIONS)
        self._streams[0] = self._picture_stream(container)
        for number in layout.tracks.held_by(layout.form):
            self._streams[number] = add_copy(container, layout.tracks.templates[number - 1])
        container.start_encoding()
        return container

    def _picture_stream(self, container: OutputContainer) -> av.stream.Stream:
        width, height = self.layout.size
        if self.layout.form != "flv":
            return container.add_mux_stream("h264", width=width, height=height, time_base=TIME_BASE)
        # Its header holds the parameters of the coding, which a demuxer finds in the first picture.
        with av.open(io.BytesIO(_with_rate(self.layout)), "r", format="h264") as told:
            stream = container.add_stream_from_template(told.streams.video[0], opaque=True)
        stream.time_base = TIME_BASE
        return stream

    def write(self, coded: Coded) -> None:
        """Writes a packet; one that the container does not hold is left out."""
        if self._container is None:
            if coded.track == 0:
                self._tap.write(self._before_each + coded.data)
            return
        stream = self._streams.get(coded.track)
        if stream is None:
            return
        packet = av.Packet(coded.data)
        packet.time_base, packet.stream = TIME_BASE, stream
        packet.pts = packet.dts = coded.pts
        packet.duration = coded.step
        packet.is_keyframe = coded.key
        self._container.mux(packet)

    def close(self, *, complete: bool = True) -> None:
        """Lets go of the container. complete: its end is written too, if the other side still takes it."""
        self._tap.open = complete
        if self._container is not None:
            with contextlib.suppress(OSError, ValueError, av.FFmpegError):
                self._container.close()


class _Tap:
    """A Writer that can be shut: FFmpeg writes an end whenever a container is closed."""

    def __init__(self, writer: Writer) -> None:
        self.open = True
        self._writer = writer

    def write(self, data: bytes) -> int:
        """The length of data."""
        return self._writer.write(data) if self.open else len(data)


def _with_rate(layout: Layout) -> bytes:
    """The first picture of a film, which says how many come a second: our encoder's says the ticks of its clock.

    Whoever reads FLV that does not say it counts pictures for up to a minute and a half before anything is shown.
    """
    rate = layout.rate or USUAL_RATE
    with av.open(io.BytesIO(layout.head), "r", format="h264") as told:
        fields = f"h264_metadata=tick_rate={2 * rate.numerator}/{rate.denominator}"
        changed = BitStreamFilterContext(fields, told.streams.video[0])
        packets = [changed.filter(packet) for packet in told.demux(video=0)]
    return b"".join(bytes(packet) for each in packets for packet in each)
