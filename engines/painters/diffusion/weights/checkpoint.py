"""What model lies at a path, and whether it is one that can be loaded: from headers and configuration files alone.

A model of Stable Diffusion comes as a folder in the layout of diffusers, as a single file in the original layout, or by
the name that it has on the hub. What it is asked for as, the base model or the inpaint model, must be what it is.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from . import originals
from .configuration import Config, TextConfig, UNetConfig, VaeConfig, read_config
from .headers import Header, find_weights, read_header, refused
from .recognition import recognised
from .sd1 import CONFIGURATION, INPAINT_CHANNELS

Kind = Literal["base", "inpaint"]
Layout = Literal["folder", "single", "hub"]


class Family(StrEnum):
    """Models whose parts fit together: made for the same text encoder."""

    SD1 = "SD 1.x"
    SD2 = "SD 2.x"
    SDXL = "SDXL"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that can be loaded.

    dtype is what its UNet is stored in: "fp16", "bf16" or "fp32". context_width is that of the text encoder's output.
    Of a model on the hub nothing is known until it is fetched: its family and dtype are "unknown", the width is 0.
    """

    path: str
    layout: Layout
    family: Family
    kind: Kind
    dtype: str
    context_width: int


FAMILIES = {768: Family.SD1, 1024: Family.SD2, 2048: Family.SDXL}  # by the width of the context
WIDEST_SD1 = 768  # narrower ones are SD 1.x in small, as for tests; what lies between the families is unknown
CHANNELS: dict[int, str] = {  # of the UNet's input
    4: "a base model",
    5: "a depth model",
    7: "an upscaler",
    8: "an instruct-pix2pix model",
    INPAINT_CHANNELS: "an inpaint model",
}
WANTED: dict[Kind, int] = {"base": 4, "inpaint": INPAINT_CHANNELS}
DTYPES = {"F16": "fp16", "BF16": "bf16", "F32": "fp32"}
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILE_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".zip", ".json", ".yaml")
PARTS = ("unet", "vae", "text_encoder")
PIPELINES = re.compile(r"StableDiffusion(ControlNet)?(Img2Img|Inpaint)?Pipeline(Legacy)?")
CONV_IN = f"{originals.UNET}input_blocks.0.0.weight"
CROSS_ATTENTION = "attn2.to_k.weight"  # from the context's width to the UNet's own
NAMED = 3  # missing tensors that are named; more would hide the sentence


def family_of(width: int) -> str:
    """In words the models whose context has this width."""
    return f"{FAMILIES.get(width, 'an unknown family')} (cross-attention width {width})"


def inspect_model(path: str, *, kind: Kind, configuration: Path | None = None) -> Checkpoint:
    """What model lies at this path. Raises RefusedError if there is none that can be loaded as this kind.

    configuration is a folder in the layout of diffusers, without weights, that says what a single file must hold; the
    default is that of SD 1.x. Folders have their own.
    """
    place = Path(path)
    try:
        is_folder, is_there = place.is_dir(), place.exists()
    except OSError as error:
        raise refused(path, f"cannot be read: {error.strerror or error}") from error
    if is_folder:
        return _folder(place, kind)
    if is_there:
        return _single_file(place, kind, configuration or CONFIGURATION)
    if HUB_NAME.fullmatch(path) and not path.endswith(FILE_SUFFIXES):
        return Checkpoint(path, "hub", Family.UNKNOWN, kind, dtype="unknown", context_width=0)
    raise refused(path, "does not exist: give a folder of diffusers, a checkpoint file, or a name on the hub, org/name")


# A single file


def _single_file(path: Path, kind: Kind, configuration: Path) -> Checkpoint:
    header = {originals.renamed(name): tensor for name, tensor in read_header(path).items()}
    what = recognised(header)
    if what != "a model of Stable Diffusion":
        raise refused(path, f"is {what}: a whole model of SD 1.x or SD 2.x is needed here")
    _check_kind(path, _second_dimension(header, [CONV_IN]), kind)
    unet = read_config(configuration / "unet" / "config.json", UNetConfig)
    attention = sorted(name for name in header if name.startswith(originals.UNET) and name.endswith(CROSS_ATTENTION))
    width = _second_dimension(header, attention)
    if width is not None and width != unet.cross_attention_dim:
        wanted = family_of(unet.cross_attention_dim)
        raise refused(path, f"is {family_of(width)}, but its configuration is that of {wanted}")
    _check_whole(path, header, configuration, unet)
    family = FAMILIES.get(unet.cross_attention_dim, Family.UNKNOWN)
    return Checkpoint(str(path), "single", family, kind, _dtype(path, header), unet.cross_attention_dim)


def _second_dimension(header: Header, names: Iterable[str]) -> int | None:
    """How many channels go into the first of these layers that is there, and has weights of a layer's shape."""
    shapes = (header[name].shape for name in names if name in header)
    return next((shape[1] for shape in shapes if len(shape) > 1), None)


def _check_kind(path: Path, channels: int | None, kind: Kind) -> None:
    """Raises RefusedError if a UNet that takes this many channels is not of this kind."""
    if channels is None or channels == WANTED[kind]:
        return  # where the layer is missing, the list of what is missing will say so
    is_a = CHANNELS.get(channels, "a model of no known kind")
    wanted = f"{CHANNELS[WANTED[kind]]} takes {WANTED[kind]}"
    raise refused(path, f"is {is_a}: its UNet takes {channels} channels, but {wanted}")


def _check_whole(path: Path, header: Header, configuration: Path, unet: UNetConfig) -> None:
    """Raises RefusedError if a single file lacks any tensor that its configuration asks for."""
    vae = read_config(configuration / "vae" / "config.json", VaeConfig)
    text = read_config(configuration / "text_encoder" / "config.json", TextConfig)
    is_open_clip = any(name.startswith(originals.OPEN_CLIP) for name in header)
    encoder: Callable[[TextConfig], Iterator[str]] = originals.open_clip if is_open_clip else originals.clip
    check_names(path, header, "UNet", originals.unet(unet))
    check_names(path, header, "VAE", originals.vae(vae))
    check_names(path, header, "text encoder", encoder(text))


def check_names(path: Path, held: Iterable[str], part: str, needed: Iterable[str]) -> None:
    """Raises RefusedError if any of these tensors, which make up a part of a model, is not held."""
    names = list(needed)
    missing = sorted(set(names).difference(held))
    if len(missing) == len(names):
        raise refused(path, f"holds no {part}: a whole model is needed, with UNet, VAE and text encoder")
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise refused(path, f"lacks tensors of the {part}: {', '.join(missing[:NAMED])}{more}")


def _dtype(path: Path, header: Header) -> str:
    """What a UNet is stored in: "fp16", "bf16" or "fp32"."""
    weights = [tensor for name, tensor in header.items() if name.endswith("input_blocks.0.0.weight")]
    weights += [tensor for name, tensor in header.items() if name == "conv_in.weight"]
    stored = next((tensor.dtype for tensor in [*weights, *header.values()]), "nothing")
    if stored not in DTYPES:
        raise refused(path, f"is stored as {stored}: fp16, bf16 and fp32 can be read")
    return DTYPES[stored]


# A folder


class Index(BaseModel):
    """model_index.json: the class of the pipeline."""

    type: str = Field("", alias="_class_name")


def _folder(path: Path, kind: Kind) -> Checkpoint:
    if not (path / "model_index.json").is_file():
        raise refused(path, f"{_why_no_model(path)}; a whole model of diffusers has a model_index.json")
    pipeline = read_config(path / "model_index.json", Index).type
    if not PIPELINES.fullmatch(pipeline):
        raise refused(path, f"is a {pipeline or 'model without a name'}: only SD 1.x and SD 2.x can be loaded")
    unet = read_config(path / "unet" / "config.json", UNetConfig)
    _check_family(path, unet)
    _check_kind(path, unet.in_channels, kind)
    headers = {part: part_header(path / part) for part in PARTS}
    width = unet.cross_attention_dim
    dtype = _dtype(path, headers["unet"])
    return Checkpoint(str(path), "folder", FAMILIES.get(width, Family.UNKNOWN), kind, dtype, width)


def _why_no_model(path: Path) -> str:
    """What a folder is that is no whole model."""
    if (path / "adapter_config.json").is_file() or (path / "pytorch_lora_weights.safetensors").is_file():
        return "is a LoRA"
    if not (path / "config.json").is_file():
        return "is a folder without a model"
    return {
        "UNet2DConditionModel": "is a UNet alone",
        "AutoencoderKL": "is a VAE alone",
        "AutoencoderTiny": "is a TAESD",
        "ControlNetModel": "is a ControlNet",
    }.get(read_config(path / "config.json", Config).type, "is one part of a model")


def _check_family(path: Path, unet: UNetConfig) -> None:
    """Raises RefusedError if the UNet in this folder is not one of SD 1.x or SD 2.x."""
    width = unet.cross_attention_dim
    if unet.addition_embed_type is not None:
        raise refused(path, f"is {Family.SDXL} or alike (its UNet also takes {unet.addition_embed_type})")
    if width > WIDEST_SD1 and FAMILIES.get(width) != Family.SD2:
        raise refused(path, f"is {family_of(width)}: only SD 1.x (768) and SD 2.x (1024) can be loaded")


def part_header(folder: Path) -> Header:
    """The tensors of one part of a model, which is a folder. Raises RefusedError if there are none."""
    files = find_weights(folder, half=False).files
    if not files:
        raise refused(folder, "holds no weights: there is no file like diffusion_pytorch_model.safetensors")
    return {name: tensor for file in files for name, tensor in read_header(file).items()}
