"""PDCNet+ with weights made by a rule: each number follows from the name and the shape of its tensor.

Nothing is downloaded, and nothing that it finds has a meaning: its flows are large and arbitrary. But every layer,
every scalar and every map matters to them, so that it can be compared with what the published network computed.
"""

import gzip
import json
import tempfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from warpaint.engines.flow.pdcnet.network import SMALL_TILE, PDCNet, Tile

GOLDENS = Path(__file__).parents[1] / "engines" / "flow" / "pdcnet"

# By the last part of a name: the mean and the deviation of its numbers.
NORMAL = {
    "running_mean": (0, 0.1),
    "log_step_length": (0, 0.1),
    "filter_reg": (0.01, 0.001),
    "scaling": (1, 0.1),
    "target_fg": (1, 0.1),
    "target_bg": (0, 0.05),
    "weight1": (0, 0.1),
    "weight2": (0, 0.1),
}
# Layers whose weights are smaller than their inputs ask for, lest all flows be hundreds of pixels.
GAIN = {
    **dict.fromkeys(("decoder4.final", *(f"decoder{level}.predict_flow" for level in (3, 2, 1))), 0.5),
    **dict.fromkeys((f"uncertainty_decoder{level}.predict_uncertainty_final" for level in (3, 2, 1)), 0.5),
    **dict.fromkeys(("dc_conv7", "l_dc_conv7"), 0.2),
}
# And of some of its input channels: large numbers, such as flows, would drown what else it sees.
INPUT_GAINS = {
    **dict.fromkeys((f"decoder{level}.conv_0.0" for level in (3, 2, 1)), ((slice(81), 3.0), (slice(81, None), 0.03))),
    **dict.fromkeys((f"uncertainty_decoder{level}.conv_0.0" for level in (3, 2, 1)), ((slice(38, None), 0.05),)),
    **dict.fromkeys(("dc_conv1.0", "l_dc_conv1.0"), ((slice(32, None), 0.05),)),
}


@cache
def described() -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each of the 501 tensors of the published checkpoint, by name, in its order."""
    entries = json.loads(gzip.decompress((GOLDENS / "state_dict.json.gz").read_bytes()))
    return {name: (tuple(shape), dtype) for name, shape, dtype in entries}


@cache
def make_weights() -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    """All tensors of the checkpoint, by name, in its order. They are shared: do not write to them."""
    return {name: _tensor(name, shape, dtype) for name, (shape, dtype) in described().items()}


def _tensor(name: str, shape: tuple[int, ...], dtype: str) -> NDArray[np.float32] | NDArray[np.int64]:
    if dtype == "int64":
        return np.zeros(shape, np.int64)
    return np.ascontiguousarray(_numbers(name, shape), np.float32)


def _numbers(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    layer, _, kind = name.rpartition(".")
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if kind == "running_var":
        return 0.5 + rng.random(shape)
    normal = rng.standard_normal(shape)
    if kind in NORMAL:
        mean, deviation = NORMAL[kind]
        return mean + deviation * normal
    if shape == (1, 10, 1, 1):
        return _of_distance(layer, normal)
    if kind == "bias":
        return _bias(layer, normal)
    if len(shape) == 1:  # of a normalisation
        return 1 + 0.1 * normal
    return _enlarging(normal) if layer in ("deconv4", "deconv2") else _kernels(layer, normal)


def _of_distance(layer: str, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """GOCor's functions of distance: a peak, about one, and a mask that falls from one to zero."""
    distance = 0.5 * np.arange(10.0).reshape(1, 10, 1, 1)
    if "label_map" in layer:
        peak = np.exp(-0.5 * (distance / (0.5 if layer.startswith("corr.") else 1.0)) ** 2)
        return np.asarray((peak - peak.min()) * (1 + 0.05 * normal))
    return 1 + 0.05 * normal if "spatial_weight" in layer else 4 * np.tanh(2 - distance) + 0.1 * normal


def _bias(layer: str, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    made = (0.1 if f"{layer}.running_mean" in described() else 0.01) * normal
    if layer.endswith("predict_uncertainty_final"):
        made[0] += 2  # of the log variance
    return made


def _enlarging(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """A transposed convolution that is bilinear, nearly."""
    taps = np.array([0.25, 0.75, 0.75, 0.25])
    return np.einsum("io,y,x->ioyx", np.eye(2), taps, taps) + 0.02 * normal


def _kernels(layer: str, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    made = normal * np.sqrt(2 / normal[0].size) * GAIN.get(layer, 1.0)
    for channels, gain in INPUT_GAINS.get(layer, ()):
        made[:, channels] *= gain
    return made


def state_dict() -> dict[str, torch.Tensor]:
    """The weights as torch's tensors, copies."""
    return {name: torch.tensor(array) for name, array in make_weights().items()}


def fresh_network(*, local_iterations: int = 3, global_iterations: int = 3, tile: Tile = SMALL_TILE) -> PDCNet:
    """A network with these weights that one may change."""
    made = PDCNet(local_iterations=local_iterations, global_iterations=global_iterations, tile=tile)
    made.load_state_dict(state_dict(), strict=True)
    return made


@cache
def network(*, local_iterations: int = 3, global_iterations: int = 3, tile: Tile = SMALL_TILE) -> PDCNet:
    """The network with these weights. It is shared: do not change it."""
    return fresh_network(local_iterations=local_iterations, global_iterations=global_iterations, tile=tile)


def save_weights(path: Path) -> None:
    """Writes the weights to PATH.safetensors, as the converter makes it from a checkpoint, with its sum beside it."""
    from warpaint.engines.flow.convert import convert

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "made.pth.tar"
        torch.save({"state_dict": state_dict()}, checkpoint)
        convert(checkpoint, path)
