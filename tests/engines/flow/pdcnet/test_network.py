"""The whole network against the published one, and what it promises: parts, batches, tiles, sizes, ranges, halves.

What each module computes is in test_modules.py.
"""

import math
import zlib
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from support.pdc_goldens import as_tensor, pair, picture, size_of, stored
from support.pdc_weights import described, fresh_network, make_weights, network, save_weights, state_dict
from warpaint.engines.flow.pdcnet.network import (
    LARGE_TILE,
    LEAST,
    MOST_P_R,
    MOST_VARIANCE,
    SHIFTS,
    SMALL_TILE,
    Field,
    Inputs,
    PDCNet,
    Pyramids,
    Regulariser,
    Tile,
    finished,
    inputs,
    log_variance,
    mixture_weight,
    p_r,
    padded,
    rounded,
    tiles,
    untiled,
    variance,
    warped,
)

pytestmark = pytest.mark.usefixtures("one_thread")

TILES = pytest.mark.parametrize("tile", [SMALL_TILE, LARGE_TILE], ids=["small", "large"])
STEP = 5  # pixels between those of the golden results
CRC32 = 0xF612AD14  # of the weights' bytes, one tensor after another


# Names and weights


def test_the_weights_of_the_tests_are_those_of_the_golden_results() -> None:
    crc = 0
    for array in make_weights().values():
        crc = zlib.crc32(array.tobytes(), crc)
    assert crc == CRC32


def test_names_shapes_and_types_are_those_of_the_checkpoint() -> None:
    own = PDCNet(local_iterations=3, global_iterations=3).state_dict()
    assert set(own) == set(described())
    for name, (shape, dtype) in described().items():
        assert (tuple(own[name].shape), str(own[name].dtype)) == (shape, f"torch.{dtype}"), name
    assert len(own) == 501
    assert sum(each.numel() for each in own.values()) == 18_452_675


def test_what_is_computed_of_the_weights_is_none_of_them() -> None:
    assert set(network().state_dict()) == set(described())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("deconv4.bias"), "deconv4.bias"),
        (lambda state: state.update({"deconv5.bias": torch.zeros(2)}), "deconv5.bias"),
        (lambda state: state.update({"deconv4.bias": torch.zeros(3)}), "deconv4.bias"),
        (lambda state: state.pop("pyramid.level_4.0.weight"), "pyramid.level_4.0.weight"),  # which never runs
    ],
    ids=["missing", "extra", "misshapen", "unused"],
)
def test_weights_that_are_not_the_networks_are_refused(change: Callable[[dict[str, Tensor]], Any], named: str) -> None:
    state = state_dict()
    change(state)
    with pytest.raises(RuntimeError, match=named):
        PDCNet(local_iterations=3, global_iterations=3).load_state_dict(state)


def test_weights_are_written_as_the_daemon_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path)
    with safe_open(path, "pt") as file:
        assert file.metadata()["format"] == "warpaint-pdcnet"
        assert set(file.keys()) == set(described())
        for name, array in make_weights().items():
            assert np.array_equal(file.get_tensor(name).numpy(), array), name


# The whole


@cache
def result(name: str, tile: Tile = SMALL_TILE) -> Field:
    """What the network says of a golden pair."""
    return network(tile=tile)(*pair(name))


@pytest.mark.parametrize(("name", "tile"), [("a", SMALL_TILE), ("d", SMALL_TILE), ("d", LARGE_TILE)])
def test_the_network_agrees_with_the_published_one(name: str, tile: Tile) -> None:
    assert gate(result(name, tile), name) == []


@TILES
def test_it_agrees_as_a_gpu_computes_it(tile: Tile, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one part, two pairs at once, and in the layout that pictures come in."""
    monkeypatch.setattr("warpaint.engines.flow.pdcnet.network._on_cpu", lambda _: False)
    target, source = pair("d")
    field = network(tile=tile)(*(Inputs(*(each.repeat(2, 1, 1, 1) for each in given)) for given in (target, source)))
    for item in (0, 1):
        assert gate(Field(*(each[item : item + 1] for each in field)), "d") == []


def test_a_regulariser_that_is_wrong_is_not_seen_here() -> None:
    """Which is why there is test_modules.py."""
    net = fresh_network()
    net.local_corr.rho *= 100
    assert gate(net(*pair("a")), "a") == []


def test_a_step_length_that_is_wrong_is_seen() -> None:
    net = fresh_network()
    net.local_corr.step_length = math.log(net.local_corr.step_length)
    assert gate(net(*pair("a")), "a")


def gate(field: Field, name: str) -> list[str]:
    """How far a pair's field is off, where it is further than any CPU's rounding explains."""
    field = finished(field, size_of(f"{name}_target"))
    flow = off(field.flow[0].permute(1, 2, 0)[::STEP, ::STEP], stored(name)["flow"])
    found = {"flow, mean": (flow.mean(), 2e-4), "flow, most": (flow.max(), 2e-3)}
    for kind, maps, most in (
        ("confidence", mixture_weight(field), 5e-5),
        ("p_r", p_r(field), 5e-5),
        ("variance", variance(field), 2e-3),  # of 1 to 25 square pixels
    ):
        found[kind] = (off(maps[0, ::STEP, ::STEP], stored(name)[kind]).max(), most)
    return [f"{what}: {far:.2g}" for what, (far, most) in found.items() if not far <= most]


def off(made: Tensor, known: Tensor) -> Tensor:
    assert made.shape == known.shape
    return (made - known).abs()


def test_three_parts_make_the_whole() -> None:
    net, (target, source) = network(), pair("d")
    seen = net.encode(*target)
    assert same(net.match(seen, net.encode(*source), net.prepare(*seen[:3])), result("d"))


@TILES
def test_it_says_the_same_of_the_same(tile: Tile) -> None:
    assert same(network(tile=tile)(*pair("d")), result("d", tile))


def same(one: Field, other: Field) -> bool:
    return all(torch.equal(*each) for each in zip(one, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "d"])
def test_many_iterations_end_alike_whatever_the_tiles(name: str) -> None:
    """Only alike: after some six, rounding sends the filters of a few pixels elsewhere."""
    small, large = (network(local_iterations=14, global_iterations=6, tile=tile) for tile in (SMALL_TILE, LARGE_TILE))
    far = off(small(*pair(name)).flow, large(*pair(name)).flow)
    assert far.mean() <= 5e-3
    assert far.flatten().quantile(0.99) <= 5e-2


def test_many_iterations_end() -> None:
    assert is_finite(network(local_iterations=14, global_iterations=6)(*pair("a")))


def is_finite(field: Field) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in field)


FLAT = {"black": (0, 0, 0), "red": (255, 0, 0), "the mean": (124, 116, 104)}


@pytest.mark.parametrize("colour", FLAT.values(), ids=FLAT)
def test_pictures_of_one_colour_make_no_nan(colour: tuple[int, int, int]) -> None:
    flat = inputs(torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 256, 256), (256, 256))
    assert is_finite(network()(flat, flat))


@pytest.mark.parametrize("flat_target", [True, False], ids=["target", "source"])
def test_nor_does_one_beside_a_picture(flat_target: bool) -> None:
    black = inputs(torch.zeros(1, 3, 256, 256), (256, 256))
    target, source = pair("a")
    assert is_finite(network()(black, source) if flat_target else network()(target, black))


# Batches


@cache
def views() -> list[Pyramids]:
    """The features of three pictures, which no tiles have a part in."""
    source = picture("a_source")
    seen = [picture("a_target"), source, np.ascontiguousarray(source[:, ::-1])]
    return [network().encode(*inputs(as_tensor(each), (256, 256))) for each in seen]


def batch(views: list[Pyramids]) -> Pyramids:
    return Pyramids(*(torch.cat(each) for each in zip(*views, strict=True)))


def repeated(one: Any, times: int) -> Any:
    """Pyramids or filters of one picture as those of so many."""
    return type(one)(*(each.expand(times, *each.shape[1:]) for each in one))


def alike(batched: Field, single: list[Field]) -> bool:
    """Pixels and logits, to within 1e-5."""
    known = Field(*(torch.cat(each) for each in zip(*single, strict=True)))
    return all(bool((off(*each) <= 1e-5).all()) for each in zip(batched, known, strict=True))


@TILES
def test_a_target_is_matched_with_several_sources_at_once(tile: Tile) -> None:
    net, (target, *sources) = network(tile=tile), views()
    filters = net.prepare(*target[:3])
    single = [net.match(target, each, filters) for each in sources]
    assert alike(net.match(repeated(target, 2), batch(sources), repeated(filters, 2)), single)


def test_several_targets_are_matched_with_a_source_at_once() -> None:
    net, (source, *targets) = network(), views()
    filters = [net.prepare(*each[:3]) for each in targets]
    single = [net.match(each, source, own) for each, own in zip(targets, filters, strict=True)]
    together = net.prepare(*batch(targets)[:3])
    for each, own in zip(together, zip(*filters, strict=True), strict=True):
        torch.testing.assert_close(each, torch.cat(own), rtol=0, atol=1e-5)
    assert alike(net.match(batch(targets), repeated(source, 2), together), single)


def test_pictures_are_encoded_together_as_alone() -> None:
    together = network().encode(*(torch.cat(each) for each in zip(*pair("a"), strict=True)))
    for made, alone in zip(together, batch(views()[:2]), strict=True):
        torch.testing.assert_close(made, alone, rtol=0, atol=1e-5)


def test_items_of_a_batch_know_nothing_of_one_another() -> None:
    """To the bit: only what stands beside it is another."""
    net = network()
    first, second, third = views()
    fields = []
    for other in (second, third):
        targets, sources = batch([first, other]), batch([second, first])
        fields.append(net.match(targets, sources, net.prepare(*targets[:3])))
    ours, theirs = ([Field(*(each[item : item + 1] for each in field)) for field in fields] for item in (0, 1))
    assert same(*ours)
    assert not same(*theirs)


# Tiles, against the sums of 81 shifted products


def shifted(maps: Tensor) -> Tensor:
    """[N, 81, C, h, w]: the map at each of the shifts, dy slowest, zero outside."""
    h, w = maps.shape[2:]
    around = functional.pad(maps, (4, 4, 4, 4))
    return torch.stack([around[:, :, dy : dy + h, dx : dx + w] for dy in range(9) for dx in range(9)], 1)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    return (one[:, None] * shifted(other)).mean(2)


def plain_filters(features: Tensor, iterations: int) -> Tensor:
    """Local GOCor as GOCor's equations have it, in the precision of the features, from the weights by their names."""
    weights = {name.removeprefix("local_corr."): each for name, each in make_weights().items()}

    def weight(name: str) -> NDArray[np.float64]:
        return np.asarray(weights[name], np.float64).ravel()

    def by_distance(name: str) -> Tensor:
        distance = [math.hypot(dy, dx) for dy in range(-4, 5) for dx in range(-4, 5)]
        values = np.interp(distance, 0.5 * np.arange(10), weight(f"filter_optimizer.{name}.weight"))
        return torch.tensor(values, dtype=features.dtype).view(1, SHIFTS, 1, 1)

    y, v = by_distance("label_map_predictor"), by_distance("spatial_weight_predictor")
    m = torch.sigmoid(by_distance("target_mask_predictor.0"))
    [step], [reg] = (np.exp(weight("filter_optimizer.log_step_length")), weight("filter_optimizer.filter_reg"))
    [scaling] = weight("filter_initializer.scaling")
    channels = features.shape[1]
    rho = max(reg**2, 1e-10) / channels**2
    seen = shifted(features)
    w = scaling * features / (features.square().mean(1, keepdim=True) + 1e-6)
    for _ in range(iterations):
        s = (w[:, None] * seen).mean(2)
        d = v * ((1 - m) / 2 * torch.sign(s) + (1 + m) / 2)
        e = v * ((1 - m) / 2 * s.abs() + (1 + m) / 2 * s) - v * y
        g = ((d * e)[:, :, None] * seen).sum(1) / channels + rho * w
        num = g.square().sum(1, keepdim=True)
        den = (d * (g[:, None] * seen).mean(2)).square().sum(1, keepdim=True) + rho * num
        w = w - step * (num / den.clamp(min=LEAST)) * g
    return w


MAPS = pytest.mark.parametrize(
    "shape", [(2, 8, 11, 13), (1, 6, 8, 8), (1, 4, 3, 17), (1, 16, 1, 1)], ids=lambda shape: "x".join(map(str, shape))
)


def random_maps(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).relu() + 0.1


@TILES
@MAPS
@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_filters_by_tiles_are_the_plain_ones(tile: Tile, shape: tuple[int, ...], iterations: int) -> None:
    features = random_maps(shape, 0)
    made = untiled(network(tile=tile).local_corr(features, iterations), tile, *shape[2:])
    torch.testing.assert_close(made.double(), plain_filters(features.double(), iterations), rtol=1e-4, atol=1e-4)


@TILES
@MAPS
def test_correlations_by_tiles_are_the_plain_ones(tile: Tile, shape: tuple[int, ...]) -> None:
    filters, target, source = (random_maps(shape, seed) for seed in range(3))
    laid, target_around, source_around = tiles(padded(filters, tile), tile), padded(target, tile), padded(source, tile)
    scores = zip(*network(tile=tile).local_corr.scores(laid, target_around, source_around), strict=True)
    of_filters, of_target = (untiled(torch.cat(each, 1), tile, *shape[2:]) for each in scores)
    torch.testing.assert_close(of_filters, correlation(filters, source), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(of_target, correlation(target, source), rtol=1e-5, atol=1e-6)


def test_the_regularisers_adjoint_is_one() -> None:
    layer = network().get_submodule("corr.corr_module.filter_optimizer.reg_layer")
    assert isinstance(layer, Regulariser)
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(1, 256, 256, generator=random)
    values = torch.randn(1, 256, 256, 16, generator=random)
    ours, theirs = (layer(scores) * values).sum(), (scores * layer.adjoint(values)).sum()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5 * (layer(scores).norm() * values.norm()).item())


# Sizes, and what goes in


@pytest.mark.parametrize(
    ("size", "fine"),
    [
        ((1, 255), (256, 256)),
        ((256, 257), (256, 256)),
        ((263, 264), (256, 264)),
        ((719, 1280), (712, 1280)),
        ((301, 250), (296, 256)),
    ],
)
def test_sides_are_rounded_down_but_not_below_256(size: tuple[int, int], fine: tuple[int, int]) -> None:
    assert rounded(size) == fine


def area_resized(image: NDArray[np.float64], side: int, axis: int) -> NDArray[np.float64]:
    """The means of what each of `side` equal parts of an axis touches."""
    n = image.shape[axis]
    parts = [range(i * n // side, -(-(i + 1) * n // side)) for i in range(side)]
    return np.stack([image.take(part, axis).mean(axis) for part in parts], axis)


@pytest.mark.parametrize("size", [(301, 250), (256, 256), (100, 700), (640, 33)])
def test_pictures_are_resized_by_area_from_what_was_given(size: tuple[int, int]) -> None:
    width, height = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    made = inputs(as_tensor(image), (296, 264))
    for seen, (across, down) in zip(made, [(296, 264), (256, 256)], strict=True):
        means = area_resized(area_resized(image.astype(np.float64), down, 0), across, 1)
        known = (means / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        assert np.abs(seen[0].permute(1, 2, 0).numpy() - known).max() < 1e-5


def test_a_source_of_another_size_is_stretched_to_the_targets() -> None:
    """So that the network's own sizes know nothing of it."""
    small = as_tensor(picture("d_source")[::2, ::3])
    source = inputs(small, rounded(size_of("d_target")))
    assert source.fine.shape == pair("d")[0].fine.shape
    assert is_finite(network()(pair("d")[0], source))


@pytest.mark.parametrize(
    ("fine", "coarse", "named"),
    [
        ((1, 3, 248, 256), (1, 3, 256, 256), "256x248"),
        ((1, 3, 256, 260), (1, 3, 256, 256), "260x256"),
        ((1, 3, 256, 256), (1, 3, 256, 264), r"\(1, 3, 256, 264\)"),
        ((1, 4, 256, 256), (1, 3, 256, 256), r"\(1, 4, 256, 256\)"),
        ((2, 3, 256, 256), (1, 3, 256, 256), r"\(2, 3, 256, 256\)"),
    ],
)
def test_other_sizes_are_refused_by_name(fine: tuple[int, ...], coarse: tuple[int, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        network().encode(torch.zeros(fine), torch.zeros(coarse))


def test_warping_mixes_with_zeros_outside() -> None:
    """The golden flows stay inside: here some do not."""
    features = random_maps((1, 3, 9, 12), 0)
    flow = 40 * torch.randn(1, 2, 9, 12, generator=torch.Generator().manual_seed(1))
    made = warped(features, flow, 1 / 8)[0]
    around = np.pad(features[0].double().numpy(), ((0, 0), (60, 60), (60, 60)))
    for y, x in np.ndindex(9, 12):
        across, down = x + flow[0, 0, y, x].item() / 8 + 60, y + flow[0, 1, y, x].item() / 8 + 60
        i, j = math.floor(down), math.floor(across)
        p, q = down - i, across - j
        four = around[:, i : i + 2, j : j + 2]
        known = np.einsum("cyx,y,x->c", four, [1 - p, p], [1 - q, q])
        assert np.abs(made[:, y, x].numpy() - known).max() < 1e-5


# What comes out


def field_of(flow: tuple[float, float], q: float, weights: tuple[float, float], *, level: int = 1) -> Field:
    """A field that is the same everywhere, 74x64."""
    maps = [
        torch.tensor(each, dtype=torch.float32).view(1, -1, 1, 1).expand(1, -1, 64, 74)
        for each in (flow, (q,), weights)
    ]
    return Field(maps[0], log_variance(maps[1], MOST_VARIANCE[level]), maps[2])


def test_a_field_ends_in_the_targets_own_pixels() -> None:
    """The picture of 301x250 was seen at 296x256. What says how sure it is stays in pixels of that."""
    whole = field_of((29.6, -25.6), 0, (0, 0))
    given = finished(whole, (301, 250))
    assert given.flow.shape == (1, 2, 250, 301)
    torch.testing.assert_close(given.flow[0, :, 7, 9], torch.tensor([30.1, -25.0]))
    assert torch.equal(given.log_variance[0, :, 7, 9], whole.log_variance[0, :, 7, 9])


def one(maps: Tensor) -> float:
    """The value of a map that is the same everywhere."""
    assert maps.min() == maps.max()
    return maps.min().item()


def test_p_r_of_each_mode_alone() -> None:
    assert pytest.approx(0.572872, abs=5e-7) == MOST_P_R
    assert one(p_r(field_of((0, 0), 0, (1e4, -1e4)))) == pytest.approx(MOST_P_R, rel=1e-6)
    assert one(p_r(field_of((0, 0), -1e4, (-1e4, 1e4)))) == pytest.approx(0.399576, abs=5e-7)
    assert one(p_r(field_of((0, 0), 1e4, (-1e4, 1e4)))) == pytest.approx(7.4e-6, rel=0.01)


def test_p_r_grows_with_the_radius() -> None:
    field = field_of((0, 0), 3, (0.5, -0.5))
    found = [one(p_r(field, radius)) for radius in (0, 0.5, 1, 2, 5, 1000)]
    assert found[0] == 0
    assert all(less < more for less, more in pairwise(found))
    assert found[-1] == pytest.approx(1)
    assert one(p_r(field)) == found[2]


def test_p_r_is_at_most_what_is_said() -> None:
    random = torch.Generator().manual_seed(0)
    flow, q, weights = (20 * torch.randn(1, channels, 50, 50, generator=random) for channels in (2, 1, 2))
    found = p_r(Field(flow, log_variance(q, MOST_VARIANCE[1]), weights))
    assert found.min() >= 0
    assert 0.57 < found.max() <= MOST_P_R + 1e-7  # a rounding


def test_the_mixtures_variance_and_weight() -> None:
    field = field_of((0, 0), -1e4, (math.log(3), 0))
    assert one(mixture_weight(field)) == pytest.approx(0.75)
    assert one(variance(field)) == pytest.approx(0.75 * 1 + 0.25 * 2)


@pytest.mark.parametrize("most", sorted(set(MOST_VARIANCE.values())))
def test_the_variance_stays_in_its_range(most: float) -> None:
    q = torch.cat((torch.tensor([-1e4]), torch.linspace(-30, 40, 1001), torch.tensor([1e4])))
    found = log_variance(q, most)
    assert torch.isfinite(found).all()
    assert (found.diff() >= 0).all()
    assert found[0].item() == pytest.approx(math.log(2), abs=1e-6)
    assert found[-1].item() == pytest.approx(math.log(most), abs=1e-6)
    known = torch.log(2 + (most - 2) * torch.sigmoid(q.double() - math.log(most)))
    torch.testing.assert_close(found.double(), known, rtol=0, atol=2e-6)


# Half precision

HALF = ("decoder", "dc_conv", "l_dc_conv", "corr_uncertainty_decoder", "pyramid")
HEADS = {"decoder4.final", *(f"decoder{level}.predict_flow" for level in (3, 2, 1)), "dc_conv7", "l_dc_conv7"}


class HalfOnCpu(TorchFunctionMode):
    """Convolutions in half precision as GPUs do them, summed in float32: a CPU takes minutes for them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d and args[0].dtype == torch.float16:
            wide = [each.float() if isinstance(each, Tensor) else each for each in args]
            return torch.conv2d(*wide, **(kwargs or {})).half()
        return func(*args, **(kwargs or {}))


def test_what_is_halved() -> None:
    for name, each in fresh_network().halved().named_parameters():
        is_head = name.rpartition(".")[0] in HEADS
        assert each.dtype == (torch.float16 if name.startswith(HALF) and not is_head else torch.float32), name


def test_nothing_else_of_a_network_that_is_halved_is_half() -> None:
    buffers = dict(fresh_network().halved().named_buffers())
    for name in ("local_corr.a", "local_corr.b", "local_corr.u", "corr.corr_module.a", "corr.corr_module.u"):
        assert buffers[name].dtype == torch.float32


@pytest.mark.parametrize("name", ["a", pytest.param("d", marks=pytest.mark.slow)])
def test_a_halved_network_is_off_by_little(name: str) -> None:
    """Seen: flow 0.03 pixels in the mean and 0.17 at most, where it is up to 190; p_r 0.0002 and 0.0024."""
    with HalfOnCpu():
        half = fresh_network().halved()(*pair(name))
    whole = result(name)
    assert is_finite(half)
    assert all(each.dtype == torch.float32 for each in half)
    flow, sure = off(half.flow, whole.flow), off(p_r(half), p_r(whole))
    assert 0 < flow.mean() <= 0.06
    assert flow.max() <= 0.4
    assert sure.mean() <= 5e-4
    assert sure.max() <= 5e-3


def test_black_pictures_make_no_nan_of_halves() -> None:
    black = inputs(torch.zeros(1, 3, 256, 256), (256, 256))
    with HalfOnCpu():
        assert is_finite(fresh_network().halved()(black, black))
