"""Those who ask something of a session: its client, and those who watch it. No sockets, no threads.

A View is one who watches. It is sent what is painted after the session's client was. While too much is on the way to
it, frames are left out, so that it holds up nobody.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engines.base import Picture
from ..proto.brief import Brief
from ..proto.errors import RETRY, Code
from ..proto.messages import Error, Message, Painted, Seen, SeenPart, Updated, ViewName, Watch, Watching
from .asks import Output
from .line import Outlet
from .results import map_arrays

# Requests whose second answer is still to come, the newest: somebody may turn a knob for hours before a frame is seen.
MAX_UNSHOWN = 1_000

Send = Callable[[Message, Sequence[Any]], None]


@dataclass(slots=True, eq=False)
class Asker:
    """Somebody to whom requests are answered. number: of the session, or of the watching, by the asker's count."""

    number: int
    send: Send
    unshown: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MAX_UNSHOWN))

    def taken(self, request: int) -> None:
        """Says that a request is taken."""
        self.send(Updated(session=self.number, request=request), ())

    def refused(self, code: Code, message: str, request: int) -> None:
        """Says that a request is not."""
        error = Error(session=self.number, request=request, code=code, retry=RETRY[code], message=message)
        self.send(error, ())

    def shown(self, epoch: int, index: int) -> None:
        """Says which requests are shown for the first time by a frame of this epoch."""
        while self.unshown and self.unshown[0][1] <= epoch:
            request, first = self.unshown.popleft()
            self.send(Updated(session=self.number, request=request, epoch=first, shown_at=index), ())


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A frame to be shown. size: (W, H) of the working canvas without its padding."""

    output: Output
    size: tuple[int, int]


@dataclass(slots=True, eq=False, kw_only=True)
class View(Asker):
    """Somebody who watches. wants: what is to be seen; outlet: how many frames are on the way."""

    wants: Watch
    outlet: Outlet
    may_steer: bool
    told: Watching | None = None  # what was said last of the session

    def tell(self, watching: Watching) -> None:
        """Says what is watched."""
        self.told = watching
        self.send(watching, ())

    @property
    def has_room(self) -> bool:
        """Whether another frame may be sent."""
        return self.outlet.waiting < self.wants.window

    def show(self, painted: Painted, frame: Shown) -> None:
        """Sends a frame."""
        self.outlet.given += 1
        pictures: dict[ViewName, Picture] = {"raw": frame.output.raw, "painted": frame.output.picture}
        maps = map_arrays(frame.output, self.wants.maps)
        width, height = frame.size
        cut = [
            (name, np.ascontiguousarray(array[:height, :width]))
            for name, array in [*((name, pictures[name]) for name in self.wants.pictures), *maps.items()]
        ]
        message = Seen(
            session=self.number,
            seq=self.outlet.given,
            index=painted.index,
            pts=painted.pts,
            epoch=painted.epoch,
            provenance=painted.provenance,
            keyframe=painted.keyframe,
            parts=tuple(
                SeenPart.model_validate({"name": name, "dtype": array.dtype.name, "shape": array.shape})
                for name, array in cut
            ),
            holes=painted.holes,
            painted_pixels=painted.painted_pixels,
            confidence=painted.confidence,
            delay_ms=painted.delay_ms,
            stages_ms=painted.stages_ms,
        )
        self.send(message, [array for _, array in cut])


class Audience:
    """All who watch a session."""

    def __init__(self) -> None:
        self._views: list[View] = []

    def join(self, view: View, watching: Watching) -> None:
        """Shows each frame to somebody from now on, or what they want to see now."""
        if view not in self._views:
            self._views.append(view)
        view.tell(watching)

    def leave(self, view: View) -> bool:
        """Shows them no more. Whether they watched."""
        if view not in self._views:
            return False
        self._views.remove(view)
        return True

    def show(self, painted: Painted, frame: Shown, brief: Brief, *, holding: bool) -> None:
        """Shows a frame to all who take it, and says what has changed of what they were told."""
        for view in self._views:
            told = view.told
            if view.has_room and told is not None:
                if (told.brief, told.holding) != (brief, holding):
                    view.tell(told.model_copy(update={"brief": brief, "holding": holding, "epoch": painted.epoch}))
                view.show(painted, frame)
            view.shown(painted.epoch, painted.index)

    def say(self, made: Callable[[int], Message]) -> None:
        """Says something to all; `made` for the number that the watching has with each."""
        for view in self._views:
            view.send(made(view.number), ())
