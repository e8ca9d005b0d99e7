from itertools import pairwise

import cv2
import numpy as np
import pytest

from support.clips import frames
from warpaint.engines.detect import CUT_COLOUR_CHANGE, edge_change, edge_map, glance, is_cut, keyframe_threshold


def test_bikes_is_cut_where_the_eye_sees_it_and_nowhere_else() -> None:
    """The cuts were found by eye, on contact sheets of the neighbouring frames."""
    glances = pairwise(glance(frame) for frame in frames("bikes"))
    cuts = [i for i, (before, after) in enumerate(glances, start=1) if is_cut(before, after)]
    assert cuts == [30, 76, 137, 187, 242]


@pytest.mark.parametrize("name", ["bigbuckbunny", "carphone_pristine"])
def test_films_of_one_shot_are_not_cut(name: str) -> None:
    glances = pairwise(glance(frame) for frame in frames(name))
    assert not any(is_cut(before, after) for before, after in glances)


def test_a_flash_is_no_cut() -> None:
    [picture] = frames("bigbuckbunny", stop=1)
    flash = cv2.add(picture, (50, 50, 50, 0))
    assert not is_cut(glance(picture), glance(flash))
    assert 0.5 * np.abs(glance(picture).colours - glance(flash).colours).sum() > CUT_COLOUR_CHANGE


def test_edges_are_widened_by_a_kernel_that_grows_with_the_picture() -> None:
    for (w, h), side in (((192, 192), 5), ((768, 512), 7), ((1920, 1080), 13)):
        picture = np.zeros((h, w, 3), np.uint8)
        picture[:, w // 2 :] = 255
        row = edge_map(picture)[h // 2]
        assert np.count_nonzero(row) == side
        assert set(np.unique(row)) == {0, 255}


def test_edge_change_is_a_mean_of_0_to_255() -> None:
    nothing, everything = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    half = everything.copy()
    half[:2] = 0
    assert edge_change(nothing, nothing) == 0
    assert edge_change(nothing, everything) == 255
    assert edge_change(half, everything) == 127.5


@pytest.mark.parametrize(("gap_s", "expected"), [(0, 48), (5, 24), (10, 0), (12, 0)])
def test_the_threshold_falls_linearly_to_zero(gap_s: float, expected: float) -> None:
    assert keyframe_threshold(48.0, gap_s, 10.0) == expected
