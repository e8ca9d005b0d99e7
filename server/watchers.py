"""Those who watch sessions, as the gateway knows them. No sockets."""

from dataclasses import dataclass, field

from ..proto.errors import Code, RefusedError
from ..proto.messages import Close, Closed, Error, Hold, Message, Rekey, Update, Watch, Watching
from .line import Outlet, Requests

# Watchings of all clients together: each may hold some raw pictures on their way, and costs copies of each frame.
MAX_WATCHERS = 64


@dataclass(slots=True, eq=False)
class Watcher:
    """Somebody who watches a session. id: of that; number: of the watching, on the connection `peer`."""

    peer: bytes
    number: int
    id: str
    outlet: Outlet = field(default_factory=Outlet)
    requests: Requests = field(default_factory=Requests)
    stands: bool = False  # it was answered

    def acknowledge(self, seq: int) -> None:
        """The client has every frame up to this one, as far as they were sent."""
        self.outlet.taken = max(self.outlet.taken, min(seq, self.outlet.given))

    def sent(self, message: Message) -> bool:
        """Keeps the accounts of what was sent. True: the watching has ended, or never began."""
        if isinstance(message, Watching):
            self.stands = True
        self.requests.settle(message)
        return isinstance(message, Closed) or (isinstance(message, Error) and not self.stands)

    def taken(self, message: Message) -> Update | Rekey | Hold | Close:
        """What the client sends, but for `ack`, as it is noted. Raises RefusedError for what is not for a watching."""
        if isinstance(message, Update | Rekey | Hold):
            self.requests.take(message.request)
        elif not isinstance(message, Close):
            text = f"session {self.number} is watched here: that takes update, rekey, hold, ack and close alone"
            raise RefusedError(Code.UNSUPPORTED, text)
        return message


class Watchers:
    """All watchings, by connection and number."""

    def __init__(self) -> None:
        self._all: dict[tuple[bytes, int], Watcher] = {}

    def get(self, peer: bytes, number: int) -> Watcher | None:
        """The watching of this number on a connection."""
        return self._all.get((peer, number))

    def begun(self, peer: bytes, message: Watch) -> Watcher:
        """A new watching, or the one that is to change. Raises RefusedError if it cannot be."""
        watcher = self.get(peer, message.session)
        if watcher is None:
            if len(self._all) >= MAX_WATCHERS:
                text = f"sessions are watched {MAX_WATCHERS} times already, which is as often as they may be"
                raise RefusedError(Code.TOO_MANY_SESSIONS, text)
            watcher = self._all[peer, message.session] = Watcher(peer, message.session, message.id)
        elif watcher.id != message.id:
            raise RefusedError(Code.SESSION_EXISTS, f"number {message.session} watches another session already")
        return watcher

    def stands(self, watcher: Watcher) -> bool:
        """Whether it has not ended."""
        return self.get(watcher.peer, watcher.number) is watcher

    def watches(self, peer: bytes) -> bool:
        """Whether a connection watches anything."""
        return any(identity == peer for identity, _ in self._all)

    def end(self, watcher: Watcher) -> None:
        """Forgets it."""
        if self.stands(watcher):
            del self._all[watcher.peer, watcher.number]

    def lost(self, peer: bytes) -> list[Watcher]:
        """Forgets all of a connection; those there were."""
        lost = [each for (identity, _), each in self._all.items() if identity == peer]
        for each in lost:
            self.end(each)
        return lost
