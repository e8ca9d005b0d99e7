"""Reads a film in a thread of its own, a few frames ahead, and wakes whoever waits for the next one."""

import os
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .film.media import FilmFrame

# Frames decoded ahead: enough that reading and painting overlap, few enough that a pipe is not far behind.
FRAMES_AHEAD = 2


class Feed:
    """The frames of a film. `fileno` is readable while there is one to take, or the film is over."""

    def __init__(self, film: Iterable[FilmFrame]) -> None:
        self._film = film
        self._frames: queue.Queue[FilmFrame | Exception | None] = queue.Queue(FRAMES_AHEAD)
        self._readable, self._writable = os.pipe()
        self._stopped = threading.Event()
        # A daemon thread: reading a pipe that nobody writes to must not keep the process from ending.
        self._thread = threading.Thread(target=self._read, name="feed", daemon=True)
        self.over = False

    def fileno(self) -> int:
        """What to poll."""
        return self._readable

    def take(self) -> FilmFrame | None:
        """The next frame, if it is there; None also when the film is `over`. Raises what reading raised."""
        try:
            item = self._frames.get_nowait()
        except queue.Empty:
            return None
        os.read(self._readable, 1)
        if isinstance(item, Exception):
            raise item
        self.over = item is None
        return item

    def _read(self) -> None:
        try:
            for frame in self._film:
                self._put(frame)
                if self._stopped.is_set():
                    return
            self._put(None)
        except Exception as error:  # handed to the thread that takes the frames
            self._put(error)

    def _put(self, item: FilmFrame | Exception | None) -> None:
        self._frames.put(item)
        os.write(self._writable, b"\0")

    def _stop(self) -> None:
        """Lets the thread end; a reader that is stuck in a pipe is left to itself."""
        self._stopped.set()
        while self._thread.is_alive() and not self._frames.empty():
            self._frames.get_nowait()
            self._thread.join(0.1)


@contextmanager
def fed(film: Iterable[FilmFrame]) -> Iterator[Feed]:
    """A Feed that is reading."""
    feed = Feed(film)
    feed._thread.start()
    try:
        yield feed
    finally:
        feed._stop()
