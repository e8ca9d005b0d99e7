"""Frames that wait for what comes: their holes show what a later frame shows there, back along the flow.

Pure helpers of a step. Nothing here assigns a session's fields.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..engines.base import Features, Flow, Frame, Match, MatchRequest
from ..engines.compose import Composition, Source, brought_back
from ..proto.brief import Brief
from .asks import Ask, MatchAsk, Output
from .rolling import Scale, coarse, led_on, sources_of
from .state import References

# No more frames wait at a time: a client is given credit for them, which has an end.
MOST_WAITING = 512
# Nor so many bytes: a frame of 768x512 pixels holds some 12 MB while it waits.
MOST_WAITING_BYTES = 2**30

# So many frames before the last one, and again after as many, a frame is sought in the last one itself, as what is led
# on from frame to frame strays and is worn. To seek it in all takes half as long again, and is no steadier.
SOUGHT_EVERY = 8


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame that is painted but for its holes [H, W], which a later one may show. output: what else it is."""

    frame: Frame
    features: Features
    composition: Composition
    output: Output

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        made, match = self.composition, self.output.match
        maps = 0 if match is None else match.flow.nbytes + match.confidence.nbytes
        held = (self.frame.bgr, self.features, made.paint, made.holes, made.origins, self.output.holes)
        return maps + sum(each.nbytes for each in held)


def over(waiting: Sequence[Waiting], brief: Brief) -> bool:
    """Whether the wait is over: for want of holes, of time, or of room. What has none to begin with does not wait."""
    waited_s = float(waiting[-1].frame.pts - waiting[0].frame.pts)  # as the Brief's: 1/25 s is 0.04 s
    full = len(waiting) >= MOST_WAITING or sum(each.nbytes for each in waiting) >= MOST_WAITING_BYTES
    return full or not waiting[0].composition.holes.any() or not 0 <= waited_s < brief.lookahead_s


def looked_back(
    waiting: Sequence[Waiting], references: References, scale: Scale, brief: Brief
) -> Generator[Ask, Any, list[Waiting]]:
    """The frames, in their order, with what the later ones show of their holes; references: as the last one left them.

    From the last one back, each is sought in the one after it, and now and then in the last one itself. What none shows
    stays a hole.
    """
    last = waiting[-1]
    sources = sources_of(references, exact=True)
    done = [last]
    to_last: Flow | None = None  # from the frame in hand, on a coarse grid
    for each in reversed(waiting[:-1]):
        after = done[-1]
        [to_after] = yield MatchAsk(MatchRequest(each.features, [after.features], [None]), scale.flow)
        later = [(after, to_after)]
        to_last = led_on(coarse(to_after.flow), to_last)
        if len(done) % SOUGHT_EVERY == 0:
            [direct] = yield MatchAsk(MatchRequest(each.features, [last.features], [to_last]), scale.flow)
            to_last = coarse(direct.flow)
            later.insert(0, (last, direct))
        done.append(_with(each, later, sources, brief))
    return done[::-1]


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
