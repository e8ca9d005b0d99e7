"""Interlaced frames made whole."""

from collections.abc import Iterator
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame


class Deinterlacer:
    """FFmpeg's bwdif: one frame out for each frame in, at the same times; frames that are whole pass as they are."""

    def __init__(self, frame: VideoFrame, time_base: Fraction) -> None:
        self._shape = _shape(frame)
        self._time_base = time_base
        self._graph = Graph()
        self._graph.link_nodes(
            self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base),
            self._graph.add("bwdif", mode="send_frame", deint="interlaced"),
            self._graph.add("buffersink"),
        ).configure()

    @staticmethod
    def can(frame: VideoFrame) -> bool:
        """Whether a frame is large enough: bwdif looks at its neighbours."""
        return frame.width >= 3 and frame.height >= 4

    def takes(self, frame: VideoFrame) -> bool:
        """Whether a frame is like the first one."""
        return _shape(frame) == self._shape

    def push(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """The frames that are ready, given one more; bwdif holds one back."""
        self._graph.vpush(frame)
        while True:
            try:
                ready = self._graph.vpull()
            except (BlockingIOError, EOFError):
                return
            self._set_times(ready)
            yield ready

    def flush(self) -> Iterator[VideoFrame]:
        """The frames still held back."""
        return self.push(None)

    def _set_times(self, frame: VideoFrame) -> None:
        """Back from bwdif's clock, which ticks twice as fast, to the stream's."""
        scale = (frame.time_base or self._time_base) / self._time_base
        if frame.pts is not None:
            frame.pts = round(frame.pts * scale)
        frame.duration = round(frame.duration * scale)
        frame.time_base = self._time_base


def _shape(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
