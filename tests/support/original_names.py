"""The names that tensors have in original checkpoints, from those that diffusers and transformers give them.

After diffusers' script convert_diffusers_to_original_stable_diffusion.py, for four levels of two layers, as in SD 1.x.
"""

import re
from collections.abc import Callable, Mapping

import torch

Tensors = Mapping[str, torch.Tensor]
Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


def number(match: re.Match[str], group: int) -> int:
    return int(match[group])


RESIDUAL: Rules = (
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
)
ENCODER: Rules = (
    (r"^time_embedding\.linear_(\d)", lambda m: f"time_embed.{2 * number(m, 1) - 2}"),
    (r"^conv_in", "input_blocks.0.0"),
    (r"^down_blocks\.(\d)\.resnets\.(\d)", lambda m: f"input_blocks.{3 * number(m, 1) + number(m, 2) + 1}.0"),
    (r"^down_blocks\.(\d)\.attentions\.(\d)", lambda m: f"input_blocks.{3 * number(m, 1) + number(m, 2) + 1}.1"),
    (r"^down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{3 * number(m, 1) + 3}.0.op"),
    (r"^mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * number(m, 1)}"),
    (r"^mid_block\.attentions\.0", "middle_block.1"),
)
DECODER: Rules = (
    (r"^up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"output_blocks.{3 * number(m, 1) + number(m, 2)}.0"),
    (r"^up_blocks\.(\d)\.attentions\.(\d)", lambda m: f"output_blocks.{3 * number(m, 1) + number(m, 2)}.1"),
    # The deepest level has no attention before it.
    (r"^up_blocks\.0\.upsamplers\.0", "output_blocks.2.1"),
    (r"^up_blocks\.(\d)\.upsamplers\.0", lambda m: f"output_blocks.{3 * number(m, 1) + 2}.2"),
    (r"^conv_norm_out", "out.0"),
    (r"^conv_out", "out.2"),
)
CONTROL: Rules = (
    (r"^controlnet_cond_embedding\.conv_in", "input_hint_block.0"),
    (r"^controlnet_cond_embedding\.blocks\.(\d)", lambda m: f"input_hint_block.{2 * number(m, 1) + 2}"),
    (r"^controlnet_cond_embedding\.conv_out", "input_hint_block.14"),
    (r"^controlnet_down_blocks\.(\d+)", r"zero_convs.\1.0"),
    (r"^controlnet_mid_block", "middle_block_out.0"),
)
VAE: Rules = (
    (r"\.down_blocks\.(\d)\.resnets\.", r".down.\1.block."),
    (r"\.down_blocks\.(\d)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.up_blocks\.(\d)\.resnets\.", lambda m: f".up.{3 - number(m, 1)}.block."),
    (r"\.up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f".up.{3 - number(m, 1)}.upsample."),
    (r"\.mid_block\.resnets\.(\d)", lambda m: f".mid.block_{number(m, 1) + 1}"),
    (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
    (r"attn_1\.group_norm\.", "attn_1.norm."),
    (r"attn_1\.to_([qkv])\.", r"attn_1.\1."),
    (r"attn_1\.to_out\.0\.", "attn_1.proj_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
)


def original_unet(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {f"model.diffusion_model.{unet_name(name)}": each for name, each in tensors.items()}


def original_controlnet(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {f"control_model.{changed(unet_name(name), CONTROL)}": each for name, each in tensors.items()}


def original_vae(tensors: Tensors) -> dict[str, torch.Tensor]:
    named = {f"first_stage_model.{changed(name, VAE)}": each for name, each in tensors.items()}
    # The original attention is made of convolutions over one pixel.
    return {
        name: each[:, :, None, None] if ".attn_1." in name and each.ndim == 2 else each for name, each in named.items()
    }


def original_text(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Text encoders of transformers before 5.6 had all their tensors below `text_model`, and so have checkpoints."""
    below = "cond_stage_model.transformer.text_model."
    named = {below + name.removeprefix("text_model."): each for name, each in tensors.items()}
    return named | {f"{below}embeddings.position_ids": torch.arange(77)[None]}


def unet_name(name: str) -> str:
    rules = (*RESIDUAL, *ENCODER, *DECODER) if ".resnets." in name else (*ENCODER, *DECODER)
    return changed(name, rules)


def changed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
