"""Frames of a shot that nothing is painted of yet: they wait for its first keyframe, and are painted back from it.

The film runs backward for that, in a session of its own. Pure helpers of a step. Nothing here assigns a session's
fields.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..engines.base import Frame, Habits
from ..engines.blend import cross_faded
from ..engines.compose import Origins
from ..proto.brief import Brief
from ..proto.errors import RefusedError
from ..proto.limits import MAX_WAITING, MAX_WAITING_BYTES
from ..proto.messages import Provenance
from .asks import Ask, Output, PaintAsk, Step
from .outputs import paintings, whole_output
from .rolling import keyframe_job
from .state import Last, Progress, Reference, References, State

# What a frame holds once it is painted, until the first one is and all can go, bytes a pixel: the raw and the painted
# picture, holes, hops, and the match.
PAINTED_BYTES = 20


@dataclass(frozen=True, slots=True)
class Unpainted:
    """A frame that waits for the first keyframe of its shot. state: the session's before it came."""

    frame: Frame
    state: State

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.frame.bgr.nbytes + sum(each.nbytes for each in self.frame.controls.values())


def awaited(frame: Frame, references: References, progress: Progress, brief: Brief, habits: Habits) -> bool:
    """Whether a frame waits for a keyframe that comes after it, as nothing of its shot is painted yet.

    Not for a painter that takes its time: frames that wait in vain are each painted in full.
    """
    marked = brief.keyframes == "marked" and not frame.keyframe and not progress.rekey
    return references.keyframe is None and marked and brief.lookahead_s > 0 and habits.at_once


def going(unpainted: Sequence[Unpainted], brief: Brief) -> int:
    """How many of the first frames have waited in vain, for want of time, or of room."""
    last = unpainted[-1].frame
    pixels = last.bgr.shape[0] * last.bgr.shape[1]
    if len(unpainted) > 1 and last.pts < unpainted[-2].frame.pts:  # time has begun anew
        return len(unpainted) - 1
    room = min(MAX_WAITING, MAX_WAITING_BYTES // (PAINTED_BYTES * pixels))
    waited_s = [float(last.pts - each.frame.pts) for each in unpainted]  # as the Brief's: 1/25 s is 0.04 s
    in_time = [each for each in waited_s if each < brief.lookahead_s]
    return len(unpainted) - min(len(in_time), room)


def start(keyframe: Reference, state: State) -> State:
    """The state that a film begins with which runs backward from a keyframe; state: of the one that runs forward.

    The keyframe is there, so nothing waits for what comes; and a shot has no cuts.
    """
    alone = replace(keyframe, frame=_turned(keyframe.frame), replaces=False)
    last = Last(alone.frame, alone.painted, Origins.of(alone.number, alone.frame.bgr.shape), alone.features)
    return replace(
        state,
        brief=state.brief.changed({"lookahead_s": 0.0, "cut_detection": False}),
        references=References(last, {alone.number: alone}, numbered=alone.number),
        progress=Progress(next_job=state.progress.next_job),
    )


def followed(step: Callable[[Frame], Step], unpainted: Sequence[Unpainted]) -> Generator[Ask, Any, list[Output]]:
    """What goes out of these frames, in their order. step: of the film that runs backward, which may fail."""
    outputs: list[Output] = []
    for each in reversed(unpainted):
        outputs += yield from _turned_back(step(_turned(each.frame)))
    return outputs[::-1]


def _turned_back(step: Step) -> Step:
    """A step of a film that runs backward: what the painter and the client are told are the times as they are."""
    answer: Any = None
    while True:
        try:
            ask = step.send(answer)
        except StopIteration as end:
            outputs: list[Output] = end.value
            return [replace(each, pts=-each.pts) for each in outputs]
        if isinstance(ask, PaintAsk):
            ask = PaintAsk([replace(job, frame=_turned(job.frame)) for job in ask.jobs])
        answer = yield ask  # an engine that fails here fails all of it


def _turned(frame: Frame) -> Frame:
    """The frame in a film that runs the other way."""
    return replace(frame, pts=-frame.pts)


def each_alone(
    unpainted: Sequence[Unpainted], epoch: int, brief: Brief, progress: Progress
) -> Generator[Ask, Any, tuple[list[Output], Progress]]:
    """What goes out of frames that have waited in vain: each painted in full, or as it is. It does not fail."""
    outputs = []
    for frame in (each.frame for each in unpainted):
        job = keyframe_job(frame, epoch, brief, progress, References())
        progress = replace(progress, next_job=job.id + 1)
        try:
            [(painted, _)] = yield from paintings([job])
            outputs.append(whole_output(frame, painted, epoch, keyframe=False))
        except RefusedError:
            raw = whole_output(frame, frame.bgr, epoch, keyframe=False)
            outputs.append(replace(raw, provenance=Provenance.HELD, painted_pixels=0))
    return outputs, progress


def joined(
    outputs: Sequence[Output], unpainted: Sequence[Unpainted], before: Progress, progress: Progress
) -> Generator[Ask, Any, tuple[list[Output], Progress]]:
    """The outputs of these frames; if others of the shot went out alone, they come in over what is like those.

    before: where the film stood then. It takes Brief.fade_s.
    """
    outputs, state = list(outputs), unpainted[0].state
    if outputs[0].epoch != state.epoch or state.references.last is None:
        return outputs, progress
    brief, since = state.brief, state.references.last.frame.pts
    coming = {place: each for place, each in enumerate(unpainted) if 0 < float(each.frame.pts - since) < brief.fade_s}
    as_before = replace(before, next_job=progress.next_job)
    alone, as_before = yield from each_alone(list(coming.values()), state.epoch, brief, as_before)
    for place, each in zip(coming, alone, strict=True):
        come = float(each.pts - since) / brief.fade_s
        outputs[place] = replace(outputs[place], picture=cross_faded(each.picture, outputs[place].picture, come))
    return outputs, replace(progress, next_job=as_before.next_job)
