"""Calibration on generated clips with known flow and occlusion, and what the film shows on flat areas."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support.scenes import Layer, Truth, ellipse_alpha, noise_texture, truth, two_layers
from warpaint.engines.base import Features, Flow, FlowEngine, Match, MatchRequest
from warpaint.engines.flow.dis import Dis

SIZE = (768, 512)


def matched(true: Truth, *, noise: float = 0.0) -> Match:
    """DIS's match, with camera noise of this standard deviation on both pictures, levels."""
    rng = np.random.default_rng(0)

    def noisy(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8) if noise else picture

    dis = Dis()
    target, source = dis.encode([noisy(true.target), noisy(true.source)])
    [match] = _matches(dis, target, [source], [None])
    return match


def _matches(
    flow: FlowEngine, target: Features, sources: Sequence[Features], guesses: Sequence[Flow | None]
) -> list[Match]:
    [matches] = flow.match([MatchRequest(target, sources, guesses)])
    return matches


def errors(match: Match, true: Truth) -> NDArray[np.float64]:
    return np.linalg.norm(match.flow - true.flow, axis=2)


class Motion(NamedTuple):
    """Velocities at SIZE, pixels a frame, and how many frames lie between the two pictures."""

    background: tuple[float, float]
    foreground: tuple[float, float]
    spin: float
    frames: int


MOTIONS = {
    "small": Motion((0.8, 0.4), (-3.0, 1.0), 0.0, 1),
    "middling": Motion((2.0, 1.0), (-6.0, 2.0), 0.3, 3),
    "large": Motion((4.0, -2.0), (-10.0, 4.0), 0.5, 6),
}


@pytest.mark.parametrize("noise", [0.0, 3.0])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("motion", MOTIONS.values(), ids=MOTIONS.keys())
def test_confidence_is_calibrated_where_there_is_texture(motion: Motion, seed: int, noise: float) -> None:
    layers = two_layers(SIZE, background=motion.background, foreground=motion.foreground, spin=motion.spin, seed=seed)
    true = truth(layers, target_at=motion.frames, source_at=0, size=SIZE)
    match = matched(true, noise=noise)
    seen = true.visible & true.textured
    right = seen & (errors(match, true) < 1)
    sure = seen & (match.confidence >= 0.9)
    assert sure.sum() > 0.5 * seen.sum()
    assert (errors(match, true)[sure] < 1).mean() >= 0.9
    assert (match.confidence[right] >= 0.5).mean() >= 0.8
    assert (match.confidence[~true.visible] < 0.5).mean() >= 0.9


def test_low_contrast_is_calibrated_but_for_the_slivers_of_slow_occlusions() -> None:
    def faint(layer: Layer) -> Layer:
        texture = (layer.texture * 0.25 + 90).astype(np.uint8)
        return Layer(texture, layer.alpha, layer.velocity, layer.spin, layer.growth, layer.start)

    layers = [faint(layer) for layer in two_layers(SIZE, background=(0.8, 0.4), foreground=(-3.0, 1.0))]
    true = truth(layers, target_at=4, source_at=0, size=SIZE)
    match = matched(true)
    seen = true.visible & true.textured
    assert (errors(match, true)[seen & (match.confidence >= 0.9)] < 1).mean() >= 0.9
    assert (match.confidence[~true.visible] < 0.5).mean() >= 0.9


def test_a_known_shift_is_found() -> None:
    picture = noise_texture((400, 300), 4)
    target, source = picture[20:276, 20:340], picture[18:274, 23:343]
    dis = Dis()
    [match] = _matches(dis, *_pair(dis, target, source))
    middle = match.flow[20:-20, 20:-20]
    np.testing.assert_allclose(np.median(middle, axis=(0, 1)), (-3, 2), atol=0.1)
    assert np.percentile(np.abs(middle - (-3, 2)), 95) < 0.3


def _pair(dis: FlowEngine, target: NDArray[np.uint8], source: NDArray[np.uint8]):  # type: ignore[no-untyped-def]
    there, here = dis.encode([np.ascontiguousarray(target), np.ascontiguousarray(source)])
    return there, [here], [None]


# Flat areas and still ones


def sheet(
    colour: Sequence[int], size: tuple[int, int], velocity: tuple[float, float], start: tuple[float, float]
) -> Layer:
    w, h = size
    return Layer(np.full((h, w, 3), colour, np.uint8), np.full((h, w), 255, np.uint8), velocity, start=start)


SKY, RED = (200, 150, 90), (60, 80, 200)
WALL = noise_texture((SIZE[0] + 400, SIZE[1] + 400), 3)
STILL_WALL = Layer(WALL, np.full(WALL.shape[:2], 255, np.uint8), (0, 0), start=(-200, -200))
STILL_SKY = sheet(SKY, (SIZE[0] + 400, SIZE[1] + 400), (0, 0), (-200, -200))
DISC = noise_texture((250, 200), 9)
MOVING_DISC = Layer(DISC, ellipse_alpha((250, 200)), (5, 1), start=(250, 150))
MOVING_SQUARE = sheet(RED, (220, 180), (5, 1), (250, 150))
ONLY_BELOW = np.full(WALL.shape[:2], 255, np.uint8)
ONLY_BELOW[:350] = 0
PANNED_GROUND = Layer(WALL, ONLY_BELOW, (4, 0), start=(-200, -200))
PANNED_SKY = sheet(SKY, (SIZE[0] + 400, SIZE[1] + 400), (4, 0), (-200, -200))


def insides(true: Truth) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What moves, and what does not and is seen, both without their rims, as wide as a difference is read over."""
    moves = np.linalg.norm(true.flow, axis=2) > 0.1
    rim = np.ones((11, 11), np.uint8)
    return (
        cv2.erode(moves.astype(np.uint8), rim).astype(bool),
        cv2.erode((~moves).astype(np.uint8), rim).astype(bool) & true.visible,
    )


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize(
    "layers",
    [[STILL_WALL, MOVING_DISC], [STILL_SKY, MOVING_DISC], [STILL_WALL, MOVING_SQUARE], [STILL_SKY, MOVING_SQUARE]],
    ids=["disc on a wall", "disc on a flat sky", "flat square on a wall", "flat square on a flat sky"],
)
def test_still_areas_stay_exactly_still_and_moving_ones_move(layers: list[Layer], noise: float) -> None:
    true = truth(layers, target_at=1, source_at=0, size=SIZE)
    match = matched(true, noise=noise)
    moving, still = insides(true)
    assert (match.flow[still] == 0).all(axis=-1).mean() > 0.995
    assert match.confidence[still].mean() > 0.7
    assert np.median(errors(match, true)[moving]) < 0.2
    assert np.percentile(errors(match, true)[moving], 90) < 0.7


@pytest.mark.parametrize("velocity", [(4.5, 0.5), (3.3, -1.7), (-2.6, 2.2)])
def test_a_flat_thing_moves_by_parts_of_a_pixel(velocity: tuple[float, float]) -> None:
    """What is known of where it lies is its outline: paint that slid over it would be seen to."""
    true = truth([STILL_SKY, sheet(RED, (220, 180), velocity, (250, 150))], target_at=1, source_at=0, size=SIZE)
    match = matched(true)
    moving, _ = insides(true)
    assert np.median(errors(match, true)[moving]) < 0.1


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_flat_sky_follows_the_ground_when_the_camera_pans(noise: float) -> None:
    true = truth([PANNED_SKY, PANNED_GROUND], target_at=1, source_at=0, size=SIZE)
    match = matched(true, noise=noise)
    inside = np.ones(SIZE[::-1], bool)
    inside[:, -12:] = False  # not seen in the source
    assert np.percentile(errors(match, true)[inside], 95) < 0.3


def test_a_still_film_has_no_flow_and_full_confidence() -> None:
    dis = Dis()
    [match] = _matches(dis, *_pair(dis, WALL[:256, :384], WALL[:256, :384]))
    assert not match.flow.any()
    assert match.confidence.min() > 0.99


# The engine


def test_matching_does_not_depend_on_what_was_matched_before() -> None:
    """OpenCV's DIS keeps its last guess, and crashes when it is given pictures of another size."""
    dis, fresh = Dis(), Dis()
    others = truth(two_layers((320, 200)), target_at=2, source_at=0, size=(320, 200))
    these = truth(two_layers((192, 128)), target_at=1, source_at=0, size=(192, 128))
    there, here = dis.encode([others.target, others.source])
    [first] = _matches(dis, there, [here], [None])
    _matches(dis, there, [here], [first.flow + 3])
    [used] = _matches(dis, *_pair(dis, these.target, these.source))
    [new] = _matches(fresh, *_pair(fresh, these.target, these.source))
    np.testing.assert_array_equal(used.flow, new.flow)
    np.testing.assert_array_equal(used.confidence, new.confidence)


def test_several_sources_at_once_equal_one_by_one() -> None:
    dis = Dis()
    clip = [truth(two_layers((192, 128)), target_at=t, source_at=0, size=(192, 128)).target for t in range(3)]
    features = dis.encode(clip)
    both = _matches(dis, features[2], features[:2], [None, None])
    for i, match in enumerate(both):
        [alone] = _matches(dis, features[2], [features[i]], [None])
        np.testing.assert_array_equal(match.flow, alone.flow)


def test_a_guess_leads_further_than_the_engine_sees_alone() -> None:
    wall = noise_texture((1400, 500), 6)
    target, source = (np.ascontiguousarray(wall[:256, x : x + 384]) for x in (600, 730))
    dis = Dis()
    there, here = dis.encode([target, source])
    guess = np.zeros((256, 384, 2), np.float32)
    guess[..., 0] = -128
    shared = np.s_[20:-20, 150:-20]
    [alone], [led] = _matches(dis, there, [here], [None]), _matches(dis, there, [here], [guess])
    assert np.median(np.abs(led.flow[shared] - (-130, 0))) < 0.3
    assert (led.confidence[shared] > 0.5).mean() > (alone.confidence[shared] > 0.5).mean() + 0.3


@pytest.mark.parametrize("size", [(8, 8), (8, 200), (300, 8), (64, 64), (1920, 1080)])
def test_any_size_gives_flow_on_its_own_grid(size: tuple[int, int]) -> None:
    w, h = size
    picture = noise_texture(size, 1)
    dis = Dis()
    [match] = _matches(dis, *_pair(dis, picture, picture))
    assert match.flow.shape == (h, w, 2)
    assert match.confidence.shape == (h, w)
    assert match.flow.dtype == match.confidence.dtype == np.dtype(np.float32)
    assert 0 <= match.confidence.min() <= match.confidence.max() <= 1


def test_features_of_another_engine_are_refused() -> None:
    class Foreign:
        nbytes = 0
        key = "foreign"

    dis = Dis()
    [own] = dis.encode([noise_texture((64, 64), 1)])
    with pytest.raises(TypeError, match="foreign"):
        _matches(dis, own, [Foreign()], [None])
