"""Third-party painters that inherit nothing of ours: one behaves, the others do not."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from warpaint.engines.base import Habits, PaintDone, PaintJob
from warpaint.proto.errors import Code


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


class NotNumbers(_Painter):
    def picture(self, job: PaintJob) -> Any:
        return np.full(job.frame.bgr.shape, np.nan, np.float32)


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


class HangsOnce(_Painter):
    """Never comes back from its first job."""

    hung = False

    def picture(self, job: PaintJob) -> Any:
        while not self.hung:
            self.hung = True
            time.sleep(10_000.0)
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


class BusyInPython(_Painter):
    """Keeps the interpreter to itself for a while over each picture; it stops when it is told to."""

    busy_s = float(os.environ.get("WARPAINT_TEST_BUSY_S", "2.0"))

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        until = time.monotonic() + self.busy_s * len(jobs)
        while time.monotonic() < until and not cancelled():
            sum(range(1_000))
        if cancelled():
            return [PaintDone(job.id, job.epoch, None, error=Code.CANCELLED, why="told to stop") for job in jobs]
        return super().paint(jobs, cancelled)

    def picture(self, job: PaintJob) -> Any:
        return 255 - job.frame.bgr


class Gated(_Painter):
    """Paints a flat colour, as soon as a file is there; it stops when it is told to."""

    looks = ("red", "green", "blue")
    gate = Path(os.environ.get("WARPAINT_TEST_GATE", "/no/gate"))

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        while not self.gate.exists() and not cancelled():
            time.sleep(0.01)
        if cancelled():
            return [PaintDone(job.id, job.epoch, None, error=Code.CANCELLED, why="told to stop") for job in jobs]
        return super().paint(jobs, cancelled)

    def picture(self, job: PaintJob) -> Any:
        colour = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}[job.brief.look or "red"]
        return np.full_like(job.frame.bgr, colour)


class Together(Gated):
    """Paints how many jobs it was given in the call, as a level of gray, as soon as a file is there."""

    looks = ("count", "broken", "stuck")
    habits = Habits(batches=True)
    count = 0

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        self.count = len(jobs)
        return super().paint(jobs, cancelled)

    def picture(self, job: PaintJob) -> Any:
        if job.brief.look == "broken":
            raise RuntimeError("out of paint")
        if job.brief.look == "stuck":
            time.sleep(10_000.0)
        return np.full_like(job.frame.bgr, 10 * self.count)


class DoesNotBatch(Together):
    """The same, but for its habits."""

    habits = Habits()


class InSquares(Negative):
    """Wants its crops in squares, and no small holes."""

    habits = Habits(crop_sides=(64, 128), crop_context=16, least_hole=100)


class HasNoHabits(Negative):
    """Cannot say how it wants its work."""

    @property
    def habits(self) -> Habits:
        raise RuntimeError("no idea")


class Exhausted(_Painter):
    """Its device has not enough memory."""

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        why = "2 GB are needed, 1 GB is free"
        return [PaintDone(job.id, job.epoch, None, error=Code.RESOURCE_EXHAUSTED, why=why) for job in jobs]


class DoesNotStop(_Painter):
    """Keeps the interpreter to itself for longer than any test, whatever it is told."""

    def picture(self, job: PaintJob) -> Any:
        while True:
            sum(range(1_000))


class ExitsAtOnce(_Painter):
    """Ends its process, without a word, at every third job."""

    count = 0

    def picture(self, job: PaintJob) -> Any:
        self.count += 1
        if self.count % 3 == 0:
            os._exit(3)
        return 255 - job.frame.bgr


class KillsItself(_Painter):
    """As if the machine had run out of memory, at every third job."""

    count = 0

    def picture(self, job: PaintJob) -> Any:
        self.count += 1
        if self.count % 3 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 255 - job.frame.bgr


class Prints(_Painter):
    """Talks, in Python and below it."""

    def picture(self, job: PaintJob) -> Any:
        sys.stdout.write("printed by Python\n")
        os.write(1, b"printed by a library\n")
        return 255 - job.frame.bgr


class Remembers(_Painter):
    """Keeps the first frame that it is given, and shows it ever after; it counts in its memory."""

    nbytes = 7
    first: Any = None

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        if self.first is None:
            self.first = jobs[0].frame.bgr
        self.nbytes += 1
        return [PaintDone(job.id, job.epoch, self.first, memory=(job.memory or b"") + b".") for job in jobs]


class MemoryOfText(_Painter):
    """Gives a memory that is none."""

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        return [PaintDone(job.id, job.epoch, job.frame.bgr, memory="blue") for job in jobs]  # type: ignore[arg-type]


class SaysHalfALetter(_Painter):
    """Its complaint is no text that UTF-8 can write."""

    def picture(self, job: PaintJob) -> Any:
        raise RuntimeError("\ud800 out of paint")


class ShowsItsJob(_Painter):
    """Fails with all that it was given, in a sentence."""

    def picture(self, job: PaintJob) -> Any:
        canvas, holes = (0 if each is None else each.sum() for each in (job.canvas, job.holes))
        given = (job.id, job.epoch, job.frame.index, job.frame.pts, job.seed, job.origin, job.size, job.memory)
        wording = (job.brief.prompt, job.brief.loras, job.earlier)
        raise RuntimeError(f"{given} {wording} {job.frame.bgr.sum()} {canvas} {holes}")


class ShowsItsProcess(_Painter):
    """Fails with what it sees of its process."""

    def __init__(self) -> None:
        import cv2

        self.threads = cv2.getNumThreads

    def picture(self, job: PaintJob) -> Any:
        fds = [str(Path(f"/proc/self/fd/{each}").readlink()) for each in ("0", "1", "2")]
        raise RuntimeError(f"pid {os.getpid()} nice {os.nice(0)} threads {self.threads()} {fds}")


class CannotBeMadeAgain(_Painter):
    """Is made once in all, and dies at its first job. What it was made in is told by a file."""

    def __init__(self) -> None:
        made = Path(os.environ["WARPAINT_TEST_MADE"])
        if made.exists():
            raise RuntimeError("no weights any more")
        made.touch()

    def picture(self, job: PaintJob) -> Any:
        os._exit(3)


class LoadsForLong(_Painter):
    """Takes a second to load when it is made again, and dies at its first job."""

    def __init__(self) -> None:
        made = Path(os.environ["WARPAINT_TEST_MADE"])
        self.again = made.exists()
        if self.again:
            time.sleep(1.0)
        made.touch()

    def picture(self, job: PaintJob) -> Any:
        if not self.again:
            os._exit(3)
        return 255 - job.frame.bgr


class LeavesAProcess(_Painter):
    """Begins a process that lives on with copies of all descriptors, and dies."""

    def picture(self, job: PaintJob) -> Any:
        if os.fork() == 0:
            time.sleep(5.0)
        os._exit(3)


class DiesWhenLoaded(_Painter):
    def __init__(self) -> None:
        os._exit(3)


class Remarks(_Painter):
    """Says which frame a keyframe is of, and that any prompt is too long."""

    habits = Habits(crop_sides=(64, 128), crop_context=16, least_hole=4, batches=True)

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        return [
            PaintDone(job.id, job.epoch, 255 - job.frame.bgr, tags=self.tags(job), note=self.note(job)) for job in jobs
        ]

    def tags(self, job: PaintJob) -> Any:
        return ("keyframe", f"frame {job.frame.index}") if job.holes is None else ("crop",)

    def note(self, job: PaintJob) -> Any:
        return (Code.PROMPT_CUT, f"{job.brief.prompt!r} is too long") if job.brief.prompt else None


class TellsOfItsFailure(Remarks):
    """Fails with a code of its own, a tag and a note."""

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        code, why = Code.RESOURCE_EXHAUSTED, "\ud800 out of memory"
        note = (Code.PROMPT_CUT, "\ud800 cut")
        return [PaintDone(job.id, job.epoch, None, error=code, why=why, tags=("tag",), note=note) for job in jobs]


class ManyTags(Remarks):
    """Gives more tags than a result may hold."""

    def tags(self, job: PaintJob) -> Any:
        return tuple(f"tag {number}" for number in range(1_000))


class LongTags(Remarks):
    """Gives as many tags as a result may hold, and more than fit into a header."""

    def tags(self, job: PaintJob) -> Any:
        return tuple(f"{number:03}" + 197 * "\N{SNOWFLAKE}" for number in range(128))


class TagsInAList(Remarks):
    def tags(self, job: PaintJob) -> Any:
        return ["harbour"]


class TagsOfNumbers(Remarks):
    def tags(self, job: PaintJob) -> Any:
        return ("harbour", 1)


class TagTooLong(Remarks):
    def tags(self, job: PaintJob) -> Any:
        return ("x" * 201,)


class TagOfHalfALetter(Remarks):
    def tags(self, job: PaintJob) -> Any:
        return ("\ud800",)


class NoteWithoutCode(Remarks):
    def note(self, job: PaintJob) -> Any:
        return "cut"


class NoteOfAMadeUpCode(Remarks):
    def note(self, job: PaintJob) -> Any:
        return ("tired", "cut")


class HabitsOfItsOwn(Remarks):
    """Has habits that are none of ours."""

    habits = "large crops"  # type: ignore[assignment]
