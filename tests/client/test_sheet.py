import ast
import math
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from warpaint.client import sheet
from warpaint.client.sheet import (
    COLUMNS,
    EMPTY,
    HOLE_COLOUR,
    LEAST_WIDTH,
    PAPER,
    Flow,
    Picture,
    SheetRow,
    confidence_picture,
    contact_sheet,
    flow_colours,
    full_speed,
    holes_picture,
    hops_picture,
)

WIDTH, HEIGHT = 96, 64
RED, BLUE = (0, 0, 255), (255, 0, 0)


def even_flow(dx: float, dy: float) -> Flow:
    return np.broadcast_to(np.array((dx, dy), np.float32), (HEIGHT, WIDTH, 2)).copy()


def even(colour: tuple[int, int, int]) -> Picture:
    return np.full((HEIGHT, WIDTH, 3), colour, np.uint8)


def full_row(pts: float = 0.0, *, speed: float = 2.0) -> SheetRow:
    holes = np.zeros((HEIGHT, WIDTH), np.bool_)
    holes[:, :48] = True
    return SheetRow(
        pts,
        raw=even((40, 160, 90)),
        painted=even((200, 60, 30)),
        flow=even_flow(speed, 0),
        confidence=np.full((HEIGHT, WIDTH), 0.5, np.float32),
        hops=np.full((HEIGHT, WIDTH), 3, np.uint8),
        holes=holes,
    )


def hue(picture: Picture) -> float:
    """The hue of an evenly coloured picture, degrees."""
    return float(cv2.cvtColor(picture[:1, :1].astype(np.float32) / 255, cv2.COLOR_BGR2HSV)[0, 0, 0])


def lightness(picture: Picture) -> list[float]:
    return [float(value) for value in cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[0]]


def shows(picture: Picture, colour: tuple[int, int, int], *, at_least: int = 1) -> bool:
    return int((picture == np.array(colour, np.uint8)).all(axis=2).sum()) >= at_least


class TestFlowColours:
    def test_no_motion_is_white(self) -> None:
        assert (flow_colours(even_flow(0, 0)) == 255).all()

    def test_right_is_red(self) -> None:
        assert (flow_colours(even_flow(3, 0), 3.0) == np.array(RED)).all()

    def test_hue_turns_clockwise_through_yellow_cyan_and_violet(self) -> None:
        turned = [hue(flow_colours(even_flow(math.cos(a), math.sin(a)), 1.0)) for a in np.linspace(0, 6.2, 24)]
        assert turned == sorted(turned)
        down, left, up = (hue(flow_colours(even_flow(*way), 1.0)) for way in ((0, 1), (-1, 0), (0, -1)))
        assert 40 < down < 65
        assert 180 < left < 215
        assert 240 < up < 290

    def test_the_turn_closes_without_a_seam(self) -> None:
        just_before, just_after = (flow_colours(even_flow(1, dy), 1.0)[0, 0].astype(int) for dy in (-1e-3, 1e-3))
        assert np.abs(just_before - just_after).max() <= 8

    def test_saturation_follows_speed_up_to_the_full_colour(self) -> None:
        half, full, more = (flow_colours(even_flow(speed, 0), 4.0)[0, 0].tolist() for speed in (2, 4, 40))
        assert half == [128, 128, 255]
        assert full == more == list(RED)

    def test_scales_itself_past_a_few_wild_vectors(self) -> None:
        flow = even_flow(2, 0)
        flow[0, :8] = 500
        assert full_speed([flow]) == pytest.approx(2)
        assert flow_colours(flow)[30, 30].tolist() == list(RED)

    def test_noise_in_a_still_stays_pale(self) -> None:
        assert flow_colours(even_flow(0.01, 0)).min() > 240

    def test_unknown_motion_is_black(self) -> None:
        flow = even_flow(2, 0)
        flow[3, 5] = np.nan
        flow[3, 6, 1] = np.inf
        colours = flow_colours(flow)
        assert (colours[3, 5:7] == 0).all()
        assert colours[3, 7].tolist() == list(RED)

    @pytest.mark.parametrize("most", [0.0, -1.0, math.nan])
    def test_refuses_a_scale_without_length(self, most: float) -> None:
        with pytest.raises(ValueError, match="above 0 pixels"):
            flow_colours(even_flow(1, 0), most)


class TestMaps:
    def test_confidence_grows_lighter(self) -> None:
        levels = lightness(confidence_picture(np.linspace(0, 1, 64, dtype=np.float32)[None]))
        assert levels == sorted(levels)
        assert levels[0] < 50
        assert levels[-1] > 240

    def test_confidence_past_its_range_is_clipped(self) -> None:
        low, high, nothing, zero, one = confidence_picture(np.array([[-1, 2, np.nan, 0, 1]], np.float32))[0].tolist()
        assert (low, high, nothing) == (zero, one, zero)

    def test_hops_grow_darker_from_white_to_the_limit(self) -> None:
        levels = lightness(hops_picture(np.arange(9, dtype=np.uint8)[None], 8))
        assert levels[0] == 255
        assert all(now < before - 4 for before, now in pairwise(levels))

    def test_hops_past_the_limit_are_as_dark_as_it(self) -> None:
        at, past = hops_picture(np.array([[8, 255]], np.uint8), 8)[0].tolist()
        assert at == past

    def test_hops_need_a_limit(self) -> None:
        with pytest.raises(ValueError, match="at least 1, not 0"):
            hops_picture(np.zeros((2, 2), np.uint8), 0)

    def test_holes_are_coloured_and_the_rest_is_grey(self) -> None:
        row = full_row()
        assert row.raw is not None
        assert row.holes is not None
        picture = holes_picture(row.raw, row.holes)
        assert np.ptp(picture[:, 48:], axis=2).max() == 0
        assert np.abs(picture[0, 0].astype(int) - HOLE_COLOUR).max() < 50
        assert picture[0, 60].max() < 128

    def test_holes_of_another_size_are_scaled(self) -> None:
        holes = np.array([[True, False]])
        picture = holes_picture(even((200, 200, 200)), holes)
        assert (np.ptp(picture[:, :48], axis=2) > 0).all()
        assert (np.ptp(picture[:, 48:], axis=2) == 0).all()

    def test_inputs_are_left_alone(self) -> None:
        row = full_row()
        for array in (row.raw, row.painted, row.flow, row.confidence, row.hops, row.holes):
            assert array is not None
            array.flags.writeable = False
        contact_sheet([row])


class TestContactSheet:
    def test_has_the_width_and_grows_by_rows(self) -> None:
        one, three = (contact_sheet([full_row()] * count, width=960) for count in (1, 3))
        assert one.shape[1:] == three.shape[1:] == (960, 3)
        assert one.dtype == np.uint8
        tile = (three.shape[0] - one.shape[0]) / 2
        assert tile == pytest.approx(960 / 7 * HEIGHT / WIDTH, rel=0.1)

    def test_shows_every_picture_in_its_column(self) -> None:
        row = full_row()
        assert row.raw is not None
        assert row.painted is not None
        picture = contact_sheet([row], width=960)
        where = [np.flatnonzero((picture == p[0, 0]).all(axis=2).any(axis=0)).mean() for p in (row.raw, row.painted)]
        assert 960 * 0.05 < where[0] < where[1] < 960 * 0.4
        assert shows(picture, RED, at_least=1000)  # the flow

    def test_columns_are_those_asked_for_in_their_order(self) -> None:
        row = full_row()
        assert row.raw is not None
        picture = contact_sheet([row], ("painted", "raw"), width=960)
        assert not shows(picture, RED)
        assert np.flatnonzero((picture == row.raw[0, 0]).all(axis=2).any(axis=0)).mean() > 480

    def test_all_rows_share_one_scale_of_flow(self) -> None:
        picture = contact_sheet([full_row(speed=4.0), full_row(speed=1.0)], ("flow",), width=960)
        column = picture[:, 500]
        assert (column == np.array(RED)).all(axis=1).any()
        assert (column == np.array((191, 191, 255))).all(axis=1).sum() > 100

    def test_what_is_missing_is_an_empty_tile(self) -> None:
        assert shows(contact_sheet([SheetRow(0.0, raw=even(RED))], width=960), EMPTY, at_least=5 * 100 * 60)
        assert not shows(contact_sheet([full_row()], width=960), EMPTY, at_least=100)

    def test_a_sheet_of_nothing_is_still_a_sheet(self) -> None:
        assert shows(contact_sheet([SheetRow(0.0)]), EMPTY, at_least=1000)

    def test_captions_are_centred_over_their_tiles(self) -> None:
        picture = contact_sheet([full_row()], ("painted",), width=960)
        tile = np.flatnonzero((picture == np.array((200, 60, 30))).all(axis=2).any(axis=0))
        top = int(np.flatnonzero((picture == np.array((200, 60, 30))).all(axis=2).any(axis=1))[0])
        caption = np.flatnonzero((picture[: top - 2] < 150).any(axis=(0, 2)))
        assert abs((caption[0] + caption[-1]) / 2 - (tile[0] + tile[-1]) / 2) <= 3

    def test_times_stand_to_the_left_of_the_tiles(self) -> None:
        early, late = (contact_sheet([full_row(pts)], width=960) for pts in (0.5, 125.25))
        differs = np.flatnonzero((early != late).any(axis=(0, 2)))
        assert 0 < differs[0] < differs[-1] < 960 * (sheet.MARGIN + sheet.TIME_WIDTH)

    def test_the_background_is_calm(self) -> None:
        picture = contact_sheet([full_row()])
        for edge in (picture[:8], picture[-8:], picture[:, :8], picture[:, -8:]):
            assert (edge == np.array(PAPER)).all()

    def test_is_the_same_each_time(self) -> None:
        np.testing.assert_array_equal(contact_sheet([full_row()]), contact_sheet([full_row()]))

    def test_refuses_what_it_cannot_lay_out(self) -> None:
        with pytest.raises(ValueError, match="at least one row"):
            contact_sheet([])
        with pytest.raises(ValueError, match="at least one row and one column, not 1 and 0"):
            contact_sheet([full_row()], ())
        with pytest.raises(ValueError, match=f"no column 'depth'; it has {', '.join(COLUMNS)}"):
            contact_sheet([full_row()], ("raw", "depth"))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"at least {LEAST_WIDTH} pixels wide, not 300"):
            contact_sheet([full_row()], width=300)


@pytest.mark.parametrize(
    ("pts", "text"), [(0.0, "0.00 s"), (1.239, "1.24 s"), (59.996, "1:00.00"), (125.25, "2:05.25"), (-0.5, "-0.50 s")]
)
def test_clock(pts: float, text: str) -> None:
    assert sheet._clock(pts) == text


def test_imports_neither_server_nor_engines() -> None:
    tree = ast.parse(Path(sheet.__file__).read_text())
    relative = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert relative == []
