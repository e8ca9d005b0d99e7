"""The session core of pacing `every`: one film's keyframes, references and rolling state. No I/O, no clock.

`Session.step` is a generator: it yields Asks for engine work and is sent the answers, so that one function reads top
to bottom while a driver runs many of them. Only `step` and `update` assign the session's fields, `step` at its very
end: a frame that fails leaves the session as it was before. live.py is its sibling that waits for no painter.
"""

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from ..engines.base import NO_HABITS, Features, Frame, Habits, Match, PaintJob, Picture
from ..engines.compose import Composition, Origins, on_grid
from ..engines.crops import Box, crops, tiny
from ..engines.detect import Glance, glance, is_cut
from ..proto.brief import Brief
from ..proto.errors import RefusedError
from ..proto.messages import Provenance
from . import backward, lookahead, recall, rolling, snapshot
from .asks import Ask, Output, Step
from .backward import Unpainted
from .lookahead import Waiting
from .outputs import output_of, paintings, whole_output
from .rolling import Matches, Scale, Seen
from .state import Last, Progress, Reference, References, State


class Session:
    """The state of one film being painted. `size` is the working canvas (W, H), both multiples of 8.

    Without flow every frame is a keyframe: each painted alone, as is done without this program. guesses: whether its
    flow engine takes them; if not, all references are matched in one ask. habits: of its painter.
    """

    def __init__(
        self,
        brief: Brief,
        size: tuple[int, int],
        *,
        flow: bool = True,
        guesses: bool = True,
        habits: Habits = NO_HABITS,
    ) -> None:
        self.brief = brief
        self.size = size
        self._habits = habits
        self.epoch = 0
        self._flow = flow
        self._guesses = guesses
        self._scale = Scale(size, size)
        self._references = References()
        self._progress = Progress()
        self._seen: Seen | None = None
        self._waiting: tuple[Waiting, ...] = ()
        self._unpainted: tuple[Unpainted, ...] = ()  # if there are any, nothing else waits

    @property
    def flow_size(self) -> tuple[int, int]:
        """The size (W, H) of the pictures that flow is found between."""
        return self._scale.flow

    @property
    def nbytes(self) -> int:
        """Memory held by the references, and by what waits, bytes."""
        return self._references.nbytes + sum(each.nbytes for each in self._held)

    @property
    def waiting(self) -> tuple[int, ...]:
        """The indices of frames that wait for what comes after them."""
        return tuple(each.frame.index for each in self._held)

    def update(self, brief: Brief) -> int:
        """The new epoch. A change of what is painted drops all references; one of how it moves keeps them.

        Frames that wait are of the epoch before: `finish` comes first. Raises ValueError if it did not.
        """
        self._check_rest()
        if rolling.changes_paint(self.brief, brief):
            self._progress = rolling.updated(self._progress, self.brief, brief)
            if not rolling.fades_in(self.brief, brief):
                self._references, self._seen = References(), None
        idle = self._references.idle
        self._references = replace(self._references, idle=idle[max(0, len(idle) - brief.idle_keyframes) :])
        self.brief = brief
        self.epoch += 1
        return self.epoch

    def rekey(self) -> int:
        """The new epoch, which begins with a new keyframe. Raises ValueError as `update` does."""
        self._check_rest()
        self._progress = replace(self._progress, rekey=True, anew=True)
        self.epoch += 1
        return self.epoch

    def step(self, frame: Frame) -> Step:
        """Paints one frame: what goes out are those that wait for nothing any more, in their order.

        Raises RefusedError if the painter gives nothing; the session is then as before.
        """
        brief, epoch, references, progress = self.brief, self.epoch, self._references, self._progress
        if not self._flow:
            return (yield from self._alone(frame))

        # Detector: a cut begins a new epoch; what was painted is set aside. What waits waits no longer.
        now = glance(frame.bgr)
        if brief.cut_detection and self._seen and is_cut(self._seen.last, now):
            references = _set_aside(references, progress, brief)
            references, epoch = replace(references, last=None, kept={}), epoch + 1
            progress = replace(progress, tone=None)
        begins = epoch != self.epoch
        progress = rolling.left_since(progress, frame.pts)

        # Wait: nothing of the shot is painted yet, and its first keyframe is still to come.
        awaited = backward.awaited(frame, references, progress, brief, self._habits)
        if awaited and references.last is not None:  # as those before it did
            return (yield from self._held_back(frame, now, epoch, references, progress))
        if references.keyframe is None:
            references = replace(references, last=None)  # in which there is nothing to follow

        # Match: where this frame's pixels are seen in the last one and in what was painted.
        features, references = yield from rolling.encoded(frame.bgr, references, self._scale)
        matched = rolling.matched if self._guesses else rolling.matched_at_once
        matches = yield from matched(features, references, self._scale, brief)

        # Recall: a shot that goes on after a cut is that which was painted before it.
        seen = self._seen
        if matches is None and recall.may(references, progress) and not frame.keyframe:
            known = yield from recall.after_cut(frame, features, now, references, self._scale, brief)
            if known is not None:
                references, matches, seen = known
                tone = rolling.tone_of(references.keyframe, brief)
                progress = replace(progress, many_holes_since=None, repainted_at=None, tone=tone)
        if matches is None and awaited:
            return (yield from self._held_back(frame, now, epoch, references, progress))

        # Follow and compose: what the references explain, and the holes that they leave.
        composition, fade = None, _fade(frame, references, brief)
        if matches is not None:
            references = rolling.carried(references, matches)
            references, composition = _composed(frame, references, matches, fade, brief)

        # Recall: what comes back from behind something is not painted anew.
        painting = self._habits.at_once or rolling.repaint_due(progress, frame.pts, brief)
        looks = painting and not frame.keyframe
        if matches and composition and looks and recall.due(composition.holes, references, progress, frame.pts):
            progress = replace(progress, recalled_at=frame.pts)
            more = yield from recall.for_holes(
                features, now, composition.holes, references, matches, self._scale, brief
            )
            if more is not None:
                references, matches = more
                references, composition = _composed(frame, references, matches, fade, brief)
        progress = rolling.with_holes(progress, composition.holes if composition else None, frame.pts, brief)

        # Keyframe: painted in full, and let in where older paint is weak, or faded in over it and over what waits.
        painted_pixels, comes_before = 0, False
        keyframe = composition is None or seen is None or rolling.keyframe_due(frame, now, seen, progress, brief)
        if keyframe or composition is None:
            job = rolling.keyframe_job(frame, epoch, brief, progress, references, composition)
            [(painted, memory)] = yield from paintings([job])
            painted_pixels += frame.bgr.shape[0] * frame.bgr.shape[1]
            painted, progress = rolling.locked(painted, frame, progress, references.keyframe, brief)
            fresh = Reference(
                references.free_number,
                frame.alone,
                painted,
                features=features,
                replaces=rolling.replaces(frame, references, progress, brief),
                memory=memory,
                glance=now,
            )
            if fresh.replaces:
                references = _set_aside(references, progress, brief)
            references = references.plus(fresh)
            comes_before = fresh.replaces and not progress.begins_anew and lookahead.fades(brief)
            fade = 1.0 if comes_before else _fade(frame, references, brief)
            shape = frame.bgr.shape[:2]
            if composition is None or matches is None:
                composition = Composition.of(painted, fresh.number, shape)
            else:
                matches = replace(matches, found={fresh.number: Match.identity(shape), **matches.found})
                references, composition = _composed(frame, references, matches, fade, brief)
            kept = rolling.lasting(memory, self._habits)
            progress = replace(_after_keyframe(progress, job), repainted_at=frame.pts, memory=kept)

        # Fill: holes that are not worth the painter's while, or all if others were painted just now.
        holes = composition.holes
        waits = bool(brief.lookahead_s) and not keyframe
        due = rolling.repaint_due(progress, frame.pts, brief) if not self._habits.at_once else not waits
        none = np.zeros_like(holes)
        small, pending = (tiny(holes, self._habits.least_hole), none) if due else (none, holes)
        composition = replace(rolling.filled(composition, frame.bgr, small), holes=holes & ~small)

        # Repaint: crops around the other holes, laid over within them; what was painted is a reference of its own.
        if due and composition.holes.any():
            boxes, repaints, progress = yield from self._repaints(frame, epoch, composition, references, progress)
            painted_pixels += sum(box.area for box in boxes)
            references, composition = _with_repaint(references, composition, boxes, repaints, frame, features, brief)
            progress = replace(progress, repainted_at=frame.pts)

        # Look back: what was painted now shows what is seen in holes of the frames that waited for it.
        composition = replace(composition, origins=composition.origins.painted(pending, 0), holes=pending)
        last = Last(frame.alone, composition.paint, composition.origins, features)
        match = rolling.match_of_keyframe(references, matches)
        output = output_of(last, epoch, holes, small, match, keyframe=keyframe, painted_pixels=painted_pixels)
        outputs: list[Output] = []
        if begins:
            outputs, progress = yield from self._concluded(progress)
        elif self._unpainted and references.keyframe is not None:
            outputs, progress = yield from self._painted_back(self._unpainted, references.keyframe, progress)
        before = None if matches is None or self._habits.at_once else matches.last
        waiting = (
            *(() if begins else self._waiting),
            Waiting(frame, features, composition, output, self._state_now(), before),
        )
        references = _with_idle(rolling.remembered(references, last, faded=fade >= 1.0), references, brief)
        if not waits:
            settled, progress = yield from self._settled(waiting, references, progress, comes_before=comes_before)
            outputs, waiting = outputs + settled, ()
        elif self._habits.at_once:
            if passed := lookahead.passed(waiting, brief):
                settled, progress = yield from self._settled(waiting[:passed], references, progress)
                outputs, waiting = outputs + settled, waiting[passed:]
        elif due or lookahead.over(waiting, brief):
            if going := lookahead.going(waiting, brief):
                settled, progress = yield from self._settled(waiting, references, progress, going=going, painted=due)
                outputs, waiting = outputs + settled, waiting[going:]
        else:
            content = lookahead.content(waiting, brief)
            outputs, waiting = outputs + [_completed(each) for each in waiting[:content]], waiting[content:]

        # Remember: only now, when nothing can fail any more.
        self._waiting, self._unpainted = waiting, ()
        self._references = references
        self._progress = replace(progress, rekey=False)
        self._seen = replace(seen, last=now) if seen and not keyframe else Seen(now, frame.pts, now)
        self.epoch = epoch
        return outputs

    def finish(self) -> Step:
        """The outputs that are still to come: all that wait, in their order, as nothing comes after them for now."""
        outputs, self._progress = yield from self._concluded(self._progress)
        self._waiting, self._unpainted = (), ()
        return outputs

    def snapshot(self) -> bytes:
        """The state between two steps. Raises SnapshotError if it is too large."""
        return snapshot.dump(self.state())

    def state(self) -> State:
        """All that the next step depends on, as it was before the first frame that waits: that is to come again."""
        return self._held[0].state if self._held else self._state_now()

    def restore(self, data: bytes) -> None:
        """Goes on from a snapshot as if nothing had happened. Raises SnapshotError; the session is then as before."""
        state = snapshot.load(data)
        if state.live is not None:
            raise snapshot.SnapshotError("the snapshot is of a live session; this one is of pacing 'every'")
        if state.size != self.size:
            raise snapshot.SnapshotError(f"the snapshot's canvas is {state.size}, this session's {self.size}")
        self._take_up(state)

    def _take_up(self, state: State) -> None:
        self._waiting, self._unpainted = (), ()
        self.brief, self.epoch = state.brief, state.epoch
        self._references, self._progress = state.references, state.progress
        self._seen = None
        last = state.references.last
        if self._flow and last is not None:
            keyframe = state.references.keyframe or last
            self._seen = Seen(glance(keyframe.frame.bgr), keyframe.frame.pts, glance(last.frame.bgr))

    @property
    def _held(self) -> Sequence[Waiting | Unpainted]:
        return (*self._waiting, *self._unpainted)

    def _state_now(self) -> State:
        return State(self.brief, self.size, self.epoch, self._references, self._progress)

    def _check_rest(self) -> None:
        if self.waiting:
            raise ValueError(f"frames {self.waiting} wait for what comes: `finish` comes before a change")

    def _held_back(self, frame: Frame, now: Glance, epoch: int, references: References, progress: Progress) -> Step:
        """Has a frame wait for the first keyframe of its shot. What goes out are those that wait no longer."""
        outputs: list[Output] = []
        unpainted = (*self._unpainted, Unpainted(frame, self._state_now()))
        if epoch != self.epoch:
            outputs, progress = yield from self._concluded(progress)
            unpainted = unpainted[-1:]
        going = backward.going(unpainted, self.brief)
        alone, progress = yield from backward.each_alone(unpainted[:going], epoch, self.brief, progress)
        nothing = Origins.of(0, frame.bgr.shape) if references.last is None else references.last.origins

        self._waiting, self._unpainted = (), unpainted[going:]
        self._references = replace(references, last=Last(frame.alone, frame.bgr, nothing))
        self._progress = progress
        self._seen = Seen(now, frame.pts, now)
        self.epoch = epoch
        return outputs + alone

    def _concluded(self, progress: Progress) -> Generator[Ask, Any, tuple[list[Output], Progress]]:
        """What goes out of all that waits, as nothing comes after it: as the film stood then. It does not fail."""
        then = replace(self._progress, next_job=progress.next_job)
        outputs: list[Output] = []
        if self._unpainted:
            outputs, then = yield from backward.each_alone(self._unpainted, self.epoch, self.brief, then)
        elif self._waiting:
            outputs, then = yield from self._settled(self._waiting, self._references, then)
        return outputs, replace(progress, next_job=then.next_job)

    def _painted_back(
        self, unpainted: Sequence[Unpainted], keyframe: Reference, progress: Progress
    ) -> Generator[Ask, Any, tuple[list[Output], Progress]]:
        """What goes out of the frames before a keyframe, which they follow, the film run backward.

        Raises RefusedError if an engine fails.
        """
        back = Session(self.brief, self.size, guesses=self._guesses, habits=self._habits)
        back._take_up(backward.start(keyframe, replace(self._state_now(), progress=progress)))
        outputs = yield from backward.followed(back.step, unpainted)
        progress = replace(progress, next_job=back._progress.next_job)
        return (yield from backward.joined(outputs, unpainted, self._progress, progress))

    def _settled(
        self,
        waiting: Sequence[Waiting],
        references: References,
        progress: Progress,
        *,
        going: int | None = None,
        painted: bool = True,
        comes_before: bool = False,
    ) -> Generator[Ask, Any, tuple[list[Output], Progress]]:
        """What goes out of frames that have waited, and where the film stands then. It does not fail.

        going: how many of the first do; None: all. painted: the last one has no holes left, or nothing comes after it.
        comes_before: it is a keyframe that comes in over the others. Without flow, or a painter, holes are filled as
        they are in a film that does not look ahead.
        """
        with suppress(RefusedError):
            every = lookahead.SOUGHT_EVERY_AT_ONCE if self._habits.at_once else lookahead.SOUGHT_EVERY
            waiting = yield from lookahead.looked_back(waiting, references, self._scale, self.brief, every=every)
            if comes_before:
                waiting = yield from lookahead.faded_in(waiting, references, self._scale, self.brief)
        waiting = waiting[:going]
        if painted and not self._habits.at_once:
            waiting, progress = yield from self._painted_between(waiting, references, progress)
        outputs = []
        for each in waiting:
            if self._habits.at_once:
                with suppress(RefusedError):
                    each, progress = yield from self._repainted_at_once(each, references, progress)
            outputs.append(_completed(each))
        return outputs, progress

    def _painted_between(
        self, waiting: Sequence[Waiting], references: References, progress: Progress
    ) -> Generator[Ask, Any, tuple[Sequence[Waiting], Progress]]:
        """The frames with what came and went while they waited: painted in one that shows it, seen in all.

        If the painter fails, with what it painted until then.
        """
        for _ in range(lookahead.MOST_PAINTINGS):
            found = lookahead.lasting(waiting, self.brief)
            if found is None:
                break
            place, there = found
            each = waiting[place]
            left, there = each.composition.holes, there & ~tiny(there, self._habits.least_hole)
            # Filled, so that what is painted joins what is not painted in the end.
            composition = replace(rolling.filled(each.composition, each.frame.bgr, left), holes=there)
            try:
                boxes, repaints, progress = yield from self._repaints(
                    each.frame, each.output.epoch, composition, references, progress
                )
            except RefusedError:
                break
            if not boxes:
                break
            number = references.free_number
            references, composition = _with_repaint(
                references, composition, boxes, repaints, each.frame, each.features, self.brief
            )
            painted = _painted_too(each, replace(composition, holes=left & ~there), boxes)
            waiting = [*waiting[:place], painted, *waiting[place + 1 :]]
            waiting = lookahead.spread(waiting, place, number, references, self.brief)
        return waiting, progress

    def _repainted_at_once(
        self, waiting: Waiting, references: References, progress: Progress
    ) -> Generator[Ask, Any, tuple[Waiting, Progress]]:
        """A frame with its holes painted. No other frame shows that."""
        composition, epoch = waiting.composition, waiting.output.epoch
        boxes, repaints, progress = yield from self._repaints(waiting.frame, epoch, composition, references, progress)
        paint = rolling.repainted(composition.paint, composition.holes, boxes, repaints, self.brief.feather)
        whole = replace(composition, paint=paint, holes=np.zeros_like(composition.holes))
        return _painted_too(waiting, whole, boxes), progress

    def _repaints(
        self, frame: Frame, epoch: int, composition: Composition, references: References, progress: Progress
    ) -> Generator[Ask, Any, tuple[Sequence[Box], Sequence[Picture], Progress]]:
        """What is painted of the holes in the composition of a frame: in boxes, the pictures. None, if it has none."""
        boxes = crops(composition.holes, self._habits)
        if not boxes:
            return boxes, [], progress
        jobs = rolling.hole_jobs(frame, epoch, self.brief, boxes, composition, references.keyframe, progress)
        repaints = [picture for picture, _ in (yield from paintings(jobs))]
        return boxes, repaints, replace(progress, next_job=progress.next_job + len(jobs))

    def _alone(self, frame: Frame) -> Step:
        """Paints a frame without flow: as a keyframe, from which nothing is remembered."""
        progress = rolling.left_since(self._progress, frame.pts)
        job = rolling.keyframe_job(frame, self.epoch, self.brief, progress, References())
        [(painted, memory)] = yield from paintings([job])
        self._progress = replace(_after_keyframe(progress, job), memory=rolling.lasting(memory, self._habits))
        return [whole_output(frame, painted, self.epoch, keyframe=True)]


def _painted_too(waiting: Waiting, composition: Composition, boxes: Sequence[Box]) -> Waiting:
    """A frame that has waited, with what was painted of it in boxes."""
    pixels = waiting.output.painted_pixels + sum(box.area for box in boxes)
    return replace(waiting, composition=composition, output=replace(waiting.output, painted_pixels=pixels))


def _completed(waiting: Waiting) -> Output:
    """What goes out of a frame: what is still a hole is filled."""
    composition, output = waiting.composition, waiting.output
    left = composition.holes
    composition = rolling.filled(composition, waiting.frame.bgr, left)
    provenance = Provenance.FILLED if left.any() else output.provenance
    return replace(output, picture=composition.paint, hops=composition.hops, provenance=provenance)


def _after_keyframe(progress: Progress, job: PaintJob) -> Progress:
    """Where the film stands once a keyframe is painted; prompts that it showed nothing of any more are left."""
    leaving = None if job.earlier is None else progress.leaving
    return Progress(next_job=job.id + 1, leaving=leaving, tone=progress.tone)


def _composed(
    frame: Frame, references: References, matches: Matches, fade: float, brief: Brief
) -> tuple[References, Composition]:
    """What the references explain; they have their paint doubled, where that is worth it."""
    references = rolling.with_fine(references, exact=True)
    return references, rolling.composed(frame, references, matches, fade, brief, exact=True)


def _set_aside(references: References, progress: Progress, brief: Brief) -> References:
    """The references, with their keyframes set aside, as the shot is over or a new one replaces them.

    Not those that are being replaced already, and none if what comes begins anew.
    """
    idle = () if progress.begins_anew else recall.set_aside(references.idle, references.in_use, brief.idle_keyframes)
    return replace(references, idle=idle)


def _with_idle(references: References, before: References, brief: Brief) -> References:
    """The references, with keyframes set aside that nothing points to any more. What others replace is already."""
    if before.coming is not None:
        return references
    gone = [each for number, each in before.kept.items() if number not in references.kept]
    return replace(references, idle=recall.set_aside(before.idle, gone, brief.idle_keyframes)) if gone else references


def _fade(frame: Frame, references: References, brief: Brief) -> float:
    """How far the newest keyframe has come in."""
    last, keyframe = references.last, references.keyframe
    if last is None or keyframe is None:
        return 1.0
    return rolling.faded(frame.pts, keyframe.frame.pts, last.frame.pts, brief)


def _with_repaint(
    references: References,
    composition: Composition,
    boxes: Sequence[Box],
    repaints: Sequence[Picture],
    frame: Frame,
    features: Features,
    brief: Brief,
) -> tuple[References, Composition]:
    """With the holes painted in, and what was painted as a reference that their pixels come from."""
    under = Reference(0, frame.alone, composition.paint, features=features)
    number, holes, grid = references.free_number, composition.holes, composition.hops.shape
    patch = rolling.patch_of(under, number, holes, boxes, repaints, grid, brief.feather)
    origins = composition.origins.painted(on_grid(holes, grid), number)
    return references.plus(patch), replace(composition, paint=patch.painted, origins=origins)
