"""Writes coded packets into a container, or as they are, to something that takes bytes."""

import contextlib
from fractions import Fraction
from typing import Protocol

import av
import av.stream
from av.container import OutputContainer

from ..film.formats import add_copy, can_hold
from .parts import CONTAINERS, Coded, Layout
from .timeline import TICKS

TIME_BASE = Fraction(1, TICKS)
# Nothing waits in a buffer, nor for packets of other streams (microseconds; 0 would mean for ever). The length of a
# frame in MPEG-TS is told, so that a reader knows its end before the next one comes.
LIVE_OPTIONS = {"flush_packets": "1", "max_interleave_delta": "1", "omit_video_pes_length": "0"}


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
        self._container = self._opened() if layout.form in CONTAINERS else None

    def _opened(self) -> OutputContainer:
        layout = self.layout
        container = av.open(self._tap, "w", format=layout.form, container_options=LIVE_OPTIONS)
        width, height = layout.size
        self._streams[0] = container.add_mux_stream("h264", width=width, height=height, time_base=TIME_BASE)
        for number, template in enumerate(layout.tracks.templates, 1):
            if can_hold(layout.form, template):
                self._streams[number] = add_copy(container, template)
        container.start_encoding()
        return container

    def write(self, coded: Coded) -> None:
        """Writes a packet; one that the container does not hold is left out."""
        if self._container is None:
            if coded.track == 0:
                self._tap.write(coded.data)
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
