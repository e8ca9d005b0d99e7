"""What can be asked of a session, by its client and by who watches it, without the waiting."""

from abc import ABC, abstractmethod
from typing import Any

from .connection import Connection, Steps
from .conversation import Conversation
from .errors import raised_for
from .viewing import Viewing

Talk = Conversation | Viewing


class Asking(ABC):
    """The requests that are answered by `updated`. The methods are Steps: the shells run each."""

    _connection: Connection

    @property
    @abstractmethod
    def _active(self) -> Talk:
        """The conversation that stands. Raises DaemonGone if there is none any more, or none yet."""

    def _update(self, changes: dict[str, Any]) -> Steps[int]:
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
        return (yield from self._answered(self._active.update(plain)))

    def _rekey(self) -> Steps[int]:
        return (yield from self._answered(self._active.rekey()))

    def _hold(self, on: bool) -> Steps[int]:
        return (yield from self._answered(self._active.hold(on)))

    def _answered(self, request: int) -> Steps[int]:
        talk = self._active
        while request not in talk.updated:
            if request in talk.refused:
                raise raised_for(talk.refused.pop(request))
            self._check(talk)
            yield None
        return request

    def shown_at(self, request: int) -> int | None:
        """The index of the first frame that shows an update; None: none has yet."""
        updated = self._active.updated.get(request)
        return updated.shown_at if updated else None

    def _check(self, talk: Talk) -> None:
        """Raises DaemonGone, or RefusedError, if there is nothing to wait for."""
        talk.check()
        self._connection.check_alive()
