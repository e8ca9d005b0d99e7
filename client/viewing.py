"""What somebody who watches a session says and hears, without sockets: SPEC.md, "Watching".

It does not survive its connection: what was missed is of no use, and one `watch` begins another one.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..proto.messages import (
    Ack,
    Close,
    Closed,
    Error,
    Hold,
    Message,
    Notice,
    Rekey,
    Seen,
    Update,
    Updated,
    Watch,
    Watching,
)
from ..proto.wire import Payload
from .errors import DaemonGone, raised_for

log = logging.getLogger(__name__)

# Notices and answers to requests that are kept, the newest: somebody may turn a knob for hours.
MAX_KEPT = 1_000

Send = Callable[[Message, Sequence[Any]], None]


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame as it came: the message, and the payloads that its `parts` describe."""

    message: Seen
    payloads: tuple[Payload, ...]


@dataclass(slots=True)
class Viewing:
    """One watching. Its methods hand what is to be sent to `send`; `receive` takes each message that belongs to it."""

    wants: Watch
    send: Send
    watching: Watching | None = None  # the latest word on what is watched
    changes: int = 0  # how often there was one
    closed: Closed | None = None
    failure: Error | None = None
    ended: str | None = None  # why it is over without a word of the daemon, in a sentence
    frames: deque[SeenFrame] = field(default_factory=deque)  # at most the window, as what is not taken is not acked
    updated: dict[int, Updated] = field(default_factory=dict)  # by request: the latest word on it
    refused: dict[int, Error] = field(default_factory=dict)
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=MAX_KEPT))
    away_since: float | None = None  # never: it ends with its connection
    _taken: int = 0  # the `seq` of the last frame that the caller took
    _acked: int = 0
    _requests: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.closed is not None or self.failure is not None or self.ended is not None

    def check(self) -> None:
        """Raises DaemonGone, or RefusedError, if it is over."""
        if self.failure is not None:
            raise raised_for(self.failure)
        if self.ended is not None:
            raise DaemonGone(self.ended)
        if self.closed is not None:
            raise DaemonGone(f"the session that was watched has ended: {self.closed.reason}")

    # What the caller wants

    def want(self, changes: Mapping[str, Any]) -> None:
        """Changes what is to be seen. Raises ValidationError for what cannot be."""
        self.wants = Watch.model_validate(self.wants.model_dump() | dict(changes))
        self.send(self.wants, ())

    def take(self) -> SeenFrame | None:
        """The oldest frame that is there; room is made for another one."""
        if not self.frames:
            return None
        frame = self.frames.popleft()
        self._taken = frame.message.seq
        return frame

    def update(self, changes: dict[str, Any]) -> int:
        """Changes the session's Brief; the number of the request. Raises ValidationError for no value of the wire."""
        return self._ask(Update(session=self.wants.session, request=self._requests + 1, changes=changes))

    def rekey(self) -> int:
        """Asks for a new keyframe; the number of the request."""
        return self._ask(Rekey(session=self.wants.session, request=self._requests + 1))

    def hold(self, on: bool) -> int:
        """Stops the film, or lets it go on; the number of the request."""
        return self._ask(Hold(session=self.wants.session, request=self._requests + 1, on=on))

    def close(self) -> None:
        """Ends the watching."""
        if not self.over:
            self.send(Close(session=self.wants.session), ())

    # What becomes of the connection

    def connected(self) -> None:
        """There is a connection that does not know the watching yet."""
        if self.watching is None and not self.over:
            self.send(self.wants, ())

    def lost(self, now: float) -> None:
        """The connection is gone, and with it the watching."""
        if self.watching is not None:
            self.give_up("the connection was lost, and the watching with it")

    def settle(self) -> None:
        """Acknowledges what the caller has taken."""
        if self._taken > self._acked:
            self._acked = self._taken
            self.send(Ack(session=self.wants.session, seq=self._taken), ())

    def give_up(self, why: str) -> None:
        """Ends it on this side."""
        if not self.over:
            self.ended = why

    # What comes

    def receive(self, message: Message, payloads: Sequence[Payload], now: float) -> None:
        """Takes a message of this watching."""
        if isinstance(message, Seen):
            self.frames.append(SeenFrame(message, tuple(payloads)))
        elif isinstance(message, Watching):
            self.watching = message
            self.changes += 1
        elif isinstance(message, Updated):
            self.updated[message.request] = message
        elif isinstance(message, Notice):
            self.notices.append(message)
        elif isinstance(message, Closed):
            self.closed = message
        elif isinstance(message, Error):
            if message.request is not None:
                self.refused[message.request] = message
            else:
                self.failure = message

    def _ask(self, message: Update | Rekey | Hold) -> int:
        self._requests = message.request
        self.send(message, ())
        for answers in (self.refused, self.updated):
            answers.pop(message.request - MAX_KEPT, None)
        return message.request
