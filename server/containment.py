"""A painter contained: whatever it does, each of its jobs has one result, a picture that fits or an error.

The daemon's own process and the processes of painters use the same, so that the same sentences come of it.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..engines.base import NO_HABITS, Habits, PaintDone, Painter, PaintJob
from ..proto.errors import Code
from ..proto.limits import MAX_HEADER_BYTES, MAX_NAME, MAX_TAGS

# Bytes of the tags of one result: beside them all else of a header has room.
MAX_TAGS_BYTES = MAX_HEADER_BYTES // 2

T = TypeVar("T", bound=np.generic)

log = logging.getLogger(__name__)


def paint(name: str, painter: Painter, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
    """One result a job, in order: an image that is uint8 and has the shape of the job's frame, or an error and why."""
    try:
        done = painter.paint([_read_only(job) for job in jobs], cancelled)
        if not isinstance(done, list) or len(done) != len(jobs):
            raise TypeError(f"it gave {_kind(done)} for {len(jobs)} jobs, not a list of as many PaintDone")
        return [_checked(name, job, each) for job, each in zip(jobs, done, strict=True)]
    except BaseException as error:  # SystemExit too would end the thread; the traceback goes to the log alone
        log.exception("painter %s failed", name)
        return failed(jobs, Code.PAINTER_FAILED, f"the painter {name!r} failed: {type(error).__name__}: {error}")


def habits(painter: Painter) -> Habits:
    """How the painter wants its work; the defaults if it does not say so."""
    with suppress(Exception):  # the attribute may be of any kind
        found = getattr(painter, "habits", None)
        return found if isinstance(found, Habits) else NO_HABITS
    return NO_HABITS


def failed(jobs: Sequence[PaintJob], code: Code, why: str) -> list[PaintDone]:
    """The same error for each of the jobs."""
    return [_failed(job, code, why) for job in jobs]


def _failed(job: PaintJob, code: Code, why: str) -> PaintDone:
    return PaintDone(job.id, job.epoch, None, error=code, why=_sayable(why))


def _sayable(text: str) -> str:
    """The text, with half surrogate pairs spelled out: UTF-8 cannot write them, and no message can hold them."""
    return text.encode(errors="backslashreplace").decode()


def _kind(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else type(value).__name__


def _read_only(job: PaintJob) -> PaintJob:
    """The job with arrays that cannot be written to: they are the session's own."""

    def locked(array: NDArray[T]) -> NDArray[T]:
        view = array.view()
        view.flags.writeable = False
        return view

    controls = {kind: locked(image) for kind, image in job.frame.controls.items()}
    return replace(
        job,
        frame=replace(job.frame, bgr=locked(job.frame.bgr), controls=MappingProxyType(controls)),
        canvas=None if job.canvas is None else locked(job.canvas),
        holes=None if job.holes is None else locked(job.holes),
    )


def _checked(name: str, job: PaintJob, done: PaintDone) -> PaintDone:
    if not isinstance(done, PaintDone) or done.id != job.id:
        return _failed(job, Code.PAINTER_FAILED, f"the painter {name!r} gave no PaintDone of job {job.id}")
    if not isinstance(done.memory, bytes | None):
        got = type(done.memory).__name__
        return _failed(job, Code.PAINTER_FAILED, f"the painter {name!r} gave a memory of {got}, not bytes")
    if done.note is not None and not _is_note(done.note):
        got = f"the note {done.note!r:.200}"
        return _failed(job, Code.PAINTER_FAILED, f"the painter {name!r} gave {got}, not a Code and a sentence")
    if not _are_tags(done.tags):
        got = f"the tags {done.tags!r:.200}"
        why = f"the painter {name!r} gave {got}, not a tuple of texts of 1 to {MAX_NAME} characters"
        return _failed(job, Code.PAINTER_FAILED, why)
    note = None if done.note is None else (done.note[0], _sayable(done.note[1]))
    done = replace(done, tags=_fitting(done.tags[:MAX_TAGS]), note=note)
    if done.error is not None:
        return _checked_error(name, job, done)
    expected = job.frame.bgr.shape
    image = done.image
    if not isinstance(image, np.ndarray) or image.shape != expected or image.dtype != np.uint8:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        return _failed(job, Code.PAINTER_FAILED, f"the painter {name!r} gave {got}, not uint8 {expected}")
    return done


def _is_note(note: object) -> bool:
    return isinstance(note, tuple) and len(note) == 2 and note[0] in tuple(Code) and isinstance(note[1], str)


def _are_tags(tags: object) -> bool:
    return isinstance(tags, tuple) and all(map(_is_tag, tags))


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and 0 < len(tag) <= MAX_NAME and _sayable(tag) == tag


def _fitting(tags: tuple[str, ...]) -> tuple[str, ...]:
    """The first of the tags, as many as fit into a header."""
    sizes = accumulate(len(tag.encode()) for tag in tags)
    return tuple(tag for tag, size in zip(tags, sizes, strict=True) if size <= MAX_TAGS_BYTES)


def _checked_error(name: str, job: PaintJob, done: PaintDone) -> PaintDone:
    if done.error not in tuple(Code) or not isinstance(done.why, str):
        got = f"the error {done.error!r:.60}, {done.why!r:.200}"
        return _failed(job, Code.PAINTER_FAILED, f"the painter {name!r} gave {got}, not a Code and a sentence")
    return replace(done, why=_sayable(done.why))
