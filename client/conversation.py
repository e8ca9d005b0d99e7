"""A session's side of the conversation, without sockets: what may be sent, and what that which comes in means."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..proto.errors import Code, RefusedError
from ..proto.messages import (
    Close,
    Closed,
    Credit,
    Dropped,
    Error,
    Flush,
    Flushed,
    FrameIn,
    Message,
    Open,
    Opened,
    Painted,
    Rekey,
    RequestKeyframe,
    Totals,
    Update,
    Updated,
)
from ..proto.wire import Payload


@dataclass(frozen=True, slots=True)
class PaintedFrame:
    """A painted frame as it came: the message, and the payloads that its `parts` describe."""

    message: Painted
    payloads: tuple[Payload, ...]


Result = PaintedFrame | Dropped | Error


@dataclass(slots=True)
class Conversation:
    """One session. Messages to send come from its methods; `receive` takes each message that belongs to it."""

    opening: Open
    opened: Opened | None = None
    closed: Closed | None = None
    window: int = 0
    unanswered: int = 0
    next_index: int = 0
    results: list[Result] = field(default_factory=list)  # in the order in which they came; the caller takes them
    refused: dict[int, Error] = field(default_factory=dict)  # by request
    updated: dict[int, Updated] = field(default_factory=dict)  # by request: the latest word on it
    flushed: set[int] = field(default_factory=set)
    failure: Error | None = None  # of the session as a whole
    _requests: int = 0

    @property
    def may_send(self) -> bool:
        """Whether the daemon takes another frame now."""
        return self.unanswered < self.window

    def frame(self, pts: int) -> FrameIn:
        """The header of the next frame. Raises RefusedError when there is no credit for it."""
        if not self.may_send:
            raise RefusedError(Code.WINDOW_OVERRUN, f"{self.unanswered} frames are unanswered, of {self.window}")
        message = FrameIn(session=self.opening.session, index=self.next_index, pts=pts)
        self.next_index += 1
        self.unanswered += 1
        return message

    def update(self, changes: dict[str, Any]) -> Update:
        """The message that changes the Brief."""
        return Update(session=self.opening.session, request=self._request(), changes=changes)

    def rekey(self) -> Rekey:
        """The message that asks for a new keyframe."""
        return Rekey(session=self.opening.session, request=self._request())

    def request_keyframe(self) -> RequestKeyframe:
        """The message that asks the encoder for a keyframe."""
        return RequestKeyframe(session=self.opening.session)

    def flush(self) -> Flush:
        """The message that is answered when all frames are."""
        return Flush(session=self.opening.session, request=self._request())

    def close(self, *, discard: bool = False) -> Close:
        """The message that ends the session."""
        return Close(session=self.opening.session, discard=discard)

    def receive(self, message: Message, payloads: Sequence[Payload]) -> None:
        """Takes a message of this session."""
        if isinstance(message, Opened):
            self.opened, self.window = message, message.credit
        elif isinstance(message, Painted):
            self._answered(PaintedFrame(message, tuple(payloads)))
        elif isinstance(message, Dropped):
            self._answered(message)
        elif isinstance(message, Credit):
            self.window = message.frames
        elif isinstance(message, Updated):
            self.updated[message.request] = message
        elif isinstance(message, Flushed):
            self.flushed.add(message.request)
        elif isinstance(message, Closed):
            self.closed = message
        elif isinstance(message, Error):
            self._error(message)

    @property
    def totals(self) -> Totals | None:
        """What became of the frames, once the session is closed."""
        return self.closed.totals if self.closed else None

    def _error(self, message: Error) -> None:
        if message.index is not None:
            self._answered(message)
        elif message.request is not None:
            self.refused[message.request] = message
        else:
            self.failure = message

    def _answered(self, result: Result) -> None:
        self.unanswered -= 1
        self.results.append(result)

    def _request(self) -> int:
        self._requests += 1
        return self._requests
