from itertools import product

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from warpaint.proto.messages import Colour, Matrix
from warpaint.server.colour import Samples, Space, bgr_to_gray, bgr_to_yuv, space_of, yuv_to_bgr

MATRICES: tuple[Matrix, ...] = ("bt601", "bt709", "bt2020")
SPACES = [Space(matrix, full) for matrix, full in product(MATRICES, (False, True))]
# Written out from the recommendations, apart from the code under test.
WEIGHTS = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722), "bt2020": (0.2627, 0.6780, 0.0593)}

every_space = pytest.mark.parametrize("space", SPACES, ids=lambda s: f"{s.matrix}-{'full' if s.full_range else 'tv'}")


def exact_yuv(bgr: NDArray[np.float64], space: Space) -> NDArray[np.float64]:
    """The samples [..., 3] of colours [..., 3] of 0..255, in real numbers."""
    b, g, r = np.moveaxis(bgr / 255, -1, 0)
    kr, kg, kb = WEIGHTS[space.matrix]
    y = kr * r + kg * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    if space.full_range:
        return np.stack([255 * y, 128 + 255 * cb, 128 + 255 * cr], axis=-1)
    return np.stack([16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr], axis=-1)


def exact_bgr(yuv: NDArray[np.float64], space: Space) -> NDArray[np.float64]:
    """The colours [..., 3] of samples [..., 3], in real numbers; outside 0..255 where BGR does not reach."""
    black, luma, chroma = (0, 255, 255) if space.full_range else (16, 219, 224)
    y, cb, cr = (yuv[..., 0] - black) / luma, (yuv[..., 1] - 128) / chroma, (yuv[..., 2] - 128) / chroma
    kr, kg, kb = WEIGHTS[space.matrix]
    r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return 255 * np.stack([b, (y - kr * r - kb * b) / kg, r], axis=-1)


def spread(plane: Samples, shape: tuple[int, ...]) -> Samples:
    return plane.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]


def real(y: Samples, u: Samples, v: Samples) -> NDArray[np.float64]:
    return np.stack([y, spread(u, y.shape), spread(v, y.shape)], axis=-1).astype(np.float64)


def every_chroma(luma: int, seed: int = 0) -> tuple[Samples, Samples, Samples]:
    """A picture of 512x512 with all 65536 pairs of chroma, and luma that varies within each block."""
    u, v = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    noise = np.random.default_rng(seed).integers(-30, 31, (512, 512))
    return np.clip(luma + noise, 0, 255).astype(np.uint8), u, v


@every_space
@pytest.mark.parametrize("luma", [30, 128, 220])
def test_samples_become_the_colours_of_the_definition(space: Space, luma: int) -> None:
    y, u, v = every_chroma(luma)
    exact = np.clip(exact_bgr(real(y, u, v), space), 0, 255)
    assert np.abs(yuv_to_bgr(y, u, v, space) - exact).max() < 1


@every_space
def test_colours_become_the_samples_of_the_definition(space: Space) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8)
    bgr = colours.repeat(2, axis=0).repeat(2, axis=1)  # of one colour a block, so that nothing is averaged
    exact = np.clip(exact_yuv(bgr.astype(np.float64), space), 0, 255)
    y, u, v = bgr_to_yuv(bgr, space)
    assert np.abs(real(y, u, v) - exact).max() < 1


@every_space
@pytest.mark.parametrize("luma", [20, 70, 128, 180, 230])
def test_a_round_trip_moves_no_channel_by_more_than_one_level(space: Space, luma: int) -> None:
    y, u, v = every_chroma(luma, seed=luma)
    exact = exact_bgr(real(y, u, v), space)
    inside = ((exact >= 0) & (exact <= 255)).all(axis=-1)
    blocks = inside.reshape(256, 2, 256, 2).all(axis=(1, 3))
    assert inside.any()
    assert blocks.any()
    again = bgr_to_yuv(yuv_to_bgr(y, u, v, space), space)
    for before, after, kept in zip((y, u, v), again, (inside, blocks, blocks), strict=True):
        assert np.abs(before.astype(int) - after)[kept].max() <= 1


@given(
    space=st.sampled_from(SPACES),
    width=st.integers(1, 19),
    height=st.integers(1, 19),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, derandomize=True)
def test_any_size_survives_a_round_trip(space: Space, width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    half = ((height + 1) // 2, (width + 1) // 2)
    y = rng.integers(110, 150, (height, width), np.uint8)  # near gray, and so within BGR
    u, v = rng.integers(115, 142, (2, *half), np.uint8)
    bgr = yuv_to_bgr(y, u, v, space)
    assert bgr.shape == (height, width, 3)
    for before, after in zip((y, u, v), bgr_to_yuv(bgr, space), strict=True):
        assert before.shape == after.shape
        assert np.abs(before.astype(int) - after).max() <= 1


@every_space
def test_grays_have_no_colour(space: Space) -> None:
    levels = np.arange(256, dtype=np.uint8)
    y, u, v = bgr_to_yuv(np.broadcast_to(levels[:, None, None], (256, 2, 3)), space)
    assert np.all(u == 128)
    assert np.all(v == 128)
    assert (y[0, 0], y[-1, 0]) == ((0, 255) if space.full_range else (16, 235))
    assert np.all(np.ptp(yuv_to_bgr(y, u, v, space), axis=2) == 0)


@every_space
def test_gray_is_luma_in_full_range(space: Space) -> None:
    bgr = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    kr, kg, kb = WEIGHTS[space.matrix]
    assert np.abs(bgr_to_gray(bgr, space) - bgr @ [kb, kg, kr]).max() < 1
    flat = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 3, 3))
    assert np.array_equal(bgr_to_gray(flat, space), flat[:, :, 0])


def test_chroma_of_444_is_used_as_it_is() -> None:
    y, u, v = np.random.default_rng(3).integers(100, 150, (3, 7, 5), np.uint8)
    exact = exact_bgr(np.stack([y, u, v], axis=-1).astype(np.float64), SPACES[0])
    assert np.abs(yuv_to_bgr(y, u, v, SPACES[0]) - exact).max() < 1


@pytest.mark.parametrize(
    ("space", "colorspace"), [(Space("bt601", False), Colorspace.ITU601), (Space("bt709", False), Colorspace.ITU709)]
)
def test_swscale_agrees_when_it_is_told_the_matrix(space: Space, colorspace: Colorspace) -> None:
    rng = np.random.default_rng(4)
    y = rng.integers(60, 190, (64, 96), np.uint8)
    u, v = rng.integers(108, 149, (2, 32, 48), np.uint8)
    frame = av.VideoFrame.from_ndarray(np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(96, 96), "yuv420p")
    theirs = frame.reformat(
        format="bgr24",
        src_colorspace=colorspace,
        dst_colorspace=colorspace,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.POINT,
    ).to_ndarray()
    assert np.abs(theirs.astype(int) - yuv_to_bgr(y, u, v, space)).max() <= 3


@pytest.mark.parametrize(
    ("matrix", "height", "wanted"),
    [(None, 719, "bt601"), (None, 720, "bt709"), ("bt601", 1080, "bt601"), ("bt2020", 480, "bt2020")],
)
def test_without_a_matrix_the_lines_decide(matrix: Matrix | None, height: int, wanted: Matrix) -> None:
    assert space_of(Colour(matrix=matrix, full_range=True), height) == Space(wanted, full_range=True)
