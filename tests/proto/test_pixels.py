from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warpaint.proto.errors import InvalidMessage, TooLarge
from warpaint.proto.limits import MAX_PAYLOAD_BYTES
from warpaint.proto.messages import Pixels
from warpaint.proto.pixels import Layout, Plane, layout


@pytest.mark.parametrize(
    ("pixels", "planes", "total"),
    [
        ("bgr24", [Plane(0, 12, 2, 12)], 24),
        ("rgb24", [Plane(0, 12, 2, 12)], 24),
        ("bgra", [Plane(0, 16, 2, 16)], 32),
        ("gray", [Plane(0, 4, 2, 4)], 8),
        ("yuv420p", [Plane(0, 4, 2, 4), Plane(8, 2, 1, 2), Plane(10, 2, 1, 2)], 12),
        ("nv12", [Plane(0, 4, 2, 4), Plane(8, 4, 1, 4)], 12),
    ],
)
def test_tight_planes_follow_one_another(pixels: Pixels, planes: list[Plane], total: int) -> None:
    assert layout(pixels, 4, 2) == Layout(tuple(planes), total)


@pytest.mark.parametrize(("width", "height"), [(17, 31), (1, 1), (3, 1), (1, 4)])
def test_odd_sizes_round_chroma_up(width: int, height: int) -> None:
    half = ((width + 1) // 2, (height + 1) // 2)
    planar, packed = layout("yuv420p", width, height), layout("nv12", width, height)
    assert [(plane.row_bytes, plane.rows) for plane in planar.planes] == [(width, height), half, half]
    assert [(plane.row_bytes, plane.rows) for plane in packed.planes] == [(width, height), (2 * half[0], half[1])]
    assert planar.total_bytes == packed.total_bytes == width * height + 2 * half[0] * half[1]


def test_strides_move_the_planes_apart() -> None:
    assert layout("yuv420p", 5, 3, (8, 4, 16)) == Layout(
        (Plane(0, 5, 3, 8), Plane(24, 3, 2, 4), Plane(32, 3, 2, 16)), 64
    )


@pytest.mark.parametrize(
    ("pixels", "strides", "complaint"),
    [
        ("bgr24", (14,), r"strides\.0: at least 15 bytes, a row of bgr24 \(got 14\)"),
        ("nv12", (5, 5), r"strides\.1: at least 6 bytes"),
        ("yuv420p", (5, 3), r"yuv420p has 3 planes, so 3 strides \(got 2\)"),
        ("gray", (5, 3), r"gray has 1 planes"),
        ("gray", (), r"got 0"),
    ],
)
def test_strides_that_do_not_fit_are_refused(pixels: Pixels, strides: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(InvalidMessage, match=complaint):
        layout(pixels, 5, 3, strides)


def test_strides_cannot_ask_for_more_than_a_payload_may_hold() -> None:
    assert layout("gray", 1, 4, (MAX_PAYLOAD_BYTES // 4,)).total_bytes == MAX_PAYLOAD_BYTES
    with pytest.raises(TooLarge, match=f"at most {MAX_PAYLOAD_BYTES}"):
        layout("gray", 1, 4, (MAX_PAYLOAD_BYTES // 4 + 1,))


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0), (-1, 4)])
def test_empty_pictures_are_refused(width: int, height: int) -> None:
    with pytest.raises(InvalidMessage, match="at least 1"):
        layout("gray", width, height)


@given(
    pixels=st.sampled_from(get_args(Pixels)),
    width=st.integers(1, 99),
    height=st.integers(1, 99),
    padding=st.lists(st.integers(0, 64), min_size=3, max_size=3),
)
@settings(deadline=None, derandomize=True)
def test_planes_fill_the_payload_without_overlap(pixels: Pixels, width: int, height: int, padding: list[int]) -> None:
    tight = layout(pixels, width, height)
    strides = [plane.row_bytes + pad for plane, pad in zip(tight.planes, padding, strict=False)]
    padded = layout(pixels, width, height, strides)
    end = 0
    for plane in padded.planes:
        assert plane.offset == end
        end += plane.rows * plane.stride
    assert end == padded.total_bytes >= tight.total_bytes
