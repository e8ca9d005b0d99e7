import math
from collections.abc import Callable, Sequence
from dataclasses import fields

import cv2
import numpy as np
import pytest

from support.scenes import film, noise_texture, two_layers
from warpaint.engines.base import Picture
from warpaint.engines.measures import DISTANCES, GATES, Cost, Figures, Judge, Motion, Verdict, excess_steadiness
from warpaint.engines.measures.following import agreement, edges_of
from warpaint.engines.measures.motion import BORDER_PX
from warpaint.engines.measures.windows import moving_mean, settled

SIZE = (128, 96)
RATE = 10.0
FRAMES = 30

Film = Sequence[Picture]


def wall(seed: int = 1, size: tuple[int, int] = SIZE) -> Picture:
    return noise_texture(size, seed, contrast=40)


def shots(length: int, rest: int) -> list[Picture]:
    """A film that cuts: from a mosaic to something dim."""
    first = np.kron(np.random.default_rng(5).integers(0, 256, (12, 16, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    return [*[first] * length, *[np.full((96, 128, 3), 20, np.uint8)] * rest]


def still(count: int = FRAMES) -> list[Picture]:
    """A textured picture that stands still: its motion is known to be none."""
    return [wall()] * count


def pan(count: int, step: tuple[int, int], size: tuple[int, int] = SIZE) -> list[Picture]:
    """What is seen at (x, y) was seen at (x, y) + step a frame before; whole pixels, so nothing is resampled."""
    (w, h), (dx, dy) = size, step
    large = wall(1, (w + count * dx, h + count * dy))
    return [np.ascontiguousarray(large[dy * t : dy * t + h, dx * t : dx * t + w]) for t in range(count)]


def brighter(pictures: Film, levels: Callable[[int], float]) -> list[Picture]:
    """The film with so many levels more in each frame; its pictures have room for them."""
    return [np.clip(each.astype(np.float32) + levels(t), 0, 255).astype(np.uint8) for t, each in enumerate(pictures)]


def noisy(pictures: Film, sigma: float, seed: int) -> list[Picture]:
    rng = np.random.default_rng(seed)
    return [np.clip(np.rint(each + rng.normal(0, sigma, each.shape)), 0, 255).astype(np.uint8) for each in pictures]


def judged(
    raw: Film, ours: Film, alone: Film | None = None, fixed: Film | None = None, cost: Cost | None = None
) -> Verdict:
    judge = Judge(["ours"], RATE, alone=alone is not None, fixed=fixed is not None)
    for t, picture in enumerate(raw):
        judge.add(
            picture,
            {"ours": ours[t]},
            alone=None if alone is None else alone[t],
            fixed=None if fixed is None else fixed[t],
        )
    return judge.verdicts({"ours": cost} if cost else None)["ours"]


class TestMotion:
    def test_over_several_frames_is_as_long(self) -> None:
        motion = Motion((1, 5, 15))
        for picture in pan(18, (2, 1), (256, 192)):
            flows = motion.add(picture)
        assert set(flows) == {1, 5, 15}
        for distance, flow in flows.items():
            middle = np.s_[48 : 192 - 48, 48 : 256 - 64]
            np.testing.assert_allclose(flow.flow[middle].mean(axis=(0, 1)), (2 * distance, distance), rtol=0.03)
            assert flow.valid[middle].mean() > 0.95

    def test_of_longer_pairs_some_are_measured(self) -> None:
        motion = Motion((1, 5), every=3)
        found = [set(motion.add(picture)) for picture in still(13)]
        assert found == [set(), {1}, {1}, {1}, {1}, {1}, {1, 5}, {1}, {1}, {1, 5}, {1}, {1}, {1, 5}]

    def test_leads_over_no_cut(self) -> None:
        motion = Motion((1, 5))
        found = [set(motion.add(picture)) for picture in shots(8, 7)]
        assert motion.cuts == [8]
        assert found[7] == {1, 5}
        assert found[8:] == [set(), {1}, {1}, {1}, {1}, {1, 5}, {1, 5}]

    def test_is_found_on_a_smaller_grid_where_pictures_are_large(self) -> None:
        motion = Motion((1, 5), flow_pixels=64 * 48)
        for picture in pan(6, (2, 2)):
            flows = motion.add(picture)
        for distance, flow in flows.items():
            assert flow.valid.shape == (96, 128)
            np.testing.assert_allclose(flow.flow[30:50, 30:80].mean(axis=(0, 1)), 2 * distance, atol=0.15)

    @pytest.mark.parametrize("distances", [(), (2,), (1, 5, 3), (1, 1)])
    def test_wants_distances_that_ascend_from_one(self, distances: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="begin at 1 and ascend"):
            Motion(distances)


class TestSteadiness:
    def test_of_neighbours_is_that_of_whole_films(self) -> None:
        raw = film(two_layers(SIZE), 8, SIZE)
        ours, alone = noisy(raw, 3.0, seed=4), noisy(raw, 12.0, seed=5)
        verdict = judged(raw, ours, alone, fixed=ours)
        assert verdict.figures.steady_1 == pytest.approx(excess_steadiness(raw, ours, alone), rel=1e-9)
        assert verdict.figures.steady_fixed_1 == 1.0

    def test_what_creeps_is_steady_near_and_unsteady_far(self) -> None:
        """A level more a frame is an error of the squared distance; another sign each frame one of 20 or none."""
        raw = still()
        ours = brighter(raw, lambda t: t)
        alone = brighter(raw, lambda t: 10 * (-1) ** t)
        figures = judged(raw, ours, alone).figures
        found = [figures.steady_1, figures.steady_5, figures.steady_15]
        assert found == pytest.approx([400 / 1, 400 / 25, 400 / 225], rel=1e-3)

    def test_a_difference_of_bytes_does_not_wrap_round(self) -> None:
        raw = still(6)
        ours = [np.full_like(raw[0], (10, 250)[t % 2]) for t in range(6)]
        assert judged(raw, ours).curves.jumps[1:].tolist() == pytest.approx([240.0] * 5)

    def test_what_was_hidden_is_nobodys_fault(self) -> None:
        raw = film(two_layers((256, 192), background=(0, 0), foreground=(-4, 0)), 8, (256, 192))
        motion = Motion((1,))
        flows = [motion.add(picture).get(1) for picture in raw]
        rng = np.random.default_rng(1)
        ours = []
        for picture, flow in zip(raw, flows, strict=True):
            noise = rng.integers(0, 256, picture.shape, np.uint8)
            ours.append(picture if flow is None else np.where(flow.valid[..., None], picture, noise))
        hidden = np.mean([1 - flow.valid[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX].mean() for flow in flows if flow])
        assert 0.01 < hidden < 0.2
        # What is painted anew there is moved on into what is known, a frame later, and only that counts.
        wild = [rng.integers(0, 256, each.shape, np.uint8) for each in raw]
        assert np.nanmean(judged(raw, ours).curves.jumps) < 0.35 * np.nanmean(judged(raw, wild).curves.jumps)

    def test_nothing_that_flickers_is_nothing_to_compare(self) -> None:
        verdict = judged(still(17), still(17), still(17))
        for gate in GATES[:3]:
            value = getattr(verdict.figures, gate.figure)
            assert math.isnan(value)
            assert gate.said(value) == "nothing to compare"
        assert verdict.failures == []

    def test_a_film_that_adds_nothing_is_without_bound(self) -> None:
        raw = still(17)
        figures = judged(raw, raw, noisy(raw, 8.0, seed=1)).figures
        assert [figures.steady_1, figures.steady_5, figures.steady_15] == [math.inf] * 3
        assert GATES[0].said(figures.steady_1) == "without bound"

    def test_only_ours_flickers(self) -> None:
        raw = still(17)
        verdict = judged(raw, noisy(raw, 8.0, seed=1), raw)
        assert verdict.figures.steady_1 == 0.0
        assert verdict.failures[0] == "steadiness at 1 frame 0.0 x, at least 2.0 x"

    def test_not_known_of_films_that_are_too_short(self) -> None:
        figures = judged(still(6), still(6), noisy(still(6), 8.0, seed=1)).figures
        assert figures.steady_5 == math.inf
        assert figures.steady_15 is None
        one = judged(still(1), still(1), still(1))
        assert (one.figures.steady_1, one.figures.pop, one.pop_frame) == (None, None, None)


class TestCrispness:
    def scaled(self, picture: Picture, gain: float) -> Picture:
        """The picture with its detail made so many times stronger."""
        smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 6)
        return np.clip(np.rint(smooth + gain * (picture - smooth)), 0, 255).astype(np.uint8)

    def test_is_a_ratio_of_energies(self) -> None:
        raw = still(4)
        half = [self.scaled(each, 0.5) for each in raw]
        figures = judged(raw, half, raw).figures
        assert figures.crispness == pytest.approx(0.25, rel=0.07)
        assert figures.crispness_low == pytest.approx(0.25, rel=0.07)
        assert figures.crispness_high == pytest.approx(0.25, rel=0.07)

    def test_a_blur_of_one_pixel_is_blurred(self) -> None:
        raw = still(4)
        verdict = judged(raw, [cv2.GaussianBlur(each, (0, 0), 1.0) for each in raw], raw)
        assert verdict.figures.crispness is not None
        assert verdict.figures.crispness < 0.4
        assert any(each.startswith("crispness 0.") for each in verdict.failures)

    def test_what_is_torn_does_not_make_up_for_what_is_blurred(self) -> None:
        size = (512, 128)
        raw = [wall(3, size)] * 4
        ours = []
        for each in raw:
            mixed = self.scaled(each, 1.378)
            mixed[:, :256] = self.scaled(each, 0.316)[:, :256]
            ours.append(mixed)
        verdict = judged(raw, ours, raw)
        assert verdict.figures.crispness == pytest.approx(1.0, abs=0.05)
        failed = {gate.figure for gate, _ in verdict.failed()}
        assert {"crispness_low", "crispness_high"} <= failed
        assert "crispness" not in failed

    def test_seams_where_something_appears_do_not_count(self) -> None:
        before = wall()
        after = before.copy()
        after[30:66, 40:88] = 255 - after[30:66, 40:88]
        rough = after.copy()
        rough[32:64, 42:86] = np.random.default_rng(2).integers(0, 256, (32, 44, 3), np.uint8)
        figures = judged([before, after], [before, rough], [before, after]).figures
        assert figures.crispness == pytest.approx(1.0, abs=0.02)

    def test_a_flat_film_has_none(self) -> None:
        flat = [np.full((96, 128, 3), 90, np.uint8)] * 3
        figures = judged(flat, still(3), flat).figures
        assert (figures.crispness, figures.crispness_low, figures.crispness_high) == (None, None, None)


class TestFidelity:
    def test_is_levels(self) -> None:
        raw = still(10)
        verdict = judged(raw, brighter(raw, lambda t: 25 if t == 6 else 5), raw)
        assert verdict.figures.fidelity == pytest.approx((9 * 5 + 25) / 10, abs=0.01)
        assert verdict.figures.fidelity_worst == pytest.approx(25, abs=0.01)
        assert verdict.worst_frame == 6
        np.testing.assert_allclose(verdict.curves.fidelity, [5.0] * 6 + [25.0] + [5.0] * 3, atol=0.01)

    def test_strokes_are_not_areas(self) -> None:
        raw = still(3)
        checks = 15 * (-1) ** np.add.outer(np.arange(96), np.arange(128))[..., None]
        ours = [(each + checks).clip(0, 255).astype(np.uint8) for each in raw]
        assert judged(raw, ours, raw).figures.fidelity == pytest.approx(0, abs=0.3)

    def test_a_bad_corner_shows_in_the_worst_blocks(self) -> None:
        raw = [wall(3, (640, 256))] * 3
        ours = [each.copy() for each in raw]
        for each in ours:
            each[:64, :192] = np.minimum(each[:64, :192].astype(np.int32) + 30, 255).astype(np.uint8)
        figures = judged(raw, ours, raw).figures
        assert figures.fidelity is not None
        assert figures.fidelity_local is not None
        assert figures.fidelity < 9
        assert figures.fidelity_local == pytest.approx(30, abs=2)

    def test_the_yardstick_is_what_alone_differs_from_itself(self) -> None:
        raw = still(10)
        figures = judged(raw, raw, brighter(raw, lambda t: 6 * (-1) ** t)).figures
        assert figures.yardstick == pytest.approx(12, abs=0.01)
        gate = next(each for each in GATES if each.figure == "fidelity")
        assert gate.bound_of(figures) == "at most 36.00 levels"
        assert gate.bound_of(Figures(yardstick=0.0)) == "at most 6.00 levels"


class TestFollowing:
    def test_a_negative_has_the_same_edges(self) -> None:
        raw = pan(12, (2, 1))
        figures = judged(raw, [255 - each for each in raw]).figures
        assert figures.following == pytest.approx(1.0, abs=1e-3)
        assert figures.following_worst == pytest.approx(1.0, abs=1e-3)

    def test_a_film_that_stops_does_not_follow_from_then_on(self) -> None:
        raw = pan(40, (3, 2))
        verdict = judged(raw, [raw[min(t, 20)] for t in range(40)], raw)
        assert verdict.figures.following_worst is not None
        assert verdict.figures.following_worst < 0.5
        np.testing.assert_allclose(verdict.curves.following[:21], 1.0, atol=1e-6)
        assert {"following", "following_worst"} <= {gate.figure for gate, _ in verdict.failed()}

    def test_is_a_share_of_what_alone_reaches(self) -> None:
        raw = still(12)
        alone = noisy(raw, 60.0, seed=3)
        assert judged(raw, alone, alone).figures.following == pytest.approx(1.0)
        absolute = judged(raw, alone).figures.following
        assert absolute is not None
        assert 0.2 < absolute < 0.95

    def test_a_frame_without_edges_says_nothing(self) -> None:
        flat = np.full((96, 128), 90, np.float32)
        assert math.isnan(agreement(edges_of(flat), edges_of(flat)))
        figures = judged([np.full((96, 128, 3), 90, np.uint8)] * 3, still(3)).figures
        assert (figures.following, figures.following_worst) == (None, None)


class TestDrift:
    def test_of_the_mean_over_the_last_second(self) -> None:
        """Half a level a frame: the mean over the last ten of thirty frames is that of frame 24.5."""
        raw = still()
        verdict = judged(raw, brighter(raw, lambda t: 2 * (t // 2)), raw)
        assert verdict.figures.drift_mean == pytest.approx(np.mean([2 * (t // 2) for t in range(20, 30)]), abs=0.05)
        assert verdict.figures.drift_deviation == pytest.approx(0, abs=0.05)

    def test_of_one_channel(self) -> None:
        raw = still(20)
        ours = [each - np.array([0, 0, 12], np.uint8) for each in raw]
        assert judged(raw, ours, raw).figures.drift_mean == pytest.approx(12, abs=0.05)

    def test_of_the_deviation(self) -> None:
        raw = still(20)
        middle = raw[0].mean(axis=(0, 1))
        ours = [np.rint(middle + (each - middle) / 2).astype(np.uint8) for each in raw]
        expected = (raw[0].std(axis=(0, 1)) - ours[0].std(axis=(0, 1))).max()
        assert judged(raw, ours, raw).figures.drift_deviation == pytest.approx(expected, abs=0.01)

    def test_without_alone_is_what_changes_after_the_first_second(self) -> None:
        raw = still()
        assert judged(raw, brighter(raw, lambda t: 20)).figures.drift_mean == pytest.approx(0, abs=0.01)
        figures = judged(raw, brighter(raw, lambda t: 20 if t < 15 else 11)).figures
        assert figures.drift_mean == pytest.approx(9, abs=0.05)


class TestPops:
    def flickering(self, planted: int, levels: float) -> list[Picture]:
        """Two levels up and down, and at one frame so many more that stay."""
        return brighter(still(), lambda t: 2 * (t % 2) + (levels if t >= planted else 0))

    def test_the_planted_one_is_found(self) -> None:
        verdict = judged(still(), self.flickering(20, 14))
        assert verdict.pop_frame == 20
        assert verdict.figures.pop == pytest.approx(12 / 2, rel=1e-3)
        assert verdict.failures[-1] == "pop over the median jump 6.0 x, at most 3.0 x, at frame 20"

    @pytest.mark.parametrize(("keyframes", "pop"), [((0, 19), 6.0), ((0, 20), 6.0), ((0, 16, 22), 1.0)])
    def test_only_where_a_keyframe_comes_in(self, keyframes: tuple[int, ...], pop: float) -> None:
        verdict = judged(still(), self.flickering(20, 14), cost=Cost(keyframes, 0.1))
        assert verdict.pop_frame in ({20} if pop > 1 else {16, 17, 22, 23})
        assert verdict.figures.pop == pytest.approx(pop, rel=1e-3)

    def test_one_keyframe_cannot_pop(self) -> None:
        verdict = judged(still(), self.flickering(20, 14), cost=Cost((0,), 0.1))
        assert (verdict.figures.pop, verdict.pop_frame) == (None, None)

    def test_a_noisy_raw_frame_is_not_the_paintings_fault(self) -> None:
        raw = [noisy([each], 12.0 if t == 12 else 0.0, seed=t)[0] for t, each in enumerate(still())]
        verdict = judged(raw, [np.minimum(each + np.uint8(2 * (t % 2)), 255) for t, each in enumerate(raw)])
        assert verdict.figures.pop is not None
        assert verdict.figures.pop < 1.6

    def test_a_cut_is_no_pop(self) -> None:
        raw = shots(10, 10)
        verdict = judged(raw, [each[..., ::-1] for each in raw], cost=Cost((0, 10), 0.1))
        assert verdict.cuts == (10,)
        assert math.isnan(verdict.curves.jumps[10])
        assert verdict.figures.pop == 0.0

    def test_tiny_jumps_are_not_made_many_times_as_large_as_none(self) -> None:
        figures = judged(still(), brighter(still(), lambda t: 2 * (t >= 9))).figures
        assert figures.pop == pytest.approx(2, abs=1e-3)


class TestJudge:
    def test_cost(self) -> None:
        figures = judged(still(21), still(21), cost=Cost((0, 9, 20), 0.25)).figures
        assert (figures.keyframes_per_minute, figures.painted_share) == (60.0, 0.25)

    def test_films_do_not_change_each_others_verdict(self) -> None:
        raw = still(20)
        films = {"a": noisy(raw, 4.0, seed=1), "b": noisy(raw, 9.0, seed=2)}
        judge = Judge(list(films), RATE, alone=True)
        for t in range(20):
            judge.add(raw[t], {name: each[t] for name, each in films.items()}, alone=films["b"][t])
        together = judge.verdicts()
        for name, each in films.items():
            by_itself = judged(raw, each, films["b"]).figures
            for gate in (each for each in GATES if getattr(by_itself, each.figure) is not None):
                value = getattr(together[name].figures, gate.figure)
                assert value == pytest.approx(getattr(by_itself, gate.figure), rel=1e-9, nan_ok=True)

    def test_holds_no_more_frames_than_the_longest_distance_and_one(self) -> None:
        judge = Judge(["ours"], RATE)
        for picture in still(40):
            judge.add(picture, {"ours": picture})
        assert len(judge._shown) == DISTANCES[-1] + 1

    def test_refuses_what_does_not_fit(self) -> None:
        picture, small = wall(), wall(1, (64, 48))
        with pytest.raises(ValueError, match="more than 0 frames a second, not 0"):
            Judge(["a"], 0)
        with pytest.raises(ValueError, match="a name of its own, not a, a"):
            Judge(["a", "a"], RATE)
        with pytest.raises(ValueError, match="of a were to come, not of b"):
            Judge(["a"], RATE).add(picture, {"b": picture})
        with pytest.raises(ValueError, match="`alone` must come if and only if"):
            Judge(["a"], RATE, alone=True).add(picture, {"a": picture})
        with pytest.raises(ValueError, match="one size, not 64x48 and 128x96"):
            Judge(["a"], RATE).add(picture, {"a": small})
        with pytest.raises(ValueError, match="without frames"):
            Judge(["a"], RATE).verdicts()
        judge = Judge(["a"], RATE)
        judge.add(picture, {"a": picture})
        with pytest.raises(ValueError, match="one size, not 64x48 and 128x96"):
            judge.add(small, {"a": small})


class TestGates:
    def test_each_figure_has_one(self) -> None:
        assert [gate.figure for gate in GATES] == [each.name for each in fields(Figures) if each.name != "yardstick"]

    def test_each_has_a_bound_and_a_title(self) -> None:
        assert all(gate.low is not None or gate.high is not None for gate in GATES)
        assert len({gate.title for gate in GATES}) == len(GATES)

    def test_words(self) -> None:
        gates = {gate.figure: gate for gate in GATES}
        assert gates["crispness"].bound_of(Figures()) == "allowed 0.95 to 1.05"
        assert gates["painted_share"].said(0.123) == "12.3 %"
        assert gates["painted_share"].bound_of(Figures()) == "at most 75.0 %"
        assert gates["crispness"].allowed(Figures()) == "0.95 to 1.05"
        assert [gates[name].allowed(Figures()) for name in ("steady_1", "pop")] == ["≥ 2.0 x", "≤ 3.0 x"]
        assert gates["pop"].said(None) == "not known"


class TestWindows:
    def test_means_of_the_last_frames(self) -> None:
        series = np.array([0.0, 2.0, 4.0, np.nan, 8.0])
        np.testing.assert_array_equal(moving_mean(series, 2), [0, 1, 3, 4, 8])
        np.testing.assert_array_equal(settled(moving_mean(series, 2), 2), [1, 3, 4, 8])
        np.testing.assert_array_equal(settled(moving_mean(series, 9), 9), [3.5])

    def test_nothing_but_nan(self) -> None:
        assert np.isnan(moving_mean(np.full(3, np.nan), 2)).all()
