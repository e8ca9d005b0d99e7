"""What a service manager is told, by a real daemon over a real socket."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.daemon import STARTED_WITHIN_S, Wire, daemon, start
from warpaint.proto.brief import Brief
from warpaint.proto.messages import FrameIn, Painted, Source
from warpaint.server.health import Health
from warpaint.server.notify import Notifier

LIGHT = ("--painters", "identity", "--flows", "none")
TINY = Source(width=32, height=16)
TINY_PAYLOAD = bytes(32 * 16 * 3)


class Manager:
    """Hears what it is told."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def hears(self, within_s: float = STARTED_WITHIN_S) -> dict[str, str]:
        """The next datagram, by names. Raises TimeoutError."""
        self._socket.settimeout(within_s)
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    def hears_of(self, name: str, within_s: float = STARTED_WITHIN_S) -> dict[str, str]:
        """The next datagram that has this name. Raises TimeoutError."""
        deadline = time.monotonic() + within_s
        while True:
            told = self.hears(max(0.01, deadline - time.monotonic()))
            if name in told:
                return told

    def quiet(self, for_s: float) -> bool:
        """Whether nothing is told for so long."""
        try:
            self.hears(for_s)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@contextmanager
def manager(address: str) -> Iterator[Manager]:
    made = Manager(address)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("abstract", [False, True])
@pytest.mark.timing
def test_a_daemon_says_when_it_listens_and_when_it_stops(tmp_path: Path, abstract: bool) -> None:
    address = f"@warpaint-notify-{os.getpid()}" if abstract else f"{tmp_path}/notify"
    with manager(address) as told, daemon(tmp_path, *LIGHT, env={"NOTIFY_SOCKET": address}) as running:
        assert told.hears() == {"STATUS": "loading the engines"}
        assert told.hears() == {"READY": "1", "STATUS": f"listening on {running.address}"}
        assert told.quiet(1.5), "no watchdog was asked for"
        running.process.send_signal(signal.SIGTERM)
        assert told.hears() == {"STOPPING": "1", "STATUS": "finishing the frames in hand"}
        assert running.process.wait(10) == 0


def test_a_daemon_that_cannot_start_says_why(tmp_path: Path) -> None:
    with manager(f"{tmp_path}/notify") as told:
        with (tmp_path / "errors").open("w") as errors:
            flags = ("--bind", f"ipc://{tmp_path}/s", "--painters", "nosuch")
            process = start(flags, errors, env={"NOTIFY_SOCKET": f"{tmp_path}/notify"})
        process.communicate(timeout=STARTED_WITHIN_S)
        said = told.hears_of("ERRNO")
    assert process.returncode == 1
    assert said["STATUS"].startswith("no painter 'nosuch' here")


@pytest.mark.timing
def test_the_watchdog_is_fed_until_the_driver_hangs(tmp_path: Path) -> None:
    gate = tmp_path / "open"
    engines = ("--painters", "identity", "--flows", "flows_under_test:Hangs", "--stalled-s", "2")
    env = {"NOTIFY_SOCKET": f"{tmp_path}/notify", "WATCHDOG_USEC": "600000", "WARPAINT_TEST_GATE": str(gate)}
    with (
        manager(f"{tmp_path}/notify") as told,
        daemon(tmp_path, *engines, env=env) as running,
        Wire(running.address) as wire,
    ):
        told.hears_of("READY")
        for _ in range(2):
            assert told.hears(3.0) == {"WATCHDOG": "1"}
        wire.open(TINY, brief=Brief(cut_detection=False))
        for index in range(2):
            wire.send(FrameIn(session=0, index=index, pts=40 * index), TINY_PAYLOAD)
        wire.until(Painted)
        deadline = time.monotonic() + 15.0
        while not told.quiet(1.8):
            assert time.monotonic() < deadline, "it is fed, whatever the driver does"
        assert "the watchdog is not fed: the driver's loop has not turned for" in running.log.read_text()
        gate.touch()
        wire.until(Painted)
        assert told.hears(3.0) == {"WATCHDOG": "1"}


def test_the_watchdogs_bite_leaves_where_each_thread_was(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as errors:
        process = start(("--bind", f"ipc://{tmp_path}/s", *LIGHT), errors)
    try:
        if process.stdout is None:
            raise RuntimeError("no standard output")
        assert process.stdout.readline()
        process.send_signal(signal.SIGABRT)
        assert process.wait(10) == -signal.SIGABRT
    finally:
        process.kill()
        process.communicate()
    said = (tmp_path / "log").read_text()
    assert "Fatal Python error: Aborted" in said
    assert re.search(r"driver\.py", said)
    assert re.search(r"gateway\.py", said)


@pytest.mark.parametrize(
    ("environment", "fed"),
    [
        ({"WATCHDOG_USEC": "1000000"}, True),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
def test_a_watchdog_is_fed_where_it_waits_for_this_process(
    tmp_path: Path, environment: dict[str, str], fed: bool
) -> None:
    with manager(f"{tmp_path}/notify") as told:
        Notifier.of({"NOTIFY_SOCKET": f"{tmp_path}/notify"} | environment).feed(Health(2.0))
        assert told.quiet(0.05) != fed


def test_without_a_manager_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    Notifier.of({"WATCHDOG_USEC": "1000000"}).feed(Health(2.0))
    Notifier.of({"NOTIFY_SOCKET": ""}).say("READY=1")
    assert caplog.text == ""


def test_a_manager_that_is_gone_is_logged_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(f"{tmp_path}/nobody").say("READY=1", "STATUS=x")
    assert "the service manager cannot be told READY=1: No such file or directory" in caplog.text
