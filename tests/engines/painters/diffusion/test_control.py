from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from support.scenes import noise_texture
from warpaint.engines.base import Frame, Picture
from warpaint.engines.painters.diffusion.control import KINDS, can_show, canny, image_of, lineart

Control = Callable[[Picture], Picture]
LEFT, TOP, RIGHT, BOTTOM = 60, 30, 139, 99  # the first and the last pixels of the square
each_kind = pytest.mark.parametrize("control", KINDS.values(), ids=KINDS.keys())


def square(inside: int = 40, outside: int = 200) -> Picture:
    picture = np.full((128, 192, 3), outside, np.uint8)
    cv2.rectangle(picture, (LEFT, TOP), (RIGHT, BOTTOM), (inside, inside, inside), -1)
    return picture


def near_its_outline(reach: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    outline = np.zeros((128, 192), np.uint8)
    cv2.rectangle(outline, (LEFT, TOP), (RIGHT, BOTTOM), 1)
    return cv2.dilate(outline, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0


def test_the_kinds() -> None:
    assert dict(KINDS) == {"canny": canny, "lineart": lineart}


def test_an_image_that_came_with_the_frame_goes_before_one_that_is_computed() -> None:
    frame, sent = Frame(0, Fraction(0), square()), square(0, 255)
    np.testing.assert_array_equal(image_of("canny", frame), canny(square()))
    assert [can_show(kind, frame) for kind in ("canny", "lineart", "depth")] == [True, True, False]
    brought = replace(frame, controls={"canny": sent, "depth": sent})
    assert image_of("canny", brought) is image_of("depth", brought) is sent
    assert [can_show(kind, brought) for kind in ("canny", "depth", "pose")] == [True, True, False]


@each_kind
@pytest.mark.parametrize("shades", [(40, 200), (200, 40)])
def test_a_square_has_its_outline_and_nothing_else(control: Control, shades: tuple[int, int]) -> None:
    lines = control(square(*shades))[..., 0]
    assert not lines[~near_its_outline(4)].any()
    drawn = lines > 128
    for side in (drawn[50:80, LEFT - 4 : LEFT + 4], drawn[50:80, RIGHT - 4 : RIGHT + 4]):
        assert side.any(axis=1).all()
        assert side.sum(axis=1).max() <= 4  # it is thin
    for side in (drawn[TOP - 4 : TOP + 4, 80:120], drawn[BOTTOM - 4 : BOTTOM + 4, 80:120]):
        assert side.any(axis=0).all()
        assert side.sum(axis=0).max() <= 4


def test_lineart_draws_on_the_dark_side() -> None:
    lines = lineart(square())[64, :, 0].astype(int)
    assert lines[LEFT : LEFT + 3].sum() > 2 * lines[LEFT - 3 : LEFT].sum()


def test_lineart_is_soft_and_fainter_where_contrast_is_less() -> None:
    strong, faint = (int(lineart(square(200 - step, 200)).max()) for step in (160, 35))
    assert strong == 255
    assert 0 < faint < 255
    assert len(np.unique(lineart(square()))) > 8


@each_kind
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_is_black(control: Control, level: int) -> None:
    assert not control(np.full((90, 160, 3), level, np.uint8)).any()


@each_kind
def test_grain_and_slow_shades_are_no_lines(control: Control) -> None:
    shade = np.linspace(40, 200, 192)[None, :, None] + np.zeros((128, 1, 3))
    grain = np.random.default_rng(1).normal(0, 3, shade.shape)
    assert (control(np.clip(shade + grain, 0, 255).astype(np.uint8)) > 0).mean() < 0.001


def test_lineart_of_a_texture_is_less_than_that_of_a_line() -> None:
    """Blades of grass around a pole, of the same contrast."""
    rng, picture = np.random.default_rng(2), np.full((256, 384, 3), 150, np.uint8)
    for x, y, lean in zip(
        rng.integers(0, 384, 3000), rng.integers(0, 256, 3000), rng.integers(-3, 4, 3000), strict=True
    ):
        cv2.line(picture, (int(x), int(y)), (int(x + lean), int(y) - 9), (int(rng.integers(120, 180)),) * 3, 1)
    picture[:, 180:204] = 150
    picture[:, 190:194] = 120
    lines = lineart(picture)[..., 0].astype(float)
    assert lines[:, 186:198].max(axis=1).mean() > 2 * lines[:, :170].mean(axis=0).max()


@each_kind
@pytest.mark.parametrize("size", [(8, 8), (9, 8), (8, 300), (37, 21), (257, 131), (641, 359)])
def test_any_size(control: Control, size: tuple[int, int]) -> None:
    picture = noise_texture(size, 4)
    picture.flags.writeable = False
    lines = control(picture)
    assert lines.dtype == np.uint8
    assert lines.shape == picture.shape
    assert (lines == lines[..., :1]).all()


@each_kind
def test_the_same_picture_gives_the_same_bits_wherever_it_lies(control: Control) -> None:
    picture = noise_texture((203, 117), 5)
    whole = np.zeros((130, 220, 3), np.uint8)
    expected = control(picture)
    assert expected.any()
    for x in range(9):
        whole[5 : 5 + 117, x : x + 203] = picture
        np.testing.assert_array_equal(control(whole[5 : 5 + 117, x : x + 203]), expected)
