"""The weights of PDCNet+: what they must be, and the network that has them."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ....proto.errors import Code, RefusedError
from .checkpoint import check_state, weights_sha256
from .network import SMALL_TILE, PDCNet, Tile
from .presets import PRESETS, PresetName


def expected_state() -> dict[str, torch.Tensor]:
    """The network's tensors by name, on the meta device: their shapes and types alone."""
    with torch.device("meta"):
        return PDCNet(local_iterations=1, global_iterations=1).state_dict()


class Weights:
    """Weights that were read and checked, and the digest that they are known by."""

    def __init__(self, path: Path) -> None:
        """Raises RefusedError: UNKNOWN_ENGINE, with what is wrong with the file, or the tensors that are at fault."""
        self.path = path
        try:
            self._state = load_file(path)
            check_state(self._state, expected_state())
        except (SafetensorError, OSError, RefusedError) as error:
            raise RefusedError(Code.UNKNOWN_ENGINE, f"{str(path)!r}: {error}") from error
        # Not what its metadata say: they may be of other weights, which were changed since.
        self.digest = weights_sha256(self._state)

    @property
    def nbytes(self) -> int:
        """Memory of the tensors, bytes."""
        return sum(each.nbytes for each in self._state.values())

    def network(self, preset: PresetName, *, tile: Tile = SMALL_TILE) -> PDCNet:
        """The network with these weights, on the CPU, in float32."""
        local_iterations, global_iterations = PRESETS[preset]
        net = PDCNet(local_iterations=local_iterations, global_iterations=global_iterations, tile=tile)
        net.load_state_dict(self._state, strict=True)
        return net
