"""Whose turn it is."""

from dataclasses import dataclass

import pytest

from warpaint.server.lane import AHEAD_S, Lane, Turns


@dataclass
class _Stream:
    live: bool = True
    flow: str = "dis"


def lane(key: str, used_s: float = 0.0) -> Lane:
    return Lane(key, _Stream(), "filters", 0.0, used_s=used_s)  # type: ignore[arg-type]


def test_nobody_ready_means_nobodys_turn() -> None:
    assert Turns().next([]) == []


def test_the_one_that_has_used_least_comes_first() -> None:
    ordered = Turns().next([lane("b", 0.02), lane("a", 0.01)])
    assert [each.key for each in ordered] == ["a", "b"]


def test_one_that_is_ahead_waits() -> None:
    assert [each.key for each in Turns().next([lane("a"), lane("b", 2 * AHEAD_S)])] == ["a"]


@pytest.mark.parametrize("costs", [(0.001, 0.05), (0.01, 0.01, 0.04), (0.03, 0.002, 0.002, 0.002)])
def test_all_get_the_same_time_whatever_a_step_costs(costs: tuple[float, ...]) -> None:
    lanes = [lane(str(number)) for number in range(len(costs))]
    turns = Turns()
    for _ in range(2000):
        for each in turns.next(lanes):
            each.charge(costs[int(each.key)])
    used = [each.used_s for each in lanes]
    assert max(used) - min(used) <= AHEAD_S + max(costs)


def test_one_that_comes_late_or_has_slept_is_owed_nothing() -> None:
    turns, busy, late = Turns(), lane("busy"), lane("late")
    for _ in range(100):
        for each in turns.next([busy]):
            each.charge(0.01)
    for _ in range(100):
        for each in turns.next([busy, late]):
            each.charge(0.01)
    assert busy.busy_s == pytest.approx(2.0, abs=2 * AHEAD_S)
    assert late.busy_s == pytest.approx(1.0, abs=2 * AHEAD_S)
