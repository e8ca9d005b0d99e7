"""The painter of who paints by hand: keyframes are the pictures that come with their frames, `still` among the controls.

Where there is none, it has the raw picture alone, and paints that in the colours of the last still: an affine map of
colours, fitted to what the still made of its own frame.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ...proto.errors import Code
from ..base import Habits, PaintDone, PaintJob, Picture
from ..fill import RIM_PX, Colours, coloured, colours_of, fill

# The kind of control image that is a frame as somebody has painted it.
STILL = "still"
# How a map of colours [3, 4] is written down.
DTYPE = np.dtype("<f4")

NOTHING_YET = "a keyframe came without its still, and there was none before it: it is the raw frame"
IN_ITS_COLOURS = "a keyframe came without its still: it is the raw frame in the colours of the last one"


class Stills:
    """A Painter whose paintings are the stills that it is given. Same job, same painting, bit for bit.

    It remembers the colours of a session's last still, over cuts too. A keyframe's `canvas` is not looked at.
    """

    looks = ("stills",)
    # The tone of what is painted around a hole is read so far, and no farther.
    habits = Habits(crop_context=RIM_PX, lasting_memory=True)

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        """One result a job, in order. It takes milliseconds, so it is never cancelled.

        A keyframe with a still is that, to the bit; one without is the raw frame, and its note says so (NO_STILL).
        Holes are the raw picture in the still's colours, joined to what is painted around them.
        """
        return [_keyframe(job) if job.holes is None else _holes(job) for job in jobs]


def _keyframe(job: PaintJob) -> PaintDone:
    raw, still = job.frame.bgr, job.frame.controls.get(STILL)
    if still is not None:
        return PaintDone(job.id, job.epoch, still, memory=_written(colours_of(raw, still)))
    colours = _read(job.memory)
    why = NOTHING_YET if colours is None else IN_ITS_COLOURS
    return PaintDone(job.id, job.epoch, _in(colours, raw), memory=job.memory, note=(Code.NO_STILL, why))


def _holes(job: PaintJob) -> PaintDone:
    if job.holes is None or job.canvas is None:
        why = "around holes there must be a canvas"
        return PaintDone(job.id, job.epoch, None, error=Code.PAINTER_FAILED, why=why)
    still = job.frame.controls.get(STILL)
    if still is not None:
        return PaintDone(job.id, job.epoch, still)
    painted = job.canvas.copy()
    fill(painted, _in(_read(job.memory), job.frame.bgr), job.holes)
    return PaintDone(job.id, job.epoch, painted)


def _in(colours: Colours | None, raw: Picture) -> Picture:
    return raw if colours is None else coloured(raw, colours)


def _written(colours: Colours) -> bytes:
    return colours.astype(DTYPE).tobytes()


def _read(memory: bytes | None) -> Colours | None:
    """The colours of the last still; None: there was none, or these bytes are another painter's."""
    if memory is None or len(memory) != 3 * 4 * DTYPE.itemsize:
        return None
    colours = np.frombuffer(memory, DTYPE).reshape(3, 4).astype(np.float32)
    return colours if np.isfinite(colours).all() else None
