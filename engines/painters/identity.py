"""The painter that paints nothing: to test everything around it, and to measure what the rest costs."""

from collections.abc import Callable, Sequence

from ..base import Habits, PaintDone, PaintJob


class Identity:
    """A Painter whose paintings are the raw pictures."""

    habits = Habits(at_once=True)
    looks = ("identity",)

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        """Each job's frame.bgr as it is, not copied. It takes no time, so it is never cancelled."""
        return [PaintDone(id=job.id, epoch=job.epoch, image=job.frame.bgr) for job in jobs]
