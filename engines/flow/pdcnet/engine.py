"""PDCNet+ as a flow engine: pictures in, a flow with a confidence for each pixel out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from cachetools import LRUCache
from torch import Tensor

from ...base import Features, Match, MatchRequest, Picture
from ...settings import EngineSettings, size_of
from .choosing import chosen
from .network import (
    MOST_P_R,
    SIDE_STEP,
    Batch,
    Field,
    Filters,
    Inputs,
    Pyramids,
    finished,
    inputs,
    mixture_weight,
    p_r,
    rounded,
    singles,
)
from .presets import PRESETS, Measure
from .runtimes import Runtime, most_together
from .weights import Weights

A = TypeVar("A")
B = TypeVar("B")

# Targets whose filters are kept, for whoever matches one in several calls; sessions do it in one. The filters of a
# target are as large as its features, 20 MB at 768x512.
KEPT_TARGETS = 2
# Sides of the smallest pictures that are taken, pixels. They are enlarged to 256; smaller ones hold nothing to match.
LEAST_SIDE = SIDE_STEP

CONFIDENCES: Mapping[Measure, Callable[[Field], Tensor]] = {
    "p_r": lambda field: (p_r(field) / MOST_P_R).clamp(0, 1),
    "mixture_weight": mixture_weight,
}


@dataclass(frozen=True, slots=True, eq=False)
class PDCNetFeatures:
    """A picture's pyramids, a batch of one, on the runtime's device. size: the picture's, (W, H)."""

    pyramids: Pyramids
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(each.nbytes for each in self.pyramids)

    @property
    def key(self) -> str:
        """The size: pictures of one size are matched."""
        return f"pdcnet {self.size[0]}x{self.size[1]}"


class Pair(NamedTuple):
    """What is matched: where the target's pixels are seen in the source."""

    target: PDCNetFeatures
    source: PDCNetFeatures


class PDCNetFlow:
    """FlowEngine by PDCNet+, on any of its runtimes. It takes no guesses: its coarsest level sees everything.

    measure: what it gives as confidence. `p_r`: the probability that the flow is right to within a pixel, divided by
    the largest value that it can take (p_R of PDC-Net). `mixture_weight`: the weight of the accurate mode of the
    mixture, which the offline experiment took. Neither was calibrated here: that takes the trained weights.
    nbytes: what the weights occupy, in float32. description: what it runs on, for the log. sizes: of pictures, (W, H),
    that it is ready for from the start, and is tried with.
    """

    takes_guesses = False

    def __init__(
        self,
        runtime: Runtime,
        *,
        measure: Measure = "p_r",
        nbytes: int = 0,
        description: str = "",
        sizes: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.nbytes, self.description, self.sizes = nbytes, description, sizes
        self._runtime = runtime
        self._confidence = CONFIDENCES[measure]
        self._kept: LRUCache[PDCNetFeatures, Filters] = LRUCache(KEPT_TARGETS)

    def complaint(self, size: tuple[int, int]) -> str:
        """Why pictures of this size (W, H) cannot be matched, in a sentence; empty: they can."""
        if min(size) < LEAST_SIDE:
            return f"PDCNet+ takes pictures from {LEAST_SIDE}x{LEAST_SIDE} on, not {size[0]}x{size[1]}"
        return self._runtime.complaint(rounded(size))

    def _most(self, size: tuple[int, int]) -> int:
        """Pictures or pairs of this size in one call."""
        return most_together(rounded(size), self._runtime.most)

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Picture]) -> list[Features]:
        """The features of each picture, [H, W, 3] uint8.

        Raises ValueError for other arrays, and for sides that are too small. Raises RefusedError if the runtime has
        nothing for pictures of this size.
        """
        for picture in pictures:
            _check(picture)
        groups = _groups(pictures, _size, self._most)
        return [features for group in groups for features in self._encoded(group)]

    def _encoded(self, pictures: Sequence[Picture]) -> list[PDCNetFeatures]:
        """The features of pictures of one size, in one batch."""
        height, width = pictures[0].shape[:2]
        seen = self._runtime.encode(_inputs(pictures, self._runtime.device))
        return [PDCNetFeatures(each, (width, height)) for each in _apart(seen)]

    @torch.inference_mode()
    def match(self, requests: Sequence[MatchRequest]) -> list[list[Match]]:
        """The matches of each request; guesses are not used. All pictures of a request have one size, else: ValueError.

        Features of another engine are a TypeError.
        """
        pairs = [_pair(each.target, source) for each in requests for source in each.sources]
        filters = self._filters(list(dict.fromkeys(pair.target for pair in pairs)))
        groups = _groups(pairs, lambda pair: pair.target.size, self._most)
        found = iter([match for group in groups for match in self._matched(group, filters)])
        return [[next(found) for _ in each.sources] for each in requests]

    def _filters(self, targets: Sequence[PDCNetFeatures]) -> dict[PDCNetFeatures, Filters]:
        """The filters of each target: kept, or made now."""
        found = {each: self._kept[each] for each in targets if each in self._kept}
        missing = [each for each in targets if each not in found]
        for group in _groups(missing, lambda each: each.size, self._most):
            made = self._runtime.prepare(_together([each.pyramids for each in group]))
            found.update(zip(group, _apart(made), strict=True))
        self._kept.update(found)
        return found

    def _matched(self, pairs: Sequence[Pair], filters: Mapping[PDCNetFeatures, Filters]) -> list[Match]:
        """The matches of pairs of one size, in one batch."""
        targets = _together([pair.target.pyramids for pair in pairs])
        sources = _together([pair.source.pyramids for pair in pairs])
        field = self._runtime.match(targets, sources, _together([filters[pair.target] for pair in pairs]))
        field = finished(field, pairs[0].target.size)
        flows, confidences = field.flow.permute(0, 2, 3, 1).contiguous().cpu(), self._confidence(field).cpu()
        # Each with memory of its own: one that is kept must not keep the others.
        return [
            Match(flow.clone().numpy(), sure.clone().numpy()) for flow, sure in zip(flows, confidences, strict=True)
        ]


def _check(picture: Picture) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"a picture is uint8 [H, W, 3], not {picture.dtype} {picture.shape}")
    if min(picture.shape[:2]) < LEAST_SIDE:
        raise ValueError(f"pictures are {LEAST_SIDE}x{LEAST_SIDE} or larger, not {picture.shape[1]}x{picture.shape[0]}")


def _pair(target: Features, source: Features) -> Pair:
    ours = Pair(_ours(target), _ours(source))
    if ours.target.size != ours.source.size:
        sizes = " and ".join(f"{each.size[0]}x{each.size[1]}" for each in ours)
        raise ValueError(f"pictures of one size are matched, not of {sizes}")
    return ours


def _ours(features: Features) -> PDCNetFeatures:
    if not isinstance(features, PDCNetFeatures):
        raise TypeError(f"features of {features.key!r} were given to the flow engine pdcnet")
    return features


def _inputs(pictures: Sequence[Picture], device: torch.device) -> Inputs:
    """Pictures of one size as the network takes them: RGB, on the device."""
    rgb = torch.from_numpy(np.ascontiguousarray(np.stack(pictures)[..., ::-1])).permute(0, 3, 1, 2)
    size = rounded(_size(pictures[0]))
    if device.type == "cuda":
        return inputs(rgb.to(device), size)
    return Inputs(*(each.to(device) for each in inputs(rgb, size)))  # MPS has no such resizing


def _groups(
    items: Sequence[A], size: Callable[[A], tuple[int, int]], most: Callable[[tuple[int, int]], int]
) -> Iterator[Sequence[A]]:
    """Runs of items of one size, no longer than `most` of that size."""
    for key, run in groupby(items, size):
        alike, count = list(run), most(key)
        yield from (alike[start : start + count] for start in range(0, len(alike), count))


def _size(picture: Picture) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _together(items: Sequence[Batch]) -> Batch:
    """Batches of one as one batch. One that is the same in all is not copied."""
    first = items[0]
    if all(each is first for each in items):
        return type(first)(*(tensor.expand(len(items), *tensor.shape[1:]) for tensor in first))
    return type(first)(*(torch.cat(tensors) for tensors in zip(*items, strict=True)))


def _apart(batch: Batch) -> list[Batch]:
    """A batch as batches of one, each with memory of its own, so that none keeps the others alive."""
    apart = singles(batch)
    return apart if len(apart) == 1 else [type(each)(*(tensor.clone() for tensor in each)) for each in apart]


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def opened(path: Path, settings: EngineSettings) -> PDCNetFlow:
    """The engine with the weights in this file, as the settings want it. Raises RefusedError."""
    weights = Weights(path)
    runtime = chosen(settings, weights)
    local_iterations, global_iterations = PRESETS[settings.pdcnet_preset]
    description = (
        f"PDCNet+ by {runtime.name} on {_named(runtime.device)}, {runtime.precision}, "
        f"preset {settings.pdcnet_preset} ({local_iterations} local and {global_iterations} global iterations), "
        f"weights {weights.digest[:12]} of {path.name}"
    )
    return PDCNetFlow(
        runtime,
        measure=settings.pdcnet_confidence,
        nbytes=weights.nbytes,
        description=description,
        sizes=[size_of(each) for each in settings.pdcnet_sizes] or runtime.sizes,
    )
