"""Bridges that the daemon runs: it comes up with its streams, and no process is left when it is gone."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.bridge import AT_ONCE, EAGER, LIVE, Programs, free_port, moving
from support.daemon import Daemon, daemon, eventually, not_started
from support.metrics import ANYWHERE, base, scraped, total
from warpaint.client.painting import Client
from warpaint.server import supervisor
from warpaint.server.dry_run import command
from warpaint.server.tables import Program

# Nothing here takes so long, seconds, on a machine that is busy.
WITHIN_S = 30.0

TABLE = """
[[bridge]]
name = "{name}"
in = "tcp://127.0.0.1:{source}?listen=1"
out = "tcp://127.0.0.1:{target}?listen=1"
out_format = "nut"
painter = "identity"
when-unpainted = "raw"
max_pixels = 16384
max_delay_ms = 1000
"""


# Frames a second: several bridges are to fit on a busy machine beside one that was killed, as none is about speed.
RATE = 10


class Streams:
    """A settings file with bridges, and ffmpeg programs on both sides of them."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.file = folder / "warpaint.toml"
        self.file.write_text('painters = ["identity"]\n')
        self.programs = programs

    def add(self, name: str, source: int | None = None, target: int | None = None) -> tuple[int, int]:
        """A bridge from one port to another."""
        ports = source or free_port(), target or free_port()
        with self.file.open("a") as file:
            file.write(TABLE.format(name=name, source=ports[0], target=ports[1]))
        return ports

    def flow(self, source: int, target: int) -> bool:
        """Whether what is sent comes through, from a sender and to a reader that begin now."""
        sender = self.programs.sender(f"tcp://127.0.0.1:{source}", *LIVE, "-f", "nut", *AT_ONCE, rate=RATE)
        reader = self.programs.reader(f"tcp://127.0.0.1:{target}", *EAGER)
        try:
            return moving(reader.pictures(10))
        finally:
            self.programs.end(reader.process)
            self.programs.end(sender)


@pytest.fixture
def streams(ffmpeg: str, tmp_path: Path) -> Iterator[Streams]:
    made = Programs(ffmpeg, "", tmp_path)
    yield Streams(tmp_path, made)
    made.end_all()


def children(running: Daemon) -> dict[str, psutil.Process]:
    """The bridges of a daemon, by where they write."""
    found = psutil.Process(running.process.pid).children()
    return {each.cmdline()[-1]: each for each in found if "bridge" in each.cmdline()}


def says(running: Daemon, words: str, count: int = 1) -> str:
    """Waits until the log says this, so many times."""
    assert eventually(lambda: running.log.read_text().count(words) >= count, WITHIN_S), running.log.read_text()
    return running.log.read_text()


def listening(name: str) -> str:
    return f"bridge {name}: bridging"


@pytest.mark.timing
def test_it_comes_up_with_its_streams_and_starts_a_killed_bridge_again(streams: Streams, tmp_path: Path) -> None:
    ports, others = streams.add("camera"), streams.add("other")
    flags = ("--config", str(streams.file), "--state-dir", f"{tmp_path}/state")
    with daemon(tmp_path, *flags, *ANYWHERE) as running:
        says(running, listening("camera"))
        says(running, listening("other"))
        assert streams.flow(*ports)
        sender = streams.programs.sender(f"tcp://127.0.0.1:{others[0]}", *LIVE, "-f", "nut", *AT_ONCE, rate=RATE)
        reader = streams.programs.reader(f"tcp://127.0.0.1:{others[1]}", *EAGER)
        assert moving(reader.pictures(10))
        before = children(running)
        killed = before[f"tcp://127.0.0.1:{ports[1]}?listen=1"]
        killed.kill()
        says(running, "bridge camera has ended (signal 9)")
        assert eventually(lambda: bound(ports[1]), WITHIN_S)
        assert streams.flow(*ports)
        after = children(running)
        changed = {url for url in before if before[url].pid != after[url].pid}
        assert changed == {f"tcp://127.0.0.1:{ports[1]}?listen=1"}
        with Client(running.address) as client:
            # That of the killed one takes no room.
            assert eventually(lambda: len(client.status().sessions) == 2, WITHIN_S)
        page = scraped(base(running.log))
        assert total(page, "warpaint_bridge_up") == 2
        assert total(page, "warpaint_bridge_restarts_total", bridge="camera") == 1
        assert total(page, "warpaint_bridge_restarts_total", bridge="other") == 0
        assert total(page, "warpaint_resident_bytes", process="bridge camera") > 1e7
        assert moving(reader.pictures(10)[-5:])
        assert sender.poll() is None  # the other one goes on, until the daemon is told to end
        begun = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - begun < supervisor.PARTING_S + 4
        log = running.log.read_text()
        assert "bridge camera has ended (exit code 0)" in log
        assert "bridge other has ended (exit code 0)" in log
        assert log.index("bridge camera has ended (exit code 0)") < log.index("cli: ended")
        assert re.search(r"bridge other: the bridge has ended: \d+ pictures came, \d+ were sent", log)
        assert "trying again" not in log[log.index("SIGTERM") :], "it was served to its end"
        assert "Traceback" not in log
        assert list((tmp_path / "state").glob("*")) == [], "sessions that ended are not written down"
        assert not any(each.is_running() for each in after.values())


def bound(port: int) -> bool:
    """Whether somebody listens there; a bridge that is asked so takes it for a reader that leaves."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_a_killed_daemon_leaves_no_bridge(streams: Streams, tmp_path: Path) -> None:
    streams.add("camera")
    streams.add("other")
    with daemon(tmp_path, "--config", str(streams.file)) as running:
        says(running, listening("camera"))
        says(running, listening("other"))
        left = list(children(running).values())
        assert len(left) == 2
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(WITHIN_S)
        gone, alive = psutil.wait_procs(left, WITHIN_S)
        running.process.returncode = 0  # it was to end like that
    assert len(gone) == 2
    assert alive == []


def test_a_port_in_use_is_told_once_and_the_others_go_on(streams: Streams, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        target = taken.getsockname()[1]
        first, other = streams.add("camera", target=target), streams.add("other")
        with daemon(tmp_path, "--config", str(streams.file), *ANYWHERE) as running:
            sentence = f"tcp://127.0.0.1:{target}?listen=1 cannot be listened to: Address already in use"
            says(running, f"bridge camera has ended (exit code 1): {sentence}; it is started again")
            says(running, listening("other"))
            url = base(running.log)
            assert eventually(
                lambda: total(scraped(url), "warpaint_bridge_restarts_total", bridge="camera") >= 2, WITHIN_S
            )
            assert streams.flow(*other)
            log = running.log.read_text()
            assert log.count(f"bridge camera: {sentence}") == 1
            assert log.count("bridge camera has ended") == 1
            taken.close()
            assert eventually(lambda: bound(target), WITHIN_S)
            assert streams.flow(*first)


@pytest.mark.slow  # for as long as it may take
def test_a_bridge_that_does_not_end_is_killed(streams: Streams, tmp_path: Path) -> None:
    streams.add("camera")
    with daemon(tmp_path, "--config", str(streams.file)) as running:
        says(running, listening("camera"))
        [stopped] = children(running).values()
        stopped.suspend()
        with Client(running.address) as client:
            running.process.send_signal(signal.SIGTERM)
            client.ping()  # it goes on meanwhile
        assert running.process.wait(WITHIN_S) == 0
        assert f"bridge camera has not ended in {supervisor.PARTING_S:g} s: it is killed" in running.log.read_text()
        assert not stopped.is_running()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[bridge]]\nname = "x"\nin = "a"\n', "the bridge 'x' has no out: where it writes"),
        ('[[bridge]]\nname = "x"\nin = "a"\nout = "b"\nloo = "ink"\n', "bridge x: unrecognized arguments: --loo=ink"),
        ('[page]\nno_such_flag = "x"\n', "page: "),
    ],
    ids=["missing", "unknown", "page"],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (file := tmp_path / "warpaint.toml").write_text(text)
    code, log = not_started(tmp_path, "--config", str(file), "--bind", f"ipc://{tmp_path}/w.sock")
    assert code == 2
    assert log.startswith("warpaintd: ")
    assert said in log
    assert len(log.splitlines()) == 1
    assert not (tmp_path / "w.sock").exists()


def test_a_client_ends_with_its_standard_input(shared_daemon: Daemon, tmp_path: Path) -> None:
    """As of a daemon that was killed, where the clients' other connection to it may stand for longer."""
    ends = f"tcp://127.0.0.1:{free_port()}?listen=1", str(tmp_path / "out.nut")
    words = command("--until-stdin-closes", "bridge", f"--daemon={shared_daemon.address}", *ends)
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if process.stdin is None or process.stderr is None:
        raise RuntimeError("no pipes")
    try:
        assert process.stderr.readline().startswith("bridging")
        process.stdin.close()
        assert process.wait(WITHIN_S) == 0
        assert "the bridge has ended" in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_pauses_grow_up_to_the_longest() -> None:
    pauses = [supervisor.pause_s(failures) for failures in range(1, 60)]
    assert pauses[0] == supervisor.FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == supervisor.LONGEST_PAUSE_S


@pytest.mark.parametrize("well_s", [0.0, 60.0])
def test_what_failed_is_told_again_after_it_ran_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, well_s: float
) -> None:
    monkeypatch.setattr(supervisor, "RAN_WELL_S", well_s)
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    wrong = Program("bridge", "x", ("--no-such-flag",), ("udp://127.0.0.1:1", "udp://127.0.0.1:2"))
    held = supervisor.Supervisor([wrong])
    with caplog.at_level("INFO", "warpaint.server.supervisor"):
        held.start(["tcp://127.0.0.1:1", "ipc:///nowhere"])
        [child] = held.children
        assert eventually(lambda: child.restarts >= 2, WITHIN_S)
        held.close()
    assert child.pid is None
    told = [each.message for each in caplog.records if "it is started again" in each.message]
    assert told[0].startswith("bridge x has ended (exit code 2): unrecognized arguments: --no-such-flag;")
    assert told == told[:1] * len(told)
    assert len(told) == 1 if well_s else len(told) >= 2


def test_what_is_ended_before_it_began_is_not_started() -> None:
    held = supervisor.Supervisor(())
    called: list[int] = []
    held.start(["ipc:///nowhere"])
    held.part(lambda: called.append(os.getpid()))
    held.close()
    assert called == [os.getpid()]
