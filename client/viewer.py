"""Watching a session, without the waiting, which the shells painting.py and aio.py add."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..proto.messages import Notice, Seen, Watching
from .asking import Asking
from .connection import Connection, Steps
from .errors import DaemonGone
from .images import Image
from .viewing import SeenFrame, Viewing


@dataclass(frozen=True, slots=True)
class SeenImage:
    """A frame of a session that is watched.

    raw, painted: [H, W, 3] uint8 BGR, upright, or None if not wanted. maps: by name, of the same size. pts: seconds.
    info: provenance, holes, times and all else that the daemon says of the frame.
    """

    raw: Image | None
    painted: Image | None
    index: int
    pts: Fraction
    maps: dict[str, NDArray[Any]]
    info: Seen


class ViewerBase(Asking):
    """A session of any client, being watched. The methods that begin with an underscore are Steps."""

    def __init__(self, connection: Connection, wishes: dict[str, Any]) -> None:
        self._connection = connection
        self._wishes = wishes
        self._viewing: Viewing | None = None

    @property
    def watching(self) -> Watching:
        """What is watched, as the daemon said it last. Raises DaemonGone before the watching stands."""
        viewing = self._viewing
        if viewing is None or viewing.watching is None:
            raise DaemonGone("the watching does not stand yet: use it in a `with`")
        return viewing.watching

    @property
    def changes(self) -> int:
        """How often `watching` has changed: for whoever shows it."""
        return 0 if self._viewing is None else self._viewing.changes

    def notices(self) -> list[Notice]:
        """What the daemon said of what went wrong and cost no frame, since this was asked last."""
        viewing = self._viewing
        found = list(viewing.notices) if viewing else []
        if viewing:
            viewing.notices.clear()
        return found

    def want(self, **wishes: Any) -> None:
        """Changes `pictures`, `maps` or `window`, from some frame on. Raises ValidationError for what cannot be."""
        self._active.want(wishes)

    def _enter(self) -> Steps[None]:
        if self._viewing is None:
            self._viewing = yield from self._connection.watch(self._wishes)

    def _next(self, *, wait: bool) -> Steps[SeenImage | None]:
        """The next frame; None: there is none, or with `wait` none to come, as the session has ended."""
        viewing = self._viewing
        while viewing is not None:
            frame = viewing.take()
            if frame is not None:
                return _seen_image(frame, Fraction(*self.watching.time_base))
            if viewing.closed is not None:
                return None
            self._check(viewing)
            if not wait:
                return None
            yield None
        return None

    def _leave(self) -> None:
        if self._viewing is not None and not self._viewing.over:
            self._connection.leave(self._viewing)

    @property
    def _active(self) -> Viewing:
        if self._viewing is None:
            raise DaemonGone("the watching does not stand yet: use it in a `with`")
        self._viewing.check()
        return self._viewing


def _seen_image(frame: SeenFrame, tick_s: Fraction) -> SeenImage:
    """The arrays of a frame; views on what was received."""
    message = frame.message
    arrays: dict[str, NDArray[Any]] = {
        part.name: np.frombuffer(payload, part.dtype).reshape(part.shape)
        for part, payload in zip(message.parts, frame.payloads, strict=True)
    }
    raw, painted = (arrays.pop(name, None) for name in ("raw", "painted"))
    return SeenImage(raw, painted, message.index, message.pts * tick_s, arrays, message)
