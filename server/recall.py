"""What is seen again: keyframes that are seen no more are set aside, and a frame that is like one is found in it.

So what comes back after a cut, or from behind something, is painted as it was, and not anew. Pure helpers of a step.
Nothing here assigns a session's fields.
"""

from collections.abc import Callable, Generator, Sequence
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
# And not in more of them than so many, those that are most alike.
MOST_SOUGHT = 2


def set_aside(idle: Sequence[Reference], gone: Sequence[Reference], most: int) -> tuple[Reference, ...]:
    """What is idle, with keyframes that have become so. Of more than so many, of two that are alike the older goes."""
    held = [*idle, *(replace(each, flow=None, fine=None, replaces=False) for each in gone if each.keyframe)]
    held = [replace(each, glance=_glance(each)) for each in held] if most else []
    while len(held) > most:
        pairs = combinations(range(len(held)), 2)
        older, _ = min(pairs, key=lambda pair: _unlike(held[pair[0]], _glance(held[pair[1]])))
        del held[older]
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
    found = yield from _found(
        references, now, features, scale, lambda match: share(_known(match, brief)), least=1 - brief.hole_limit
    )
    if found is None:
        return None
    again, match = found
    again = replace(again, frame=replace(again.frame, pts=frame.pts))
    shape = match.confidence.shape
    nothing = Match(np.zeros_like(match.flow), np.zeros_like(match.confidence))
    last = Last(frame.alone, frame.bgr, Origins.of(0, shape), features)
    seen = Seen(_glance(again), frame.pts, now)
    references = replace(_without(references, again), last=last, kept={again.number: again})
    return references, Matches(nothing, {again.number: match}), seen


def for_holes(
    features: Features,
    now: Glance,
    holes: Mask,
    references: References,
    matches: Matches,
    scale: Scale,
    brief: Brief,
) -> Generator[Ask, Any, tuple[References, Matches] | None]:
    """The references and matches with an idle keyframe that shows enough of a frame's holes; None: none does."""
    found = yield from _found(
        references, now, features, scale, lambda match: share(_known(match, brief) & holes), least=WORTH_RECALLING / 2
    )
    if found is None:
        return None
    again, match = found
    # The oldest of all. What has come in does not come in over it again.
    kept = {again.number: again, **{n: replace(each, replaces=False) for n, each in references.kept.items()}}
    return replace(_without(references, again), kept=kept), replace(
        matches, found={**matches.found, again.number: match}
    )


def _found(
    references: References,
    now: Glance,
    features: Features,
    scale: Scale,
    worth: Callable[[Match], float],
    *,
    least: float,
) -> Generator[Ask, Any, tuple[Reference, Match] | None]:
    """Of the idle keyframes that are most like a frame the one that is worth most, under a new number; and its match.

    None: the film cuts to the frame from all of them, or none is worth so much.
    """
    alike = [each for each in references.idle if not is_cut(_glance(each), now)]
    alike.sort(key=lambda each: _unlike(each, now))
    best: tuple[float, Reference, Match] | None = None
    for each in alike[:MOST_SOUGHT]:
        source = each.features
        if source is None:  # of a restored session
            [source] = yield Encode([scale.sight(each.frame.bgr)])
        [match] = yield MatchAsk(MatchRequest(features, [source], [None]), scale.flow)
        value = worth(match)
        if value >= least and (best is None or value > best[0]):
            best = value, replace(each, features=source), match
    if best is None:
        return None
    _, again, match = best
    return replace(again, number=references.free_number, flow=coarse(match.flow), found=True), match


def _without(references: References, again: Reference) -> References:
    """The references when one that was idle is so no more."""
    idle = tuple(each for each in references.idle if each.painted is not again.painted)
    return replace(references, idle=idle, numbered=again.number)


def _glance(reference: Reference) -> Glance:
    return reference.glance or glance(reference.frame.bgr)


def _unlike(reference: Reference, now: Glance) -> float:
    return edge_change(_glance(reference).edges, now.edges)


def _known(match: Match, brief: Brief) -> Mask:
    """Where a frame is seen in a keyframe, [h, w]."""
    return (trust(match.confidence, brief.confidence) >= ENOUGH_TRUST) & inside(match.flow)
