"""Graphs and plans of PDCNet+ with the weights of `support.pdc_weights`, made once and shared: they take half a minute.

Preset fast, in single precision, for pictures up to 256x256, which are all computed at that size.
"""

import io
import os
import shutil
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from filelock import FileLock

from warpaint.engines.flow import build
from warpaint.engines.flow.pdcnet.making import Difference, by_onnx, difference, make_graphs
from warpaint.engines.flow.pdcnet.presets import Precision, PresetName
from warpaint.engines.flow.pdcnet.runtimes import GraphRuntime
from warpaint.engines.flow.pdcnet.shelf import Shelf
from warpaint.engines.flow.pdcnet.weights import Weights
from warpaint.engines.settings import EngineSettings

SIZE = (256, 256)


@dataclass(frozen=True)
class Exported:
    """Graphs in a cache, and how far they were from torch. Those of the fixtures are shared: copy before you write.

    file: of the weights. said: by the command that built their plans; empty: there are none.
    """

    file: Path
    cache: Path
    difference: Difference
    said: str = ""

    @cached_property
    def weights(self) -> Weights:
        """The weights that the graphs were made from."""
        return Weights(self.file)

    @property
    def shelf(self) -> Shelf:
        """Where the graphs lie."""
        return shelf_in(self.cache, self.weights)

    def settings(self, **fields: object) -> EngineSettings:
        """Settings of an engine with these graphs, changed in these fields."""
        named = {"pdcnet_weights": self.file, "pdcnet_cache": self.cache, "pdcnet_preset": "fast", "device": "cpu"}
        return EngineSettings.model_validate(named | fields)

    def copied(self, folder: Path) -> "Exported":
        """The same in this folder, as links: files may be replaced there, not written to."""
        place = self.shelf.graph(SIZE, "match").parent.relative_to(self.cache)
        shutil.copytree(self.cache / place, folder / place, copy_function=os.link)
        return replace(self, cache=folder)


def shelf_in(cache: Path, weights: Weights, *, preset: PresetName = "fast", precision: Precision = "fp32") -> Shelf:
    """The shelf of these weights in a cache."""
    return Shelf(cache, weights.digest, preset, precision)


def export(file: Path, cache: Path) -> Exported:
    """The graphs of SIZE from the weights in this file: made now, or kept from another run with the same network."""
    weights = Weights(file)
    shelf = shelf_in(cache, weights)
    with FileLock(cache / "lock"):  # tests in several processes wait for the one that makes them
        if shelf.has(SIZE):
            return Exported(file, cache, difference(weights, shelf, SIZE, in_onnx(shelf)))
        return Exported(file, cache, make_graphs(weights, shelf, SIZE))


def in_onnx(shelf: Shelf) -> GraphRuntime:
    """ONNX Runtime with the graphs of a shelf."""
    cpu = torch.device("cpu")
    return GraphRuntime("onnx", cpu, lambda size: by_onnx(shelf, size, cpu))


def planned(exported: Exported) -> Exported:
    """Builds the plans of these graphs, for no certain GPU, with the command that does so."""
    wishes = ["--library", "tensorrt_rtx", "--preset", "fast", "--size", "96x64"]
    with redirect_stdout(io.StringIO()) as said:
        build.main([*wishes, "--weights", str(exported.file), "--cache", str(exported.cache)])
    return replace(exported, said=said.getvalue())
