"""The Python client: connect, open a session, push frames, iterate what is painted.

    with Client() as client, client.session(look="strokes") as session:
        for painted in session.paint(frames):
            show(painted.image)

A connection that is lost comes back by itself, and the sessions go on. Nothing here may be used by two threads at once.
For asyncio see aio.py.
"""

import math
import time
from collections.abc import Container, Iterable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any, Protocol, TypeVar

import zmq

from ..proto.messages import Opened, Source, Status, Totals
from .base import ClientBase, SessionBase, Wishes
from .connection import PATIENCE_S, Steps
from .images import NO_CONTROLS, NO_STILLS, Controls, Frame, Image, PaintedImage, Stills, still_of
from .viewer import SeenImage, ViewerBase

__all__ = ["Client", "Image", "PaintedImage", "SeenImage", "Session", "Viewer"]

T = TypeVar("T")


class HasFileno(Protocol):
    """Something to poll."""

    def fileno(self) -> int:
        """The file descriptor."""


class Session(SessionBase):
    """A film being painted. Frames go in by `push`, results come out by `results`; or both by `paint`."""

    def __init__(self, client: "Client", wishes: Wishes) -> None:
        super().__init__(client._connection, wishes)
        self._run = client._run
        self._client = client

    def __enter__(self) -> "Session":
        self._run(self._enter())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()
            self._client.take_all()

    def open(self, source: Source) -> Opened:
        """Opens the session for frames like this. Raises RefusedError, with what is allowed."""
        return self._run(self._open(source))

    def push(self, frame: Frame, pts: int, controls: Controls = NO_CONTROLS, *, keyframe: bool = False) -> int:
        """The index of a frame that was sent. In pacing `every` it waits until the daemon takes it; in `live` never.

        The first one opens the session, and waits for that. In `live` a frame for which there is no credit, or no
        connection, is dropped at once, and told in `drops`.

        frame: an array of the source's format, or its payload. It must not be changed before its result has come:
        should the connection be lost, it is sent again. pts: in units of the source's time base. controls: images for
        ControlNets, by kind, u8 [H, W, 3] BGR or [H, W] gray, of the frame's size as stored; as long to be left alone.
        The kind `still` is the frame as somebody has painted it, for the painter `stills`. keyframe: the frame is to be
        painted in full.

        Raises ValueError for an array that is not like this.
        """
        return self._run(self._push(frame, pts, controls, keyframe=keyframe))

    def results(self, *, wait: bool = True) -> Iterator[PaintedImage]:
        """What is painted: what is there, or with `wait` all that is still unanswered.

        In pacing `every`, in order of index; raises FrameFailed for a frame that was not painted, and iterating again
        goes on with the next. In `live` as they come; what was dropped is told in `drops`.
        """
        while (painted := self._run(self._next(wait=wait))) is not None:
            yield painted

    def paint(
        self,
        frames: Iterable[Frame],
        *,
        rate: float | Fraction | None = None,
        keyframes: Container[int] = (),
        stills: Stills = NO_STILLS,
    ) -> Iterator[PaintedImage]:
        """The painted frames. rate: frames a second, from which the timestamps are made; None: the source's, or 25.

        keyframes: numbers of the frames that are to be painted in full, counted from 0. stills: frames as somebody has
        painted them, by number, for the painter `stills`; they are painted in full, too.

        In pacing `live` the frames are to come as a camera gives them: those that come faster than they are
        painted are dropped.
        """
        for number, frame in enumerate(frames):
            self._run(self._ready(frame))
            still = still_of(stills, number)
            self.push(frame, self._ticks(number, rate), still, keyframe=bool(still) or number in keyframes)
            yield from self.results(wait=False)
        yield from self.results()

    def update(self, **changes: Any) -> int:
        """Changes some fields of the Brief; the number of the request. Raises RefusedError, with what is allowed."""
        return self._run(self._update(changes))

    def rekey(self) -> int:
        """Asks for a new keyframe at the next frame; the number of the request."""
        return self._run(self._rekey())

    def hold(self, on: bool) -> int:
        """Stops a live film on its last frame, or lets it go on; the number of the request. Raises RefusedError."""
        return self._run(self._hold(on))

    def request_keyframe(self) -> None:
        """Asks the encoder of a coded result for a keyframe."""
        self._active.request_keyframe()
        self._client.take_all()

    def flush(self) -> None:
        """Returns when every frame pushed so far has been answered. The results are then there to be taken."""
        self._run(self._flush())

    def close(self) -> Totals | None:
        """Ends the session when the frames in hand are painted; what became of them."""
        return self._run(self._close())


class Viewer(ViewerBase):
    """A session of any client, being watched: what it paints is seen, and its knobs can be turned."""

    def __init__(self, client: "Client", wishes: dict[str, Any]) -> None:
        super().__init__(client._connection, wishes)
        self._run = client._run
        self._client = client

    def __enter__(self) -> "Viewer":
        self._run(self._enter())
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        self._client.take_all()

    def seen(self, *, wait: bool = True) -> Iterator[SeenImage]:
        """What the session paints: what is there, or with `wait` all until it ends. Who is slow sees fewer frames."""
        while (image := self._run(self._next(wait=wait))) is not None:
            yield image

    def update(self, **changes: Any) -> int:
        """Changes some fields of the session's Brief; the number of the request. Raises RefusedError."""
        return self._run(self._update(changes))

    def rekey(self) -> int:
        """Asks for a new keyframe at the next frame; the number of the request."""
        return self._run(self._rekey())

    def hold(self, on: bool) -> int:
        """Stops a live film on its last frame, or lets it go on; the number of the request. Raises RefusedError."""
        return self._run(self._hold(on))


class Client(ClientBase[Session, Viewer]):
    """A connection to a daemon. Raises DaemonGone where none answers."""

    _session_class = Session
    _viewer_class = Viewer

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connection; sessions still open end with it."""
        self._link.close()

    def ping(self, timeout_s: float = PATIENCE_S, *, may_be_starting: bool = False) -> None:
        """Returns when the daemon has answered. Raises DaemonGone after timeout_s.

        It is raised at once where nobody listens, unless the daemon may be starting.
        """
        self._run(self._link.pinging(timeout_s, may_be_starting=may_be_starting))

    def status(self) -> Status:
        """How the daemon does."""
        return self._run(self._connection.status())

    def wait(self, also: HasFileno | None = None, *, timeout_s: float | None = None) -> None:
        """Waits for a message, and takes it; or until `also` is readable, or timeout_s is over.

        Raises DaemonGone when the daemon has been silent for too long.
        """
        self._poll(also, None if timeout_s is None else time.monotonic() + timeout_s)
        self._connection.check_alive()

    def take_all(self) -> None:
        """Takes all messages that are there, without waiting."""
        self._link.pump()

    def _run(self, steps: Steps[T]) -> T:
        """Runs what may have to wait."""
        self._link.pump()
        try:
            while True:
                try:
                    until = next(steps)
                except StopIteration as end:
                    result: T = end.value
                    return result
                self._poll(None, until)
        finally:
            steps.close()
            self._link.pump()

    def _poll(self, also: HasFileno | None, until: float | None) -> None:
        """Waits until something comes, or something is to be done."""
        if self._link.pump():
            return
        poller = zmq.Poller()
        poller.register(self._link.socket, zmq.POLLIN | (zmq.POLLOUT if self._connection.outbox else 0))
        poller.register(self._link.monitor, zmq.POLLIN)
        if also is not None:
            poller.register(also, zmq.POLLIN)
        deadline = min(self._connection.deadline, math.inf if until is None else until)
        poller.poll(max(0, math.ceil((deadline - time.monotonic()) * 1000)))
        self._link.pump()
