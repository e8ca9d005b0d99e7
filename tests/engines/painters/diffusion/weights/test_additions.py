"""LoRAs, ControlNets, tiny VAEs and textual inversions: which are known, and what is said of those that do not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from support.sd_headers import Shapes, header_file
from support.tiny_sd import WIDTH, Tiny
from warpaint.engines.painters.diffusion.weights import originals
from warpaint.engines.painters.diffusion.weights.additions import (
    ControlNet,
    Embedding,
    Lora,
    inspect_controlnet,
    inspect_embedding,
    inspect_lora,
    inspect_taesd,
)
from warpaint.engines.painters.diffusion.weights.checkpoint import Checkpoint, Family
from warpaint.engines.painters.diffusion.weights.configuration import ControlNetConfig, read_config
from warpaint.engines.painters.diffusion.weights.files import check_pair
from warpaint.engines.painters.diffusion.weights.sd1 import CONFIGURATION
from warpaint.proto.errors import Code, RefusedError


def refusal(inspect: Callable[[], object]) -> str:
    """The sentence that is said."""
    with pytest.raises(RefusedError) as caught:
        inspect()
    assert caught.value.code is Code.UNKNOWN_ENGINE
    return str(caught.value)


def made(folder: Path, tensors: Shapes) -> Path:
    return header_file(folder / "style.v1.safetensors", tensors)


# LoRAs


def test_a_lora_is_known(tiny: Tiny) -> None:
    assert inspect_lora(tiny.lora, WIDTH) == Lora(str(tiny.lora), "lora", 4)
    assert "is a LoRA for an unknown family (cross-attention width 16), but the model is SD 1.x" in refusal(
        lambda: inspect_lora(tiny.lora, 768)
    )


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.default.weight",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora.down.weight",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight",
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight",
    ],
)
def test_the_width_is_found_under_all_names_of_loras(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, {name: (8, 768), "lora_unet_conv_in.lora_down.weight": (8, 4, 3, 3)})
    assert inspect_lora(path, 768) == Lora(str(path), "style.v1", 8)
    sentence = refusal(lambda: inspect_lora(path, 1024))
    assert "is a LoRA for SD 1.x (cross-attention width 768), but the model is SD 2.x" in sentence


def test_what_is_no_lora_is_named(tiny: Tiny, tmp_path: Path) -> None:
    assert "is a model of Stable Diffusion, not a LoRA" in refusal(lambda: inspect_lora(tiny.base_file, WIDTH))
    assert "is a LoHa, a kind of LoRA that is not supported" in refusal(
        lambda: inspect_lora(made(tmp_path, {"lora_unet_mid_block.hada_w1_a": (4, 4)}), WIDTH)
    )
    assert "is a folder: the file in it is needed here" in refusal(lambda: inspect_lora(tiny.base, WIDTH))
    assert "does not exist" in refusal(lambda: inspect_lora(tmp_path / "missing", WIDTH))
    assert "is a LoRA whose layers have no width" in refusal(
        lambda: inspect_lora(made(tmp_path, {"lora_unet_mid_block.lora_down.weight": (4,)}), WIDTH)
    )


# ControlNets


def test_a_controlnet_is_known(tiny: Tiny, tmp_path: Path) -> None:
    assert inspect_controlnet(tiny.canny, WIDTH) == ControlNet(str(tiny.canny), "canny")
    found = inspect_controlnet(tiny.canny_file, WIDTH, tiny.configuration)
    assert found == ControlNet(str(tiny.canny_file), "canny_file")
    weights = shutil.copy(tiny.lineart / "diffusion_pytorch_model.safetensors", tmp_path / "lineart.safetensors")
    assert inspect_controlnet(Path(weights), WIDTH, tiny.configuration).name == "lineart"


def test_a_controlnet_of_another_family_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    assert "is a ControlNet for an unknown family (cross-attention width 16), but the model is SD 1.x" in refusal(
        lambda: inspect_controlnet(tiny.canny, 768)
    )
    tensors: Shapes = {"control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024)}
    assert "is a ControlNet for SD 2.x (cross-attention width 1024), but the model is SD 1.x" in refusal(
        lambda: inspect_controlnet(made(tmp_path, tensors), 768)
    )


@pytest.mark.parametrize("prefix", ["control_model.", ""])
def test_a_controlnet_in_a_single_file_is_whole(tmp_path: Path, prefix: str) -> None:
    config = read_config(CONFIGURATION / "controlnet" / "config.json", ControlNetConfig)
    names = [prefix + name.removeprefix("control_model.") for name in originals.controlnet(config)]
    assert inspect_controlnet(made(tmp_path, dict.fromkeys(names, (4,))), 768).name == "style.v1"
    sentence = refusal(lambda: inspect_controlnet(made(tmp_path, dict.fromkeys(names[:-5], (4,))), 768))
    assert "lacks tensors of the ControlNet: control_model.input_hint_block.10.bias, " in sentence


def test_what_is_no_controlnet_is_named(tiny: Tiny) -> None:
    assert "is a LoRA, not a ControlNet" in refusal(lambda: inspect_controlnet(tiny.lora, WIDTH))
    assert "is of the class AutoencoderTiny, not a ControlNet" in refusal(lambda: inspect_controlnet(tiny.taesd, WIDTH))
    assert "is a folder without a config.json, not a ControlNet of diffusers" in refusal(
        lambda: inspect_controlnet(tiny.base, WIDTH)
    )


# TAESD


def test_a_taesd_is_known(tiny: Tiny, tmp_path: Path) -> None:
    inspect_taesd(tiny.taesd)
    assert "is of the class AutoencoderKL, not a TAESD" in refusal(lambda: inspect_taesd(tiny.base / "vae"))
    half = made(tmp_path, {"0.weight": (64, 3, 3, 3), "1.conv.0.weight": (64, 64, 3, 3)})
    sentence = refusal(lambda: inspect_taesd(half))
    assert "is one half of a TAESD, as its author published it: a TAESD is given as a folder of diffusers" in sentence


def test_a_taesd_for_other_latents_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.taesd, tmp_path / "taesd")
    values = json.loads((folder / "config.json").read_text()) | {"latent_channels": 16}
    (folder / "config.json").write_text(json.dumps(values))
    assert "is a TAESD for latents of 16 channels; Stable Diffusion's have 4" in refusal(lambda: inspect_taesd(folder))


# Textual inversions


@pytest.mark.parametrize(
    "content",
    [
        {"emb_params": torch.zeros(3, WIDTH)},
        {"<charcoal>": torch.zeros(3, WIDTH)},
        {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(3, WIDTH)}, "name": "x", "step": 9},
    ],
    ids=["emb_params", "diffusers", "web ui"],
)
def test_a_textual_inversion_is_known(tmp_path: Path, content: dict[str, object]) -> None:
    path = tmp_path / "charcoal.pt"
    torch.save(content, path)
    assert inspect_embedding(path, WIDTH) == Embedding(str(path), "charcoal", 3)


def test_a_textual_inversion_has_the_width_of_the_model(tiny: Tiny, tmp_path: Path) -> None:
    assert inspect_embedding(tiny.embedding, WIDTH).vectors == 2
    assert inspect_embedding(made(tmp_path, {"<word>": (768,)}), 768).vectors == 1
    assert "is a textual inversion for SD 2.x (cross-attention width 1024), but the model is SD 1.x" in refusal(
        lambda: inspect_embedding(made(tmp_path, {"emb_params": (1, 1024)}), 768)
    )
    assert "is a textual inversion for SDXL" in refusal(
        lambda: inspect_embedding(made(tmp_path, {"clip_l": (1, 768), "clip_g": (1, 1280)}), 768)
    )
    assert "is a LoRA, not a textual inversion" in refusal(lambda: inspect_embedding(tiny.lora, WIDTH))


# Two models of different families


def test_models_of_different_families_are_no_pair() -> None:
    base = Checkpoint("base", "single", Family.SD1, "base", "fp16", 768)
    check_pair(base, None)
    check_pair(base, Checkpoint("inpaint", "folder", Family.SD1, "inpaint", "fp32", 768))
    check_pair(base, Checkpoint("org/inpaint", "hub", Family.UNKNOWN, "inpaint", "unknown", 0))
    with pytest.raises(
        RefusedError, match=r"'inpaint' is an inpainting model of .*2.*, but the model is .*1.*one family"
    ):
        check_pair(base, Checkpoint("inpaint", "single", Family.SD2, "inpaint", "fp16", 1024))
