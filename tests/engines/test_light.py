"""Changes of light, read from the raw frames and laid over the paint."""

import numpy as np
import pytest

from support.scenes import noise_texture
from warpaint.engines.base import Picture
from warpaint.engines.compose import Origins
from warpaint.engines.light import MOST_GAIN, gain_since, lit

SIZE = (320, 192)
SHAPE = SIZE[::-1]
RAW = (noise_texture(SIZE, 3) // 2 + 60).astype(np.uint8)
PAINT = np.full((*SHAPE, 3), 100, np.uint8)


def lighter(picture: Picture, factor: float) -> Picture:
    """The same in other light: what is darkest is lifted as the rest, as the film's black is never quite black."""
    return np.clip(np.rint((picture + 24.0) * factor - 24.0), 0, 255).astype(np.uint8)


def moved(dx: float) -> Origins:
    origins = Origins.of(1, SHAPE)
    origins.offset[..., 0] = dx
    return origins


def gain(origins: Origins, then: Picture, now: Picture) -> np.ndarray:
    found = gain_since(origins.number, origins.offset, {1: then}, now)
    return np.ones((1, 1, 3), np.float32) if found is None else found


def test_a_film_that_has_not_changed_leaves_the_paint_to_the_bit() -> None:
    assert gain_since(*_of(moved(0.0)), {1: RAW}, RAW) is None


def test_what_moves_in_the_same_light_has_no_gain() -> None:
    np.testing.assert_allclose(gain(moved(16.0), RAW, np.roll(RAW, -16, axis=1))[:, 6:-6], 1.0, atol=0.02)


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_a_lamp_is_followed_wherever_things_have_moved(factor: float) -> None:
    now = lighter(np.roll(RAW, -16, axis=1), factor)
    found = gain(moved(16.0), RAW, now)
    np.testing.assert_allclose(found[:, 6:-6], factor, rtol=0.03)
    seen = lit(PAINT, found)
    assert abs(float(seen[:, 64:-64].mean()) - 100 * factor) < 3


def test_light_that_grows_along_the_picture_is_followed_where_it_grows() -> None:
    ramp = np.linspace(0.8, 1.2, SIZE[0])[None, :, None]
    now = np.clip((RAW + 24.0) * ramp - 24.0, 0, 255).astype(np.uint8)
    found = gain(moved(0.0), RAW, now)
    assert found[:, 4].mean() < 0.9
    assert found[:, -4].mean() > 1.1


def test_another_thing_says_nothing_of_the_light() -> None:
    now = RAW.copy()
    now[48:144, 96:224] = 250
    np.testing.assert_allclose(gain(moved(0.0), RAW, now), 1.0, atol=0.02)


def test_a_colour_of_light_is_followed_by_channel() -> None:
    now = RAW.copy()
    now[..., 2] = lighter(RAW, 1.2)[..., 2]
    found = gain(moved(0.0), RAW, now)
    np.testing.assert_allclose(found[..., 0], 1.0, atol=0.02)
    np.testing.assert_allclose(found[..., 2], 1.2, atol=0.04)


def test_a_gain_has_its_limits() -> None:
    found = gain(moved(0.0), np.full((*SHAPE, 3), 8, np.uint8), np.full((*SHAPE, 3), 50, np.uint8))
    assert found.max() <= MOST_GAIN


def test_pixels_of_no_reference_say_nothing() -> None:
    nowhere = Origins.of(0, SHAPE)
    assert gain_since(*_of(nowhere), {1: RAW}, lighter(RAW, 1.3)) is None


def test_flow_on_a_coarser_grid_than_the_canvas() -> None:
    coarse = Origins.of(1, (SHAPE[0] // 3, SHAPE[1] // 3))
    coarse.offset[..., 0] = 16 / 3
    now = lighter(np.roll(RAW, -16, axis=1), 1.2)
    np.testing.assert_allclose(gain(coarse, RAW, now)[:, 6:-6], 1.2, rtol=0.03)


def _of(origins: Origins) -> tuple[np.ndarray, np.ndarray]:
    return origins.number, origins.offset
