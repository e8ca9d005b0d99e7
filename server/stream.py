"""One session as the daemon serves it: its codecs, canvas, Session, and what is to be answered. One thread's alone.

Work goes in as items, in the order in which it came; `serve` is a generator that yields the Asks of an item.
"""

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Frame, Match, Picture
from ..proto.brief import Brief
from ..proto.errors import RETRY, Code, RefusedError, WarpaintError
from ..proto.limits import MAX_REQUESTS, MAX_TEXT
from ..proto.messages import (
    Close,
    Closed,
    Dropped,
    Error,
    Flush,
    Flushed,
    FrameIn,
    Hold,
    MapName,
    Message,
    Open,
    Opened,
    Painted,
    Part,
    Rekey,
    RequestKeyframe,
    SessionStatus,
    Totals,
    Update,
    Updated,
)
from ..proto.wire import Payload
from .asks import Ask, Encode, MatchAsk, Output
from .canvas import plan
from .codecs import Encoded, make_decoder, make_encoder
from .config import Settings
from .session import Session

log = logging.getLogger(__name__)

Buffer = Payload | Picture  # what ZeroMQ takes without a copy
Send = Callable[[Message, Sequence[Any]], None]
Serving = Generator[Ask, Any, None]
Reason = Literal["asked", "shutting_down", "client_gone", "failed"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame as it came: `at` is time.monotonic() of its arrival."""

    message: FrameIn
    payload: Payload
    at: float


@dataclass(frozen=True, slots=True)
class Ending:
    """The session is to end, for this reason, when what came before is done."""

    reason: Reason


Item = Arrival | Update | Rekey | RequestKeyframe | Flush | Ending


@dataclass(slots=True)
class Stages:
    """Milliseconds spent in each stage."""

    ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time inside to this stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, (time.perf_counter() - began) * 1e3)

    def add(self, name: str, ms: float) -> None:
        """Adds to a stage."""
        self.ms[name] = self.ms.get(name, 0.0) + ms


class Stream:
    """A session being served. Raises RefusedError when it cannot be opened as asked."""

    def __init__(self, opening: Open, settings: Settings, looks: Sequence[str], flow: str, send: Send) -> None:
        if opening.pacing != "every":
            raise RefusedError(Code.UNSUPPORTED, f"pacing {opening.pacing!r} is not offered: only 'every'")
        source = opening.source
        max_pixels = min(opening.max_pixels or settings.max_pixels, settings.max_pixels)
        self.opening = opening
        self.canvas = plan(source.width, source.height, source.rotation, max_pixels)
        self.looks = tuple(looks)
        self.inbox: deque[Item] = deque()
        self.ended = False
        self.flow = flow
        self._latest_brief = self._followed(opening.brief)
        self._decoder = make_decoder(source)
        self._encoder = make_encoder(opening.result, source)
        self._session = Session(self._latest_brief, self.canvas.size, flow=flow != "none")
        self._send = send
        self._pending: dict[int, Arrival] = {}  # frames not yet answered
        self._unshown: deque[tuple[int, int]] = deque()  # requests, and the epochs that show them
        self._keyframe_wanted = False
        self._counts: dict[str, int] = {}
        self._stages = Stages()
        self._dropped_at: dict[str, int] = {}
        self.serving: Serving | None = None

    def opened(self, painter: str, credit: int, server: str) -> Opened:
        """The answer to `open`."""
        width, height = self.canvas.size
        return Opened(
            session=self.opening.session,
            token=secrets.token_urlsafe(16),
            credit=credit,
            epoch=self._session.epoch,
            painter=painter,
            flow=self.flow,
            looks=self.looks,
            width=width,
            height=height,
            server=server,
        )

    # What comes in

    def put(self, item: Arrival | Update | Rekey | RequestKeyframe | Flush | Hold | Close) -> None:
        """Takes what a client sent. Updates are checked and acknowledged at once, and take effect in their turn.

        A `close` that discards comes after `discard`, which whoever waits for a painter has to see to.
        """
        if isinstance(item, Hold):
            self._refuse(Code.UNSUPPORTED, "`hold` stops a live film; in pacing 'every' send no frame", item.request)
        elif isinstance(item, Close):
            self.inbox.append(Ending("asked"))
        elif isinstance(item, Update | Rekey | Flush) and len(self.inbox) - len(self._pending) >= MAX_REQUESTS:
            self._refuse(Code.WINDOW_OVERRUN, f"{MAX_REQUESTS} requests wait behind a frame already", item.request)
        elif isinstance(item, Update):
            self._put_update(item)
        else:
            if isinstance(item, Arrival):
                self._pending[item.message.index] = item
                self._count("received")
            elif isinstance(item, RequestKeyframe) and self.inbox and isinstance(self.inbox[-1], RequestKeyframe):
                return  # one is as good as many
            elif isinstance(item, Rekey):
                self._send(Updated(session=self.opening.session, request=item.request), ())
            self.inbox.append(item)

    def _put_update(self, item: Update) -> None:
        try:
            self._latest_brief = self._followed(self._latest_brief.changed(dict(item.changes)))
        except WarpaintError as error:
            self._refuse(Code.BAD_BRIEF, str(error), item.request)
            return
        self._send(Updated(session=self.opening.session, request=item.request), ())
        self.inbox.append(item)

    def discard(self) -> None:
        """Forgets what is waiting; each frame is answered as dropped."""
        self.inbox.clear()
        if self.serving is not None:
            self.serving.close()
            self.serving = None
        for index in list(self._pending):
            self._drop(index, "queue", Code.CANCELLED)

    def _followed(self, brief: Brief) -> Brief:
        if brief.look is None:
            return brief.changed({"look": self.looks[0]})
        if brief.look not in self.looks:
            known = ", ".join(self.looks)
            raise RefusedError(Code.BAD_BRIEF, f"brief.look: this painter has no look {brief.look!r}; it has {known}")
        return brief

    # What is done

    def serve(self, item: Item) -> Serving:
        """Does one item, asking for engine work as it goes."""
        if isinstance(item, Arrival):
            yield from self._frame(item)
        elif isinstance(item, Update):
            brief = self._followed(self._session.brief.changed(dict(item.changes)))
            self._unshown.append((item.request, self._session.update(brief)))
        elif isinstance(item, Rekey):
            self._unshown.append((item.request, self._session.rekey()))
        elif isinstance(item, RequestKeyframe):
            self._keyframe_wanted = True
        elif isinstance(item, Flush):
            yield from self._drained()
            self._send(Flushed(session=self.opening.session, request=item.request), ())
        else:
            yield from self._drained()
            self.end(item.reason)

    def end(self, reason: Reason) -> None:
        """Frees what is held, and says so."""
        self.ended = True
        why = Code.SHUTTING_DOWN if reason == "shutting_down" else Code.CANCELLED
        for index in list(self._pending):
            self._drop(index, "session", why)
        self._decoder.close()
        self._encoder.close()
        self._send(Closed(session=self.opening.session, reason=reason, totals=self.totals()), ())

    def _frame(self, arrival: Arrival) -> Serving:
        index = arrival.message.index
        stages = Stages({"wait": (time.monotonic() - arrival.at) * 1e3})
        try:
            with stages.stage("decode"):
                pictures = self._decoder.decode(arrival.payload, index)
        except RefusedError as error:
            self._fail(index, error.code, str(error))
            return
        for tag, picture in pictures:
            yield from self._paint(tag, picture, stages)
        if index in self._pending:  # a coded frame that completes no picture
            self._drop(index, "decode", Code.BAD_FRAME)

    def _drained(self) -> Serving:
        """Paints and sends what codecs and session still hold back."""
        try:
            for tag, picture in self._decoder.flush():
                yield from self._paint(tag, picture, Stages())
        except RefusedError as error:
            log.warning("session %d: %s", self.opening.session, error)
        for output in (yield from self._session.finish()):
            self._deliver(output, Stages())
        waiting = {item.message.index for item in self.inbox if isinstance(item, Arrival)}
        for index in [each for each in self._pending if each not in waiting]:
            self._drop(index, "decode", Code.BAD_FRAME)

    def _paint(self, index: int, picture: Picture, stages: Stages) -> Serving:
        arrival = self._pending.get(index)
        if arrival is None:  # answered already, as dropped
            return
        pts = arrival.message.pts * Fraction(*self.opening.source.time_base)
        try:
            with stages.stage("canvas"):
                frame = Frame(index, pts, self.canvas.put(picture))
            for output in (yield from self._timed(frame, stages)):
                self._deliver(output, stages)
        except RefusedError as error:
            self._fail(index, error.code, str(error))
        except Exception:
            log.exception("session %d: frame %d", self.opening.session, index)
            self._fail(index, Code.INTERNAL, "a defect of the daemon; its log has more")

    def _timed(self, frame: Frame, stages: Stages) -> Generator[Ask, Any, list[Output]]:
        """The session's step, with the time in each stage."""
        step = self._session.step(frame)
        answer: Any = None
        while True:
            try:
                with stages.stage("compose"):
                    ask = step.send(answer)
            except StopIteration as end:
                outputs: list[Output] = end.value
                return outputs
            with stages.stage("encode_features" if isinstance(ask, Encode) else _stage_of(ask)):
                answer = yield ask

    # What goes out

    def _deliver(self, output: Output, stages: Stages) -> None:
        arrival = self._pending.pop(output.index)
        try:
            with stages.stage("encode"):
                picture = self.canvas.take(output.picture)
                coded = self._encoder.encode(picture, output.index, self._keyframe_wanted)
            [encoded] = coded
        except (RefusedError, ValueError) as error:
            self._pending[output.index] = arrival
            self._fail(output.index, Code.ENCODER_FAILED, str(error))
            return
        self._keyframe_wanted = False
        self._tally(output, stages)
        parts, payloads = _maps(output, self.opening.maps)
        message = self._painted(output, arrival, encoded, stages, parts)
        self._send(message, [encoded.data, *payloads])
        while self._unshown and self._unshown[0][1] <= output.epoch:
            request, epoch = self._unshown.popleft()
            shown = Updated(session=self.opening.session, request=request, epoch=epoch, shown_at=output.index)
            self._send(shown, ())

    def _painted(
        self, output: Output, arrival: Arrival, encoded: Encoded, stages: Stages, maps: Sequence[Part]
    ) -> Painted:
        confidence = 1.0 if output.match is None else float(output.match.confidence.mean())
        return Painted(
            session=self.opening.session,
            index=output.index,
            pts=arrival.message.pts,
            epoch=output.epoch,
            provenance=output.provenance,
            keyframe=output.keyframe,
            parts=(Part(name="picture"), *maps),
            coded_keyframe=encoded.keyframe,
            holes=np.count_nonzero(output.holes) / output.holes.size,
            painted_pixels=output.painted_pixels,
            confidence=min(1.0, max(0.0, confidence)),
            delay_ms=(time.monotonic() - arrival.at) * 1e3,
            stages_ms={name: round(ms, 3) for name, ms in stages.ms.items()},
        )

    def _tally(self, output: Output, stages: Stages) -> None:
        width, height = self.canvas.size
        self._count("painted")
        self._count("keyframes", int(output.keyframe))
        self._count("canvas_pixels", width * height)
        self._count("painted_pixels", output.painted_pixels)
        for name, ms in stages.ms.items():
            self._stages.add(name, ms)

    def _fail(self, index: int, code: Code, message: str) -> None:
        self._pending.pop(index, None)
        self._count("failed")
        error = Error(
            session=self.opening.session, index=index, code=code, retry=RETRY[code], message=message[:MAX_TEXT]
        )
        self._send(error, ())

    def _drop(self, index: int, stage: str, reason: Code) -> None:
        arrival = self._pending.pop(index)
        self._count("dropped")
        self._dropped_at[stage] = self._dropped_at.get(stage, 0) + 1
        pts = arrival.message.pts
        self._send(Dropped(session=self.opening.session, index=index, pts=pts, stage=stage, reason=reason), ())

    def _refuse(self, code: Code, message: str, request: int) -> None:
        error = Error(session=self.opening.session, request=request, code=code, retry=RETRY[code], message=message)
        self._send(error, ())

    # How it does

    def _count(self, name: str, by: int = 1) -> None:
        self._counts[name] = self._counts.get(name, 0) + by

    def totals(self) -> Totals:
        """What became of the frames so far."""
        return Totals(**self._counts)

    def status(self, painter: str) -> SessionStatus:
        """How the session does. `unsent` is for the gateway to fill in."""
        totals = self.totals()
        return SessionStatus(
            session=self.opening.session,
            painter=painter,
            flow=self.flow,
            pacing=self.opening.pacing,
            width=self.canvas.size[0],
            height=self.canvas.size[1],
            waiting=len(self.inbox),
            unsent=0,
            references_bytes=self._session.nbytes,
            totals=totals,
            stages_ms={name: ms / max(1, totals.painted) for name, ms in self._stages.ms.items()},
            dropped_at=self._dropped_at,
        )


def _stage_of(ask: Ask) -> str:
    return "match" if isinstance(ask, MatchAsk) else "paint"


def _maps(output: Output, names: Sequence[MapName]) -> tuple[list[Part], list[Any]]:
    """The parts and arrays of the maps that the client asked for, on the working canvas."""
    if not names:
        return [], []
    match = output.match or Match.identity(output.hops.shape)
    arrays: dict[str, NDArray[Any]] = {
        "flow": match.flow,
        "confidence": match.confidence,
        "hops": output.hops,
        "holes": output.holes.view(np.uint8),
    }
    parts = [
        Part.model_validate({"name": name, "dtype": arrays[name].dtype.name, "shape": arrays[name].shape})
        for name in names
    ]
    return parts, [np.ascontiguousarray(arrays[name]) for name in names]
