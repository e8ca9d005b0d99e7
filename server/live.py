"""The session core of pacing `live`: as session.py's, but no frame waits for a painter. No I/O, no clock.

`step` asks for flow alone. What is to be painted is taken between steps, by `take_jobs`, and brought back by `adopt`.
Meanwhile frames go on from the old references: holes are filled cheaply, and where nothing is painted yet the raw
frame is seen, or the last output. The same events, in the same order, give the same output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np

from ..engines import workers
from ..engines.base import NO_HABITS, Features, Frame, Habits, Mask, Match, PaintDone, Picture
from ..engines.compose import Composition, Origins
from ..engines.crops import Box, crops, tiny
from ..engines.detect import Glance, glance, is_cut
from ..proto.brief import Brief
from ..proto.errors import Code
from ..proto.messages import Provenance
from . import rolling, snapshot
from .asks import Output, PaintAsk, Step
from .rolling import Matches, Scale, Seen
from .state import Last, LiveProgress, Progress, Reference, References, State

# Flow is found on a grid of at most so many pixels, a quarter of 768x512 each way: in a tenth of the time of the whole,
# right to 0.2 px of the canvas at the median. See docs/live.md.
FLOW_PIXELS = 192 * 128
# A painting that failed is asked for again at once, but only once; then not sooner than this, seconds of film.
RETRY_GAP_S = 2

Kind = Literal["keyframe", "holes"]


@dataclass(frozen=True, slots=True)
class InFlight:
    """A painting under way: what is painted over, and of holes where they are, one box a job."""

    ask: PaintAsk
    under: Reference
    anew: bool = False  # a keyframe that nothing of the last one was to be in
    boxes: Sequence[Box] = ()
    holes: Mask | None = None


@dataclass(frozen=True, slots=True)
class _Rolling:
    """All that changes from event to event."""

    epoch: int = 0
    references: References = field(default_factory=References)
    progress: Progress = field(default_factory=Progress)
    live: LiveProgress = field(default_factory=LiveProgress)
    seen: Seen | None = None  # None: the film begins here, or has cut
    in_flight: Mapping[Kind, InFlight] = field(default_factory=dict)


class LiveSession:
    """The state of one live film. `size` is the working canvas (W, H), both multiples of 8; habits: of its painter."""

    def __init__(
        self, brief: Brief, size: tuple[int, int], *, habits: Habits = NO_HABITS, flow_pixels: int = FLOW_PIXELS
    ) -> None:
        self.brief = brief
        self.size = size
        self._habits = habits
        self._scale = Scale(size, _flow_size(size, flow_pixels))
        self._now = _Rolling()
        self._wanted: list[PaintAsk] = []

    @property
    def flow_size(self) -> tuple[int, int]:
        """The size (W, H) of the grid that flow is found on."""
        return self._scale.flow

    @property
    def epoch(self) -> int:
        """The latest epoch: paintings of it are asked for, or seen."""
        return self._now.epoch

    @property
    def asked_epoch(self) -> int:
        """Paintings that were asked for before this epoch are of no use any more."""
        return self._now.live.asked_epoch

    @property
    def nbytes(self) -> int:
        """Memory held by the references and by what is being painted, bytes."""
        return self._now.references.nbytes + sum(each.under.nbytes for each in self._now.in_flight.values())

    @property
    def last(self) -> Picture | None:
        """The raw frame that was seen last; None: there is none yet."""
        last = self._now.references.last
        return None if last is None else last.frame.bgr

    # Events

    def update(self, brief: Brief) -> int:
        """The new epoch. A change of what is painted asks for a new keyframe; the old ones go on until it is there."""
        if rolling.changes_paint(self.brief, brief):
            progress = rolling.updated(self._now.progress, self.brief, brief)
            self._begin(progress)
        else:
            self._now = replace(self._now, epoch=self.epoch + 1)
        self.brief = brief
        return self.epoch

    def rekey(self) -> int:
        """The new epoch, for which a keyframe of the next frame is asked. What is being painted is forgotten."""
        return self._begin(replace(self._now.progress, anew=True))

    def _begin(self, progress: Progress) -> int:
        self._now = _begun(self._now, replace(progress, rekey=True))
        self._wanted = []
        return self.epoch

    def step(self, frame: Frame) -> Step:
        """The output for one frame. Asks for features and matches alone. If it fails, the session is as before."""
        brief, now = self.brief, self._now

        # Detector: a cut begins a new epoch; of the old one only what was seen last is left, to be held.
        sight = self._scale.sight(frame.bgr)
        looking = workers.begin(glance, sight)
        features, references = yield from rolling.encoded(sight, now.references, self._scale)
        glimpse = looking()
        if brief.cut_detection and now.seen and is_cut(now.seen.last, glimpse):
            references = references.of(())
            now = replace(_begun(now, replace(now.progress, tone=None)), seen=None)
        now = replace(now, progress=rolling.left_since(now.progress, frame.pts))

        # Match: where this frame's pixels are seen in each reference, and how far away what is being painted is.
        matches = yield from rolling.matched_at_once(features, references, self._scale, brief)
        if matches is not None:
            references = rolling.with_fine(rolling.carried(references, matches), exact=False)
            now = replace(now, in_flight=_carried(now.in_flight, matches))
        now = replace(now, references=references)

        # Follow, compose and fill; or nothing, while nothing is painted.
        keyframe = references.keyframe is not None and now.live.shown_since is None
        now = _shown(now, frame)
        fade = _fade(now, frame, brief)
        composition = None if matches is None else _composed(frame, references, matches, fade, brief)
        last = _last(frame, features, composition, references, self._scale, brief)

        # Paint: a keyframe if one is due, or else the holes; one of each at a time.
        holes = composition.holes if composition else None
        progress = rolling.with_holes(now.progress, holes, frame.pts, brief)
        wanted = _wanted(replace(now, progress=progress), frame, glimpse, last, holes, brief, self._habits)

        # Remember.
        self._now = _remembered(now, progress, last, wanted, glimpse, faded=fade >= 1.0)
        self._wanted += [each.ask for each in wanted.values()]
        picture = last.painted if composition is None else _mixed(composition.paint, frame, references, fade, brief)
        match = rolling.match_of_keyframe(references, matches)
        return [_output(self._now, last, picture, holes, match, keyframe=keyframe)]

    def passed(self, frame: Frame) -> Output:
        """The output for a frame that could not be stepped: what is seen while nothing is painted. Changes nothing."""
        last = _last(frame, None, None, self._now.references, self._scale, self.brief)
        return _output(self._now, last, last.painted, None, None, keyframe=False)

    @property
    def waiting(self) -> tuple[int, ...]:
        """The indices of frames that wait for what comes after them: none ever."""
        return ()

    def finish(self) -> Step:
        """The outputs that are still to come after the last frame: none, as nothing looks ahead."""
        yield from ()
        return []

    def take_jobs(self) -> list[PaintAsk]:
        """What is to be painted, after a step: at most one keyframe and the holes of one frame are in flight."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def adopt(self, done: Sequence[PaintDone]) -> bool:
        """Takes in what was painted for one ask, between steps. False: it failed, or its epoch is over."""
        now = self._now
        kind = next((kind for kind, each in now.in_flight.items() if each.ask.jobs[0].id == done[0].id), None)
        if kind is None:
            return False
        painting = now.in_flight[kind]
        now = replace(now, in_flight={other: each for other, each in now.in_flight.items() if other != kind})
        pictures = [each.image for each in done if each.image is not None]
        if len(pictures) < len(painting.ask.jobs):
            self._now = _failed(
                now, kind, anew=painting.anew, cancelled=any(each.error is Code.CANCELLED for each in done)
            )
            return False
        now = replace(now, live=replace(now.live, failures=0, retry_at=None))
        if kind == "keyframe":
            self._now = _with_keyframe(now, painting, done[0], pictures[0], self.brief, self._habits)
        else:
            self._now = _with_patch(now, painting, pictures, self.flow_size[::-1], self.brief)
        return True

    # Snapshots

    def snapshot(self) -> bytes:
        """The state between two steps. Raises SnapshotError if it is too large."""
        return snapshot.dump(self.state())

    def state(self) -> State:
        """All that the next step depends on; what is being painted is asked for again."""
        now = self._now
        progress = now.progress
        if "keyframe" in now.in_flight:
            progress = replace(progress, rekey=True, anew=progress.anew or now.in_flight["keyframe"].anew)
        return State(self.brief, self.size, now.epoch, now.references, progress, now.live)

    def restore(self, data: bytes) -> None:
        """Goes on from a snapshot. Raises SnapshotError; the session is then as before."""
        state = snapshot.load(data)
        if state.live is None:
            raise snapshot.SnapshotError("the snapshot is of a session of pacing 'every'; this one is live")
        if state.size != self.size:
            raise snapshot.SnapshotError(f"the snapshot's canvas is {state.size}, this session's {self.size}")
        self.brief, self._wanted = state.brief, []
        seen = None
        keyframe, last = state.references.keyframe, state.references.last
        if keyframe is not None and last is not None:
            then, before = (glance(self._scale.sight(each.frame.bgr)) for each in (keyframe, last))
            seen = Seen(then, keyframe.frame.pts, before)
        self._now = _Rolling(state.epoch, state.references, state.progress, state.live, seen)


def _flow_size(size: tuple[int, int], most: int) -> tuple[int, int]:
    """The grid that flow is found on: the canvas, or smaller by a factor that leaves at most so many pixels."""
    scale = min(1.0, (most / (size[0] * size[1])) ** 0.5)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _begun(now: _Rolling, progress: Progress) -> _Rolling:
    """A new epoch, for which nothing is painted yet."""
    live = replace(now.live, asked_epoch=now.epoch + 1, failures=0, retry_at=None)
    return replace(now, epoch=now.epoch + 1, progress=progress, live=live, in_flight={})


def _carried(in_flight: Mapping[Kind, InFlight], matches: Matches) -> dict[Kind, InFlight]:
    """What is being painted, each with the flow that leads there from this frame."""
    near = rolling.coarse(matches.last.flow)
    return {
        kind: replace(each, under=replace(each.under, flow=rolling.led_on(near, each.under.flow)))
        for kind, each in in_flight.items()
    }


def _shown(now: _Rolling, frame: Frame) -> _Rolling:
    """Notes when the keyframe is first seen, and the epoch that is seen with it."""
    if now.references.keyframe is None:
        return now
    live = now.live if now.live.shown_since is not None else replace(now.live, shown_since=frame.pts)
    if live.keyframe_epoch >= live.asked_epoch:
        live = replace(live, shown_epoch=now.epoch)
    return replace(now, live=live)


def _fade(now: _Rolling, frame: Frame, brief: Brief) -> float:
    since, last = now.live.shown_since, now.references.last
    if since is None or last is None or now.live.faded:
        return 1.0
    return rolling.faded(frame.pts, since, last.frame.pts, brief)


def _composed(frame: Frame, references: References, matches: Matches, fade: float, brief: Brief) -> Composition | None:
    """What the references explain, its holes filled."""
    if references.keyframe is None:
        return None
    composition = rolling.composed(frame, references, matches, fade, brief, exact=False, under_holes=False)
    return rolling.filled(composition, frame.bgr, composition.holes)


def _last(
    frame: Frame,
    features: Features | None,
    composition: Composition | None,
    references: References,
    scale: Scale,
    brief: Brief,
) -> Last:
    """What the next frame is followed from; while nothing is painted, what is seen, which comes from no reference."""
    if composition is not None:
        return Last(frame.alone, composition.paint, composition.origins, features)
    held = references.last if brief.when_unpainted == "held" else None
    seen = frame.bgr if held is None else held.painted
    return Last(frame.alone, seen, Origins.of(0, scale.flow[::-1]), features)


def _mixed(paint: Picture, frame: Frame, references: References, fade: float, brief: Brief) -> Picture:
    """The paint as it is seen: a first keyframe comes in over the raw frame that was seen before it."""
    if fade >= 1.0 or references.coming is not None or brief.when_unpainted != "raw":
        return paint
    return cv2.addWeighted(paint, fade, frame.bgr, 1 - fade, 0)


def _wanted(
    now: _Rolling, frame: Frame, glimpse: Glance, last: Last, holes: Mask | None, brief: Brief, habits: Habits
) -> dict[Kind, InFlight]:
    """What the painter is asked for with this frame."""
    retry_at = now.live.retry_at
    if retry_at is not None and frame.pts < retry_at <= frame.pts + RETRY_GAP_S:
        return {}
    due = now.seen is None or rolling.keyframe_due(frame, glimpse, now.seen, now.progress, brief)
    if due and "keyframe" not in now.in_flight:
        old = None if holes is None else Composition(last.painted, last.origins, holes)
        job = rolling.keyframe_job(frame, now.epoch, brief, now.progress, now.references, old)
        return {"keyframe": InFlight(PaintAsk([job]), _under(last), now.progress.anew)}
    if now.in_flight or holes is None or now.references.coming is not None:  # or the rims would be of both paints
        return {}
    holes = holes & ~tiny(holes, habits.least_hole)
    boxes = crops(holes, habits)
    if not boxes:
        return {}
    under = Composition(last.painted, last.origins, holes)
    jobs = rolling.hole_jobs(frame, now.epoch, brief, boxes, under, now.references.keyframe, now.progress)
    return {"holes": InFlight(PaintAsk(jobs), _under(last), boxes=boxes, holes=holes)}


def _under(last: Last) -> Reference:
    """What a painting is laid over; it gets its number when it is adopted."""
    return Reference(0, last.frame, last.painted, features=last.features)


def _remembered(
    now: _Rolling,
    progress: Progress,
    last: Last,
    wanted: Mapping[Kind, InFlight],
    glimpse: Glance,
    *,
    faded: bool,
) -> _Rolling:
    references = rolling.remembered(now.references, last, faded=faded)
    live = replace(now.live, faded=faded and now.live.shown_since is not None)
    number = progress.next_job + sum(len(each.ask.jobs) for each in wanted.values())
    asked = "keyframe" in wanted
    progress = replace(progress, next_job=number, rekey=progress.rekey and not asked, anew=progress.anew and not asked)
    begins = now.seen is None or "keyframe" in wanted
    seen = Seen(glimpse, last.frame.pts, glimpse) if begins or now.seen is None else replace(now.seen, last=glimpse)
    return _Rolling(now.epoch, references, progress, live, seen, {**now.in_flight, **wanted})


def _failed(now: _Rolling, kind: Kind, *, anew: bool, cancelled: bool) -> _Rolling:
    """A painting failed: it is asked for again, once at once and then after a while."""
    progress = replace(now.progress, rekey=now.progress.rekey or kind == "keyframe", anew=now.progress.anew or anew)
    if cancelled:
        return replace(now, progress=progress)
    failures = now.live.failures + 1
    last = now.references.last
    retry_at = last.frame.pts + RETRY_GAP_S if failures > 1 and last is not None else None
    return replace(now, progress=progress, live=replace(now.live, failures=failures, retry_at=retry_at))


def _with_keyframe(
    now: _Rolling, painting: InFlight, done: PaintDone, picture: Picture, brief: Brief, habits: Habits
) -> _Rolling:
    """The keyframe in its place. One of another epoch, or of other words, comes in over all that there is."""
    under, references, job = painting.under, now.references, painting.ask.jobs[0]
    picture, progress = rolling.locked(picture, under.frame, now.progress, references.keyframe, brief)
    first = now.live.keyframe_epoch < now.live.asked_epoch or references.keyframe is None
    replaces = first or painting.anew or rolling.replaces(job.frame, references, progress, brief)
    fresh = replace(under, number=references.free_number, painted=picture, memory=done.memory, replaces=replaces)
    references = references.plus(fresh)
    live = replace(now.live, keyframe_epoch=job.epoch, shown_since=None, faded=not replaces)
    leaving, kept = None if job.earlier is None else progress.leaving, rolling.lasting(done.memory, habits)
    progress = replace(progress, many_holes_since=None, leaving=leaving, memory=kept)
    return replace(now, references=references, progress=progress, live=live, in_flight={})


def _with_patch(
    now: _Rolling, painting: InFlight, pictures: Sequence[Picture], grid: tuple[int, ...], brief: Brief
) -> _Rolling:
    """A frame whose holes are painted, as a reference of its own."""
    under, holes = painting.under, painting.holes
    if holes is None:
        return now
    number = now.references.free_number
    patch = rolling.patch_of(under, number, holes, painting.boxes, pictures, grid, brief.feather)
    return replace(now, references=now.references.plus(patch))


def _output(
    now: _Rolling, last: Last, picture: Picture, holes: Mask | None, match: Match | None, *, keyframe: bool
) -> Output:
    return Output(
        index=last.frame.index,
        pts=last.frame.pts,
        epoch=now.live.shown_epoch,
        raw=last.frame.bgr,
        picture=picture,
        provenance=_provenance(holes),
        keyframe=keyframe,
        holes=np.ones(picture.shape[:2], np.bool_) if holes is None else holes,
        hops=last.origins.hops,
        match=match,
        painted_pixels=0,
    )


def _provenance(holes: Mask | None) -> Provenance:
    if holes is None:
        return Provenance.HELD
    return Provenance.FILLED if holes.any() else Provenance.WARPED
