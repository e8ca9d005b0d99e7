"""A small daemon that speaks by the SPEC and paints nothing: pictures come back as they went. It does what it is told:
it vanishes, comes back, forgets, or goes on with what it knew before.
"""

import copy
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import zmq

from warpaint.proto.errors import RETRY, Code
from warpaint.proto.messages import (
    Ack,
    AskStatus,
    Close,
    Closed,
    Dropped,
    Error,
    Flush,
    Flushed,
    FrameIn,
    Hold,
    Message,
    Notice,
    Open,
    Opened,
    Painted,
    Part,
    Ping,
    Pong,
    Provenance,
    Rekey,
    Resume,
    Resumed,
    Status,
    Totals,
    Update,
    Updated,
)
from warpaint.proto.wire import pack, to_server

T = TypeVar("T")
SERVER = "router under test"
LOOK_AFTER_MS = 2
DONE_WITHIN_S = 20.0


@dataclass
class Sitting:
    """A session as the router keeps it. pending: taken and not answered; kept: answered and not acknowledged."""

    token: str
    opening: Open
    identity: bytes | None
    number: int
    last_index: int | None = None
    last_request: int = 0
    seq: int = 0
    painted: int = 0
    pending: deque[tuple[FrameIn, bytes]] = field(default_factory=deque)
    kept: deque[tuple[Any, tuple[bytes, ...]]] = field(default_factory=deque)
    ended: bool = False


class Router:
    """The router, in a thread of its own. Its methods may be called by any other."""

    def __init__(self, address: str, *, window: int = 8, linger_s: float = 30.0) -> None:
        self.address = address
        self.window = window
        self.linger_s = linger_s
        self.paints = True  # False: frames wait until `paint`
        self.mute = False
        self.sittings: dict[str, Sitting] = {}
        self.taken: list[int] = []  # indices of frames, in the order in which they were taken
        self.received: list[Message] = []  # all but frames, pings and acks
        self.acks: list[int] = []
        self.refused: list[Code] = []
        self._tokens = 0
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._orders: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="router")

    def __enter__(self) -> "Router":
        self._thread.start()
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._context.term()

    # What a test may tell it

    def do(self, order: Callable[[], T]) -> T:
        """Has its thread do something."""
        done: Future[T] = Future()
        self._orders.put((order, done))
        return done.result(DONE_WITHIN_S)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """It does nothing in this block; what is sent to it waits."""
        over = threading.Event()
        done: Future[bool] = Future()
        self._orders.put((over.wait, done))
        try:
            yield
        finally:
            over.set()
            done.result(DONE_WITHIN_S)

    def vanish(self) -> None:
        """The connections are gone, and nobody listens. What it knew it keeps."""
        self.do(self._unbind)

    def come_back(self) -> None:
        """Listens again."""
        self.do(self._bind)

    def forget(self) -> None:
        """The sessions are gone."""
        self.do(self.sittings.clear)

    def written_down(self) -> dict[str, Sitting]:
        """What it knows now, for `restart`."""
        return self.do(lambda: copy.deepcopy(self.sittings))

    def restart(self, known: dict[str, Sitting]) -> None:
        """Vanishes, and comes back with what it knew then."""
        self.vanish()
        self.do(lambda: self.sittings.update({token: replace(each, identity=None) for token, each in known.items()}))
        self.come_back()

    def paint(self, frames: int = 1) -> None:
        """Answers frames that wait."""

        def paint() -> None:
            for sitting in self.sittings.values():
                for _ in range(min(frames, len(sitting.pending))):
                    self._paint(sitting)

        self.do(paint)

    def drop(self, reason: Code, stage: str = "queue") -> None:
        """Drops the oldest frame that waits."""

        def drop() -> None:
            for sitting in self.sittings.values():
                frame, _ = sitting.pending.popleft()
                told = Dropped(session=sitting.number, index=frame.index, pts=frame.pts, stage=stage, reason=reason)
                self._answer(sitting, told)

        self.do(drop)

    def notice(self, code: Code, message: str) -> None:
        """Tells all sessions of something."""

        def tell() -> None:
            for each in self.sittings.values():
                self._send(each.identity, Notice(session=each.number, code=code, message=message))

        self.do(tell)

    # Inside

    def _serve(self) -> None:
        while not self._over.is_set():
            while not self._orders.empty():
                order, done = self._orders.get()
                try:
                    done.set_result(order())
                except Exception as error:  # handed to the test
                    done.set_exception(error)
            if self._socket is None:
                self._over.wait(LOOK_AFTER_MS / 1000)
            elif self._socket.poll(LOOK_AFTER_MS):
                identity, *parts = self._socket.recv_multipart()
                self._take(identity, parts)
        self._unbind()

    def _bind(self) -> None:
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.bind(self.address)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _unbind(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def _take(self, identity: bytes, parts: Sequence[bytes]) -> None:
        received = to_server(parts)
        message = received.message
        if self.mute:
            return
        if isinstance(message, Ping):
            self._send(identity, Pong(nonce=message.nonce))
        elif isinstance(message, AskStatus):
            self._send(identity, Status(server=SERVER, pid=1, uptime_s=1.0, resident_bytes=1, engines=(), sessions=()))
        elif isinstance(message, Open):
            self._open(identity, message)
        elif isinstance(message, Resume):
            self._resume(identity, message)
        elif not isinstance(message, Pong):
            self._in_session(identity, message, received.payloads)

    def _open(self, identity: bytes, message: Open) -> None:
        self.received.append(message)
        if self._at(identity, message.session):
            self._refuse(identity, Code.SESSION_EXISTS, message)
            return
        self._tokens += 1
        sitting = Sitting(f"token-{self._tokens}", message, identity, message.session)
        self.sittings[sitting.token] = sitting
        opened = Opened(
            session=message.session,
            token=sitting.token,
            credit=self.window,
            epoch=0,
            painter="identity",
            flow="none",
            looks=("plain",),
            width=message.source.width,
            height=message.source.height,
            server=SERVER,
            linger_s=self.linger_s,
        )
        self._send(identity, opened)

    def _resume(self, identity: bytes, message: Resume) -> None:
        self.received.append(message)
        sitting = self.sittings.get(message.token)
        if sitting is None:
            self._refuse(identity, Code.UNKNOWN_TOKEN, message)
            return
        if self._at(identity, message.session):
            self._refuse(identity, Code.SESSION_EXISTS, message)
            return
        self._send(sitting.identity, Closed(session=sitting.number, reason="moved", totals=Totals()))
        sitting.identity, sitting.number = identity, message.session
        sitting.seq = max(sitting.seq, message.seq)
        self._forget_up_to(sitting, message.seq)
        to_come = [each.index for each, _ in sitting.kept if isinstance(each, Painted | Dropped)]
        resumed = Resumed(
            session=sitting.number,
            credit=self.window,
            epoch=0,
            last_index=sitting.last_index,
            last_request=sitting.last_request,
            pending=(*to_come, *(frame.index for frame, _ in sitting.pending)),
            server=SERVER,
        )
        self._send(identity, resumed)
        for answer, payloads in sitting.kept:
            self._send(identity, answer.model_copy(update={"session": sitting.number}), *payloads)

    def _in_session(self, identity: bytes, message: Any, payloads: Sequence[Any]) -> None:
        sitting = self._at(identity, message.session)
        if isinstance(message, Ack):
            self.acks.append(message.seq)
            if sitting is not None:
                self._forget_up_to(sitting, message.seq)
        elif sitting is None:
            self._refuse(identity, Code.NO_SESSION, message)
        elif isinstance(message, FrameIn):
            self._frame(sitting, message, bytes(payloads[0]))
        elif isinstance(message, Close):
            self.received.append(message)
            self._close(sitting)
        elif isinstance(message, Update | Rekey | Hold | Flush):
            self._request(sitting, message)

    def _frame(self, sitting: Sitting, message: FrameIn, payload: bytes) -> None:
        identity = sitting.identity or b""
        if sitting.last_index is not None and message.index <= sitting.last_index:
            self._refuse(identity, Code.BAD_INDEX, message)
        elif len(sitting.pending) >= self.window:
            self._refuse(identity, Code.WINDOW_OVERRUN, message)
        else:
            sitting.last_index = message.index
            self.taken.append(message.index)
            sitting.pending.append((message, payload))
            if self.paints:
                self._paint(sitting)

    def _request(self, sitting: Sitting, message: Update | Rekey | Hold | Flush) -> None:
        if message.request <= sitting.last_request:
            self._refuse(sitting.identity or b"", Code.BAD_INDEX, message)
            return
        self.received.append(message)
        sitting.last_request = message.request
        if isinstance(message, Flush):
            while sitting.pending:
                self._paint(sitting)
            self._answer(sitting, Flushed(session=sitting.number, request=message.request))
        else:
            self._answer(sitting, Updated(session=sitting.number, request=message.request))

    def _close(self, sitting: Sitting) -> None:
        while sitting.pending:
            self._paint(sitting)
        sitting.ended = True
        totals = Totals(received=sitting.painted, painted=sitting.painted)
        self._answer(sitting, Closed(session=sitting.number, reason="asked", totals=totals))

    def _paint(self, sitting: Sitting) -> None:
        frame, payload = sitting.pending.popleft()
        sitting.painted += 1
        painted = Painted(
            session=sitting.number,
            index=frame.index,
            pts=frame.pts,
            epoch=0,
            provenance=Provenance.PAINTED,
            parts=(Part(name="picture"),),
        )
        self._answer(sitting, painted, payload)

    def _answer(
        self, sitting: Sitting, answer: Painted | Dropped | Updated | Flushed | Closed, *payloads: bytes
    ) -> None:
        sitting.seq += 1
        numbered = answer.model_copy(update={"seq": sitting.seq})
        sitting.kept.append((numbered, payloads))
        while sum(bool(each) for _, each in sitting.kept) > self.window:
            sitting.kept.popleft()
        self._send(sitting.identity, numbered, *payloads)

    def _forget_up_to(self, sitting: Sitting, seq: int) -> None:
        while sitting.kept and sitting.kept[0][0].seq <= seq:
            sitting.kept.popleft()

    def _at(self, identity: bytes, number: int) -> Sitting | None:
        for each in self.sittings.values():
            if (each.identity, each.number) == (identity, number) and not each.ended:
                return each
        return None

    def _refuse(self, identity: bytes, code: Code, message: Any) -> None:
        self.refused.append(code)
        index, request = getattr(message, "index", None), getattr(message, "request", None)
        text = f"{code}, says the router"
        told = Error(session=message.session, index=index, request=request, code=code, retry=RETRY[code], message=text)
        self._send(identity, told)

    def _send(self, identity: bytes | None, message: Message, *payloads: bytes) -> None:
        """Without ROUTER_MANDATORY, what goes to a connection that is gone is dropped by ZeroMQ."""
        if identity is not None and self._socket is not None:
            self._socket.send_multipart([identity, pack(message), *payloads])
