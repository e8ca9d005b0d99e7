"""Paintings of several sessions at one painter: whose turn it is, who shares a call, and what becomes of each.

And what a flow engine says of sizes, contained.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from support.daemon import PLUGINS
from warpaint.engines.base import Frame, Painter, PaintJob
from warpaint.engines.flow.dis import Dis
from warpaint.engines.registry import load_painter
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.server import engine_room
from warpaint.server.asks import PaintAsk
from warpaint.server.engine_room import EngineRoom, FlowRunner, Painting
from warpaint.server.isolation import IsolatedPainter

WITHIN_S = 30.0
SIZE = (32, 16)
PIXELS = SIZE[0] * SIZE[1]


@pytest.fixture(params=["thread", "process"])
def isolated(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "process")


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file without which `Together` does not paint."""
    monkeypatch.setenv("WARPAINT_TEST_GATE", str(tmp_path / "open"))
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.delitem(sys.modules, "painters_under_test", raising=False)
    return tmp_path / "open"


class Studio:
    """A painter that is at something already, so that what it is given now waits."""

    def __init__(self, painter: Painter, timeout_s: float) -> None:
        self.room = EngineRoom({"it": painter}, {}, paint_timeout_s=timeout_s)
        self.first = self.ask()
        self.wait(lambda: self.first.began is not None)

    def ask(self, look: str = "count", jobs: int = 1, *, alone: bool = False) -> Painting:
        """A painting of another session; all of them count their jobs from 0."""
        asked = PaintAsk([job(number, look) for number in range(jobs)])
        return self.room.paint("it", asked, lambda: None, alone=alone)

    def wait(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def shared(self, *paintings: Painting) -> list[int]:
        """How many jobs the call of each painting had."""
        self.wait(lambda: all(each.finished.is_set() or self.room.overdue("it", each) for each in paintings))
        return [level(each) // 10 for each in paintings]

    @property
    def calls(self) -> int:
        return self.room.painters["it"].usage.calls


def job(number: int, look: str) -> PaintJob:
    bgr = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    return PaintJob(number, 0, Frame(number, Fraction(number, 25), bgr), Brief(look=look), 0, (0, 0), SIZE)


def level(painting: Painting) -> int:
    """The one level of gray of all its pictures. Raises ValueError."""
    pictures = [each.image for each in painting.done if each.image is not None]
    (found,) = np.unique(pictures)
    assert len(pictures) == len(painting.jobs)
    return int(found)


def codes(*paintings: Painting) -> list[Code | None]:
    return [done.error for each in paintings for done in each.done]


@contextmanager
def studio(isolated: bool, name: str = "Together", timeout_s: float = WITHIN_S) -> Iterator[Studio]:
    painter: Painter
    if isolated:
        painter = there = IsolatedPainter(f"painters_under_test:{name}", threads=1)
        there.wait()
    else:
        painter = load_painter(f"painters_under_test:{name}")
    made = Studio(painter, timeout_s)
    try:
        yield made
    finally:
        for each in made.room.painters["it"].current:
            each.withdraw()
        made.room.close()


def test_those_that_wait_share_a_call_and_each_has_its_own_results(isolated: bool, gate: Path) -> None:
    with studio(isolated) as made:
        waiting = [made.ask(), made.ask(jobs=3), made.ask(jobs=2)]
        gate.touch()
        assert made.shared(made.first, *waiting) == [1, 6, 6, 6]
        assert [[done.id for done in each.done] for each in waiting] == [[0], [0, 1, 2], [0, 1]]
        assert made.calls == 2


def test_a_painter_that_does_not_batch_has_a_call_for_each(isolated: bool, gate: Path) -> None:
    with studio(isolated, "DoesNotBatch") as made:
        waiting = [made.ask(), made.ask(jobs=3)]
        gate.touch()
        assert made.shared(*waiting) == [1, 3]


def test_one_that_must_be_alone_shares_no_call_and_keeps_its_turn(isolated: bool, gate: Path) -> None:
    with studio(isolated) as made:
        waiting = [made.ask(alone=alone) for alone in (False, False, True, True, False, False, False)]
        gate.touch()
        assert made.shared(*waiting) == [2, 2, 1, 1, 3, 3, 3]
        began = [each.began for each in waiting if each.began is not None]
        assert began == sorted(began)
        assert made.calls == 5


@pytest.mark.parametrize(("most", "shared"), [(3 * PIXELS, [3, 3, 2, 2]), (PIXELS - 1, [1, 2, 1, 1])])
def test_a_call_has_so_many_pixels_and_no_more_but_for_one_painting(
    gate: Path, monkeypatch: pytest.MonkeyPatch, most: int, shared: Sequence[int]
) -> None:
    monkeypatch.setattr(engine_room, "MOST_PIXELS_TOGETHER", most)
    with studio(isolated=False) as made:
        waiting = [made.ask(), made.ask(jobs=2), made.ask(), made.ask()]
        gate.touch()
        assert made.shared(*waiting) == shared


def test_one_that_was_withdrawn_while_it_waited_is_dropped_before_it_starts(isolated: bool, gate: Path) -> None:
    with studio(isolated) as made:
        waiting = [made.ask(), made.ask(jobs=2), made.ask()]
        waiting[1].withdraw()
        gate.touch()
        assert made.shared(waiting[0], waiting[2]) == [2, 2]
        made.wait(waiting[1].finished.is_set)
        assert made.calls == 2


def test_if_all_were_withdrawn_there_is_no_call(isolated: bool, gate: Path) -> None:
    with studio(isolated) as made:
        waiting = [made.ask(), made.ask()]
        for each in waiting:
            each.withdraw()
        gate.touch()
        made.wait(lambda: all(each.finished.is_set() for each in waiting))
        assert made.calls == 1


def test_a_call_goes_on_until_nobody_wants_it(isolated: bool, gate: Path) -> None:
    with studio(isolated) as made:
        waiting = [made.ask(), made.ask()]
        made.first.withdraw()
        made.wait(lambda: all(each.began is not None for each in waiting))
        waiting[0].withdraw()
        time.sleep(0.2)
        assert not waiting[1].finished.is_set()
        waiting[1].withdraw()
        made.wait(lambda: all(each.finished.is_set() for each in waiting))
        assert set(codes(made.first, *waiting)) == {Code.CANCELLED}


def test_a_withdrawn_one_does_not_keep_the_others_from_their_paint(isolated: bool, gate: Path) -> None:
    with studio(isolated) as made:
        waiting = [made.ask(), made.ask(jobs=2)]
        made.first.withdraw()
        made.wait(lambda: all(each.began is not None for each in waiting))
        waiting[0].withdraw()
        gate.touch()
        assert made.shared(waiting[1]) == [3]


def test_those_that_share_a_call_run_out_of_time_together(isolated: bool, gate: Path) -> None:
    with studio(isolated, timeout_s=1.0) as made:
        waiting = [made.ask(), made.ask("stuck"), made.ask(jobs=2), made.ask(alone=True)]
        gate.touch()
        made.wait(lambda: all(each.finished.is_set() or made.room.overdue("it", each) for each in waiting[:3]))
        assert set(codes(*waiting[:3])) == {Code.PAINTER_TIMEOUT}
        assert [len(each.done) for each in waiting[:3]] == [1, 1, 2]
        after = [made.ask(), made.ask()]
        assert made.shared(waiting[3], *after)[0] == 1  # what waited behind them is painted


def test_one_does_not_fail_for_anothers_sake(isolated: bool, gate: Path) -> None:
    """The painter raises over one job: the others are painted all the same, each alone."""
    with studio(isolated) as made:
        waiting = [made.ask(), made.ask("broken"), made.ask(jobs=2)]
        gate.touch()
        assert made.shared(waiting[0], waiting[2]) == [1, 2]
        made.wait(waiting[1].finished.is_set)
        assert codes(waiting[1]) == [Code.PAINTER_FAILED]
        assert made.calls == 5


def test_what_waits_when_the_room_closes_has_its_turn_still(gate: Path) -> None:
    with studio(isolated=False) as made:
        waiting = [made.ask(), made.ask()]
        made.room.close()
        gate.touch()
        assert made.shared(*waiting) == [2, 2]


def test_a_painter_that_cannot_say_its_habits_has_the_usual_ones(gate: Path) -> None:
    made = EngineRoom({"it": load_painter("painters_under_test:HasNoHabits")}, {}, paint_timeout_s=WITHIN_S)
    painting = made.paint("it", PaintAsk([job(0, "plain")]), lambda: None, alone=False)
    assert painting.finished.wait(WITHIN_S)
    assert codes(painting) == [None]
    made.close()


# Flow engines


class Choosy(Dis):
    """Takes pictures of two sizes, and fails at a third."""

    def complaint(self, size: tuple[int, int]) -> object:
        if size == (0, 0):
            raise ZeroDivisionError("no pixels")
        return None if size == (1, 1) else "" if size == SIZE else f"not {size[0]}x{size[1]}"


def test_a_flow_engine_may_complain_of_a_size() -> None:
    runner = FlowRunner("choosy", Choosy())
    assert runner.complaint(SIZE) == ""
    assert runner.complaint((8, 16)) == "not 8x16"


def test_one_that_has_no_complaint_takes_any_size() -> None:
    assert FlowRunner("dis", Dis()).complaint((0, 0)) == ""


def test_a_complaint_that_fails_is_a_complaint(caplog: pytest.LogCaptureFixture) -> None:
    """Whose cause is in the log."""
    said = FlowRunner("choosy", Choosy()).complaint((0, 0))
    assert said == "the flow engine 'choosy' failed: ZeroDivisionError: no pixels"
    [record] = caplog.records
    assert record.getMessage() == "flow engine choosy failed"
    assert record.exc_info is not None


def test_no_complaint_is_none_either() -> None:
    assert FlowRunner("choosy", Choosy()).complaint((1, 1)) == ""
