"""Painters in processes of their own.

Painting in Python holds the interpreter's lock: in a thread of the daemon's it would starve the others. A process is
started afresh, never forked: it has none of the daemon's sockets, threads and locks.
"""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from ..engines.base import Habits, PaintDone, Painter, PaintJob
from ..engines.registry import DEFAULTS, LIGHT_PAINTERS, load_painter
from ..engines.settings import EngineSettings
from ..proto.errors import Code, RefusedError
from . import containment
from .config import environment_of_a_child
from .exchange import CANCEL, FAILED, PAINT, PAINTED, READY, Channel, Message, Tray, laid_jobs, taken_done

# How often it is looked whether a call is cancelled, while its answer is awaited, seconds: nobody notices so short a
# wait, and fifty looks a second cost nothing.
LOOK_S = 0.02
# How long a cancelled painter may go on, seconds. A step of a diffusion model takes one on a slow machine, and models
# that are loaded anew take ten: it is worth a wait. But the next keyframe waits as well.
CANCEL_GRACE_S = 2.0
# How long a process may take to end by itself once nobody listens, seconds. It takes milliseconds, unless the painter
# is inside a library that lets no other thread run.
END_S = 1.0
# A process's stdout is this one's stderr: what a painter prints must not get among what the daemon says on stdout.
STDERR = 2

log = logging.getLogger(__name__)


class DiedError(Exception):
    """The process has ended, or was told to."""


class GivenUpError(Exception):
    """The call was given up before there was a painter that could take it."""


class PainterProcess:
    """One process, from its start to its end. One thread at a time may use it."""

    def __init__(self, name: str, threads: int, settings: EngineSettings) -> None:
        """Starts it; it loads the painter meanwhile. Raises OSError if there can be no more processes."""
        self.name = name
        self.loaded = False
        self._calls = 0
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._descriptor = os.memfd_create("warpaint-painter")
        self._channel = Channel(self._socket, Tray(self._descriptor))
        self._socket.settimeout(LOOK_S)
        with theirs:
            try:
                self._process = _started(name, threads, settings, theirs.fileno(), self._descriptor)
            except OSError:
                self._close()
                raise

    def load(self, leave: Callable[[], bool]) -> dict[str, Any]:
        """What the process says when the painter is loaded: its looks and nbytes. It may be asked again later.

        Raises RefusedError if the painter cannot be loaded, GivenUpError if `leave` says so first, DiedError.
        """
        while (message := self._hear()) is None:
            if leave():
                raise GivenUpError
        body = self._body(message, READY, FAILED)
        if message.kind == FAILED:
            raise RefusedError(Code.UNKNOWN_ENGINE, str(body["why"]))
        self.loaded = True
        return body

    def paint(
        self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool], hurried: Callable[[], bool]
    ) -> tuple[list[PaintDone], Any]:
        """The results, and the painter's nbytes. A cancelled painter has CANCEL_GRACE_S, or no time when hurried.

        Raises DiedError.
        """
        self._calls += 1
        tray = self._channel.tray
        tray.clear()
        self._say(PAINT, {"jobs": laid_jobs(tray, jobs)})
        body = self._body(self._answer(cancelled, hurried), PAINTED)
        try:
            return taken_done(tray, jobs, body["done"]), body["nbytes"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DiedError(f"its results cannot be read: {type(error).__name__}: {error}") from error

    def _answer(self, cancelled: Callable[[], bool], hurried: Callable[[], bool]) -> Message:
        patience_until: float | None = None
        while (message := self._hear()) is None:
            if not cancelled():
                continue
            if patience_until is None:
                self._say(CANCEL)
                patience_until = time.monotonic() + CANCEL_GRACE_S
            if hurried() or time.monotonic() > patience_until:
                raise DiedError("it did not stop")
        return message

    def _say(self, kind: str, body: dict[str, Any] | None = None) -> None:
        try:
            self._channel.say(kind, self._calls, body)
        except ConnectionError as error:
            raise DiedError from error

    def _hear(self) -> Message | None:
        """The next message; None if there is none yet."""
        try:
            return self._channel.hear()
        except TimeoutError:
            # A process that the painter has forked may still hold the other end.
            if self.ended:
                raise DiedError from None
            return None
        except EOFError as error:
            raise DiedError from error
        except ValueError as error:
            raise DiedError(str(error)) from error

    def _body(self, message: Message, *kinds: str) -> dict[str, Any]:
        if message.kind not in kinds or message.call != self._calls:
            raise DiedError(f"it said {message.kind!r:.40} in call {message.call!r:.40}, out of turn")
        try:
            return self._channel.body(message)
        except (OSError, ValueError, TypeError) as error:
            raise DiedError(f"its answer cannot be read: {error}") from error

    @property
    def pid(self) -> int:
        """The process's."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def end(self) -> str:
        """Ends it, if it has not ended, and says how it ended. Nothing of it is left."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for _ in range(2):  # a second time after it was killed; what even then stays, hangs in the kernel
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
                break
            self._process.kill()
        self._close()
        code = self._process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def _close(self) -> None:
        self._socket.close()
        os.close(self._descriptor)


def _started(name: str, threads: int, settings: EngineSettings, *descriptors: int) -> "subprocess.Popen[bytes]":
    connection, tray = map(str, descriptors)
    options = ["--socket", connection, "--tray", tray, "--threads", str(threads)]
    options += ["--settings", settings.model_dump_json(exclude_defaults=True)]
    level = ["--log-level", str(logging.getLogger().getEffectiveLevel())]
    return subprocess.Popen(
        [sys.executable, "-u", "-P", "-m", f"{__package__}.painter_process", *options, *level, "--", name],
        stdin=subprocess.DEVNULL,
        stdout=STDERR,
        env=environment_of_a_child(OMP_NUM_THREADS=str(threads)),  # torch reads it when it is loaded
        pass_fds=descriptors,
    )


class IsolatedPainter:
    """A Painter that paints in a process of its own, and begins a new one when that has died. It may be interrupted.

    Calls take turns. `looks` are there once `wait` has returned.
    """

    def __init__(self, name: str, threads: int, settings: EngineSettings = DEFAULTS) -> None:
        """Starts the process. Raises OSError if there can be no more processes."""
        self.looks: tuple[str, ...] = ()
        self.habits = Habits()
        self.nbytes: int | None = None
        self._name = name
        self._threads = threads
        self._settings = settings
        self._turn = threading.Lock()
        self._hurry = threading.Event()
        self._closed = threading.Event()
        self._process: PainterProcess | None = PainterProcess(name, threads, settings)

    def wait(self) -> None:
        """Waits until the painter is loaded. Raises RefusedError: UNKNOWN_ENGINE, with the reason."""
        try:
            with self._running(self._closed.is_set):
                return
        except DiedError as error:
            raise RefusedError(Code.UNKNOWN_ENGINE, f"the painter {self._name!r} cannot be loaded: {error}") from error

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        """One result a job, in order. If the process dies, all have failed; the next call begins a new one."""

        def unwanted() -> bool:
            return cancelled() or self._closed.is_set()

        try:
            with self._running(unwanted) as process:
                self._hurry.clear()
                done, self.nbytes = process.paint(jobs, unwanted, self._hurried)
                return done
        except (DiedError, GivenUpError, RefusedError) as error:
            if unwanted():
                return containment.failed(jobs, Code.CANCELLED, f"the painter {self._name!r} was told to stop")
            log.error("%s", error)
            return containment.failed(jobs, Code.PAINTER_FAILED, str(error))

    @property
    def pid(self) -> int | None:
        """Of the process that there is now; None: there is none."""
        process = self._process
        return None if process is None else process.pid

    def interrupt(self) -> None:
        """Makes the call under way come back now, if it is cancelled: its process is ended, unless it still loads."""
        self._hurry.set()

    def close(self) -> None:
        """Ends the process, and what it is at. Further calls come back with Code.CANCELLED."""
        self._closed.set()
        with self._turn:
            if self._process is not None:
                self._process.end()
                self._process = None

    def _hurried(self) -> bool:
        return self._hurry.is_set() or self._closed.is_set()

    @contextmanager
    def _running(self, leave: Callable[[], bool]) -> Iterator[PainterProcess]:
        """The process with the painter loaded; whatever goes wrong with it ends it.

        Raises DiedError with a sentence, and what PainterProcess.load raises.
        """
        with self._turn:
            process = self._process = self._current()
            try:
                if not process.loaded:
                    self._greet(process.load(leave))
                yield process
            except GivenUpError:
                raise  # it goes on, for the next call
            except BaseException as error:
                self._process = None
                how = process.end()
                if not isinstance(error, DiedError):
                    raise
                raise self._death(how, str(error)) from error

    def _current(self) -> PainterProcess:
        """The process, a new one if there is none that runs. Raises GivenUpError when closed."""
        if self._closed.is_set():
            raise GivenUpError
        if self._process is not None and self._process.ended:
            log.warning("%s", self._death(self._process.end(), "between two calls"))
            self._process = None
        return self._process or PainterProcess(self._name, self._threads, self._settings)

    def _greet(self, body: dict[str, Any]) -> None:
        self.looks, self.nbytes = tuple(body["looks"]), body["nbytes"]
        self.habits = Habits(**body["habits"])

    def _death(self, how: str, why: str) -> DiedError:
        sentence = f"the process of the painter {self._name!r} died ({how})"
        return DiedError(f"{sentence}: {why}" if why else sentence)


def start_painters(
    names: Iterable[str], held: ExitStack, *, isolated: bool, threads: int, settings: EngineSettings = DEFAULTS
) -> dict[str, Painter]:
    """The painters by name, in processes with so many threads unless they are light; `held` ends these.

    The processes load the painters meanwhile, all at once. Raises RefusedError: UNKNOWN_ENGINE, or OSError.
    """
    painters: dict[str, Painter] = {}
    for name in dict.fromkeys(names):
        if isolated and name not in LIGHT_PAINTERS:
            painters[name] = painter = IsolatedPainter(name, threads, settings)
            held.callback(painter.close)
        else:
            painters[name] = load_painter(name, settings)
    return painters


def wait_for(painters: dict[str, Painter]) -> None:
    """Waits until all of them are loaded. Raises RefusedError: UNKNOWN_ENGINE, with the reason."""
    for painter in painters.values():
        if isinstance(painter, IsolatedPainter):
            painter.wait()
