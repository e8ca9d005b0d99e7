"""From packets to pictures: decoded, deinterlaced, with times that grow."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .deinterlacer import Deinterlacer
from .packets import Packet, WaitingPackets, time_of

# After the last frame of an extract, sound of the same time may follow in the file: it is looked for this far.
INTERLEAVE_S = Fraction(10)


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A decoded frame and its time, in ticks of the stream; the duration is None where unknown."""

    pts: int
    duration: int | None
    frame: VideoFrame


class FilmDecoder:
    """Reads a container: pictures come out, sound and subtitles are put among the packets to copy."""

    def __init__(self, container: InputContainer, stream: VideoStream, copied: WaitingPackets, rate: Fraction) -> None:
        self.damaged = 0  # packets of the picture that could not be decoded
        self.stopped = ""  # why the file could not be read to its end
        self.deinterlaces = False  # an interlaced frame was seen
        self.last_s = Fraction(0)  # the latest time of any packet
        self._container = container
        self._stream = stream
        self._copied = copied
        self._time_base = stream.time_base or 1 / rate
        self._usual_duration = max(1, round(1 / (rate * self._time_base)))

    def pictures(self) -> Iterator[DecodedPicture]:
        """The pictures from here on, in order of presentation, to the end of the file or of what can be read.

        A time that is missing, or goes back, is replaced by one that follows from the picture before.
        """
        earliest: int | None = None
        step = self._usual_duration
        for frame in self._deinterlaced(self._frames()):
            pts = frame.pts
            if pts is None or (earliest is not None and pts < earliest):
                pts = 0 if earliest is None else earliest - 1 + step
            step = frame.duration or self._usual_duration
            earliest = pts + 1
            yield DecodedPicture(pts, frame.duration or None, frame)

    def read_copied_until(self, end_s: Fraction) -> None:
        """Reads sound up to that time that is stored behind the pictures; the pictures are passed over."""
        waiting = {stream.index for stream in self._copied.streams if stream.type == "audio"}
        for packet in self._packets() if waiting else ():
            time_s = time_of(packet)
            if packet.stream_index != self._stream.index and packet.size:
                self._copied.put(packet)
            if time_s is not None and time_s >= end_s:
                waiting.discard(packet.stream_index)
            if not waiting or (time_s is not None and time_s > end_s + INTERLEAVE_S):
                return

    def _packets(self) -> Iterator[Packet]:
        """The packets of all wanted streams; where the file is damaged past reading, they end."""
        try:
            for packet in self._container.demux(self._stream, *self._copied.streams):
                time_s = time_of(packet)
                if time_s is not None:
                    self.last_s = max(self.last_s, time_s + (packet.duration or 0) * packet.time_base)
                yield packet
        except av.FFmpegError as error:
            self.stopped = str(error.strerror or error)

    def _frames(self) -> Iterator[VideoFrame]:
        """The frames as they are stored."""
        for packet in self._packets():
            if packet.stream_index == self._stream.index:
                yield from self._decode(packet)
            elif packet.size:
                self._copied.put(packet)
        yield from self._decode(None)

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        try:
            return self._stream.decode(packet)
        except av.EOFError:  # the decoder was flushed already
            return []
        except av.FFmpegError:
            self.damaged += 1
            return []

    def _deinterlaced(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """The frames; from the first interlaced one on, they pass a deinterlacer."""
        deinterlacer: Deinterlacer | None = None
        for frame in frames:
            if deinterlacer is not None and not deinterlacer.takes(frame):
                yield from deinterlacer.flush()
                deinterlacer = None
            if deinterlacer is None and frame.interlaced_frame and Deinterlacer.can(frame):
                self.deinterlaces = True
                deinterlacer = Deinterlacer(frame, self._time_base)
            if deinterlacer is None:
                yield frame
            else:
                yield from deinterlacer.push(frame)
        if deinterlacer is not None:
            yield from deinterlacer.flush()
