"""The largest canvas that can be painted in time, before a daemon that knows what it can do."""

from fractions import Fraction

import pytest

from warpaint.client.bridge.fitting import ENOUGH, LEAST_PIXELS, SMALLER, WINDOW_S, Effort, fitted
from warpaint.proto.errors import Code, RefusedError

FULL = 1280 * 720
RATE = Fraction(25)


class Daemon:
    """Paints so many pixels at this rate, and any number without one."""

    def __init__(self, most: int, code: Code = Code.OVERLOADED) -> None:
        self.asked: list[tuple[int, Fraction | None]] = []
        self._most = most
        self._code = code

    def begun(self, pixels: int, rate: Fraction | None) -> str:
        self.asked.append((pixels, rate))
        if rate is not None and pixels > self._most:
            raise RefusedError(self._code, "too much")
        return "a session"


def test_what_fits_is_not_made_smaller() -> None:
    daemon = Daemon(FULL)
    assert fitted(daemon.begun, FULL, RATE, asked=False) == ("a session", FULL)
    assert daemon.asked == [(FULL, RATE)]


@pytest.mark.parametrize("most", [FULL - 1, FULL // 2, FULL // 10, LEAST_PIXELS * 2])
def test_it_is_made_smaller_by_no_more_than_a_step(most: int) -> None:
    daemon = Daemon(most)
    _, pixels = fitted(daemon.begun, FULL, RATE, asked=True)
    assert SMALLER * most - 2 < pixels <= most
    assert daemon.asked[-1] == (pixels, RATE)


def test_where_nothing_fits_a_guess_is_given_up_and_a_wish_is_not() -> None:
    daemon = Daemon(0)
    _, pixels = fitted(daemon.begun, FULL, RATE, asked=False)
    assert LEAST_PIXELS <= pixels < LEAST_PIXELS / SMALLER + 2
    assert daemon.asked[-1] == (pixels, None)
    with pytest.raises(RefusedError, match="too much"):
        fitted(daemon.begun, FULL, RATE, asked=True)


def test_what_is_refused_for_another_reason_is_not_tried_again() -> None:
    daemon = Daemon(0, Code.BAD_BRIEF)
    with pytest.raises(RefusedError):
        fitted(daemon.begun, FULL, RATE, asked=False)
    assert len(daemon.asked) == 1


def shares(busy_s: float, *, for_s: float, rate: float = 30.0, painted: float = 1.0) -> list[float]:
    """What is said of a session whose frames take so long. painted: the share of the pictures that are."""
    effort, found = Effort(0.0), []
    for number in range(int(for_s * rate)):
        effort.came()
        if number * painted % 1 < painted:
            effort.took(busy_s)
        share = effort.too_large(number / rate)
        found += [share] if share is not None else []
    return found


def test_a_session_that_keeps_up_stays_as_it_is() -> None:
    assert shares(0.025, for_s=60.0) == []


def test_one_that_does_not_is_made_as_small_as_it_takes() -> None:
    [share, *_] = shares(0.05, for_s=3 * WINDOW_S)
    assert share == pytest.approx(ENOUGH / 1.5, rel=0.05)


def test_frames_that_were_dropped_count_as_well() -> None:
    [share, *_] = shares(0.05, for_s=3 * WINDOW_S, painted=0.6)
    assert share == pytest.approx(ENOUGH / 1.5, rel=0.05)


def test_a_burst_of_other_work_changes_nothing() -> None:
    effort = Effort(0.0)
    for number in range(1_800):
        effort.came()
        effort.took(0.2 if 300 <= number < 350 else 0.02)
        assert effort.too_large(number / 30) is None


def test_few_frames_tell_nothing() -> None:
    assert shares(5.0, for_s=60.0, rate=2.0) == []
