"""PDCNet+ as three ONNX graphs, `encode`, `prepare` and `match`: one set for each size of picture.

Pictures are made into inputs, and the field of level 1 into a flow of the picture's size, outside of the graphs. The
first dimension, of pictures or pairs, is left open.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import onnx
import torch
from torch import Tensor, nn

from .network import CHANNELS, COARSE_SIDE, Field, Filters, PDCNet, Pyramids

OPSET = 18
# Pictures or pairs that the graphs are traced with: one would be taken for a constant.
TRACED = 2
MOST_TOGETHER = 64  # what the open dimension may be, as far as tracing goes

PYRAMIDS = ("f1", "f2", "f3", "f4")
FILTERS = ("filters3", "filters2", "filters1")


class Ends(NamedTuple):
    """The names of a graph's inputs and outputs, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


GRAPHS: Mapping[str, Ends] = {
    "encode": Ends(("fine", "coarse"), PYRAMIDS),
    "prepare": Ends(PYRAMIDS[:3], FILTERS),
    "match": Ends(
        (*(f"target_{each}" for each in PYRAMIDS), *(f"source_{each}" for each in PYRAMIDS), *FILTERS),
        ("flow", "log_variance", "weights"),
    ),
}


class _Graph(nn.Module):
    """A step of the network as a module of its own, which is what can be exported."""

    def __init__(self, net: PDCNet, step: Callable[..., Sequence[Tensor]]) -> None:
        super().__init__()
        self.net = net
        self._step = step

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return tuple(self._step(self.net, *given))


def _match(net: PDCNet, *given: Tensor) -> Field:
    return net.match(Pyramids(*given[:4]), Pyramids(*given[4:8]), Filters(*given[8:]))


STEPS: Mapping[str, Callable[..., Sequence[Tensor]]] = {
    "encode": PDCNet.encode,
    "prepare": PDCNet.prepare,
    "match": _match,
}


def exported(net: PDCNet, size: tuple[int, int], metadata: Mapping[str, str]) -> dict[str, bytes]:
    """The graphs of pictures that the fine branch sees at this rounded size (W, H), as ONNX files, by name."""
    return {name: _exported(_Graph(net, STEPS[name]), name, _examples(net, size)[name], metadata) for name in GRAPHS}


def _examples(net: PDCNet, size: tuple[int, int]) -> Mapping[str, tuple[Tensor, ...]]:
    """What each graph is traced with. Only shapes count, and computing it would take minutes in half precision."""
    width, height = size
    sides = {1: (height // 4, width // 4), 2: (height // 8, width // 8), 3: (32, 32), 4: (16, 16)}
    given = torch.zeros(TRACED, 3, height, width), torch.zeros(TRACED, 3, COARSE_SIDE, COARSE_SIDE)
    target, source = (tuple(torch.zeros(TRACED, CHANNELS[n], *sides[n]) for n in (1, 2, 3, 4)) for _ in range(2))
    pixels = net.tile.rows * net.tile.columns
    filters = tuple(torch.zeros(TRACED, *net.tile.covering(*sides[n]), pixels, CHANNELS[n]) for n in (3, 2, 1))
    return {"encode": given, "prepare": target[:3], "match": (*target, *source, *filters)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's thousand lines on what it does, and its warnings of packages that are not needed."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [each.level for each in logs]
    try:
        for each in logs:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own use of what is deprecated
            yield
    finally:
        for each, level in zip(logs, levels, strict=True):
            each.setLevel(level)


def _exported(graph: nn.Module, name: str, example: tuple[Tensor, ...], metadata: Mapping[str, str]) -> bytes:
    batch = torch.export.Dim("batch", min=1, max=MOST_TOGETHER)
    with _quiet():
        program = torch.onnx.export(
            graph.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(GRAPHS[name].inputs),
            output_names=list(GRAPHS[name].outputs),
            dynamic_shapes=((tuple({0: batch} for _ in example)),),
            verbose=False,
        )
    model: Any = cast(torch.onnx.ONNXProgram, program).model_proto
    onnx.helper.set_model_props(model, dict(metadata))
    return model.SerializeToString()
