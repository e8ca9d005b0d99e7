"""A session's side of the conversation, without sockets: what may be sent, and what that which comes in means.

It survives its connection. What was sent and not yet answered is kept in a ledger, so that after a loss it can be sent
again, counted as lost, or waited for: SPEC.md, "Coming back".
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from ..proto.errors import Code, RefusedError
from ..proto.messages import (
    Ack,
    Close,
    Closed,
    Credit,
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
    Rekey,
    RequestKeyframe,
    Resume,
    Resumed,
    Totals,
    Update,
    Updated,
)
from ..proto.wire import Payload
from .errors import DaemonGone, raised_for
from .ledger import Ledger, Owed, Request

log = logging.getLogger(__name__)

# Records of dropped frames that are kept, the newest: half a minute of a film of which nothing is painted. All are
# counted.
MAX_DROPS = 1_000
# Notices that are kept, the newest: each is in the log as well.
MAX_NOTICES = 100
# Requests whose answers are remembered, the newest: somebody who turns a knob asks again and again for hours.
MAX_REMEMBERED = 1_000

Send = Callable[[Message, Sequence[Any]], None]
Payloads = Mapping[str, Any]  # of control images, by kind

NO_PAYLOADS: Payloads = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PaintedFrame:
    """A painted frame as it came: the message, and the payloads that its `parts` describe."""

    message: Painted
    payloads: tuple[Payload, ...]


Result = PaintedFrame | Dropped | Error


@dataclass(frozen=True, slots=True)
class Drop:
    """A frame that was not painted. pts: seconds.

    stage: where it was dropped: one of the daemon's, `failed` (there, by an error), `client` (before it was sent) or
    `connection` (with it).
    """

    index: int
    pts: Fraction
    stage: str
    reason: Code


@dataclass(slots=True)
class Conversation:
    """One session. Its methods hand what is to be sent to `send`; `receive` takes each message that belongs to it.

    Times are seconds of the caller's clock.
    """

    opening: Open
    send: Send
    opened: Opened | None = None
    closed: Closed | None = None
    failure: Error | None = None  # of the session as a whole
    ended: str | None = None  # why it is over without a word of the daemon, in a sentence
    window: int = 0
    next_index: int = 0
    results: deque[Result] = field(default_factory=deque)  # in the order in which they came; the caller takes them
    refused: dict[int, Error] = field(default_factory=dict)  # by request
    updated: dict[int, Updated] = field(default_factory=dict)  # by request: the latest word on it
    flushed: set[int] = field(default_factory=set)
    drops: deque[Drop] = field(default_factory=lambda: deque(maxlen=MAX_DROPS))
    dropped: Counter[tuple[str, Code]] = field(default_factory=Counter)  # by stage and reason
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=MAX_NOTICES))
    away_since: float | None = None  # when the connection was lost; None: it stands, and the session is on it
    _ledger: Ledger = field(default_factory=Ledger)
    _closing: Close | None = None
    _resume_due: bool = False
    _seq: int = 0  # of the last answer that was received
    _acked: int = 0
    _requests: int = 0
    _rested: int = 0  # all frames before this one were asked for

    # How it stands

    @property
    def live(self) -> bool:
        """Whether its pacing is `live`."""
        return self.opening.pacing == "live"

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.closed is not None or self.failure is not None or self.ended is not None

    @property
    def online(self) -> bool:
        """Whether what is sent now reaches the session."""
        return self.opened is not None and self.away_since is None and not self.over

    @property
    def unanswered(self) -> int:
        """Frames sent and not yet answered."""
        return self._ledger.frames

    @property
    def may_send(self) -> bool:
        """Whether the daemon takes another frame now."""
        return self.unanswered < self.window

    @property
    def totals(self) -> Totals | None:
        """What became of the frames, once the session is closed."""
        return self.closed.totals if self.closed else None

    def check(self) -> None:
        """Raises DaemonGone, or RefusedError, if the session is over."""
        if self.failure is not None:
            raise raised_for(self.failure)
        if self.ended is not None:
            raise DaemonGone(self.ended)
        if self.closed is not None:
            raise DaemonGone(f"the session has ended: {self.closed.reason}")

    # What the caller wants

    def frame(self, pts: int, payload: Any, controls: Payloads = NO_PAYLOADS, *, keyframe: bool = False) -> int:
        """The index of a frame that was sent; in `live` also of one that was dropped, for want of credit or connection.

        controls: the payloads of its control images, by kind. keyframe: it is to be painted in full.
        Raises RefusedError in `every` when there is no credit for it, DaemonGone when the session is being closed.
        """
        self._check_open()
        if not self.live and not self.may_send:
            raise RefusedError(Code.WINDOW_OVERRUN, f"{self.unanswered} frames are unanswered, of {self.window}")
        message = FrameIn(
            session=self.opening.session, index=self.next_index, pts=pts, controls=tuple(controls), keyframe=keyframe
        )
        self.next_index += 1
        if self.live and not self.online:
            self._drop(message, "client", Code.LOST)
        elif not self.may_send:
            self._drop(message, "client", Code.WINDOW_OVERRUN)
        else:
            self._owe(Owed(message, (payload, *controls.values())))
        return message.index

    def update(self, changes: dict[str, Any]) -> int:
        """Changes the Brief; the number of the request. Raises ValidationError for what is no value of the wire."""
        return self._ask(Update(session=self.opening.session, request=self._requests + 1, changes=changes))

    def rekey(self) -> int:
        """Asks for a new keyframe; the number of the request."""
        return self._ask(Rekey(session=self.opening.session, request=self._requests + 1))

    def hold(self, on: bool) -> int:
        """Stops a live film, or lets it go on; the number of the request."""
        return self._ask(Hold(session=self.opening.session, request=self._requests + 1, on=on))

    def flush(self) -> int:
        """Asks for a word when all frames are answered; the number of the request."""
        return self._ask(Flush(session=self.opening.session, request=self._requests + 1))

    def rest(self) -> None:
        """Asks for all that is unanswered, once, if frames may wait in the daemon for others that are not sent yet.

        Whoever had them wait: the daemon has given credit for them.
        """
        had_credit = self.opened is not None and self.window > self.opened.credit
        frames_wait = not self.live and (self.opening.brief.lookahead_s or had_credit)
        if frames_wait and self.unanswered and self._rested < self.next_index and self._closing is None:
            self._rested = self.next_index
            self.flush()

    def request_keyframe(self) -> None:
        """Asks the encoder for a keyframe. Nothing to be kept: after a loss it makes one anyway."""
        if self.online:
            self.send(RequestKeyframe(session=self.opening.session), ())

    def close(self, *, discard: bool = False) -> None:
        """Ends the session; also one that is not open yet."""
        self._closing = Close(session=self.opening.session, discard=discard)
        if self.online or self.opened is None:
            self.send(self._closing, ())

    # What becomes of the connection

    def lost(self, now: float) -> None:
        """The connection is gone."""
        if self.opened is not None and self.away_since is None:
            self.away_since = now
        self._resume_due = False

    def connected(self) -> None:
        """There is a connection that does not know the session yet."""
        if self.opened is None and not self.over:
            self.send(self.opening, ())
        self._resume_due = self.away_since is not None and not self.over

    def settle(self) -> None:
        """Says what is due after all that came has been received: `resume`, and one `ack` for many answers."""
        number = self.opening.session
        if self._resume_due and self.opened is not None:
            self._resume_due = False
            self._acked = self._seq
            self.send(Resume(session=number, token=self.opened.token, seq=self._seq), ())
        elif self.away_since is None and self._seq > self._acked:
            self._acked = self._seq
            self.send(Ack(session=number, seq=self._seq), ())

    def give_up(self, why: str) -> None:
        """Ends the session on this side."""
        if not self.over:
            self.ended = why

    # What comes

    def receive(self, message: Message, payloads: Sequence[Payload], now: float) -> None:
        """Takes a message of this session. An answer that comes again is passed over."""
        seq = getattr(message, "seq", None)
        again = seq is not None and seq <= self._seq
        self._seq = max(self._seq, seq or 0)
        if isinstance(message, Painted):  # a frame is owed or not: its `seq` need not be asked
            self._answered(message.index, PaintedFrame(message, tuple(payloads)))
        elif isinstance(message, Dropped):
            self._answered(message.index, message)
        elif isinstance(message, Error):
            self._error(message, again, now)
        elif not again:
            self._word(message)

    def _word(self, message: Message) -> None:
        if isinstance(message, Opened):
            self.opened, self.window = message, message.credit
        elif isinstance(message, Resumed):
            self._resumed(message)
        elif isinstance(message, Credit):
            self.window = message.frames
        elif isinstance(message, Updated):
            self._ledger.done(message.request)
            self.updated[message.request] = message
        elif isinstance(message, Flushed):
            self._ledger.request(message.request)
            self.flushed.add(message.request)
        elif isinstance(message, Notice):
            log.warning("session %d: %s: %s", self.opening.session, message.code, message.message)
            self.notices.append(message)
        elif isinstance(message, Closed) and not (message.reason == "moved" and self.away_since is not None):
            self.closed = message

    def _error(self, message: Error, again: bool, now: float) -> None:
        """What was refused, or has failed. Refusals of what a lost connection carried are settled by `resumed`."""
        if message.seq is None and self._is_stale(message, now):
            return
        if message.index is not None:
            self._answered(message.index, message)
        elif message.request is not None:
            if not again:
                self._ledger.request(message.request)
                self.refused[message.request] = message
        elif message.code == Code.UNKNOWN_TOKEN:
            self.give_up(f"the session did not outlive the loss of its connection: {message.message}")
        else:
            self.failure = message

    def _is_stale(self, message: Error, now: float) -> bool:
        """Whether a refusal tells no more than that the connection was lost, which may be news."""
        about_session = message.index is None and message.request is None
        if self.opened is None:
            return about_session and message.code == Code.SESSION_EXISTS  # `open` came twice: numbers are used once
        if self.away_since is not None:
            return not about_session or message.code in (Code.NO_SESSION, Code.SESSION_EXISTS)
        if message.code == Code.NO_SESSION and not (self._closing and about_session):
            log.info("session %d: the daemon does not know it on this connection", self.opening.session)
            self.away_since, self._resume_due = now, True
            return True
        # What came twice: `close` finds the session closing, `resume` finds it here.
        return about_session and message.code in (Code.NO_SESSION, Code.SESSION_EXISTS)

    def _resumed(self, message: Resumed) -> None:
        """Sends again what did not arrive, in order; what is neither that nor still to come is lost."""
        if self.away_since is None:
            return  # said twice: nothing may be sent twice
        self.away_since, self.window = None, message.credit
        for owed in self._ledger.to_send_again(message, frames=not self.live):
            self.send(owed.message, owed.payloads)
        self._tell_lost()
        if self._closing is not None:
            self.send(self._closing, ())

    def _tell_lost(self) -> None:
        """Reports frames that were lost: in `live` at once, in `every` when all before them are answered."""
        for frame in self._ledger.take_lost(in_order=not self.live):
            self._drop(frame, "connection", Code.LOST)

    def _answered(self, index: int, result: Result) -> None:
        frame = self._ledger.frame(index)
        if frame is None:
            return
        if isinstance(result, PaintedFrame):
            self._painted(result)
        elif isinstance(result, Dropped):
            self._drop(frame, result.stage, result.reason)
        else:
            self._drop(frame, "failed", result.code, result)
        self._tell_lost()

    def _painted(self, result: PaintedFrame) -> None:
        """Keeps it for the caller; in `live`, no more than the credit: who does not take them wants the newest."""
        if self.live and len(self.results) >= max(1, self.window):
            oldest = self.results.popleft()
            if isinstance(oldest, PaintedFrame):
                self._drop(oldest.message, "client", Code.SLOW_READER)
        self.results.append(result)

    def _drop(self, frame: FrameIn | Painted, stage: str, reason: Code, error: Error | None = None) -> None:
        """Records it. In `every` it is a result too, so that none is passed over in silence."""
        pts = frame.pts * Fraction(*self.opening.source.time_base)
        self.drops.append(Drop(frame.index, pts, stage, reason))
        self.dropped[stage, reason] += 1
        if not self.live:
            told = Dropped(session=frame.session, index=frame.index, pts=frame.pts, stage=stage, reason=reason)
            self.results.append(error or told)

    # Owing

    def _check_open(self) -> None:
        """Raises DaemonGone if `close` was sent: what comes after it is for no session."""
        if self._closing is not None:
            raise DaemonGone("the session is being closed")

    def _ask(self, message: Request) -> int:
        self._check_open()
        self._requests = message.request
        self._owe(Owed(message))
        for answers in (self.refused, self.updated):
            answers.pop(message.request - MAX_REMEMBERED, None)
        self.flushed.discard(message.request - MAX_REMEMBERED)
        return message.request

    def _owe(self, owed: Owed) -> None:
        self._ledger.add(owed)
        if self.online:
            self.send(owed.message, owed.payloads)
