import math

import cv2
import numpy as np
import pytest

from warpaint.engines.base import Picture
from warpaint.engines.grid import resample
from warpaint.engines.measures import (
    BORDER_PX,
    RawFlow,
    detail_ratio,
    excess_steadiness,
    flows_of,
    mean_detail,
    mean_warped_error,
    psnr,
    warped_error,
)

WIDTH, HEIGHT = 128, 96
STEP = (3, 2)  # whole pixels a frame, x then y: moving by them resamples nothing
FRAMES = 5

Film = list[Picture]


def texture(seed: int, *, base: tuple[int, int, int] = (120, 130, 110)) -> Picture:
    """A wall of noise, fine and coarse, larger than the picture that pans over it."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (HEIGHT + FRAMES * STEP[1], WIDTH + FRAMES * STEP[0], 3)).astype(np.float32)
    fine, coarse = cv2.GaussianBlur(noise, (0, 0), 1.5), cv2.GaussianBlur(noise, (0, 0), 8)
    return np.clip(120 * fine + 600 * coarse + np.array(base, np.float32), 0, 255).astype(np.uint8)


def pan(wall: Picture, step: tuple[int, int] = STEP) -> Film:
    """A film that moves over the wall: what is seen at (x, y) was seen at (x, y) + step a frame before."""
    dx, dy = step
    return [np.ascontiguousarray(wall[dy * t : dy * t + HEIGHT, dx * t : dx * t + WIDTH]) for t in range(FRAMES)]


def painted(film: Film) -> Film:
    """A painting that follows the film to the pixel: other colours, the same motion."""
    return [255 - picture[..., ::-1] for picture in film]


def noisy(film: Film, sigma: float, seed: int = 3) -> Film:
    """The film with noise of its own in each frame, as a painter has that paints each one alone."""
    rng = np.random.default_rng(seed)
    return [np.clip(picture + rng.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8) for picture in film]


def even(level: int, *, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    return np.full((height, width, 3), level, np.uint8)


def still(*, valid: bool = True, width: int = WIDTH, height: int = HEIGHT) -> RawFlow:
    return RawFlow(np.zeros((height, width, 2), np.float32), np.full((height, width), valid))


def known() -> list[RawFlow]:
    """The true flow of a pan, valid where it stays inside the frame."""
    flow = np.broadcast_to(np.array(STEP, np.float32), (HEIGHT, WIDTH, 2)).copy()
    valid = np.zeros((HEIGHT, WIDTH), np.bool_)
    valid[: HEIGHT - STEP[1], : WIDTH - STEP[0]] = True
    return [RawFlow(flow, valid)] * (FRAMES - 1)


class TestFlowsOf:
    def test_known_motion_into_the_frame_before(self) -> None:
        flows = flows_of(pan(texture(1)))
        assert len(flows) == FRAMES - 1
        for raw_flow in flows:
            middle = np.s_[16:-16, 16:-16]
            assert raw_flow.flow.dtype == np.float32
            np.testing.assert_allclose(raw_flow.flow[middle].mean(axis=(0, 1)), STEP, atol=0.1)
            assert raw_flow.valid[middle].mean() > 0.95

    def test_not_valid_where_it_leaves_the_frame(self) -> None:
        wall = np.hstack([texture(1), texture(2)])
        for raw_flow in flows_of(pan(wall, step=(9, 0))):
            np.testing.assert_allclose(raw_flow.flow[24:-24, 24:-32, 0].mean(), 9, atol=0.1)
            ends_at_x = np.arange(WIDTH) + raw_flow.flow[..., 0]
            assert ends_at_x.max() > WIDTH
            assert ends_at_x[raw_flow.valid].max() < WIDTH

    def test_not_valid_at_the_border(self) -> None:
        for raw_flow in flows_of([even(90)] * 2):
            middle = np.zeros((HEIGHT, WIDTH), np.bool_)
            middle[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
            np.testing.assert_array_equal(raw_flow.valid, middle)

    def test_not_valid_where_something_new_appears(self) -> None:
        before = pan(texture(1))[0]
        after = before.copy()
        after[30:66, 40:88] = texture(8)[:36, :48]
        (raw_flow,) = flows_of([before, after])
        assert raw_flow.valid[36:60, 48:80].mean() < 0.1
        assert raw_flow.valid[BORDER_PX:20, BORDER_PX:-BORDER_PX].mean() > 0.95

    def test_not_valid_where_the_two_directions_disagree(self) -> None:
        before, after = (pan(texture(seed))[0] // 3 for seed in (1, 8))  # so faint that looks do not tell
        (forward,), (backward,) = flows_of([before, after]), flows_of([after, before])
        disagreement = np.linalg.norm(forward.flow + resample(backward.flow, forward.flow), axis=2)
        longest = max(np.linalg.norm(one.flow, axis=2).max() for one in (forward, backward))
        assert disagreement.max() > 3
        assert disagreement[forward.valid].max() < 0.75 + 0.15 * longest

    def test_masks_the_whole_frame_at_a_cut_even_where_it_looks_alike(self) -> None:
        film = [*pan(texture(1))[:2], even(20), even(20)]
        for picture in film:
            picture[-24:] = 20
        assert [bool(raw_flow.valid.any()) for raw_flow in flows_of(film)] == [True, False, True]

    def test_one_frame_has_no_motion(self) -> None:
        assert flows_of([even(9)]) == []


class TestWarpedError:
    def test_a_film_that_follows_exactly_has_none(self) -> None:
        errors = warped_error(painted(pan(texture(1))), known())
        assert errors.dtype == np.float64
        assert errors.shape == (FRAMES - 1,)
        np.testing.assert_allclose(errors, 0, atol=1e-6)

    @pytest.mark.parametrize(("before", "now"), [(10, 250), (250, 10)])
    def test_a_large_difference_does_not_wrap_round(self, before: int, now: int) -> None:
        assert warped_error([even(before), even(now)], [still()]).tolist() == [240.0**2]

    def test_is_the_mean_over_channels(self) -> None:
        now = even(100)
        now[..., 2] += 6
        assert warped_error([even(100), now], [still()]).tolist() == [12.0]

    def test_only_valid_pixels_count(self) -> None:
        now = even(100)
        now[:, :64] = 200
        raw_flow = still()
        raw_flow.valid[:, :64] = False
        assert warped_error([even(98), now], [raw_flow]).tolist() == [4.0]

    def test_a_pair_without_valid_pixels_has_no_error(self) -> None:
        film = [even(0), even(2), even(200), even(204)]
        flows = [still(), still(valid=False), still()]
        np.testing.assert_array_equal(warped_error(film, flows), [4.0, np.nan, 16.0])
        assert mean_warped_error(film, flows) == 10.0

    def test_a_film_of_cuts_alone_cannot_be_judged(self) -> None:
        with pytest.raises(ValueError, match="none of the 1 pairs"):
            mean_warped_error([even(0), even(2)], [still(valid=False)])

    def test_wants_one_flow_a_pair(self) -> None:
        with pytest.raises(ValueError, match="2 frames need 1 flows, not 2"):
            warped_error([even(0), even(2)], [still(), still()])

    def test_wants_the_size_of_the_flows(self) -> None:
        with pytest.raises(ValueError, match="64x48 and 128x96"):
            warped_error([even(0), even(2)], [still(width=64, height=48)])


class TestExcessSteadiness:
    def test_equals_the_ratio_of_what_the_painters_add(self) -> None:
        raw = noisy(pan(texture(1)), 2.0)
        # Noise adds the sum of both frames' variances: 4 times the sigma, 16 times the excess.
        factor = excess_steadiness(raw, noisy(raw, 3.0, seed=4), noisy(raw, 12.0, seed=5), known())
        assert factor == pytest.approx(16, rel=0.1)

    def test_is_one_for_a_film_compared_with_itself(self) -> None:
        raw = pan(texture(1))
        alone = noisy(raw, 8.0)
        assert excess_steadiness(raw, alone, alone) == 1.0

    def test_a_film_that_follows_exactly_flickers_as_little_as_the_raw_one(self) -> None:
        raw = noisy(pan(texture(1)), 2.0)
        ours = painted(raw)
        flows = flows_of(raw)
        assert mean_warped_error(ours, flows) == pytest.approx(mean_warped_error(raw, flows), rel=0.01)

    def test_a_film_that_stands_still_over_motion_is_not_steady(self) -> None:
        raw = pan(texture(1))
        frozen = [raw[0]] * FRAMES
        assert excess_steadiness(raw, frozen, noisy(raw, 8.0)) < 0.5

    def test_infinite_if_ours_adds_nothing(self) -> None:
        raw = pan(texture(1))
        assert excess_steadiness(raw, raw, noisy(raw, 8.0)) == math.inf

    def test_not_above_zero_if_alone_adds_nothing(self) -> None:
        raw = pan(texture(1))
        assert excess_steadiness(raw, noisy(raw, 8.0), raw) == 0.0
        assert excess_steadiness(noisy(raw, 4.0), noisy(raw, 8.0), raw, known()) < 0

    def test_undefined_if_nothing_flickers(self) -> None:
        raw = pan(texture(1))
        assert math.isnan(excess_steadiness(raw, raw, raw))

    def test_wants_films_of_one_length(self) -> None:
        raw = pan(texture(1))
        with pytest.raises(ValueError, match="4 frames need 3 flows, not 4"):
            excess_steadiness(raw, raw[:-1], raw)


class TestDetail:
    def test_a_film_is_as_sharp_as_itself(self) -> None:
        film = pan(texture(1))
        assert detail_ratio(film, film) == 1.0

    def test_blur_lowers_it_and_noise_raises_it(self) -> None:
        film = pan(texture(1))
        blurred = [cv2.GaussianBlur(picture, (0, 0), 1.0) for picture in film]
        assert detail_ratio(blurred, film) < 0.7
        assert detail_ratio(noisy(film, 8.0), film) > 1.05

    def test_is_a_ratio_of_energies(self) -> None:
        strong = [np.where(texture(1) > 120, 180, 60).astype(np.uint8)]
        weak = [np.where(texture(1) > 120, 150, 90).astype(np.uint8)]
        assert detail_ratio(weak, strong) == pytest.approx(0.25, rel=1e-4)

    def test_slow_changes_are_no_detail(self) -> None:
        ramp = np.repeat(np.linspace(0, 255, WIDTH).astype(np.uint8)[None, :, None], 3, axis=2)
        assert mean_detail([np.repeat(ramp, HEIGHT, axis=0)]) < 0.5

    def test_a_flat_film_has_nothing_to_compare_with(self) -> None:
        with pytest.raises(ValueError, match="flat"):
            detail_ratio(pan(texture(1))[:1], [even(7)])


class TestPsnr:
    def test_known_value(self) -> None:
        assert psnr([even(10), even(250)], [even(250), even(10)]) == pytest.approx(20 * math.log10(255 / 240))

    def test_infinite_for_equal_films(self) -> None:
        assert psnr([even(3)], [even(3)]) == math.inf


@pytest.mark.parametrize("measure", [detail_ratio, psnr])
class TestComparedFilms:
    def test_have_one_length(self, measure) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match="same number of frames, not 1 and 2"):
            measure([even(1)], [even(1), even(2)])

    def test_have_one_size(self, measure) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match="one size, not 64x48 and 128x96"):
            measure([even(1)], [even(1, width=64, height=48)])

    def test_have_frames(self, measure) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match="without frames"):
            measure([], [])

    def test_have_frames_of_one_size(self, measure) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match="frames of a film must have one size, not 64x48 and 128x96"):
            measure([even(1), even(1, width=64, height=48)], [even(1), even(1)])
