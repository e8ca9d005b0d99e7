import cv2
import numpy as np
import pytest

from support.scenes import noise_texture
from warpaint.engines.base import Match
from warpaint.engines.compose import Layer, compose, lay_over, seam, trust, warp

SHAPE = (64, 96)
PAINT = noise_texture((96, 64), 2)
NO_HOPS = np.zeros(SHAPE, np.uint8)


def match(dx: float = 0.0, confidence: float = 1.0) -> Match:
    flow = np.zeros((*SHAPE, 2), np.float32)
    flow[..., 0] = dx
    return Match(flow, np.full(SHAPE, confidence, np.float32))


def layer(level: int, trusted: float, hops: int = 1) -> Layer:
    return Layer(
        np.full((*SHAPE, 3), level, np.uint8), np.full(SHAPE, trusted, np.float32), np.full(SHAPE, hops, np.uint8)
    )


def test_what_has_not_moved_is_copied_to_the_bit_and_is_no_hop() -> None:
    still = warp(PAINT, NO_HOPS, match(), threshold=0.5, max_hops=8)
    np.testing.assert_array_equal(still.paint, PAINT)
    assert not still.hops.any()


def test_what_has_moved_is_one_hop_further() -> None:
    moved = warp(PAINT, NO_HOPS + 3, match(dx=2.0), threshold=0.5, max_hops=8)
    np.testing.assert_array_equal(moved.paint[:, :-2], PAINT[:, 2:])
    assert (moved.hops[:, :-2] == 4).all()


def test_what_the_reference_does_not_hold_is_worn_out() -> None:
    moved = warp(PAINT, NO_HOPS, match(dx=2.0, confidence=0.0), threshold=0.5, max_hops=8)
    assert (moved.hops[:, -2:] == 255).all()
    assert compose([(moved, 1.0)], max_hops=8, feather=0).holes[:, -2:].all()


def test_more_hops_than_allowed_are_not_trusted() -> None:
    hops = NO_HOPS.copy()
    hops[:, 48:] = 8
    worn = warp(PAINT, hops, match(dx=1.0), threshold=0.5, max_hops=8)
    assert (worn.trust[:, :46] == 1).all()
    assert not worn.trust[:, 48:].any()


def test_hops_do_not_wrap_round() -> None:
    worn = warp(PAINT, NO_HOPS + 255, match(dx=1.0), threshold=0.5, max_hops=254)
    assert (worn.hops == 255).all()


@pytest.mark.parametrize(("confidence", "expected"), [(0.0, 0.0), (0.4, 0.0), (0.5, 0.5), (0.6, 1.0), (1.0, 1.0)])
def test_trust_is_a_ramp_around_the_threshold(confidence: float, expected: float) -> None:
    assert trust(np.full((1, 1), confidence, np.float32), 0.5)[0, 0] == pytest.approx(expected, abs=1e-5)


def test_the_first_layer_that_is_sure_shows() -> None:
    both = compose([(layer(10, 1.0), 1.0), (layer(200, 1.0, hops=5), 1.0)], max_hops=8, feather=0)
    assert (both.paint == 10).all()
    assert (both.hops == 1).all()
    assert not both.holes.any()


def test_a_layer_takes_its_share_of_what_is_left_open() -> None:
    both = compose([(layer(0, 0.25), 1.0), (layer(200, 1.0, hops=5), 1.0)], max_hops=8, feather=0)
    assert np.abs(both.paint.astype(int) - 150).max() <= 1
    assert (both.hops == 5).all()


def test_gain_fades_a_layer() -> None:
    new, old = layer(200, 1.0), layer(0, 1.0)
    fading = compose([(new, 0.3), (old, 1.0), (new, 1.0)], max_hops=8, feather=0)
    assert np.abs(fading.paint.astype(int) - 60).max() <= 1


def test_what_nothing_explains_shows_the_last_layer_and_is_a_hole() -> None:
    nothing = compose([(layer(10, 0.0), 1.0), (layer(200, 0.0), 1.0)], max_hops=8, feather=0)
    assert (nothing.paint == 200).all()
    assert nothing.holes.all()


def with_gap(size: int, hops: int = 1) -> Layer:
    """A sure layer with an unsure square in its middle."""
    made = layer(100, 1.0, hops)
    made.trust[20 : 20 + size, 40 : 40 + size] = 0
    return made


def test_slivers_are_no_holes_until_they_are_worn() -> None:
    assert not compose([(with_gap(4), 1.0)], max_hops=8, feather=0).holes.any()
    assert compose([(with_gap(4, hops=9), 1.0)], max_hops=8, feather=0).holes.sum() == 16


def test_holes_grow_by_the_feather() -> None:
    plain, grown = (compose([(with_gap(20), 1.0)], max_hops=8, feather=feather).holes for feather in (0, 3))
    assert grown.sum() > plain.sum()
    far = cv2.distanceTransform((~plain).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert far[grown].max() <= 3.5


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
