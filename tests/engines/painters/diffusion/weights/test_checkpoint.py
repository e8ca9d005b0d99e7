"""What lies at a path: each thing that can be there by mistake is named, and none but RefusedError is raised."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from support.sd_headers import SD2_UNET, SDXL_UNET, Shapes, config, header_file, other_shapes, sd1_shapes, unet_shapes
from support.tiny_sd import Tiny
from warpaint.engines.painters.diffusion.weights import originals
from warpaint.engines.painters.diffusion.weights.checkpoint import Checkpoint, Family, inspect_model
from warpaint.engines.painters.diffusion.weights.configuration import TextConfig, UNetConfig, VaeConfig, read_config
from warpaint.engines.painters.diffusion.weights.sd1 import CONFIGURATION
from warpaint.proto.errors import Code, RefusedError

UNET = "model.diffusion_model."


def refusal(path: Path | str, **options: Any) -> str:
    """The sentence that this path is refused with as a base model."""
    with pytest.raises(RefusedError) as caught:
        inspect_model(str(path), **({"kind": "base"} | options))
    assert caught.value.code is Code.UNKNOWN_ENGINE
    assert str(caught.value).startswith("'/")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of the base model, to be spoilt."""
    return shutil.copytree(tiny.base, tmp_path / "model")


# Single files with the real sizes


def test_the_names_are_those_that_the_models_have() -> None:
    unet = originals.unet(read_config(CONFIGURATION / "unet" / "config.json", UNetConfig))
    vae = originals.vae(read_config(CONFIGURATION / "vae" / "config.json", VaeConfig))
    clip = originals.clip(read_config(CONFIGURATION / "text_encoder" / "config.json", TextConfig))
    position_ids = "cond_stage_model.transformer.text_model.embeddings.position_ids"
    assert sorted([*unet, *vae, *clip, position_ids]) == sorted(sd1_shapes())


@pytest.mark.parametrize(("stored", "dtype"), [("F16", "fp16"), ("BF16", "bf16"), ("F32", "fp32")])
def test_a_single_file_of_sd1_is_known(tmp_path: Path, stored: str, dtype: str) -> None:
    path = header_file(tmp_path / "model.safetensors", sd1_shapes(), stored)
    found = inspect_model(str(path), kind="base")
    assert found == Checkpoint(str(path), "single", Family.SD1, "base", dtype, 768)


def test_an_inpaint_model_is_known(tmp_path: Path) -> None:
    path = header_file(tmp_path / "model.safetensors", sd1_shapes(channels=9))
    assert inspect_model(str(path), kind="inpaint").kind == "inpaint"
    assert "is an inpaint model: its UNet takes 9 channels, but a base model takes 4" in refusal(path)


def test_a_base_model_is_no_inpaint_model(tmp_path: Path) -> None:
    path = header_file(tmp_path / "model.safetensors", sd1_shapes())
    assert "is a base model: its UNet takes 4 channels, but an inpaint model takes 9" in refusal(path, kind="inpaint")


def test_text_encoders_of_some_merges_are_named_otherwise(tmp_path: Path) -> None:
    short = {name.replace("transformer.text_model.", "transformer."): each for name, each in sd1_shapes().items()}
    assert short.keys() != sd1_shapes().keys()
    assert inspect_model(str(header_file(tmp_path / "model.safetensors", short)), kind="base").family == Family.SD1


def test_nothing_heavy_is_loaded_for_it(tmp_path: Path) -> None:
    path = header_file(tmp_path / "model.safetensors", sd1_shapes())
    code = (
        "import sys; from warpaint.engines.painters.diffusion.weights.checkpoint import inspect_model;"
        f"print(inspect_model({str(path)!r}, kind='base').family, {{'torch', 'diffusers'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "SD 1.x set()\n"


def sd2_shapes() -> Shapes:
    text = originals.open_clip(TextConfig(num_hidden_layers=23))
    return unet_shapes(**SD2_UNET) | other_shapes() | dict.fromkeys(text, (1024,))


def test_sd2_needs_a_configuration_of_its_own(tmp_path: Path) -> None:
    tensors = {name: each for name, each in sd2_shapes().items() if not name.startswith(originals.CLIP)}
    path = header_file(tmp_path / "model.safetensors", tensors)
    assert (
        "is SD 2.x (cross-attention width 1024), but its configuration is that of SD 1.x (cross-attention width 768)"
        in refusal(path)
    )
    folder = shutil.copytree(CONFIGURATION, tmp_path / "sd2")
    (folder / "unet" / "config.json").write_text(json.dumps(config("unet") | SD2_UNET))
    (folder / "text_encoder" / "config.json").write_text(json.dumps({"num_hidden_layers": 23}))
    found = inspect_model(str(path), kind="base", configuration=folder)
    assert (found.family, found.context_width) == (Family.SD2, 1024)


def test_sdxl_is_known_by_its_width_and_by_its_text_encoders(tmp_path: Path) -> None:
    tensors = unet_shapes(**SDXL_UNET) | other_shapes()
    assert "is SDXL (cross-attention width 2048)" in refusal(header_file(tmp_path / "a.safetensors", tensors))
    tensors["conditioner.embedders.0.transformer.text_model.final_layer_norm.bias"] = (768,)
    assert "is an SDXL checkpoint" in refusal(header_file(tmp_path / "b.safetensors", tensors))


def without(prefix: str) -> Callable[[Shapes], Shapes]:
    return lambda tensors: {name: each for name, each in tensors.items() if not name.startswith(prefix)}


def with_conv_in(*shape: int) -> Callable[[Shapes], Shapes]:
    return lambda tensors: tensors | {f"{UNET}input_blocks.0.0.weight": shape}


def instead(*names: str) -> Callable[[Shapes], Shapes]:
    return lambda _: dict.fromkeys(names, (4, 4))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("first_stage_model."), "holds no VAE: a whole model is needed, with UNet, VAE and text encoder"),
        (without("cond_stage_model."), "holds no text encoder: a whole model is needed"),
        (without(f"{UNET}input_blocks.0."), "lacks tensors of the UNet: model.diffusion_model.input_blocks.0.0.bias, "),
        (without(f"{UNET}out."), "model.diffusion_model.out.2.bias and 1 more"),
        (
            without("first_stage_model.decoder.up.3."),
            "lacks tensors of the VAE: first_stage_model.decoder.up.3.block.0",
        ),
        (with_conv_in(320, 8, 3, 3), "is an instruct-pix2pix model: its UNet takes 8 channels"),
        (with_conv_in(320, 5, 3, 3), "is a depth model: its UNet takes 5 channels"),
        (with_conv_in(320, 6, 3, 3), "is a model of no known kind: its UNet takes 6 channels"),
        (instead("lora_unet_mid_block_attn2_to_k.lora_down.weight"), "is a LoRA: a whole model of SD 1.x or SD 2.x"),
        (instead("unet.mid_block.attn2.to_k.lora_A.weight"), "is a LoRA"),
        (instead("lora_unet_mid_block_attn2_to_k.hada_w1_a"), "is a LoHa, a kind of LoRA that is not supported"),
        (instead("lora_unet_mid_block_attn2_to_k.lokr_w1"), "is a LoKr, a kind of LoRA that is not supported"),
        (instead("lora_controlnet"), "is a Control-LoRA"),
        (instead("control_model.time_embed.0.weight"), "is a ControlNet"),
        (instead("controlnet_cond_embedding.conv_in.weight"), "is a ControlNet"),
        (instead("body.0.in_conv.weight"), "is a T2I-Adapter"),
        (instead("double_blocks.0.img_attn.norm.key_norm.scale"), "is a Flux checkpoint"),
        (instead(f"{UNET}joint_blocks.0.x_block.attn.qkv.weight"), "is an SD 3 checkpoint"),
        (instead("down_blocks.0.resnets.0.conv1.weight"), "is a UNet alone, as diffusers names it"),
        (instead("encoder.down.0.block.0.conv1.weight"), "is a VAE alone"),
        (instead("text_model.embeddings.token_embedding.weight"), "is a text encoder alone"),
        (instead("emb_params"), "is a textual inversion"),
        (instead("1.conv.0.weight"), "is one half of a TAESD"),
        (instead("something"), "is a file of tensors of no known kind"),
        (instead(), "is a file of tensors of no known kind"),
    ],
)
def test_what_is_no_whole_model_is_named(tmp_path: Path, change: Callable[[Shapes], Shapes], sentence: str) -> None:
    assert sentence in refusal(header_file(tmp_path / "model.safetensors", change(sd1_shapes())))


def test_eight_bit_weights_are_refused(tmp_path: Path) -> None:
    path = header_file(tmp_path / "model.safetensors", sd1_shapes(), "F8_E4M3")
    assert "is stored as F8_E4M3: fp16, bf16 and fp32 can be read" in refusal(path)


# Files that are none


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1f\nsize 9\n", "is a pointer of git-lfs"),
        (b"\n<!DOCTYPE html><html>", "is a web page that was saved under this name"),
        (b"<html lang=en>", "is a web page"),
        (b"GGUF\3\0\0\0", "is a GGUF file"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "is a torch file of before 2020"),
        (b"hello", "is neither a safetensors nor a torch file"),
        (b"\x40\0\0\0\0\0\0\0{", "is a safetensors file that is cut short or damaged"),
        (b"\x02\0\0\0\0\0\0\0{]", "is a safetensors file that is cut short or damaged"),
        (b"PK\x03\x04 and no more", "is a torch file that is cut short or damaged"),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_a_file_of_another_kind_is_named(tmp_path: Path, suffix: str, content: bytes, sentence: str) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(content)
    assert sentence in refusal(path)


def test_a_file_that_is_cut_short_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    for source in (tiny.base_file, tiny.base_ckpt):
        path = tmp_path / source.name
        path.write_bytes(source.read_bytes()[:-100_000])
        assert "is cut short or damaged" in refusal(path, configuration=tiny.configuration)


class Malicious:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_code_in_a_torch_file_is_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "model.ckpt", tmp_path / "marker"
    torch.save({"state_dict": {f"{UNET}out.0.weight": torch.zeros(1)}, "x": Malicious(marker)}, path)
    assert "wants code to be run when it is read, which is not done: use safetensors" in refusal(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the file would have been harmless"


def test_code_in_a_folder_is_not_run(folder: Path, tmp_path: Path) -> None:
    weights, marker = folder / "text_encoder" / "model.safetensors", tmp_path / "marker"
    weights.unlink()
    torch.save({"x": Malicious(marker)}, weights.with_name("pytorch_model.bin"))
    assert "pytorch_model.bin' wants code to be run when it is read" in refusal(folder)
    assert not marker.exists()


def test_a_torch_file_without_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save([1, 2], path)
    assert "holds no tensors by name: it is a list" in refusal(path)


@pytest.mark.parametrize("of", ["base_half_file", "base_ckpt"])
def test_damage_raises_nothing_else(tiny: Tiny, tmp_path: Path, of: str) -> None:
    whole, dice = getattr(tiny, of).read_bytes(), random.Random(of)
    # The header is at the beginning of one, and what says where things are at both ends of the other.
    reach, path = 60_000, tmp_path / "model.any"
    refusals = 0
    for _ in range(60):
        damaged = bytearray(whole if dice.random() < 0.7 else whole[: dice.randrange(len(whole))])
        for _ in range(dice.choice([1, 3, 30])):
            place = dice.randrange(min(reach, len(damaged)))
            damaged[place if dice.random() < 0.5 else -1 - place] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            inspect_model(str(path), kind="base", configuration=tiny.configuration)
        except RefusedError:
            refusals += 1
    assert refusals > 10


# Paths


@pytest.mark.parametrize("name", ["stabilityai/sd-turbo", "Lykon/dreamshaper-7", "runwayml/stable-diffusion-v1.5"])
def test_a_name_of_the_hub_is_left_to_be_asked_for(name: str) -> None:
    found = inspect_model(name, kind="inpaint")
    assert found == Checkpoint(name, "hub", Family.UNKNOWN, "inpaint", "unknown", 0)


@pytest.mark.parametrize(
    "name",
    [
        *("model", "./org/name", "../name", "/org/name", "~/name", "org/name/", "a/b/c", "org/name.safetensors"),
        *("models/name.ckpt", "http://host", "org/na me", "org/\0", "x" * 5000),
    ],
)
def test_other_paths_without_a_file_are_refused(name: str) -> None:
    with pytest.raises(RefusedError, match=r"does not exist|cannot be read"):
        inspect_model(name, kind="base")


# Folders


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_folder_is_known(tiny: Tiny) -> None:
    assert inspect_model(str(tiny.base), kind="base") == Checkpoint(
        str(tiny.base), "folder", Family.UNKNOWN, "base", "fp32", 16
    )
    assert inspect_model(str(tiny.inpaint), kind="inpaint").kind == "inpaint"
    assert "is an inpaint model: its UNet takes 9 channels, but a base model takes 4" in refusal(tiny.inpaint)


@pytest.mark.parametrize(("width", "family"), [(768, Family.SD1), (1024, Family.SD2), (320, Family.UNKNOWN)])
def test_a_folder_says_itself_what_family_it_is_of(folder: Path, width: int, family: Family) -> None:
    change(folder / "unet" / "config.json", cross_attention_dim=width)
    assert inspect_model(str(folder), kind="base").family is family


def test_folders_of_other_families_are_refused(folder: Path) -> None:
    change(folder / "unet" / "config.json", cross_attention_dim=2048)
    assert "is SDXL (cross-attention width 2048): only SD 1.x (768) and SD 2.x (1024) can be loaded" in refusal(folder)
    change(folder / "unet" / "config.json", cross_attention_dim=900)
    assert "is an unknown family (cross-attention width 900)" in refusal(folder)
    change(folder / "unet" / "config.json", cross_attention_dim=768, addition_embed_type="text_time")
    assert "is SDXL or alike (its UNet also takes text_time)" in refusal(folder)
    change(folder / "model_index.json", _class_name="StableDiffusionXLPipeline")
    assert "is a StableDiffusionXLPipeline: only SD 1.x and SD 2.x can be loaded" in refusal(folder)


def test_parts_of_a_model_are_named(tiny: Tiny, tmp_path: Path) -> None:
    assert "is a UNet alone; a whole model of diffusers has a model_index.json" in refusal(tiny.base / "unet")
    assert "is a VAE alone" in refusal(tiny.base / "vae")
    assert "is one part of a model" in refusal(tiny.base / "text_encoder")
    assert "is a ControlNet" in refusal(tiny.canny)
    assert "is a TAESD" in refusal(tiny.taesd)
    assert "is a folder without a model" in refusal(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "is a LoRA" in refusal(tmp_path)


def test_what_a_folder_lacks_is_named(folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert f"'{weights}' is a pointer of git-lfs" in refusal(folder)
    weights.rename(weights.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    assert f"'{weights.parent}' holds no weights" in refusal(folder)
    (folder / "unet" / "config.json").write_text('{"in_channels": 4}')
    assert "is not what it should be: cross_attention_dim: Field required" in refusal(folder)
    (folder / "unet" / "config.json").write_text("{")
    assert "is not what it should be: Invalid JSON" in refusal(folder)
    (folder / "unet" / "config.json").unlink()
    assert "cannot be read: No such file or directory" in refusal(folder)


def test_halved_weights_in_shards_are_found(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16-00001-of-00001.safetensors"))
    assert inspect_model(str(folder), kind="base").layout == "folder"
