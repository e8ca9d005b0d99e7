from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support.scenes import noise_texture
from warpaint.engines import workers
from warpaint.engines.base import Match
from warpaint.engines.compose import (
    EASE,
    MOST_HOPS,
    SPECK_PX,
    Composition,
    Origins,
    Source,
    brought_back,
    come_in,
    compose,
    doubled,
    hops_after,
    led,
    on_grid,
    trust,
)

SHAPE = (64, 96)
COARSE = (SHAPE[0] // 4, SHAPE[1] // 4)
PAINT = noise_texture((96, 64), 2)
NO_HOPS = np.zeros(SHAPE, np.uint8)
# Trusted by half at the threshold, and wholly a tenth above it.
THRESHOLD = 0.5
NOTHING = 0.0


def match(dx: float = 0.0, confidence: float = 1.0, shape: tuple[int, int] = SHAPE) -> Match:
    flow = np.zeros((*shape, 2), np.float32)
    flow[..., 0] = dx
    return Match(flow, np.full(shape, confidence, np.float32))


def level(value: int) -> Source:
    """A painting of one level."""
    return Source(np.full((*SHAPE, 3), value, np.uint8))


def composed(
    sources: Mapping[int, Source],
    found: Mapping[int, Match],
    *,
    last: Origins | None = None,
    to_last: Match | None = None,
    max_hops: int = 8,
    **options: Any,
) -> Composition:
    """A frame from what was found of these sources. Without `last`, nothing is known of the last frame."""
    shape = next(iter(found.values())).confidence.shape
    before = Origins.of(0, shape) if last is None else last
    near = match(confidence=NOTHING if last is None else 1.0, shape=shape) if to_last is None else to_last
    known = {"feather": 0, **options}
    return compose(sources, before, near, found, threshold=THRESHOLD, max_hops=max_hops, **known)


def alone(found: Match, source: Source | None = None, **options: Any) -> Composition:
    """A frame from one keyframe."""
    return composed({1: Source(PAINT) if source is None else source}, {1: found}, **options)


def test_what_has_not_moved_is_copied_to_the_bit_and_is_no_hop() -> None:
    still = alone(match())
    np.testing.assert_array_equal(still.paint, PAINT)
    assert not still.hops.any()


def test_what_has_moved_is_one_hop_away() -> None:
    moved = alone(match(dx=2.0))
    np.testing.assert_array_equal(moved.paint[:, :-2], PAINT[:, 2:])
    assert (moved.hops[:, :-2] == 1).all()
    assert (moved.origins.number == 1).all()


def test_what_the_reference_does_not_hold_is_a_hole() -> None:
    moved = alone(match(dx=2.0, confidence=0.0))
    assert moved.holes[:, -2:].all()


def test_paint_is_followed_through_the_last_frame_and_resampled_once() -> None:
    """The reference is found nowhere by itself: where it was seen last is led on, by parts of pixels that add up."""
    lost = match(confidence=NOTHING)
    made = alone(match(dx=0.5))
    for hops in range(2, 5):
        made = alone(lost, last=made.origins, to_last=match(dx=0.5))
        np.testing.assert_allclose(made.origins.offset[:, :-4, 0], 0.5 * hops)
        assert (made.hops[:, :-4] == hops).all()
    np.testing.assert_array_equal(made.paint[:, :-4], PAINT[:, 2:-2])
    assert not made.holes[:, :-4].any()


def test_paint_that_was_followed_for_too_long_is_a_hole() -> None:
    origins = Origins.of(1, SHAPE)
    origins.hops[:, 48:] = 8
    worn = alone(match(confidence=NOTHING), last=origins, to_last=match(dx=1.0))
    assert not worn.holes[:, :46].any()
    assert worn.holes[:, 48:].all()


def strayed(px: float) -> Origins:
    """Paint that was followed for seven hops, to so many pixels from where it came."""
    origins = Origins.of(1, SHAPE)
    origins.offset[..., 0], origins.hops[:] = px, 7
    return origins


def test_paint_that_has_strayed_far_is_where_it_is_found_again() -> None:
    again = alone(match(dx=1.0), last=strayed(5.0), to_last=match(dx=1.0))
    assert (again.origins.offset[:, :-1, 0] == 1.0).all()
    assert (again.hops[:, :-1] == 1).all()


def test_paint_that_has_strayed_a_little_eases_to_where_it_is_found_again() -> None:
    """At no frame by more than a share of the way, and in the end it is there."""
    before, moves = strayed(3.0), match(dx=0.01)
    ways = []
    for _ in range(20):
        again = alone(match(dx=1.0), last=before, to_last=moves)
        ways.append(float(again.origins.offset[32, 48, 0]))
        assert again.hops[32, 48] == 1
        before = again.origins
    assert ways[0] == pytest.approx(3.0 - 2.0 * EASE, abs=0.02)
    assert (np.diff(ways) <= 0).all()
    assert ways[-1] == pytest.approx(1.0, abs=0.05)


def test_paint_that_has_strayed_a_little_stays_where_it_is_while_nothing_moves() -> None:
    before = strayed(3.0)
    again = alone(match(dx=1.0), last=before)
    np.testing.assert_array_equal(again.origins.offset[:, :-4], before.offset[:, :-4])


def test_hops_do_not_wrap_round() -> None:
    assert (hops_after(NO_HOPS + 255, match(dx=1.0).flow) == 255).all()


def test_a_match_on_a_coarser_grid_moves_the_paint_as_far() -> None:
    """Flow on a quarter of the grid: vectors of one pixel there are four on the canvas."""
    moved = alone(match(dx=1.0, shape=COARSE))
    np.testing.assert_array_equal(moved.paint[:, :-4], PAINT[:, 4:])
    assert moved.hops.shape == COARSE
    assert moved.holes.shape == SHAPE
    assert (moved.hops[:, :-1] == 1).all()


def test_holes_of_a_coarser_grid_lie_where_they_lie_there() -> None:
    unsure = match(shape=COARSE)
    unsure.confidence[4:12, 6:18] = 0
    holes = alone(unsure).holes
    assert holes[20:44, 28:68].all()
    assert not holes[:12].any()
    assert not holes[:, :20].any()


@pytest.mark.parametrize(("confidence", "expected"), [(0.0, 0.0), (0.4, 0.0), (0.5, 0.5), (0.6, 1.0), (1.0, 1.0)])
def test_trust_is_a_ramp_around_the_threshold(confidence: float, expected: float) -> None:
    assert trust(np.full((1, 1), confidence, np.float32), 0.5)[0, 0] == pytest.approx(expected, abs=1e-5)


def test_paint_that_was_seen_is_kept_while_it_can_be_followed() -> None:
    """Although the newer reference is as sure: a change of source is seen as flicker."""
    sources, found = {1: level(10), 2: level(200)}, {2: match(), 1: match(confidence=0.45)}
    kept = composed(sources, found, last=Origins.of(1, SHAPE))
    assert (kept.paint == 10).all()
    lost = composed(sources, found, last=Origins.of(1, SHAPE), to_last=match(confidence=NOTHING))
    assert (lost.paint == 200).all()


def test_the_newer_of_two_references_is_taken_where_nothing_was_seen() -> None:
    both = composed({1: level(10), 2: level(200)}, {2: match(), 1: match()})
    assert (both.paint == 200).all()


def test_a_reference_shows_only_where_it_was_painted_itself() -> None:
    own = np.zeros(SHAPE, np.bool_)
    own[:, 40:] = True
    patch = Source(level(200).paint, own)
    made = composed({1: level(10), 2: patch}, {2: match(dx=2.0), 1: match(confidence=0.55)})
    assert (made.origins.number == np.where(np.arange(96) >= 38, 2, 1))[:, :-2].all()


def test_what_comes_in_fades_in_over_all_else_and_is_known_when_it_has() -> None:
    sources, found, last = {1: level(0), 2: level(200)}, {2: match(), 1: match()}, Origins.of(1, SHAPE)
    fading = composed(sources, found, last=last, first=2, fade=0.3)
    assert np.abs(fading.paint.astype(int) - 60).max() <= 1
    assert (fading.origins.number == 1).all()
    come = composed(sources, found, last=last, first=2, fade=1.0)
    assert (come.paint == 200).all()
    assert (come.origins.number == 2).all()


def test_what_comes_in_leaves_what_it_does_not_explain() -> None:
    unsure = match()
    unsure.confidence[:, :40] = 0
    come = composed({1: level(0), 2: level(200)}, {2: unsure, 1: match()}, last=Origins.of(1, SHAPE), first=2, fade=1.0)
    assert (come.origins.number == np.where(np.arange(96) >= 40, 2, 1)).all()
    assert not come.holes.any()


def test_what_nothing_explains_is_a_hole_that_shows_something_all_the_same() -> None:
    nothing = composed({1: level(10), 2: level(200)}, {2: match(confidence=0), 1: match(confidence=0)})
    assert set(np.unique(nothing.paint)) <= {10, 200}
    assert nothing.holes.all()


def test_seams_are_soft_and_everything_else_is_crisp() -> None:
    split = Origins.of(1, SHAPE).painted(np.arange(96)[None, :].repeat(64, 0) >= 48, 2)
    found = {2: match(confidence=NOTHING), 1: match(confidence=NOTHING)}
    made = composed({1: level(0), 2: level(200)}, found, last=split).paint[..., 0]
    assert (made[:, :47] == 0).all()
    assert (made[:, 49:] == 200).all()
    assert 0 < made[0, 47] < made[0, 48] < 200


def test_references_that_are_gone_leave_nothing_behind() -> None:
    split = Origins.of(1, SHAPE).painted(np.arange(96)[None, :].repeat(64, 0) >= 48, 2)
    left = split.among([1])
    assert (left.number[:, :48] == 1).all()
    assert not left.number[:, 48:].any()
    assert (left.hops[:, 48:] == MOST_HOPS).all()
    assert left.shares()[1] == 0.5


def with_gap(size: int, hops: int = 0) -> Composition:
    """A frame that is sure but for a square in its middle, whose paint was followed so often. It all moves a little."""
    gap = np.s_[20 : 20 + size, 40 : 40 + size]
    last = Origins.of(1, SHAPE)
    last.hops[gap] = hops
    to_last, unsure = match(dx=1e-3), match(dx=1e-3)
    to_last.confidence[gap] = unsure.confidence[gap] = 0
    return alone(unsure, last=last, to_last=to_last)


def test_slivers_are_no_holes_until_they_are_worn() -> None:
    assert not with_gap(4).holes.any()
    assert with_gap(20).holes.any()
    assert with_gap(4, hops=8).holes.sum() == 16


def test_holes_grow_by_the_feather() -> None:
    unsure = match()
    unsure.confidence[20:40, 40:60] = 0
    plain, grown = (alone(unsure, feather=feather).holes for feather in (0, 3))
    assert grown.sum() > plain.sum()
    far = cv2.distanceTransform((~plain).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert far[grown].max() <= 3.5


def shifted(dx: float, *, exact: bool | None) -> NDArray[np.uint8]:
    """The picture resampled by so many pixels, from itself (None) or from itself doubled."""
    fine = None if exact is None else doubled(PAINT, exact=exact)
    return alone(match(dx=dx), Source(PAINT, fine=fine, exact=bool(exact))).paint


def truly_shifted(dx: float) -> NDArray[np.float64]:
    """The picture shifted by Fourier's theorem: exact, but for what its two edges do to each other."""
    turns = np.exp(2j * np.pi * np.fft.fftfreq(SHAPE[1]) * dx)
    return np.fft.ifft(np.fft.fft(PAINT.astype(float), axis=1) * turns[None, :, None], axis=1).real


def off(picture: NDArray[Any], dx: float) -> float:
    """The mean error of a picture that is shifted, levels."""
    return float(np.abs(picture - truly_shifted(dx))[:, 12:-12].mean())


@pytest.mark.parametrize("dx", [0.25, 0.5, 1.7])
def test_paint_that_is_doubled_is_resampled_better_than_it_is_bilinearly(dx: float) -> None:
    """And keeps the detail that bilinear resampling loses: sharper by as much as it is."""

    def detail(picture: NDArray[Any]) -> float:
        return float(np.diff(picture.astype(float), axis=1)[:, 12:-12].std())

    whole, part = int(dx), dx % 1
    bilinear = (1 - part) * np.roll(PAINT, -whole, 1) + part * np.roll(PAINT, -whole - 1, 1)
    assert off(shifted(dx, exact=False), dx) < off(bilinear, dx)
    assert detail(bilinear) < 0.97 * detail(truly_shifted(dx))
    for exact in (False, True):
        assert detail(shifted(dx, exact=exact)) == pytest.approx(detail(truly_shifted(dx)), rel=0.06)


@pytest.mark.parametrize("dx", [0.25, 0.5, 1.7])
def test_paint_that_is_doubled_exactly_is_resampled_better_than_it_is_bicubically(dx: float) -> None:
    assert off(shifted(dx, exact=True), dx) < 0.9 * off(shifted(dx, exact=None), dx)


@pytest.mark.parametrize("exact", [False, True])
def test_doubled_paint_that_has_not_moved_is_the_same_to_the_bit(exact: bool) -> None:
    np.testing.assert_array_equal(shifted(0.0, exact=exact), PAINT)
    np.testing.assert_array_equal(shifted(3.0, exact=exact)[:, :-3], PAINT[:, 3:])


@pytest.mark.parametrize("shape", [SHAPE, COARSE])
def test_without_paint_in_holes_there_is_paint_everywhere_else(shape: tuple[int, int]) -> None:
    """On a coarser grid: a hole may end within a pixel of it."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        found = {}
        for number in (3, 2, 1):
            found[number] = match(shape=shape)
            found[number].confidence[:] = cv2.resize(rng.random((5, 7), np.float32), shape[::-1])
        white = {number: level(255) for number in found}
        made = compose(
            white,
            Origins.of(0, shape),
            match(confidence=NOTHING, shape=shape),
            found,
            threshold=0.7,
            max_hops=8,
            feather=3,
            under_holes=False,
        )
        assert 0 < made.holes.mean() < 1
        assert made.paint[~made.holes].min() >= 250


def test_a_frame_that_is_all_hole_has_no_paint_if_none_is_wanted() -> None:
    nothing = alone(match(confidence=NOTHING), under_holes=False)
    assert nothing.holes.all()


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("shape", [SHAPE, COARSE])
def test_the_bits_do_not_depend_on_the_number_of_threads(threads: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    sources, found = {}, {}
    for number in (1, 2, 3):
        sources[number] = Source(np.roll(PAINT, 5 * number, 1))
        found[number] = match(dx=number / 3, shape=shape)
        found[number].confidence[:] = cv2.resize(rng.random((5, 7), np.float32), shape[::-1])

    def made() -> Composition:
        return composed(sources, found, feather=2)

    by_one = made()
    workers.use(threads)
    try:
        together = made()
    finally:
        workers.use(1)
    np.testing.assert_array_equal(by_one.paint, together.paint)
    np.testing.assert_array_equal(by_one.holes, together.holes)


# What is brought back from later frames


def before(holes: NDArray[np.bool_], shape: tuple[int, int] = SHAPE) -> Composition:
    """A frame that is all paint of 1, but for holes [H, W]."""
    coarse = holes[:: SHAPE[0] // shape[0], :: SHAPE[1] // shape[1]]
    return Composition(PAINT.copy(), Origins.of(1, shape).painted(coarse, 0), holes)


def square(top: int, left: int, side: int) -> NDArray[np.bool_]:
    """A mask of one square."""
    mask = np.zeros(SHAPE, np.bool_)
    mask[top : top + side, left : left + side] = True
    return mask


def corners(holes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels at the corners of a square, which no disc reaches."""
    across, down = np.flatnonzero(holes.any(0)), np.flatnonzero(holes.any(1))
    side = len(across) // 4
    mask = np.zeros_like(holes)
    for rows in (down[:side], down[-side:]):
        for columns in (across[:side], across[-side:]):
            mask[np.ix_(rows, columns)] = True
    return mask


def back(
    made: Composition,
    later: Sequence[tuple[Origins, Match]],
    sources: Mapping[int, Source] | None = None,
    **options: Any,
) -> Composition:
    """The frame with what later ones show of its holes; in them 2 is of level 200, and 3 of level 50."""
    known = {"max_hops": 8, "feather": 0, **options}
    sources = sources or {1: Source(PAINT), 2: level(200), 3: level(50)}
    return brought_back(sources, made, later, threshold=THRESHOLD, **known)


@pytest.mark.parametrize("feather", [0, 3])
@pytest.mark.parametrize("shape", [SHAPE, COARSE])
def test_what_is_brought_back_is_inside_holes_alone(shape: tuple[int, int], feather: int) -> None:
    holes = square(16, 32, 32)
    made = before(holes, shape)
    shown = back(made, [(Origins.of(2, shape), match(shape=shape))], feather=feather)
    np.testing.assert_array_equal(shown.paint[~holes], PAINT[~holes])
    inner = square(24, 40, 16)
    assert (shown.paint[inner] == 200).all()
    assert not (shown.holes & ~corners(holes)).any()
    np.testing.assert_array_equal(made.paint, PAINT)
    assert made.holes.sum() == holes.sum()


def test_what_is_brought_back_is_where_the_flow_leads() -> None:
    """From a later frame in which it has moved on, whose own paint had moved before."""
    holes, later = square(16, 32, 24), Origins.of(1, SHAPE)
    later.offset[..., 0], later.hops[:] = 4.0, 2
    shown = back(before(holes), [(later, match(dx=3.0))])
    brought = holes & ~shown.holes
    np.testing.assert_array_equal(shown.paint[brought], np.roll(PAINT, -7, 1)[brought])
    assert brought[holes & ~corners(holes)].all()
    assert (shown.origins.number == ~shown.holes).all()
    assert (shown.origins.offset[brought] == (7.0, 0.0)).all()
    assert (shown.origins.hops[brought] == 3).all()
    assert not shown.origins.offset[~holes].any()
    assert not shown.hops[~holes].any()


def unsure_at(where: NDArray[np.bool_]) -> Match:
    """A match that is not sure of these pixels."""
    found = match()
    found.confidence[where] = NOTHING
    return found


def unknown_at(where: NDArray[np.bool_]) -> Origins:
    """Paint of 2, but in these pixels."""
    return Origins.of(2, SHAPE).painted(where, 0)


def worn_at(where: NDArray[np.bool_]) -> Origins:
    """Paint of 2 that has been followed for as long as it may in these pixels."""
    origins = Origins.of(2, SHAPE)
    origins.hops[where] = 8
    return origins


HOLES = square(16, 32, 24)


@pytest.mark.parametrize(
    ("origins", "found"),
    [
        (Origins.of(2, SHAPE), unsure_at(HOLES)),
        (unknown_at(HOLES), match()),
        (worn_at(HOLES), match(dx=0.01)),
        (Origins.of(2, SHAPE), match(dx=200.0)),
    ],
    ids=["not seen", "a hole there too", "worn", "outside of the picture"],
)
def test_what_no_later_frame_shows_stays_as_it_was(origins: Origins, found: Match) -> None:
    made = before(HOLES)
    assert back(made, [(origins, found)]) is made


def test_a_frame_without_holes_stays_as_it_was() -> None:
    made = before(square(0, 0, 0))
    assert back(made, [(Origins.of(2, SHAPE), match())]) is made


def test_part_of_a_hole_may_stay_one() -> None:
    rest = square(28, 32, 24)  # the lower half, and what lies below
    shown = back(before(HOLES), [(unknown_at(rest), match())])
    left = HOLES & rest
    assert shown.holes.sum() == pytest.approx(left.sum(), abs=4 * SPECK_PX)
    assert not (shown.holes & ~HOLES).any()
    assert (shown.origins.number[shown.holes] == 0).all()
    np.testing.assert_array_equal(shown.paint[shown.holes], PAINT[shown.holes])
    assert (shown.paint[HOLES & ~shown.holes] == 200).all()


def test_a_reference_comes_in_where_it_is_seen() -> None:
    """By its share; origins and holes stay, and so does paint elsewhere, to the bit."""
    made = before(HOLES)
    found = match(dx=3.0)
    found.confidence[:, :40] = NOTHING
    sources = {1: Source(PAINT), 2: level(200)}
    come = come_in(sources, made, 2, found, 0.25, threshold=THRESHOLD, feather=0)
    expected = PAINT + (200 - PAINT.astype(float)) / 4
    off = np.abs(come.paint.astype(float) - expected)[:, 41:-3]
    assert off.mean() < 3  # what it has more of is its strokes' contrast
    np.testing.assert_array_equal(come.paint[:, :40], PAINT[:, :40])
    np.testing.assert_array_equal(come.paint[:, -3:], PAINT[:, -3:])
    assert come.origins is made.origins
    assert come.holes is made.holes


def test_a_reference_that_is_seen_nowhere_does_not_come_in() -> None:
    come = come_in(
        {1: Source(PAINT), 2: level(200)},
        before(HOLES),
        2,
        unsure_at(HOLES | ~HOLES),
        0.5,
        threshold=THRESHOLD,
        feather=4,
    )
    np.testing.assert_array_equal(come.paint, PAINT)


def test_specks_are_not_brought_back() -> None:
    """Nor threads: they would be seen as such. What is larger is."""
    speck, thread, patch = square(18, 34, SPECK_PX - 2), square(0, 0, 0), square(26, 42, 2 * SPECK_PX)
    thread[16:40, 38:40] = True
    later = unknown_at(~(speck | thread | patch))
    shown = back(before(HOLES), [(later, match())])
    brought = HOLES & ~shown.holes
    assert brought[patch].mean() > 0.85
    assert not (brought & ~patch).any()
    made = before(HOLES)
    assert back(made, [(unknown_at(~(speck | thread)), match())]) is made


def test_what_is_brought_back_is_not_mixed_with_what_lies_in_a_hole() -> None:
    """Where a hole is shown in part, what lies beneath it is not seen at the rim of that part, but at the hole's."""
    holes, seen = square(16, 32, 32), square(16, 32, 32)
    seen[:, 46:] = False
    shown = back(before(holes), [(unknown_at(~seen), match())], feather=4)
    brought = holes & ~shown.holes
    assert brought[18:46, 34:46].all()
    assert not brought[:, 46:].any()
    assert (shown.paint[21:43, 37:46] == 200).all()
    assert (np.abs(shown.paint[21:43, 33].astype(int) - 200) > 20).any()


def test_values_are_led_to_where_they_are_seen() -> None:
    """And are none where that is not trusted, or outside."""
    values = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint32).astype(np.uint8).reshape(SHAPE)
    found = match(dx=3.0, confidence=THRESHOLD)
    found.confidence[:8] = THRESHOLD - 0.01
    seen = led(values, found, THRESHOLD)
    np.testing.assert_array_equal(seen[8:, :-3], values[8:, 3:])
    assert not seen[:8].any()
    assert not seen[:, -3:].any()


def test_of_two_later_frames_the_better_is_taken() -> None:
    """The first where it is sure enough, and the other where that one is surer."""
    right = np.zeros(SHAPE, np.bool_)
    right[:, 44:] = True
    first, other = (Origins.of(2, SHAPE), unsure_at(right)), (Origins.of(3, SHAPE), match())
    shown = back(before(HOLES), [first, other])
    brought = HOLES & ~shown.holes
    assert brought[HOLES & ~corners(HOLES)].all()
    assert (shown.origins.number[brought & ~right] == 2).all()
    assert (shown.origins.number[brought & right] == 3).all()
    assert set(np.unique(shown.paint[square(18, 34, 8)])) == {200}
    assert set(np.unique(shown.paint[square(18, 47, 8)])) == {50}
    good_enough = match(confidence=0.51)
    assert (back(before(HOLES), [(first[0], good_enough), other]).origins.number[brought] == 2).all()
    both_unsure = [(first[0], unsure_at(HOLES)), (other[0], unsure_at(HOLES))]
    made = before(HOLES)
    assert back(made, both_unsure) is made


def test_what_is_brought_back_is_softened_at_the_rim_inside_the_hole() -> None:
    shown = back(before(HOLES), [(Origins.of(2, SHAPE), match())], feather=4)
    off_200 = np.abs(shown.paint.astype(int) - 200)
    assert (off_200[square(21, 37, 14)] == 0).all()
    rim = HOLES & ~square(17, 33, 22)
    weight = 1 - off_200[rim].sum() / np.abs(PAINT.astype(int) - 200)[rim].sum()
    assert 0 < weight < 0.5


@pytest.mark.parametrize("shape", [SHAPE, COARSE])
def test_masks_on_another_grid_keep_their_place(shape: tuple[int, int]) -> None:
    mask = square(16, 32, 16)
    there = on_grid(mask, shape)
    assert there.shape == shape
    assert there.mean() == mask.mean()
    np.testing.assert_array_equal(on_grid(there, SHAPE), mask)
