"""The thread that owns the streams: it runs each to its next ask, has the ask answered, and goes round.

Commands come in through a queue; replies go out through a callback. Painting is asked of the painters' own threads,
flow is computed here, one ask at a time a stream, so that streams take turns.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psutil

from .. import __version__
from ..proto.errors import RETRY, Code, ProtocolError, RefusedError
from ..proto.limits import MAX_STATUS_SESSIONS
from ..proto.messages import (
    AskStatus,
    Close,
    Credit,
    Error,
    Flush,
    Hold,
    Message,
    Open,
    Rekey,
    RequestKeyframe,
    Status,
    Update,
)
from .asks import PaintAsk
from .config import Settings
from .engine_room import EngineRoom, Painting
from .stream import Arrival, Ending, Stream

log = logging.getLogger(__name__)

SERVER = f"warpaint {__version__}"
# How often the driver looks after painters that may have run out of time, while one paints, seconds.
LOOK_AFTER_S = 0.25


@dataclass(frozen=True, slots=True)
class Address:
    """Where a session's messages go: the connection's ZeroMQ identity, and the number that the client gave it."""

    identity: bytes
    session: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A message to a client. `session` is None for those that belong to none."""

    identity: bytes
    message: Message
    payloads: Sequence[Any] = ()
    addresses: Sequence[Address] = ()  # of the sessions of a Status, in order


Request = Update | Rekey | RequestKeyframe | Flush | Hold | Close


@dataclass(frozen=True, slots=True)
class Command:
    """What a client asks of its session."""

    address: Address
    item: Open | Arrival | Request


@dataclass(frozen=True, slots=True)
class Gone:
    """A client is no longer there."""

    identity: bytes


@dataclass(frozen=True, slots=True)
class WantsStatus:
    """A client asks how the daemon does."""

    identity: bytes
    ask: AskStatus


class Wake:
    """A painter has finished."""


class Stop:
    """Finish the frames in hand, then end."""


@dataclass(slots=True)
class Lane:
    """A stream, the painter that it uses, and what it waits for."""

    stream: Stream
    painter: str
    painting: Painting | None = None
    answer: Any = None
    failure: RefusedError | None = None


class Driver:
    """Owner of all streams. Other threads call `put` and read `ended` alone.

    `reply` is called in the driver's thread; `wake` when all is done.
    """

    def __init__(
        self, settings: Settings, room: EngineRoom, reply: Callable[[Reply], None], wake: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._room = room
        self._reply = reply
        self._wake = wake
        self.ended = threading.Event()
        self._commands: queue.SimpleQueue[Command | Gone | WantsStatus | Wake | Stop] = queue.SimpleQueue()
        self._lanes: dict[Address, Lane] = {}
        self._stop_by: float | None = None
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()

    def put(self, command: Command | Gone | WantsStatus | Wake | Stop) -> None:
        """Hands over a command."""
        self._commands.put(command)

    # The loop

    def _run(self) -> None:
        idle = True
        while not self._finished():
            self._take(wait=idle)
            idle = True
            for address, lane in list(self._lanes.items()):
                try:
                    idle &= not self._advance(lane)
                except Exception:
                    log.exception("session %d of %s failed", address.session, address.identity.hex())
                    self._fail(lane)
                if lane.stream.ended:
                    self._lanes.pop(address, None)
        self.ended.set()
        self._wake()

    def _finished(self) -> bool:
        if self._stop_by is None:
            return False
        if time.monotonic() > self._stop_by:
            for lane in self._lanes.values():
                self._cancel(lane)
                lane.stream.end("shutting_down")
            self._lanes.clear()
        return not self._lanes

    def _take(self, *, wait: bool) -> None:
        """Takes all commands that are there; if there is nothing else to do, waits for one."""
        timeout = LOOK_AFTER_S if self._stop_by or any(lane.painting for lane in self._lanes.values()) else None
        try:
            command = self._commands.get(block=wait, timeout=timeout)
            while True:
                self._do_contained(command)
                command = self._commands.get_nowait()
        except queue.Empty:
            return

    def _advance(self, lane: Lane) -> bool:
        """Takes a stream one ask further. False: it waits for a painter, or has nothing to do."""
        stream = lane.stream
        if lane.painting is not None:
            if not lane.painting.finished.is_set() and not self._room.overdue(lane.painter, lane.painting):
                return False
            lane.answer, lane.painting = lane.painting.done, None
        if stream.serving is None:
            if not stream.inbox:
                return False
            stream.serving = stream.serve(stream.inbox.popleft())
        try:
            failure, answer = lane.failure, lane.answer
            lane.failure = lane.answer = None
            ask = stream.serving.throw(failure) if failure else stream.serving.send(answer)
        except StopIteration:
            stream.serving = None
            return True
        if isinstance(ask, PaintAsk):
            lane.painting = self._room.paint(lane.painter, ask, lambda: self.put(Wake()))
            return False
        try:
            [lane.answer] = self._room.flows[stream.flow].answer([ask])
        except RefusedError as error:
            lane.failure = error
        return True

    def _fail(self, lane: Lane) -> None:
        """Ends a session that has a defect, so that the others go on."""
        self._cancel(lane)
        lane.stream.end("failed")

    def _cancel(self, lane: Lane) -> None:
        if lane.painting is not None:
            lane.painting.cancelled.set()
            lane.painting = None
        lane.answer = lane.failure = None
        lane.stream.discard()

    # Commands

    def _do_contained(self, command: Command | Gone | WantsStatus | Wake | Stop) -> None:
        """Does it. A defect ends the session that it is about, and nothing else."""
        try:
            self._do(command)
        except Exception:
            log.exception("command %s failed", type(command).__name__)
            if isinstance(command, Command):
                lane = self._lanes.get(command.address)
                if lane is not None:
                    self._fail(lane)
                else:
                    self._error(command.address, Code.INTERNAL, "a defect of the daemon; its log has more")

    def _do(self, command: Command | Gone | WantsStatus | Wake | Stop) -> None:
        if isinstance(command, Command):
            self._do_for_session(command)
        elif isinstance(command, Gone):
            for address in [each for each in self._lanes if each.identity == command.identity]:
                lane = self._lanes.pop(address)
                self._cancel(lane)
                lane.stream.end("client_gone")
        elif isinstance(command, WantsStatus):
            self._reply(
                Reply(command.identity, self._status(), addresses=tuple(islice(self._lanes, MAX_STATUS_SESSIONS)))
            )
        elif isinstance(command, Stop) and self._stop_by is None:
            self._stop_by = time.monotonic() + self._settings.drain_s
            for address, lane in self._lanes.items():
                self._reply(Reply(address.identity, Credit(session=address.session, frames=0)))
                lane.stream.inbox.append(Ending("shutting_down"))

    def _do_for_session(self, command: Command) -> None:
        address, item = command.address, command.item
        if isinstance(item, Open):
            self._open(address, item)
            return
        lane = self._lanes.get(address)
        if lane is None:
            self._error(address, Code.NO_SESSION, f"session {address.session} is not open")
            return
        if isinstance(item, Close) and item.discard:
            self._cancel(lane)
        lane.stream.put(item)

    def _open(self, address: Address, item: Open) -> None:
        painter = item.painter or self._settings.painters[0]
        flow = item.flow or self._settings.flows[0]
        try:
            self._check_engines(painter, flow)
            looks = self._room.painters[painter].painter.looks

            def send(message: Message, payloads: Sequence[Any]) -> None:
                self._reply(Reply(address.identity, message, payloads))

            stream = Stream(item, self._settings, looks, flow, send)
        except (RefusedError, ProtocolError) as error:
            self._error(address, error.code, str(error))
            return
        self._lanes[address] = Lane(stream, painter)
        log.info("session %d of %s: %s opened, %s", address.session, address.identity.hex(), item.client, stream.canvas)
        self._reply(Reply(address.identity, stream.opened(painter, self._settings.window, SERVER)))

    def _check_engines(self, painter: str, flow: str) -> None:
        if len(self._lanes) >= self._settings.max_sessions:
            raise RefusedError(Code.TOO_MANY_SESSIONS, f"all {self._settings.max_sessions} sessions are taken")
        if painter not in self._room.painters:
            known = ", ".join(self._room.painters)
            raise RefusedError(Code.UNKNOWN_ENGINE, f"this daemon holds no painter {painter!r}; it holds {known}")
        if flow not in self._settings.flows:
            known = ", ".join(self._settings.flows)
            raise RefusedError(Code.UNKNOWN_ENGINE, f"this daemon holds no flow {flow!r}; it holds {known}")

    def _error(self, address: Address, code: Code, message: str) -> None:
        error = Error(session=address.session, code=code, retry=RETRY[code], message=message)
        self._reply(Reply(address.identity, error))

    def _status(self) -> Status:
        return Status(
            server=SERVER,
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._started,
            resident_bytes=psutil.Process().memory_info().rss,
            engines=self._room.status(),
            sessions=tuple(
                lane.stream.status(lane.painter) for lane in islice(self._lanes.values(), MAX_STATUS_SESSIONS)
            ),
        )
