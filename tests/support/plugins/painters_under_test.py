"""Third-party painters that inherit nothing of ours: one behaves, the others do not."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from warpaint.engines.base import PaintDone, PaintJob


class _Painter:
    looks = ("plain",)

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        return [PaintDone(job.id, job.epoch, self.picture(job)) for job in jobs]

    def picture(self, job: PaintJob) -> Any:
        raise NotImplementedError


class Negative(_Painter):
    """Behaves."""

    def picture(self, job: PaintJob) -> Any:
        return 255 - job.frame.bgr


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
