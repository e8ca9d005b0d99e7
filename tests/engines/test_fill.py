import cv2
import numpy as np
import pytest

from support.scenes import noise_texture
from warpaint.engines.fill import fill

SHAPE = (128, 192)
RAW = noise_texture((192, 128), 3)


def holes(*boxes: tuple[int, int, int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    made = np.zeros(SHAPE, np.bool_)
    for x0, y0, x1, y1 in boxes:
        made[y0:y1, x0:x1] = True
    return made


def test_outside_the_holes_the_paint_stays_to_the_bit() -> None:
    paint = noise_texture((192, 128), 4)
    before, where = paint.copy(), holes((10, 20, 60, 70), (150, 100, 192, 128))
    fill(paint, RAW, where)
    np.testing.assert_array_equal(paint[~where], before[~where])
    assert (paint[where] != before[where]).any()


@pytest.mark.parametrize("tone", [(0, 0, 0), (40, -30, 10)])
def test_a_filling_is_the_raw_picture_in_the_tone_of_the_paint_around(tone: tuple[int, int, int]) -> None:
    expected = np.clip(RAW.astype(int) + tone, 0, 255)
    paint, where = expected.astype(np.uint8), holes((60, 30, 130, 90))
    paint[where] = 0
    fill(paint, RAW, where)
    off = np.abs(paint.astype(int) - expected)[where]
    assert off.mean() < 8  # the median smooths the texture; without the tone it would be off by 27


def test_a_filling_has_the_colours_of_the_paint() -> None:
    """A painting in black and white: its fillings are that too, whatever the colours that are seen."""
    gray = cv2.cvtColor(cv2.cvtColor(RAW, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    paint, where = gray.copy(), holes((60, 30, 130, 90))
    paint[where] = 0
    fill(paint, RAW, where)
    seen = paint[where].astype(int)
    assert (seen.max(axis=1) - seen.min(axis=1)).mean() < 4
    assert np.abs(seen - gray[where]).mean() < 8


def test_no_holes_and_nothing_but_holes() -> None:
    paint = np.zeros_like(RAW)
    fill(paint, RAW, holes())
    assert not paint.any()
    fill(paint, RAW, np.ones(SHAPE, np.bool_))
    assert np.abs(paint.astype(int) - RAW).mean() < 8
