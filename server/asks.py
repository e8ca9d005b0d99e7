"""What a session asks of the engines while it steps, and what a step gives. Plain data, shared by both pacings."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..engines.base import Hops, Mask, Match, MatchRequest, PaintJob, Picture
from ..proto.errors import RefusedError
from ..proto.messages import Provenance


@dataclass(frozen=True, slots=True)
class Encode:
    """Asks for the features of pictures of one size. Answer: list[Features]."""

    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class MatchAsk:
    """Asks for the match of the target with each source, on a grid of `size` (W, H). Answer: list[Match]."""

    request: MatchRequest
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PaintAsk:
    """Asks for jobs to be painted, in one call. Answer: list[PaintDone], one a job, in order."""

    jobs: Sequence[PaintJob]


FlowAsk = Encode | MatchAsk
Ask = FlowAsk | PaintAsk
Step = Generator[Ask, Any, "list[Output]"]


def run(step: "Step", answer: Callable[[Ask], Any]) -> "list[Output]":
    """The outputs of a step whose asks are answered at once: for one session alone, without a driver.

    A RefusedError of `answer` is raised in the step, as the driver does. Raises it if the step does not catch it.
    """
    answered: Any = None
    failure: RefusedError | None = None
    while True:
        try:
            ask = step.send(answered) if failure is None else step.throw(failure)
        except StopIteration as end:
            outputs: list[Output] = end.value
            return outputs
        answered = failure = None
        try:
            answered = answer(ask)
        except RefusedError as error:
            failure = error


@dataclass(frozen=True, slots=True)
class Output:
    """One painted frame at the working size, and its maps. `match` is that of the keyframe; None: all fresh paint."""

    index: int
    pts: Fraction
    epoch: int
    raw: Picture  # the frame, at the same size
    picture: Picture
    provenance: Provenance
    keyframe: bool  # a keyframe was painted for it, or shows for the first time; it may fade in
    holes: Mask
    hops: Hops
    match: Match | None
    painted_pixels: int
