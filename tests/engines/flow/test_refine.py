"""The last step of a flow: nearer where the pictures say so, and nowhere else."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support.scenes import noise_texture
from warpaint.engines.flow.refine import LONGEST_PX, Slopes, refined, refined_shift
from warpaint.engines.grid import resample

SIZE = (160, 120)
SOFT = cv2.cvtColor(cv2.GaussianBlur(noise_texture(SIZE, 1), (0, 0), 1.5), cv2.COLOR_BGR2GRAY)
TEXTURE = cv2.normalize(SOFT, None, 0, 255, cv2.NORM_MINMAX)
INSIDE = np.s_[12:-12, 12:-12]  # away from edges, past which nothing is known
WHOLE = np.s_[:, :]


def constant(x: float, y: float) -> NDArray[np.float32]:
    return np.full((*TEXTURE.shape, 2), (x, y), np.float32)


def shifted(picture: NDArray[np.uint8], x: float, y: float) -> NDArray[np.uint8]:
    """The picture as it is seen where the flow into it is (x, y)."""
    return resample(picture, constant(x, y), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("off", [(0.4, 0.0), (-0.2, 0.2), (0.0, -0.3)])
def test_a_flow_that_is_nearly_right_is_exact(off: tuple[float, float]) -> None:
    target, source = Slopes.of(shifted(TEXTURE, 3.37, -1.61)), Slopes.of(TEXTURE)
    flow = refined(constant(3.37 + off[0], -1.61 + off[1]), target, source)
    errors = np.linalg.norm(flow - constant(3.37, -1.61), axis=2)[INSIDE]
    assert errors.mean() < 0.4 * np.hypot(*off)


def test_what_fits_already_stays_to_the_bit() -> None:
    same = Slopes.of(TEXTURE)
    assert not refined(constant(0, 0), same, same).any()


def test_where_nothing_is_to_be_seen_the_flow_stays_to_the_bit() -> None:
    target, source = Slopes.of(np.full_like(TEXTURE, 90)), Slopes.of(np.full_like(TEXTURE, 97))
    assert (refined(constant(1.25, -2.5), target, source) == constant(1.25, -2.5)).all()


def test_no_step_is_longer_than_what_can_be_told() -> None:
    other = cv2.cvtColor(noise_texture(SIZE, 2), cv2.COLOR_BGR2GRAY)
    step = refined(constant(0, 0), Slopes.of(TEXTURE), Slopes.of(other))
    assert 0 < np.abs(step).max() <= LONGEST_PX


def square(x: float) -> NDArray[np.uint8]:
    """A flat square on a flat ground, so far to the right."""
    picture = np.full_like(TEXTURE, 90)
    picture[40:80, 60:110] = 200
    return shifted(picture, -x, 0)


def test_a_flat_area_is_found_by_its_outline() -> None:
    target, source = Slopes.of(square(4.3)), Slopes.of(square(0))
    where = np.ones(TEXTURE.shape, bool)
    near = np.array([-4.0, 0.5])
    for _ in range(2):
        near = refined_shift(near, target, source, WHOLE, where)
    assert near == pytest.approx([-4.3, 0], abs=0.05)


def test_an_area_with_an_outline_on_two_sides_alone_stays_where_it_was() -> None:
    """Along the stripe it may be anywhere: what is known of that is not to be made up."""
    stripe = np.full_like(TEXTURE, 90)
    stripe[50:70] = 200
    slopes = Slopes.of(stripe)
    shift = np.array([2.0, 0.4])
    assert (refined_shift(shift, slopes, slopes, WHOLE, np.ones(stripe.shape, bool)) == shift).all()


def test_memory_is_counted() -> None:
    slopes = Slopes.of(TEXTURE)
    assert slopes.nbytes == 3 * TEXTURE.size * 4 + 3 * slopes.inverse[0].size * 4
