"""Clients that vanish, do not read or talk too much, and how the daemon begins and ends."""

import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.daemon import ANSWERED_WITHIN_S, ENDED_WITHIN_S, Daemon, Wire, daemon, eventually, not_started
from support.scenes import film, two_layers
from warpaint.client.painting import Client
from warpaint.proto.errors import Code
from warpaint.proto.messages import (
    AskStatus,
    Close,
    Closed,
    Credit,
    Dropped,
    Error,
    Open,
    Opened,
    Painted,
    Ping,
    Pong,
    Source,
    Status,
    Update,
)
from warpaint.server.config import Settings

SMALL = Source(width=16, height=8)
PAYLOAD = np.arange(16 * 8 * 3, dtype=np.uint8).tobytes()
MEBIBYTE = 2**20
SOON_S = 5.0  # in which the daemon takes in what a client did

# A client that is killed: it opens a session with frames in hand, says so, and never reads again.
VICTIM = """
import sys, time
import numpy as np
from warpaint.client.painting import Client
client = Client(sys.argv[1])
session = client.session(look="strokes", max_pixels=320 * 240)
for number in range(6):
    session.push(np.full((240, 320, 3), 40 * number, np.uint8), 40 * number)
print("pushed", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("daemon"), "--probe-s", "0.2", "--linger-s", "0") as made:
        yield made


@pytest.fixture(scope="module")
def clip() -> list[NDArray[np.uint8]]:
    return film(two_layers((160, 96)), 24, (160, 96))


@pytest.fixture(scope="module")
def undisturbed(running: Daemon, clip: list[NDArray[np.uint8]]) -> list[bytes]:
    """The clip, painted with nobody else there."""
    with Client(running.address) as client, client.session(look="strokes") as session:
        return [painted.image.tobytes() for painted in session.paint(clip)]


def sessions(running: Daemon) -> int:
    """How many sessions the daemon serves."""
    with Wire(running.address) as wire:
        return len(wire.status().sessions)


def resident(running: Daemon) -> int:
    """Memory that the daemon holds, bytes."""
    with Wire(running.address) as wire:
        return wire.status().resident_bytes


# Clients that are gone


def test_a_killed_client_takes_its_sessions_with_it_and_a_neighbour_sees_nothing_of_it(
    running: Daemon, clip: list[NDArray[np.uint8]], undisturbed: list[bytes]
) -> None:
    assert eventually(lambda: sessions(running) == 0, SOON_S)
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, running.address], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "pushed\n"
    results = []
    with Client(running.address) as client, client.session(look="strokes") as session:
        for painted in session.paint(clip):
            results.append(painted.image.tobytes())
            if len(results) == 3:
                assert sessions(running) == 2
                victim.kill()
        victim.communicate()
        assert eventually(lambda: sessions(running) == 1, SOON_S)
    assert results == undisturbed


def test_a_closed_socket_ends_all_sessions_of_its_connection(running: Daemon) -> None:
    assert eventually(lambda: sessions(running) == 0, SOON_S)
    with Wire(running.address) as leaving, Wire(running.address) as staying:
        staying.open(SMALL, painter="identity")
        for number in range(3):
            leaving.open(SMALL, session=number, painter="identity")
        leaving.frame(0, PAYLOAD)
        assert sessions(running) == 4
        leaving.__exit__()
        assert eventually(lambda: sessions(running) == 1, SOON_S)
        staying.frame(0, PAYLOAD)
        assert bytes(staying.receive().payloads[0]) == PAYLOAD


def test_a_place_that_a_vanished_client_held_is_free_again(tmp_path: Path) -> None:
    with daemon(tmp_path, "--probe-s", "0.2", "--max-sessions", "1") as full:
        with Wire(full.address) as first:
            first.open(SMALL)
        with Wire(full.address) as second:

            def opens() -> bool:
                second.send(Open(session=0, source=SMALL))
                return isinstance(second.receive().message, Opened)

            assert eventually(opens, SOON_S)


# Clients that are rude


@pytest.mark.timing
def test_a_client_that_never_reads_slows_nobody_and_fills_no_memory(running: Daemon) -> None:
    """It sends 350 MB, of which the daemon takes a window; the rest is refused."""
    source = Source(width=320, height=180)
    frame = bytes(320 * 180 * 3)
    with Wire(running.address, keeps_messages=1) as deaf, Wire(running.address) as good:
        good.open(SMALL, painter="identity", flow="none")
        deaf.open(source, painter="identity", flow="none")
        before = resident(running)
        for index in range(2_000):
            deaf.frame(index, frame)
            if index % 100 == 0:
                began = time.monotonic()
                good.frame(index, PAYLOAD)
                assert good.expect(Painted).index == index
                assert time.monotonic() - began < 2.0
        assert resident(running) - before < 60 * MEBIBYTE
        deaf.send(Close(session=0, discard=True))
    assert eventually(lambda: sessions(running) == 0, SOON_S)


def test_results_that_nobody_takes_are_counted_and_bounded(running: Daemon) -> None:
    """Two windows of results fill what ZeroMQ keeps for a client; the others wait in the daemon."""
    width, height = 640, 360
    count = 6
    with Wire(running.address, keeps_messages=1) as deaf:
        for number in range(count):
            deaf.send(Open(session=number, source=Source(width=width, height=height), painter="identity", flow="none"))
            deaf.expect(Opened)
        for number in range(count):
            for index in range(8):
                deaf.frame(index, bytes(width * height * 3), session=number)
        with Wire(running.address) as other:

            def unsent() -> int:
                return sum(each.unsent for each in other.status().sessions)

            assert eventually(lambda: sum(each.totals.painted for each in other.status().sessions) == count * 8, SOON_S)
            assert 0 < unsent() <= count * 8
            other.open(SMALL, session=count - 1)  # a session of the same number, whose results are all taken
            assert [each.unsent for each in other.status().sessions if each.width == SMALL.width] == [0]
            answered = [deaf.receive().message for _ in range(count * 8)]
            assert {each.type for each in answered} == {"painted"}
            for number in range(count):
                assert [each.index for each in answered if each.session == number] == list(range(8))
            assert eventually(lambda: unsent() == 0, SOON_S)


@pytest.mark.parametrize("kind", ["ping", "status"])
@pytest.mark.timing
def test_a_flood_from_a_client_that_does_not_read_slows_nobody_and_fills_no_memory(tmp_path: Path, kind: str) -> None:
    with (
        daemon(tmp_path) as flooded,
        Wire(flooded.address, keeps_messages=1) as deaf,
        Wire(flooded.address) as good,
    ):
        good.open(SMALL, painter="identity", flow="none")
        deaf.open(SMALL, painter="identity", flow="none")
        before = resident(flooded)
        for _ in range(5_000):
            deaf.send(Ping() if kind == "ping" else AskStatus())
        good.frame(0, PAYLOAD)
        assert good.expect(Painted, 3.0).index == 0
        assert resident(flooded) - before < 15 * MEBIBYTE


def test_a_flood_of_updates_is_bounded_while_a_painter_is_busy(tmp_path: Path) -> None:
    """A client that takes its answers may still not pile up work behind a frame that takes long."""
    count, burst = 1_000, 50
    with (
        daemon(tmp_path, "--painters", "painters_under_test:Slow") as slow,
        Wire(slow.address) as wire,
        Wire(slow.address) as other,
    ):
        wire.open(SMALL)
        wire.frame(0, PAYLOAD)
        for start in range(0, count, burst):
            for request in range(start, start + burst):
                wire.send(Update(session=0, request=request, changes={"seed": request}))
            for _ in range(burst):
                wire.receive()
        [session] = other.status().sessions
        assert session.totals.painted == 0
        assert session.waiting < 200
        wire.send(Close(session=0, discard=True))
        wire.until(Closed)


def test_a_flood_from_a_client_that_reads_is_answered_whole(running: Daemon) -> None:
    burst = 8
    with Wire(running.address) as wire, Wire(running.address) as good:
        good.open(SMALL, painter="identity", flow="none")
        for index in range(50):
            for nonce in range(burst):
                wire.send(Ping(nonce=nonce))
                wire.send(AskStatus())
            good.frame(index, PAYLOAD)
            assert good.expect(Painted, 2.0).index == index
            answers = [wire.receive(5.0).message for _ in range(2 * burst)]
            assert [each.nonce for each in answers if isinstance(each, Pong)] == list(range(burst))
            assert sum(isinstance(each, Status) for each in answers) == burst


# The end


def test_at_sigterm_the_frames_in_hand_are_painted_and_the_client_is_told(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, "--painters", "painters_under_test:Unhurried", "--flows", "none") as ending,
        Wire(ending.address) as wire,
    ):
        credit = wire.open(SMALL).credit
        for index in range(credit):
            wire.frame(index, PAYLOAD)
        with Wire(ending.address) as other:
            assert eventually(lambda: other.status().sessions[0].totals.received == credit, SOON_S)
        assert wire.expect(Painted).index == 0
        ending.process.send_signal(signal.SIGTERM)
        messages = [wire.receive().message]
        while not isinstance(messages[-1], Closed):
            messages.append(wire.receive().message)
        assert [each.frames for each in messages if isinstance(each, Credit)] == [0]
        assert [each.index for each in messages if isinstance(each, Painted)] == list(range(1, credit))
        assert messages[-1].reason == "shutting_down"
        totals = messages[-1].totals
        assert (totals.received, totals.painted, totals.dropped, totals.failed) == (credit, credit, 0, 0)
        assert ending.process.wait(ENDED_WITHIN_S) == 0
        assert not (tmp_path / "warpaint.sock").exists()


def test_after_sigterm_nothing_new_is_taken_and_that_is_said(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, "--painters", "painters_under_test:Unhurried", "--flows", "none") as ending,
        Wire(ending.address) as wire,
    ):
        wire.open(SMALL)
        for index in range(6):
            wire.frame(index, PAYLOAD)
        with Wire(ending.address) as other:
            assert eventually(lambda: other.status().sessions[0].totals.received == 6, SOON_S)
        ending.process.send_signal(signal.SIGTERM)
        assert wire.until(Credit).frames == 0
        wire.send(Open(session=1, source=SMALL))
        wire.frame(6, PAYLOAD)
        messages = [wire.receive().message]
        while not isinstance(messages[-1], Closed):
            messages.append(wire.receive().message)
        [refusal] = [each for each in messages if isinstance(each, Error) and each.session == 1]
        assert refusal.code is Code.SHUTTING_DOWN
        [answer] = [each for each in messages if getattr(each, "index", None) == 6]
        code = answer.reason if isinstance(answer, Dropped) else answer.code
        assert code in (Code.SHUTTING_DOWN, Code.WINDOW_OVERRUN)
        assert ending.process.wait(ENDED_WITHIN_S) == 0


@pytest.mark.timing
def test_what_takes_longer_than_drain_s_is_dropped_and_reported(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, "--painters", "painters_under_test:Slow", "--drain-s", "0.2") as ending,
        Wire(ending.address) as wire,
    ):
        wire.open(SMALL)
        for index in range(3):
            wire.frame(index, PAYLOAD)
        assert eventually(lambda: wire.status().sessions[0].totals.received == 3, SOON_S)
        ending.process.send_signal(signal.SIGTERM)
        assert wire.expect(Credit).frames == 0
        dropped = [wire.expect(Dropped) for _ in range(3)]
        assert [each.index for each in dropped] == [0, 1, 2]
        closed = wire.expect(Closed)
        assert (closed.reason, closed.totals.received, closed.totals.dropped) == ("shutting_down", 3, 3)
        assert ending.process.wait(2.0) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_an_idle_daemon_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with daemon(tmp_path) as ending, Wire(ending.address) as wire:
        wire.open(SMALL)
        ending.process.send_signal(number)
        assert wire.until(Closed).totals.received == 0
        assert ending.process.wait(3.0) == 0
        assert not (tmp_path / "warpaint.sock").exists()
        assert "Traceback" not in ending.log.read_text()


def test_a_client_that_does_not_read_does_not_keep_the_daemon_from_ending(tmp_path: Path) -> None:
    with daemon(tmp_path) as ending, Wire(ending.address, keeps_messages=1) as deaf:
        for number in range(6):
            deaf.open(Source(width=640, height=360), session=number, painter="identity", flow="none")
        for number in range(6):
            for index in range(8):
                deaf.frame(index, bytes(640 * 360 * 3), session=number)
        deaf.until(Painted)
        ending.process.send_signal(signal.SIGTERM)
        assert ending.process.wait(ENDED_WITHIN_S) == 0


def test_it_ends_when_standard_input_closes(tmp_path: Path) -> None:
    with daemon(tmp_path, "--until-stdin-closes", stdin=subprocess.PIPE) as ending:
        assert ending.process.stdin is not None
        ending.process.stdin.write("words on standard input mean nothing\n")
        ending.process.stdin.flush()
        with Wire(ending.address) as wire:
            wire.open(SMALL)
            assert ending.alive
            ending.process.stdin.close()
            assert wire.until(Closed).reason == "shutting_down"
        assert ending.process.wait(ENDED_WITHIN_S) == 0
        ending.process.stdin = None


def test_without_standard_input_it_serves_as_ever(tmp_path: Path) -> None:
    script = 'exec "$0" -m warpaint.server --bind "$1" 0<&-'
    address = f"ipc://{tmp_path}/warpaint.sock"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, sys.executable, address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert address in process.stdout.readline()
        with Wire(address) as wire:
            wire.send(Open(session=0, source=SMALL, painter="identity"))
            wire.expect(Opened, 5.0)
        process.terminate()
        _, errors = process.communicate(timeout=ENDED_WITHIN_S)
        assert process.returncode == 0, errors
    finally:
        process.kill()
        process.communicate()


# The beginning


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        code, said = not_started(tmp_path, "--bind", address)
    assert code == 1
    assert address in said
    assert "in use" in said
    assert "Traceback" not in said


def test_an_ipc_path_in_use_is_left_to_the_daemon_that_has_it(running: Daemon, tmp_path: Path) -> None:
    code, said = not_started(tmp_path, "--bind", running.address)
    assert code == 1
    assert running.address in said
    assert "another daemon" in said
    assert "Traceback" not in said
    with Wire(running.address) as wire:
        wire.send(Ping(nonce=1))
        assert wire.expect(Pong).nonce == 1


def test_a_socket_that_nobody_listens_on_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "warpaint.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert path.is_socket()
    with daemon(tmp_path) as made, Wire(made.address) as wire:
        wire.send(Ping(nonce=1))
        assert wire.expect(Pong).nonce == 1


def test_a_file_where_the_socket_should_be_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_text("a film")
    code, said = not_started(tmp_path, "--bind", f"ipc://{path}", "--until-stdin-closes")
    assert path.is_file()
    assert path.read_text() == "a film"
    assert code == 1
    assert str(path) in said


def test_several_addresses_are_served_at_once(tmp_path: Path) -> None:
    binds = [f"ipc://{tmp_path}/one.sock", "tcp://127.0.0.1:*"]
    with daemon(tmp_path, binds=binds) as made:
        assert made.addresses[1].startswith("tcp://127.0.0.1:")
        for address in made.addresses:
            with Wire(address) as wire:
                wire.open(SMALL, painter="identity")
                wire.frame(0, PAYLOAD)
                assert bytes(wire.receive().payloads[0]) == PAYLOAD


@pytest.mark.parametrize(
    "address", ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://192.168.1.1:5555", "tcp://127.0.0.1.example:1", "ipc://x"]
)
def test_what_others_could_reach_is_not_bound(tmp_path: Path, address: str) -> None:
    code, said = not_started(tmp_path, "--bind", address)
    assert code == 2
    assert address in said
    assert "127.0.0.1" in said
    assert "Traceback" not in said


def test_flags_come_before_the_environment_that_before_the_file_and_that_before_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("window = 3\nmax_sessions = 3\nmax_pixels = 3072\n")
    env = {"WARPAINT_WINDOW": "2", "WARPAINT_MAX_SESSIONS": "2"}
    with daemon(tmp_path, "--config", str(file), "--window", "1", env=env) as made, Wire(made.address) as wire:
        opened = wire.open(Source(width=640, height=480))
        assert opened.credit == 1
        assert opened.width * opened.height <= 3072
        assert (opened.painter, opened.flow) == ("filters", "dis")
        wire.open(SMALL, session=1)
        wire.send(Open(session=2, source=SMALL))
        assert wire.expect(Error).code is Code.TOO_MANY_SESSIONS


def test_lists_in_the_environment_are_separated_by_commas(tmp_path: Path) -> None:
    with daemon(tmp_path, env={"WARPAINT_PAINTERS": "identity, filters"}) as made, Wire(made.address) as wire:
        assert wire.open(SMALL).painter == "identity"


@pytest.mark.parametrize(
    ("file", "env", "flags", "named"),
    [
        ("windwo = 3", {}, [], "windwo"),
        ("", {}, ["--windwo", "3"], "windwo"),
        ("window = 0", {}, [], "window"),
        ("", {"WARPAINT_WINDOW": "many"}, [], "window"),
        ("", {}, ["--window", "100000"], "window"),
        ("window = ", {}, [], "TOML"),
    ],
    ids=["file", "flag", "low", "no number", "high", "no TOML"],
)
def test_settings_that_cannot_be_are_named(
    tmp_path: Path, file: str, env: dict[str, str], flags: list[str], named: str
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(file)
    ends = ["--until-stdin-closes", "--bind", f"ipc://{tmp_path}/warpaint.sock"]
    code, said = not_started(tmp_path, "--config", str(path), *flags, *ends, env=env)
    assert code == 2
    assert named.lower() in said.lower() or str(path) in said
    assert "Traceback" not in said


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, said = not_started(tmp_path, "--config", str(tmp_path / "no.toml"))
    assert code == 2
    assert "no.toml" in said


def test_the_printed_settings_are_the_defaults() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "warpaint.server", "--print-config"],
        capture_output=True,
        text=True,
        check=True,
        timeout=ANSWERED_WITHIN_S,
    ).stdout
    defaults = {
        name: list(field.default) if isinstance(field.default, tuple) else field.default
        for name, field in Settings.model_fields.items()
        if name != "bind"  # the user's own socket: shown, not set
        and field.default is not None  # which TOML has no word for
    }
    assert tomllib.loads(printed) == defaults
    assert "# bind = " in printed


def test_the_version_is_printed(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "warpaint.server", "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 0
    assert ran.stdout.startswith("warpaintd ")
