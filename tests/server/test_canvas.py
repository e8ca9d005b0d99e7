import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.scenes import noise_texture
from warpaint.server.canvas import plan

SIDES = st.integers(1, 5000)


@given(SIDES, SIDES, st.sampled_from([0, 90, 180, 270]), st.integers(64, 2**21))
def test_a_canvas_fits_and_is_a_multiple_of_8(width: int, height: int, rotation: int, most: int) -> None:
    canvas = plan(width, height, rotation, most)
    assert canvas.size[0] % 8 == canvas.size[1] % 8 == 0
    assert canvas.size[0] * canvas.size[1] <= most or 8 in canvas.size
    assert canvas.size[0] - canvas.content[0] < 8
    assert canvas.size[1] - canvas.content[1] < 8


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("size", [(1, 1), (17, 31), (64, 48), (8, 200)])
def test_a_frame_that_fits_comes_back_to_the_bit(size: tuple[int, int], rotation: int) -> None:
    picture = noise_texture(size, 1)
    canvas = plan(*size, rotation, 2**20)
    placed = canvas.put(picture)
    assert placed.shape[:2] == canvas.size[::-1]
    np.testing.assert_array_equal(canvas.take(placed), picture)


def test_rotation_turns_the_picture_upright() -> None:
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, -8:] = 255  # bright at the right, as stored
    upright = plan(32, 16, 90, 2**20).put(picture)
    assert upright.shape == (32, 16, 3)
    assert (upright[-8:] == 255).all()  # a quarter turn clockwise takes the right side to the bottom


def test_a_frame_too_large_is_made_smaller_and_given_back_at_its_size() -> None:
    picture = noise_texture((640, 360), 1)
    canvas = plan(640, 360, 0, 320 * 184)
    assert canvas.size == (320, 184)
    assert canvas.content == (320, 180)
    assert canvas.take(canvas.put(picture)).shape == picture.shape


def test_the_shape_is_kept() -> None:
    for width, height in ((4097, 8), (1920, 1080), (3, 3000)):
        canvas = plan(width, height, 0, 100_000)
        assert canvas.content[0] / canvas.content[1] == pytest.approx(width / height, rel=0.25)
