"""What a caller of the client may have to handle.

WarpaintError                (proto/errors.py)
├── RefusedError             (proto/errors.py) the daemon refused a request; carries its Code
│   └── FrameFailed          one frame could not be painted; the session goes on
├── DaemonGone               the daemon does not answer or come back, or the session has ended
└── MediaError               a film that cannot be read or written
"""

from ..proto.errors import Code, RefusedError, WarpaintError
from ..proto.messages import Dropped, Error


class FrameFailed(RefusedError):
    """One frame could not be painted; `index` is its number. The session goes on."""

    def __init__(self, code: Code, message: str, index: int) -> None:
        super().__init__(code, message)
        self.index = index


class DaemonGone(WarpaintError):
    """The daemon does not answer, or the connection to it did not come back, or the session has ended."""


class MediaError(WarpaintError):
    """A film that cannot be read or written; the sentence names it."""


def raised_for(message: Error | Dropped) -> RefusedError:
    """The exception for a message that says what could not be done."""
    if isinstance(message, Dropped):
        return FrameFailed(message.reason, f"frame {message.index} was dropped at {message.stage}", message.index)
    if message.index is not None:
        return FrameFailed(message.code, message.message, message.index)
    return RefusedError(message.code, message.message)
