"""For those who paint by hand: keyframes are the pictures that come with their frames, `still` among the controls.

Where there is none, it has the raw picture alone, and paints that in the colours of the last still: as that changed
those of its own frame.
"""

from collections.abc import Callable, Sequence

from ...proto.errors import Code
from ..base import Habits, PaintDone, PaintJob
from ..colours import Colours, coloured, colours_from, colours_of
from ..fill import RIM_PX, fill

# The kind of control image that is a frame as somebody has painted it.
STILL = "still"

NOTHING_YET = "a frame came without its still, and there was none before it: it is the raw frame"
IN_ITS_COLOURS = "a frame came without its still: it is the raw frame in the colours of the last one"


class Stills:
    """A Painter whose paintings are the stills that it is given. Same job, same painting, bit for bit.

    It remembers the colours of a session's last still, over cuts too. A keyframe's `canvas` is not looked at.
    """

    looks = ("stills",)
    # The tone of what is painted around a hole is read so far, and no farther.
    habits = Habits(crop_context=RIM_PX, lasting_memory=True, at_once=True)

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        """One result a job, in order. It takes milliseconds, so it is never cancelled.

        A keyframe with a still is that, to the bit; one without is the raw frame, and its note says so (NO_STILL).
        Holes are the raw picture in the still's colours, joined to what is painted around them.
        """
        return [_keyframe(job) if job.holes is None else _holes(job) for job in jobs]


def _keyframe(job: PaintJob) -> PaintDone:
    raw, still = job.frame.bgr, job.frame.controls.get(STILL)
    if still is not None:
        return PaintDone(job.id, job.epoch, still, memory=colours_of(raw, still).to_bytes())
    colours = _colours(job)
    why = NOTHING_YET if colours is None else IN_ITS_COLOURS
    image = raw if colours is None else coloured(raw, colours)
    return PaintDone(job.id, job.epoch, image, memory=job.memory, note=(Code.NO_STILL, why))


def _holes(job: PaintJob) -> PaintDone:
    if job.holes is None or job.canvas is None:
        why = "around holes there must be a canvas"
        return PaintDone(job.id, job.epoch, None, error=Code.PAINTER_FAILED, why=why)
    still = job.frame.controls.get(STILL)
    if still is not None:
        return PaintDone(job.id, job.epoch, still)
    painted = job.canvas.copy()
    fill(painted, job.frame.bgr, job.holes, _colours(job))
    return PaintDone(job.id, job.epoch, painted)


def _colours(job: PaintJob) -> Colours | None:
    """The colours of the session's last still; None: there was none."""
    return None if job.memory is None else colours_from(job.memory)
