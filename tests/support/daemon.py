"""A real daemon in a process of its own, and a bare ZeroMQ client to be rude to it with."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgpack
import zmq

from warpaint.proto.messages import AskStatus, FrameIn, Message, Open, Opened, Ping, Source, Status
from warpaint.proto.wire import Received, pack, to_client

STARTED_WITHIN_S = 60.0
ENDED_WITHIN_S = 20.0
ANSWERED_WITHIN_S = 30.0
HAPPENED_WITHIN_S = 10.0
LOOKED_EVERY_S = 0.02

# Where the third-party engines of the tests are found.
PLUGINS = Path(__file__).parent / "plugins"


@dataclass
class Daemon:
    """A daemon under test."""

    process: "subprocess.Popen[str]"
    addresses: list[str]
    log: Path

    @property
    def address(self) -> str:
        """The first address."""
        return self.addresses[0]

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(ENDED_WITHIN_S)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None


def start(
    flags: Sequence[str], errors: "IO[str]", *, env: Mapping[str, str] | None = None, stdin: int | None = None
) -> "subprocess.Popen[str]":
    """The process of a daemon with these flags; third-party engines of the tests can be imported there."""
    return subprocess.Popen(
        [sys.executable, "-m", "warpaint.server", *flags],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PLUGINS)} | dict(env or {}),
    )


def not_started(folder: Path, *flags: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit code of a daemon that is to end by itself, and what it said on stderr. Raises TimeoutExpired."""
    log = folder / "not-started.log"
    with log.open("w") as errors:
        process = start(flags, errors, env=env, stdin=subprocess.DEVNULL)
        try:
            process.communicate(timeout=STARTED_WITHIN_S)
        finally:
            process.kill()
    return process.returncode, log.read_text()


@contextmanager
def daemon(
    folder: Path,
    *flags: str,
    binds: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    stdin: int | None = None,
) -> Iterator[Daemon]:
    """A daemon with these flags that listens on an ipc socket in this folder, or where `binds` says.

    At the end it must still be alive, unless the test has ended it: then it must have ended well.
    """
    addresses = list(binds) or [f"ipc://{folder}/warpaint.sock"]
    log = folder / "daemon.log"
    with log.open("w") as errors:
        bind_flags = [part for each in addresses for part in ("--bind", each)]
        process = start([*bind_flags, *flags], errors, env=env, stdin=stdin)
    made = Daemon(process, [], log)
    try:
        if process.stdout is None:
            raise RuntimeError("no standard output")
        for _ in addresses:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the daemon did not start: {log.read_text()}")
            made.addresses.append(line.split()[-1])
        yield made
        if made.alive:
            if (code := made.stop()) != 0:
                raise RuntimeError(f"the daemon ended with {code}: {log.read_text()}")
        elif process.returncode != 0:
            raise RuntimeError(f"the daemon died with {process.returncode}: {log.read_text()}")
    finally:
        if made.alive:
            process.kill()
        process.communicate()


def ended(running: Daemon, number: signal.Signals) -> None:
    """Ends a daemon by this signal. One that is killed counts as ended well: it was on purpose."""
    running.process.send_signal(number)
    running.process.wait(ENDED_WITHIN_S)
    if number is signal.SIGKILL:
        running.process.returncode = 0


def eventually(condition: Callable[[], bool], within_s: float = HAPPENED_WITHIN_S) -> bool:
    """Whether the condition comes to hold in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOKED_EVERY_S)
    return True


class Wire:
    """A connection to a daemon that sends whatever it is told to."""

    def __init__(self, address: str, *, keeps_messages: int = 1_000) -> None:
        """keeps_messages: how many messages that are not yet received ZeroMQ takes in."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, keeps_messages)
        self._socket.setsockopt(zmq.SNDTIMEO, int(ANSWERED_WITHIN_S * 1000))
        self._socket.connect(address)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._context.term()

    def send(self, message: Message, *payloads: bytes | memoryview) -> None:
        """Sends a message."""
        self.send_parts(pack(message), *payloads)

    def send_header(self, header: dict[str, Any], *payloads: bytes) -> None:
        """Sends any map as a header."""
        self.send_parts(msgpack.packb(header), *payloads)

    def send_parts(self, *parts: bytes | memoryview) -> None:
        """Sends any bytes."""
        self._socket.send_multipart(parts)

    def receive(self, timeout_s: float = ANSWERED_WITHIN_S) -> Received[Any]:
        """The next message that is no ping; pings are left unanswered. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while True:
            if not self._socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                raise TimeoutError(f"nothing came in {timeout_s} s")
            received = to_client(self._socket.recv_multipart())
            if not isinstance(received.message, Ping):
                return received

    def open(self, source: Source, session: int = 0, **fields: Any) -> Opened:
        """What the daemon says to `open`. Raises ValueError if that is not `opened`."""
        self.send(Open(session=session, source=source, **fields))
        return self.expect(Opened)

    def frame(self, index: int, payload: bytes | memoryview, *, session: int = 0) -> None:
        """Sends a frame, 40 ms after the one before it."""
        self.send(FrameIn(session=session, index=index, pts=40 * index), payload)

    def status(self) -> Status:
        """How the daemon does; messages before it are passed over."""
        self.send(AskStatus())
        status: Status = self.until(Status)
        return status

    def expect(self, kind: type[Any], timeout_s: float = ANSWERED_WITHIN_S) -> Any:
        """The next message, which must be of this kind. Raises TimeoutError, or ValueError for another."""
        message = self.receive(timeout_s).message
        if not isinstance(message, kind):
            raise ValueError(f"expected {kind.__name__}, got {message!r}")
        return message

    def until(self, kind: type[Any], timeout_s: float = ANSWERED_WITHIN_S) -> Any:
        """The next message of this kind; others before it are passed over. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self.receive(max(0.0, deadline - time.monotonic())).message
            if isinstance(message, kind):
                return message

    def quiet(self, for_s: float) -> bool:
        """Whether nothing comes for so long."""
        return not self._socket.poll(int(for_s * 1000))
