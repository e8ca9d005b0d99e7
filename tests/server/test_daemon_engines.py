"""Third-party engines in a real daemon: what they do wrong fails the frame, never the session or the daemon."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.daemon import Daemon, Wire, daemon, not_started
from warpaint.proto.brief import Brief
from warpaint.proto.errors import RETRY, Code
from warpaint.proto.messages import Close, Closed, Error, Painted, Source, Status

SIZE = (32, 16)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
TIMEOUT_S = 0.5

PAINTERS = ["Negative", "Raises", "WrongShape", "Floats", "Nothing", "WritesIntoInput", "FailsNow", "Slow"]
PAINTERS += ["MakesUpAnError", "SaysTooMuch", "OfAnotherJob", "Exits", "MarksTopLeft", "NotNumbers", "MemoryOfText"]
FLOWS = ["Still", "RaisesInEncode", "RaisesNowAndThen", "TooFew", "WrongShape", "NoMatch", "NotNumbers"]


def painter(name: str) -> str:
    return f"painters_under_test:{name}"


def flow(name: str) -> str:
    return f"flows_under_test:{name}"


ISOLATIONS = ["thread", "process"]


@pytest.fixture(scope="module", params=ISOLATIONS)
def running(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """Wherever painters paint, all of this is the same."""
    flags = {
        "--isolation": request.param,
        "--painters": ",".join(["filters", "identity", "swap", *map(painter, PAINTERS)]),
        "--flows": ",".join(["dis", "none", *map(flow, FLOWS)]),
        "--paint-timeout-s": str(TIMEOUT_S),
        "--max-sessions": "100",
    }
    with daemon(tmp_path_factory.mktemp("daemon"), *(part for pair in flags.items() for part in pair)) as made:
        yield made


@pytest.fixture
def wire(running: Daemon) -> Iterator[Wire]:
    with Wire(running.address) as made:
        yield made


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)


def shown(received: Any) -> NDArray[np.uint8]:
    return np.frombuffer(received.payloads[0], np.uint8).reshape(SIZE[1], SIZE[0], 3)


def closed(wire: Wire, session: int = 0) -> Any:
    wire.send(Close(session=session))
    return wire.until(Closed).totals


# Painters


def test_a_painter_of_another_module_paints(wire: Wire) -> None:
    opened = wire.open(SOURCE, painter=painter("Negative"), flow="none")
    assert (opened.painter, opened.looks) == (painter("Negative"), ("plain",))
    for index in range(3):
        wire.frame(index, picture(index).tobytes())
        np.testing.assert_array_equal(shown(wire.receive()), 255 - picture(index))


@pytest.mark.parametrize(
    ("rotation", "rows", "columns"),
    [
        (0, slice(0, 8), slice(0, 8)),
        (90, slice(-8, None), slice(0, 8)),
        (180, slice(-8, None), slice(-8, None)),
        (270, slice(0, 8), slice(-8, None)),
    ],
)
def test_a_painter_sees_the_picture_turned_clockwise(wire: Wire, rotation: int, rows: slice, columns: slice) -> None:
    """What lies at the bottom left as stored is at the top left once it is turned by 90 degrees."""
    source = SOURCE.model_copy(update={"rotation": rotation})
    wire.open(source, painter=painter("MarksTopLeft"), flow="none")
    wire.frame(0, picture().tobytes())
    expected = np.zeros_like(picture())
    expected[rows, columns] = 255
    np.testing.assert_array_equal(shown(wire.receive()), expected)


def test_a_painter_that_is_an_entry_point_is_found_by_its_name(wire: Wire) -> None:
    assert wire.open(SOURCE, painter="swap", flow="none").looks == ("swapped",)
    wire.frame(0, picture().tobytes())
    np.testing.assert_array_equal(shown(wire.receive()), picture()[..., ::-1])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Raises", "RuntimeError: out of paint"),
        ("WrongShape", "(3, 3)"),
        ("Floats", "float64"),
        ("Nothing", "a list of 0"),
        ("WritesIntoInput", "read-only"),
        ("MakesUpAnError", "tired"),
        ("SaysTooMuch", "out of paint"),
        ("OfAnotherJob", "no PaintDone of job"),
        ("Exits", "SystemExit"),
        ("NotNumbers", "float32"),
        ("MemoryOfText", "a memory of str"),
    ],
)
def test_what_a_painter_does_wrong_fails_the_frame_and_the_session_goes_on(
    running: Daemon, wire: Wire, name: str, reason: str
) -> None:
    wire.open(SOURCE, painter=painter(name), flow="none")
    for index in range(2):
        wire.frame(index, picture().tobytes())
        error = wire.expect(Error, 5.0)
        assert (error.session, error.index) == (0, index)
        assert (error.code, error.retry) == (Code.PAINTER_FAILED, RETRY[Code.PAINTER_FAILED])
        assert name in error.message
        assert reason in error.message
        assert "Traceback" not in error.message
        assert ".py" not in error.message
    totals = closed(wire)
    assert (totals.received, totals.failed, totals.painted) == (2, 2, 0)


def test_the_log_has_the_traceback_that_the_wire_has_not(running: Daemon, wire: Wire) -> None:
    wire.open(SOURCE, painter=painter("Raises"), flow="none")
    before = running.log.read_text().count("painters_under_test.py")
    wire.frame(0, picture().tobytes())
    wire.expect(Error)
    log = running.log.read_text()
    assert "Traceback" in log
    assert log.count("painters_under_test.py") > before


def test_a_painter_that_fails_now_and_then_fails_those_frames_alone(wire: Wire) -> None:
    wire.open(SOURCE, painter=painter("FailsNow"), flow="none")
    count = 12
    kinds = []
    for index in range(count):
        wire.frame(index, picture(index).tobytes())
        received = wire.receive()
        assert received.message.index == index
        kinds.append(received.message.type)
        if received.message.type == "painted":
            np.testing.assert_array_equal(shown(received), 255 - picture(index))
    assert kinds == ["painted", "painted", "error"] * (count // 3)
    totals = closed(wire)
    assert (totals.received, totals.painted, totals.failed) == (count, 8, 4)


def test_a_film_goes_on_from_where_it_was_before_a_frame_failed(wire: Wire) -> None:
    """With flow and a still picture, only the keyframe is painted: what fails before it leaves no trace."""
    wire.open(SOURCE, painter=painter("FailsNow"), flow=flow("Still"), brief=Brief(keyframe_gap_min_s=0))
    wire.frame(0, picture().tobytes())
    first = wire.receive()
    results = [first] if isinstance(first.message, Painted) else []
    for index in range(1, 5):
        wire.frame(index, picture().tobytes())
        received = wire.receive()
        if isinstance(received.message, Painted):
            results.append(received)
    assert len(results) >= 4
    for each in results:
        np.testing.assert_array_equal(shown(each), 255 - picture())


@pytest.mark.timing
def test_a_painter_that_takes_too_long_is_given_up_and_holds_nobody_up(running: Daemon, wire: Wire) -> None:
    with Wire(running.address) as neighbour:
        neighbour.open(SOURCE, painter="filters", flow="none", brief=Brief(look="poster"))
        wire.open(SOURCE, painter=painter("Slow"), flow="none")
        began = time.monotonic()
        for index in range(2):
            wire.frame(index, picture().tobytes())
        answered = 0
        while wire.quiet(0):
            neighbour.frame(answered, picture(answered).tobytes())
            assert neighbour.expect(Painted, TIMEOUT_S).index == answered
            answered += 1
        assert answered > 5
        for index in range(2):
            error = wire.expect(Error, 10 * TIMEOUT_S)
            assert (error.index, error.code) == (index, Code.PAINTER_TIMEOUT)
            assert f"{TIMEOUT_S:g} s" in error.message
        assert 2 * TIMEOUT_S <= time.monotonic() - began < 2.5
        neighbour.frame(answered, picture().tobytes())
        assert neighbour.expect(Painted).index == answered
    assert closed(wire).failed == 2


def test_two_sessions_of_one_painter_take_turns(running: Daemon) -> None:
    """The time that one waits for the other does not count as its own."""
    with Wire(running.address) as one, Wire(running.address) as two:
        for each in (one, two):
            each.open(SOURCE, painter=painter("Negative"), flow="none")
        for index in range(4):
            for each in (one, two):
                each.frame(index, picture(index).tobytes())
        for each in (one, two):
            for index in range(4):
                received = each.receive()
                assert received.message.index == index
                np.testing.assert_array_equal(shown(received), 255 - picture(index))


@pytest.mark.parametrize(
    ("flags", "reasons"),
    [
        (["--painters", "painters_under_test:NoPainter"], ["NoPainter", "paint", "looks"]),
        (["--painters", "painters_under_test:CannotBeMade"], ["CannotBeMade", "RuntimeError: no weights"]),
        (["--painters", "painters_under_test:Absent"], ["Absent"]),
        (["--painters", "no_such_module:Painter"], ["no_such_module"]),
        (["--painters", "monet"], ["monet", "filters", "identity", "swap"]),
        (["--painters", "broken"], ["broken", "RuntimeError: no weights"]),
        (["--painters", "missing"], ["missing", "Missing"]),
        (["--painters", "painters_under_test:NoLooks"], ["NoLooks", "looks"]),
        (["--painters", "painters_under_test:LooksThatAreNoNames"], ["LooksThatAreNoNames", "looks"]),
        (["--flows", "flows_under_test:NoFlow"], ["NoFlow", "encode", "match"]),
        (["--flows", "raft"], ["raft", "dis"]),
    ],
    ids=lambda value: value[1].partition(":")[2] or value[1] if value[0].startswith("--") else "",
)
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_daemon_without_its_engines_does_not_start(
    tmp_path: Path, flags: list[str], reasons: list[str], isolation: str
) -> None:
    ends = ["--until-stdin-closes", "--bind", f"ipc://{tmp_path}/warpaint.sock", "--isolation", isolation]
    code, said = not_started(tmp_path, *flags, *ends)
    assert [reason for reason in reasons if reason not in said] == []
    assert code == 1
    assert "Traceback" not in said


# Flow engines


def test_a_flow_engine_of_another_module_is_used(wire: Wire) -> None:
    assert wire.open(SOURCE, painter=painter("Negative"), flow=flow("Still")).flow == flow("Still")
    kinds = []
    for index in range(3):
        wire.frame(index, picture().tobytes())
        received = wire.receive()
        kinds.append(received.message.provenance.value)
        np.testing.assert_array_equal(shown(received), 255 - picture())
    assert kinds == ["painted", "warped", "warped"]


@pytest.mark.parametrize(
    ("name", "reason", "spared"),
    [
        ("RaisesInEncode", "RuntimeError: the current is too strong", 0),
        ("TooFew", "0 answers for 1", 1),
        ("WrongShape", "(3, 5", 1),
        ("NoMatch", "str", 1),
        ("NotNumbers", "finite", 1),
    ],
)
def test_what_a_flow_engine_does_wrong_fails_the_frame_and_the_session_goes_on(
    wire: Wire, name: str, reason: str, spared: int
) -> None:
    """The first frame needs no match. One that failed leaves the film as it was, so that the next fails likewise."""
    wire.open(SOURCE, painter="identity", flow=flow(name))
    answers = []
    for index in range(3):
        wire.frame(index, picture().tobytes())
        answers.append(wire.receive(5.0).message)
    assert [each.index for each in answers] == [0, 1, 2]
    assert [each.type for each in answers] == ["painted"] * spared + ["error"] * (3 - spared)
    for error in answers[spared:]:
        assert error.code is Code.FLOW_FAILED
        assert name in error.message
        assert reason in error.message
    totals = closed(wire)
    assert (totals.painted, totals.failed) == (spared, 3 - spared)


def test_a_flow_engine_that_fails_now_and_then_fails_those_frames_alone(wire: Wire) -> None:
    wire.open(SOURCE, painter=painter("Negative"), flow=flow("RaisesNowAndThen"))
    kinds = []
    for index in range(10):
        wire.frame(index, picture().tobytes())
        received = wire.receive()
        assert received.message.index == index
        kinds.append(received.message.type)
        if kinds[-1] == "painted":
            np.testing.assert_array_equal(shown(received), 255 - picture())
        else:
            assert received.message.code is Code.FLOW_FAILED
    assert 2 <= kinds.count("error") <= 5
    assert kinds[-1] == "painted" or kinds[-2] == "painted"


def test_after_all_that_the_daemon_still_serves_and_counts_its_engines(wire: Wire) -> None:
    wire.open(SOURCE, painter="identity", flow="none")
    wire.frame(0, picture().tobytes())
    np.testing.assert_array_equal(shown(wire.receive()), picture())
    status: Status = wire.status()
    engines = {(each.kind, each.name): each for each in status.engines}
    assert {name for kind, name in engines if kind == "painter"} >= {"filters", "identity", "swap"}
    assert engines[("painter", "identity")].calls > 0
    assert engines[("painter", "identity")].mean_ms < 1e3
    assert ("flow", "none") not in engines
