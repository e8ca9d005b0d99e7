"""Which frames of a shot are chosen to be painted: against trying all choices there are."""

import time
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from warpaint.client.explaining import Reach, Shares, Shot, best, explained_s, mirrored
from warpaint.client.looking import MOST_LOOKS

STEP_S = 0.16
FAR = Reach(1e9, 1e9)


def shot_of(seen: Shares, known: Shares | None = None, *, lasts_s: Shares | None = None, reach: Reach = FAR) -> Shot:
    n = len(seen)
    known = np.zeros(n) if known is None else known
    return Shot(
        seen, known, np.linspace(0, (n - 1) * STEP_S, n), np.full(n, STEP_S) if lasts_s is None else lasts_s, reach
    )


def moving(n: int, *, apart: float = 4.0, known: Shares | None = None) -> Shot:
    """A shot in which frames show less of each other the farther they are apart."""
    places = np.arange(n)
    seen = np.exp(-np.abs(places[:, None] - places) / apart)
    return shot_of(seen, known)


def gain(shot: Shot, chosen: list[int], worth_s: float) -> float:
    return explained_s(shot, chosen) - worth_s * len(chosen)


def by_trying(shot: Shot, worth_s: float) -> float:
    """The largest gain of all choices."""
    n, least = len(shot.known), 0 if shot.goes_on else 1
    choices = [list(each) for count in range(least, n + 1) for each in combinations(range(n), count)]
    return max(gain(shot, chosen, worth_s) for chosen in choices)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("worth_s", [0.02, 0.25, 2.0])
def test_no_choice_gains_more(seed: int, worth_s: float) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    seen = np.where(np.eye(n) > 0, 1.0, rng.random((n, n)))
    known = rng.random(n) if seed % 2 else np.zeros(n)
    reach = Reach(0.5, 0.3) if seed % 3 else FAR
    shot = shot_of(seen, known, lasts_s=rng.random(n) / 2, reach=reach)
    chosen = best(shot, worth_s)
    assert chosen == sorted(set(chosen))
    assert gain(shot, chosen, worth_s) == pytest.approx(by_trying(shot, worth_s))


def test_one_in_the_middle_of_a_shot_shows_most_of_it() -> None:
    assert best(moving(9), 1.0) == [4]


def test_more_of_them_are_spread_over_it() -> None:
    chosen = best(moving(12, apart=2.0), 0.2)
    assert len(chosen) == 3
    assert chosen[0] > 0
    assert chosen[-1] < 11


def test_the_more_a_still_is_to_be_worth_the_fewer_there_are() -> None:
    counts = [len(best(moving(20), worth_s)) for worth_s in (0.02, 0.1, 0.3, 1.0, 100.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 8
    assert counts[-1] == 1


def test_what_shows_what_comes_in_is_worth_more_than_the_middle() -> None:
    """Half of the picture is covered from the fourth frame on."""
    late = np.arange(10) >= 3
    seen = np.where(late[:, None] == late, 1.0, 0.5)
    assert best(shot_of(seen), 1.0)[0] >= 3


@pytest.mark.parametrize(("known", "chosen"), [(0.9, []), (0.0, [4])], ids=["goes on", "does not"])
def test_a_shot_that_goes_on_needs_no_still(known: float, chosen: list[int]) -> None:
    assert best(moving(9, known=np.full(9, known)), 1.0) == chosen


def test_a_shot_that_goes_on_gets_one_where_it_shows_something_new() -> None:
    known = np.where(np.arange(20) < 10, 0.95, 0.05)
    [chosen] = best(moving(20, known=known), 0.5)
    assert chosen >= 10


def test_frames_that_are_far_behind_cannot_wait() -> None:
    """For the first painting of a shot they wait longer, unless the shot goes on with an earlier one."""
    shot = shot_of(np.ones((5, 5)), reach=Reach(first_s=2.5 * STEP_S, later_s=1.5 * STEP_S))
    assert shot.by_first.tolist() == [[float(f - p >= -2) for f in range(5)] for p in range(5)]
    assert shot.by_later.tolist() == [[float(f - p >= -1) for f in range(5)] for p in range(5)]
    assert explained_s(shot, [4]) == pytest.approx(3 * STEP_S)
    assert explained_s(shot, [0, 4]) == pytest.approx(5 * STEP_S)
    goes_on = shot_of(np.ones((5, 5)), np.full(5, 0.6), reach=shot.reach)
    assert explained_s(goes_on, [4]) == pytest.approx((3 * 0.6 + 2) * STEP_S)


def test_a_frame_shows_as_much_of_another_as_that_of_it() -> None:
    ahead: Any = np.array([[1.0, 0.6, 0.2], [0, 1.0, 0.5], [0, 0, 1.0]])
    seen = mirrored(ahead)
    assert seen.tolist() == seen.T.tolist()
    assert seen[0].tolist() == [1.0, 0.6, 0.2]


def test_a_long_shot_is_chosen_from_in_no_time() -> None:
    shot = moving(MOST_LOOKS, apart=20.0)
    began = time.process_time()
    assert 10 < len(best(shot, 0.5)) < 80
    assert time.process_time() - began < 20
