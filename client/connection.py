"""A connection to a daemon, without sockets and without a clock: parts come in, messages to send go out.

The shells (painting.py, aio.py) own the sockets. They tell what came and when, send what is in `outbox`, and ask
`deadline` when to come again although nothing came. Times are seconds of their clock, and `now` is the latest told.
"""

import logging
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from .. import __version__
from ..proto.brief import explain
from ..proto.errors import InvalidMessage, ProtocolError, UnknownMessage
from ..proto.messages import AskStatus, Error, Message, Open, Ping, Pong, Status, Watch
from ..proto.wire import Payload, pack, to_client
from .conversation import Conversation
from .errors import DaemonGone, raised_for
from .viewing import Viewing

log = logging.getLogger(__name__)

CLIENT = f"warpaint python {__version__}"
# A daemon answers a ping at once, whatever it paints; one that has not for this long is gone, seconds.
PATIENCE_S = 10.0
# After this long without a word the client asks whether the daemon is still there, seconds.
SILENCE_S = 2.0
# How long a lost connection may take to come back, seconds, however long the session would wait: nobody knows how to
# go on with a film after a minute of nothing.
LONGEST_WAIT_S = 60.0

T = TypeVar("T")
# What takes several messages, as a generator: it yields where it has to wait, and until when at the latest (None: as
# long as it takes). The shells run it; so there is one of each, and not one for threads and one for asyncio.
Steps = Generator[float | None, None, T]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent: its header, packed, and its payloads."""

    header: bytes
    payloads: tuple[Any, ...]


class Connection:
    """What is said on one connection, and on those that take its place when it is lost.

    reconnect_s: how long a lost connection may take to come back; 0: a loss is the end of all sessions; None: as long
    as the sessions wait in the daemon, at most LONGEST_WAIT_S.
    """

    def __init__(self, address: str, now: float, *, reconnect_s: float | None = None) -> None:
        self.address = address
        self.now = now
        self.outbox: deque[Outgoing] = deque()
        self.up = False
        self._reconnect_s = reconnect_s
        self._conversations: dict[int, Conversation | Viewing] = {}
        self._numbers = 0
        self._since = self._heard = self._asked = now  # when the connection came or went; the last word; our last ping
        self._was_up = False
        self._broken: str | None = None
        self._pings = self._pongs = 0
        self._asks = self._answers = 0  # of status
        self._status: Status | None = None
        self._complaint: Error | None = None

    # What the shell tells

    def connected(self, now: float) -> None:
        """There is a connection, or a new one: what was asked of the old one is asked again."""
        self.outbox.clear()
        if self._was_up:
            log.info("the connection to %s is back after %.1f s", self.address, now - self._since)
        self.now = self._since = self._heard = now
        self.up = self._was_up = True
        if self._pongs < self._pings:
            self._send(Ping(nonce=self._pings))
        for _ in range(self._asks - self._answers):
            self._send(AskStatus())
        for conversation in self._conversations.values():
            conversation.connected()

    def lost(self, now: float) -> None:
        """The connection is gone. What was not sent yet is forgotten: the sessions know what they are owed."""
        self.outbox.clear()
        self.now = now
        if self.up:
            log.info("the connection to %s is lost", self.address)
            self._since = now
        self.up = False
        for conversation in self._conversations.values():
            conversation.lost(now)
        self._give_up()

    def receive(self, parts: Sequence[Payload], now: float) -> None:
        """Takes a message."""
        self.now = self._heard = now
        try:
            received = to_client(parts)
        except UnknownMessage:
            return  # of a newer daemon, which may say more
        except ProtocolError as error:
            self._broken = f"what answers at {self.address} is no daemon of this version: {error}"
            return
        self._take(received.message, received.payloads)

    def settle(self) -> None:
        """Says what is due when all that came has been received."""
        if not self.up:
            return
        for number, conversation in list(self._conversations.items()):
            conversation.settle()
            if conversation.over:
                del self._conversations[number]

    def tick(self, now: float) -> None:
        """Lets time pass: asks a silent daemon for a word, and gives up what has been away for too long."""
        self.now = now
        if self.up and self._asked <= self._heard and now >= self._heard + SILENCE_S:
            self._asked = now
            self.ping()
        self._give_up()

    @property
    def deadline(self) -> float:
        """When `tick` is due. After `now`."""
        times = [self.now + SILENCE_S]
        if not self.up:
            times.append(self._since + self._patience_s)
        elif self._asked > self._heard:
            times.append(self._asked + PATIENCE_S)
        else:
            times.append(self._heard + SILENCE_S)
        for each in self._conversations.values():
            if each.away_since is not None:
                times.append(each.away_since + self._wait_s(each))
        return min(time for time in times if time > self.now)

    # What the caller wants

    def check(self) -> None:
        """Raises DaemonGone if nothing can be asked of the daemon."""
        self.check_alive()
        if not self.up and self.now >= self._since + self._patience_s:
            raise DaemonGone(f"the daemon at {self.address} has not answered for {self.now - self._since:.0f} s")

    def check_alive(self) -> None:
        """Raises DaemonGone if there is a connection, and nobody at its end: no new one will come."""
        if self._broken is not None:
            raise DaemonGone(self._broken)
        if self.up and self._asked > self._heard and self.now >= self._asked + PATIENCE_S:
            raise DaemonGone(f"the daemon at {self.address} has not answered for {self.now - self._heard:.0f} s")

    def ping(self) -> int:
        """Sends a ping; its nonce."""
        self._pings += 1
        self._send(Ping(nonce=self._pings))
        return self._pings

    def pinged(self, timeout_s: float) -> Steps[None]:
        """Until the daemon has answered a ping. Raises DaemonGone after timeout_s."""
        nonce, until = self.ping(), self.now + timeout_s
        while self._pongs < nonce:
            if self._broken is not None:
                raise DaemonGone(self._broken)
            if self.now >= until:
                raise DaemonGone(f"no daemon answers at {self.address}")
            yield until

    def status(self) -> Steps[Status]:
        """How the daemon does."""
        self._asks += 1
        mine = self._asks
        self._send(AskStatus())
        while self._answers < mine or self._status is None:
            self._check_complaint()
            self.check()
            yield None
        return self._status

    def begin(self, opening: dict[str, Any]) -> Steps[Conversation]:
        """A session that is open. Raises RefusedError, with what is allowed, or InvalidMessage."""
        try:
            message = Open(session=self._numbers, **opening)
        except ValidationError as error:
            raise InvalidMessage(explain(error, "session")) from None
        self._numbers += 1
        conversation = Conversation(message, self._send)
        self._conversations[message.session] = conversation
        self._send(message)
        try:
            while conversation.opened is None:
                conversation.check()
                self.check()
                yield None
        finally:
            if conversation.opened is None and not conversation.over:  # nobody waits for it any more
                self.abandon(conversation)
        return conversation

    def watch(self, wishes: dict[str, Any]) -> Steps[Viewing]:
        """A watching that stands. Raises RefusedError, with what is allowed, or InvalidMessage."""
        try:
            message = Watch(session=self._numbers, **wishes)
        except ValidationError as error:
            raise InvalidMessage(explain(error, "watching")) from None
        self._numbers += 1
        viewing = self._conversations[message.session] = Viewing(message, self._send)
        self._send(message)
        try:
            while viewing.watching is None:
                viewing.check()
                self.check()
                yield None
        finally:
            if viewing.watching is None:
                self.leave(viewing)
        return viewing

    def leave(self, viewing: Viewing) -> None:
        """Ends a watching, and waits for nothing."""
        viewing.close()
        self._conversations.pop(viewing.wants.session, None)

    def abandon(self, conversation: Conversation) -> None:
        """Ends a session that nobody waits for, its frames with it."""
        conversation.close(discard=True)
        if conversation.opened is None:
            self._conversations.pop(conversation.opening.session, None)

    def abandon_all(self) -> None:
        """Ends all sessions."""
        for each in list(self._conversations.values()):
            if isinstance(each, Viewing):
                self.leave(each)
            else:
                self.abandon(each)

    def end(self, why: str) -> None:
        """Nothing more will come."""
        self._broken = why

    # Inside

    def _send(self, message: Message, payloads: Sequence[Any] = ()) -> None:
        """Without a connection nothing is kept here: `connected` says again what matters."""
        if self.up:
            self.outbox.append(Outgoing(pack(message), tuple(payloads)))

    def _take(self, message: Message, payloads: Sequence[Payload]) -> None:
        number = getattr(message, "session", None)
        if isinstance(message, Ping):
            self._send(Pong(nonce=message.nonce))
        elif isinstance(message, Pong):
            self._pongs = max(self._pongs, message.nonce)
        elif isinstance(message, Status):
            self._status = message
            self._answers = min(self._asks, self._answers + 1)
        elif number in self._conversations:
            self._conversations[number].receive(message, payloads, self.now)
        elif isinstance(message, Error) and number is None:
            self._complaint = message

    def _check_complaint(self) -> None:
        """Raises RefusedError for what the daemon refused that belongs to no session: a `status` too many."""
        complaint, self._complaint = self._complaint, None
        if complaint is not None:
            self._answers = min(self._asks, self._answers + 1)
            raise raised_for(complaint)

    @property
    def _patience_s(self) -> float:
        """How long the connection may be missing for what belongs to no session."""
        if self._reconnect_s is None or not self._was_up:
            return PATIENCE_S
        return self._reconnect_s

    def _wait_s(self, conversation: Conversation | Viewing) -> float:
        """How long a session may be away."""
        if self._reconnect_s is not None:
            return self._reconnect_s
        opened = None if isinstance(conversation, Viewing) else conversation.opened
        return min(LONGEST_WAIT_S, opened.linger_s if opened else PATIENCE_S)

    def _give_up(self) -> None:
        for number, conversation in list(self._conversations.items()):
            since = conversation.away_since
            if since is not None and self.now >= since + self._wait_s(conversation):
                silent = f"has not answered for {self.now - since:.0f} s"
                conversation.give_up(f"the connection to the daemon at {self.address} was lost, and it {silent}")
                del self._conversations[number]
