"""The sockets of an RTMP listener: many connections, of which one at a time publishes.

All of it happens in the thread that reads the film, while that waits for bytes: there is no queue, and a publisher that
is quicker than its film is decoded waits in its own socket.
"""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from ...film.media import reason
from ..transports import LOOK_S, bound, kept_alive
from ..urls import Url
from .conversation import GREETING, Asked, Conversation, Ended, Event, Media, Refused
from .errors import Unintelligible

# What is read of a socket at once, bytes.
PIECE = 65_536
# Who has not asked to publish by then is sent away, seconds: a program asks within one, over any network.
ASKS_WITHIN_S = 10.0
# Connections that do not publish, at most; of too many, the one that came first goes.
MOST_STRANGERS = 16
# A publisher from which nothing has come for so long gives way to another one, seconds. A program that streams sends
# many times a second; one that has crashed with its machine never closes its connection.
SILENT_S = 3.0
# Who was turned away has so long to read why, seconds.
READS_WITHIN_S = 2.0
# Bytes that wait to be sent to somebody who does not read them, at most.
MOST_UNREAD = 65_536
# The same sentence is not said again for so long, seconds: whoever is turned away may come back twice a second.
SAID_AGAIN_S = 60.0
# And so many sentences are remembered: they differ by who is told of.
MOST_SAID = 256

TAKEN = "Somebody publishes here already."


class Film:
    """What one publisher sends, from its beginning to its end, as FLV."""

    def __init__(self) -> None:
        self.over = False
        self._pieces: deque[bytes] = deque()

    def put(self, data: bytes) -> None:
        """Adds bytes."""
        self._pieces.append(data)

    def take(self, size: int) -> bytes:
        """The next bytes that are there."""
        if not self._pieces:
            return b""
        first = self._pieces.popleft()
        if len(first) > size:
            self._pieces.appendleft(first[size:])
        return first[:size]

    @property
    def waits(self) -> bool:
        """Whether there are bytes to be taken."""
        return bool(self._pieces)


class _Peer:
    """A connection: a stranger, until it has a film."""

    def __init__(self, connection: socket.socket, host: str, path: str, now_s: float) -> None:
        self.connection = connection
        self.host = host
        self.talk = Conversation(path, os.urandom(GREETING - 8))
        self.ends_s = now_s + ASKS_WITHIN_S  # unless it publishes by then
        self.heard_s = now_s
        self.received = 0
        self.film: Film | None = None
        self.published = False


class RtmpReader:
    """A listener, and one publisher after another."""

    endless = True

    def __init__(self, url: Url, stopping: threading.Event, say: Callable[[str], None]) -> None:
        """say: told of who is turned away. Raises MediaError if it cannot be listened to."""
        self.name = str(url)
        self._path = url.path
        self._stopping = stopping
        self._say = say
        self._said: dict[str, float] = {}
        self._peers: dict[socket.socket, _Peer] = {}  # in the order in which they came
        self._publisher: _Peer | None = None
        self._film = Film()  # that is read
        self._film.over = True
        self._next: Film | None = None
        self._listener = bound(url, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.listen()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def begin(self) -> bool:
        """Waits for a publisher that sends something."""
        if self._publisher is not None and self._publisher.film is self._film:
            self._hang_up(self._publisher)  # its film could not be read
        while not self._stopping.is_set():
            film = self._next
            if film is not None and film.waits:
                self._film, self._next = film, None
                return True
            self._turn()
        return False

    def read(self, size: int) -> bytes:
        """The next bytes of its film."""
        while not self._stopping.is_set():
            data = self._film.take(size)
            if data or self._film.over:
                return data
            self._turn()
        return b""

    def close(self) -> None:
        """Lets go of the sockets."""
        for peer in list(self._peers.values()):
            self._hang_up(peer)
        self._selector.close()
        self._listener.close()

    # One look at all sockets

    def _turn(self) -> None:
        ready = self._selector.select(LOOK_S)
        sockets = [key.fileobj for key, _ in ready if isinstance(key.fileobj, socket.socket)]
        # The publisher comes first: it is not silent if there is something to be read of it.
        first = self._publisher.connection if self._publisher else None
        for each in sorted(sockets, key=lambda one: one is not first):
            peer = self._peers.get(each)
            if peer is not None:
                self._hear(peer)
            elif each is self._listener:
                self._welcome()
        now = time.monotonic()
        for peer in [each for each in self._peers.values() if each.film is None and each.ends_s <= now]:
            self._give_up(peer)

    def _welcome(self) -> None:
        """Takes a connection."""
        try:
            connection, address = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # it is gone again
            return
        except OSError as error:
            self._tell(f"no connection can be taken: {reason(error)}")
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        strangers = [each for each in self._peers.values() if each.film is None]
        if len(strangers) >= MOST_STRANGERS:
            self._tell(f"more than {MOST_STRANGERS} connections publish nothing: the oldest is closed")
            self._hang_up(strangers[0])
        self._peers[connection] = _Peer(kept_alive(connection), str(address[0]), self._path, time.monotonic())
        self._selector.register(connection, selectors.EVENT_READ)

    def _hear(self, peer: _Peer) -> None:
        """Reads what a connection sends, and answers."""
        try:
            data = peer.connection.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:  # reset
            data = b""
        if not data:
            self._hang_up(peer)
            return
        peer.heard_s = time.monotonic()
        peer.received += len(data)
        if peer.talk.over:
            return  # until it has read why, and closes
        try:
            for event in peer.talk.receive(data):
                self._take(peer, event)
        except Unintelligible as error:
            self._tell(f"somebody at {peer.host} {error}")
            self._hang_up(peer)
            return
        self._answer(peer)

    def _answer(self, peer: _Peer) -> None:
        out = peer.talk.outgoing
        try:
            if out:
                del out[: peer.connection.send(out)]
        except BlockingIOError:
            pass  # with the next that is heard of it
        except OSError:
            self._hang_up(peer)
            return
        if len(out) > MOST_UNREAD:
            self._tell(f"somebody at {peer.host} does not read what it is answered")
            self._hang_up(peer)
        elif peer.talk.over:
            with contextlib.suppress(OSError):
                peer.connection.shutdown(socket.SHUT_WR)

    def _give_up(self, peer: _Peer) -> None:
        """Closes the connection of somebody whose time is over."""
        if not peer.talk.over and not peer.published:
            what = "asked for nothing" if peer.received else "sent nothing"
            self._tell(f"somebody at {peer.host} connected and {what} for {ASKS_WITHIN_S:g} s")
        self._hang_up(peer)

    # What they want

    def _take(self, peer: _Peer, event: Event) -> None:
        if isinstance(event, Media):
            if peer.film is not None:
                peer.film.put(event.data)
        elif isinstance(event, Asked):
            self._decide(peer)
        elif isinstance(event, Refused):
            self._turn_away(peer, event.why)
        elif isinstance(event, Ended):
            self._end_film(peer)
            peer.ends_s = time.monotonic() + ASKS_WITHIN_S

    def _decide(self, peer: _Peer) -> None:
        """Lets somebody with the right key publish, unless another one does."""
        other = self._publisher
        silent_s = time.monotonic() - other.heard_s if other else 0.0
        if other is not None and silent_s < SILENT_S:
            peer.talk.refuse(TAKEN)
            self._turn_away(peer, "wanted to publish while another one does")
            return
        if other is not None:
            self._tell(f"the publisher was silent for {silent_s:.0f} s, and gives way to another one")
            self._hang_up(other)
        peer.talk.accept()
        peer.film = self._next = Film()
        peer.published = True
        self._publisher = peer

    def _turn_away(self, peer: _Peer, why: str) -> None:
        self._tell(f"somebody at {peer.host} {why}")
        peer.ends_s = time.monotonic() + READS_WITHIN_S

    def _end_film(self, peer: _Peer) -> None:
        if peer.film is not None:
            peer.film.over = True
            peer.film = None
        if self._publisher is peer:
            self._publisher = None

    def _hang_up(self, peer: _Peer) -> None:
        self._end_film(peer)
        if self._peers.pop(peer.connection, None) is not None:
            self._selector.unregister(peer.connection)
            peer.connection.close()

    def _tell(self, sentence: str) -> None:
        """Says something, but not again and again."""
        now = time.monotonic()
        if now - self._said.get(sentence, -SAID_AGAIN_S) < SAID_AGAIN_S:
            return
        if len(self._said) >= MOST_SAID:
            self._said.clear()
        self._said[sentence] = now
        self._say(f"{self.name}: {sentence}")
