"""The thread that owns the ROUTER: it checks what comes in, hands it to the driver, and sends what comes back.

Nothing waits here: what a client does not take is kept for it, within its window, and the others go on.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from ..proto.errors import RETRY, Code, ProtocolError
from ..proto.limits import MAX_REQUESTS, MAX_TEXT
from ..proto.messages import (
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
    Open,
    Opened,
    Painted,
    Ping,
    Pong,
    Rekey,
    Status,
    ToServer,
    Update,
    Updated,
)
from ..proto.wire import Received, pack, to_server
from .config import Settings
from .driver import Address, Command, Driver, Gone, Reply, Request, Stop, WantsStatus
from .engine_room import EngineRoom
from .sockets import RECEIVE_HIGH_WATER, bound, make_router
from .stream import Arrival

log = logging.getLogger(__name__)

# How long to wait before trying again to send to a client whose connection is full, milliseconds.
RETRY_SEND_MS = 5
# Refusals that are kept for a client that does not read; more are forgotten, as such a client breaks every rule.
MAX_REFUSALS = 1_024

# Requests that are answered by number.
Answered = Update | Rekey | Flush | Hold


@dataclass(slots=True)
class Line:
    """What the gateway knows of a session: its credit, and what its client has not yet taken."""

    window: int = 0  # 0: not yet opened
    unanswered: int = 0
    requests: int = 0  # unanswered
    last_index: int = -1
    closing: bool = False


@dataclass(slots=True)
class Peer:
    """A connection: its sessions, what is still to be sent to it, in order, and when it was last heard."""

    lines: dict[int, Line] = field(default_factory=dict)
    unsent: deque[Reply] = field(default_factory=deque)
    refusals: deque[Error] = field(default_factory=deque)  # not yet sent; of no account in any window
    heard: float = field(default_factory=time.monotonic)


class Gateway:
    """Owner of the sockets. `run` serves until SIGTERM or SIGINT, finishes what is in hand, and returns."""

    def __init__(self, settings: Settings, room: EngineRoom) -> None:
        self._settings = settings
        self._context = zmq.Context()
        self._router = make_router(self._context, heartbeat_s=settings.probe_s)
        self._wake_in, self._wake_out = socket.socketpair()
        self._replies: deque[Reply] = deque()
        self._peers: dict[bytes, Peer] = {}
        self._asking: Counter[bytes] = Counter()  # by identity, the times that `status` is still to be answered
        self._stopping = False
        self._probed = time.monotonic()
        self._driver = Driver(settings, room, self._take_reply, self._wake)

    @property
    def addresses(self) -> list[str]:
        """The addresses bound, with the ports that were chosen."""
        return list(self._addresses)

    def bind(self) -> None:
        """Binds all addresses. Raises OSError with a sentence that names the address."""
        self._addresses = [bound(self._router, address) for address in self._settings.bind]

    def run(self) -> None:
        """Serves until told to stop."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wake_in, zmq.POLLIN)
        stdin = self._stdin()
        if stdin is not None:
            poller.register(stdin, zmq.POLLIN)
        self._driver.start()
        with self._closing(), self._signals():
            while not self._driver.ended.is_set():
                ready = dict(poller.poll(self._patience_ms()))
                if self._wake_in.fileno() in ready:
                    self._wake_in.recv(4096)
                if stdin is not None and stdin in ready and not os.read(stdin, 4096):
                    poller.unregister(stdin)
                    self._stop("standard input is closed")
                if self._router in ready:
                    self._receive_all()
                self._send_replies()
                self._probe()
            self._send_replies()

    def _stdin(self) -> int | None:
        """The descriptor of standard input, if the daemon is to end with it. A process may have none."""
        if not self._settings.until_stdin_closes:
            return None
        if sys.stdin is None:
            self._stop("there is no standard input")
            return None
        return sys.stdin.fileno()

    # In

    def _receive_all(self) -> None:
        """Takes what is there, but not for ever: replies go out in between."""
        for _ in range(RECEIVE_HIGH_WATER):
            try:
                identity, *parts = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._receive(identity.bytes, [part.buffer for part in parts])

    def _receive(self, identity: bytes, parts: Sequence[memoryview]) -> None:
        peer = self._peers.get(identity)
        if peer is not None:
            peer.heard = time.monotonic()
        try:
            received = to_server(parts)
        except ProtocolError as error:
            self._refuse(identity, error.code, str(error), error.session, error.index, error.request)
            return
        message = received.message
        if isinstance(message, Ping):
            self._send_or_forget(identity, Pong(nonce=message.nonce))
        elif isinstance(message, AskStatus):
            self._status(identity, message)
        elif isinstance(message, Open):
            self._open(identity, message)
        elif not isinstance(message, Pong):
            self._in_session(identity, message, received)

    def _status(self, identity: bytes, message: AskStatus) -> None:
        if self._asking[identity] >= MAX_REQUESTS:
            text = f"{MAX_REQUESTS} requests for the status are unanswered"
            self._refuse(identity, Code.WINDOW_OVERRUN, text)
            return
        self._asking[identity] += 1
        self._driver.put(WantsStatus(identity, message))

    def _answered_status(self, identity: bytes) -> None:
        self._asking[identity] -= 1
        if self._asking[identity] <= 0:
            del self._asking[identity]

    def _open(self, identity: bytes, message: Open) -> None:
        peer = self._peers.setdefault(identity, Peer())
        if self._stopping:
            self._refuse(identity, Code.SHUTTING_DOWN, "the daemon is stopping", message.session)
        elif message.session in peer.lines:
            self._refuse(identity, Code.SESSION_EXISTS, f"session {message.session} is open already", message.session)
        elif len(peer.lines) >= self._settings.max_sessions:
            text = f"all {self._settings.max_sessions} sessions are taken"
            self._refuse(identity, Code.TOO_MANY_SESSIONS, text, message.session)
        else:
            peer.lines[message.session] = Line()
            self._driver.put(Command(Address(identity, message.session), message))

    def _in_session(self, identity: bytes, message: Request | FrameIn, received: Received[ToServer]) -> None:
        peer = self._peers.get(identity)
        line = peer.lines.get(message.session) if peer else None
        index, request = getattr(message, "index", None), getattr(message, "request", None)
        if line is None or line.closing:
            text = f"session {message.session} is not open on this connection"
            self._refuse(identity, Code.NO_SESSION, text, message.session, index, request)
        elif isinstance(message, FrameIn):
            self._frame(identity, line, message, received)
        elif line.requests >= MAX_REQUESTS and not isinstance(message, Close):
            text = f"more than {MAX_REQUESTS} requests are unanswered"
            self._refuse(identity, Code.WINDOW_OVERRUN, text, message.session, request=request)
        else:
            line.requests += isinstance(message, Answered)
            line.closing = isinstance(message, Close)
            self._driver.put(Command(Address(identity, message.session), message))

    def _frame(self, identity: bytes, line: Line, message: FrameIn, received: Received[ToServer]) -> None:
        """Takes a frame, if there is room for it and its number grows."""
        if self._stopping:
            self._refuse(identity, Code.SHUTTING_DOWN, "the daemon is stopping", message.session, message.index)
        elif line.unanswered >= line.window:
            text = f"{line.unanswered} frames are unanswered, of at most {line.window}"
            self._refuse(identity, Code.WINDOW_OVERRUN, text, message.session, message.index)
        elif message.index <= line.last_index:
            text = f"frame numbers must grow: {message.index} came after {line.last_index}"
            self._refuse(identity, Code.BAD_INDEX, text, message.session, message.index)
        else:
            line.unanswered += 1
            line.last_index = message.index
            arrival = Arrival(message, received.payloads[0], time.monotonic())
            self._driver.put(Command(Address(identity, message.session), arrival))

    # Out

    def _take_reply(self, reply: Reply) -> None:
        """Called by the driver's thread."""
        self._replies.append(reply)
        self._wake()

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"\0", socket.MSG_DONTWAIT)
        except OSError:
            return  # so many wakes are waiting already that this one is not needed; or the gateway has ended

    def _refuse(
        self,
        identity: bytes,
        code: Code,
        message: str,
        session: int | None = None,
        index: int | None = None,
        request: int | None = None,
    ) -> None:
        log.debug("refused %s: %s", identity.hex(), message)
        text, retry = message[:MAX_TEXT], RETRY[code]
        error = Error(session=session, index=index, request=request, code=code, retry=retry, message=text)
        peer = self._peers.get(identity)
        if peer is None or len(peer.refusals) >= MAX_REFUSALS:
            self._send_or_forget(identity, error)
        else:
            peer.refusals.append(error)

    def _send_replies(self) -> None:
        while self._replies:
            reply = self._replies.popleft()
            peer = self._peers.get(reply.identity)
            if peer is not None:
                peer.unsent.append(reply)
            elif isinstance(reply.message, Status):  # belongs to no session; all else is for one that has ended
                self._answered_status(reply.identity)
                self._send_or_forget(reply.identity, self._with_unsent(reply))
        for identity, peer in list(self._peers.items()):
            self._send_unsent(identity, peer)

    def _send_unsent(self, identity: bytes, peer: Peer) -> None:
        """Sends in order until the client's connection is full; then its frames stay unanswered, and it must wait."""
        while peer.refusals or peer.unsent:
            reply = Reply(identity, peer.refusals[0]) if peer.refusals else peer.unsent[0]
            message = self._with_unsent(reply)
            try:
                self._send(identity, message, reply.payloads)
            except zmq.Again:
                return
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                self._lose(identity)
                return
            if peer.refusals:
                peer.refusals.popleft()
                continue
            peer.unsent.popleft()
            if isinstance(message, Status):
                self._answered_status(identity)
            _settle(peer, message)
        if not peer.lines:
            self._peers.pop(identity, None)

    def _send(self, identity: bytes, message: Message, payloads: Sequence[Any] = ()) -> None:
        parts = [identity, pack(message), *payloads]
        self._router.send_multipart(parts, zmq.NOBLOCK, copy=not payloads)

    def _send_or_forget(self, identity: bytes, message: Message) -> None:
        """Sends an answer that belongs to no session, or that refuses. A client that does not read goes without."""
        try:
            self._send(identity, message)
        except zmq.Again:
            log.info("a client that does not read was not told: %s", message)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lose(identity)

    def _lose(self, identity: bytes) -> None:
        """The connection is gone, and its sessions with it."""
        if self._peers.pop(identity, None) is not None:
            log.info("client %s is gone", identity.hex())
            self._asking.pop(identity, None)
            self._driver.put(Gone(identity))

    def _with_unsent(self, reply: Reply) -> Message:
        """The message; if it is a Status, with what waits here for each session."""
        status = reply.message
        if not isinstance(status, Status):
            return status
        waiting = Counter(
            (identity, getattr(each.message, "session", None))
            for identity, peer in self._peers.items()
            for each in peer.unsent
        )
        sessions = tuple(
            each.model_copy(update={"unsent": waiting[address.identity, address.session]})
            for address, each in zip(reply.addresses, status.sessions, strict=True)
        )
        return status.model_copy(update={"sessions": sessions})

    # Time

    def _patience_ms(self) -> int:
        if any(peer.unsent or peer.refusals for peer in self._peers.values()):
            return RETRY_SEND_MS
        return int(self._settings.probe_s * 1000)

    def _probe(self) -> None:
        """Pings clients that have been silent: to one that is gone nothing can be sent, which is how we learn it."""
        now = time.monotonic()
        if now - self._probed < self._settings.probe_s:
            return
        self._probed = now
        for identity, peer in list(self._peers.items()):
            if now - peer.heard >= self._settings.probe_s:
                self._send_or_forget(identity, Ping())

    def _stop(self, why: str) -> None:
        log.info("%s: finishing the frames in hand", why)
        self._stopping = True
        self._driver.put(Stop())

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT begin the end. Signals wake the poll through the socket pair."""

        def stop(number: int, _frame: object) -> None:
            self._stop(signal.Signals(number).name)

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        self._wake_out.setblocking(False)
        woken = signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)

    # Sockets

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """Lets go of the sockets, also after a defect: with a context still open the process would never end."""
        try:
            yield
        finally:
            self._router.close()
            self._wake_in.close()
            self._wake_out.close()
            self._context.term()
            for address in self._settings.bind:
                if address.startswith("ipc:///"):
                    Path(address.removeprefix("ipc://")).unlink(missing_ok=True)


def _settle(peer: Peer, message: Message) -> None:
    """Keeps the accounts of what was sent: an answered frame makes room for another."""
    session = getattr(message, "session", None)
    line = None if session is None else peer.lines.get(session)
    if session is None or line is None:
        return
    if isinstance(message, Opened):
        line.window = message.credit
    elif isinstance(message, Closed) or (isinstance(message, Error) and not line.window):
        del peer.lines[session]
    elif isinstance(message, Painted | Dropped) or (isinstance(message, Error) and message.index is not None):
        line.unanswered -= 1
    elif isinstance(message, Updated | Flushed | Error) and getattr(message, "shown_at", None) is None:
        line.requests -= 1
