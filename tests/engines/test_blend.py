"""How one painting is laid over another."""

import numpy as np
import pytest
from numpy.typing import NDArray

from support.scenes import noise_texture
from warpaint.engines.base import Picture
from warpaint.engines.blend import cross_faded, lay_over, seam

SHAPE = (64, 96)
PAINT = noise_texture((96, 64), 2)


def strokes(seed: int) -> Picture:
    """A painting whose detail is its own: independent noise around one level."""
    noise = np.random.default_rng(seed).normal(0, 30, (*SHAPE, 3))
    return np.clip(128 + noise, 0, 255).astype(np.uint8)


def contrast(picture: Picture) -> float:
    return float(picture.std())


def half() -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, np.bool_)
    mask[:, 48:] = True
    return mask


def test_the_seam_is_inside_the_hole() -> None:
    holes = np.zeros(SHAPE, bool)
    holes[20:40, 30:60] = True
    weight = seam(holes, 4)
    assert not weight[~holes].any()
    assert weight[20, 45] == pytest.approx(0.25, abs=0.05)
    assert (weight[24:36, 34:56] == 1).all()
    np.testing.assert_array_equal(seam(holes, 0), holes.astype(np.float32))


def test_laying_over_leaves_the_rest_to_the_bit() -> None:
    weight = np.zeros(SHAPE, np.float32)
    weight[10:20, 10:20] = 0.5
    mixed = lay_over(PAINT, np.full_like(PAINT, 255), weight)
    np.testing.assert_array_equal(mixed[weight == 0], PAINT[weight == 0])
    expected = (PAINT[weight > 0].astype(float) + 255) / 2
    np.testing.assert_allclose(mixed[weight > 0], expected, atol=1)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_paintings_that_fade_keep_the_contrast_of_their_strokes(share: float) -> None:
    under, over = strokes(1), strokes(2)
    faded = cross_faded(under, over, share)
    mean = share * over.astype(float) + (1 - share) * under
    assert contrast(faded) == pytest.approx(contrast(under), rel=0.06)
    assert mean.std() < 0.85 * contrast(under)
    assert faded.mean() == pytest.approx(mean.mean(), abs=0.5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_what_both_paintings_show_stays_to_the_bit(share: float) -> None:
    np.testing.assert_array_equal(cross_faded(PAINT, PAINT, share), PAINT)


def test_at_its_ends_a_fade_is_one_of_the_paintings() -> None:
    under, over = strokes(1), strokes(2)
    np.testing.assert_array_equal(cross_faded(under, over, 0.0), under)
    np.testing.assert_array_equal(cross_faded(under, over, 1.0), over)


def test_flat_paint_fades_as_it_is() -> None:
    dark, light = (np.full((*SHAPE, 3), level, np.uint8) for level in (40, 240))
    assert np.unique(cross_faded(dark, light, 0.25)).tolist() == [90]


def test_detail_is_not_made_stronger_than_it_was() -> None:
    """Where one painting is flat, there is no more contrast than the share of the other has."""
    flat, rich = np.full((*SHAPE, 3), 128, np.uint8), strokes(1)
    assert contrast(cross_faded(flat, rich, 0.5)) == pytest.approx(0.5 * contrast(rich), rel=0.05)


def test_what_fades_in_a_part_is_seen_there_alone() -> None:
    under, over, right = strokes(1), strokes(2), half()
    faded = cross_faded(under, over, 0.5, right, feather=4)
    np.testing.assert_array_equal(faded[~right], under[~right])
    inner = np.zeros_like(right)
    inner[:, 56:] = True
    np.testing.assert_array_equal(faded[:, 60:], cross_faded(under, over, 0.5, right)[:, 60:])
    assert contrast(faded[:, 60:]) == pytest.approx(contrast(under), rel=0.1)
    rim = np.abs(faded[:, 48].astype(int) - under[:, 48]).mean()
    assert 0 < rim < 0.6 * np.abs(faded[:, 60].astype(int) - under[:, 60]).mean()


def test_nothing_fades_in_nowhere() -> None:
    under = strokes(1)
    np.testing.assert_array_equal(cross_faded(under, strokes(2), 0.5, np.zeros(SHAPE, np.bool_), feather=3), under)


def test_large_areas_keep_their_lightness() -> None:
    """What is given back is the brush's: slopes as wide as a shape are a mean."""
    across = np.linspace(40, 200, SHAPE[1])
    under = np.broadcast_to(across[None, :, None], (*SHAPE, 3)).astype(np.uint8)
    over = np.ascontiguousarray(under[:, ::-1])
    faded = cross_faded(under, over, 0.5)
    assert np.abs(faded.astype(float) - 120).max() <= 2
