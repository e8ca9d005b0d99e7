"""The session core: one film's keyframes, references and rolling state. No I/O, no clock.

`Session.step` is a generator: it yields Asks for engine work and is sent the answers, so that one function reads top
to bottom while a driver runs many of them. Only `step` and `update` assign the session's fields, `step` at its very
end: a frame that fails leaves the session as it was before.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..engines.base import Features, Flow, Frame, Hops, Mask, Match, PaintDone, PaintJob, Picture
from ..engines.compose import Composition, compose, lay_over, seam, warp
from ..engines.crops import Box, crops
from ..engines.detect import Glance, edge_change, glance, is_cut, keyframe_threshold
from ..engines.grid import resample, scaled_flow
from ..proto.brief import Brief
from ..proto.errors import Code, RefusedError
from ..proto.messages import Provenance
from . import snapshot
from .state import Progress, Reference, References, State

# Fields of the Brief that change what is painted; the others change only how it moves.
PAINTED_FIELDS = frozenset({"look", "prompt", "negative_prompt", "strength", "seed", "vary_seed"})
# Repaints become a reference of their own when together they cover this share of the canvas: a match costs
# milliseconds a frame, so it must explain something.
PATCH_SHARE = 0.03
# Flows that are carried along as guesses are kept on a grid so many times coarser: a guess need not be fine.
GUESS_SCALE = 4


@dataclass(frozen=True, slots=True)
class Encode:
    """Asks for the features of pictures. Answer: list[Features]."""

    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class MatchAsk:
    """Asks for the match of the target with each source. Answer: list[Match]."""

    target: Features
    sources: Sequence[Features]
    guesses: Sequence[Flow | None]


@dataclass(frozen=True, slots=True)
class PaintAsk:
    """Asks for jobs to be painted. Answer: list[PaintDone], one a job, in order."""

    jobs: Sequence[PaintJob]


Ask = Encode | MatchAsk | PaintAsk
Step = Generator[Ask, Any, "list[Output]"]


@dataclass(frozen=True, slots=True)
class Output:
    """One painted frame at the working size, and its maps. `match` is that of the keyframe; None: all fresh paint."""

    index: int
    pts: Fraction
    epoch: int
    picture: Picture
    provenance: Provenance
    keyframe: bool  # a keyframe was painted for it, which may fade in
    holes: Mask
    hops: Hops
    match: Match | None
    painted_pixels: int


Matches = dict[str, Match]  # by the name of the reference


@dataclass(frozen=True, slots=True)
class Seen:
    """What the detectors keep of the last keyframe and of the last frame."""

    keyframe: Glance
    last: Glance


class Session:
    """The state of one film being painted. `size` is the working canvas (W, H), both multiples of 8.

    Without flow every frame is a keyframe: each painted alone, as is done without this program.
    """

    def __init__(self, brief: Brief, size: tuple[int, int], *, flow: bool = True) -> None:
        self.brief = brief
        self.size = size
        self.epoch = 0
        self._flow = flow
        self._references: References = {}
        self._progress = Progress()
        self._seen: Seen | None = None

    @property
    def nbytes(self) -> int:
        """Memory held by the references, bytes."""
        return sum(reference.nbytes for reference in self._references.values())

    def update(self, brief: Brief) -> int:
        """The new epoch. A change of what is painted drops all references; one of how it moves keeps them."""
        before, after = self.brief.model_dump(), brief.model_dump()
        if any(before[name] != after[name] for name in PAINTED_FIELDS):
            self._references, self._seen = {}, None
        self.brief = brief
        self.epoch += 1
        return self.epoch

    def rekey(self) -> int:
        """The new epoch, which begins with a new keyframe."""
        self._progress = replace(self._progress, rekey=True)
        self.epoch += 1
        return self.epoch

    def step(self, frame: Frame) -> Step:
        """Paints one frame. Raises RefusedError if the painter gives nothing; the session is then as before."""
        brief, epoch, references, progress = self.brief, self.epoch, self._references, self._progress
        if not self._flow:
            return (yield from self._alone(frame))

        # Detector: a cut begins a new epoch, without references.
        now = glance(frame.bgr)
        if brief.cut_detection and self._seen and is_cut(self._seen.last, now):
            references, epoch = {}, epoch + 1

        # Match: where this frame's pixels are seen in each reference.
        features, references = yield from _encoded(frame, references)
        matches = yield from _matched(features, references)

        # Warp and compose: what the references explain, and the holes that they leave.
        composition = _composed(frame, references, matches, brief) if matches else None
        progress = _with_holes(progress, composition, frame, brief)

        # Keyframe: painted in full, and faded in where there is something to fade from.
        painted_pixels = 0
        keyframe = self._keyframe_due(frame, now, references, progress)
        if keyframe or composition is None:
            [painted] = yield from _painted([_keyframe_job(frame, epoch, progress.next_job, brief)])
            painted_pixels += frame.bgr.shape[0] * frame.bgr.shape[1]
            whole = Composition.of(painted)
            fresh = Reference(frame, painted, whole.hops, features)
            references, matches = _with_keyframe(references, matches, fresh, brief)
            progress = Progress(next_job=progress.next_job + 1)
            composition = whole if composition is None else _composed(frame, references, matches, brief)

        # Repaint: crops around the holes, laid over within them.
        boxes = crops(composition.holes)
        jobs = [_hole_job(frame, epoch, progress.next_job + i, brief, box, composition) for i, box in enumerate(boxes)]
        repaints = (yield from _painted(jobs)) if jobs else []
        painted_pixels += sum(box.area for box in boxes)
        composition = _repainted(composition, boxes, repaints, brief.feather)

        # Remember: only now, when nothing can fail any more.
        last = Reference(frame, composition.paint, composition.hops, features)
        progress = _with_repaints(progress, composition, len(jobs))
        self._references, self._progress = _remembered(references, matches, last, progress, brief)
        self._seen = Seen(now if keyframe or not self._seen else self._seen.keyframe, now)
        self.epoch = epoch
        return [_output(last, epoch, composition, matches, keyframe=keyframe, painted_pixels=painted_pixels)]

    def finish(self) -> Step:
        """The outputs that are still to come after the last frame: none, as nothing looks ahead yet."""
        yield from ()
        return []

    def snapshot(self) -> bytes:
        """The state between two steps. Raises SnapshotError if it is too large."""
        return snapshot.dump(State(self.brief, self.size, self.epoch, self._references, self._progress))

    def restore(self, data: bytes) -> None:
        """Goes on from a snapshot as if nothing had happened. Raises SnapshotError; the session is then as before."""
        state = snapshot.load(data)
        if state.size != self.size:
            raise snapshot.SnapshotError(f"the snapshot's canvas is {state.size}, this session's {self.size}")
        self.brief, self.epoch = state.brief, state.epoch
        self._references, self._progress = state.references, state.progress
        self._seen = None
        if self._flow and state.references:
            self._seen = Seen(*(glance(state.references[name].frame.bgr) for name in ("keyframe", "last")))

    def _alone(self, frame: Frame) -> Step:
        """Paints a frame without flow: as a keyframe, from which nothing is remembered."""
        number = self._progress.next_job
        [painted] = yield from _painted([_keyframe_job(frame, self.epoch, number, self.brief)])
        self._progress = Progress(next_job=number + 1)
        whole, pixels = Composition.of(painted), painted.shape[0] * painted.shape[1]
        last = Reference(frame, painted, whole.hops)
        return [_output(last, self.epoch, whole, {}, keyframe=True, painted_pixels=pixels)]

    def _keyframe_due(self, frame: Frame, now: Glance, references: References, progress: Progress) -> bool:
        """Whether one was asked for, or the picture has left the last one, not sooner than the shortest gap."""
        brief = self.brief
        if not references or progress.rekey or self._seen is None:
            return True
        gap_s = float(frame.pts - references["keyframe"].frame.pts)
        if gap_s < brief.keyframe_gap_min_s:
            return False
        since = progress.many_holes_since
        if since is not None and frame.pts - since >= brief.hole_limit_s:
            return True
        threshold = keyframe_threshold(brief.keyframe_threshold, gap_s, brief.keyframe_gap_max_s)
        return edge_change(self._seen.keyframe.edges, now.edges) > threshold


def _encoded(frame: Frame, references: References) -> Generator[Ask, Any, tuple[Features, References]]:
    """The frame's features, and the references with theirs: those of a restored session have none yet."""
    bare = [name for name, reference in references.items() if reference.features is None]
    features, *others = yield Encode([frame.bgr, *(references[name].frame.bgr for name in bare)])
    found = {name: replace(references[name], features=each) for name, each in zip(bare, others, strict=True)}
    return features, references | found


def _matched(features: Features, references: References) -> Generator[Ask, Any, Matches]:
    """The match with each reference. The flow to the last frame leads on along the flow that was found from there."""
    if not references:
        return {}
    last = references["last"]
    [to_last] = yield MatchAsk(features, [_features(last)], [None])
    matches = {"last": to_last}
    others = []
    for name, reference in references.items():
        if reference.frame.index == last.frame.index:  # the same raw frame, so the same match
            matches[name] = to_last
        else:
            others.append(name)
    if others:
        guesses = [_led_on(to_last.flow, references[name].flow) for name in others]
        found = yield MatchAsk(features, [_features(references[name]) for name in others], guesses)
        matches |= dict(zip(others, found, strict=True))
    return matches


def _features(reference: Reference) -> Features:
    if reference.features is None:
        raise ValueError("a reference is matched before it is encoded")
    return reference.features


def _led_on(to_last: Flow, from_last: Flow | None) -> Flow:
    """The guess that leads to the last frame and on from there, on a coarse grid."""
    coarse = _coarse(to_last)
    return coarse if from_last is None else coarse + resample(from_last, coarse)


def _coarse(flow: Flow) -> Flow:
    h, w = flow.shape[:2]
    return scaled_flow(flow, (max(1, w // GUESS_SCALE), max(1, h // GUESS_SCALE)))


def _composed(frame: Frame, references: References, matches: Matches, brief: Brief) -> Composition:
    """The references warped to this frame and laid over each other.

    While a keyframe fades in, it lies on top by as much as it has come in, and once more below the one before it,
    for what that one does not explain.
    """
    layers = {
        name: warp(each.painted, each.hops, matches[name], threshold=brief.confidence, max_hops=brief.max_hops)
        for name, each in references.items()
    }
    fade = _fade(frame, references, brief) if "fading" in layers else 1.0
    order = [("keyframe", fade), ("fading", 1.0), ("keyframe", 1.0), ("patch", 1.0), ("last", 1.0)]
    if fade >= 1.0:
        order = [("keyframe", 1.0), ("patch", 1.0), ("last", 1.0)]
    return compose(
        [(layers[name], gain) for name, gain in order if name in layers], max_hops=brief.max_hops, feather=brief.feather
    )


def _fade(frame: Frame, references: References, brief: Brief) -> float:
    """How far the keyframe has come in, 0 to 1. It shows a little in its own frame already."""
    if not brief.fade_s:
        return 1.0
    since = frame.pts - references["keyframe"].frame.pts
    interval = frame.pts - references["last"].frame.pts
    return min(1.0, max(0.0, float(since + interval) / brief.fade_s))


def _with_holes(progress: Progress, composition: Composition | None, frame: Frame, brief: Brief) -> Progress:
    if composition is None or _share(composition.holes) <= brief.hole_limit:
        return replace(progress, many_holes_since=None)
    return progress if progress.many_holes_since is not None else replace(progress, many_holes_since=frame.pts)


def _share(mask: Mask) -> float:
    return np.count_nonzero(mask) / mask.size


def _keyframe_job(frame: Frame, epoch: int, number: int, brief: Brief) -> PaintJob:
    h, w = frame.bgr.shape[:2]
    return PaintJob(number, epoch, frame, brief, _seed(brief, frame), origin=(0, 0), size=(w, h))


def _hole_job(frame: Frame, epoch: int, number: int, brief: Brief, box: Box, composition: Composition) -> PaintJob:
    h, w = frame.bgr.shape[:2]
    crop = replace(frame, bgr=frame.bgr[box.slices])
    canvas, holes = composition.paint[box.slices], composition.holes[box.slices]
    return PaintJob(number, epoch, crop, brief, _seed(brief, frame), (box.x0, box.y0), (w, h), canvas, holes)


def _seed(brief: Brief, frame: Frame) -> int:
    return brief.seed + (frame.index if brief.vary_seed else 0)


def _painted(jobs: Sequence[PaintJob]) -> Generator[Ask, Any, list[Picture]]:
    """The painted pictures. Raises RefusedError with the painter's code if one is missing."""
    done: list[PaintDone] = yield PaintAsk(jobs)
    pictures = []
    for each in done:
        if each.image is None:
            raise RefusedError(each.error or Code.PAINTER_FAILED, each.why or "the painter gave no picture")
        pictures.append(each.image)
    return pictures


def _with_keyframe(
    references: References, matches: Matches, fresh: Reference, brief: Brief
) -> tuple[References, Matches]:
    """The references and matches with a fresh keyframe, the one before it fading if the Brief has it fade."""
    references, matches = dict(references), dict(matches)
    for gone in ("fading", "patch"):
        references.pop(gone, None)
        matches.pop(gone, None)
    if "keyframe" in references and brief.fade_s:
        references["fading"], matches["fading"] = references["keyframe"], matches["keyframe"]
    references["keyframe"], matches["keyframe"] = fresh, Match.identity(fresh.hops.shape)
    return references, matches


def _repainted(
    composition: Composition, boxes: Sequence[Box], repaints: Sequence[Picture], feather: int
) -> Composition:
    """The composition with its holes painted: within them alone, with a soft seam."""
    if not boxes:
        return composition
    paint, weight = composition.paint.copy(), seam(composition.holes, feather)
    for box, repaint in zip(boxes, repaints, strict=True):
        paint[box.slices] = lay_over(paint[box.slices], repaint, weight[box.slices])
    hops = np.where(weight > 0.5, np.uint8(0), composition.hops)
    return replace(composition, paint=paint, hops=hops)


def _with_repaints(progress: Progress, composition: Composition, jobs: int) -> Progress:
    repainted = progress.repainted + _share(composition.holes)
    return replace(progress, repainted=repainted, next_job=progress.next_job + jobs, rekey=False)


def _remembered(
    references: References, matches: Matches, last: Reference, progress: Progress, brief: Brief
) -> tuple[References, Progress]:
    """What the next frame is warped from: each reference with the flow that leads there, and the new last output."""
    kept = {
        name: replace(each, flow=_coarse(matches[name].flow)) for name, each in references.items() if name != "last"
    }
    if "fading" in kept and _fade(last.frame, references, brief) >= 1.0:
        del kept["fading"]
    if progress.repainted >= PATCH_SHARE:
        kept["patch"] = last
        progress = replace(progress, repainted=0.0)
    return kept | {"last": last}, progress


def _output(
    last: Reference, epoch: int, composition: Composition, matches: Matches, *, keyframe: bool, painted_pixels: int
) -> Output:
    return Output(
        index=last.frame.index,
        pts=last.frame.pts,
        epoch=epoch,
        picture=last.painted,
        provenance=Provenance.WARPED if "last" in matches else Provenance.PAINTED,
        keyframe=keyframe,
        holes=composition.holes,
        hops=composition.hops,
        match=matches["keyframe"] if "last" in matches else None,
        painted_pixels=painted_pixels,
    )
