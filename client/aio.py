"""The Python client for asyncio: the same as painting.py, with `await`.

    async with AsyncClient() as client, client.session(look="strokes") as session:
        async for painted in session.paint(frames):
            show(painted.image)

The sessions of a client may be used by several tasks at once, in one event loop. Whatever waits may be cancelled: what
was sent is answered all the same, and nothing that came is lost.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterable, AsyncIterator, Container, Iterable
from fractions import Fraction
from types import TracebackType
from typing import Any, TypeVar

from ..proto.messages import Opened, Source, Status, Totals
from .base import ClientBase, SessionBase, Wishes
from .connection import PATIENCE_S, Steps
from .errors import DaemonGone
from .images import NO_CONTROLS, NO_STILLS, Controls, Frame, PaintedImage, Stills, still_of
from .viewer import SeenImage, ViewerBase

__all__ = ["AsyncClient", "AsyncSession", "AsyncViewer"]

T = TypeVar("T")


class AsyncSession(SessionBase):
    """A film being painted. Frames go in by `push`, results come out by `results`; or both by `paint`."""

    def __init__(self, client: "AsyncClient", wishes: Wishes) -> None:
        super().__init__(client._connection, wishes)
        self._run = client._run
        self._client = client

    async def __aenter__(self) -> "AsyncSession":
        await self._run(self._enter())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            self._abandon()
            self._client._pump()

    async def open(self, source: Source) -> Opened:
        """Opens the session for frames like this. Raises RefusedError, with what is allowed."""
        return await self._run(self._open(source))

    async def push(self, frame: Frame, pts: int, controls: Controls = NO_CONTROLS, *, keyframe: bool = False) -> int:
        """The index of a frame that was sent. In pacing `every` it waits until the daemon takes it; in `live` never.

        It waits, too, while more results than the credit wait to be taken: take them in another task, or use `paint`.
        frame, pts, controls, keyframe: as Session.push has them; arrays must not be changed before the result has come.
        """
        return await self._run(self._push(frame, pts, controls, keyframe=keyframe, bounded=True))

    async def results(self, *, wait: bool = True) -> AsyncIterator[PaintedImage]:
        """What is painted: what is there, or with `wait` all that is still unanswered; as Session.results has it."""
        while (painted := await self._taken(self._next(wait=wait))) is not None:
            yield painted

    async def paint(
        self,
        frames: Iterable[Frame] | AsyncIterable[Frame],
        *,
        rate: float | Fraction | None = None,
        keyframes: Container[int] = (),
        stills: Stills = NO_STILLS,
    ) -> AsyncIterator[PaintedImage]:
        """The painted frames, each as soon as it is there; a task of its own pushes, as Session.paint does."""
        pusher = asyncio.create_task(self._push_all(frames, rate, keyframes, stills))
        pusher.add_done_callback(lambda _: self._client._wake())
        try:
            while (painted := await self._taken(self._next_or(pusher))) is not None:
                yield painted
            await pusher
        finally:
            pusher.cancel()
            await asyncio.wait([pusher])
            _ = pusher.cancelled() or pusher.exception()  # told above, or not wanted any more

    async def update(self, **changes: Any) -> int:
        """Changes some fields of the Brief; the number of the request. Raises RefusedError, with what is allowed."""
        return await self._run(self._update(changes))

    async def rekey(self) -> int:
        """Asks for a new keyframe at the next frame; the number of the request."""
        return await self._run(self._rekey())

    async def hold(self, on: bool) -> int:
        """Stops a live film on its last frame, or lets it go on; the number of the request. Raises RefusedError."""
        return await self._run(self._hold(on))

    async def request_keyframe(self) -> None:
        """Asks the encoder of a coded result for a keyframe."""
        self._active.request_keyframe()
        self._client._pump()

    async def flush(self) -> None:
        """Returns when every frame pushed so far has been answered. The results are then there to be taken."""
        await self._run(self._flush())

    async def close(self) -> Totals | None:
        """Ends the session when the frames in hand are painted; what became of them."""
        return await self._run(self._close())

    async def _taken(self, steps: Steps[PaintedImage | None]) -> PaintedImage | None:
        """A result; and word of it to whoever waits to push until there are fewer."""
        painted = await self._run(steps)
        if self._conversation is not None and len(self._conversation.results) == self._conversation.window:
            self._client._wake()
        return painted

    async def _push_all(
        self,
        frames: Iterable[Frame] | AsyncIterable[Frame],
        rate: float | Fraction | None,
        keyframes: Container[int],
        stills: Stills,
    ) -> None:
        number = 0
        async for frame in _one_by_one(frames):
            await self._run(self._ready(frame))
            still = still_of(stills, number)
            await self.push(frame, self._ticks(number, rate), still, keyframe=bool(still) or number in keyframes)
            number += 1

    def _next_or(self, pusher: "asyncio.Task[None]") -> Steps[PaintedImage | None]:
        """The next result; None when nothing is to come: all is pushed and answered, or pushing has failed."""
        while True:
            painted = yield from self._next(wait=False)
            if painted is not None:
                return painted
            if pusher.done():
                if pusher.cancelled() or pusher.exception() or not self.unanswered:
                    return None
                self._rest()
            yield None


class AsyncViewer(ViewerBase):
    """A session of any client, being watched: what it paints is seen, and its knobs can be turned."""

    def __init__(self, client: "AsyncClient", wishes: dict[str, Any]) -> None:
        super().__init__(client._connection, wishes)
        self._run = client._run
        self._client = client

    async def __aenter__(self) -> "AsyncViewer":
        await self._run(self._enter())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()
        if not self._client._link.closed:
            self._client._pump()

    async def seen(self, *, wait: bool = True) -> AsyncIterator[SeenImage]:
        """What the session paints; as Viewer.seen has it."""
        while (image := await self._run(self._next(wait=wait))) is not None:
            yield image

    async def update(self, **changes: Any) -> int:
        """Changes some fields of the session's Brief; the number of the request. Raises RefusedError."""
        return await self._run(self._update(changes))

    async def rekey(self) -> int:
        """Asks for a new keyframe at the next frame; the number of the request."""
        return await self._run(self._rekey())

    async def hold(self, on: bool) -> int:
        """Stops a live film on its last frame, or lets it go on; the number of the request. Raises RefusedError."""
        return await self._run(self._hold(on))


class AsyncClient(ClientBase[AsyncSession, AsyncViewer]):
    """A connection to a daemon. Raises DaemonGone where none answers."""

    _session_class = AsyncSession
    _viewer_class = AsyncViewer

    def __init__(self, address: str | None = None, *, reconnect_s: float | None = None) -> None:
        super().__init__(address, reconnect_s=reconnect_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleepers: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> "AsyncClient":
        self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Lets go of the connection; sessions still open end with it."""
        self._link.hang_up()
        self._wake()
        await asyncio.to_thread(self._link.close)  # waits for the last words to leave

    async def ping(self, timeout_s: float = PATIENCE_S, *, may_be_starting: bool = False) -> None:
        """Returns when the daemon has answered. Raises DaemonGone after timeout_s, or at once where nobody listens."""
        await self._run(self._link.pinging(timeout_s, may_be_starting=may_be_starting))

    async def status(self) -> Status:
        """How the daemon does."""
        return await self._run(self._connection.status())

    async def _run(self, steps: Steps[T]) -> T:
        """Runs what may have to wait."""
        self._listen()
        self._pump()
        try:
            while True:
                try:
                    until = next(steps)
                except StopIteration as end:
                    result: T = end.value
                    return result
                await self._sleep(until)
        finally:
            steps.close()
            self._pump()

    async def _sleep(self, until: float | None) -> None:
        """Waits until something comes, or something is to be done."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.add(sleeper)
        try:
            self._pump()  # says what is to be answered; and what has come wakes this sleeper too
            deadline = min(self._connection.deadline, math.inf if until is None else until)
            await asyncio.wait([sleeper], timeout=max(0.0, deadline - time.monotonic()))
        finally:
            self._sleepers.discard(sleeper)
        self._pump()

    def _listen(self) -> None:
        """Has the loop take what comes, whoever waits."""
        if self._link.closed:
            raise DaemonGone("the client is closed")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._link.watch = lambda descriptor: loop.add_reader(descriptor, self._pump)
            self._link.unwatch = loop.remove_reader
            for each in self._link.descriptors:
                self._link.watch(each)

    def _pump(self) -> None:
        if not self._link.closed and self._link.pump():
            self._wake()

    def _wake(self) -> None:
        """Lets all that wait look whether it is what they wait for."""
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)


async def _one_by_one(frames: Iterable[Frame] | AsyncIterable[Frame]) -> AsyncIterator[Frame]:
    """The frames; other tasks have their turn after each."""
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
        return
    for frame in frames:
        yield frame
        await asyncio.sleep(0)
