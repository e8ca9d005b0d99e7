from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support.scenes import noise_texture
from warpaint.engines import workers
from warpaint.engines.base import Match
from warpaint.engines.compose import TRUST_RAMP, Composition, Layer, compose, doubled, hops_after, lay_over, seam, trust

SHAPE = (64, 96)
PAINT = noise_texture((96, 64), 2)
NO_HOPS = np.zeros(SHAPE, np.uint8)
# Trusted by half at the threshold, and wholly a tenth above it.
THRESHOLD = 0.5


def match(dx: float = 0.0, confidence: float = 1.0, shape: tuple[int, int] = SHAPE) -> Match:
    flow = np.zeros((*shape, 2), np.float32)
    flow[..., 0] = dx
    return Match(flow, np.full(shape, confidence, np.float32))


def layer(level: int, trusted: float, hops: int = 1, gain: float = 1.0) -> Layer:
    """A still layer of one level that is trusted by so much."""
    paint = np.full((*SHAPE, 3), level, np.uint8)
    confidence = THRESHOLD - TRUST_RAMP / 2 + trusted * TRUST_RAMP
    return Layer(paint, np.full(SHAPE, hops, np.uint8), match(confidence=confidence), gain)


def composed(*layers: Layer, max_hops: int = 8, feather: int = 0) -> Composition:
    return compose(layers, threshold=THRESHOLD, max_hops=max_hops, feather=feather)


def test_what_has_not_moved_is_copied_to_the_bit_and_is_no_hop() -> None:
    still = composed(Layer(PAINT, NO_HOPS, match()))
    np.testing.assert_array_equal(still.paint, PAINT)
    assert not still.hops.any()


def test_what_has_moved_is_one_hop_further() -> None:
    moved = composed(Layer(PAINT, NO_HOPS + 3, match(dx=2.0)))
    np.testing.assert_array_equal(moved.paint[:, :-2], PAINT[:, 2:])
    assert (moved.hops[:, :-2] == 4).all()


def test_what_the_reference_does_not_hold_is_worn_out() -> None:
    moved = composed(Layer(PAINT, NO_HOPS, match(dx=2.0, confidence=0.0)))
    assert (moved.hops[:, -2:] == 255).all()
    assert moved.holes[:, -2:].all()


def test_more_hops_than_allowed_are_not_trusted() -> None:
    hops = NO_HOPS.copy()
    hops[:, 48:] = 8
    worn = composed(Layer(PAINT, hops, match(dx=1.0)))
    assert not worn.holes[:, :46].any()
    assert worn.holes[:, 48:].all()


def test_hops_do_not_wrap_round() -> None:
    assert (hops_after(NO_HOPS + 255, match(dx=1.0).flow) == 255).all()


def test_a_match_on_a_coarser_grid_moves_the_paint_as_far() -> None:
    """Flow on a third of the grid: vectors of one pixel there are three on the canvas."""
    coarse = (SHAPE[0] // 4, SHAPE[1] // 4)
    moved = composed(Layer(PAINT, np.zeros(coarse, np.uint8), match(dx=1.0, shape=coarse)))
    np.testing.assert_array_equal(moved.paint[:, :-4], PAINT[:, 4:])
    assert moved.hops.shape == coarse
    assert moved.holes.shape == SHAPE
    assert (moved.hops[:, :-1] == 1).all()


def test_holes_of_a_coarser_grid_lie_where_they_lie_there() -> None:
    coarse = (SHAPE[0] // 4, SHAPE[1] // 4)
    unsure = match(shape=coarse)
    unsure.confidence[4:12, 6:18] = 0
    holes = composed(Layer(PAINT, np.zeros(coarse, np.uint8), unsure)).holes
    assert holes[20:44, 28:68].all()
    assert not holes[:12].any()
    assert not holes[:, :20].any()


@pytest.mark.parametrize(("confidence", "expected"), [(0.0, 0.0), (0.4, 0.0), (0.5, 0.5), (0.6, 1.0), (1.0, 1.0)])
def test_trust_is_a_ramp_around_the_threshold(confidence: float, expected: float) -> None:
    assert trust(np.full((1, 1), confidence, np.float32), 0.5)[0, 0] == pytest.approx(expected, abs=1e-5)


def test_the_first_layer_that_is_sure_shows() -> None:
    both = composed(layer(10, 1.0), layer(200, 1.0, hops=5))
    assert (both.paint == 10).all()
    assert (both.hops == 1).all()
    assert not both.holes.any()


def test_a_layer_takes_its_share_of_what_is_left_open() -> None:
    both = composed(layer(0, 0.25), layer(200, 1.0, hops=5))
    assert np.abs(both.paint.astype(int) - 150).max() <= 1
    assert (both.hops == 5).all()


def test_gain_fades_a_layer() -> None:
    fading = composed(layer(200, 1.0, gain=0.3), layer(0, 1.0), layer(200, 1.0))
    assert np.abs(fading.paint.astype(int) - 60).max() <= 1


def test_what_nothing_explains_shows_the_last_layer_and_is_a_hole() -> None:
    nothing = composed(layer(10, 0.0), layer(200, 0.0))
    assert (nothing.paint == 200).all()
    assert nothing.holes.all()


def with_gap(size: int, hops: int = 1) -> Layer:
    """A sure layer with a square in its middle that is unsure, and has been resampled so often."""
    made = layer(100, 1.0)
    gap = np.s_[20 : 20 + size, 40 : 40 + size]
    made.match.confidence[gap], made.hops[gap] = 0, hops
    made.match.flow[gap] = 1e-3  # so that it moves, which is a hop
    return made


def test_slivers_are_no_holes_until_they_are_worn() -> None:
    assert not composed(with_gap(4)).holes.any()
    assert composed(with_gap(4, hops=8)).holes.sum() == 16


def test_holes_grow_by_the_feather() -> None:
    plain, grown = (composed(with_gap(20), feather=feather).holes for feather in (0, 3))
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


def shifted(dx: float, *, fine: bool) -> NDArray[np.uint8]:
    """The picture resampled by so many pixels, from itself or from itself doubled."""
    made = Layer(PAINT, NO_HOPS, match(dx=dx), fine=doubled(PAINT) if fine else None)
    return composed(made).paint


def truly_shifted(dx: float) -> NDArray[np.float64]:
    """The picture shifted by Fourier's theorem: exact, but for what its two edges do to each other."""
    turns = np.exp(2j * np.pi * np.fft.fftfreq(SHAPE[1]) * dx)
    return np.fft.ifft(np.fft.fft(PAINT.astype(float), axis=1) * turns[None, :, None], axis=1).real


@pytest.mark.parametrize("dx", [0.25, 0.5, 1.7])
def test_paint_that_is_doubled_is_resampled_better_than_it_is_bilinearly(dx: float) -> None:
    """And keeps the detail that bilinear resampling loses: sharper by as much as it is."""

    def off(picture: NDArray[Any]) -> float:
        return float(np.abs(picture - truly_shifted(dx))[:, 12:-12].mean())

    def detail(picture: NDArray[Any]) -> float:
        return float(np.diff(picture.astype(float), axis=1)[:, 12:-12].std())

    whole, part = int(dx), dx % 1
    bilinear = (1 - part) * np.roll(PAINT, -whole, 1) + part * np.roll(PAINT, -whole - 1, 1)
    assert off(shifted(dx, fine=True)) < off(bilinear)
    assert detail(bilinear) < 0.97 * detail(truly_shifted(dx))
    assert detail(shifted(dx, fine=True)) == pytest.approx(detail(truly_shifted(dx)), rel=0.06)


def test_doubled_paint_that_has_not_moved_is_the_same_to_the_bit() -> None:
    np.testing.assert_array_equal(shifted(0.0, fine=True), PAINT)
    np.testing.assert_array_equal(shifted(3.0, fine=True)[:, :-3], PAINT[:, 3:])


def test_without_paint_in_holes_there_is_paint_everywhere_else() -> None:
    """On a coarser grid: a hole may end within a pixel of it."""
    coarse = (SHAPE[0] // 4, SHAPE[1] // 4)
    rng = np.random.default_rng(1)
    white = np.full((*SHAPE, 3), 255, np.uint8)
    for _ in range(20):
        layers = []
        for _ in range(3):
            unsure = match(shape=coarse)
            unsure.confidence[:] = cv2.resize(rng.random((5, 7), np.float32), coarse[::-1])
            layers.append(Layer(white, np.zeros(coarse, np.uint8), unsure))
        made = compose(layers, threshold=0.7, max_hops=8, feather=3, under_holes=False)
        assert 0 < made.holes.mean() < 1
        assert made.paint[~made.holes].min() >= 250


@pytest.mark.parametrize("threads", [2, 3])
def test_the_bits_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    def made() -> Composition:
        layers = [
            Layer(np.roll(PAINT, shift, 1), NO_HOPS + 1, match(dx=shift / 3, confidence=confidence))
            for shift, confidence in ((0, 0.5), (5, 0.48), (9, 0.45))
        ]
        return composed(*layers, feather=2)

    alone = made()
    workers.use(threads)
    try:
        together = made()
    finally:
        workers.use(1)
    np.testing.assert_array_equal(alone.paint, together.paint)
    np.testing.assert_array_equal(alone.holes, together.holes)
