"""The thread that owns the ROUTER: it checks what comes in, hands it to the driver, and sends what comes back.

Nothing waits here: what a client does not take is kept for it, within its window, and the others go on.
"""

import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from ..proto.errors import RETRY, Code, ProtocolError, RefusedError
from ..proto.limits import MAX_INTEGER, MAX_REQUESTS, MAX_TEXT
from ..proto.messages import (
    Ack,
    AskStatus,
    Close,
    Closed,
    Error,
    Flush,
    FrameIn,
    Hold,
    Message,
    Open,
    Pacing,
    Ping,
    Pong,
    Rekey,
    Resume,
    Status,
    ToServer,
    Totals,
    Update,
    Watch,
)
from ..proto.wire import Received, pack, to_server
from .config import Settings
from .driver import (
    SERVER,
    Answer,
    Command,
    Driver,
    Gone,
    Opening,
    Request,
    Shows,
    StatusReply,
    Stop,
    WantsStatus,
    Watches,
)
from .engine_room import EngineRoom
from .health import TURN_S, Health
from .items import Arrival
from .line import Line, Outgoing
from .notify import Notifier
from .sockets import RECEIVE_HIGH_WATER, bound, make_router
from .store import Store
from .tallies import Depths, Tallies
from .watchers import Watcher, Watchers

log = logging.getLogger(__name__)

# How long to wait before trying again to send to a client whose connection is full, milliseconds.
RETRY_SEND_MS = 5
# Refusals that are kept for a client that does not read; more are forgotten, as such a client breaks every rule.
MAX_REFUSALS = 1_024

# Randomness of a token, bytes: whoever knows it has the session.
TOKEN_BYTES = 16
# A client that comes back to a daemon that started anew says how many answers it has had, and they are counted on from
# there. No session comes to so many, and there is room to count on.
LAST_SEQ = MAX_INTEGER // 2
# A session whose client is gone is looked after so often, milliseconds: `linger_s` is kept to within that.
LINGER_MS = 250

# Requests that are answered by number.
Answered = Update | Rekey | Flush | Hold


@dataclass(slots=True)
class Peer:
    """A connection: its sessions, what is still to be sent to it, in order, and when it was last heard."""

    lines: dict[int, Line] = field(default_factory=dict)
    unsent: deque[tuple[Line | Watcher | None, Outgoing]] = field(default_factory=deque)
    refusals: deque[Error] = field(default_factory=deque)  # not yet sent; of no account in any window
    heard: float = field(default_factory=time.monotonic)


class Gateway:
    """Owner of the sockets. `run` serves until SIGTERM or SIGINT, finishes what is in hand, and returns.

    health: told of each turn of the loops, and of what they are at. notifier: tells the service manager. part: calls
    what it is given when those have ended who are to end before it, by any thread; until then all goes on.
    """

    def __init__(
        self,
        settings: Settings,
        room: EngineRoom,
        store: Store | None = None,
        health: Health | None = None,
        notifier: Notifier | None = None,
        part: Callable[[Callable[[], None]], None] = lambda then: then(),
    ) -> None:
        self._settings = settings
        self._context = zmq.Context()
        self._router = make_router(self._context, probe_s=settings.probe_s)
        self._wake_in, self._wake_out = socket.socketpair()
        self._replies: deque[Answer] = deque()
        self._peers: dict[bytes, Peer] = {}
        self._lines: dict[str, Line] = {}  # by key
        self._watchers = Watchers()
        self._asking: Counter[bytes] = Counter()  # by identity, the times that `status` is still to be answered
        self._stopping = False
        self._sessions_return = store is not None
        self._probed = time.monotonic()
        self._health = health or Health(settings.stalled_s)
        self._notifier = notifier or Notifier()
        self._part = part
        self._driver = Driver(settings, room, self._take_reply, self._wake, store, self._health.driver)

    @property
    def addresses(self) -> list[str]:
        """The addresses bound, with the ports that were chosen."""
        return list(self._addresses)

    @property
    def tallies(self) -> Mapping[Pacing, Tallies]:
        """What became of all frames, by pacing. For any thread."""
        return self._driver.tallies

    def depths(self) -> Depths:
        """How much waits where. For any thread."""
        sessions, frames, commands = self._driver.waiting()
        lost = sum(line.peer is None and not line.over for line in list(self._lines.values()))
        unsent = sum(len(peer.unsent) for peer in list(self._peers.values()))
        return Depths(sessions, lost, commands, frames, len(self._replies), unsent)

    def bind(self) -> None:
        """Binds all addresses. Raises OSError with a sentence that names the address."""
        self._addresses = [bound(self._router, address) for address in self._settings.bind]

    def run(self, announce: Callable[[], None]) -> None:
        """Serves until told to stop. `announce` is called when it may be told to."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wake_in, zmq.POLLIN)
        stdin = self._stdin()
        if stdin is not None:
            poller.register(stdin, zmq.POLLIN)
        for key, stored in self._driver.restored().items():
            self._lines[key] = stored.line(key, time.monotonic())
        self._driver.start()
        with self._closing(), self._signals():
            self._health.phase = "draining" if self._stopping else "serving"
            announce()
            while not self._driver.ended.is_set():
                self._health.gateway.turned()
                self._notifier.feed(self._health)
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
        elif isinstance(message, Resume):
            self._resume(identity, message)
        elif isinstance(message, Watch):
            self._watch(identity, message)
        elif isinstance(message, Pong):
            pass
        elif (watcher := self._watchers.get(identity, message.session)) is not None:
            self._in_watching(identity, watcher, message)
        else:
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
        elif _taken(peer, message.session) or self._watchers.get(identity, message.session):
            self._refuse(identity, Code.SESSION_EXISTS, f"session {message.session} is open already", message.session)
        elif self._open_lines() >= self._settings.max_sessions and not self._made_room():
            text = f"all {self._settings.max_sessions} sessions are taken"
            self._refuse(identity, Code.TOO_MANY_SESSIONS, text, message.session)
        else:
            asked = self._settings.linger_s if message.linger_s is None else message.linger_s
            key = secrets.token_urlsafe(TOKEN_BYTES)
            line = Line(key, message.session, identity, linger_s=min(asked, self._settings.linger_s))
            peer.lines[message.session] = self._lines[key] = line
            self._driver.put(Command(key, Opening(message, line.linger_s, line.outlet)))

    def _open_lines(self) -> int:
        return sum(not line.over for line in self._lines.values())

    def _made_room(self) -> bool:
        """Ends the session that has waited longest for a client that is gone. False: there is none."""
        waiting = [line for line in self._lines.values() if line.peer is None and not line.over]
        if not waiting:
            return False
        self._end_line(min(waiting, key=lambda line: line.lost_at))
        return True

    def _resume(self, identity: bytes, message: Resume) -> None:
        line = self._lines.get(message.token)
        peer = self._peers.setdefault(identity, Peer())
        if line is None or not line.window:
            text = "no session waits under this token: it has ended, or its client was gone for too long"
            self._refuse(identity, Code.UNKNOWN_TOKEN, text, message.session)
        elif message.seq > LAST_SEQ:
            self._refuse(identity, Code.INVALID_FIELD, f"seq: no session has {message.seq} answers", message.session)
        elif self._watchers.get(identity, message.session) or (
            _taken(peer, message.session) and peer.lines[message.session] is not line
        ):
            self._refuse(identity, Code.SESSION_EXISTS, f"session {message.session} is open already", message.session)
        else:
            self._move(line, identity, peer, message)

    def _move(self, line: Line, identity: bytes, peer: Peer, message: Resume) -> None:
        """The session goes on on this connection; its old one, if it still stands, hears no more of it."""
        old = self._peers.get(line.peer) if line.peer is not None else None
        if old is not None and line.peer is not None:
            moved = Closed(session=line.session, reason="moved", totals=Totals())
            _detach(old, line)
            if line.peer != identity:
                old.unsent.append((None, Outgoing(moved)))
        resumed = line.resumed(message, identity, SERVER)
        peer.lines[line.session] = line
        peer.unsent.append((line, Outgoing(resumed)))
        peer.unsent.extend((line, each) for each in line.kept)
        log.info("session %d goes on at %s", line.session, identity.hex())

    def _acknowledged(self, line: Line, message: Ack) -> None:
        line.acknowledge(message.seq)
        if line.over and not line.kept:
            self._let_go(line)

    def _watch(self, identity: bytes, message: Watch) -> None:
        """Begins a watching, or changes one."""
        peer, number = self._peers.setdefault(identity, Peer()), message.session
        if self._settings.watching == "off":
            self._refuse(identity, Code.UNSUPPORTED, "this daemon lets nobody watch (its setting `watching`)", number)
        elif self._stopping:
            self._refuse(identity, Code.SHUTTING_DOWN, "the daemon is stopping", number)
        elif _taken(peer, number):
            self._refuse(identity, Code.SESSION_EXISTS, f"session {number} is open already", number)
        else:
            try:
                self._driver.put(Watches(self._watchers.begun(identity, message), message))
            except RefusedError as error:
                self._refuse(identity, error.code, str(error), number)

    def _in_watching(self, identity: bytes, watcher: Watcher, message: Request | FrameIn | Ack) -> None:
        if isinstance(message, Ack):
            watcher.acknowledge(message.seq)
            return
        try:
            self._driver.put(Watches(watcher, watcher.taken(message)))
        except RefusedError as error:
            index, request = getattr(message, "index", None), getattr(message, "request", None)
            self._refuse(identity, error.code, str(error), watcher.number, index, request)

    def _in_session(self, identity: bytes, message: Request | FrameIn | Ack, received: Received[ToServer]) -> None:
        peer = self._peers.get(identity)
        line = peer.lines.get(message.session) if peer else None
        if isinstance(message, Ack):
            if line is not None:
                self._acknowledged(line, message)
            return
        index, request = getattr(message, "index", None), getattr(message, "request", None)
        if line is None or line.closing:
            text = f"session {message.session} is not open on this connection"
            self._refuse(identity, Code.NO_SESSION, text, message.session, index, request)
            return
        if self._stopping and self._sessions_return and not isinstance(message, Close):
            return  # it is sent again to the daemon that takes the session up
        try:
            self._take(line, message, received)
        except RefusedError as error:
            self._refuse(identity, error.code, str(error), message.session, index, request)

    def _take(self, line: Line, message: Request | FrameIn, received: Received[ToServer]) -> None:
        """Takes what a client sends in a session. Raises RefusedError for what cannot be taken."""
        if isinstance(message, FrameIn):
            if self._stopping:
                raise RefusedError(Code.SHUTTING_DOWN, "the daemon is stopping")
            line.take_frame(message)
            payload, *images = received.payloads
            self._driver.put(Command(line.key, Arrival(message, payload, time.monotonic(), tuple(images))))
        else:
            if isinstance(message, Answered):
                line.requests.take(message.request)
            line.closing = isinstance(message, Close)
            self._driver.put(Command(line.key, message))

    # Out

    def _take_reply(self, reply: Answer) -> None:
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
            if isinstance(reply, StatusReply):
                self._reply_status(reply)
            elif isinstance(reply, Shows):
                peer = self._peers.get(reply.watcher.peer)
                if peer is not None and self._watchers.stands(reply.watcher):
                    peer.unsent.append((reply.watcher, Outgoing(reply.message, reply.payloads)))
            elif (line := self._lines.get(reply.key)) is not None:  # or its session has ended
                outgoing = line.outgoing(reply.message, reply.payloads)
                peer = None if line.peer is None else self._peers.get(line.peer)
                if peer is not None:
                    peer.unsent.append((line, outgoing))
        for identity, peer in list(self._peers.items()):
            self._send_unsent(identity, peer)

    def _send_unsent(self, identity: bytes, peer: Peer) -> None:
        """Sends in order until the client's connection is full; then its frames stay unanswered, and it must wait."""
        while peer.refusals or peer.unsent:
            owner, outgoing = (None, Outgoing(peer.refusals[0])) if peer.refusals else peer.unsent[0]
            try:
                self._send(identity, outgoing.message, outgoing.payloads)
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
            if isinstance(outgoing.message, Status):
                self._answered_status(identity)
            if isinstance(owner, Watcher):
                if owner.sent(outgoing.message):
                    self._watchers.end(owner)
            elif owner is not None and owner.sent(outgoing):
                self._is_over(owner)
        if not peer.lines and not self._watchers.watches(identity):
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
        """The connection is gone. Its sessions wait for their client to come back, as long as they may."""
        peer = self._peers.pop(identity, None)
        if peer is None:
            return
        log.info("client %s is gone", identity.hex())
        self._asking.pop(identity, None)
        for watcher in self._watchers.lost(identity):
            self._driver.put(Watches(watcher, Close(session=watcher.number)))
        for line in peer.lines.values():
            line.peer = None
            line.lost_at = line.lost_at if line.over else time.monotonic()
            if not line.linger_s or not line.window:
                self._end_line(line)

    def _is_over(self, line: Line) -> None:
        """A session has ended. Its last answers may be lost with the connection: they are kept for a while."""
        line.over, line.lost_at = True, time.monotonic()
        if not line.kept or not line.linger_s:
            self._let_go(line)
        over = [each for each in self._lines.values() if each.over]
        if len(over) > self._settings.max_sessions:
            self._let_go(min(over, key=lambda each: each.lost_at))

    def _let_go(self, line: Line) -> None:
        """Nobody will ask for a session that is over."""
        self._lines.pop(line.key, None)
        peer = None if line.peer is None else self._peers.get(line.peer)
        if peer is not None and peer.lines.get(line.session) is line:
            del peer.lines[line.session]

    def _end_line(self, line: Line) -> None:
        """Nobody waits for this session any more."""
        self._lines.pop(line.key, None)
        self._driver.put(Gone(line.key))

    def _reply_status(self, reply: StatusReply) -> None:
        """Sends a Status, with what is known here of each session."""
        lines = [self._lines.get(key) for key in reply.keys]
        waiting = Counter(
            owner.key for peer in self._peers.values() for owner, _ in peer.unsent if isinstance(owner, Line)
        )
        sessions = tuple(
            each.model_copy(update={"unsent": waiting[key], "connected": line is not None and line.peer is not None})
            for key, line, each in zip(reply.keys, lines, reply.status.sessions, strict=True)
        )
        status = reply.status.model_copy(update={"sessions": sessions})
        peer = self._peers.get(reply.identity)
        if peer is not None:
            peer.unsent.append((None, Outgoing(status)))
        else:
            self._answered_status(reply.identity)
            self._send_or_forget(reply.identity, status)

    # Time

    def _patience_ms(self) -> int:
        if any(peer.unsent or peer.refusals for peer in self._peers.values()):
            return RETRY_SEND_MS
        if any(line.peer is None or line.over for line in self._lines.values()):
            return LINGER_MS
        return int(min(self._settings.probe_s, TURN_S) * 1000)

    def _probe(self) -> None:
        """Pings clients that have been silent: to one that is gone nothing can be sent, which is how we learn it."""
        now = time.monotonic()
        for line in [each for each in self._lines.values() if each.peer is None or each.over]:
            if now - line.lost_at <= line.linger_s:
                continue
            if line.over:
                self._let_go(line)
            else:
                log.info("the client of session %d has not come back in %g s", line.session, line.linger_s)
                self._end_line(line)
        if now - self._probed < self._settings.probe_s:
            return
        self._probed = now
        for identity, peer in list(self._peers.items()):
            if now - peer.heard >= self._settings.probe_s:
                self._send_or_forget(identity, Ping())

    def _stop(self, why: str) -> None:
        log.info("%s: finishing the frames in hand", why)
        self._health.phase = "draining"
        self._notifier.say("STOPPING=1", "STATUS=finishing the frames in hand")
        self._part(self._drain)

    def _drain(self) -> None:
        """Takes no more frames. Called by any thread, and perhaps again."""
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


def _taken(peer: Peer, number: int) -> bool:
    """Whether a session of this number is open on a connection."""
    line = peer.lines.get(number)
    return line is not None and not line.over


def _detach(peer: Peer, line: Line) -> None:
    """Takes a session from a connection, with what was still to be sent there."""
    peer.lines = {number: each for number, each in peer.lines.items() if each is not line}
    peer.unsent = deque((owner, each) for owner, each in peer.unsent if owner is not line)
