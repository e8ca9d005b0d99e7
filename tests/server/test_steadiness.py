"""The steadiness that is measured while a session runs."""

import numpy as np
import pytest

from warpaint.engines.base import Picture
from warpaint.server.steadiness import GAP_S, Meter
from warpaint.server.tallies import Tallies

SIZE = 240, 320
STEP_S = 0.04


def scene(number: int) -> Picture:
    """A texture that moves two pixels a frame."""
    noise = np.random.default_rng(7).integers(0, 255, (SIZE[0] // 8, SIZE[1] // 4, 3), np.uint8)
    wide = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    return np.ascontiguousarray(wide[:, 2 * number : 2 * number + SIZE[1]])


def measured(level: int) -> Tallies:
    """What is found of paint that flickers by so much: the frames, lighter or darker by turns."""
    tallies = Tallies()
    meter = Meter(tallies)
    for number in range(120):
        raw = scene(number)
        shift = level if number % 2 else -level
        meter.see(STEP_S * number, raw, np.clip(raw.astype(np.int16) + shift, 0, 255).astype(np.uint8))
    return tallies


def test_a_pair_is_measured_now_and_then() -> None:
    tallies = measured(0)
    assert tallies.steady_pairs == pytest.approx(120 * STEP_S / (GAP_S + STEP_S), abs=1)
    assert tallies.steady_painted == pytest.approx(tallies.steady_raw)


def test_what_flickers_more_is_less_steady() -> None:
    still, slight, strong = (measured(level) for level in (0, 5, 20))
    assert still.steady_painted < slight.steady_painted < strong.steady_painted
    excess = (strong.steady_painted - strong.steady_raw) / strong.steady_pairs
    assert excess == pytest.approx((2 * 20) ** 2, rel=0.2)  # each frame is 40 levels from its neighbour


def test_frames_that_are_no_neighbours_are_not_compared() -> None:
    tallies = Tallies()
    meter = Meter(tallies)
    for number in range(20):
        meter.see(1.0 * number, scene(number), scene(number))
    assert tallies.steady_pairs == 0
    meter.see(100.0, scene(0), scene(0))
    meter.forget()
    meter.see(100.04, scene(1), scene(1))
    assert tallies.steady_pairs == 0


def test_a_cut_is_not_counted() -> None:
    tallies = Tallies()
    meter = Meter(tallies)
    for number, picture in enumerate((np.zeros((*SIZE, 3), np.uint8), scene(0))):
        meter.see(STEP_S * number, picture, picture)
    assert tallies.steady_pairs == 0
