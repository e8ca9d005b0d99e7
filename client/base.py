"""What both clients are made of: everything but the waiting, which the shells painting.py and aio.py add."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import ValidationError

from ..proto.brief import Brief, explain
from ..proto.errors import Code, InvalidMessage
from ..proto.limits import MAX_NAME
from ..proto.messages import MapName, Notice, Open, Opened, Pacing, Result, Source, Totals, ViewName
from .asking import Asking
from .connection import CLIENT, Connection, Steps
from .conversation import Conversation, Drop, PaintedFrame
from .errors import DaemonGone, raised_for
from .images import (
    NO_CONTROLS,
    Controls,
    Frame,
    PaintedImage,
    control_payloads,
    painted_image,
    payload_of,
    source_of,
)
from .link import Link
from .viewer import ViewerBase

# Frames a second of a film whose source does not say.
USUAL_RATE = 25


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a session is to be opened with, but for what its first frame tells."""

    source: Source | None
    result: Result | None
    rate: float | Fraction | None
    rest: dict[str, Any]  # of Open

    @property
    def brief(self) -> Brief:
        """What to paint."""
        brief: Brief = self.rest["brief"]
        return brief

    def opening(self, source: Source) -> dict[str, Any]:
        """The fields of `open` for frames like this. Raises InvalidMessage for a rate that is none."""
        if self.rate is not None:
            try:
                source = Source(**(dict(source) | {"rate": float(self.rate)}))
            except ValidationError as error:
                raise InvalidMessage(explain(error, "session")) from None
        return self.rest | {"source": source, "result": self.result or Result(pixels=source.pixels)}


class SessionBase(Asking):
    """A film being painted, without the waiting.

    The methods that begin with an underscore are Steps: the shells run each under the name without it.
    """

    def __init__(self, connection: Connection, wishes: Wishes) -> None:
        self._connection = connection
        self._wishes = wishes
        self._conversation: Conversation | None = None
        self._is_opening = False

    @property
    def brief(self) -> Brief:
        """What the session was opened with."""
        return self._wishes.brief

    @property
    def opened(self) -> Opened | None:
        """What the daemon said when the session was opened."""
        return self._conversation.opened if self._conversation else None

    @property
    def totals(self) -> Totals | None:
        """What became of the frames, once the session is closed."""
        return self._conversation.totals if self._conversation else None

    @property
    def live(self) -> bool:
        """Whether the pacing is `live`."""
        return self._wishes.rest["pacing"] == "live"

    @property
    def may_push(self) -> bool:
        """Whether `push` would send at once."""
        return self._conversation is None or self._active.may_send

    @property
    def unanswered(self) -> int:
        """Frames sent and not yet answered."""
        return self._conversation.unanswered if self._conversation else 0

    @property
    def pushed(self) -> int:
        """Frames pushed so far, those among them that were dropped before they were sent."""
        return self._conversation.next_index if self._conversation else 0

    @property
    def drops(self) -> deque[Drop]:
        """The latest frames that were not painted, the newest last. May be emptied; `dropped` counts all."""
        return self._conversation.drops if self._conversation else deque()

    @property
    def dropped(self) -> Counter[tuple[str, Code]]:
        """How many frames were not painted, by stage and reason."""
        return self._conversation.dropped if self._conversation else Counter()

    @property
    def notices(self) -> deque[Notice]:
        """What the daemon said of what went wrong and cost no frame, the newest last. May be emptied."""
        return self._conversation.notices if self._conversation else deque()

    def _open(self, source: Source) -> Steps[Opened]:
        if self._is_open or self._is_opening:
            raise ValueError("the session is open already")
        self._is_opening = True
        try:
            conversation = yield from self._connection.begin(self._wishes.opening(source))
        finally:
            self._is_opening = False
        if conversation.opened is None:
            raise DaemonGone("the session was not opened")
        self._conversation = conversation
        self._wishes = replace(self._wishes, source=source)
        return conversation.opened

    def _enter(self) -> Steps[None]:
        if self._conversation is None and self._wishes.source is not None:
            yield from self._open(self._wishes.source)

    def _ready(self, frame: Frame) -> Steps[Conversation]:
        """The conversation; opened for frames like this one, if it is not open, and nobody else opens it."""
        while self._is_opening:
            yield None
        if self._conversation is None:
            yield from self._open(self._wishes.source or source_of(frame))
        return self._active

    def _push(
        self,
        frame: Frame,
        pts: int,
        controls: Controls = NO_CONTROLS,
        *,
        keyframe: bool = False,
        bounded: bool = False,
    ) -> Steps[int]:
        """bounded: waits also while more results than the credit wait to be taken."""
        conversation = yield from self._ready(frame)
        source = conversation.opening.source
        payload, images = payload_of(frame, source), control_payloads(controls, source)
        while not conversation.live and not _has_room(conversation, bounded):
            self._check(conversation)
            yield None
        conversation.check()
        return conversation.frame(pts, payload, images, keyframe=keyframe)

    def _ticks(self, number: int, rate: float | Fraction | None) -> int:
        """When a frame of a film with even steps is shown, in units of the source's time base."""
        source = self._active.opening.source
        return round(Fraction(number) / (Fraction(rate or source.rate or USUAL_RATE) * Fraction(*source.time_base)))

    def _next(self, *, wait: bool) -> Steps[PaintedImage | None]:
        """The next result; None: there is none, or with `wait` none to come. Raises FrameFailed."""
        conversation = self._conversation
        while conversation is not None:
            if conversation.results:
                return self._painted(conversation)
            if not conversation.unanswered:
                return None
            self._check(conversation)
            if not wait:
                return None
            conversation.rest()
            yield None
        return None

    def _rest(self) -> None:
        """Nothing is pushed for now: what waits for more is asked for."""
        if self._is_open and self._conversation is not None:
            self._conversation.rest()

    def _painted(self, conversation: Conversation) -> PaintedImage:
        result = conversation.results.popleft()
        if not isinstance(result, PaintedFrame):
            raise raised_for(result)
        return painted_image(result, conversation.opening)

    def _flush(self) -> Steps[None]:
        conversation = self._active
        request = conversation.flush()
        while request not in conversation.flushed:
            if request in conversation.refused:
                raise raised_for(conversation.refused.pop(request))
            self._check(conversation)
            yield None

    def _close(self) -> Steps[Totals | None]:
        conversation = self._conversation
        if conversation is not None and not conversation.over:
            conversation.close()
            while conversation.closed is None:
                self._check(conversation)
                yield None
        return self.totals

    def _abandon(self) -> None:
        """Ends the session, its frames with it, and waits for nothing."""
        if self._is_open and self._conversation is not None:
            self._connection.abandon(self._conversation)

    @property
    def _is_open(self) -> bool:
        return self._conversation is not None and not self._conversation.over

    @property
    def _active(self) -> Conversation:
        """The conversation. Raises DaemonGone if there is none any more, or none yet."""
        if self._conversation is None:
            raise DaemonGone("the session is not open yet: push a frame, or give `session` a source")
        self._conversation.check()
        return self._conversation


def _has_room(conversation: Conversation, bounded: bool) -> bool:
    return conversation.may_send and not (bounded and len(conversation.results) > conversation.window)


S = TypeVar("S", bound=SessionBase)
V = TypeVar("V", bound=ViewerBase)


class ClientBase(Generic[S, V]):
    """A connection to a daemon, without the waiting."""

    _session_class: ClassVar[type[Any]]
    _viewer_class: ClassVar[type[Any]]

    def __init__(self, address: str | None = None, *, reconnect_s: float | None = None) -> None:
        """address: of the daemon; None: the user's own.

        reconnect_s: how long a lost connection may take to come back before DaemonGone is raised; 0: no time at all;
        None: as long as the sessions wait in the daemon, at most a minute.
        """
        self._link = Link(address, reconnect_s)
        self._connection = self._link.connection
        self.address = self._link.address

    def session(
        self,
        *,
        source: Source | None = None,
        result: Result | None = None,
        painter: str | None = None,
        flow: str | None = None,
        pacing: Pacing = "every",
        rate: float | Fraction | None = None,
        max_delay_ms: float | None = None,
        linger_s: float | None = None,
        max_pixels: int | None = None,
        maps: Sequence[MapName] = (),
        name: str = "",
        **brief: Any,
    ) -> S:
        """A session with this Brief. Without a source, that of the first frame: bgr24, time in milliseconds.

        pacing: `every` paints each frame, in order; `live` answers in time, and drops what would be late. rate: frames
        a second that will be pushed; a live session is admitted by it. max_delay_ms: of live, from arrival to sending;
        None: the protocol's default. linger_s: how long the session waits for this client, should it be gone; None: the
        daemon's setting. name: what the session is for, as `status` and those who watch show it.

        Raises InvalidMessage for a field of the Brief that is unknown or out of its range.
        """
        rest = {
            "brief": Brief().changed(brief),
            "painter": painter,
            "flow": flow,
            "pacing": pacing,
            "max_delay_ms": Open.model_fields["max_delay_ms"].default if max_delay_ms is None else max_delay_ms,
            "linger_s": linger_s,
            "max_pixels": max_pixels,
            "maps": tuple(maps),
            "client": f"{name}, {CLIENT}"[:MAX_NAME] if name else CLIENT,
        }
        made: S = self._session_class(self, Wishes(source, result, rate, rest))
        return made

    def watch(
        self,
        id: str,  # noqa: A002  # as `status` calls it
        *,
        pictures: Sequence[ViewName] = ("raw", "painted"),
        maps: Sequence[MapName] = (),
        window: int | None = None,
    ) -> V:
        """A session of any client to look at, by its `id` of `status`. To be used in a `with`.

        window: how many frames may be on their way, 1 to 16; None: the protocol's default.
        """
        wishes = {"id": id, "pictures": tuple(pictures), "maps": tuple(maps)}
        made: V = self._viewer_class(self, wishes if window is None else wishes | {"window": window})
        return made
