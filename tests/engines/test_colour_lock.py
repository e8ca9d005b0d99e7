import json
import math
from dataclasses import astuple
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support.scenes import noise_texture
from warpaint.engines.base import Picture
from warpaint.engines.colour_lock import MOST_GAIN, Tone, followed, locked, tone

RAW = noise_texture((192, 128), 3, contrast=30)
NEUTRAL = Tone((0, 0, 0), (1, 1, 1))
GAP_S, TIME_S = 1.0, 60.0
STEPS = 30


def changed(picture: Picture, gain: float, levels: tuple[float, ...]) -> Picture:
    """The picture with its contrast to middle gray times gain, and so many levels more of B, G, R."""
    moved = (picture.astype(np.float64) - 128) * gain + 128 + np.array(levels)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def means(picture: Picture) -> NDArray[np.float64]:
    return picture.mean(axis=(0, 1))


def away(picture: Picture, other: Picture) -> float:
    """How far the means of their channels are apart at most, levels."""
    return float(np.abs(means(picture) - means(other)).max())


# What it is for


def chain(first: Picture, levels: tuple[float, ...], steps: int, *, lock: bool) -> Picture:
    """The last of a chain of keyframes, whose painter adds so many levels each time."""
    target, painted = tone(first, RAW), first
    for _ in range(steps):
        painted = changed(painted, 1, levels)
        if lock:
            seen = tone(painted, RAW)
            painted = locked(painted, RAW, target)
            target = followed(target, seen, GAP_S, TIME_S)
    return painted


@pytest.mark.parametrize("levels", [(1, 1, 1), (-1, -1, -1), (1, -1, 0), (-1, 0, 1), (1, 1, -1), (0, 1, 0)])
def test_a_chain_keeps_its_colours(levels: tuple[float, ...]) -> None:
    first = changed(RAW, 0.8, (20, -5, 0))
    assert away(chain(first, levels, STEPS, lock=False), first) > 20
    assert away(chain(first, levels, STEPS, lock=True), first) < 2


def test_a_chain_keeps_its_contrast() -> None:
    target, painted, free = NEUTRAL, RAW, RAW
    for _ in range(STEPS):
        free = changed(free, 1.02, (0, 0, 0))
        painted = locked(changed(painted, 1.02, (0, 0, 0)), RAW, target)
    assert free.std() > 1.5 * RAW.std()
    assert painted.std() == pytest.approx(RAW.std(), rel=0.05)


def test_day_turns_to_night_unharmed() -> None:
    """Raw frames get dark and blue; their paintings differ from them in one and the same way."""
    style = Tone((4, 6, -5), (1.1, 0.9, 1.05))
    for step in range(STEPS + 1):
        raw = changed(RAW, 1 - 0.02 * step, tuple(step * each for each in (-0.5, -1.5, -2)))
        painting = locked(raw, raw, style)
        np.testing.assert_allclose(painting.astype(int), locked(painting, raw, style), atol=1)
    assert away(raw, RAW) > 50
    assert away(painting, locked(RAW, RAW, style)) > 50


def test_a_change_that_is_meant_comes_through() -> None:
    """A painter that is told to paint redder, and then stays as it is."""
    target, red = NEUTRAL, changed(RAW, 1, (0, 0, 40))
    seen = tone(red, RAW)
    shown = []
    for _ in range(int(4 * TIME_S / GAP_S)):
        shown.append(away(locked(red, RAW, target), RAW))
        target = followed(target, seen, GAP_S, TIME_S)
    assert shown[0] < 1.5
    assert shown == pytest.approx(sorted(shown), abs=0.5)
    assert away(locked(red, RAW, target), red) < 1.5


# The parts


def test_a_tone_is_relative_to_the_raw_frame() -> None:
    np.testing.assert_allclose(astuple(tone(RAW, RAW)), astuple(NEUTRAL), atol=1e-6)
    lighter = tone(changed(RAW, 1.5, (20, 20, 20)), RAW)
    assert lighter.shift[0] > 5
    assert np.abs(lighter.shift[1:]).max() < 1
    assert lighter.spread[0] == pytest.approx(1.5, abs=0.1)
    assert tone(RAW, changed(RAW, 1, (0, 0, -30))).shift[1] > 5  # redder: a is larger


def test_a_tone_hardly_depends_on_the_size_of_the_picture() -> None:
    large = np.repeat(np.repeat(RAW, 5, axis=0), 5, axis=1)
    np.testing.assert_allclose(astuple(tone(large, RAW)), astuple(NEUTRAL), atol=0.1)


def test_locked_pictures_have_the_tone_of_the_target() -> None:
    target = Tone((5, -6, 8), (0.9, 1.2, 1.1))
    painted = locked(changed(RAW, 0.8, (9, -9, 15)), RAW, target)
    np.testing.assert_allclose(astuple(tone(painted, RAW)), astuple(target), atol=0.15)


@pytest.mark.parametrize("contrast", [20, 30, 60])
def test_locking_again_changes_nothing(contrast: float) -> None:
    raw = noise_texture((160, 90), 7, contrast=contrast)
    target = Tone((2, 3, -3), (0.95, 0.9, 1.05))
    once = locked(changed(raw, 0.9, (5, -5, 8)), raw, target)
    np.testing.assert_allclose(locked(once, raw, target).astype(int), once, atol=1)


def test_the_own_tone_changes_nothing() -> None:
    painted = changed(RAW, 0.8, (9, -9, 15))
    np.testing.assert_allclose(locked(painted, RAW, tone(painted, RAW)).astype(int), painted, atol=1)


def test_noise_of_flat_pictures_is_not_blown_up() -> None:
    flat = np.full((64, 64, 3), 120, np.uint8)
    flat[::2, ::2] += 1
    painted = locked(flat, RAW, NEUTRAL)
    assert int(np.ptp(painted)) <= 2 * MOST_GAIN + 1
    assert away(painted, RAW) < 4  # a mean in Lab is not quite one in BGR


@pytest.mark.parametrize("painted", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), None])
@pytest.mark.parametrize("raw", [(0, 0, 0), (255, 255, 255), (0, 255, 255), None])
def test_extremes(painted: tuple[int, ...] | None, raw: tuple[int, ...] | None) -> None:
    painting, frame = (
        np.full((24, 32, 3), each, np.uint8) if each else noise_texture((32, 24), 1, contrast=300)
        for each in (painted, raw)
    )
    seen = tone(painting, frame)
    assert np.isfinite(astuple(seen)).all()
    assert min(seen.spread) > 0
    for target in (NEUTRAL, seen, Tone((300, -300, 300), (1e-6, 50, 1e6)), Tone((-300, 300, -300), (9, 9, 9))):
        result = locked(painting, frame, target)
        assert result.dtype == np.uint8
        assert result.shape == painting.shape
    np.testing.assert_allclose(locked(painting, frame, seen).astype(int), painting, atol=1)


def test_the_same_pictures_give_the_same_bits_wherever_they_lie() -> None:
    painted, raw = noise_texture((203, 117), 5), noise_texture((203, 117), 6)
    target = Tone((5, -6, 8), (0.9, 1.2, 1.1))
    seen, result = tone(painted, raw), locked(painted, raw, target)
    for x in range(9):
        whole = np.zeros((130, 220, 3), np.uint8)
        part = whole[5 : 5 + 117, x : x + 203]
        part[:] = painted
        whole.flags.writeable = False
        assert tone(part, raw) == seen
        np.testing.assert_array_equal(locked(part, raw, target), result)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    painted, raw = noise_texture((640, 360), 5), noise_texture((640, 360), 6)
    one = tone(painted, raw), locked(painted, raw, NEUTRAL)
    cv2.setNumThreads(2)
    two = tone(painted, raw), locked(painted, raw, NEUTRAL)
    assert one[0] == two[0]
    np.testing.assert_array_equal(one[1], two[1])


def test_following_is_exponential() -> None:
    target, seen = Tone((0, 10, -10), (1, 2, 0.5)), Tone((8, 10, 0), (4, 2, 1))
    assert followed(target, seen, 0.0, 5.0) == target
    once = followed(target, seen, 5.0, 5.0)
    assert once.shift == pytest.approx((8 * (1 - math.exp(-1)), 10, -10 * math.exp(-1)))
    assert once.spread == pytest.approx((4 ** (1 - math.exp(-1)), 2, 2 ** -math.exp(-1)))
    twice = followed(followed(target, seen, 2.0, 5.0), seen, 3.0, 5.0)
    assert np.array(astuple(twice)) == pytest.approx(np.array(astuple(once)))
    assert np.array(astuple(followed(target, seen, 1e6, 5.0))) == pytest.approx(np.array(astuple(seen)))


# Snapshots


def test_a_tone_goes_into_a_plain_map_and_back() -> None:
    seen = tone(changed(RAW, 0.8, (9, -9, 15)), RAW)
    assert Tone.from_plain(json.loads(json.dumps(seen.as_plain()))) == seen


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"shift": [0, 0, 0]},
        {"shift": [0, 0], "spread": [1, 1, 1]},
        {"shift": [0, 0, 0, 0], "spread": [1, 1, 1]},
        {"shift": [0, 0, math.nan], "spread": [1, 1, 1]},
        {"shift": [0, 0, 0], "spread": [1, 1, math.inf]},
        {"shift": [0, 0, 0], "spread": [1, 1, 0]},
        {"shift": [0, 0, 0], "spread": [1, 1, -1]},
        {"shift": "abc", "spread": [1, 1, 1]},
        {"shift": None, "spread": [1, 1, 1]},
        {"shift": [0, 0, None], "spread": [1, 1, 1]},
    ],
)
def test_other_maps_are_no_tone(plain: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        Tone.from_plain(plain)
