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
from ..engines.compose import MOST_HOPS, Composition
from ..engines.crops import Box, crops, tiny
from ..engines.detect import Glance, glance, is_cut
from ..proto.brief import Brief
from ..proto.errors import Code
from ..proto.messages import Provenance
from . import rolling, snapshot
from .asks import Output, PaintAsk, Step
from .rolling import Matches, Scale, Seen
from .state import LiveProgress, Progress, Reference, References, State

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
    references: References = field(default_factory=dict)
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
        held = [*self._now.references.values(), *(each.under for each in self._now.in_flight.values())]
        return sum(reference.nbytes for reference in held)

    @property
    def last(self) -> Picture | None:
        """The raw frame that was seen last; None: there is none yet."""
        last = self._now.references.get("last")
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
        features, references = yield from rolling.encoded(sight, rolling.with_fine(now.references), self._scale)
        glimpse = looking()
        if brief.cut_detection and now.seen and is_cut(now.seen.last, glimpse):
            references = {"last": references["last"]}
            now = replace(_begun(now, replace(now.progress, tone=None)), seen=None)
        now = replace(now, progress=rolling.left_since(now.progress, frame.pts))

        # Match: where this frame's pixels are seen in each reference, and how far away what is being painted is.
        matches = yield from rolling.matched_at_once(features, references, self._scale)
        now = replace(now, references=references, in_flight=_carried(now.in_flight, matches))

        # Warp, compose and fill; or nothing, while nothing is painted.
        keyframe = "keyframe" in references and now.live.shown_since is None
        now = _shown(now, frame)
        fade = _fade(now, frame, brief)
        composition = _composed(frame, references, matches, fade, brief)
        if composition is not None and fade < 1.0 and now.live.anew:
            composition = _untrusted(composition)
        last = _last(frame, features, composition, references, self._scale, brief)

        # Paint: a keyframe if one is due, or else the holes; one of each at a time.
        holes = composition.holes if composition else None
        progress = rolling.with_holes(now.progress, holes, frame.pts, brief)
        wanted = _wanted(replace(now, progress=progress), frame, glimpse, last, holes, brief, self._habits)

        # Remember.
        self._now = _remembered(now, progress, last, matches, wanted, glimpse, faded=fade >= 1.0)
        self._wanted += [each.ask for each in wanted.values()]
        picture = last.painted if composition is None else _mixed(composition.paint, frame, references, fade, brief)
        return [_output(self._now, last, picture, holes, matches.get("keyframe"), keyframe=keyframe)]

    def passed(self, frame: Frame) -> Output:
        """The output for a frame that could not be stepped: what is seen while nothing is painted. Changes nothing."""
        last = _last(frame, None, None, self._now.references, self._scale, self.brief)
        return _output(self._now, last, last.painted, None, None, keyframe=False)

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
            self._now = _with_keyframe(now, painting, done[0], pictures[0], self.brief)
        else:
            self._now = _with_patch(now, painting, pictures, self.brief)
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
        if "keyframe" in state.references:
            keyframe, last = (state.references[name].frame for name in ("keyframe", "last"))
            glances = (glance(self._scale.sight(each.bgr)) for each in (keyframe, last))
            seen = Seen(next(glances), keyframe.pts, next(glances))
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
    return {
        kind: replace(each, under=replace(each.under, flow=rolling.led_on(matches["last"].flow, each.under.flow)))
        for kind, each in in_flight.items()
    }


def _shown(now: _Rolling, frame: Frame) -> _Rolling:
    """Notes when the keyframe is first seen, and the epoch that is seen with it."""
    if "keyframe" not in now.references:
        return now
    live = now.live if now.live.shown_since is not None else replace(now.live, shown_since=frame.pts)
    if live.keyframe_epoch >= live.asked_epoch:
        live = replace(live, shown_epoch=now.epoch)
    return replace(now, live=live)


def _fade(now: _Rolling, frame: Frame, brief: Brief) -> float:
    since = now.live.shown_since
    if since is None or now.live.faded:
        return 1.0
    return rolling.faded(frame.pts, since, now.references["last"].frame.pts, brief)


def _composed(frame: Frame, references: References, matches: Matches, fade: float, brief: Brief) -> Composition | None:
    """What the references explain, its holes filled."""
    if "keyframe" not in references:
        return None
    composition = rolling.composed(references, matches, fade, brief, under_holes=False)
    return rolling.filled(composition, frame.bgr, composition.holes)


def _untrusted(composition: Composition) -> Composition:
    """The same picture, which no later frame is warped from: other paint shows in it, that is to go."""
    return replace(composition, hops=np.full_like(composition.hops, MOST_HOPS))


def _last(
    frame: Frame,
    features: Features | None,
    composition: Composition | None,
    references: References,
    scale: Scale,
    brief: Brief,
) -> Reference:
    """What the next frame is warped from, or while nothing is painted what is seen, which nothing is warped from."""
    if composition is not None:
        return Reference(frame.alone, composition.paint, composition.hops, features)
    held = references.get("last") if brief.when_unpainted == "held" else None
    seen = frame.bgr if held is None else held.painted
    return Reference(frame.alone, seen, np.full(scale.flow[::-1], MOST_HOPS, np.uint8), features)


def _mixed(paint: Picture, frame: Frame, references: References, fade: float, brief: Brief) -> Picture:
    """The paint as it is seen: a first keyframe comes in over the raw frame that was seen before it."""
    if fade >= 1.0 or "fading" in references or brief.when_unpainted != "raw":
        return paint
    return cv2.addWeighted(paint, fade, frame.bgr, 1 - fade, 0)


def _wanted(
    now: _Rolling, frame: Frame, glimpse: Glance, last: Reference, holes: Mask | None, brief: Brief, habits: Habits
) -> dict[Kind, InFlight]:
    """What the painter is asked for with this frame."""
    retry_at, number = now.live.retry_at, now.progress.next_job
    if retry_at is not None and frame.pts < retry_at <= frame.pts + RETRY_GAP_S:
        return {}
    due = now.seen is None or rolling.keyframe_due(frame, glimpse, now.seen, now.progress, brief)
    if due and "keyframe" not in now.in_flight:
        old = None if holes is None else Composition(last.painted, last.hops, holes)
        job = rolling.keyframe_job(frame, now.epoch, brief, now.progress, now.references, old)
        return {"keyframe": InFlight(PaintAsk([job]), last, now.progress.anew)}
    if now.in_flight or holes is None:
        return {}
    holes = holes & ~tiny(holes, habits.least_hole)
    boxes = crops(holes, habits)
    if not boxes:
        return {}
    under = Composition(last.painted, last.hops, holes)
    jobs = [
        rolling.hole_job(frame, now.epoch, number + i, brief, box, under, now.references["keyframe"], now.progress)
        for i, box in enumerate(boxes)
    ]
    return {"holes": InFlight(PaintAsk(jobs), last, boxes=boxes, holes=holes)}


def _remembered(
    now: _Rolling,
    progress: Progress,
    last: Reference,
    matches: Matches,
    wanted: Mapping[Kind, InFlight],
    glimpse: Glance,
    *,
    faded: bool,
) -> _Rolling:
    references = rolling.carried(now.references, matches)
    live = replace(now.live, faded=faded and now.live.shown_since is not None)
    if faded:
        references.pop("fading", None)
    number = progress.next_job + sum(len(each.ask.jobs) for each in wanted.values())
    asked = "keyframe" in wanted
    progress = replace(progress, next_job=number, rekey=progress.rekey and not asked, anew=progress.anew and not asked)
    begins = now.seen is None or "keyframe" in wanted
    seen = Seen(glimpse, last.frame.pts, glimpse) if begins or now.seen is None else replace(now.seen, last=glimpse)
    return _Rolling(now.epoch, references | {"last": last}, progress, live, seen, {**now.in_flight, **wanted})


def _failed(now: _Rolling, kind: Kind, *, anew: bool, cancelled: bool) -> _Rolling:
    """A painting failed: it is asked for again, once at once and then after a while."""
    progress = replace(now.progress, rekey=now.progress.rekey or kind == "keyframe", anew=now.progress.anew or anew)
    if cancelled:
        return replace(now, progress=progress)
    failures = now.live.failures + 1
    retry_at = now.references["last"].frame.pts + RETRY_GAP_S if failures > 1 else None
    return replace(now, progress=progress, live=replace(now.live, failures=failures, retry_at=retry_at))


def _with_keyframe(now: _Rolling, painting: InFlight, done: PaintDone, picture: Picture, brief: Brief) -> _Rolling:
    """The keyframe in its place; the one before it fades, and holes that were being painted belong to that one."""
    under, references = painting.under, dict(now.references)
    picture, progress = rolling.locked(picture, under.frame, now.progress, references.get("keyframe"), brief)
    for gone in ("fading", "patch"):
        references.pop(gone, None)
    if "keyframe" in references and brief.fade_s:
        references["fading"] = references["keyframe"]
    references["keyframe"] = replace(under, painted=picture, hops=np.zeros_like(under.hops), memory=done.memory)
    anew = now.live.keyframe_epoch < now.live.asked_epoch
    if anew:
        last = references["last"]
        references["last"] = replace(last, hops=np.full_like(last.hops, MOST_HOPS))
    live = replace(now.live, keyframe_epoch=painting.ask.jobs[0].epoch, shown_since=None, faded=False, anew=anew)
    leaving = None if painting.ask.jobs[0].earlier is None else progress.leaving
    progress = replace(progress, many_holes_since=None, leaving=leaving)
    return replace(now, references=references, progress=progress, live=live, in_flight={})


def _with_patch(now: _Rolling, painting: InFlight, pictures: Sequence[Picture], brief: Brief) -> _Rolling:
    """A frame whose holes are painted, as a reference of its own."""
    under, holes = painting.under, painting.holes
    if holes is None:
        return now
    before = Composition(under.painted, under.hops, holes)
    after = rolling.repainted(before, painting.boxes, pictures, brief.feather)
    patch = replace(under, painted=after.paint, hops=after.hops)
    return replace(now, references={**now.references, "patch": patch})


def _output(
    now: _Rolling, last: Reference, picture: Picture, holes: Mask | None, match: Match | None, *, keyframe: bool
) -> Output:
    return Output(
        index=last.frame.index,
        pts=last.frame.pts,
        epoch=now.live.shown_epoch,
        picture=picture,
        provenance=_provenance(holes),
        keyframe=keyframe,
        holes=np.ones(picture.shape[:2], np.bool_) if holes is None else holes,
        hops=last.hops,
        match=match,
        painted_pixels=0,
    )


def _provenance(holes: Mask | None) -> Provenance:
    if holes is None:
        return Provenance.HELD
    return Provenance.FILLED if holes.any() else Provenance.WARPED
