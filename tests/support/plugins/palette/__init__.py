"""A package of its own that offers a painter by an entry point."""

from collections.abc import Callable, Sequence

from warpaint.engines.base import PaintDone, PaintJob


class Swap:
    """Swaps blue and red."""

    looks = ("swapped",)

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        return [PaintDone(job.id, job.epoch, job.frame.bgr[..., ::-1]) for job in jobs]


class Broken:
    """Cannot be made."""

    def __init__(self) -> None:
        raise RuntimeError("no weights")
