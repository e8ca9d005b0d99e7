"""Runs the engines for the sessions, and contains them: whatever an engine does becomes an answer or a RefusedError.

Flow runs in the caller's thread. Each painter has a thread of its own, so that a slow one holds up its own sessions
alone; one that does not come back in time is left behind, with its thread, for a new thread. A painter in a process of
its own is interrupted instead. A painter that batches gets what several sessions wait for in one call.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import cv2
import numpy as np

from ..engines.base import Features, FlowEngine, Match, PaintDone, Painter, PaintJob
from ..proto.errors import Code, RefusedError
from ..proto.limits import MAX_INTEGER
from ..proto.messages import EngineStatus
from . import containment
from .asks import Encode, FlowAsk, MatchAsk, PaintAsk

A = TypeVar("A")

log = logging.getLogger(__name__)

# Paintings share a call up to so many pixels in all, eight keyframes of 768x512. All of them wait for the last, within
# one time limit; and a batch that is larger gains a diffusion model next to nothing.
MOST_PIXELS_TOGETHER = 8 * 768 * 512


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


@runtime_checkable
class Stoppable(Protocol):
    """A painter that need not be left behind: other threads may make it come back."""

    def interrupt(self) -> None:
        """Makes the call under way, which is cancelled, come back now."""

    def close(self) -> None:
        """Makes the call under way come back, and lets go of what the painter holds. It paints no more."""


@dataclass(slots=True, eq=False)
class Painting:
    """Jobs under way at a painter. `done` holds one result a job once `finished` is set.

    alone: it shares no call with paintings of other sessions.
    """

    jobs: Sequence[PaintJob]
    on_finished: Callable[[], None]
    alone: bool = True
    began: float | None = None  # time.monotonic() when the painter took it
    done: list[PaintDone] = field(default_factory=list)
    finished: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    _settling: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pixels(self) -> int:
        """Of all its jobs."""
        return sum(job.frame.bgr.shape[0] * job.frame.bgr.shape[1] for job in self.jobs)

    def begin(self, now: float) -> bool:
        """Notes that its turn has come. False: it was withdrawn while it waited."""
        self.began = now  # before `cancelled` is looked at: whoever withdraws it looks in the other order
        return not self.cancelled.is_set()

    def withdraw(self) -> None:
        """Nobody wants it any more: while it waits for its turn it holds no pictures."""
        self.cancelled.set()
        if self.began is None:
            self.jobs = ()

    def settle(self, done: list[PaintDone]) -> bool:
        """Finishes with these results. False: it has others already, as the first ones count."""
        with self._settling:
            if self.finished.is_set():
                return False
            self.done = done
            self.finished.set()
            return True


class WaitingLine:
    """The paintings that wait for one thread of a painter, in order."""

    def __init__(self, waiting: Iterable[Painting] = ()) -> None:
        self._waiting = deque(waiting)
        self._ended = False
        self._changed = threading.Condition()

    def put(self, painting: Painting) -> None:
        """One more, at the end."""
        with self._changed:
            self._waiting.append(painting)
            self._changed.notify()

    def put_back(self, paintings: Sequence[Painting]) -> bool:
        """To the front, as they were, but each is alone from now on. False: the line has ended."""
        with self._changed:
            if self._ended:
                return False
            for painting in reversed(paintings):
                painting.alone, painting.began = True, None
                self._waiting.appendleft(painting)
            return True

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self) -> bool:
        """Waits until there is one. False: there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return bool(self._waiting)

    def take(self, *, together: bool) -> list[Painting]:
        """Those whose turn it is: the first, and `together` with it those behind it that may share its call."""
        taken: list[Painting] = []
        pixels = 0
        with self._changed:
            while self._waiting:
                painting = self._waiting[0]
                pixels += painting.pixels
                if taken and (not together or taken[0].alone or painting.alone or pixels > MOST_PIXELS_TOGETHER):
                    break
                taken.append(self._waiting.popleft())
        return taken

    def end(self) -> None:
        """No more will come; those that wait have their turn still."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def leave(self) -> list[Painting]:
        """Ends the line, with nobody in it any more: those that were."""
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
        self.end()
        return left


class PainterThread:
    """A painter and the thread that it paints in."""

    def __init__(self, name: str, painter: Painter) -> None:
        self.name = name
        self.painter = painter
        self.usage = Usage()
        self.given_up = 0  # times that it was left behind
        self.current: Sequence[Painting] = ()  # under way in one call, or those of the last one
        self._line = WaitingLine()
        self._start()

    def submit(self, painting: Painting) -> None:
        """Paints when the paintings before it are done, then sets `finished` and calls `on_finished`."""
        self._line.put(painting)

    @property
    def waiting(self) -> int:
        """Paintings that are not done, those under way among them."""
        return len(self._line) + sum(not each.finished.is_set() for each in self.current)

    def leave_behind(self) -> None:
        """Goes on in a new thread. The old one ends when its painter comes back, if ever."""
        self.given_up += 1
        self._line = WaitingLine(self._line.leave())
        if isinstance(self.painter, Stoppable):
            self.painter.interrupt()
        self._start()

    def close(self) -> None:
        """Lets the thread end after what is under way; a painter that can be stopped, at once."""
        self._line.end()
        if isinstance(self.painter, Stoppable):
            self.painter.close()

    def _start(self) -> None:
        # A daemon thread: a painter that hangs must not keep the process from ending.
        threading.Thread(target=self._run, args=(self._line,), name=f"painter {self.name}", daemon=True).start()

    def _run(self, line: WaitingLine) -> None:
        while line.wait():
            # An isolated painter says its habits when it is loaded, and anew when it is loaded again.
            taken = line.take(together=containment.habits(self.painter).batches)
            began = time.monotonic()
            wanted = []
            for painting in taken:
                if painting.begin(began):
                    wanted.append(painting)
                else:
                    _finish(painting, containment.failed(painting.jobs, Code.CANCELLED, "the session ended first"))
            if wanted:
                self._paint(wanted, line)

    def _paint(self, paintings: Sequence[Painting], line: WaitingLine) -> None:
        """One call for all of them, cancelled when they all are. If it fails as a whole, each has a call of its own."""
        self.current = paintings
        began = time.monotonic()
        jobs = [job for painting in paintings for job in painting.jobs]
        done = containment.paint(self.name, self.painter, jobs, lambda: all(p.cancelled.is_set() for p in paintings))
        self.usage.add(time.monotonic() - began)
        failed = all(each.error is Code.PAINTER_FAILED for each in done)
        if failed and len(paintings) > 1 and line.put_back(paintings):
            return
        rest = iter(done)
        for painting in paintings:
            _finish(painting, [next(rest) for _ in painting.jobs])


def _finish(painting: Painting, done: list[PaintDone]) -> None:
    painting.settle(done)
    painting.on_finished()


class FlowRunner:
    """A flow engine, contained."""

    def __init__(self, name: str, flow: FlowEngine) -> None:
        self.name = name
        self.usage = Usage()
        self.flow = flow

    @property
    def takes_guesses(self) -> bool:
        """Whether a flow to start from is of any use to it."""
        return bool(getattr(self.flow, "takes_guesses", True))

    def complaint(self, size: tuple[int, int]) -> str:
        """Why it cannot match pictures of this size (W, H), in a sentence; empty: it can, or does not say."""
        ask = getattr(self.flow, "complaint", None)
        if ask is None:
            return ""
        try:
            return str(ask(size) or "")
        except Exception as error:  # a flow engine may raise anything
            log.exception("flow engine %s failed", self.name)
            return f"the flow engine {self.name!r} failed: {type(error).__name__}: {error}"

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


def memory_of(engine: Painter | FlowEngine) -> int | None:
    """The memory that an engine says it occupies, bytes; None: it does not say."""
    nbytes = getattr(engine, "nbytes", None)
    return nbytes if isinstance(nbytes, int) and 0 <= nbytes <= MAX_INTEGER else None


def _engine_status(kind: str, name: str, usage: Usage, engine: Painter | FlowEngine) -> EngineStatus:
    plain = {"name": name, "kind": kind, "calls": usage.calls, "mean_ms": usage.mean_ms}
    return EngineStatus.model_validate(plain | {"memory_bytes": memory_of(engine)})


class EngineRoom:
    """The engines that the daemon holds, by name."""

    def __init__(self, painters: dict[str, Painter], flows: dict[str, FlowEngine], *, paint_timeout_s: float) -> None:
        self.painters = {name: PainterThread(name, painter) for name, painter in painters.items()}
        self.flows = {name: FlowRunner(name, flow) for name, flow in flows.items()}
        self._paint_timeout_s = paint_timeout_s

    def paint(self, painter: str, ask: PaintAsk, on_finished: Callable[[], None], *, alone: bool = True) -> Painting:
        """Hands the jobs to the painter; `on_finished` is called in its thread.

        alone: they share no call with those of other sessions, even if the painter batches.
        """
        painting = Painting(ask.jobs, on_finished, alone)
        self.painters[painter].submit(painting)
        return painting

    def overdue(self, painter: str, painting: Painting) -> bool:
        """Whether the painting has run out of time; its painter is then left behind and goes on in a new thread.

        The same becomes of one that hangs over another painting, whose session may have ended, while this one waits.
        Paintings that share a call share its time: they run out of it together.
        """
        late = [each for each in self.painters[painter].current if not each.finished.is_set() and self._is_late(each)]
        why = f"the painter {painter!r} took longer than {self._paint_timeout_s:g} s"
        for each in late:
            each.cancelled.set()
        settled = [each.settle(containment.failed(each.jobs, Code.PAINTER_TIMEOUT, why)) for each in late]
        if any(settled):
            log.error("%s: given up", why)
            self.painters[painter].leave_behind()
        return painting.finished.is_set()

    def _is_late(self, painting: Painting) -> bool:
        return painting.began is not None and time.monotonic() - painting.began >= self._paint_timeout_s

    def status(self) -> tuple[EngineStatus, ...]:
        """How each engine does. One that has an attribute `nbytes` says with it how much memory it occupies."""
        painters = [_engine_status("painter", each.name, each.usage, each.painter) for each in self.painters.values()]
        flows = [_engine_status("flow", each.name, each.usage, each.flow) for each in self.flows.values()]
        return (*painters, *flows)

    def close(self) -> None:
        """Lets the painters' threads end, and ends their processes."""
        for painter in self.painters.values():
            painter.close()
