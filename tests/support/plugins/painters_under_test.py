"""Third-party painters that inherit nothing of ours: one behaves, the others do not."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from warpaint.engines.base import PaintDone, PaintJob


class _Painter:
    looks: tuple[str, ...] = ("plain",)

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        return [PaintDone(job.id, job.epoch, self.picture(job)) for job in jobs]

    def picture(self, job: PaintJob) -> Any:
        raise NotImplementedError


class Negative(_Painter):
    """Behaves."""

    def picture(self, job: PaintJob) -> Any:
        return 255 - job.frame.bgr


class MarksTopLeft(_Painter):
    """Behaves: shows which corner it takes for the top left one."""

    def picture(self, job: PaintJob) -> Any:
        marked = np.zeros_like(job.frame.bgr)
        marked[:8, :8] = 255
        return marked


class Raises(_Painter):
    def picture(self, job: PaintJob) -> Any:
        raise RuntimeError("out of paint")


class WrongShape(_Painter):
    def picture(self, job: PaintJob) -> Any:
        return np.zeros((3, 3), np.uint8)


class Floats(_Painter):
    def picture(self, job: PaintJob) -> Any:
        return job.frame.bgr / 255.0


class Nothing(_Painter):
    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        return []


class WritesIntoInput(_Painter):
    def picture(self, job: PaintJob) -> Any:
        job.frame.bgr[:] = 0
        return job.frame.bgr


class Slow(_Painter):
    """Takes longer than the daemon allows, and does not listen when it is told to stop."""

    def picture(self, job: PaintJob) -> Any:
        time.sleep(3.0)
        return 255 - job.frame.bgr


class Unhurried(_Painter):
    """Takes a while over each picture, but less than the daemon allows."""

    def picture(self, job: PaintJob) -> Any:
        time.sleep(0.15)
        return 255 - job.frame.bgr


class FailsNow(_Painter):
    """Fails every third job."""

    count = 0

    def picture(self, job: PaintJob) -> Any:
        self.count += 1
        if self.count % 3 == 0:
            raise RuntimeError("out of paint")
        return 255 - job.frame.bgr


class NoPainter:
    pass


class CannotBeMade:
    def __init__(self) -> None:
        raise RuntimeError("no weights")


class NoLooks(_Painter):
    looks = ()


class LooksThatAreNoNames(_Painter):
    looks = (1, 2)  # type: ignore[assignment]


class MakesUpAnError(_Painter):
    """Reports a failure, with a code that there is not."""

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        return [PaintDone(job.id, job.epoch, None, error="tired", why="tired") for job in jobs]  # type: ignore[arg-type]


class SaysTooMuch(_Painter):
    def picture(self, job: PaintJob) -> Any:
        raise RuntimeError("out of paint " * 10_000)


class OfAnotherJob(_Painter):
    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        return [PaintDone(job.id + 1, job.epoch, job.frame.bgr) for job in jobs]


class Exits(_Painter):
    """Wants to end the process."""

    def picture(self, job: PaintJob) -> Any:
        raise SystemExit(3)
