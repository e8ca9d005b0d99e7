"""Jobs sorted into batches: which may be painted together, and what each is painted from. Arrays alone, no models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....proto.brief import control_of
from ...base import Mask, PaintJob, Picture
from . import control
from .attention import Bank
from .text import Texts

# Pixels of all items of one batch: four keyframes of 768x512. It bounds what a batch takes of the device's memory.
MOST_BATCH_PIXELS = 4 * 768 * 512
# What a hole is blanked with for a model that is told where it is: the middle of the range.
BLANK = 127


@dataclass(frozen=True, slots=True)
class Group:
    """What the jobs of a batch have in common.

    size: (W, H) of each; controls: those of the Brief that there is an image for; back: the shape of the banks looked
    back at.
    """

    keyframe: bool
    size: tuple[int, int]
    steps: int
    strength: float
    guidance: float
    scheduler: str
    loras: tuple[str, ...]
    controls: tuple[str, ...]
    vae: str
    attend: bool
    back: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Item:
    """A job, its place among those of the call, its texts, the tags among them, and what it looks back at."""

    place: int
    job: PaintJob
    texts: Texts
    tags: tuple[str, ...] = ()
    back: Bank | None = None


def group_of(item: Item) -> Group:
    """The group that an item may be painted with."""
    brief, keyframe = item.job.brief, item.job.holes is None
    h, w = item.job.frame.bgr.shape[:2]
    return Group(
        keyframe=keyframe,
        size=(w, h),
        steps=brief.steps,
        strength=brief.strength,
        guidance=brief.guidance,
        scheduler=brief.scheduler,
        loras=brief.loras,
        controls=shown_controls(item.job),
        vae=brief.vae,
        attend=brief.attend_last and keyframe,
        back=None if item.back is None else item.back.shape,
    )


def shown_controls(job: PaintJob) -> tuple[str, ...]:
    """The Brief's controls, as it says them, for which the frame brought an image or one can be computed."""
    return tuple(each for each in job.brief.controls if control.can_show(control_of(each).kind, job.frame))


def batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """The items of a group in batches of bounded size, in order."""
    if items:
        h, w = items[0].job.frame.bgr.shape[:2]
        most = max(1, MOST_BATCH_PIXELS // (w * h))
        for first in range(0, len(items), most):
            yield list(items[first : first + most])


def start_of(job: PaintJob) -> Picture:
    """What a job is painted from: around holes what is painted so far, and the raw frame in them, which guides them."""
    if job.canvas is None:
        return job.frame.bgr
    return job.canvas if job.holes is None else np.where(job.holes[:, :, None], job.frame.bgr, job.canvas)


def blanked(job: PaintJob) -> Picture:
    """What a job is painted from, its holes blanked."""
    return np.where(holes_of(job)[:, :, None], np.uint8(BLANK), start_of(job))


def holes_of(job: PaintJob) -> Mask:
    """The job's holes; of a keyframe, everywhere."""
    return np.ones(job.frame.bgr.shape[:2], np.bool_) if job.holes is None else job.holes
