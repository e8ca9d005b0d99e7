import cv2
import numpy as np
import pytest

from support.scenes import noise_texture
from warpaint.engines.base import Picture
from warpaint.engines.colours import affine_of, coloured, colours_from, colours_of

RAW = noise_texture((192, 128), 3)
OTHER = noise_texture((192, 128), 8)


def two_tones(raw: Picture) -> Picture:
    """Paint in two colours, dark and light: no affine map makes it."""
    gray = cv2.cvtColor(cv2.GaussianBlur(raw, (0, 0), 3), cv2.COLOR_BGR2GRAY)
    return np.where((gray > 128)[..., None], (200, 230, 240), (60, 20, 30)).astype(np.uint8)


def gray_of(picture: Picture) -> Picture:
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.uint8)


def outlined(paint: Picture) -> Picture:
    """The same under a net of black lines, over a tenth of it."""
    lined = paint.copy()
    lined[::20], lined[:, ::20] = 0, 0
    return lined


def off(picture: Picture, wanted: Picture) -> float:
    return float(np.median(np.abs(picture.astype(int) - wanted)))


def test_paint_that_is_the_raw_picture_changes_nothing() -> None:
    assert np.abs(coloured(OTHER, colours_of(RAW, RAW)).astype(int) - OTHER).max() <= 1


def test_colours_that_are_a_map_of_the_raw_ones_are_found() -> None:
    turned = np.ascontiguousarray(255 - RAW[..., ::-1])
    assert np.abs(coloured(OTHER, colours_of(RAW, turned)).astype(int) - (255 - OTHER[..., ::-1])).mean() < 3


def test_colours_that_lie_in_no_line_are_found() -> None:
    raw, other = (gray_of(noise_texture((384, 256), seed)) for seed in (3, 8))
    paint, wanted = two_tones(raw), two_tones(other)
    affine = affine_of(raw.reshape(-1, 3).astype(np.float32), paint.reshape(-1, 3).astype(np.float32))
    by_line = np.clip(cv2.transform(other.astype(np.float32), affine), 0, 255).astype(np.uint8)
    assert off(coloured(other, colours_of(raw, paint)), wanted) < 0.5 * off(by_line, wanted)


def test_outlines_are_no_colour_of_what_lies_under_them() -> None:
    wall = np.full((128, 192, 3), (120, 140, 160), np.uint8)
    paint = outlined(np.full_like(wall, (90, 200, 210)))
    np.testing.assert_allclose(coloured(wall, colours_of(wall, paint))[5, 5], (90, 200, 210), atol=12)


def test_what_is_written_is_read_again_to_the_same_bits() -> None:
    colours = colours_of(RAW, two_tones(RAW))
    read = colours_from(colours.to_bytes())
    assert read is not None
    assert read.to_bytes() == colours.to_bytes()
    np.testing.assert_array_equal(coloured(OTHER, read), coloured(OTHER, colours))


@pytest.mark.parametrize("data", [b"", b"\0" * 8795, np.full(2199, np.nan, "<f4").tobytes()], ids=len)
def test_other_bytes_are_none(data: bytes) -> None:
    assert colours_from(data) is None


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (8, 8)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    raw = noise_texture(size, 1)
    assert coloured(raw, colours_of(raw, 255 - raw)).shape == raw.shape
