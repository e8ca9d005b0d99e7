"""A painter's own process: `python -m warpaint.server.painter_process`. Only the daemon starts it.

The main thread loads the painter and paints; another one listens all the time, so that a painter can be cancelled
while it paints, and ends when the daemon does.
"""

import argparse
import faulthandler
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..engines.base import Painter
from ..engines.registry import load_painter
from ..engines.settings import EngineSettings
from ..proto.errors import RefusedError
from ..proto.limits import MAX_INTEGER
from . import containment
from .cores import limit_threads
from .exchange import CANCEL, FAILED, PAINTED, READY, Channel, Message, Tray, laid_done, taken_jobs
from .logs import log_to_stderr

# Steps of priority below the daemon's. Frames that are being warped must not wait for a painter: where the two want
# the same core, the daemon has 29 parts in 30 of it. Whatever core is free, the painter has whole. With 10 steps, nine
# parts in ten, a live film on two busy cores lost twice as many frames.
NICE = 15


def main() -> None:
    """Paints until the daemon is gone."""
    wanted = _parser().parse_args()
    _behave(wanted.log_level)
    channel = _channel(wanted.socket, wanted.tray)
    listener = Listener(channel)
    try:
        painter = load_painter(wanted.name, EngineSettings.model_validate_json(wanted.settings))
    except RefusedError as error:
        channel.say(FAILED, 0, {"why": str(error)})
        return
    limit_threads(opencv=wanted.threads, torch=wanted.threads)
    habits = asdict(containment.habits(painter))
    channel.say(READY, 0, {"looks": list(painter.looks), "nbytes": _nbytes(painter), "habits": habits})
    while True:
        _paint(wanted.name, painter, channel, listener)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="painter_process", description=__doc__)
    made.add_argument("--socket", type=int, required=True, help="the descriptor of the daemon's socket")
    made.add_argument("--tray", type=int, required=True, help="the descriptor of the file that pictures go through")
    made.add_argument("--threads", type=int, required=True, help="threads to compute with")
    made.add_argument("--settings", default="{}", help="the engines' settings, as JSON")
    made.add_argument("--log-level", type=int, required=True, help="as in Python's logging")
    made.add_argument("name", help="the painter's")
    return made


def _behave(log_level: int) -> None:
    """Leaves to the daemon when to end: Ctrl-C, or SIGTERM to a whole group, is its to answer. Writes to stderr."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICE)
    faulthandler.enable()
    log_to_stderr(log_level)


def _channel(connection: int, tray: int) -> Channel:
    """The conversation. No process that the painter starts shall hold it: its end is how the daemon learns of ours."""
    for descriptor in (connection, tray):
        os.set_inheritable(descriptor, False)
    return Channel(socket.socket(fileno=connection), Tray(tray))


class Listener:
    """Hears the daemon in a thread of its own."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._cancelled = -1  # the last call that was cancelled
        self._calls: queue.SimpleQueue[Message] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="listener", daemon=True).start()

    def next_call(self) -> Message:
        """Waits for the next call to paint."""
        return self._calls.get()

    def cancelled(self, call: int) -> Callable[[], bool]:
        """Tells whether this call is cancelled."""
        return lambda: self._cancelled == call

    def _listen(self) -> None:
        try:
            while True:
                message = self._channel.hear()
                if message.kind == CANCEL:
                    self._cancelled = message.call
                else:
                    self._calls.put(message)
        finally:
            os._exit(0)  # the daemon is gone: whatever the painter is at, nobody waits for it


def _paint(name: str, painter: Painter, channel: Channel, listener: Listener) -> None:
    message = listener.next_call()
    tray = channel.tray
    jobs = taken_jobs(tray, channel.body(message)["jobs"])
    done = containment.paint(name, painter, jobs, listener.cancelled(message.call))
    tray.clear()
    body: dict[str, Any] = {"done": laid_done(tray, done), "nbytes": _nbytes(painter)}
    channel.say(PAINTED, message.call, body)


def _nbytes(painter: Painter) -> int | None:
    """The memory that the painter says it occupies, bytes. It may be of any kind, and is for show alone."""
    with suppress(Exception):
        nbytes = getattr(painter, "nbytes", None)
        return nbytes if isinstance(nbytes, int) and 0 <= nbytes <= MAX_INTEGER else None
    return None


if __name__ == "__main__":
    main()
