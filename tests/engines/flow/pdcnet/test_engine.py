"""PDCNet+ as a flow engine: what it computes with the network, and how it shares work, with a runtime that counts."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from support.pdc_weights import network
from support.scenes import noise_texture
from warpaint.engines.base import Features, Flow, FlowEngine, Match, MatchRequest, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.engines.flow.pdcnet.engine import KEPT_TARGETS, PDCNetFeatures, PDCNetFlow
from warpaint.engines.flow.pdcnet.network import (
    MOST_P_R,
    Field,
    Filters,
    Inputs,
    Pyramids,
    finished,
    inputs,
    mixture_weight,
    p_r,
    rounded,
)
from warpaint.engines.flow.pdcnet.presets import Measure, Precision
from warpaint.engines.flow.pdcnet.runtimes import TorchRuntime

CPU = torch.device("cpu")
SMALL, ODD = (96, 64), (301, 250)  # one below 256, and one that is no multiple of 8
TOGETHER = 3
MEASURES: tuple[Measure, ...] = ("p_r", "mixture_weight")
# What rounding makes of the same sums in another order, as a share of the largest flow: single precision has 6e-8.
ROUNDING = 1e-6


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@cache
def pictures(size: tuple[int, int]) -> list[Picture]:
    """Three frames of a pan, read-only, as the daemon gives them."""
    width, height = size
    wall = noise_texture((width + 20, height + 20), 1)
    film = [np.ascontiguousarray(wall[2 * i : 2 * i + height, 3 * i : 3 * i + width]) for i in range(3)]
    for each in film:
        each.setflags(write=False)
    return film


def engine(measure: Measure = "p_r", *, most: int = 1) -> PDCNetFlow:
    runtime = TorchRuntime(network(), CPU)
    runtime.most = most
    return PDCNetFlow(runtime, measure=measure)


@cache
def odd() -> tuple[Features, Features]:
    """Of the first two frames, each computed alone."""
    target, source = (found for picture in pictures(ODD)[:2] for found in engine().encode([picture]))
    return target, source


def request(target: Features, *sources: Features) -> MatchRequest:
    return MatchRequest(target, sources, [None] * len(sources))


def matched(flow: FlowEngine, target: Features, *sources: Features) -> list[Match]:
    [matches] = flow.match([request(target, *sources)])
    return matches


def largest(match: Match) -> float:
    return float(np.abs(match.flow).max())


# The network's answers


def as_inputs(picture: Picture) -> Inputs:
    """A picture as the network sees it, RGB."""
    rgb = torch.tensor(np.stack([picture[..., channel] for channel in (2, 1, 0)])[None])
    return inputs(rgb, rounded((picture.shape[1], picture.shape[0])))


def test_flow_and_confidence_are_the_networks_on_the_grid_of_the_picture() -> None:
    target, source, _ = map(as_inputs, pictures(ODD))
    with torch.inference_mode():
        field = finished(network()(target, source), ODD)
    flow = field.flow[0].permute(1, 2, 0).numpy()
    [found], [other] = (matched(engine(measure), *odd()) for measure in MEASURES)
    for match in (found, other):
        assert_fits(match, ODD)
        np.testing.assert_allclose(match.flow, flow, atol=ROUNDING * largest(match), rtol=0)
    np.testing.assert_allclose(found.confidence, p_r(field)[0].numpy() / MOST_P_R, atol=1e-5)
    np.testing.assert_allclose(other.confidence, mixture_weight(field)[0].numpy(), atol=1e-5)
    assert np.abs(other.confidence - found.confidence).max() > 0.01
    assert largest(found) > 10


def assert_fits(match: Match, size: tuple[int, int]) -> None:
    width, height = size
    assert (match.flow.shape, match.confidence.shape) == ((height, width, 2), (height, width))
    assert match.flow.dtype == match.confidence.dtype == np.dtype(np.float32)
    assert match.flow.flags.c_contiguous
    assert match.confidence.flags.c_contiguous
    assert np.isfinite(match.flow).all()
    assert 0 <= match.confidence.min() <= match.confidence.max() <= 1


def test_in_batches_features_are_the_same_and_flows_are_but_for_rounding() -> None:
    """Two requests, as of two sessions, one of them with several sources."""
    shared = engine(most=TOGETHER)
    first, second, third = shared.encode(pictures(SMALL))
    [alone] = engine().encode(pictures(SMALL)[1:2])
    assert isinstance(alone, PDCNetFeatures)
    assert isinstance(second, PDCNetFeatures)
    for tensor, expected in zip(second.pyramids, alone.pyramids, strict=True):
        torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-6)
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
    [both, [between]] = shared.match([request(first, second, third), request(second, third)])
    pairs = (first, second), (first, third), (second, third)
    for match, (target, source) in zip((*both, between), pairs, strict=True):
        [single] = matched(engine(), target, source)
        assert_fits(match, SMALL)
        np.testing.assert_allclose(match.flow, single.flow, atol=ROUNDING * largest(single), rtol=0)
        np.testing.assert_allclose(match.confidence, single.confidence, atol=1e-5)


# Who shares work: a runtime whose flow says which pictures it was of


class Plain:
    """A picture's only feature is its mean level of red; the flow between two is (target's, source's), everywhere."""

    name = "plain"
    precision: Precision = "fp32"
    device = CPU
    sizes = ()

    def __init__(self, most: int) -> None:
        self.most = most
        self.encoded: list[Inputs] = []
        self.prepared: list[list[int]] = []
        self.matched: list[list[tuple[int, int]]] = []

    def complaint(self, size: tuple[int, int]) -> str:
        return f"nothing for {size}" if size == (264, 256) else ""

    def encode(self, given: Inputs) -> Pyramids:
        self.encoded.append(given)
        red = (given.fine[:, 0].mean((1, 2)) * 0.229 + 0.485) * 255
        f1 = red.view(-1, 1, 1, 1).expand(-1, 1, given.fine.shape[2] // 4, given.fine.shape[3] // 4).contiguous()
        return Pyramids(f1, f1.clone(), f1.clone(), f1.clone())

    def prepare(self, target: Pyramids) -> Filters:
        self.prepared.append(reds(target))
        return Filters(*(each.clone() for each in target[:3]))

    def match(self, target: Pyramids, source: Pyramids, filters: Filters) -> Field:
        self.matched.append(list(zip(reds(target), reds(source), strict=True)))
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(filters, target[:3], strict=True))
        flow = torch.cat((target.f1, source.f1), 1)
        return Field(flow, torch.zeros_like(target.f1), torch.zeros_like(flow))


def reds(seen: Pyramids) -> list[int]:
    return [round(float(each)) for each in seen.f1[:, 0, 0, 0]]


def red(level: int, size: tuple[int, int] = (256, 256)) -> Picture:
    made = np.zeros((size[1], size[0], 3), np.uint8)
    made[..., 2] = level
    made.setflags(write=False)
    return made


def levels(match: Match) -> tuple[int, int]:
    """Which pictures a match is of."""
    return round(float(match.flow[0, 0, 0])), round(float(match.flow[0, 0, 1]))


def answered(flow: FlowEngine, requests: Sequence[MatchRequest]) -> list[list[tuple[int, int]]]:
    return [[levels(match) for match in matches] for matches in flow.match(requests)]


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_each_answer_is_of_its_own_question(most: int) -> None:
    runtime = Plain(most)
    flow = PDCNetFlow(runtime)
    seen = flow.encode([red(level) for level in range(1, 8)])
    asked = {0: [1, 2], 3: [4], 5: [], 6: [0, 6, 3, 2]}
    requests = [request(seen[target], *(seen[source] for source in sources)) for target, sources in asked.items()]
    assert answered(flow, requests) == [
        [(target + 1, source + 1) for source in sources] for target, sources in asked.items()
    ]
    assert max(len(each.fine) for each in runtime.encoded) == most if most < 8 else 7
    assert max(map(len, runtime.matched)) == min(most, 7)
    assert sum(map(len, runtime.matched)) == 7


def test_pictures_of_several_sizes_in_one_call_keep_their_order() -> None:
    runtime = Plain(8)
    sizes = [(64, 48), (64, 48), (320, 264), (64, 48)]
    seen = PDCNetFlow(runtime).encode([red(10 * number, size) for number, size in enumerate(sizes)])
    assert [each.key for each in seen] == [f"pdcnet {width}x{height}" for width, height in sizes]
    assert [reds(each.pyramids) for each in seen if isinstance(each, PDCNetFeatures)] == [[0], [10], [20], [30]]
    assert [(len(each.fine), each.fine.shape[2:]) for each in runtime.encoded] == [
        (2, (256, 256)),
        (1, (264, 320)),
        (1, (256, 256)),
    ]


def test_the_network_sees_pictures_in_rgb() -> None:
    runtime = Plain(1)
    PDCNetFlow(runtime).encode(pictures(SMALL)[:1])
    for seen, expected in zip(runtime.encoded[0], as_inputs(pictures(SMALL)[0]), strict=True):
        torch.testing.assert_close(seen, expected)


def test_with_red_and_blue_swapped_the_flow_is_another() -> None:
    flow = PDCNetFlow(Plain(1))
    picture = red(200)
    ours, theirs = flow.encode([picture, picture[..., ::-1]])
    assert levels(matched(flow, ours, theirs)[0]) == (200, 0)


@pytest.mark.parametrize("size", [(8, 8), (8, 300), (64, 48), (192, 128), (255, 257), (640, 384)])
def test_any_size_gives_flow_on_its_own_grid(size: tuple[int, int]) -> None:
    runtime = Plain(1)
    flow = PDCNetFlow(runtime)
    one, other = flow.encode([red(40, size), red(20, size)])
    [match] = matched(flow, one, other)
    assert_fits(match, size)
    width, height = rounded(size)
    np.testing.assert_allclose(match.flow[..., 0], 40 * size[0] / width, rtol=1e-3)
    np.testing.assert_allclose(match.flow[..., 1], 20 * size[1] / height, rtol=1e-3)


def test_filters_are_made_once_for_a_target_that_is_matched_again() -> None:
    runtime = Plain(2)
    flow = PDCNetFlow(runtime)
    seen = flow.encode([red(level) for level in range(5)])
    matched(flow, seen[0], seen[1])
    flow.match([request(seen[0], seen[2], seen[3]), request(seen[4], seen[0]), request(seen[0], seen[1])])
    assert runtime.prepared == [[0], [4]]


def test_filters_of_the_last_targets_alone_are_kept() -> None:
    runtime = Plain(8)
    flow = PDCNetFlow(runtime)
    seen = flow.encode([red(level) for level in range(KEPT_TARGETS + 1)])
    for target in seen:
        matched(flow, target, seen[0])
    matched(flow, seen[1], seen[0])
    assert runtime.prepared == [[level] for level in range(KEPT_TARGETS + 1)]
    matched(flow, seen[0], seen[0])
    assert runtime.prepared[-1] == [0]
    assert len(runtime.prepared) == KEPT_TARGETS + 2


def test_more_targets_in_one_call_than_are_kept() -> None:
    runtime = Plain(2)
    flow = PDCNetFlow(runtime)
    seen = flow.encode([red(level) for level in range(2 * KEPT_TARGETS + 1)])
    asked = [request(target, seen[0]) for target in seen]
    assert answered(flow, asked) == [[(level, 0)] for level in range(len(seen))]
    assert sorted(level for group in runtime.prepared for level in group) == list(range(len(seen)))


def test_equal_pictures_are_no_reason_to_share_filters() -> None:
    """Features are told apart by what they are, not by what they hold, which would take a comparison on the GPU."""
    runtime = Plain(1)
    flow = PDCNetFlow(runtime)
    one, other = flow.encode([red(9), red(9)])
    matched(flow, one, other)
    matched(flow, other, one)
    assert runtime.prepared == [[9], [9]]


def test_guesses_change_nothing() -> None:
    flow = PDCNetFlow(Plain(2))
    one, other = flow.encode([red(1), red(2)])
    guess: Flow = np.full((32, 32, 2), 7, np.float32)
    [[match]] = flow.match([MatchRequest(one, [other], [guess])])
    assert levels(match) == (1, 2)


def test_nothing_is_asked_and_nothing_is_answered() -> None:
    flow = PDCNetFlow(Plain(2))
    assert flow.encode([]) == []
    assert flow.match([]) == []


# Features


def test_features_say_their_size_and_memory() -> None:
    first = odd()[0]
    assert first.key == "pdcnet 301x250"
    width, height = rounded(ODD)
    numbers = 128 * (height // 4) * (width // 4) + 256 * (height // 8) * (width // 8) + 256 * 32 * 32 + 512 * 16 * 16
    assert first.nbytes == 4 * numbers


@pytest.mark.parametrize("most", [1, 2, 8])
def test_features_of_one_picture_do_not_keep_those_of_others(most: int) -> None:
    for each in PDCNetFlow(Plain(most)).encode([red(level) for level in range(5)]):
        assert isinstance(each, PDCNetFeatures)
        assert sum(tensor.untyped_storage().nbytes() for tensor in each.pyramids) == each.nbytes


# What it does not take


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (np.zeros((64, 64, 3), np.float32), r"uint8 \[H, W, 3\], not float32 \(64, 64, 3\)"),
        (np.zeros((64, 64), np.uint8), r"not uint8 \(64, 64\)"),
        (np.zeros((64, 64, 4), np.uint8), r"not uint8 \(64, 64, 4\)"),
        (np.zeros((7, 64, 3), np.uint8), "8x8 or larger, not 64x7"),
        (np.zeros((64, 7, 3), np.uint8), "8x8 or larger, not 7x64"),
    ],
    ids=["floats", "gray", "four channels", "too low", "too narrow"],
)
def test_what_is_no_picture_is_refused_before_any_is_encoded(picture: NDArray[Any], said: str) -> None:
    runtime = Plain(1)
    with pytest.raises(ValueError, match=said):
        PDCNetFlow(runtime).encode([red(1), picture])
    assert runtime.encoded == []


def test_features_of_another_engine_are_refused() -> None:
    flow = PDCNetFlow(Plain(1))
    [ours], [theirs] = flow.encode([red(1, (64, 64))]), Dis().encode([noise_texture((64, 64), 1)])
    for target, source in ((ours, theirs), (theirs, ours)):
        with pytest.raises(TypeError, match=r"features of .* were given to the flow engine pdcnet"):
            matched(flow, target, source)


def test_pictures_of_two_sizes_are_not_matched_even_if_they_are_computed_at_one() -> None:
    flow = PDCNetFlow(Plain(1))
    one, other = flow.encode([red(1, (64, 64)), red(1, (96, 64))])
    with pytest.raises(ValueError, match="of one size are matched, not of 64x64 and 96x64"):
        matched(flow, one, other)


def test_it_complains_of_sizes_that_it_or_its_runtime_cannot_match() -> None:
    flow = PDCNetFlow(Plain(1))
    assert flow.complaint((256, 256)) == ""
    assert flow.complaint((7, 256)) == "PDCNet+ takes pictures from 8x8 on, not 7x256"
    assert flow.complaint((271, 200)) == "nothing for (264, 256)"
