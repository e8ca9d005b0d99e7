"""What rolls on from frame to frame: references are matched, composed, and handed on. Pure helpers of a step.

Nothing here assigns a session's fields.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from ..engines.base import Features, Flow, Frame, Habits, Mask, Match, MatchRequest, PaintJob, Picture, Wording
from ..engines.blend import lay_over, seam
from ..engines.colour_lock import Tone, followed, tone
from ..engines.colour_lock import locked as colour_locked
from ..engines.compose import Composition, Source, compose, doubled, on_grid
from ..engines.crops import Box
from ..engines.detect import Glance, edge_change, keyframe_threshold
from ..engines.fill import fill
from ..engines.grid import halved_towards, resample, scaled_flow
from ..proto.brief import Brief
from .asks import Ask, Encode, MatchAsk
from .state import Last, Leaving, Progress, Reference, References

# Fields of the Brief that change what is painted; the others change only how it moves.
PROMPT_FIELDS = frozenset({"prompt", "negative_prompt"})
PAINTED_FIELDS = PROMPT_FIELDS | {
    *(
        "look",
        "strength",
        "seed",
        "vary_seed",
        "steps",
        "guidance",
        "scheduler",
        "loras",
        "controls",
        "vae",
        "clip_skip",
    ),
    *("tag_threshold", "tag_prefix", "tag_block"),
}
# Flows that are carried along as guesses are kept on a grid so many times coarser: a guess need not be fine.
GUESS_SCALE = 4

# A reference is sought in a frame if this share of the last one was its paint: to seek it takes as long as all else.
WORTH_SEEKING = 0.01
# And doubled, which takes as long as resampling all of it twice, if this share of it was painted.
WORTH_DOUBLING = 0.05
# How many references a session keeps beside the newest keyframe. On a grid that is the canvas one takes some thirty
# bytes a pixel, with the features of `dis`, and sixteen more where it is doubled.
MOST_REFERENCES = 6


@dataclass(frozen=True, slots=True)
class Matches:
    """Where a frame's pixels are seen in the last frame, and in references by number, the newest first."""

    last: Match
    found: Mapping[int, Match]


@dataclass(frozen=True, slots=True)
class Scale:
    """The working canvas, and the grid that flow is found on: (W, H) each, the same or a smaller one."""

    canvas: tuple[int, int]
    flow: tuple[int, int]

    def sight(self, picture: Picture) -> Picture:
        """A picture on the canvas as the flow engine sees it."""
        picture = halved_towards(picture, self.flow)
        if picture.shape[1::-1] == self.flow:
            return picture
        return cv2.resize(picture, self.flow, interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the detectors keep of the last keyframe, its time, and the last frame."""

    keyframe: Glance
    keyframe_pts: Fraction
    last: Glance


def changes_paint(before: Brief, after: Brief) -> bool:
    """Whether the change is one of what is painted; otherwise it is one of how it moves."""
    return any(getattr(before, name) != getattr(after, name) for name in PAINTED_FIELDS)


def fades_in(before: Brief, after: Brief) -> bool:
    """Whether the change is one of the prompts alone, and comes in over several keyframes."""
    changed = {name for name in PAINTED_FIELDS if getattr(before, name) != getattr(after, name)}
    return bool(changed) and changed <= PROMPT_FIELDS and after.prompt_fade_s > 0


def updated(progress: Progress, before: Brief, after: Brief) -> Progress:
    """The progress after a change of what is painted: prompts that fade are left slowly, all else is begun anew."""
    if fades_in(before, after):
        return replace(progress, leaving=Leaving(before.prompt, before.negative_prompt))
    return replace(progress, anew=True, leaving=None, tone=None)


def left_since(progress: Progress, pts: Fraction) -> Progress:
    """Notes the time of the first frame after a change of prompts."""
    leaving = progress.leaving
    if leaving is None or leaving.since is not None:
        return progress
    return replace(progress, leaving=replace(leaving, since=pts))


def wording(progress: Progress, pts: Fraction, brief: Brief) -> Wording | None:
    """The prompts that a keyframe at this time is still painted by in part; None: by the Brief's alone."""
    leaving = progress.leaving
    if leaving is None or leaving.since is None or not brief.prompt_fade_s or pts < leaving.since:
        return None
    share = 1.0 - float(pts - leaving.since) / brief.prompt_fade_s
    return Wording(leaving.prompt, leaving.negative_prompt, share) if share > 0 else None


def wording_of(keyframe: Reference | None, progress: Progress, brief: Brief) -> Wording | None:
    """The prompts that a keyframe was painted by in part; wholly, if it was before they began to be left."""
    if keyframe is None:
        return None
    leaving, pts = progress.leaving, keyframe.frame.pts
    if leaving is not None and (leaving.since is None or pts < leaving.since):
        return Wording(leaving.prompt, leaving.negative_prompt, 1.0)
    return wording(progress, pts, brief)


def keyframe_due(frame: Frame, now: Glance, seen: Seen, progress: Progress, brief: Brief) -> bool:
    """Whether one was asked for, or the picture has left the last one, not sooner than the shortest gap."""
    asked = progress.rekey or frame.keyframe
    if asked or brief.keyframes == "marked":
        return asked
    gap_s = float(frame.pts - seen.keyframe_pts)
    if gap_s < -brief.keyframe_gap_min_s:  # time has begun anew
        return True
    if gap_s < brief.keyframe_gap_min_s:
        return False
    if progress.leaving is not None:  # each keyframe shows more of the new prompt
        return True
    since = progress.many_holes_since
    if since is not None and frame.pts - since >= brief.hole_limit_s:
        return True
    threshold = keyframe_threshold(brief.keyframe_threshold, gap_s, brief.keyframe_gap_max_s)
    return edge_change(seen.keyframe.edges, now.edges) > threshold


def repaint_due(progress: Progress, pts: Fraction, brief: Brief) -> bool:
    """Whether holes may be painted, and not only filled."""
    since = progress.repainted_at
    return since is None or not since <= pts < since + Fraction(brief.repaint_gap_s)


def encoded(sight: Picture, references: References, scale: Scale) -> Generator[Ask, Any, tuple[Features, References]]:
    """The frame's features, and the references with theirs: those of a restored session have none yet."""
    last, kept = references.last, dict(references.kept)
    bare = [number for number, each in kept.items() if each.features is None]
    pictures = [kept[number].frame.bgr for number in bare]
    if last is not None and last.features is None:
        pictures.append(last.frame.bgr)
    features, *others = yield Encode([sight, *map(scale.sight, pictures)])
    for number, each in zip(bare, others, strict=False):
        kept[number] = replace(kept[number], features=each)
    if last is not None and last.features is None:
        last = replace(last, features=others[-1])
    return features, replace(references, last=last, kept=kept)


def sought(references: References, brief: Brief) -> list[Reference]:
    """The references that are sought in a frame, the newest first: others are only followed.

    The newest keyframe, what has not been sought yet, and of the others those that most of the last frame's paint was
    of, `Brief.references` in all.
    """
    last, keyframe = references.last, references.keyframe
    if last is None or keyframe is None:
        return []
    shares = last.origins.shares()
    wanted = [each for each in references.kept.values() if each.number != keyframe.number]
    wanted.sort(key=lambda each: (each.found, -shares[each.number], -each.number))
    worth = [each for each in wanted if not each.found or shares[each.number] >= WORTH_SEEKING]
    chosen = {keyframe.number, *(each.number for each in worth[: brief.references - 1])}
    return [each for each in references.newest_first if each.number in chosen]


def matched(
    features: Features, references: References, scale: Scale, brief: Brief
) -> Generator[Ask, Any, Matches | None]:
    """The matches with the last frame and what is sought. The flow to the last frame leads on to where others lay."""
    last, wanted = references.last, sought(references, brief)
    if last is None or not wanted:
        return None
    [to_last] = yield MatchAsk(MatchRequest(features, [_features(last)], [None]), scale.flow)
    others = _others(wanted, last)
    found: Sequence[Match] = ()
    if others:
        near = coarse(to_last.flow)
        guesses = [led_on(near, each.flow) for each in others]
        found = yield MatchAsk(MatchRequest(features, [_features(each) for each in others], guesses), scale.flow)
    return _matches(wanted, others, to_last, found)


def matched_at_once(
    features: Features, references: References, scale: Scale, brief: Brief
) -> Generator[Ask, Any, Matches | None]:
    """The same in one ask, so that they are found side by side.

    Each is led by the flow of the frame before: not as near as by way of the last frame, but there at once.
    """
    last, wanted = references.last, sought(references, brief)
    if last is None or not wanted:
        return None
    others = _others(wanted, last)
    sources = [_features(last), *map(_features, others)]
    guesses = [None, *(each.flow for each in others)]
    to_last, *found = yield MatchAsk(MatchRequest(features, sources, guesses), scale.flow)
    return _matches(wanted, others, to_last, found)


def _others(wanted: Sequence[Reference], last: Last) -> list[Reference]:
    """Those that are not of the last frame: that one's match is theirs too."""
    return [each for each in wanted if each.frame.index != last.frame.index]


def _matches(
    wanted: Sequence[Reference], others: Sequence[Reference], to_last: Match, found: Sequence[Match]
) -> Matches:
    """What was found, in the order of what was sought."""
    known = {each.number: match for each, match in zip(others, found, strict=True)}
    return Matches(to_last, {each.number: known.get(each.number, to_last) for each in wanted})


def match_of_keyframe(references: References, matches: Matches | None) -> Match | None:
    """The match with the newest keyframe; None: there is none."""
    keyframe = references.keyframe
    return None if matches is None or keyframe is None else matches.found[keyframe.number]


def _features(seen: Last | Reference) -> Features:
    if seen.features is None:
        raise ValueError("a reference is matched before it is encoded")
    return seen.features


def led_on(to_last: Flow, from_last: Flow | None) -> Flow:
    """The guess that leads to the last frame and on from there: both on the coarse grid, as the result."""
    return to_last if from_last is None else to_last + resample(from_last, to_last)


def carried(references: References, matches: Matches) -> References:
    """The references, each with the flow that leads there from this frame: found, or led on."""
    kept, near = {}, coarse(matches.last.flow)
    for number, each in references.kept.items():
        found = matches.found.get(number)
        flow = led_on(near, each.flow) if found is None else coarse(found.flow)
        kept[number] = replace(each, flow=flow, found=each.found or found is not None)
    return replace(references, kept=kept)


def coarse(flow: Flow) -> Flow:
    """A flow on the grid that guesses are kept on."""
    h, w = flow.shape[:2]
    return scaled_flow(flow, (max(1, w // GUESS_SCALE), max(1, h // GUESS_SCALE)))


def with_fine(references: References, *, exact: bool) -> References:
    """The references with their paint doubled, where much of it is resampled often.

    Not what came before the next frame did: with a painter that is so quick there is another one for each frame.
    """
    kept = {
        number: replace(each, fine=doubled(each.painted, exact=exact))
        if each.fine is None and each.found and (each.own is None or share(each.own) >= WORTH_DOUBLING)
        else each
        for number, each in references.kept.items()
    }
    return replace(references, kept=kept)


def composed(
    frame: Frame,
    references: References,
    matches: Matches,
    fade: float,
    brief: Brief,
    *,
    exact: bool,
    under_holes: bool = True,
) -> Composition:
    """A frame from the last one's origins and what was found. fade: of the keyframe that comes in over all else."""
    last = references.last
    if last is None:
        raise ValueError("there is no last frame to follow")
    return compose(
        sources_of(references, exact=exact),
        last.origins,
        matches.last,
        matches.found,
        threshold=brief.confidence,
        max_hops=brief.max_hops,
        feather=brief.feather,
        first=references.coming,
        fade=fade,
        under_holes=under_holes,
        raw=frame.bgr if brief.follow_light else None,
    )


def sources_of(references: References, *, exact: bool) -> dict[int, Source]:
    """What is kept, by number, as what paint comes from."""
    return {
        number: Source(each.painted, each.own, each.fine, exact, each.frame.bgr)
        for number, each in references.kept.items()
    }


def remembered(references: References, last: Last, *, faded: bool) -> References:
    """What the next frame is painted from. faded: the newest keyframe has come in, and what it replaces is to go."""
    references = replace(references, last=last)
    return _thinned(references.come_in() if faded else references)


def replaces(frame: Frame, references: References, progress: Progress, brief: Brief) -> bool:
    """Whether a new keyframe is to take the place of all older paint, and not only of what is weak.

    One that comes while another still does takes its place in that.
    """
    asked_for = progress.begins_anew or frame.keyframe or brief.keyframes == "marked"
    return brief.keyframe_entry == "fade" or asked_for or references.coming is not None


def _thinned(references: References) -> References:
    """Those of the references that are of use: nothing is kept for ever.

    The newest keyframe, what was not sought yet, and what the last frame shows: of that so many as a session has room
    for, those that most is seen of.
    """
    last, keyframe = references.last, references.keyframe
    if last is None or keyframe is None:
        return references
    shares = last.origins.shares()
    of_use = [each for each in references.kept.values() if shares[each.number] or not each.found]
    of_use.sort(key=lambda each: (each.found, -shares[each.number]))
    numbers = {keyframe.number, *(each.number for each in of_use[:MOST_REFERENCES])}
    return references if len(numbers) == len(references.kept) else references.of(numbers)


def faded(pts: Fraction, since: Fraction, last_pts: Fraction, brief: Brief) -> float:
    """How far what has shown since then has come in, 0 to 1. It shows a little at once."""
    if not brief.fade_s or pts < since:  # time has begun anew: nothing is left to fade
        return 1.0
    interval = pts - last_pts
    return min(1.0, max(0.0, float(pts - since + interval) / brief.fade_s))


def with_holes(progress: Progress, holes: Mask | None, pts: Fraction, brief: Brief) -> Progress:
    """Notes since when there have been too many holes without a break. None: there is no composition."""
    if holes is None or share(holes) <= brief.hole_limit:
        return replace(progress, many_holes_since=None)
    return progress if progress.many_holes_since is not None else replace(progress, many_holes_since=pts)


def share(mask: Mask) -> float:
    """The share of a mask that is True."""
    return np.count_nonzero(mask) / mask.size


def keyframe_job(
    frame: Frame,
    epoch: int,
    brief: Brief,
    progress: Progress,
    references: References,
    composition: Composition | None = None,
) -> PaintJob:
    """The job to paint a whole frame. composition: of the old references, to start from if the Brief says so.

    One that was asked for begins a chain anew: it has nothing of the last one.
    """
    h, w = frame.bgr.shape[:2]
    before = references.keyframe
    if progress.anew:
        composition = before = None
    start = None
    if composition is not None and brief.keyframe_start == "warped":
        start = np.where(composition.holes[:, :, None], frame.bgr, composition.paint)
    return PaintJob(
        progress.next_job,
        epoch,
        frame,
        brief,
        _seed(brief, frame),
        origin=(0, 0),
        size=(w, h),
        canvas=start,
        memory=before.memory if before else progress.memory,
        earlier=wording(progress, frame.pts, brief),
    )


def lasting(memory: bytes | None, habits: Habits) -> bytes | None:
    """What of a keyframe's memory outlives the references: all or nothing, as the painter wants it."""
    return memory if habits.lasting_memory else None


def locked(
    painted: Picture, frame: Frame, progress: Progress, before: Reference | None, brief: Brief
) -> tuple[Picture, Progress]:
    """A new keyframe with its colours held near those of the first one, and what they are held to from now on."""
    if not brief.colour_lock_s:
        return painted, replace(progress, tone=None)
    seen = tone(painted, frame.bgr)
    if progress.tone is None or before is None:
        return painted, replace(progress, tone=seen)
    gap_s = max(0.0, float(frame.pts - before.frame.pts))
    held = colour_locked(painted, frame.bgr, progress.tone)
    return held, replace(progress, tone=followed(progress.tone, seen, gap_s, brief.colour_lock_s))


def tone_of(reference: Reference | None, brief: Brief) -> Tone | None:
    """How the colours of a keyframe differ from the raw ones, if those of later ones are to be held near them."""
    if reference is None or not brief.colour_lock_s:
        return None
    return tone(reference.painted, reference.frame.bgr)


def hole_jobs(
    frame: Frame,
    epoch: int,
    brief: Brief,
    boxes: Sequence[Box],
    composition: Composition,
    keyframe: Reference | None,
    progress: Progress,
) -> list[PaintJob]:
    """The jobs to paint the holes in boxes of a frame, in the words of its keyframe; the first is the next job."""
    h, w = frame.bgr.shape[:2]

    def job(number: int, box: Box) -> PaintJob:
        controls = {kind: image[box.slices] for kind, image in frame.controls.items()}
        return PaintJob(
            number,
            epoch,
            replace(frame, bgr=frame.bgr[box.slices], controls=controls),
            brief,
            _seed(brief, frame),
            origin=(box.x0, box.y0),
            size=(w, h),
            canvas=composition.paint[box.slices],
            holes=composition.holes[box.slices],
            memory=keyframe.memory if keyframe else None,
            earlier=wording_of(keyframe, progress, brief),
        )

    return [job(number, box) for number, box in enumerate(boxes, progress.next_job)]


def _seed(brief: Brief, frame: Frame) -> int:
    return brief.seed + (frame.index if brief.vary_seed else 0)


def repainted(paint: Picture, holes: Mask, boxes: Sequence[Box], repaints: Sequence[Picture], feather: int) -> Picture:
    """The paint with its holes painted in: within them alone, with a soft seam."""
    paint, weight = paint.copy(), seam(holes, feather)
    for box, repaint in zip(boxes, repaints, strict=True):
        paint[box.slices] = lay_over(paint[box.slices], repaint, weight[box.slices])
    return paint


def patch_of(
    under: Reference,
    number: int,
    holes: Mask,
    boxes: Sequence[Box],
    repaints: Sequence[Picture],
    grid: tuple[int, ...],
    feather: int,
) -> Reference:
    """What was painted of the holes [H, W] of a frame, over its paint, as a reference; grid (h, w): the flow's."""
    paint = repainted(under.painted, holes, boxes, repaints, feather)
    return replace(under, number=number, painted=paint, own=on_grid(holes, grid))


def filled(composition: Composition, raw: Picture, holes: Mask) -> Composition:
    """The composition with these holes filled, in place. No later frame shows that: it comes from no reference."""
    if not holes.any():
        return composition
    fill(composition.paint, raw, holes)
    there = on_grid(holes, composition.hops.shape)
    return replace(composition, origins=composition.origins.painted(there, 0))
