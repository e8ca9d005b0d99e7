"""A tagger of a few kilobytes in the form of wd-v1-4, whose tags say what colour the picture is, and where it is light.

Its probabilities are functions of means: of each channel over the picture, and of all channels over the strip along
each side.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# Name, category, and the weights of: the means of blue, green, red; of the top, left, bottom and right strip; and 1.
# All means are 0..1. A probability is the sigmoid of the sum.
Tag = tuple[str, int, tuple[float, ...]]
TAGS: Sequence[Tag] = (
    ("general", 9, (0, 0, 0, 0, 0, 0, 0, 9)),
    ("explicit", 9, (0, 0, 0, 0, 0, 0, 0, -9)),
    ("red_background", 0, (-10, -10, 10, 0, 0, 0, 0, -2)),
    ("green_background", 0, (-10, 10, -10, 0, 0, 0, 0, -2)),
    ("blue_background", 0, (10, -10, -10, 0, 0, 0, 0, -2)),
    ("a_little_(blue)", 0, (4, -4, -4, 0, 0, 0, 0, -2)),
    ("light_top", 0, (0, 0, 0, 20, 0, 0, 0, -15)),
    ("light_left", 0, (0, 0, 0, 0, 20, 0, 0, -15)),
    ("light_bottom", 0, (0, 0, 0, 0, 0, 20, 0, -15)),
    ("light_right", 0, (0, 0, 0, 0, 0, 0, 20, -15)),
    (">_<", 0, (-8, -8, -8, 0, 0, 0, 0, 4)),  # dark
    ("(o)_(o)", 0, (-8, -8, -8, 0, 0, 0, 0, 3)),  # dark
    ("hatsune_miku", 4, (6, 6, -12, 0, 0, 0, 0, -8)),  # cyan
)


def write_tagger(folder: Path, *, size: int = 64, batch: int | str = "batch", tags: Sequence[Tag] = TAGS) -> Path:
    """The folder, with model.onnx and selected_tags.csv in it. batch: how many pictures a call, or a name for any."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_model(size, batch, tags), folder / "model.onnx")
    with (folder / "selected_tags.csv").open("w", encoding="utf-8", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(("tag_id", "name", "category", "count"))
        table.writerows((number, name, category, 1000 - number) for number, (name, category, _) in enumerate(tags))
    return folder


def _model(size: int, batch: int | str, tags: Sequence[Tag]) -> onnx.ModelProto:
    strip = size // 8
    spans = {"top": (1, 0, strip), "left": (2, 0, strip), "bottom": (1, -strip, size), "right": (2, -strip, size)}
    weights = np.array([row for *_, row in tags], np.float32).T
    nodes = [helper.make_node("ReduceMean", ["picture", "both"], ["colour"], keepdims=0)]
    values = {"both": np.array([1, 2]), "all": np.array([1, 2, 3]), "weights": weights[:-1] / 255, "bias": weights[-1]}
    for side, (axis, start, end) in spans.items():
        values |= {f"{side}_{key}": np.array([value]) for key, value in zip("ase", (axis, start, end), strict=True)}
        nodes.append(helper.make_node("Slice", ["picture", *(f"{side}_{key}" for key in "sea")], [f"{side}_strip"]))
        nodes.append(helper.make_node("ReduceMean", [f"{side}_strip", "all"], [f"{side}_cube"]))
        nodes.append(helper.make_node("Flatten", [f"{side}_cube"], [side]))
    nodes += [
        helper.make_node("Concat", ["colour", *spans], ["means"], axis=1),
        helper.make_node("Gemm", ["means", "weights", "bias"], ["sums"]),
        helper.make_node("Sigmoid", ["sums"], ["probabilities"]),
    ]
    return make_model(nodes, {"picture": [batch, size, size, 3]}, {"probabilities": [batch, len(tags)]}, values)


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str]],
    outputs: dict[str, Sequence[int | str]],
    values: dict[str, NDArray[np.float32] | NDArray[np.int64]] | None = None,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A checked model of these nodes; inputs and outputs: shapes by name."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (values or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model
