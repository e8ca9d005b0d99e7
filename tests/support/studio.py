"""Runs a Session without a daemon, and painters whose marks are easy to find again."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from warpaint.engines.base import FlowEngine, Frame, PaintDone, Painter, PaintJob, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.server.asks import Ask, Encode, MatchAsk, Output, Step, run
from warpaint.server.live import LiveSession
from warpaint.server.session import Session

RATE = 25


@dataclass
class Grain:
    """Paints the raw picture with a fixed grain of its seed over it: texture that a warp must carry along."""

    holes_colour: tuple[int, int, int] | None = None  # BGR; None: holes are painted as keyframes are
    jobs: list[PaintJob] = field(default_factory=list)
    fail_at: int | None = None  # the number of the call that gives no picture
    calls: int = 0

    looks = ("grain",)

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        self.calls += 1
        self.jobs += jobs
        if self.calls - 1 == self.fail_at:
            return [PaintDone(job.id, job.epoch, None, error=Code.PAINTER_FAILED, why="out of paint") for job in jobs]
        return [PaintDone(job.id, job.epoch, self._picture(job)) for job in jobs]

    def _picture(self, job: PaintJob) -> Picture:
        if job.holes is not None and self.holes_colour is not None:
            return np.full_like(job.frame.bgr, self.holes_colour)
        width, height = job.size
        noise = np.random.default_rng(job.seed).integers(-40, 40, (height, width, 1))
        (x, y), (h, w) = job.origin, job.frame.bgr.shape[:2]
        return np.clip(job.frame.bgr.astype(int) + noise[y : y + h, x : x + w], 0, 255).astype(np.uint8)


def drive(session: Session | LiveSession, frame: Frame, flow: FlowEngine, painter: Painter) -> list[Output]:
    """The outputs of one step, its asks answered."""
    return answered(session.step(frame), flow, painter)


def answered(step: Step, flow: FlowEngine, painter: Painter) -> list[Output]:
    """What a step gives, or what is to come after the last one. Of an engine that refuses, it is told that."""
    return run(step, lambda ask: _answer(ask, flow, painter))


def _answer(ask: Ask, flow: FlowEngine, painter: Painter) -> Any:
    if isinstance(ask, Encode):
        return flow.encode(ask.pictures)
    if isinstance(ask, MatchAsk):
        return flow.match([ask.request])[0]
    return painter.paint(ask.jobs, lambda: False)


def as_frames(pictures: Iterable[NDArray[np.uint8]], *, rate: int = RATE) -> list[Frame]:
    """Pictures as numbered frames."""
    return [Frame(i, Fraction(i, rate), picture) for i, picture in enumerate(pictures)]


def paint(
    frames: Sequence[Frame], painter: Painter, *, session: Session | None = None, flow: bool = True, **brief: Any
) -> list[Output]:
    """The outputs of a whole film."""
    height, width = frames[0].bgr.shape[:2]
    session = session or Session(Brief(look="grain", **brief), (width, height), flow=flow)
    engine = Dis()
    return [output for frame in frames for output in drive(session, frame, engine, painter)]
