"""Files that look like real checkpoints to whoever reads their headers: gigabytes in size, on disk a few kilobytes."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from support.original_names import original_text, original_unet, original_vae
from warpaint.engines.painters.diffusion.weights.sd1 import CONFIGURATION

BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F8_E4M3": 1}
SD2_UNET: dict[str, Any] = {
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
SDXL_UNET: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
}
Shapes = dict[str, tuple[int, ...]]


def config(part: str) -> dict[str, Any]:
    """What the package's configuration of SD 1.x says of this part."""
    return json.loads((CONFIGURATION / part / "config.json").read_text(encoding="utf-8"))


def sd1_shapes(channels: int = 4) -> Shapes:
    """The tensors of SD 1.x."""
    return unet_shapes(in_channels=channels) | other_shapes()


@cache
def unet_shapes(**changes: Any) -> Shapes:
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config("unet") | changes)
    return shapes(original_unet(unet.state_dict()))


@cache
def other_shapes() -> Shapes:
    """The tensors of the VAE and the text encoder of SD 1.x."""
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(config("vae"))
        text_encoder = CLIPTextModel(CLIPTextConfig(**config("text_encoder")))
    return shapes(original_vae(vae.state_dict()) | original_text(text_encoder.state_dict()))


def shapes(tensors: dict[str, torch.Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def header_file(path: Path, tensors: Shapes, dtype: str = "F16") -> Path:
    """A safetensors file with these tensors, all zeros, which take no place on the disk."""
    header, end = {}, 0
    for name, shape in tensors.items():
        start, end = end, end + BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path
