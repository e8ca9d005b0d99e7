"""The thread that owns the streams: it runs each to its next ask, has the asks answered together, and goes round.

Commands come in through a queue; replies go out through a callback. Painting is asked of the painters' own threads,
flow is computed here: the asks of live streams that may be answered together are one call of the engine, those of
pacing `every` are answered alone. Streams that have used more time than others wait for them.
"""

import hashlib
import logging
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, get_args

import psutil

from .. import __version__
from ..engines.registry import brief_rule
from ..proto.errors import RETRY, Code, ProtocolError, RefusedError, WarpaintError
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
    Pacing,
    Rekey,
    RequestKeyframe,
    Status,
    Update,
    Watch,
)
from . import containment
from .admission import Admission
from .asks import PaintAsk
from .config import Settings
from .engine_room import EngineRoom, Painting
from .health import TURN_S, Pulse
from .items import Arrival, Ending, Reason, Steering
from .lane import Lane, Turns, weight
from .line import Outlet
from .store import Store, Stored
from .stream import Stream
from .tallies import Tallies
from .views import View
from .watchers import Watcher

log = logging.getLogger(__name__)

SERVER = f"warpaint {__version__}"
# How often the driver looks after painters that may have run out of time, while one paints, seconds.
LOOK_AFTER_S = 0.25
# Of the name of a session, for those who watch: enough that no two of a daemon's sessions have the same.
PUBLIC_ID_BYTES = 6


@dataclass(frozen=True, slots=True)
class Opening:
    """A session to be opened, as the gateway has admitted it."""

    message: Open
    linger_s: float
    outlet: Outlet


@dataclass(frozen=True, slots=True)
class Reply:
    """A message of a session to its client."""

    key: str
    message: Message
    payloads: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class StatusReply:
    """How the daemon does; `keys` are those of the sessions that the Status lists, in order."""

    identity: bytes
    status: Status
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Shows:
    """A message of a session to somebody who watches it."""

    watcher: Watcher
    message: Message
    payloads: Sequence[Any] = ()


Request = Update | Rekey | RequestKeyframe | Flush | Hold | Close
Answer = Reply | StatusReply | Shows


@dataclass(frozen=True, slots=True)
class Command:
    """What a client asks of its session."""

    key: str
    item: Opening | Arrival | Request


@dataclass(frozen=True, slots=True)
class Gone:
    """A session's client is gone, and will not come back."""

    key: str


@dataclass(frozen=True, slots=True)
class Watches:
    """A client watches a session, or asks something of the one that it watches, or ends the watching."""

    watcher: Watcher
    message: Watch | Steering | Close


@dataclass(frozen=True, slots=True)
class WantsStatus:
    """A client asks how the daemon does."""

    identity: bytes
    ask: AskStatus


class Wake:
    """A painter has finished."""


class Stop:
    """Finish the frames in hand, then end."""


Order = Command | Gone | Watches | WantsStatus | Wake | Stop


class Driver:
    """Owner of all streams. Other threads call `put` and `waiting`, and read `ended` and `tallies` alone.

    `reply` is called in the driver's thread; `wake` when all is done. store: where sessions are written down. pulse:
    told of each turn of the loop.
    """

    def __init__(
        self,
        settings: Settings,
        room: EngineRoom,
        reply: Callable[[Answer], None],
        wake: Callable[[], None],
        store: Store | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._settings = settings
        self._room = room
        self._reply = reply
        self._wake = wake
        self._store = store
        self._pulse = pulse or Pulse()
        self.tallies: Mapping[Pacing, Tallies] = {pacing: Tallies() for pacing in get_args(Pacing)}
        self._admission = Admission(room)
        self.ended = threading.Event()
        self._commands: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._lanes: dict[str, Lane] = {}
        self._views: dict[Watcher, tuple[Lane, View]] = {}
        self._turns = Turns()
        self._stop_by: float | None = None
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()

    def put(self, command: Order) -> None:
        """Hands over a command."""
        self._commands.put(command)

    def waiting(self) -> tuple[Counter[Pacing], int, int]:
        """The sessions by pacing, the frames not begun, and the commands not taken. For any thread."""
        streams = [lane.stream for lane in list(self._lanes.values())]
        sessions = Counter(stream.opening.pacing for stream in streams)
        frames = sum(isinstance(item, Arrival) for stream in streams for item in stream.inbox.copy())
        return sessions, frames, self._commands.qsize()

    # The loop

    def _run(self) -> None:
        idle = True
        while not self._finished():
            self._pulse.turned()
            self._take(wait=idle)
            ready = [lane for lane in self._lanes.values() if self._contained(lane, self._is_ready)]
            turn = self._turns.next(ready)
            for lane in turn:
                self._contained(lane, self._advance)
            self._answer([lane for lane in turn if lane.ask is not None])
            self._store_all()
            for lane in [each for each in self._lanes.values() if each.stream.ended]:
                self._forget(lane)
            idle = not ready
        self.ended.set()
        self._wake()

    def _finished(self) -> bool:
        if self._stop_by is None:
            return False
        if time.monotonic() > self._stop_by:
            for lane in list(self._lanes.values()):
                self._cancel(lane, to_return=self._store is not None)
                self._end(lane, "shutting_down")
                self._forget(lane)
        return not self._lanes

    def _take(self, *, wait: bool) -> None:
        """Takes all commands that are there; if there is nothing else to do, waits for one, for a while."""
        watched = self._stop_by or (self._store and self._lanes) or any(lane.paintings for lane in self._lanes.values())
        try:
            command = self._commands.get(block=wait, timeout=LOOK_AFTER_S if watched else TURN_S)
            while True:
                self._do_contained(command)
                command = self._commands.get_nowait()
        except queue.Empty:
            return

    def _contained(self, lane: Lane, act: Callable[[Lane], bool]) -> bool:
        """What `act` says, its time charged to the lane. A defect ends that session, so that the others go on."""
        began = time.perf_counter()
        try:
            return act(lane)
        except Exception:
            log.exception("session %d of %s failed", lane.stream.opening.session, lane.stream.opening.client)
            self._fail(lane)
            return False
        finally:
            lane.charge(time.perf_counter() - began)

    def _is_ready(self, lane: Lane) -> bool:
        """Whether a stream can go on: paintings that are done are brought to it first."""
        if lane.stream.ended:
            return False
        if lane.painting is not None:
            if not self._done(lane, lane.painting):
                return False
            lane.answer, lane.painting = lane.painting.done, None
            return True
        if lane.stream.serving is not None:
            return True
        for painting in [each for each in lane.beside if self._done(lane, each)]:
            lane.beside.remove(painting)
            lane.stream.adopt(painting.jobs, painting.done)
        return bool(lane.stream.inbox)

    def _done(self, lane: Lane, painting: Painting) -> bool:
        return painting.finished.is_set() or self._room.overdue(lane.painter, painting)

    def _advance(self, lane: Lane) -> bool:
        """Takes a stream one ask further."""
        stream = lane.stream
        if stream.serving is None:
            stream.serving = stream.serve(stream.inbox.popleft())
        failure, answer = lane.failure, lane.answer
        lane.failure = lane.answer = None
        try:
            ask = stream.serving.throw(failure) if failure else stream.serving.send(answer)
        except StopIteration:
            stream.serving = None
            self._paint_beside(lane)
            self._admission.count(lane.key, lane.busy_s, stream.steps)
            return True
        if isinstance(ask, PaintAsk):
            lane.painting = self._painting(lane, ask)
        else:
            lane.ask = ask
        return True

    def _paint_beside(self, lane: Lane) -> None:
        """Has painted what a live stream wants, and not what it does not want any more."""
        for painting in [each for each in lane.beside if each.jobs[0].epoch < lane.stream.asked_epoch]:
            painting.withdraw()
            if not painting.jobs:
                lane.beside.remove(painting)
        for ask in lane.stream.take_jobs():
            lane.beside.append(self._painting(lane, ask))

    def _painting(self, lane: Lane, ask: PaintAsk) -> Painting:
        """The ask at the lane's painter, which wakes this thread when it has finished. Those of `every` are alone."""
        return self._room.paint(lane.painter, ask, lambda: self.put(Wake()), alone=not lane.stream.live)

    def _answer(self, asking: Sequence[Lane]) -> None:
        """Has the asks answered: one call of the engine for those that may be answered together."""
        groups: dict[tuple[object, ...], list[Lane]] = {}
        for lane in asking:
            if lane.ask is not None:
                groups.setdefault(lane.group(lane.ask), []).append(lane)
        for group in groups.values():
            self._answer_group(group)

    def _answer_group(self, group: Sequence[Lane]) -> None:
        asks = [lane.ask for lane in group if lane.ask is not None]
        began = time.perf_counter()
        try:
            answers = self._room.flows[group[0].stream.flow].answer(asks)
        except RefusedError as error:
            self._fail_group(group, error)
            return
        per_weight = (time.perf_counter() - began) / max(1, sum(weight(ask) for ask in asks))
        for lane, ask, answer in zip(group, asks, answers, strict=True):
            lane.ask, lane.answer = None, answer
            lane.charge(per_weight * weight(ask))

    def _fail_group(self, group: Sequence[Lane], error: RefusedError) -> None:
        """Of several streams each is asked for alone, so that one does not fail for another's sake."""
        if len(group) == 1:
            group[0].ask, group[0].failure = None, error
            return
        for lane in group:
            self._answer_group([lane])

    def _end(self, lane: Lane, reason: Reason) -> None:
        """Ends a session, or lets it go until the daemon starts again, if it can be written down."""
        lane.stream.end(reason, may_return=self._store is not None)
        self._store_all()

    def _fail(self, lane: Lane) -> None:
        """Ends a session that has a defect."""
        self._cancel(lane)
        lane.stream.end("failed")

    def _cancel(self, lane: Lane, *, to_return: bool = False) -> None:
        for painting in lane.paintings:
            painting.withdraw()
        lane.painting = lane.ask = lane.failure = None
        lane.answer = None
        lane.beside.clear()
        lane.stream.discard(to_return=to_return)

    def _forget(self, lane: Lane) -> None:
        """A session has ended: what it still wanted painted is not, and nothing of it is kept."""
        for painting in lane.paintings:
            painting.withdraw()
        self._lanes.pop(lane.key, None)
        self._views = {watcher: seen for watcher, seen in self._views.items() if seen[0] is not lane}
        self._admission.ended(lane.key)
        if self._store is not None and not lane.stream.may_return:
            self._store.forget(lane.key)

    # Commands

    def _do_contained(self, command: Order) -> None:
        """Does it. A defect ends the session that it is about, and nothing else."""
        try:
            self._do(command)
        except Exception:
            log.exception("command %s failed", type(command).__name__)
            if isinstance(command, Command):
                lane = self._lanes.get(command.key)
                if lane is not None:
                    self._fail(lane)
                else:
                    self._error(command, Code.INTERNAL, "a defect of the daemon; its log has more")

    def _do(self, command: Order) -> None:
        if isinstance(command, Command):
            self._do_for_session(command)
        elif isinstance(command, Gone):
            lane = self._lanes.get(command.key)
            if lane is not None:
                self._cancel(lane)
                lane.stream.end("client_gone")
        elif isinstance(command, Watches):
            self._watch(command.watcher, command.message)
        elif isinstance(command, WantsStatus):
            self._reply(StatusReply(command.identity, self._status(), tuple(islice(self._lanes, MAX_STATUS_SESSIONS))))
        elif isinstance(command, Stop) and self._stop_by is None:
            self._stop_by = time.monotonic() + self._settings.drain_s
            for key, lane in self._lanes.items():
                self._say(key, lane.stream.outlet, Credit(session=lane.stream.opening.session, frames=0))
                lane.stream.inbox.append(Ending("shutting_down", may_return=self._store is not None))

    def _do_for_session(self, command: Command) -> None:
        item = command.item
        if isinstance(item, Opening):
            self._open(command.key, item)
            return
        lane = self._lanes.get(command.key)
        if lane is None or lane.stream.ended:
            self._error(command, Code.NO_SESSION, "the session has ended")
            return
        if isinstance(item, Close) and item.discard:
            self._cancel(lane)
        lane.stream.put(item)

    def _watch(self, watcher: Watcher, message: Watch | Steering | Close) -> None:
        """Does what somebody who watches asks for. What they do not watch any more has said so: it needs no answer."""
        if isinstance(message, Watch):
            self._show(watcher, message)
        elif watcher in self._views:
            lane, view = self._views[watcher]
            if isinstance(message, Close):
                lane.stream.unwatch(view)
                del self._views[watcher]
            else:
                lane.stream.steer(view, message)

    def _show(self, watcher: Watcher, message: Watch) -> None:
        def send(message: Message, payloads: Sequence[Any]) -> None:
            self._reply(Shows(watcher, message, payloads))

        lane = next((each for each in self._lanes.values() if each.stream.public_id == message.id), None)
        if lane is None or lane.stream.ended:
            text, code = f"there is no session {message.id!r}: `status` lists those there are", Code.NO_SESSION
            send(Error(session=watcher.number, code=code, retry=RETRY[code], message=text), ())
            return
        _, view = self._views.get(watcher, (lane, None))
        if view is None:
            may_steer = self._settings.watching == "steer"
            view = View(number=watcher.number, send=send, wants=message, outlet=watcher.outlet, may_steer=may_steer)
            self._views[watcher] = lane, view
        view.wants = message
        lane.stream.watch(view, lane.painter)

    def _open(self, key: str, opening: Opening) -> None:
        try:
            lane = self._made(key, opening)
            if lane.stream.live:
                self._admission.admit(key, opening.message, lane.stream.pixels, lane.stream.flow)
        except (RefusedError, ProtocolError) as error:
            self._error(Command(key, opening), error.code, str(error))
            return
        self._lanes[key] = lane
        self.tallies[lane.stream.opening.pacing].counts["opened"] += 1
        log.info("session %d: %s opened, %s", opening.message.session, opening.message.client, lane.stream.canvas)
        opened = lane.stream.opened(key, lane.painter, opening.linger_s, SERVER)
        self._say(key, opening.outlet, opened)

    def _say(self, key: str, outlet: Outlet, message: Message, payloads: Sequence[Any] = ()) -> None:
        """Sends a session's client a message, counted as it will be when the client has it."""
        outlet.said += 1
        self._reply(Reply(key, message, payloads))

    def _made(self, key: str, opening: Opening) -> Lane:
        """The lane of a session. Raises RefusedError or ProtocolError if it cannot be as asked."""
        painter = opening.message.painter or self._settings.painters[0]
        flow = opening.message.flow or self._settings.flows[0]
        self._check_engines(painter, flow)
        held = self._room.painters[painter].painter

        def send(message: Message, payloads: Sequence[Any]) -> None:
            self._say(key, opening.outlet, message, payloads)

        habits, rule = containment.habits(held), brief_rule(painter, self._settings.engines)
        runner = self._room.flows.get(flow)
        stream = Stream(
            opening.message,
            self._settings,
            held.looks,
            flow,
            send,
            opening.outlet,
            public_id=_public_id(key),
            habits=habits,
            rule=rule,
            guesses=runner is None or runner.takes_guesses,
            tallies=self.tallies[opening.message.pacing],
        )
        why = "" if runner is None else runner.complaint(stream.flow_size)
        if why:
            raise RefusedError(Code.UNSUPPORTED, why)
        return Lane(key, stream, painter, opening.linger_s)

    def _check_engines(self, painter: str, flow: str) -> None:
        if painter not in self._room.painters:
            known = ", ".join(self._room.painters)
            raise RefusedError(Code.UNKNOWN_ENGINE, f"this daemon holds no painter {painter!r}; it holds {known}")
        if flow not in self._settings.flows:
            known = ", ".join(self._settings.flows)
            raise RefusedError(Code.UNKNOWN_ENGINE, f"this daemon holds no flow {flow!r}; it holds {known}")

    def _error(self, command: Command, code: Code, message: str) -> None:
        item = command.item
        opening = item.message if isinstance(item, Opening | Arrival) else item
        index = getattr(opening, "index", None)
        request = getattr(opening, "request", None)
        error = Error(
            session=opening.session, index=index, request=request, code=code, retry=RETRY[code], message=message
        )
        self._reply(Reply(command.key, error))

    # On disk

    def restored(self) -> dict[str, Stored]:
        """The sessions that were taken up again from disk, by key. Before `start`."""
        if self._store is None:
            return {}
        found = {}
        for key, stored in self._store.load():
            try:
                lane = self._made(key, Opening(stored.opening, stored.linger_s, stored.outlet))
                lane.stream.restore(stored)
            except WarpaintError as error:
                log.warning("session %d is not taken up again: %s", stored.opening.session, error)
                continue
            self._lanes[key] = lane
            if lane.stream.live:
                self._admission.take(key, stored.opening, lane.stream.pixels, lane.stream.flow)
            found[key] = stored
            log.info("session %d is taken up again, after frame %s", stored.opening.session, stored.last_index)
        return found

    def _store_all(self) -> None:
        """Has the sessions written down that stand between two frames: every so often, and those that may return.

        Only when the client has every answer up to there: one that is lost with this daemon, the next would not know
        to give. What comes later is sent to that one again.
        """
        if self._store is None:
            return
        now = time.monotonic()
        for lane in self._lanes.values():
            stream = lane.stream
            due = now - lane.stored_at >= self._settings.snapshot_s and lane.unheard is None
            changed = lane.stored_changes != stream.changes
            ready = stream.serving is None and stream.last_done is not None
            if (due or stream.may_return) and changed and ready:
                lane.stored_at, lane.stored_changes = now, stream.changes
                lane.unheard = stream.outlet.said, self._stored(lane)
            if lane.unheard is not None and (stream.may_return or stream.outlet.heard >= lane.unheard[0]):
                self._store.save(lane.key, lane.unheard[1])
                lane.unheard = None

    def _stored(self, lane: Lane) -> Stored:
        stream, state = lane.stream, lane.stream.state()
        return Stored(
            stream.opening,
            lane.linger_s,
            stream.credit,
            stream.last_done,
            stream.last_request,
            state.epoch,
            stream.holding,
            stream.unshown,
            state=state,
        )

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


def _public_id(key: str) -> str:
    """The name of a session for those who watch: the same as long as it lasts, and no way to its token."""
    return hashlib.blake2s(key.encode(), digest_size=PUBLIC_ID_BYTES).hexdigest()
