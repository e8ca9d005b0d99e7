"""What is seen again: keyframes that are seen no more are set aside, and a frame that is like one is found in it.

So what comes back after a cut, or from behind something, is painted as it was, and not anew. Pure helpers of a step.
Nothing here assigns a session's fields.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np

from ..engines.base import Features, Frame, Mask, Match, MatchRequest
from ..engines.compose import ENOUGH_TRUST, Origins, trust
from ..engines.detect import Glance, edge_change, glance, is_cut
from ..engines.grid import inside
from ..proto.brief import Brief
from .asks import Ask, Encode, MatchAsk
from .rolling import Matches, Scale, Seen, coarse, share
from .state import Last, Progress, Reference, References

# Idle keyframes are looked at before holes are painted that are so large a share of the canvas, and again after so many
# seconds: to seek a frame in one takes a third of its time.
WORTH_RECALLING = 0.02
RECALL_GAP_S = 0.2


def set_aside(idle: Sequence[Reference], gone: Sequence[Reference], most: int) -> tuple[Reference, ...]:
    """What is idle, with keyframes that have become so. Of more than so many, of two that are alike the older goes."""
    held = [*idle, *(replace(each, flow=None, fine=None, replaces=False) for each in gone if each.keyframe)]
    seen = [glance(each.frame.bgr) for each in held] if len(held) > most else []
    while len(held) > most:
        pairs = combinations(range(len(held)), 2)
        older, _ = min(pairs, key=lambda pair: edge_change(seen[pair[0]].edges, seen[pair[1]].edges), default=(0, 0))
        del held[older], seen[older]
    return tuple(held)


def due(holes: Mask, references: References, progress: Progress, pts: Fraction) -> bool:
    """Whether a frame's holes are worth looking for what is seen there in idle keyframes."""
    since = progress.recalled_at
    rests = since is None or not since <= pts < since + Fraction(RECALL_GAP_S)
    return rests and may(references, progress) and references.coming is None and share(holes) >= WORTH_RECALLING


def may(references: References, progress: Progress) -> bool:
    """Whether idle keyframes may be seen: there are some, of the same words, and nothing was asked for anew."""
    return bool(references.idle) and not progress.rekey and progress.leaving is None


def after_cut(
    frame: Frame, features: Features, now: Glance, references: References, scale: Scale, brief: Brief
) -> Generator[Ask, Any, tuple[References, Matches, Seen] | None]:
    """The references and matches of a frame that begins a shot that an idle keyframe shows; None: none does.

    Also what the detectors keep: that keyframe counts from this frame on.
    """
    chosen = _most_alike(references.idle, now)
    if chosen is None:
        return None
    again, match = yield from _sought(chosen, 1, features, scale)
    if share(_known(match, brief)) < 1 - brief.hole_limit:
        return None
    again = replace(again, frame=replace(again.frame, pts=frame.pts))
    shape = match.confidence.shape
    nothing = Match(np.zeros_like(match.flow), np.zeros_like(match.confidence))
    last = Last(frame.alone, frame.bgr, Origins.of(0, shape), features)
    idle = tuple(each for each in references.idle if each is not chosen)
    seen = Seen(glance(again.frame.bgr), frame.pts, now)
    return References(last, {again.number: again}, idle), Matches(nothing, {again.number: match}), seen


def for_holes(
    features: Features,
    now: Glance,
    holes: Mask,
    references: References,
    matches: Matches,
    scale: Scale,
    brief: Brief,
) -> Generator[Ask, Any, tuple[References, Matches] | None]:
    """The references and matches with the idle keyframe that is most like a frame; None: it shows none of its holes."""
    chosen = _most_alike(references.idle, now)
    if chosen is None:
        return None
    again, match = yield from _sought(chosen, references.free_number, features, scale)
    if share(_known(match, brief) & holes) < WORTH_RECALLING / 2:
        return None
    idle = tuple(each for each in references.idle if each is not chosen)
    # The oldest of all. What has come in does not come in over it again.
    kept = {again.number: again, **{n: replace(each, replaces=False) for n, each in references.kept.items()}}
    found = {**matches.found, again.number: match}
    return replace(references, kept=kept, idle=idle), replace(matches, found=found)


def _most_alike(references: Sequence[Reference], now: Glance) -> Reference | None:
    """Of those that may be of the same shot: to which the film does not cut."""
    seen = [(glance(each.frame.bgr), each) for each in references]
    alike = [(edge_change(before.edges, now.edges), each) for before, each in seen if not is_cut(before, now)]
    return min(alike, key=lambda pair: pair[0])[1] if alike else None


def _sought(
    reference: Reference, number: int, features: Features, scale: Scale
) -> Generator[Ask, Any, tuple[Reference, Match]]:
    """An idle keyframe under a new number, and where the frame is seen in it."""
    source = reference.features
    if source is None:  # of a restored session
        [source] = yield Encode([scale.sight(reference.frame.bgr)])
    [match] = yield MatchAsk(MatchRequest(features, [source], [None]), scale.flow)
    return replace(reference, number=number, features=source, flow=coarse(match.flow), found=True), match


def _known(match: Match, brief: Brief) -> Mask:
    """Where a frame is seen in a keyframe, [h, w]."""
    return (trust(match.confidence, brief.confidence) >= ENOUGH_TRUST) & inside(match.flow)
