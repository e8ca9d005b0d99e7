"""The embedded painter: looks made with OpenCV, nothing to download. One of them, `strokes`, has a random hand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np

from ...proto.errors import Code
from ..base import PaintDone, PaintJob, Picture
from . import looks, strokes


class _Look(Protocol):
    """Paints a picture, or a crop of one, by its neighbourhoods alone: what surrounds the crop does not matter."""

    def __call__(
        self, bgr: Picture, strength: float, seed: int, *, origin: tuple[int, int], size: tuple[int, int]
    ) -> Picture: ...


_LOCAL: Mapping[str, _Look] = MappingProxyType(
    {
        "ink": looks.ink,
        "watercolor": looks.watercolor,
        "oil": looks.oil,
        "pencil": looks.pencil,
        "poster": looks.poster,
    }
)


class Filters:
    """A Painter of six looks. Same job, same painting, bit for bit; it remembers nothing from job to job.

    A keyframe's `canvas` is not looked at. Around holes, `strokes` paints over the job's canvas; the other looks paint
    the crop as they would paint it in the whole frame, which fits by itself.
    """

    looks = ("strokes", *_LOCAL)

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        """One result a job, in order. `cancelled` is asked before each job and after each layer of strokes.

        Errors: BAD_BRIEF for a look that is not among `looks`, PAINTER_FAILED for a job whose arrays do not fit.
        """
        return [_painted(job, cancelled) for job in jobs]


def _painted(job: PaintJob, cancelled: Callable[[], bool]) -> PaintDone:
    look = job.brief.look or Filters.looks[0]
    if look not in Filters.looks:
        why = f"look {look!r} is unknown; the looks are {', '.join(Filters.looks)}"
        return PaintDone(id=job.id, epoch=job.epoch, image=None, error=Code.BAD_BRIEF, why=why)
    if why := _misfit(job):
        return PaintDone(id=job.id, epoch=job.epoch, image=None, error=Code.PAINTER_FAILED, why=why)
    image = None
    stages = _stages(job, look)
    while not cancelled():
        stage = next(stages, None)
        if stage is None:
            return PaintDone(id=job.id, epoch=job.epoch, image=image)
        image = stage
    why = "cancelled before the painting was finished"
    return PaintDone(id=job.id, epoch=job.epoch, image=None, error=Code.CANCELLED, why=why)


def _stages(job: PaintJob, look: str) -> Iterator[Picture]:
    """The painting at each point where it may be given up; the last one is finished."""
    bgr, strength = job.frame.bgr, job.brief.strength
    if look in _LOCAL:
        yield _LOCAL[look](bgr, strength, job.seed, origin=job.origin, size=job.size)
    else:
        canvas = None if job.holes is None else job.canvas
        yield from strokes.paint(
            bgr, strength, job.seed, origin=job.origin, size=job.size, canvas=canvas, holes=job.holes
        )


def _misfit(job: PaintJob) -> str:
    """What does not fit in a job's arrays, in a sentence; empty if they fit."""
    bgr, (x, y), (width, height) = job.frame.bgr, job.origin, job.size
    if bgr.dtype != np.uint8 or bgr.ndim != 3 or bgr.shape[2] != 3 or not bgr.size:
        return f"the picture must be uint8 [H, W, 3] and not empty; it is {bgr.dtype} {list(bgr.shape)}"
    if min(x, y) < 0 or x + bgr.shape[1] > width or y + bgr.shape[0] > height:
        crop = f"{bgr.shape[1]}x{bgr.shape[0]} at ({x}, {y})"
        return f"the picture, {crop}, must lie within the working canvas, {width}x{height}"
    if job.holes is not None and (job.holes.dtype != np.bool_ or job.holes.shape != bgr.shape[:2]):
        return f"holes must be bool {list(bgr.shape[:2])}; they are {job.holes.dtype} {list(job.holes.shape)}"
    if job.holes is not None and (job.canvas is None or job.canvas.shape != bgr.shape):
        shape = None if job.canvas is None else list(job.canvas.shape)
        return f"around holes the canvas must be uint8 {list(bgr.shape)}; it is {shape}"
    return ""
