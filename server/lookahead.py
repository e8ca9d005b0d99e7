"""Frames that wait for what comes: their holes show what a later frame shows there, back along the flow.

Pure helpers of a step. Nothing here assigns a session's fields.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..engines.base import Features, Flow, Frame, Mask, Match, MatchRequest
from ..engines.compose import Composition, Source, brought_back, come_in, led, on_grid, solid
from ..proto.brief import Brief
from ..proto.limits import MAX_WAITING, MAX_WAITING_BYTES
from .asks import Ask, MatchAsk, Output
from .rolling import Scale, coarse, led_on, share, sources_of
from .state import References, State

# What is still a hole when frames go out came and went between two paintings. It is painted in the frame that shows
# most of it, and seen in the others; but not what is seen for less than so many seconds on end, as it would flash, nor
# less than this share of the canvas, nor in more frames than so many at a time.
LASTING_S = 0.2
WORTH_PAINTING = 0.01
MOST_PAINTINGS = 4

# So many frames before the last one, and again after as many, a frame is sought in the last one itself, as what is led
# on from frame to frame strays and is worn. To seek it in all takes half as long again, and is no steadier. But of a
# painter that is quick frames wait for longer: each is sought, which leaves a seventh less of `--stills` unexplained.
SOUGHT_EVERY = 8
SOUGHT_EVERY_AT_ONCE = 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame that is painted but for its holes [H, W], which a later one may show. output: what else it is.

    state: the session's before it came, from which on it can be painted again. before, after: where it is seen in the
    frame before and in the one after it, as far as that is known and of use.
    """

    frame: Frame
    features: Features
    composition: Composition
    output: Output
    state: State
    before: Match | None = None
    after: Match | None = None

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        made = self.composition
        matches = {id(each): each for each in (self.output.match, self.before, self.after) if each is not None}
        maps = sum(each.flow.nbytes + each.confidence.nbytes for each in matches.values())
        held = (self.frame.bgr, self.features, made.paint, made.holes, made.origins, self.output.holes)
        return maps + sum(each.nbytes for each in held)


def over(waiting: Sequence[Waiting], brief: Brief) -> bool:
    """Whether the wait is over, for want of time, or of room."""
    return _full(waiting) or not 0 <= _waited_s(waiting[0], waiting) < brief.lookahead_s


def fades(brief: Brief) -> bool:
    """Whether keyframes come in over the frames before them: if frames wait, and keyframes are to replace all paint."""
    replaces = brief.keyframes == "marked" or brief.keyframe_entry == "fade"
    return replaces and brief.lookahead_s > 0 and brief.fade_s > 0


def content(waiting: Sequence[Waiting], brief: Brief) -> int:
    """How many of the first frames wait for nothing: they have no holes, and no keyframe fades in over them."""
    count = 0
    for each in waiting:
        if _waits(each, waiting, brief):
            break
        count += 1
    return count


def going(waiting: Sequence[Waiting], brief: Brief) -> int:
    """How many of the first frames go out once the wait is over: not those that a keyframe may yet come in over.

    For want of room at least half of them, as to look back through all takes long.
    """
    if _waited_s(waiting[0], waiting) < 0:  # time has begun anew
        return len(waiting)
    count = len(waiting) - sum(_may_fade(each, waiting, brief) for each in waiting)
    return max(count, (len(waiting) + 1) // 2) if _full(waiting) else count


def passed(waiting: Sequence[Waiting], brief: Brief) -> int:
    """How many of the first frames wait no longer, of a quick painter: for want of time or room, or for nothing.

    They go one by one: nothing is painted meanwhile that a look back would find, and what comes reaches back as far as
    it can.
    """
    if _waited_s(waiting[0], waiting) < 0:  # time has begun anew
        return len(waiting)
    left, room = len(waiting), MAX_WAITING_BYTES - sum(each.nbytes for each in waiting)
    for each in waiting:
        may_wait = left < MAX_WAITING and room > 0 and _waited_s(each, waiting) < brief.lookahead_s
        if may_wait and _waits(each, waiting, brief):
            break
        left, room = left - 1, room + each.nbytes
    return len(waiting) - left


def _full(waiting: Sequence[Waiting]) -> bool:
    return len(waiting) >= MAX_WAITING or sum(each.nbytes for each in waiting) >= MAX_WAITING_BYTES


def _waits(each: Waiting, waiting: Sequence[Waiting], brief: Brief) -> bool:
    return bool(each.composition.holes.any()) or _may_fade(each, waiting, brief)


def _may_fade(each: Waiting, waiting: Sequence[Waiting], brief: Brief) -> bool:
    return fades(brief) and 0 <= _waited_s(each, waiting) < min(brief.fade_s, brief.lookahead_s)


def _waited_s(each: Waiting, waiting: Sequence[Waiting]) -> float:
    return float(waiting[-1].frame.pts - each.frame.pts)  # as the Brief's: 1/25 s is 0.04 s


def looked_back(
    waiting: Sequence[Waiting], references: References, scale: Scale, brief: Brief, *, every: int = SOUGHT_EVERY
) -> Generator[Ask, Any, list[Waiting]]:
    """The frames, in their order, with what the later ones show of their holes; references: as the last one left them.

    From the last one back, each is sought in the one after it, and after so many (`every`, see SOUGHT_EVERY) in the
    last one itself. What none shows stays a hole.
    """
    last = waiting[-1]
    first = next((place for place, each in enumerate(waiting[:-1]) if each.composition.holes.any()), len(waiting) - 1)
    sources = sources_of(references, exact=True)
    done = [last]
    to_last: Flow | None = None  # from the frame in hand, on a coarse grid
    for each in reversed(waiting[first:-1]):
        after = done[-1]
        [to_after] = yield MatchAsk(MatchRequest(each.features, [after.features], [None]), scale.flow)
        later = [(after, to_after)]
        to_last = led_on(coarse(to_after.flow), to_last)
        if len(done) > 1 and len(done) % every == 0:
            [direct] = yield MatchAsk(MatchRequest(each.features, [last.features], [to_last]), scale.flow)
            to_last = coarse(direct.flow)
            later.insert(0, (last, direct))
        done.append(replace(_with(each, later, sources, brief), after=to_after))
    return [*waiting[:first], *done[::-1]]


def faded_in(
    waiting: Sequence[Waiting], references: References, scale: Scale, brief: Brief
) -> Generator[Ask, Any, list[Waiting]]:
    """The frames, in their order, with the keyframe that the last one is coming in over them; it is whole in its own.

    It takes Brief.fade_s, or as long as there are frames.
    """
    keyframe, last, done = references.keyframe, waiting[-1], list(waiting)
    if keyframe is None or len(waiting) < 2:
        return done
    source = {keyframe.number: sources_of(references, exact=True)[keyframe.number]}
    begun = waiting[0].frame.pts - (last.frame.pts - waiting[-2].frame.pts)  # the last frame that does not wait
    fade_s = min(brief.fade_s, float(last.frame.pts - begun))
    if fade_s <= 0:  # time stands still, or has begun anew
        return done
    near: Flow | None = None  # from the frame in hand into the keyframe, on a coarser grid
    for i in range(len(waiting) - 2, -1, -1):
        each = waiting[i]
        come = 1 - float(last.frame.pts - each.frame.pts) / fade_s
        if not 0 < come < 1:
            break
        guess = near if each.after is None else led_on(coarse(each.after.flow), near)
        [match] = yield MatchAsk(MatchRequest(each.features, [last.features], [guess]), scale.flow)
        near = coarse(match.flow)
        raw = each.frame.bgr if brief.follow_light else None
        known: dict[str, Any] = {"threshold": brief.confidence, "feather": brief.feather, "raw": raw}
        done[i] = replace(each, composition=come_in(source, each.composition, keyframe.number, match, come, **known))
    return done


def lasting(waiting: Sequence[Waiting], brief: Brief) -> tuple[int, Mask] | None:
    """The place of the frame that shows most of what is a hole in the others, and where [H, W].

    None: there is no hole that is worth a painting. Frames know where they are seen in their neighbours.
    """
    span_s = float(waiting[-1].frame.pts - waiting[0].frame.pts)
    if len(waiting) < 2 or span_s <= 0:
        return None
    if not any(share(_open(each)) >= WORTH_PAINTING for each in waiting):
        return None
    least = LASTING_S * (len(waiting) - 1) / span_s
    before = _runs(waiting, [each.before for each in waiting], brief)
    after = _runs(waiting[::-1], [each.after for each in waiting[::-1]], brief)[::-1]
    most, found = 0, None
    for place, (earlier, later) in enumerate(zip(before, after, strict=True)):
        frames = cv2.add(earlier, later, dtype=cv2.CV_16U) - 1  # this one is in both
        there = solid((earlier > 0) & (frames >= least))
        shown = int(frames[there].sum())
        if shown > most and share(there) >= WORTH_PAINTING:
            most, found = shown, (place, on_grid(there, waiting[place].composition.holes.shape))
    return found


def _open(each: Waiting) -> Mask:
    """Its holes, on the flow's grid [h, w]."""
    return on_grid(each.composition.holes, each.composition.hops.shape)


def _runs(waiting: Sequence[Waiting], matches: Sequence[Match | None], brief: Brief) -> list[NDArray[np.uint8]]:
    """In how many frames in a row, up to each of these, what is a hole there is one, [h, w]; matches: with the last."""
    runs: list[NDArray[np.uint8]] = []
    for each, match in zip(waiting, matches, strict=True):
        run = _open(each).astype(np.uint8)
        if runs and match is not None:
            run = cv2.copyTo(cv2.add(run, led(runs[-1], match, brief.confidence)), run)
        runs.append(run)
    return runs


def spread(waiting: Sequence[Waiting], place: int, number: int, references: References, brief: Brief) -> list[Waiting]:
    """The frames, in their order, with what was painted in one of them: from there on both ways, while it is seen.

    number: of the reference that was painted. What it does not show stays a hole.
    """
    source = {number: sources_of(references, exact=True)[number]}
    done = list(waiting)
    for way in (range(place - 1, -1, -1), range(place + 1, len(done))):
        near = done[place]
        for i in way:
            match = done[i].after if i < place else done[i].before
            shown = done[i] if match is None else _with(done[i], [(near, match)], source, brief)
            if shown.composition is done[i].composition:  # it shows nothing there, and so nothing farther on
                break
            done[i] = near = shown
    return done


def _with(each: Waiting, later: Sequence[tuple[Waiting, Match]], sources: dict[int, Source], brief: Brief) -> Waiting:
    known = [(other.composition.origins.among(list(sources)), match) for other, match in later]
    composition = brought_back(
        sources,
        each.composition,
        known,
        threshold=brief.confidence,
        max_hops=brief.max_hops,
        feather=brief.feather,
        raw=each.frame.bgr if brief.follow_light else None,
    )
    return replace(each, composition=composition, output=replace(each.output, holes=composition.holes))
