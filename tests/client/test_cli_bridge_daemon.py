"""`warpaint bridge` beside what a daemon does: when it is busy, and while nothing is painted yet."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bridge import AT_ONCE, EAGER, LIVE, Gray, Programs, Reader, RunningBridge, free_port, moving
from support.daemon import Daemon, daemon
from warpaint.client.painting import Client
from warpaint.proto.errors import RefusedError
from warpaint.proto.messages import Source

TCP = "tcp://127.0.0.1:{}"
LISTEN = "?listen=1"
NUT = (*LIVE, "-f", "nut", *AT_ONCE)
GATED = "painters_under_test:Gated"
# Pictures that are looked through until one is as it is to be, at most: some ten seconds.
PATIENCE = 250
PATIENT_MS = 10_000.0  # a max_delay_ms that nothing is late for


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file without which `Gated` does not paint."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Daemon]:
    flags = ("--painters", f"identity,{GATED}", "--linger-s", "0")
    with daemon(tmp_path_factory.mktemp("daemon"), *flags, env={"WARPAINT_TEST_GATE": str(gate)}) as made:
        yield made


@pytest.fixture
def programs(ffmpeg: str, running: Daemon, gate: Path, tmp_path: Path) -> Iterator[Programs]:
    gate.unlink(missing_ok=True)
    made = Programs(ffmpeg, running.address, tmp_path)
    yield made
    made.end_all()


def bridged(programs: Programs, *flags: str) -> tuple[str, RunningBridge, Reader]:
    """Where to send, the bridge, and a reader."""
    source, target = TCP.format(free_port()), TCP.format(free_port())
    bridge = programs.standing(source + LISTEN, target + LISTEN, *flags)
    return source, bridge, programs.reader(target, *EAGER)


# What is seen while nothing is painted


def flat(picture: Gray) -> bool:
    """Whether it is one colour, as `Gated` paints; what is sent shows much."""
    return bool(picture.std() < 5)


def changed(pictures: list[Gray]) -> bool:
    """Whether the last one shows something else than the first: more than coding does, levels."""
    return float(abs(pictures[0].astype(int) - pictures[-1]).mean()) > 3.0


def until(reader: Reader, *, painted: bool) -> None:
    """Reads up to a picture that is painted, or raw."""
    for _ in range(PATIENCE):
        if flat(reader.pictures(1)[0]) == painted:
            return
    raise TimeoutError("all pictures are " + ("raw" if painted else "painted"))


@pytest.mark.parametrize("when_unpainted", ["raw", "held"])
def test_what_is_seen_while_nothing_is_painted(programs: Programs, gate: Path, when_unpainted: str) -> None:
    """The raw picture, or the last one that was sent: at the start, that is the first; after a cut, a painted one."""
    source, bridge, reader = bridged(programs, "--painter", GATED, "--when-unpainted", when_unpainted)
    first = programs.sender(source, *NUT)
    begun = reader.pictures(20)
    assert not any(map(flat, begun))
    assert changed(begun) == (when_unpainted == "raw")
    gate.touch()
    until(reader, painted=True)
    programs.end(first)
    gate.unlink()
    programs.start("-re", "-f", "lavfi", "-i", "mandelbrot=s=160x96:r=25", *NUT, source)
    after = reader.pictures(40)[-10:]  # no more than ten of the first film were on their way
    assert {flat(picture) for picture in after} == {when_unpainted == "held"}
    gate.touch()
    if when_unpainted == "raw":
        until(reader, painted=True)
    assert bridge.stop()[0] == 0


# When it is busy


def full(client: Client) -> None:
    """Opens a session that is promised nearly all the time that the daemon has."""
    rate = 1_000.0
    for _ in range(5):
        try:
            session = client.session(painter="identity", pacing="live", max_delay_ms=PATIENT_MS)
            session.open(Source(width=1280, height=720, rate=rate))
        except RefusedError as error:
            [fits] = re.findall(r"([\d.]+) frames a second would fit", str(error))
            rate = float(fits)
        else:
            return
    raise RuntimeError("no session is admitted")


def test_a_daemon_that_is_busy_is_asked_again(programs: Programs) -> None:
    with Client(programs.daemon) as other:
        full(other)
        source, bridge, reader = bridged(programs, "--rate", "25")
        programs.sender(source, *NUT)
        said = bridge.says("trying again")
        assert "the daemon refuses this input: 25 frames a second would take" in said
    assert moving(reader.pictures(10))
    code, said = bridge.stop()
    assert code == 0
    assert said.count("refuses") == 1
    assert "pictures as the daemon refused them" in said


def test_a_wish_that_can_never_be_met_ends_it(programs: Programs) -> None:
    source, bridge, _ = bridged(programs, "--rate", "1000", "--max-pixels", "1000000")
    programs.sender(source, *NUT, size="960x540")
    code, said = bridge.ended()
    assert code == 1
    assert "1000 frames a second would take" in said
    assert "trying again" not in said
