"""A session as the gateway knows it: its credit, the numbers of what came in, and the answers it keeps. No sockets."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..proto.errors import Code, RefusedError
from ..proto.limits import MAX_REQUESTS, MAX_WINDOW
from ..proto.messages import (
    Answer,
    Closed,
    Credit,
    Dropped,
    Error,
    Flushed,
    FrameIn,
    Message,
    Opened,
    Painted,
    Resume,
    Resumed,
    Updated,
)


@dataclass(slots=True)
class Outlet:
    """How much of a session is on its way to its client.

    One thread writes each count: `given` and `said` the driver's, `taken` and `heard` the gateway's. What a client has
    is what it acknowledged, or what was sent to one that acknowledges nothing.
    """

    given: int = 0  # painted frames that were handed to the gateway
    taken: int = 0  # those of them that the client has
    said: int = 0  # messages that were handed to the gateway, of all kinds
    heard: int = 0  # up to this one the client has every answer

    @property
    def waiting(self) -> int:
        """Painted frames that the client does not have yet, as far as is known."""
        return self.given - self.taken


@dataclass(slots=True)
class Outgoing:
    """A message on its way out, with its payloads."""

    message: Message
    payloads: Sequence[Any] = ()
    settled: bool = False  # was sent once: it has made its room
    taken: bool = False  # counted in the outlet
    number: int = 0  # among all messages of the session


@dataclass(slots=True)
class Requests:
    """The requests of one client in one session."""

    unanswered: int = 0
    last: int | None = None

    def take(self, request: int) -> None:
        """Notes a request. Raises RefusedError if too many are unanswered, or if its number does not grow."""
        if self.unanswered >= MAX_REQUESTS:
            raise RefusedError(Code.WINDOW_OVERRUN, f"more than {MAX_REQUESTS} requests are unanswered")
        if self.last is not None and request <= self.last:
            raise RefusedError(Code.BAD_INDEX, f"request numbers must grow: {request} came after {self.last}")
        self.unanswered += 1
        self.last = request

    def settle(self, message: Message) -> None:
        """Notes what was sent: the first answer to a request makes room for another one."""
        if isinstance(message, Updated | Flushed | Error) and getattr(message, "shown_at", None) is None:
            self.unanswered -= 1


@dataclass(slots=True)
class Line:
    """`key` names the session beyond any connection: it is its token. `peer` is its connection; None: it is lost."""

    key: str
    session: int  # by the client's number, on this connection
    peer: bytes | None
    linger_s: float = 0.0
    outlet: Outlet = field(default_factory=Outlet)
    window: int = 0  # 0: not yet opened
    unanswered: int = 0  # frames taken whose answers are not sent yet
    last_index: int | None = None
    requests: Requests = field(default_factory=Requests)
    closing: bool = False
    over: bool = False  # `closed` was sent; its last answers are kept for a client that may have lost them
    lost_at: float = 0.0  # time.monotonic() when its connection was lost, or it was over
    frames: dict[int, None] = field(default_factory=dict)  # taken, and not answered by the driver yet; in order
    kept: deque[Outgoing] = field(default_factory=deque)  # numbered, and not acknowledged yet
    seq: int = 0  # of the last answer
    said: int = 0  # messages, answers or not
    acknowledges: bool = False
    epoch: int = 0  # of the last painted frame

    # In

    def take_frame(self, frame: FrameIn) -> None:
        """Notes a frame. Raises RefusedError if there is no credit for it, or if its number does not grow."""
        if self.unanswered >= self.window:
            text = f"{self.unanswered} frames are unanswered, of at most {self.window}"
            raise RefusedError(Code.WINDOW_OVERRUN, text)
        if self.last_index is not None and frame.index <= self.last_index:
            text = f"frame numbers must grow: {frame.index} came after {self.last_index}"
            raise RefusedError(Code.BAD_INDEX, text)
        self.unanswered += 1
        self.last_index = frame.index
        self.frames[frame.index] = None

    def acknowledge(self, seq: int) -> None:
        """The client has every answer up to this one: they are let go."""
        self.acknowledges = True
        self._let_go(seq)

    def resumed(self, resume: Resume, peer: bytes, server: str) -> Resumed:
        """Goes on on another connection. The answers that it has missed are those that are kept now."""
        self.session, self.peer = resume.session, peer
        self.seq = max(self.seq, resume.seq)  # of a daemon that has started anew
        self._let_go(resume.seq)
        for each in self.kept:
            each.message = each.message.model_copy(update={"session": self.session})
        missed = [index for each in self.kept if (index := _frame_of(each.message)) is not None]
        return Resumed(
            session=self.session,
            credit=self.window,
            epoch=self.epoch,
            last_index=self.last_index,
            last_request=self.requests.last,
            pending=(*missed, *self.frames),
            server=server,
        )

    def _let_go(self, seq: int) -> None:
        while self.kept and _seq(self.kept[0]) <= seq:
            self._count(self.kept.popleft())
        self._hear()

    # Out

    def outgoing(self, message: Message, payloads: Sequence[Any]) -> Outgoing:
        """A message of the driver's, numbered and kept if it is an answer, and with the session's present number."""
        fields: dict[str, Any] = {"session": self.session} if getattr(message, "session", None) != self.session else {}
        answered = _frame_of(message)
        if answered is not None:
            self.frames.pop(answered, None)
        self.epoch = message.epoch if isinstance(message, Opened | Painted) else self.epoch
        if isinstance(message, Credit) and message.frames:  # 0: the daemon goes, and its answers are kept as before
            self.window = message.frames  # now: if the connection is lost, `resumed` tells it
        keeps = isinstance(message, Answer) or answered is not None or getattr(message, "request", None) is not None
        if keeps:
            self.seq += 1
            fields["seq"] = self.seq
        self.said += 1
        made = Outgoing(message.model_copy(update=fields) if fields else message, payloads, number=self.said)
        if keeps:
            self._keep(made)
        self._hear()
        return made

    def sent(self, outgoing: Outgoing) -> bool:
        """Keeps the accounts of what was sent: an answer makes room for another. True: the session has ended."""
        message = outgoing.message
        if isinstance(message, Closed) or (isinstance(message, Error) and not self.window):
            return True
        if isinstance(message, Opened):
            self.window = message.credit
        self._settle_once(outgoing)
        return False

    def _settle_once(self, outgoing: Outgoing) -> None:
        if outgoing.settled:
            return
        outgoing.settled = True
        message = outgoing.message
        if _frame_of(message) is not None:
            self.unanswered -= 1
            if not self.acknowledges:
                self._count(outgoing)
        else:
            self.requests.settle(message)
        self._hear()

    def _hear(self) -> None:
        """Notes up to where the client has every answer."""
        waits = (each.number for each in self.kept if self.acknowledges or not each.settled)
        self.outlet.heard = next(waits, self.said + 1) - 1

    def _keep(self, made: Outgoing) -> None:
        """Keeps an answer: of pictures as many as the credit, and not many more answers in all."""
        self.kept.append(made)
        pictures = sum(1 for each in self.kept if each.payloads)
        most = min(MAX_WINDOW, self.window + 2 * MAX_REQUESTS)  # with as many in hand, `resumed` can name no more
        while pictures > max(1, self.window) or len(self.kept) > most:
            oldest = self.kept.popleft()
            pictures -= bool(oldest.payloads)
            self._settle_once(oldest)
            self._count(oldest)

    def _count(self, outgoing: Outgoing) -> None:
        if isinstance(outgoing.message, Painted) and not outgoing.taken:
            outgoing.taken = True
            self.outlet.taken += 1


def _seq(outgoing: Outgoing) -> int:
    return getattr(outgoing.message, "seq", None) or 0


def _frame_of(message: object) -> int | None:
    """The index of the frame that a message answers; None: it answers none."""
    return message.index if isinstance(message, Painted | Dropped | Error) else None
