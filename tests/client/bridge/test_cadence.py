"""The even rate of what a bridge sends."""

import math
import random
from fractions import Fraction
from itertools import pairwise

import pytest

from warpaint.client.bridge.cadence import LONGEST_HOLD_S, PATIENCE_S, Cadence
from warpaint.client.bridge.timeline import TICKS

Shown = list[tuple[int, int]]  # when, ticks, and the number of the picture


class Stage:
    """A cadence, and what it shows of pictures that come at some times."""

    def __init__(self, rate: float | Fraction) -> None:
        self.cadence = Cadence(Fraction(rate))
        self.shown: Shown = []
        self._number = -1
        self._now_s = 0.0

    def picture(self, number: int, pts_s: float, at_s: float) -> None:
        """A picture comes; until then the last one may have been repeated."""
        self.wait(at_s)
        again, at = self.cadence.show(round(pts_s * TICKS), at_s)
        self.shown += [(each, self._number) for each in again]
        if at is not None:
            self._number = number
            self.shown.append((at, number))

    def wait(self, until_s: float) -> None:
        """Time passes, and the cadence is asked as often as it wants to be."""
        while self._now_s < until_s:
            self._now_s = min(until_s, self._now_s + max(0.001, self.cadence.next_s(self._now_s)))
            self.shown += [(each, self._number) for each in self.cadence.fill(self._now_s)]

    @property
    def times(self) -> list[int]:
        """When something was shown."""
        return [at for at, _ in self.shown]

    @property
    def numbers(self) -> list[int]:
        """What was shown."""
        return [number for _, number in self.shown]


def even(times: list[int], rate: float | Fraction) -> bool:
    """Whether they are neighbouring steps of an even clock."""
    return all(abs(later - earlier - TICKS / Fraction(rate)) < 1 for earlier, later in pairwise(times))


@pytest.mark.parametrize("phase", [0.0, 0.01, 0.02])
def test_pictures_of_this_rate_are_shown_as_they_are(phase: float) -> None:
    stage = Stage(25)
    jitter = random.Random(0)
    for number in range(200):
        pts = number / 25 + (phase if number else 0.0)
        stage.picture(number, pts + jitter.uniform(-0.001, 0.001), 5.0 + pts + jitter.uniform(0.0, 0.1))
    assert even(stage.times, 25)
    assert stage.numbers == list(range(200))


@pytest.mark.parametrize(("comes", "rate"), [(25, 60), (50, 25), (30, Fraction(30_000, 1001)), (23.976, 25), (7, 30)])
def test_other_rates_are_repeated_or_left_out(comes: float, rate: float | Fraction) -> None:
    stage = Stage(rate)
    for number in range(300):
        stage.picture(number, number / comes, number / comes + 0.05)
    assert even(stage.times, rate)
    assert len(stage.times) == pytest.approx(299 / comes * float(rate), abs=2)
    assert stage.numbers == sorted(stage.numbers)
    for at, number in stage.shown:
        assert abs(at / TICKS - number / comes) < 1 / comes + 1 / rate  # it stays with its sound
    assert stage.cadence.offset == 0


def test_the_last_picture_is_repeated_when_nothing_comes_and_not_for_ever() -> None:
    stage = Stage(25)
    stage.picture(0, 0.0, 0.0)
    stage.wait(PATIENCE_S)
    assert len(stage.shown) <= 1
    stage.wait(3.0)
    assert even(stage.times, 25)
    assert stage.times[-1] / TICKS == pytest.approx(3.0 - PATIENCE_S, abs=0.05)
    stage.wait(LONGEST_HOLD_S + 10)
    assert stage.times[-1] / TICKS == pytest.approx(LONGEST_HOLD_S - PATIENCE_S, abs=0.05)
    assert stage.cadence.next_s(LONGEST_HOLD_S + 10) == math.inf
    stage.picture(1, LONGEST_HOLD_S + 10, LONGEST_HOLD_S + 10)
    assert stage.shown[-1] == (round((LONGEST_HOLD_S + 10) * TICKS), 1)


def test_a_late_picture_is_left_out_and_the_next_ones_are_not() -> None:
    stage = Stage(25)
    for number in range(100):
        late = 0.4 if 20 <= number < 30 else 0.0
        stage.picture(number, number / 25, max(number / 25 + late, 0.0))
    assert even(stage.times, 25)
    assert stage.numbers[-50:] == list(range(50, 100))
    assert [round(at * 25 / TICKS) for at in stage.times[-50:]] == list(range(50, 100))
    assert stage.cadence.offset == 0
    assert 0 < stage.cadence.left_out <= 10


def test_a_clock_that_stood_still_moves_sound_and_picture() -> None:
    """A sender that was stopped for three seconds, and goes on where it was."""
    stage = Stage(25)
    for number in range(50):
        stage.picture(number, number / 25, number / 25)
    for number in range(50, 100):
        stage.picture(number, number / 25, 3.0 + number / 25)
    assert even(stage.times, 25)
    assert stage.numbers[-50:] == list(range(50, 100))
    assert stage.cadence.offset / TICKS == pytest.approx(3.0 - PATIENCE_S, abs=0.1)


def test_a_gap_in_the_times_of_pictures_is_filled_if_it_is_short() -> None:
    stage = Stage(25)
    for number, pts_s in enumerate((0.0, 0.8, 9.0)):
        stage.picture(number, pts_s, 0.01 * number)
    assert even(stage.times[:-1], 25)
    assert stage.numbers == 20 * [0] + [1, 2]
    assert stage.times[-1] == 9 * TICKS
