"""One session as the daemon serves it: its codecs, canvas, Session, and what is to be answered. One thread's alone.

Work goes in as items, in the order in which it came; `serve` is a generator that yields the Asks of an item.
"""

import logging
import secrets
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ..engines.base import NO_CONTROLS, NO_HABITS, Controls, Frame, Habits, PaintDone, PaintJob, Picture
from ..engines.registry import BriefRule, any_brief
from ..proto.brief import Brief
from ..proto.errors import RETRY, Code, RefusedError, WarpaintError
from ..proto.limits import MAX_REQUESTS, MAX_TEXT, MAX_WINDOW
from ..proto.messages import (
    Close,
    Closed,
    Credit,
    Dropped,
    Error,
    Flush,
    Flushed,
    Hold,
    Notice,
    Open,
    Opened,
    Painted,
    Provenance,
    Rekey,
    RequestKeyframe,
    SessionStatus,
    Update,
    Watching,
)
from ..proto.wire import Payload
from .accounts import Accounts, Stages
from .asks import Ask, Encode, MatchAsk, Output, PaintAsk
from .canvas import plan
from .codecs import make_decoder, make_encoder
from .config import Settings
from .control_images import control_images
from .items import Arrival, Ending, Item, Reason, Steered, Steering
from .line import Outlet
from .live import LiveSession
from .recording import Record
from .remarks import Remarks
from .results import painted
from .session import Session
from .state import State
from .steadiness import Meter
from .store import Stored
from .tallies import Tallies
from .views import Asker, Audience, Send, Shown, View

log = logging.getLogger(__name__)

# Encodings whose payloads can be read each by itself, so that one which is not needed need not be decoded.
ALONE = frozenset({"raw", "jpeg", "mjpeg"})
# A live film sends no more results while so many are on their way: at 30 frames a second, 130 ms of them. A client
# that is farther away than that gets fewer frames, and one that reads slowly sees none that are older.
ON_THE_WAY = 4
# A client's name as `status` tells it, characters: with so many of them its header is not too large.
NAME_SHOWN = 80

Buffer = Payload | Picture  # what ZeroMQ takes without a copy
Serving = Generator[Ask, Any, None]


class Stream:
    """A session being served. Raises RefusedError when it cannot be opened as asked.

    public_id: names it for those who watch. looks, habits, rule: of its painter; rule says why it cannot follow a
    Brief. guesses: whether its flow engine takes them. outlet: how many results are on the way to the client. tallies:
    where its frames are counted with all others.
    """

    def __init__(
        self,
        opening: Open,
        settings: Settings,
        looks: Sequence[str],
        flow: str,
        send: Send,
        outlet: Outlet,
        *,
        public_id: str = "",
        habits: Habits = NO_HABITS,
        rule: BriefRule = any_brief,
        guesses: bool = True,
        tallies: Tallies | None = None,
    ) -> None:
        if opening.pacing == "live" and flow == "none":
            raise RefusedError(Code.UNSUPPORTED, "pacing 'live' needs a flow: without one each frame waits for paint")
        source = opening.source
        max_pixels = min(opening.max_pixels or settings.max_pixels, settings.max_pixels)
        self.public_id = public_id
        self.opening = opening
        self.canvas = plan(source.width, source.height, source.rotation, max_pixels)
        self.looks = tuple(looks)
        self._rule = rule
        self.inbox: deque[Item] = deque()
        self.ended = False
        self.flow = flow
        self._latest_brief = self._followed(opening.brief)
        self._decoder = make_decoder(source)
        self._encoder = make_encoder(opening.result, source)
        self.live = opening.pacing == "live"
        self.credit = settings.window  # frames that may be unanswered at once
        self._window = settings.window  # of them, those that do not wait for what comes after them
        self.last_done: int | None = None  # the index of the last frame that is done, with all before it
        self.last_request: int | None = None  # the last that is done
        self.steps = 0  # frames that went into the session
        self.changes = 0  # of what would be written down
        self.may_return = False
        self._session = _session(opening, self._latest_brief, self.canvas.size, flow, habits, guesses=guesses)
        self._send = send
        self.outlet = outlet
        self._record = _record(opening, settings, self._latest_brief, self.canvas.size, habits)
        self._holding = False
        self._still: Picture | None = None  # what is held
        self._still_controls = NO_CONTROLS
        self._last_controls = NO_CONTROLS  # of the frame that was seen last, if it may be held
        self._pending: dict[int, Arrival] = {}  # frames not yet answered
        self._stages: dict[int, Stages] = {}  # of those that are painted, and wait for what comes after them
        self._client = Asker(opening.session, send)
        self._audience = Audience()
        self._keyframe_wanted = False
        tallies = tallies or Tallies()
        self._accounts, self._steadiness = Accounts(tallies), Meter(tallies)
        self._remarks = Remarks()
        self.serving: Serving | None = None

    @property
    def flow_size(self) -> tuple[int, int]:
        """The size (W, H) of the pictures that flow is found between."""
        return self._session.flow_size

    def opened(self, token: str, painter: str, linger_s: float, server: str) -> Opened:
        """The answer to `open`."""
        width, height = self.canvas.size
        return Opened(
            session=self.opening.session,
            token=token,
            credit=self.credit,
            epoch=self._session.epoch,
            painter=painter,
            flow=self.flow,
            looks=self.looks,
            width=width,
            height=height,
            server=server,
            linger_s=linger_s,
            id=self.public_id,
        )

    @property
    def pixels(self) -> int:
        """Of the working canvas."""
        width, height = self.canvas.size
        return width * height

    # What comes in

    def put(self, item: Arrival | Update | Rekey | RequestKeyframe | Flush | Hold | Close) -> None:
        """Takes what a client sent. Updates are checked and acknowledged at once, and take effect in their turn.

        A `close` that discards comes after `discard`, which whoever waits for a painter has to see to.
        """
        if isinstance(item, Close):
            self.inbox.append(Ending("asked"))
        elif isinstance(item, Steering | Flush):
            if self._takes(item, self._client):
                self.inbox.append(item)
        elif isinstance(item, Arrival):
            self._put_frame(item)
            self.inbox.append(item)
        elif not self.inbox or not isinstance(self.inbox[-1], RequestKeyframe):  # one is as good as many
            self.inbox.append(item)

    def _put_frame(self, arrival: Arrival) -> None:
        """Counts a frame. A live film waits with one alone: a newer one takes its place, if it needs no decoding."""
        self._pending[arrival.message.index] = arrival
        self._accounts.received()
        if self.live and self.opening.source.encoding in ALONE:
            for older in [each for each in self.inbox if isinstance(each, Arrival)]:
                self.inbox.remove(older)
                self._drop(older.message.index, "queue", Code.SUPERSEDED)

    def _takes(self, item: Steering | Flush, asker: Asker) -> bool:
        """Whether a request can be met, which its asker is told; of a flush only if not."""
        if isinstance(item, Hold) and not self.live:
            text = "`hold` stops a live film; in pacing 'every' send no frame"
            asker.refused(Code.UNSUPPORTED, text, item.request)
            return False
        if len(self.inbox) - len(self._pending) >= MAX_REQUESTS:
            asker.refused(Code.WINDOW_OVERRUN, f"{MAX_REQUESTS} requests wait behind a frame already", item.request)
            return False
        if isinstance(item, Update):
            try:
                self._latest_brief = self._followed(self._latest_brief.changed(dict(item.changes)))
            except WarpaintError as error:
                asker.refused(Code.BAD_BRIEF, str(error), item.request)
                return False
        if not isinstance(item, Flush):
            asker.taken(item.request)
        return True

    # Those who watch

    def watch(self, view: View, painter: str) -> None:
        """Shows each frame to somebody from now on, or what they want to see now."""
        source, (width, height) = self.opening.source, self.canvas.content
        watching = Watching(
            session=view.number,
            id=self.public_id,
            client=self.opening.client,
            painter=painter,
            flow=self.flow,
            pacing=self.opening.pacing,
            looks=self.looks,
            brief=self._latest_brief,
            rate=source.rate,
            time_base=source.time_base,
            sample_aspect=source.sample_aspect if self.canvas.rotation % 180 == 0 else source.sample_aspect[::-1],
            width=width,
            height=height,
            may_steer=view.may_steer,
            holding=self._holding,
            epoch=self._session.epoch,
        )
        self._audience.join(view, watching)

    def unwatch(self, view: View) -> None:
        """Shows them no more, and says so."""
        if self._audience.leave(view):
            view.send(Closed(session=view.number, reason="asked", totals=self._accounts.totals), ())

    def steer(self, view: View, request: Steering) -> None:
        """Takes a request of somebody who watches, as `put` takes those of the client."""
        if not view.may_steer:
            text = "this daemon lets those who watch change nothing (its setting `watching`)"
            view.refused(Code.UNSUPPORTED, text, request.request)
        elif self._takes(request, view):
            self.inbox.append(Steered(view, request))

    def discard(self, *, to_return: bool = False) -> None:
        """Forgets what is waiting; each frame is answered as dropped, unless it will be sent again."""
        self.inbox.clear()
        if self.serving is not None:
            self.serving.close()
            self.serving = None
        for index in [] if to_return else list(self._pending):
            self._drop(index, "queue", Code.CANCELLED)

    def _followed(self, brief: Brief) -> Brief:
        """The Brief as the painter follows it. Raises RefusedError if it cannot."""
        if brief.look is None:
            brief = brief.changed({"look": self.looks[0]})
        if brief.look not in self.looks:
            known = ", ".join(self.looks)
            raise RefusedError(Code.BAD_BRIEF, f"brief.look: this painter has no look {brief.look!r}; it has {known}")
        if complaint := self._rule(brief):
            raise RefusedError(Code.BAD_BRIEF, complaint[:MAX_TEXT])
        return brief

    # What is done

    def serve(self, item: Item) -> Serving:
        """Does one item, asking for engine work as it goes."""
        self.changes += 1
        if isinstance(item, Arrival):
            yield from self._frame(item)
            return
        if isinstance(item, Steered):
            yield from self._steer(item.request, item.view)
            return
        self.last_request = getattr(item, "request", self.last_request)
        if isinstance(item, Steering):
            yield from self._steer(item, self._client)
        elif isinstance(item, RequestKeyframe):
            self._keyframe_wanted = True
        elif isinstance(item, Flush):
            yield from self._drained()
            self._send(Flushed(session=self.opening.session, request=item.request), ())
        else:
            yield from self._drained(to_return=item.may_return)
            self.end(item.reason, may_return=item.may_return)

    def _steer(self, item: Steering, asker: Asker) -> Serving:
        """Does what was asked for, from the next frame on."""
        yield from self._rested()
        if isinstance(item, Update):
            brief = self._followed(self._session.brief.changed(dict(item.changes)))
            asker.unshown.append((item.request, self._session.update(brief)))
            self._recorded("update", brief)
        elif isinstance(item, Rekey):
            asker.unshown.append((item.request, self._session.rekey()))
            self._recorded("rekey")
        else:
            self._hold(on=item.on)

    def end(self, reason: Reason, *, may_return: bool = False) -> None:
        """Frees what is held, and says so; or not, if the session may be taken up again."""
        self.may_return = may_return
        self._close(reason)
        totals = self._accounts.totals
        if not may_return:
            self._send(Closed(session=self.opening.session, reason=reason, totals=totals), ())
        self._audience.say(lambda number: Closed(session=number, reason=reason, totals=totals))

    def _close(self, reason: Reason) -> None:
        """Frees what is held; frames that are not answered yet are dropped."""
        self.ended = True
        why = Code.SHUTTING_DOWN if reason == "shutting_down" else Code.CANCELLED
        for index in [] if self.may_return else list(self._pending):  # those are sent again
            self._drop(index, "session", why)
        self._decoder.close()
        self._encoder.close()
        if self._record is not None:
            self._record.close()

    def _frame(self, arrival: Arrival) -> Serving:
        index = arrival.message.index
        stages = Stages({"wait": (time.monotonic() - arrival.at) * 1e3})
        try:
            with stages.stage("decode"):
                pictures = self._decoder.decode(arrival.payload, index)
        except RefusedError as error:
            yield from self._refuse(index, error)
            return
        for tag, picture in pictures:
            if (reason := self._stale(tag)) is not None:
                self._drop(tag, "queue", reason)
            else:
                yield from self._paint(tag, picture, stages)
        if index in self._pending and index not in self._stages:  # a coded frame that completes no picture
            yield from self._rested()
            self._drop(index, "decode", Code.BAD_FRAME)

    def _stale(self, index: int) -> Code | None:
        """Why a decoded frame of a live film is of no use any more; None: it is."""
        arrival = self._pending.get(index)
        if not self.live or arrival is None:
            return None
        if any(isinstance(each, Arrival) for each in self.inbox):
            return Code.SUPERSEDED
        late = (time.monotonic() - arrival.at) * 1e3 > self.opening.max_delay_ms
        return Code.LATE if late else None

    def _drained(self, *, to_return: bool = False) -> Serving:
        """Paints and sends what codecs and session still hold back.

        to_return: what waits is sent again to the next daemon, and then sees what comes after it; not if it could not
        be decoded there.
        """
        try:
            for tag, picture in self._decoder.flush():
                yield from self._paint(tag, picture, Stages())
        except RefusedError as error:
            log.warning("session %d: %s", self.opening.session, error)
        if not to_return or self.opening.source.encoding not in ALONE:
            yield from self._rested()
        waiting = {item.message.index for item in self.inbox if isinstance(item, Arrival)} | {*self._session.waiting}
        for index in [each for each in self._pending if each not in waiting]:
            self._drop(index, "decode", Code.BAD_FRAME)

    def _rested(self) -> Serving:
        """Sends what waits for what comes after it: nothing does, for now."""
        waiting = self._session.waiting
        if not waiting or waiting[0] not in self._pending:  # or it was discarded
            return
        self._deliver_all((yield from self._session.finish()))
        self.last_done = waiting[-1]

    def _paint(self, index: int, picture: Picture, stages: Stages) -> Serving:
        arrival = self._pending.get(index)
        if arrival is None:  # answered already, as dropped
            return
        pts = arrival.message.pts * Fraction(*self.opening.source.time_base)
        try:
            with stages.stage("canvas"):
                frame = self._held(self._framed(index, pts, picture, arrival))
        except RefusedError as error:
            yield from self._refuse(index, error)
            return
        try:
            outputs = yield from self._timed(frame, stages)
        except RefusedError as error:
            outputs = yield from self._instead(frame, error)
        except Exception:
            log.exception("session %d: frame %d", self.opening.session, index)
            defect = RefusedError(Code.INTERNAL, "a defect of the daemon; its log has more")
            outputs = yield from self._instead(frame, defect)
        if index in self._pending:
            self._stages[index] = stages
        self._deliver_all(outputs)
        self._raise_credit(len(self._session.waiting))
        if not self._session.waiting:
            self.last_done = index

    def _raise_credit(self, waiting: int) -> None:
        """Gives credit for frames that wait: or those that they wait for would never come. At its end none is given."""
        credit = min(MAX_WINDOW, self._window + 2 * waiting)
        if self._window + waiting > self.credit < credit and not any(isinstance(each, Ending) for each in self.inbox):
            self.credit = credit
            self._send(Credit(session=self.opening.session, frames=self.credit), ())

    def _framed(self, index: int, pts: Fraction, picture: Picture, arrival: Arrival) -> Frame:
        """The frame as it came, on the canvas. Raises RefusedError: BAD_PAYLOAD."""
        return Frame(index, pts, self.canvas.put(picture), self._controls(arrival), arrival.message.keyframe)

    def _controls(self, arrival: Arrival) -> Controls:
        """The control images of a frame, on the canvas. Raises RefusedError: BAD_PAYLOAD."""
        images = control_images(arrival.message.controls, arrival.images, self.opening.source)
        return {kind: self.canvas.put(image) for kind, image in images}

    def _hold(self, *, on: bool) -> None:
        """Stops the film on the frame that was seen last, or on its first."""
        self._holding = on
        self._still_controls = self._last_controls
        self._still = self._session.last if on and isinstance(self._session, LiveSession) else None

    def _held(self, frame: Frame) -> Frame:
        """The frame, or while the film is held the picture that is held, at the frame's time.

        Its control images are held with it; where it had none, those that come are taken.
        """
        if not self._holding:
            return frame
        if self._still is None:
            self._still, self._still_controls = frame.bgr, frame.controls
        return replace(frame, bgr=self._still, controls=self._still_controls or frame.controls)

    def _refuse(self, index: int, error: RefusedError) -> Serving:
        """Answers a frame with what was wrong, after those that wait: answers come in order."""
        yield from self._rested()
        self._fail(index, error.code, str(error))

    def _instead(self, frame: Frame, error: RefusedError) -> Generator[Ask, Any, list[Output]]:
        """What goes out for a frame that failed: its error, or if it is live what is seen while nothing is painted."""
        if isinstance(self._session, LiveSession):
            self._notice(error.code, str(error))
            return [self._session.passed(frame)]
        yield from self._refuse(frame.index, error)
        return []

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
                self.steps += 1
                self._last_controls = frame.controls if self.live else NO_CONTROLS
                self._recorded("step", frame)
                return outputs
            with stages.stage("encode_features" if isinstance(ask, Encode) else _stage_of(ask)):
                answer = yield ask
            if isinstance(ask, PaintAsk):
                self._take_remarks(ask.jobs, answer)

    # What goes out

    def _deliver_all(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            self._deliver(output, self._stages.pop(output.index, Stages()))

    def _deliver(self, output: Output, stages: Stages) -> None:
        """Sends a frame, also to those who watch."""
        if output.keyframe:
            self._remarks.shown()
        if self.live and self.outlet.waiting >= ON_THE_WAY:
            self._drop(output.index, "send", Code.SLOW_READER)
            return
        arrival = self._pending[output.index]
        try:
            with stages.stage("encode"):
                picture = self.canvas.take(output.picture)
                [encoded] = self._encoder.encode(picture, output.index, self._keyframe_wanted)
        except (RefusedError, ValueError) as error:
            self._fail(output.index, Code.ENCODER_FAILED, str(error))
            return
        del self._pending[output.index]
        self._keyframe_wanted = False
        self.outlet.given += 1
        message, payloads = painted(self.opening, output, arrival.message.pts, encoded)
        delay_ms = (time.monotonic() - arrival.at) * 1e3
        times = {"delay_ms": delay_ms, "stages_ms": {name: round(ms, 3) for name, ms in stages.ms.items()}}
        self._tally(output, message, stages, delay_ms)
        message = message.model_copy(update=times | {"tags": self._remarks.tags_shown()})
        self._send(message, payloads)
        self._client.shown(output.epoch, output.index)
        self._meter(output)
        shown = Shown(output, self.canvas.content)
        self._audience.show(message, shown, self._latest_brief, holding=self._holding)

    def _meter(self, output: Output) -> None:
        """Measures now and then how steady the paint is."""
        if output.provenance is Provenance.HELD:
            self._steadiness.forget()
        else:
            self._steadiness.see(time.monotonic() if self.live else float(output.pts), output.raw, output.picture)

    def _tally(self, output: Output, message: Painted, stages: Stages, delay_ms: float) -> None:
        self._accounts.painted(self.canvas.size, output.provenance, message.holes, stages, delay_ms)
        if not self.live:  # live, what is painted is counted when it is adopted
            self._accounts.paint(keyframes=int(output.keyframe), pixels=output.painted_pixels)

    def _fail(self, index: int, code: Code, message: str) -> None:
        self._pending.pop(index, None)
        self._accounts.failed(code)
        error = Error(
            session=self.opening.session, index=index, code=code, retry=RETRY[code], message=message[:MAX_TEXT]
        )
        self._send(error, ())

    def _drop(self, index: int, stage: str, reason: Code) -> None:
        arrival = self._pending.pop(index)
        self._accounts.dropped(stage, reason)
        pts = arrival.message.pts
        self._send(Dropped(session=self.opening.session, index=index, pts=pts, stage=stage, reason=reason), ())

    def _notice(self, code: Code, message: str) -> None:
        self._send(Notice(session=self.opening.session, code=code, message=message[:MAX_TEXT]), ())
        self._audience.say(lambda number: Notice(session=number, code=code, message=message[:MAX_TEXT]))

    def _take_remarks(self, jobs: Sequence[PaintJob], done: Sequence[PaintDone]) -> None:
        for code, sentence in self._remarks.taken(jobs, done):
            self._notice(code, sentence)

    # What is painted beside a live film

    def take_jobs(self) -> list[PaintAsk]:
        """What a live film wants painted, after a frame."""
        return self._session.take_jobs() if isinstance(self._session, LiveSession) else []

    def adopt(self, jobs: Sequence[PaintJob], done: Sequence[PaintDone]) -> None:
        """Takes in what was painted for a live film, between frames. What failed is told."""
        if not isinstance(self._session, LiveSession):
            return
        self._recorded("adopt", done)
        self.changes += 1
        if self._session.adopt(done):
            pixels = sum(each.frame.bgr[..., 0].size for each in jobs)
            self._accounts.paint(keyframes=int(jobs[0].holes is None), pixels=pixels)
            self._take_remarks(jobs, done)
        for each in done:
            if each.error not in (None, Code.CANCELLED):
                self._notice(each.error or Code.PAINTER_FAILED, each.why)
                break

    @property
    def asked_epoch(self) -> int:
        """Paintings that a live film asked for before this epoch are of no use any more."""
        return self._session.asked_epoch if isinstance(self._session, LiveSession) else 0

    def _recorded(self, event: str, value: object = None) -> None:
        if self._record is not None:
            self._record.add(event, value)

    # Taking up again

    def state(self) -> State:
        """All that the session goes on from, between two frames."""
        return self._session.state()

    @property
    def holding(self) -> bool:
        """Whether the film is on hold."""
        return self._holding

    @property
    def unshown(self) -> tuple[tuple[int, int], ...]:
        """The requests that no frame has shown yet, and the epochs that will."""
        return tuple(self._client.unshown)

    def restore(self, stored: Stored) -> None:
        """Goes on from what was written down. Raises SnapshotError."""
        self._session.restore(stored.snapshot)
        self._recorded("restore", stored.snapshot)
        self._latest_brief = self._session.brief
        self.last_request, self.credit = stored.last_request, max(stored.window, self.credit)
        self._client.unshown.extend(stored.unshown)
        if stored.holding:
            self._hold(on=True)

    # How it does

    def status(self, painter: str) -> SessionStatus:
        """How the session does. `unsent` is for the gateway to fill in."""
        return SessionStatus(
            session=self.opening.session,
            id=self.public_id,
            client=self.opening.client[:NAME_SHOWN],
            painter=painter,
            flow=self.flow,
            pacing=self.opening.pacing,
            width=self.canvas.size[0],
            height=self.canvas.size[1],
            waiting=len(self.inbox),
            unsent=0,
            references_bytes=self._session.nbytes,
            delay_ms=self._accounts.mean_delay_ms,
            totals=self._accounts.totals,
            stages_ms=self._accounts.mean_ms(),
            dropped_at=dict(self._accounts.dropped_at),
        )


def _record(opening: Open, settings: Settings, brief: Brief, size: tuple[int, int], habits: Habits) -> Record | None:
    """The record of a live session's events, if the daemon is set up to keep any."""
    if settings.record_dir is None or opening.pacing != "live":
        return None
    path = settings.record_dir / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}.events"
    return Record(path, brief, size, habits)


def _session(
    opening: Open, brief: Brief, size: tuple[int, int], flow: str, habits: Habits, *, guesses: bool
) -> Session | LiveSession:
    if opening.pacing == "live":
        return LiveSession(brief, size, habits=habits)
    return Session(brief, size, flow=flow != "none", guesses=guesses, habits=habits)


def _stage_of(ask: Ask) -> str:
    return "match" if isinstance(ask, MatchAsk) else "paint"
