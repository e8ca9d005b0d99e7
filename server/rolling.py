"""What rolls on from frame to frame: references are matched, warped, composed, and handed on. Pure helpers of a step.

Names of references are those of state.py. Nothing here assigns a session's fields.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from ..engines.base import Features, Flow, Frame, Hops, Mask, Match, MatchRequest, PaintJob, Picture, Wording
from ..engines.colour_lock import followed, tone
from ..engines.colour_lock import locked as colour_locked
from ..engines.compose import MOST_HOPS, Composition, Layer, compose, doubled, lay_over, seam
from ..engines.crops import Box
from ..engines.detect import Glance, edge_change, keyframe_threshold
from ..engines.fill import fill
from ..engines.grid import resample, scaled_flow
from ..proto.brief import Brief
from .asks import Ask, Encode, MatchAsk
from .state import Leaving, Progress, Reference, References

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

Matches = dict[str, Match]  # by the name of the reference, on the flow's grid


@dataclass(frozen=True, slots=True)
class Scale:
    """The working canvas, and the grid that flow is found on: (W, H) each, the same or a smaller one."""

    canvas: tuple[int, int]
    flow: tuple[int, int]

    def sight(self, picture: Picture) -> Picture:
        """A picture on the canvas as the flow engine sees it."""
        while picture.shape[1] >= 2 * self.flow[0] and picture.shape[0] >= 2 * self.flow[1]:
            half = picture.shape[1] // 2, picture.shape[0] // 2  # to just a half is ten times as quick as to any size
            picture = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
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


def wording_of(keyframe: Reference, progress: Progress, brief: Brief) -> Wording | None:
    """The prompts that a keyframe was painted by in part; wholly, if it was before they began to be left."""
    leaving, pts = progress.leaving, keyframe.frame.pts
    if leaving is not None and (leaving.since is None or pts < leaving.since):
        return Wording(leaving.prompt, leaving.negative_prompt, 1.0)
    return wording(progress, pts, brief)


def keyframe_due(frame: Frame, now: Glance, seen: Seen, progress: Progress, brief: Brief) -> bool:
    """Whether one was asked for, or the picture has left the last one, not sooner than the shortest gap."""
    if progress.rekey:
        return True
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
    bare = [name for name, reference in references.items() if reference.features is None]
    features, *others = yield Encode([sight, *(scale.sight(references[name].frame.bgr) for name in bare)])
    found = {name: replace(references[name], features=each) for name, each in zip(bare, others, strict=True)}
    return features, references | found


def matched(features: Features, references: References, scale: Scale) -> Generator[Ask, Any, Matches]:
    """The match with each reference. The flow to the last frame leads on along the flow that was found from there."""
    if not references:
        return {}
    last = references["last"]
    [to_last] = yield MatchAsk(MatchRequest(features, [_features(last)], [None]), scale.flow)
    matches = {"last": to_last}
    others = []
    for name, reference in references.items():
        if reference.frame.index == last.frame.index:  # the same raw frame, so the same match
            matches[name] = to_last
        else:
            others.append(name)
    if others:
        guesses = [led_on(to_last.flow, references[name].flow) for name in others]
        request = MatchRequest(features, [_features(references[name]) for name in others], guesses)
        found = yield MatchAsk(request, scale.flow)
        matches |= dict(zip(others, found, strict=True))
    return matches


def matched_at_once(features: Features, references: References, scale: Scale) -> Generator[Ask, Any, Matches]:
    """The match with each reference, in one ask, so that they are found side by side.

    Each is led by the flow of the frame before: not as near as by way of the last frame, but there at once.
    """
    if not references:
        return {}
    last = references["last"].frame.index
    distinct = [name for name, each in references.items() if name == "last" or each.frame.index != last]
    sources = [_features(references[name]) for name in distinct]
    found = yield MatchAsk(MatchRequest(features, sources, [references[name].flow for name in distinct]), scale.flow)
    matches = dict(zip(distinct, found, strict=True))
    return {name: matches.get(name, matches["last"]) for name in references}


def _features(reference: Reference) -> Features:
    if reference.features is None:
        raise ValueError("a reference is matched before it is encoded")
    return reference.features


def led_on(to_last: Flow, from_last: Flow | None) -> Flow:
    """The guess that leads to the last frame and on from there, on a coarse grid."""
    near = coarse(to_last)
    return near if from_last is None else near + resample(from_last, near)


def carried(references: References, matches: Matches) -> References:
    """All references but the last output, each with the flow that leads there from this frame."""
    return {name: replace(each, flow=coarse(matches[name].flow)) for name, each in references.items() if name != "last"}


def coarse(flow: Flow) -> Flow:
    """A flow on the grid that guesses are kept on."""
    h, w = flow.shape[:2]
    return scaled_flow(flow, (max(1, w // GUESS_SCALE), max(1, h // GUESS_SCALE)))


def with_fine(references: References) -> References:
    """The references with their paint doubled, where it is resampled often.

    Not the last output, which is resampled once and no more, nor a patch that came before the next frame did: with a
    painter that is so quick there is another one for each frame.
    """
    return {
        name: each
        if name == "last" or each.fine is not None or (name == "patch" and each.flow is None)
        else replace(each, fine=doubled(each.painted))
        for name, each in references.items()
    }


def composed(
    references: References, matches: Matches, fade: float, brief: Brief, *, under_holes: bool = True
) -> Composition:
    """The references warped to this frame and laid over each other.

    While a keyframe fades in, it lies on top by as much as it has come in, and once more below the one before it,
    for what that one does not explain.
    """
    order = [("keyframe", fade), ("fading", 1.0), ("keyframe", 1.0), ("patch", 1.0), ("last", 1.0)]
    if fade >= 1.0 or "fading" not in references:
        order = [("keyframe", 1.0), ("patch", 1.0), ("last", 1.0)]
    layers = [
        Layer(references[name].painted, references[name].hops, matches[name], gain, references[name].fine)
        for name, gain in order
        if name in references
    ]
    return compose(
        layers,
        threshold=brief.confidence,
        max_hops=brief.max_hops,
        feather=brief.feather,
        under_holes=under_holes,
    )


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
    before = references.get("keyframe")
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
        memory=before.memory if before else None,
        earlier=wording(progress, frame.pts, brief),
    )


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


def hole_job(
    frame: Frame,
    epoch: int,
    number: int,
    brief: Brief,
    box: Box,
    composition: Composition,
    keyframe: Reference,
    progress: Progress,
) -> PaintJob:
    """The job to paint the holes in a box of a frame, in the words of its keyframe."""
    h, w = frame.bgr.shape[:2]
    controls = {kind: image[box.slices] for kind, image in frame.controls.items()}
    crop = replace(frame, bgr=frame.bgr[box.slices], controls=controls)
    canvas, holes = composition.paint[box.slices], composition.holes[box.slices]
    return PaintJob(
        number,
        epoch,
        crop,
        brief,
        _seed(brief, frame),
        origin=(box.x0, box.y0),
        size=(w, h),
        canvas=canvas,
        holes=holes,
        memory=keyframe.memory,
        earlier=wording_of(keyframe, progress, brief),
    )


def _seed(brief: Brief, frame: Frame) -> int:
    return brief.seed + (frame.index if brief.vary_seed else 0)


def repainted(composition: Composition, boxes: Sequence[Box], repaints: Sequence[Picture], feather: int) -> Composition:
    """The composition with its holes painted: within them alone, with a soft seam."""
    if not boxes:
        return composition
    paint, weight = composition.paint.copy(), seam(composition.holes, feather)
    for box, repaint in zip(boxes, repaints, strict=True):
        paint[box.slices] = lay_over(paint[box.slices], repaint, weight[box.slices])
    return replace(composition, paint=paint, hops=hops_with(composition.hops, weight > 0.5, 0))


def filled(composition: Composition, raw: Picture, holes: Mask) -> Composition:
    """The composition with these holes filled, in place. They have the most hops: no later frame trusts them."""
    if not holes.any():
        return composition
    fill(composition.paint, raw, holes)
    return replace(composition, hops=hops_with(composition.hops, holes, MOST_HOPS))


def hops_with(hops: Hops, mask: Mask, value: int) -> Hops:
    """The hops [h, w], on the flow's grid, with this value where a mask on the canvas says so."""
    h, w = hops.shape
    there = mask.view(np.uint8)
    if mask.shape != hops.shape:
        there = cv2.resize(there, (w, h), interpolation=cv2.INTER_NEAREST)
    return np.where(there, np.uint8(value), hops)
