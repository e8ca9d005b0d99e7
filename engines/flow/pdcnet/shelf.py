"""Where the graphs and plans of PDCNet+ lie: a folder for each size, by what they were made from.

    FOLDER / WEIGHTS-PRESET-PRECISION-CODE / 768x512 / encode.onnx, prepare.onnx, match.onnx
    FOLDER / WEIGHTS-PRESET-PRECISION-CODE / 768x512 / tensorrt-10.13.0_GPU / encode.plan, ...

CODE stands for the network's own text and torch's version: graphs of another one are not found, and made anew.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import platformdirs
import torch

from . import graphs, network
from .graphs import GRAPHS
from .plans import Stamp
from .presets import Precision, PresetName

# Of a digest, hexadecimal digits in a path.
DIGEST_SHOWN = 12

Size = tuple[int, int]  # (W, H) of the pictures that the fine branch sees: rounded


def default_folder() -> Path:
    """This user's cache."""
    return platformdirs.user_cache_path("warpaint") / "pdcnet"


@cache
def _code() -> str:
    """What graphs are made by, as a digest."""
    texts = [Path(str(module.__file__)).read_bytes() for module in (network, graphs)]
    return sha256(b"".join([*texts, torch.__version__.encode()])).hexdigest()[:DIGEST_SHOWN]


@dataclass(frozen=True)
class Shelf:
    """The graphs and plans of these weights, preset and precision. weights: their digest."""

    folder: Path
    weights: str
    preset: PresetName
    precision: Precision

    @property
    def _own(self) -> Path:
        return self.folder / f"{self.weights[:DIGEST_SHOWN]}-{self.preset}-{self.precision}-{_code()}"

    def _place(self, size: Size) -> Path:
        return self._own / said(size)

    def graph(self, size: Size, name: str) -> Path:
        """Where this graph lies, or would."""
        return self._place(size) / f"{name}.onnx"

    def has(self, size: Size) -> bool:
        """Whether there are graphs for pictures of this size."""
        return all(self.graph(size, name).is_file() for name in GRAPHS)

    @property
    def sizes(self) -> list[Size]:
        """The sizes that there are graphs for, smallest first."""
        found = [each.name.split("x") for each in self._own.glob("*x*") if each.is_dir()]
        sizes = [(int(each[0]), int(each[1])) for each in found if len(each) == 2 and all(map(str.isdecimal, each))]
        return sorted((each for each in sizes if self.has(each)), key=lambda size: (size[0] * size[1], size))

    def save(self, size: Size, graphs: Mapping[str, bytes]) -> None:
        """Writes the graphs of a size; each appears whole. Raises OSError."""
        place = self._place(size)
        place.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".graphs-", dir=place) as folder:
            for name, graph in graphs.items():
                beside = Path(folder) / name
                beside.write_bytes(graph)
                beside.replace(self.graph(size, name))

    def plan(self, size: Size, name: str, stamp: Stamp) -> Path:
        """Where the plan of a graph lies, or would, that was built with this library for this GPU."""
        made_with = re.sub(r"[^A-Za-z0-9.]+", "_", f"{stamp.version} {stamp.gpu}")
        return self._place(size) / f"{stamp.library}-{made_with}" / f"{name}.plan"


def said(size: Size) -> str:
    """A size as it is written: 768x512."""
    return f"{size[0]}x{size[1]}"
