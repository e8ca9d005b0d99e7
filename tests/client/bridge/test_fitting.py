"""The largest canvas that can be painted in time, before a daemon that knows what it can do."""

from fractions import Fraction

import pytest

from warpaint.client.bridge.fitting import LEAST_PIXELS, SMALLER, fitted
from warpaint.proto.errors import Code, RefusedError

FULL = 1280 * 720
RATE = Fraction(25)


class Daemon:
    """Paints so many pixels at this rate, and any number without one."""

    def __init__(self, most: int, code: Code = Code.OVERLOADED) -> None:
        self.asked: list[tuple[int | None, Fraction | None]] = []
        self._most = most
        self._code = code

    def begun(self, pixels: int | None, rate: Fraction | None) -> str:
        self.asked.append((pixels, rate))
        if rate is not None and (pixels or FULL) > self._most:
            raise RefusedError(self._code, "too much")
        return "a session"


def test_what_fits_is_not_made_smaller() -> None:
    daemon = Daemon(FULL)
    assert fitted(daemon.begun, FULL, RATE, asked=False) == ("a session", FULL)
    assert daemon.asked == [(None, RATE)]


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
