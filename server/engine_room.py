"""Runs the engines for the sessions, and contains them: whatever an engine does becomes an answer or a RefusedError.

Flow runs in the caller's thread. Each painter has a thread of its own, so that a slow one holds up its own sessions
alone; one that does not come back in time is left behind, with its thread, for a new thread.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..engines.base import Features, FlowEngine, Match, PaintDone, Painter, PaintJob
from ..proto.errors import Code, RefusedError
from ..proto.limits import MAX_INTEGER
from ..proto.messages import EngineStatus
from .asks import Encode, FlowAsk, MatchAsk, PaintAsk

T = TypeVar("T", bound=np.generic)
A = TypeVar("A")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Usage:
    """How often an engine was called, and for how long in all."""

    calls: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """One more call."""
        self.calls += 1
        self.seconds += seconds

    @property
    def mean_ms(self) -> float:
        """Milliseconds a call."""
        return 1e3 * self.seconds / self.calls if self.calls else 0.0


@dataclass(slots=True, eq=False)
class Painting:
    """Jobs under way at a painter. `done` holds one result a job once `finished` is set."""

    jobs: Sequence[PaintJob]
    on_finished: Callable[[], None]
    began: float | None = None  # time.monotonic() when the painter took it
    done: list[PaintDone] = field(default_factory=list)
    finished: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)


class PainterThread:
    """A painter and the thread that it paints in."""

    def __init__(self, name: str, painter: Painter) -> None:
        self.name = name
        self.painter = painter
        self.usage = Usage()
        self._work: queue.SimpleQueue[Painting | None] = queue.SimpleQueue()
        self._start()

    def submit(self, painting: Painting) -> None:
        """Paints when the paintings before it are done, then sets `finished` and calls `on_finished`."""
        self._work.put(painting)

    def leave_behind(self) -> None:
        """Goes on in a new thread. The old one ends when its painter comes back, if ever."""
        left, self._work = self._work, queue.SimpleQueue()
        waiting = []
        with suppress(queue.Empty):  # the old thread may come back and take one at any moment
            while True:
                waiting.append(left.get_nowait())
        left.put(None)
        for painting in waiting:
            self._work.put(painting)
        self._start()

    def close(self) -> None:
        """Lets the thread end after what is under way."""
        self._work.put(None)

    def _start(self) -> None:
        # A daemon thread: a painter that hangs must not keep the process from ending.
        threading.Thread(target=self._run, args=(self._work,), name=f"painter {self.name}", daemon=True).start()

    def _run(self, work: "queue.SimpleQueue[Painting | None]") -> None:
        while (painting := work.get()) is not None:
            painting.began = began = time.monotonic()
            done = _paint(self.name, self.painter, painting)
            self.usage.add(time.monotonic() - began)
            painting.done = done
            painting.finished.set()
            painting.on_finished()


def _paint(name: str, painter: Painter, painting: Painting) -> list[PaintDone]:
    if painting.cancelled.is_set():
        return [_failed(job, Code.CANCELLED, "the session ended first") for job in painting.jobs]
    jobs = [_read_only(job) for job in painting.jobs]
    try:
        done = painter.paint(jobs, painting.cancelled.is_set)
        if not isinstance(done, list) or len(done) != len(jobs):
            raise TypeError(f"it gave {_kind(done)} for {len(jobs)} jobs, not a list of as many PaintDone")
        return [_checked(name, job, each) for job, each in zip(jobs, done, strict=True)]
    except BaseException as error:  # SystemExit too would end the thread; the traceback goes to the log alone
        log.exception("painter %s failed", name)
        why = f"the painter {name!r} failed: {type(error).__name__}: {error}"
        return [_failed(job, Code.PAINTER_FAILED, why) for job in jobs]


def _kind(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else type(value).__name__


def _read_only(job: PaintJob) -> PaintJob:
    """The job with arrays that cannot be written to: they are the session's own."""

    def locked(array: NDArray[T]) -> NDArray[T]:
        view = array.view()
        view.flags.writeable = False
        return view

    return replace(
        job,
        frame=replace(job.frame, bgr=locked(job.frame.bgr)),
        canvas=None if job.canvas is None else locked(job.canvas),
        holes=None if job.holes is None else locked(job.holes),
    )


def _checked(name: str, job: PaintJob, done: PaintDone) -> PaintDone:
    if not isinstance(done, PaintDone) or done.id != job.id:
        return _failed(job, Code.PAINTER_FAILED, f"the painter {name!r} gave no PaintDone of job {job.id}")
    if done.error is not None:
        return _checked_error(name, job, done)
    expected = job.frame.bgr.shape
    image = done.image
    if not isinstance(image, np.ndarray) or image.shape != expected or image.dtype != np.uint8:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        return _failed(job, Code.PAINTER_FAILED, f"the painter {name!r} gave {got}, not uint8 {expected}")
    return done


def _checked_error(name: str, job: PaintJob, done: PaintDone) -> PaintDone:
    if done.error not in tuple(Code) or not isinstance(done.why, str):
        got = f"the error {done.error!r:.60}, {done.why!r:.200}"
        return _failed(job, Code.PAINTER_FAILED, f"the painter {name!r} gave {got}, not a Code and a sentence")
    return done


def _failed(job: PaintJob, code: Code, why: str) -> PaintDone:
    return PaintDone(job.id, job.epoch, None, error=code, why=why)


class FlowRunner:
    """A flow engine, contained."""

    def __init__(self, name: str, flow: FlowEngine) -> None:
        self.name = name
        self.usage = Usage()
        self.flow = flow

    def answer(self, asks: Sequence[FlowAsk]) -> list[list[Features] | list[Match]]:
        """The engine's answers to asks of one kind and key, in one call, checked. Raises RefusedError: FLOW_FAILED."""
        began = time.monotonic()
        try:
            encodes = [ask for ask in asks if isinstance(ask, Encode)]
            matches = [ask for ask in asks if isinstance(ask, MatchAsk)]
            return [*self._encoded(encodes)] if encodes else [*self._matched(matches)]
        except Exception as error:  # a flow engine may raise anything
            log.exception("flow engine %s failed", self.name)
            why = f"the flow engine {self.name!r} failed: {type(error).__name__}: {error}"
            raise RefusedError(Code.FLOW_FAILED, why) from error
        finally:
            self.usage.add(time.monotonic() - began)

    def _encoded(self, asks: Sequence[Encode]) -> list[list[Features]]:
        pictures = [picture for ask in asks for picture in ask.pictures]
        features = iter(_counted(self.flow.encode(pictures), len(pictures)))
        return [[next(features) for _ in ask.pictures] for ask in asks]

    def _matched(self, asks: Sequence[MatchAsk]) -> list[list[Match]]:
        answers = _counted(self.flow.match([ask.request for ask in asks]), len(asks))
        for ask, matches in zip(asks, answers, strict=True):
            width, height = ask.size
            for match in _counted(matches, len(ask.request.sources)):
                _check_map("flow", match.flow, (height, width, 2))
                _check_map("confidence", match.confidence, (height, width))
        return answers


def _counted(answers: list[A], count: int) -> list[A]:
    if len(answers) != count:
        raise TypeError(f"it gave {len(answers)} answers for {count} asked")
    return answers


def _check_map(name: str, array: object, shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.float32:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"it gave a {name} of {got}, not float32 {shape}")
    if not cv2.checkRange(array)[0]:
        raise ValueError(f"it gave a {name} that is not finite everywhere")


def _engine_status(kind: str, name: str, usage: Usage, engine: Painter | FlowEngine) -> EngineStatus:
    nbytes = getattr(engine, "nbytes", None)
    plain = {"name": name, "kind": kind, "calls": usage.calls, "mean_ms": usage.mean_ms}
    if isinstance(nbytes, int) and 0 <= nbytes <= MAX_INTEGER:
        plain["memory_bytes"] = nbytes
    return EngineStatus.model_validate(plain)


class EngineRoom:
    """The engines that the daemon holds, by name."""

    def __init__(self, painters: dict[str, Painter], flows: dict[str, FlowEngine], *, paint_timeout_s: float) -> None:
        self.painters = {name: PainterThread(name, painter) for name, painter in painters.items()}
        self.flows = {name: FlowRunner(name, flow) for name, flow in flows.items()}
        self._paint_timeout_s = paint_timeout_s

    def paint(self, painter: str, ask: PaintAsk, on_finished: Callable[[], None]) -> Painting:
        """Hands the jobs to the painter; `on_finished` is called in its thread."""
        painting = Painting(ask.jobs, on_finished)
        self.painters[painter].submit(painting)
        return painting

    def overdue(self, painter: str, painting: Painting) -> bool:
        """Whether the painting has run out of time; its painter is then left behind and goes on in a new thread."""
        began = painting.began
        if painting.finished.is_set() or began is None or time.monotonic() - began < self._paint_timeout_s:
            return False
        log.error("painter %s took longer than %g s: left behind", painter, self._paint_timeout_s)
        painting.cancelled.set()
        why = f"the painter {painter!r} took longer than {self._paint_timeout_s:g} s"
        painting.done = [_failed(job, Code.PAINTER_TIMEOUT, why) for job in painting.jobs]
        self.painters[painter].leave_behind()
        return True

    def status(self) -> tuple[EngineStatus, ...]:
        """How each engine does. One that has an attribute `nbytes` says with it how much memory it occupies."""
        painters = [_engine_status("painter", each.name, each.usage, each.painter) for each in self.painters.values()]
        flows = [_engine_status("flow", each.name, each.usage, each.flow) for each in self.flows.values()]
        return (*painters, *flows)

    def close(self) -> None:
        """Lets the painters' threads end."""
        for painter in self.painters.values():
            painter.close()
