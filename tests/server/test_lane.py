"""Whose turn it is."""

from dataclasses import dataclass

import pytest

from warpaint.server.lane import AHEAD_S, Lane, fair


@dataclass
class _Stream:
    live: bool = True
    flow: str = "dis"


def lane(key: str, used_s: float = 0.0) -> Lane:
    return Lane(key, _Stream(), "filters", 0.0, used_s=used_s)  # type: ignore[arg-type]


def test_nobody_ready_means_nobodys_turn() -> None:
    assert fair([]) == []


def test_the_one_that_has_used_least_comes_first() -> None:
    ordered = fair([lane("b", 0.02), lane("a", 0.01)])
    assert [each.key for each in ordered] == ["a", "b"]


def test_one_that_is_ahead_waits() -> None:
    assert [each.key for each in fair([lane("a"), lane("b", 2 * AHEAD_S)])] == ["a"]


@pytest.mark.parametrize("costs", [(0.001, 0.05), (0.01, 0.01, 0.04), (0.03, 0.002, 0.002, 0.002)])
def test_all_get_the_same_time_whatever_a_step_costs(costs: tuple[float, ...]) -> None:
    lanes = [lane(str(number)) for number in range(len(costs))]
    for _ in range(2000):
        for each in fair(lanes):
            each.charge(costs[int(each.key)])
    used = [each.used_s for each in lanes]
    assert max(used) - min(used) <= AHEAD_S + max(costs)
