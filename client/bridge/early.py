"""Pictures out of MPEG-TS without the wait for the next one: decoded beside FFmpeg's demuxer, from the same bytes.

The demuxer goes on to give all else, sound, subtitles and what the streams are, and its pictures are left aside: they
come one frame later. At 30 frames a second that is 33 ms, or 67 where the sender leaves the length of pictures open.
"""

from fractions import Fraction
from typing import Any

import av
import av.stream
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from .transport_stream import TransportStream, Unit

# What is known to work: codecs whose decoders take a picture at a time, with all they need to know in the stream.
CODECS = frozenset({"h264", "hevc"})
TICK = Fraction(1, 90_000)  # seconds
# Times have 33 bits, and begin anew after a day.
_AROUND = 2**33


class EarlyPictures:
    """The pictures of one stream of a container. `damaged` counts what could not be decoded."""

    def __init__(self, stream: Any) -> None:
        self.damaged = 0
        self._units = TransportStream(stream.id)
        context = CodecContext.create(stream.codec_context.name, "r")
        if not isinstance(context, VideoCodecContext):
            raise TypeError(f"{stream.codec_context.name} is no decoder of pictures")
        context.thread_type = "SLICE"  # frame threads hold frames back
        self._context = context
        # FFmpeg counts on where the clock begins anew, or back before it, and sound comes with its times.
        self._last: int = stream.start_time or 0

    @staticmethod
    def can(stream: Any) -> bool:
        """Whether a stream is one that this reads."""
        return stream.container.format.name == "mpegts" and stream.codec_context.name in CODECS

    @property
    def aspect(self) -> Fraction | None:
        """Width of a pixel to its height, if the stream says so."""
        return self._context.sample_aspect_ratio

    def feed(self, data: bytes) -> list[VideoFrame]:
        """Takes bytes of the container. The pictures that are whole now; their times are in TICKs."""
        return [frame for unit in self._units.feed(data) for frame in self._decoded(unit)]

    def end(self) -> list[VideoFrame]:
        """What is left at the end of the stream."""
        frames = [frame for unit in self._units.end() for frame in self._decoded(unit)]
        return frames + self._decode(None)

    def _decoded(self, unit: Unit) -> list[VideoFrame]:
        # A unit may hold several pictures. The parser knows where each ends but the last, which ends here.
        packets = [*self._context.parse(unit.data), *self._context.parse()]
        for packet in packets[:1]:
            packet.pts = None if unit.pts is None else self._unrolled(unit.pts)
        return [frame for packet in packets for frame in self._decode(packet)]

    def _decode(self, packet: "av.Packet[Any] | None") -> list[VideoFrame]:
        try:
            return self._context.decode(packet)
        except av.EOFError:
            return []
        except av.FFmpegError:
            self.damaged += 1
            return []

    def _unrolled(self, pts: int) -> int:
        """A time as FFmpeg counts it: the one nearest to the last, of those that have these 33 bits."""
        self._last += (pts - self._last + _AROUND // 2) % _AROUND - _AROUND // 2
        return self._last
