"""What goes wrong in a live film: engines, streams, clocks and processes. Each fault is told, and the film goes on."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from support.camera import FRAME_MS, Camera
from support.clips import coded, frames
from support.daemon import Daemon, Wire, daemon
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.messages import (
    Close,
    Closed,
    Dropped,
    Error,
    FrameIn,
    Notice,
    Painted,
    Provenance,
    Source,
    Update,
    Updated,
)

SIZE = (96, 64)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
PATIENT_MS = 10_000.0
# Its painters paint one colour, whatever the light.
STEADY = Brief(
    keyframe_gap_min_s=1000.0,
    keyframe_gap_max_s=2000.0,
    cut_detection=False,
    hole_limit=1.0,
    fade_s=0.0,
    follow_light=False,
)
PAINTERS = ["Gated", "Negative", "Raises", "Slow", "KillsItself", "NotNumbers", "WrongShape", "Nothing"]
FLOWS = ["Still", "RaisesNowAndThen", "RaisesInEncode", "WrongShape", "NotNumbers"]
RED = (0, 0, 255)
MEBIBYTE = 2**20

# A client that films as fast as it may, and says in the end what became of its frames.
FILMING = """
import json, sys, time
import numpy as np
from warpaint.client.painting import Client
picture = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
results = pushed = 0
with Client(sys.argv[1]) as client:
    with client.session(pacing="live", painter="identity", max_delay_ms=10_000.0) as session:
        while not results or sys.argv[2] not in [line.strip() for line in open(sys.argv[3])]:
            session.push(picture, 40 * pushed)
            pushed += 1
            client.wait(timeout_s=0.02)
            results += sum(1 for _ in session.results(wait=False))
            if results == 1:
                print("filming", flush=True)
        results += sum(1 for _ in session.results())
    print(json.dumps([pushed, results, sum(session.dropped.values()), session.totals.model_dump()]))
"""

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file without which `Gated` does not paint."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Daemon]:
    painters = ",".join([*(f"painters_under_test:{name}" for name in PAINTERS), "identity"])
    flows = ",".join(["dis", *(f"flows_under_test:{name}" for name in FLOWS)])
    flags = ["--painters", painters, "--flows", flows, "--paint-timeout-s", "0.5", "--probe-s", "0.3"]
    with daemon(tmp_path_factory.mktemp("daemon"), *flags, env={"WARPAINT_TEST_GATE": str(gate)}) as made:
        yield made


@pytest.fixture
def wire(running: Daemon, gate: Path) -> Iterator[Wire]:
    gate.unlink(missing_ok=True)
    with Wire(running.address) as made:
        yield made
        made.send(Close(session=0, discard=True))


@pytest.fixture(scope="module")
def clip() -> list[bytes]:
    """A real clip, without a cut."""
    return [picture.tobytes() for picture in frames("bikes", SIZE, stop=40)]


def opened(wire: Wire, painter: str, flow: str = "flows_under_test:Still", **fields: Any) -> Camera:
    usual: dict[str, Any] = {"source": SOURCE, "brief": STEADY, "max_delay_ms": PATIENT_MS, "pacing": "live"}
    wire.open(
        painter=painter if painter == "identity" else f"painters_under_test:{painter}", flow=flow, **usual | fields
    )
    return Camera(wire)


def notices(camera: Camera) -> list[Notice]:
    return [each for each in camera.said if isinstance(each, Notice)]


def shown(answer: Any) -> Picture:
    return np.frombuffer(answer.payloads[0], np.uint8).reshape(SIZE[1], SIZE[0], 3)


def is_red(answer: Any) -> bool:
    return bool((shown(answer) == RED).all())


def closed(wire: Wire) -> Any:
    wire.send(Close(session=0))
    return wire.until(Closed).totals


# Engines


@pytest.mark.parametrize(
    ("painter", "code", "reason"),
    [
        ("Raises", Code.PAINTER_FAILED, "out of paint"),
        ("Slow", Code.PAINTER_TIMEOUT, "longer than 0.5 s"),
        ("NotNumbers", Code.PAINTER_FAILED, "float32"),
        ("WrongShape", Code.PAINTER_FAILED, "(3, 3)"),
        ("Nothing", Code.PAINTER_FAILED, "a list of 0"),
    ],
)
def test_a_painter_that_fails_is_told_and_costs_no_frame(
    wire: Wire, clip: list[bytes], painter: str, code: Code, reason: str
) -> None:
    camera = opened(wire, painter)
    answers = camera.film_until(lambda _: bool(notices(camera)), clip[:1])
    answers += camera.film(clip[:1] * 3)
    assert {each.message.type for each in answers} == {"painted"}
    assert {each.message.provenance for each in answers} == {Provenance.HELD}
    assert {bytes(each.payloads[0]) for each in answers} == {clip[0]}
    told = notices(camera)[0]
    assert (told.session, told.code) == (0, code)
    assert reason in told.message
    assert "Traceback" not in told.message
    totals = closed(wire)
    assert (totals.painted, totals.failed, totals.dropped, totals.keyframes) == (len(answers), 0, 0, 0)


def test_a_painter_that_dies_paints_again_in_its_next_life(wire: Wire, clip: list[bytes]) -> None:
    """It dies at every third job. The next process may take longer to load than a call may take: that is told, too."""
    camera = opened(wire, "KillsItself")
    for request in range(4):
        camera.film_until(lambda each: each.message.keyframe, clip[:1])
        wire.send(Update(session=0, request=request, changes={"seed": request + 1}))
    deaths = [each for each in notices(camera) if each.code is Code.PAINTER_FAILED]
    assert deaths
    assert all("died (signal 9)" in each.message for each in deaths)
    assert {each.code for each in notices(camera)} <= {Code.PAINTER_FAILED, Code.PAINTER_TIMEOUT}
    assert closed(wire).failed == 0


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_painter_that_hangs_over_the_frame_of_a_session_that_ended_paints_for_others(
    tmp_path: Path, isolation: str
) -> None:
    flags = ("--painters", "painters_under_test:HangsOnce", "--flows", "none", "--paint-timeout-s", "0.5")
    payload = bytes(SIZE[0] * SIZE[1] * 3)
    with daemon(tmp_path, *flags, "--isolation", isolation) as hanging, Wire(hanging.address) as wire:
        wire.open(SOURCE)
        wire.frame(0, payload)
        assert wire.quiet(0.2)
        wire.send(Close(session=0, discard=True))
        wire.until(Closed)
        wire.open(SOURCE)
        wire.frame(0, payload)
        answer = wire.receive(10.0).message
        if isinstance(answer, Error):  # of a process, the new one hangs at its first job, too
            assert (isolation, answer.code) == ("process", Code.PAINTER_TIMEOUT)


def test_wishes_that_were_overtaken_before_they_were_begun_hold_no_frames(tmp_path: Path) -> None:
    """The painter is busy for another session, while somebody turns a knob."""
    size = (640, 360)
    flags = ("--painters", "painters_under_test:Gated", "--flows", "flows_under_test:Still")
    with daemon(tmp_path, *flags) as running, Wire(running.address) as busy, Wire(running.address) as turning:
        opened(busy, "Gated").shoot(bytes(SIZE[0] * SIZE[1] * 3))
        camera = opened(turning, "Gated", source=Source(width=size[0], height=size[1]))
        camera.film([bytes(size[0] * size[1] * 3)] * 3)
        before = busy.status().resident_bytes
        for request in range(150):
            turning.send(Update(session=0, request=request, changes={"seed": request + 1}))
            camera.shoot(bytes([request]) * (size[0] * size[1] * 3))
        assert busy.status().resident_bytes - before < 40 * MEBIBYTE


def test_a_flow_engine_that_fails_now_and_then_costs_the_paint_of_those_frames_alone(
    wire: Wire, clip: list[bytes], gate: Path
) -> None:
    gate.touch()
    camera = opened(wire, "Gated", "flows_under_test:RaisesNowAndThen")
    camera.film_until(is_red, clip[:1])
    told = len(notices(camera))
    answers = camera.film(clip[:12])
    assert {each.message.type for each in answers} == {"painted"}
    held = [each for each in answers if each.message.provenance is Provenance.HELD]
    assert 0 < len(held) < 12
    assert all(is_red(each) for each in answers if each not in held)
    for each in held:
        assert bytes(each.payloads[0]) == clip[answers.index(each)]
    camera.film(clip[:1])  # brings what was said of the last one
    assert len(notices(camera)) - told in (len(held), len(held) + 1)
    assert {each.code for each in notices(camera)} == {Code.FLOW_FAILED}


@pytest.mark.parametrize("flow", ["RaisesInEncode", "WrongShape", "NotNumbers"])
def test_a_flow_engine_that_always_fails_leaves_the_raw_film(wire: Wire, clip: list[bytes], flow: str) -> None:
    camera = opened(wire, "Negative", f"flows_under_test:{flow}")
    answers = camera.film(clip[:6])
    assert [bytes(each.payloads[0]) for each in answers] == clip[:6]
    assert {each.message.provenance for each in answers} == {Provenance.HELD}
    assert {each.code for each in notices(camera)} == {Code.FLOW_FAILED}
    assert closed(wire).painted == 6


# Streams


@pytest.mark.parametrize("pacing", ["every", "live"])
def test_a_damaged_stream_goes_on_at_its_next_keyframe(wire: Wire, pacing: str) -> None:
    pictures = [np.ascontiguousarray(each) for each in frames("bikes", SIZE, stop=18)]
    payloads = coded(pictures, gop=6)
    payloads[8] = payloads[8][:12]
    source = SOURCE.model_copy(update={"encoding": "h264"})
    camera = opened(wire, "identity", source=source, pacing=pacing)
    answers = [camera.shoot(payload).message for payload in payloads]
    failed = [each.index for each in answers if isinstance(each, Error)]
    assert failed == [8, 9, 10, 11]
    assert {each.code for each in answers if isinstance(each, Error)} == {Code.BAD_FRAME}
    totals = closed(wire)
    assert (totals.received, totals.painted, totals.failed) == (18, 14, 4)


def test_a_flood_beyond_the_credit_is_answered_frame_by_frame_and_the_film_goes_on(
    wire: Wire, clip: list[bytes]
) -> None:
    camera = opened(wire, "Negative", "dis")
    count = 300
    for number in range(count):
        camera.send(clip[number % len(clip)])
    answers = [wire.receive().message for _ in range(count)]
    assert sorted(each.index for each in answers) == list(range(count))
    assert {each.code for each in answers if isinstance(each, Error)} <= {Code.WINDOW_OVERRUN}
    assert {each.reason for each in answers if isinstance(each, Dropped)} <= {Code.SUPERSEDED}
    assert sum(isinstance(each, Painted) for each in answers) < count
    assert camera.shoot(clip[0]).message.type == "painted"
    totals = closed(wire)
    assert totals.received == count + 1 - sum(isinstance(each, Error) for each in answers)
    assert totals.received == totals.painted + totals.dropped


def test_updates_of_which_no_frame_is_seen_do_not_pile_up(wire: Wire, clip: list[bytes]) -> None:
    count, burst = 1_500, 50
    camera = opened(wire, "identity", pacing="every")
    camera.shoot(clip[0])
    for start in range(0, count, burst):
        for request in range(start, start + burst):
            wire.send(Update(session=0, request=request, changes={"feather": request % 9}))
        assert [wire.expect(Updated).request for _ in range(burst)] == list(range(start, start + burst))
    camera.shoot(clip[1])
    wire.send(Close(session=0))
    seen = []
    while isinstance(message := wire.receive().message, Updated):
        seen.append(message.request)
    assert isinstance(message, Closed)
    assert seen == list(range(count - 1_000, count))


# Clocks


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000, 2**53 - 10_000, -(2**53) + 10_000, -200])
def test_a_clock_that_jumps_begins_no_storm_of_keyframes(wire: Wire, clip: list[bytes], jump_ms: int) -> None:
    brief = Brief(keyframe_threshold=255.0, keyframe_gap_max_s=1000.0, cut_detection=False, hole_limit=1.0)
    camera = opened(wire, "Negative", brief=brief)
    camera.film_until(lambda each: each.message.keyframe, clip[:1])
    for _ in range(2):
        camera.pts = jump_ms if abs(jump_ms) > 2**52 else camera.pts + jump_ms
        answers = camera.film(clip[:25])
        assert {each.message.type for each in answers} == {"painted"}
        assert sum(each.message.keyframe for each in answers) <= 1
    assert closed(wire).keyframes <= 3


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_a_clock_that_jumps_ends_the_fade(wire: Wire, clip: list[bytes], gate: Path, jump_ms: int) -> None:
    gate.touch()
    camera = opened(wire, "Gated", brief=STEADY.changed({"fade_s": 10.0}))
    [*_, first] = camera.film_until(lambda each: each.message.provenance is not Provenance.HELD, clip[:1])
    assert not is_red(first)
    gate.unlink()
    camera.pts += jump_ms
    assert is_red(camera.shoot(clip[0]))
    assert all(is_red(each) for each in camera.film(clip[:3]))


def test_a_clock_that_stands_still_is_no_harm(wire: Wire, clip: list[bytes], gate: Path) -> None:
    gate.touch()
    camera = opened(wire, "Gated", brief=STEADY.changed({"fade_s": 0.1}))
    camera.film_until(is_red, clip[:1])
    camera.film(clip[:1] * 3)
    for index in range(5):
        camera.pts -= FRAME_MS
        answer = camera.shoot(clip[0])
        assert answer.message.type == "painted"
        assert is_red(answer), index
    assert closed(wire).keyframes == 1


# Processes


def test_after_a_daemon_was_stopped_it_goes_on_from_now(running: Daemon, wire: Wire, clip: list[bytes]) -> None:
    """What came meanwhile is old: it is dropped, but for the last of it, and what it was at."""
    camera = opened(wire, "Negative", "dis")
    camera.film(clip[:3])
    process = psutil.Process(running.process.pid)
    process.suspend()
    try:
        for payload in clip[3:11]:
            camera.send(payload)
            time.sleep(0.02)
    finally:
        process.resume()
    answers = [wire.receive().message for _ in range(8)]
    assert sorted(each.index for each in answers) == list(range(3, 11))
    painted = [each.index for each in answers if isinstance(each, Painted)]
    assert painted[-1] == 10
    assert len(painted) <= 4
    assert {each.reason for each in answers if isinstance(each, Dropped)} <= {Code.SUPERSEDED, Code.LATE}
    assert {each.message.type for each in camera.film(clip[11:16])} == {"painted"}


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Kills the process if the test fails: it would film on, and be waited for."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


@pytest.mark.parametrize("for_s", [0.2, 1.5], ids=["briefly", "until it is given up"])
def test_a_client_that_was_stopped_goes_on_and_no_frame_is_unaccounted_for(
    running: Daemon, wire: Wire, clip: list[bytes], tmp_path: Path, for_s: float
) -> None:
    """Meanwhile another one has all its frames."""
    orders = tmp_path / "orders"
    orders.write_text("go on\n")
    command = [sys.executable, "-c", FILMING, running.address, "end", str(orders)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as filming, ended(filming):
        assert filming.stdout is not None
        assert filming.stdout.readline() == "filming\n"
        camera = opened(wire, "identity")
        filming.send_signal(signal.SIGSTOP)
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            assert camera.shoot(clip[0]).message.type == "painted"
            time.sleep(0.02)
        filming.send_signal(signal.SIGCONT)
        orders.write_text("end\n")
        said = filming.stdout.read().split("\n")
    pushed, results, dropped, totals = json.loads(said[-2])
    assert filming.returncode == 0
    assert pushed == results + dropped
    assert totals["received"] == totals["painted"] + totals["dropped"] + totals["failed"]
    assert results <= totals["painted"]
    assert closed(wire).dropped == 0


def test_a_frame_that_is_no_picture_fails_alone(wire: Wire, clip: list[bytes]) -> None:
    camera = opened(wire, "Negative")
    camera.shoot(clip[0])
    error = camera.shoot(clip[0][:-1]).message
    assert (error.code, error.index) == (Code.BAD_PAYLOAD, 1)
    wire.send(FrameIn(session=0, index=1, pts=0), clip[0])
    assert wire.until(Error).code is Code.BAD_INDEX
    assert camera.shoot(clip[0]).message.type == "painted"
    totals = closed(wire)
    assert (totals.received, totals.painted, totals.failed) == (3, 2, 1)
