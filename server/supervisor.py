"""Runs the clients that the settings name, bridges and the page, and starts again what ends. In a thread of its own.

Each is a process that talks to the daemon as any client does. Its standard input is a pipe that closes with the
daemon, however that ends, so that none is left behind.
"""

import logging
import os
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO

from .config import environment_of_a_child
from .dry_run import command, sentence
from .tables import Program

# The first pause before one that ended is started again, seconds: nobody waits long for a stream that broke. And the
# longest: a start takes most of a second of one core, so that one that cannot run costs less than a tenth of it.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
# One that has run for so long ran well, seconds: the next pause is the first one again. A start takes one or two, and
# a camera that refuses is mostly known by then.
RAN_WELL_S = 20.0
# How long they may take to end, seconds, before they are killed. A bridge sends what is painted, for two seconds at
# most, and waits two for what it reads.
PARTING_S = 6.0
# How often it is looked who has ended, seconds: that costs microseconds.
LOOK_S = 0.2
# How long the thread may take when the daemon ends in an unusual way: they are killed then. Seconds.
CLOSED_WITHIN_S = 10.0
# Bytes that are read at once; a line that is longer than this goes to the log in parts.
READ_BYTES, LONGEST_LINE = 65_536, 1_000
# Sentences of one that fails again and again that are remembered, as they are said once. Then all is said again.
MOST_REMEMBERED = 200

log = logging.getLogger(__name__)


def pause_s(failures: int) -> float:
    """The pause after so many failures in a row, 1 or more, seconds: each twice as long as the one before."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 32))


class Supervisor:
    """Owner of the processes. `start` begins, `part` ends them without waiting for it, `close` waits."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.children = tuple(Child(program) for program in programs)
        self._daemon = ""
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._thread: threading.Thread | None = None
        self._parting = self._hurried = self._over = False
        self._then: Callable[[], None] = lambda: None

    def start(self, addresses: Sequence[str]) -> None:
        """Starts all, as clients of a daemon at these addresses: by ipc, if it is among them."""
        if not self.children or self._parting:
            return
        self._daemon = next((each for each in addresses if each.startswith("ipc://")), addresses[0])
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def part(self, then: Callable[[], None]) -> None:
        """Ends all, and calls `then` when they have ended; by another thread, or at once if there are none.

        For signal handlers too: it waits for nothing, and takes no lock. It may call `then` twice.
        """
        self._then, self._parting = then, True
        if self._thread is None or self._over:
            then()
        self._wake()

    def close(self) -> None:
        """Kills what still runs, and waits for that."""
        self._parting = self._hurried = True
        self._wake()
        if self._thread is not None:
            self._thread.join(CLOSED_WITHIN_S)
        if self._thread is None or not self._thread.is_alive():
            self._selector.close()
            self._wake_in.close()
            self._wake_out.close()

    def _wake(self) -> None:
        with suppress(OSError):  # it is full, so that the thread wakes anyway; or closed
            self._wake_out.send(b"\0")

    # The thread

    def _run(self) -> None:
        try:
            while not self._parting:
                for child in self.children:
                    if child.due:
                        child.begin(self._daemon, self._selector)
                self._turn()
            self._part()
        finally:
            for child in self.children:
                child.kill(self._selector)
            self._over = True
            self._then()

    def _part(self) -> None:
        for child in self.children:
            child.terminate()
        until = time.monotonic() + PARTING_S
        while any(child.pid for child in self.children) and time.monotonic() < until and not self._hurried:
            self._turn()
        for child in self.children:
            if child.pid:
                log.warning("%s has not ended in %g s: it is killed", child.program, PARTING_S)

    def _turn(self) -> None:
        """Waits for a moment, hears what they say, and looks who has ended."""
        for key, _ in self._selector.select(LOOK_S):
            if key.fileobj is self._wake_in:
                self._wake_in.recv(4096)
            elif isinstance(key.data, Child):
                key.data.hear(self._selector)
        for child in self.children:
            child.look(self._selector, ending=self._parting)


class Child:
    """One program, and its process, if it has one. Of the supervisor's thread; what is public may be read by any."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.pid: int | None = None  # None: it does not run
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._out: IO[bytes] | None = None
        self._begun = self._due = 0.0  # time.monotonic()
        self._starts = self._failures = 0
        self._rest = b""  # of a line that has not ended
        self._last = ""
        self._remembered: set[str] = set()

    @property
    def due(self) -> bool:
        """Whether it is time to start it."""
        return self._process is None and time.monotonic() >= self._due

    def begin(self, daemon: str, selector: selectors.BaseSelector) -> None:
        """Starts it."""
        self._begun = time.monotonic()
        self.restarts += self._starts > 0
        self._starts += 1
        self._rest, self._last = b"", ""
        try:
            self._process = subprocess.Popen(
                command("--until-stdin-closes", *self.program.arguments(daemon)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment_of_a_child(),
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the daemon, which tells them
            )
        except OSError as error:
            self._again(logging.WARNING, f"cannot be started: {error}")
            return
        self.pid, self._out = self._process.pid, self._process.stdout
        if self._out is not None:
            os.set_blocking(self._out.fileno(), False)
            selector.register(self._out, selectors.EVENT_READ, self)

    def hear(self, selector: selectors.BaseSelector) -> bool:
        """Takes what it has said. False: there was nothing."""
        data = self._out.read(READ_BYTES) if self._out is not None else None
        if data is None:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE or not data:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._say(line)
        if not data:
            self._close_out(selector)
        return bool(data)

    def look(self, selector: selectors.BaseSelector, *, ending: bool) -> None:
        """Looks whether it has ended, or has run well. ending: it was told to."""
        if self._process is None:
            return
        if self._process.poll() is None:
            if self._failures and time.monotonic() - self._begun > RAN_WELL_S:
                self._failures = 0
                self._remembered.clear()
                log.info("%s runs again", self.program)
            return
        code = self._reaped(self._process, selector)
        how = f"has ended (signal {-code})" if code < 0 else f"has ended (exit code {code})"
        if ending:
            log.info("%s %s", self.program, how)
        else:
            why = f": {self._last}" if code > 0 and self._last else ""
            self._again(logging.WARNING if code else logging.INFO, how + why)

    def terminate(self) -> None:
        """Asks it to end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self, selector: selectors.BaseSelector) -> None:
        """Ends it, if it has not ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._reaped(self._process, selector)

    def _reaped(self, process: "subprocess.Popen[bytes]", selector: selectors.BaseSelector) -> int:
        """Takes the last words of one that has ended, and lets go of it; its exit code, or the signal below zero."""
        while self.hear(selector):
            continue
        self._close_out(selector)
        if process.stdin is not None:
            process.stdin.close()
        self._process, self.pid = None, None
        return process.returncode

    def _close_out(self, selector: selectors.BaseSelector) -> None:
        if self._out is not None:
            selector.unregister(self._out)
            self._out.close()
            self._out = None

    def _again(self, level: int, how: str) -> None:
        """It is to be started again, after a pause."""
        now = time.monotonic()
        if now - self._begun > RAN_WELL_S:
            self._failures = 0
            self._remembered.clear()
        self._failures += 1
        self._due = now + pause_s(self._failures)
        if self._new(how):
            log.log(level, "%s %s; it is started again", self.program, how)

    def _say(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode(errors="backslashreplace")
        text = sentence("".join(each if each.isprintable() else " " for each in text))
        if text:
            self._last = text
            if self._new(text):
                log.info("%s: %s", self.program, text)

    def _new(self, text: str) -> bool:
        """Whether this is not what it said when it last failed. One that runs well may say the same again."""
        if not self._failures and time.monotonic() - self._begun > RAN_WELL_S:
            return True
        if self._failures and text in self._remembered:
            return False
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered.add(text)
        return True
