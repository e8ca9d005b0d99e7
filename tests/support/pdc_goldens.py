"""Results of the published PDC-Net+ for the weights of `support.pdc_weights`; and mistakes, to see them caught."""

import inspect
import textwrap
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from support.pdc_weights import GOLDENS
from warpaint.engines.flow.pdcnet import network
from warpaint.engines.flow.pdcnet.network import Inputs, inputs, rounded


def picture(name: str) -> NDArray[np.uint8]:
    """A golden picture, [H, W, 3], RGB: `a_target`, `a_source`, `d_target` or `d_source`."""
    return np.ascontiguousarray(np.asarray(cv2.imread(str(GOLDENS / f"{name}.png")), np.uint8)[:, :, ::-1])


def as_tensor(image: NDArray[np.uint8]) -> Tensor:
    """A picture [H, W, 3] as [1, 3, H, W]."""
    return torch.tensor(image.transpose(2, 0, 1)[None])


def size_of(name: str) -> tuple[int, int]:
    """Width and height of a golden picture."""
    height, width = picture(name).shape[:2]
    return width, height


@cache
def pair(name: str) -> tuple[Inputs, Inputs]:
    """Target and source of pair `a`, 256x256, or `d`, 301x250, as the network sees them."""
    fine = rounded(size_of(f"{name}_target"))
    target, source = (inputs(as_tensor(picture(f"{name}_{each}")), fine) for each in ("target", "source"))
    return target, source


@cache
def stored(name: str) -> dict[str, Tensor]:
    """The arrays of a golden file, `a`, `d` or `modules`. They are shared: do not write to them."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        return {key: torch.tensor(file[key]) for key in file.files}


def altered(function: Callable[..., Any], old: str, new: str) -> Callable[..., Any]:
    """A function of the network's module with one mistake: this in place of that, which is in it once."""
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(old) != 1:
        raise ValueError(f"{old!r} is {source.count(old)} times in {function.__name__}")
    space = dict(vars(network))
    exec(source.replace(old, new), space)
    made: Callable[..., Any] = space[function.__name__]
    return made
