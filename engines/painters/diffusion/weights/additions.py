"""What goes with a model: LoRAs, ControlNets, tiny VAEs and textual inversions; whether a file is one that fits.

As in checkpoint.py, headers and configuration files say so, and whatever does not fit is refused in a sentence.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from . import originals
from .checkpoint import check_names, family_of, part_header
from .configuration import Config, ControlNetConfig, VaeConfig, read_config
from .headers import Header, read_header, refused
from .recognition import recognised
from .sd1 import CONFIGURATION

LATENT_CHANNELS = 4
# The matrix of a LoRA that its input goes through first, of shape (rank, input): as kohya, peft and diffusers name it.
DOWN = re.compile(r"(?P<layer>.*)[._]lora(_down|_A|\.down|_linear_layer\.down)(\.default)?\.weight")
CROSS_ATTENTION = re.compile(r".*attn2[._](processor\.)?to_k")
TEXT_ATTENTION = re.compile(r"(lora_te_|text_encoder\.).*self_attn[._](q|k|v)_proj")
INVERSION = "a textual inversion"
INVERSIONS = ("emb_params", "string_to_param.*")  # what its tensor is named; by diffusers, after its token


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA. rank is that of its first layer; some have others in other layers."""

    path: str
    name: str
    rank: int


@dataclass(frozen=True, slots=True)
class ControlNet:
    """A ControlNet: a folder of diffusers, or a single file in the original layout or in theirs."""

    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Embedding:
    """A textual inversion. vectors: how many tokens it takes the place of."""

    path: str
    token: str
    vectors: int


def inspect_lora(path: Path, context_width: int) -> Lora:
    """The LoRA in this file. Raises RefusedError if it is none, or not for a context of this width."""
    header = _header(path)
    what = recognised(header)
    downs = {name: match["layer"] for name in sorted(header) if (match := DOWN.fullmatch(name))}
    if what != "a LoRA" or not downs:
        raise refused(path, f"is {what}, not a LoRA")
    layers = [(layer, header[name].shape) for name, layer in downs.items() if len(header[name].shape) > 1]
    for pattern in (CROSS_ATTENTION, TEXT_ATTENTION):
        widths = {shape[1] for layer, shape in layers if pattern.fullmatch(layer)}
        if widths and widths != {context_width}:
            raise refused(path, f"is a LoRA for {family_of(max(widths))}, but the model is {family_of(context_width)}")
    if not layers:
        raise refused(path, "is a LoRA whose layers have no width")
    return Lora(str(path), path.stem, layers[0][1][0])


def inspect_controlnet(path: Path, context_width: int, configuration: Path | None = None) -> ControlNet:
    """The ControlNet at this path. Raises RefusedError if it is none, or not for a context of this width.

    configuration says what a single file must hold, as for models; the default is that of SD 1.x.
    """
    if path.is_dir():
        _check_class(path, "ControlNetModel", "a ControlNet")
        width = read_config(path / "config.json", ControlNetConfig).cross_attention_dim
        part_header(path)
    else:
        header = _header(path)
        if recognised(header) != "a ControlNet":
            raise refused(path, f"is {recognised(header)}, not a ControlNet")
        width = _check_controlnet(path, header, configuration or CONFIGURATION)
    if width != context_width:
        raise refused(path, f"is a ControlNet for {family_of(width)}, but the model is {family_of(context_width)}")
    return ControlNet(str(path), path.stem)


def _check_controlnet(path: Path, header: Header, configuration: Path) -> int:
    """The width of the context that a ControlNet in a single file is for; it is whole, or RefusedError is raised."""
    config = read_config(configuration / "controlnet" / "config.json", ControlNetConfig)
    names = (name for name in sorted(header) if name.endswith("attn2.to_k.weight") and len(header[name].shape) > 1)
    width = next((header[name].shape[1] for name in names), config.cross_attention_dim)
    is_original = not any(name.startswith("controlnet_cond_embedding.") for name in header)
    if is_original and width == config.cross_attention_dim:
        held = (originals.CONTROL + name.removeprefix(originals.CONTROL) for name in header)
        check_names(path, held, "ControlNet", originals.controlnet(config))
    return width


def inspect_taesd(path: Path) -> None:
    """Nothing, if a TAESD for Stable Diffusion lies in this folder of diffusers. Raises RefusedError otherwise."""
    if not path.is_dir():
        what = recognised(_header(path))
        raise refused(path, f"is {what}: a TAESD is given as a folder of diffusers, as madebyollin/taesd is on the hub")
    _check_class(path, "AutoencoderTiny", "a TAESD")
    channels = read_config(path / "config.json", VaeConfig).latent_channels
    if channels != LATENT_CHANNELS:
        raise refused(path, f"is a TAESD for latents of {channels} channels; Stable Diffusion's have {LATENT_CHANNELS}")
    part_header(path)


def inspect_embedding(path: Path, width: int) -> Embedding:
    """The textual inversion in this file. Raises RefusedError if it is none, or not for embeddings of this width."""
    header = _header(path)
    if {"clip_l", "clip_g"} & header.keys():
        raise refused(path, f"is {INVERSION} for {family_of(2048)}, but the model is {family_of(width)}")
    tensor = next((header[name] for name in INVERSIONS if name in header), None)
    if tensor is None and len(header) == 1:  # diffusers stores it under its token
        tensor = next(iter(header.values()))
    if tensor is None or len(tensor.shape) not in (1, 2):
        raise refused(path, f"is {recognised(header)}, not {INVERSION}")
    if tensor.shape[-1] != width:
        raise refused(path, f"is {INVERSION} for {family_of(tensor.shape[-1])}, but the model is {family_of(width)}")
    return Embedding(str(path), path.stem, tensor.shape[0] if len(tensor.shape) == 2 else 1)


def _header(path: Path) -> Header:
    """The tensors of a file. Raises RefusedError, also where there is a folder or nothing."""
    if not path.exists():
        raise refused(path, "does not exist")
    if path.is_dir():
        raise refused(path, "is a folder: the file in it is needed here")
    return read_header(path)


def _check_class(folder: Path, wanted: str, words: str) -> None:
    """Raises RefusedError if the model in this folder is not of this class."""
    if not (folder / "config.json").is_file():
        raise refused(folder, f"is a folder without a config.json, not {words} of diffusers")
    found = read_config(folder / "config.json", Config).type
    if found != wanted:
        raise refused(folder, f"is of the class {found or 'nothing'}, not {words}")
