import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from warpaint.engines.base import Mask
from warpaint.engines.crops import CELL, MARGIN, crops


def holes_at(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (768, 512)) -> Mask:
    holes = np.zeros(size[::-1], np.bool_)
    for x0, y0, x1, y1 in boxes:
        holes[y0:y1, x0:x1] = True
    return holes


def test_no_holes_need_no_crops() -> None:
    assert crops(holes_at()) == []


def test_one_hole_is_one_crop_with_a_margin_on_the_grid() -> None:
    [box] = crops(holes_at((100, 100, 130, 140)))
    assert (box.x0, box.y0, box.x1, box.y1) == (
        96 - MARGIN * CELL,
        96 - MARGIN * CELL,
        136 + MARGIN * CELL,
        144 + MARGIN * CELL,
    )


def test_holes_far_apart_are_crops_of_their_own() -> None:
    assert len(crops(holes_at((0, 0, 20, 20), (700, 400, 720, 420)))) == 2


def test_a_frame_of_holes_costs_its_rim_not_its_inside() -> None:
    """As when the camera pans: strips along two borders."""
    holes = holes_at((0, 0, 768, 16), (0, 0, 16, 512))
    boxes = crops(holes)
    assert len(boxes) >= 2
    assert sum(box.area for box in boxes) < 0.12 * holes.size


def test_a_canvas_full_of_holes_is_one_crop() -> None:
    holes = holes_at((0, 0, 768, 512))
    holes[::50] = False
    [box] = crops(holes)
    assert box.area == holes.size


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.bool_, (12, 15), elements=st.booleans(), fill=st.just(False)))
def test_crops_hold_all_holes_and_lie_on_the_grid_inside_the_canvas(cells: Mask) -> None:
    holes = np.kron(cells, np.ones((CELL, CELL), np.bool_)).astype(np.bool_)
    covered = np.zeros_like(holes)
    for box in crops(holes):
        covered[box.slices] = True
        assert 0 <= box.x0 < box.x1 <= holes.shape[1]
        assert 0 <= box.y0 < box.y1 <= holes.shape[0]
        assert all(edge % CELL == 0 for edge in (box.x0, box.y0, box.x1, box.y1))
    assert covered[holes].all()
