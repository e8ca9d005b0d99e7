"""Each module alone, on what the published one read, against what it wrote; and that these checks can fail.

The whole network's results hide what is wrong by little. Here errors do not add up, and the limits are close.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from support.pdc_goldens import altered, pair, stored
from support.pdc_weights import fresh_network, state_dict
from support.pdc_weights import network as shared_network
from warpaint.engines.flow.pdcnet import network
from warpaint.engines.flow.pdcnet.network import (
    FEATURES_A_PIXEL,
    LARGE_TILE,
    MOST_VARIANCE,
    Field,
    PDCNet,
    Pyramids,
    Tile,
    normalised,
    padded,
    rectified,
    tiles,
    untiled,
)

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = 101  # numbers between those of a `_sample`
Pairs = Iterator[tuple[Tensor, Tensor]]  # what comes out, and what did


def golden(name: str) -> Tensor:
    return stored("modules")[name]


def sampled(maps: Tensor) -> Tensor:
    return maps.flatten()[::EVERY]


# What is checked


def stems(net: PDCNet, level: int) -> Pairs:
    features = target_features(net)[level - 1]
    yield (
        (features, golden("feat4_target")) if level == 4 else (sampled(features), golden(f"feat{level}_target_sample"))
    )


@cache
def target_features(net: PDCNet) -> Pyramids:
    return net.encode(*pair("a")[0])


def global_filters(net: PDCNet, level: int) -> Pairs:
    target, source = (normalised(golden(f"feat4_{each}")) for each in ("target", "source"))
    yield net.corr["corr_module"](target, source, net.global_iterations), golden("ggocor_scores")


def coarsest_decoder(net: PDCNet, level: int) -> Pairs:
    run = coarsest(net)
    yield run.residual, golden("dec4_map")
    yield run.features, golden("dec4_features")


def coarsest_flow(net: PDCNet, level: int) -> Pairs:
    yield coarsest(net).field.flow, golden("flow4")


def coarsest_correlation(net: PDCNet, level: int) -> Pairs:
    """What the uncertainty sees: a picture of the source for each pixel of the target."""
    yield coarsest(net).pictures.flatten(1)[::8].T, golden("unc4_corr")


def transposed(net: PDCNet, level: int) -> Pairs:
    if level == 4:
        yield net.deconv4(golden("flow4")), golden("up4_flow")
    else:  # of a corner, all but the last
        yield net.deconv2(golden("flow2"))[..., :39, :39], golden("up2_flow")[..., :39, :39]
        yield net.upfeat2(golden("dec2_features"))[..., :14, :14], golden("up2_feat")


def enlarged(net: PDCNet, level: int) -> Pairs:
    """The mixture on the finer grid."""
    side = golden(f"weight{level}").shape[3] * (1 if level == 3 else 2)
    for kind in ("weight", "log_var"):
        known = golden(f"up{level}_{kind}")
        within = slice(known.shape[3])
        yield network.resized(golden(f"{kind}{level}"), side, side)[..., within, within], known


def warps(net: PDCNet, level: int) -> Pairs:
    """Of our own features: the source's were not kept. No pixel looks outside of them here."""
    found = network.warped(source_features()[level - 1], golden(f"up{level + 1}_flow"), FEATURES_A_PIXEL[level])
    yield sampled(found), golden(f"feat{level}_source_warped_sample")


@cache
def source_features() -> Pyramids:
    return shared_network().encode(*pair("a")[1])


def first_filters(net: PDCNet, level: int) -> Pairs:
    features = inner(golden(f"local{level}_target"), level)
    yield net.local_corr.initial(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)[:, ::8], golden(f"local{level}_init")


def local_filters(net: PDCNet, level: int) -> Pairs:
    features = golden(f"local{level}_target")
    tile = net.local_corr.tile
    filters = untiled(net.local_corr(features, net.local_iterations), tile, *features.shape[2:])
    yield inner(filters, level), golden(f"local{level}_filter")


def local_scores(net: PDCNet, level: int) -> Pairs:
    yield inner(correlations(net, level)[0], level), golden(f"local{level}_corr")


def plain_scores(net: PDCNet, level: int) -> Pairs:
    yield inner(correlations(net, level)[1], level), golden(f"local{level}_plain")


def correlations(net: PDCNet, level: int) -> tuple[Tensor, Tensor]:
    """The filters' and the features' own, [1, 81, h, w], of the part that is looked at."""
    tile = net.local_corr.tile
    target, source = (golden(f"local{level}_{each}") for each in ("target", "source"))
    h, w = target.shape[2:]
    top, bottom, left, right = bounds(level)
    filters = functional.pad(golden(f"local{level}_filter"), (left, w - right, top, h - bottom))
    laid = tiles(padded(filters, tile), tile)
    both = zip(*net.local_corr.scores(laid, padded(target, tile), padded(source, tile)), strict=True)
    ours, plain = (untiled(rectified(torch.cat(each, 1)), tile, h, w) for each in both)
    return ours, plain


def bounds(level: int) -> tuple[int, int, int, int]:
    top, bottom, left, right = (int(each) for each in golden(f"local{level}_inner"))
    return top, bottom, left, right


def inner(maps: Tensor, level: int) -> Tensor:
    """The pixels whose whole windows lie in the part, or reach over the map's edge."""
    top, bottom, left, right = bounds(level)
    return maps[:, :, top:bottom, left:right]


def decoders(net: PDCNet, level: int) -> Pairs:
    run = fine(net, level)
    within = slice(golden(f"corr{level}").shape[3] - 6)  # what depends on no pixel beyond the correlation's corner
    yield run.features[..., within, within], golden(f"dec{level}_features")[..., within, within]
    yield run.residual[..., within, within], golden(f"dec{level}_residual")[..., within, within]


def refinements(net: PDCNet, level: int) -> Pairs:
    within = slice(9 if level == 1 else None)
    yield fine(net, level).field.flow[..., within, within], golden(f"flow{level}")[..., within, within]


def correlation_uncertainties(net: PDCNet, level: int) -> Pairs:
    module = net.get_submodule(f"corr_uncertainty_decoder{level}")
    if level == 4:
        found = module(golden("unc4_corr").T.reshape(-1, 1, 16, 16))
        yield found.T, golden("unc4_corr_features").reshape(6, 256)[:, ::8]
    else:
        found = module(golden(f"local{level}_plain").squeeze(0).flatten(1).T.reshape(-1, 1, 9, 9))
        yield found.T, golden(f"local{level}_features").squeeze(0).flatten(1)


def uncertainties(net: PDCNet, level: int) -> Pairs:
    raw = (coarsest(net) if level == 4 else fine(net, level)).raw
    within = slice({4: 16, 3: 32, 2: 17, 1: 6}[level])
    yield raw[..., within, within], golden(f"unc{level}_raw")[..., within, within]


def ranges(net: PDCNet, level: int) -> Pairs:
    raw = golden(f"unc{level}_raw")
    yield network.log_variance(raw[:, :1], MOST_VARIANCE[level]), golden(f"log_var{level}")[:, 1:]
    yield raw[:, 1:], golden(f"weight{level}")


# Running a level with what the published one had in the middle of it


class Run(NamedTuple):
    field: Field
    features: Tensor  # of the decoder as it is, as the next two
    residual: Tensor
    pictures: Tensor  # what the uncertainty of correlations saw last
    raw: Tensor  # log variance and weights as the uncertainty's decoder gives them


def coarsest(net: PDCNet) -> Run:
    """Level 4 with the published scores; all after the decoder goes on from the published decoder's results."""
    target, source = (normalised(golden(f"feat4_{each}")) for each in ("target", "source"))
    with ExitStack() as stack:
        stack.enter_context(standing_in(net.corr["corr_module"], golden("ggocor_scores")))
        decoded = stack.enter_context(standing_in(net.decoder4, (golden("dec4_features"), golden("dec4_map"))))
        uncertain = golden("unc4_corr_features").reshape(6, 256).T
        correlated = stack.enter_context(standing_in(net.corr_uncertainty_decoder4, uncertain))
        raw = stack.enter_context(standing_in(net.uncertainty_decoder4, None))
        field, _ = net._coarsest(target, source)
    features, places = decoded[0].output
    return Run(field, features, places, correlated[0].input, raw[0].output)


def fine(net: PDCNet, level: int) -> Run:
    """Level 3, 2 or 1 in its top left corner, in the same way. What was not kept of it is zero."""
    seen = golden(f"dec{level}_features").shape[3]
    flow, both, weights = (corner(golden(f"up{level + 1}_{kind}"), seen) for kind in ("flow", "log_var", "weight"))
    above = Field(flow, both[:, 1:], weights)
    extra = corner(golden("up2_feat"), seen) if level == 1 else None
    known = [corner(golden(f"{kind}{level}{rest}"), seen) for kind, rest in (("corr", ""), ("unc", "_corr_features"))]
    tile = net.local_corr.tile
    nothing = torch.zeros(1, 1, seen, seen)
    with ExitStack() as stack:
        stack.enter_context(patch.object(net, "_correlated", return_value=[tiled(each, tile) for each in known]))
        results = golden(f"dec{level}_features"), golden(f"dec{level}_residual")
        decoded = stack.enter_context(standing_in(net._decoder(level), results))
        raw = stack.enter_context(standing_in(net.get_submodule(f"uncertainty_decoder{level}"), None))
        field, _ = net._level(level, nothing, nothing, nothing, above, extra)
    features, residual = decoded[0].output
    return Run(field, features, residual, nothing, raw[0].output)


class Call(NamedTuple):
    input: Tensor
    output: Any


@contextmanager
def standing_in(module: nn.Module, output: Any) -> Iterator[list[Call]]:
    """What the module is asked and what it would say, while it says this; None: while it says what it would."""
    calls: list[Call] = []

    def hook(_: nn.Module, given: tuple[Tensor, ...], made: Any) -> Any:
        calls.append(Call(given[0], made))
        return output

    handle = module.register_forward_hook(hook)
    yield calls
    handle.remove()


def corner(maps: Tensor, side: int) -> Tensor:
    """The top left corner, with zeros for what lacks."""
    lacks = max(0, side - maps.shape[3])
    return functional.pad(maps[..., :side, :side], (0, lacks, 0, lacks))


def tiled(maps: Tensor, tile: Tile) -> Tensor:
    return tiles(padded(maps, tile), tile)


# The checks


class Check(NamedTuple):
    pairs: Callable[[PDCNet, int], Pairs]
    levels: tuple[int, ...]
    most: float
    mean: float = float("inf")


FINE = (3, 2, 1)
ALL = (4, *FINE)
CHECKS = (
    Check(stems, ALL, 5e-5),
    Check(global_filters, (4,), 1.2e-5, mean=1.2e-6),
    Check(coarsest_decoder, (4,), 1e-5),
    Check(coarsest_flow, (4,), 1e-4),
    Check(coarsest_correlation, (4,), 5e-7),
    Check(transposed, (4, 2), 1e-4),
    Check(enlarged, (4, 3, 2), 2e-6),
    Check(warps, FINE, 3e-5),
    Check(first_filters, FINE, 1e-5),
    Check(local_filters, FINE, 3e-5),
    Check(local_scores, FINE, 2e-6),
    Check(plain_scores, FINE, 3e-6),
    Check(decoders, FINE, 5e-5),
    Check(refinements, FINE, 1e-4),
    Check(correlation_uncertainties, ALL, 2e-5),
    Check(uncertainties, ALL, 4e-5),
    Check(ranges, ALL, 2e-6),
)
OF_TILES = tuple(check for check in CHECKS if check.pairs in (local_filters, local_scores, plain_scores))


def name_of(check: Check) -> str:
    return check.pairs.__name__


def faults(check: Check, net: PDCNet) -> list[str]:
    """Where the network is further off than it may be."""
    found = []
    for level in check.levels:
        for made, known in check.pairs(net, level):
            assert made.shape == known.shape
            assert made.numel()
            off = (made - known).abs()
            most, mean = off.max().item(), off.mean().item()
            if not (most <= check.most and mean <= check.mean):
                found.append(f"level {level}: {most:.2g} at most, {mean:.2g} in the mean")
    return found


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_each_module_agrees_with_the_published_one(check: Check) -> None:
    assert faults(check, shared_network()) == []


@pytest.mark.parametrize("check", OF_TILES, ids=name_of)
def test_large_tiles_agree_too(check: Check) -> None:
    assert faults(check, shared_network(tile=LARGE_TILE)) == []


# And they can fail

Alteration = Callable[[PDCNet, pytest.MonkeyPatch], None]


def within_method(owner: type, method: str, old: str, new: str) -> Alteration:
    return lambda _, monkeypatch: monkeypatch.setattr(owner, method, altered(getattr(owner, method), old, new))


def within_function(name: str, old: str, new: str) -> Alteration:
    return lambda _, monkeypatch: monkeypatch.setattr(network, name, altered(getattr(network, name), old, new))


def local_regulariser(change: Callable[[float], float]) -> Alteration:
    return lambda net, _: setattr(net.local_corr, "rho", change(net.local_corr.rho))


def global_regulariser(net: PDCNet, _: pytest.MonkeyPatch) -> None:
    module = net.corr["corr_module"]
    assert isinstance(module, network.GlobalGOCor)
    module.rho *= 100


def normalisation(net: PDCNet, _: pytest.MonkeyPatch) -> None:
    for each in net.decoder3.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.eps = 1e-3


MISTAKES: dict[str, tuple[Alteration, Callable[[PDCNet, int], Pairs]]] = {
    # What the network's results hide: the first two are 1e-5 pixels there, the third 3e-4.
    "local filter_reg tenfold": (local_regulariser(lambda rho: rho * 100), local_filters),
    "local filter_reg not squared": (local_regulariser(lambda rho: rho**0.5), local_filters),
    "global step not damped": (
        within_method(network.GlobalGOCor, "optimised", " + 0.1 * length", ""),
        global_filters,
    ),
    # And some that they hardly show, or show without a hint at the place.
    "local step damped": (
        within_method(network.LocalGOCor, "_optimised", "min=LEAST)", "min=LEAST) + 0.1 * length"),
        local_filters,
    ),
    "global filter_reg tenfold": (global_regulariser, global_filters),
    "1 / C of the regulariser": (
        within_method(network.LocalGOCor, "_optimised", "channels**2", "channels"),
        local_filters,
    ),
    "corners not aligned": (within_function("warped", "align_corners=True", "align_corners=False"), warps),
    "eps of a normalisation": (normalisation, decoders),
    "skip from the rectified": (
        within_method(network.Decoder, "forward", "self.conv0_skip(z0)", "self.conv0_skip(rectified(z0))"),
        decoders,
    ),
    "order of a decoder's input": (
        within_function("_parts", "field.log_variance, field.weights", "field.weights, field.log_variance"),
        decoders,
    ),
    "uncertainty without x'": (
        within_method(PDCNet, "_level", "refined, residual = features + more,", "residual ="),
        uncertainties,
    ),
    "order of the uncertainty's input": (
        within_method(PDCNet, "_level", "*above[1:], above.flow", "above.flow, *above[1:]"),
        uncertainties,
    ),
    "refined without the flow from above": (
        within_method(PDCNet, "_level", "(features, residual + above.flow)", "(features, residual)"),
        refinements,
    ),
    "positions of level 4": (within_method(PDCNet, "_coarsest", "* 15 / 2", "* 16 / 2"), coarsest_flow),
    "a resize with its corners aligned": (
        within_function("resized", "align_corners=False", "align_corners=True"),
        enlarged,
    ),
    "least variance": (within_function("log_variance", "LEAST_VARIANCE + (", "("), ranges),
    **{
        f"1 / C of {pairs.__name__}": (
            within_method(network.LocalGOCor, "scores", "/ of_source.shape[3]", "/ of_source.shape[2]"),
            pairs,
        )
        for pairs in (local_scores, plain_scores)
    },
    "source and target of level 4": (
        within_method(
            PDCNet,
            "_coarsest",
            "torch.relu(target.flatten(2).transpose(1, 2) @ source.flatten(2))",
            "torch.relu(source.flatten(2).transpose(1, 2) @ target.flatten(2))",
        ),
        coarsest_correlation,
    ),
}


# Those that weights have a part in.
OF_WEIGHTS = tuple(
    check
    for check in CHECKS
    if check.pairs not in (coarsest_flow, coarsest_correlation, enlarged, warps, local_scores, plain_scores, ranges)
)


@cache
def nearly_right() -> PDCNet:
    """The network with all weights too large by a thousandth."""
    net = fresh_network()
    net.load_state_dict(
        {name: each * 1.001 if each.is_floating_point() else each for name, each in state_dict().items()}
    )
    return net


@pytest.mark.parametrize("check", OF_WEIGHTS, ids=name_of)
def test_weights_that_are_off_by_a_thousandth_are_found(check: Check) -> None:
    assert faults(check, nearly_right())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_where_it_is(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alteration, pairs = MISTAKES[mistake]
    net = fresh_network()
    [check] = [each for each in CHECKS if each.pairs is pairs]
    assert faults(check, net) == []
    alteration(net, monkeypatch)
    assert faults(check, net)


def test_each_check_was_seen_to_fail() -> None:
    seen = {pairs for _, pairs in MISTAKES.values()} | {check.pairs for check in OF_WEIGHTS}
    assert {check.pairs for check in CHECKS} == seen
