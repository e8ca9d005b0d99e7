"""Loading: the same tensors from every layout, whole, frozen, without the network and without running anything."""

import re
import shutil
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from diffusers import PNDMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from support.tiny_sd import WIDTH, Tiny
from warpaint.engines.painters.diffusion.weights import loading
from warpaint.engines.painters.diffusion.weights.additions import inspect_embedding, inspect_lora
from warpaint.engines.painters.diffusion.weights.checkpoint import Checkpoint, Kind, inspect_model
from warpaint.engines.painters.diffusion.weights.loading import (
    add_embedding,
    add_lora,
    load_controlnet,
    load_pipeline,
    load_taesd,
)
from warpaint.proto.errors import RefusedError

PARTS = ("unet", "vae", "text_encoder")
CLIP = "cond_stage_model.transformer."
OPEN_CLIP_NAMES = (
    (r"^embeddings\.token_embedding", "token_embedding"),
    (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^final_layer_norm", "ln_final"),
    (r"^encoder\.layers", "transformer.resblocks"),
    (r"\.layer_norm(\d)", r".ln_\1"),
    (r"\.self_attn", ".attn"),
    (r"\.fc1", ".c_fc"),
    (r"\.fc2", ".c_proj"),
)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)


@pytest.fixture(autouse=True)
def _quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is written while models are loaded: no progress bars, no remarks."""
    capfd.readouterr()
    yield
    assert capfd.readouterr() == ("", "")


def load(tiny: Tiny, path: Path, kind: Kind = "base", dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
    checkpoint = inspect_model(str(path), kind=kind, configuration=tiny.configuration)
    return load_pipeline(checkpoint, dtype=dtype, configuration=tiny.configuration)


def tensors(pipeline: StableDiffusionPipeline) -> dict[str, torch.Tensor]:
    states = {part: getattr(pipeline, part).state_dict() for part in PARTS}
    return {f"{part}.{name}": tensor for part, state in states.items() for name, tensor in state.items()}


def same(some: StableDiffusionPipeline, other: StableDiffusionPipeline) -> bool:
    ours, theirs = tensors(some), tensors(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@torch.no_grad()
def context(pipeline: StableDiffusionPipeline, prompt: str = "a cat") -> torch.Tensor:
    """What the text encoder makes of a prompt."""
    text = pipeline.maybe_convert_prompt(prompt, pipeline.tokenizer)
    ids = pipeline.tokenizer(text, return_tensors="pt", padding="max_length").input_ids
    return pipeline.text_encoder(ids)[0]


@torch.no_grad()
def noise(pipeline: StableDiffusionPipeline) -> torch.Tensor:
    """What the UNet predicts, of fixed inputs."""
    dice = torch.Generator().manual_seed(0)
    latent = torch.randn(1, pipeline.unet.config.in_channels, 8, 8, generator=dice)
    return pipeline.unet(latent, 500, torch.ones(1, 77, WIDTH))[0]


# Models


def test_every_layout_gives_the_same_model(tiny: Tiny) -> None:
    folder = load(tiny, tiny.base)
    assert same(load(tiny, tiny.base_file), folder)
    assert same(load(tiny, tiny.base_ckpt), folder)
    assert same(load(tiny, tiny.inpaint_file, "inpaint"), load(tiny, tiny.inpaint, "inpaint"))
    saved = load_file(tiny.base / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(folder.unet.state_dict()[name], tensor) for name, tensor in saved.items())


@pytest.mark.parametrize("name", ["base", "base_file", "base_half_file"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_all_parts_are_frozen_and_of_the_dtype(tiny: Tiny, name: str, dtype: torch.dtype) -> None:
    pipeline = load(tiny, getattr(tiny, name), dtype=dtype)
    for part in PARTS:
        model = getattr(pipeline, part)
        assert not model.training
        assert {(each.dtype, each.requires_grad, each.device.type) for each in model.parameters()} == {
            (dtype, False, "cpu")
        }
    assert (pipeline.safety_checker, pipeline.feature_extractor) == (None, None)
    assert isinstance(pipeline.scheduler, PNDMScheduler)
    assert pipeline.scheduler.config.steps_offset == 1
    assert pipeline.tokenizer("a").input_ids == [512, 320, 513]


def test_an_inpaint_model_takes_nine_channels(tiny: Tiny) -> None:
    for path in (tiny.inpaint, tiny.inpaint_file):
        assert load(tiny, path, "inpaint").unet.config.in_channels == 9


def test_names_of_old_merges_are_known(tiny: Tiny, tmp_path: Path) -> None:
    short = {name.replace(".text_model.", "."): each for name, each in load_file(tiny.base_file).items()}
    save_file(short, tmp_path / "merge.safetensors")
    assert same(load(tiny, tmp_path / "merge.safetensors"), load(tiny, tiny.base))


def test_names_of_old_folders_are_known(tiny: Tiny, tmp_path: Path) -> None:
    """Before 5.6 transformers put `text_model` before all names of a text encoder, and stored its position_ids."""
    folder = shutil.copytree(tiny.base, tmp_path / "old")
    file = folder / "text_encoder" / "model.safetensors"
    old = {f"text_model.{name.removeprefix('text_model.')}": each for name, each in load_file(file).items()}
    save_file(old | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, file, {"format": "pt"})
    assert same(load(tiny, folder), load(tiny, tiny.base))


def test_the_text_encoder_of_sd2_is_understood(tiny: Tiny, tmp_path: Path) -> None:
    held = load_file(tiny.base_file)
    text = {name: held.pop(name) for name in list(held) if name.startswith(CLIP)}
    save_file(held | open_clip(text), tmp_path / "sd2.safetensors")
    assert same(load(tiny, tmp_path / "sd2.safetensors"), load(tiny, tiny.base))


def open_clip(text: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a text encoder under the names of OpenCLIP, where queries, keys and values are one matrix."""
    named: dict[str, torch.Tensor] = {}
    for name, tensor in text.items():
        short = name.removeprefix(f"{CLIP}text_model.")
        for pattern, new in OPEN_CLIP_NAMES:
            short = re.sub(pattern, new, short)
        named[f"cond_stage_model.model.{short}"] = tensor
    for name in [name for name in named if ".q_proj." in name]:
        parts = [named.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        named[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    return named


def test_halved_files_are_found(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.base, tmp_path / "halved")
    for file in folder.rglob("*.safetensors"):
        halves = {name: tensor.half() for name, tensor in load_file(file).items()}
        save_file(halves, file.with_suffix(".fp16.safetensors"), {"format": "pt"})
        if file.parent.name != "vae":  # some models come with both
            file.unlink()
    assert inspect_model(str(folder), kind="base").dtype == "fp16"
    assert same(load(tiny, folder, dtype=torch.float16), load(tiny, tiny.base_half_file, dtype=torch.float16))
    assert load(tiny, folder).unet.dtype == torch.float32


def test_torch_files_in_a_folder_are_read_as_tensors_alone(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.base, tmp_path / "old")
    for file in folder.rglob("*.safetensors"):
        name = "pytorch_model.bin" if file.stem == "model" else f"{file.stem}.bin"
        torch.save(load_file(file), file.with_name(name))
        file.unlink()
    assert same(load(tiny, folder), load(tiny, tiny.base))


def test_the_configuration_of_the_package_is_the_default(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def written(folder: Path, *, inpaint: bool) -> Path:
        asked.append((folder, inpaint))
        return Path(shutil.copytree(tiny.configuration, folder, dirs_exist_ok=True))

    monkeypatch.setattr(loading, "written", written)
    checkpoint = inspect_model(str(tiny.inpaint_file), kind="inpaint", configuration=tiny.configuration)
    assert load_pipeline(checkpoint, dtype=torch.float32).unet.config.in_channels == 9
    ((folder, inpaint),) = asked
    assert inpaint
    assert not folder.exists()


def test_what_is_not_whole_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.base, tmp_path / "cut")
    for part, name in (("unet", "conv_in.bias"), ("text_encoder", "final_layer_norm.bias")):
        file = next((folder / part).glob("*.safetensors"))
        whole = load_file(file)
        save_file({key: each for key, each in whole.items() if not key.endswith(name)}, file, {"format": "pt"})
        with pytest.raises(RefusedError, match=rf"'{folder / part}' lacks tensors: (text_model\.)?{name}$"):
            load(tiny, folder)
        save_file(whole, file, {"format": "pt"})
    assert same(load(tiny, folder), load(tiny, tiny.base))


def test_a_tensor_of_another_shape_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    held = load_file(tiny.base_file)
    held["model.diffusion_model.out.0.weight"] = torch.zeros(3)
    save_file(held, tmp_path / "odd.safetensors")
    with pytest.raises(RefusedError, match=r"odd\.safetensors' cannot be loaded: ValueError: .*conv_norm_out"):
        load(tiny, tmp_path / "odd.safetensors")


def test_a_scheduler_that_is_none_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.base, tmp_path / "odd")
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("PNDMScheduler", "UNet2DConditionModel"))
    with pytest.raises(RefusedError, match="asks for a scheduler 'UNet2DConditionModel', which diffusers has not"):
        load(tiny, folder)


def test_warnings_are_as_they_were_after_it(tiny: Tiny) -> None:
    before = list(warnings.filters)
    load(tiny, tiny.base)
    assert warnings.filters == before


# The hub


def test_the_hub_is_asked_for_a_name_alone(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def download(name: str, variant: str | None = None, **_: object) -> str:
        asked.append((name, variant))
        if variant:
            raise ValueError("no such variant")
        return str(tiny.base)

    monkeypatch.setattr(StableDiffusionPipeline, "download", download)
    checkpoint = inspect_model("org/name", kind="base")
    assert same(load_pipeline(checkpoint, dtype=torch.float16), load(tiny, tiny.base, dtype=torch.float16))
    assert asked == [("org/name", "fp16"), ("org/name", None)]
    with pytest.raises(RefusedError, match="is a base model"):
        load_pipeline(inspect_model("org/name", kind="inpaint"), dtype=torch.float32)


def test_a_hub_that_does_not_answer_is_a_refusal() -> None:
    checkpoint = inspect_model("org/name", kind="base")
    assert isinstance(checkpoint, Checkpoint)
    with pytest.raises(RefusedError, match=r"^'org/name' cannot be loaded: "):
        load_pipeline(checkpoint, dtype=torch.float32)


# What goes with them


def test_a_taesd_is_loaded(tiny: Tiny) -> None:
    taesd = load_taesd(tiny.taesd, torch.float16)
    assert {(each.dtype, each.requires_grad) for each in taesd.parameters()} == {(torch.float16, False)}


def test_controlnets_are_loaded_from_folders_and_files(tiny: Tiny) -> None:
    folder = load_controlnet(tiny.canny, torch.float32)
    file = load_controlnet(tiny.canny_file, torch.float32, tiny.configuration)
    ours, theirs = folder.state_dict(), file.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not folder.training
    assert not any(each.requires_grad for each in file.parameters())


@pytest.mark.parametrize(("name", "kind"), [("base", "base"), ("inpaint_file", "inpaint")])
def test_a_lora_changes_unet_and_text_encoder(tiny: Tiny, tmp_path: Path, name: str, kind: Kind) -> None:
    pipeline = load(tiny, getattr(tiny, name), kind)
    plain = context(pipeline), noise(pipeline)
    dotted = Path(shutil.copy(tiny.lora, tmp_path / "style.v1.safetensors"))
    adapters = [add_lora(pipeline, inspect_lora(path, WIDTH)) for path in (dotted, tiny.other_lora)]
    assert adapters == ["style_v1", "other_lora"]
    assert not any(each.requires_grad for part in PARTS for each in getattr(pipeline, part).parameters())
    for adapter in adapters:
        pipeline.set_adapters([adapter], [1.0])
        changed = context(pipeline), noise(pipeline)
        assert all((before - after).abs().max() > 0.1 for before, after in zip(plain, changed, strict=True))
    pipeline.set_adapters(adapters, [0.0, 0.0])
    assert torch.equal(context(pipeline), plain[0])
    with pytest.raises(RefusedError, match="already in use"):
        add_lora(pipeline, inspect_lora(dotted, WIDTH))


def test_a_textual_inversion_becomes_a_word(tiny: Tiny) -> None:
    pipeline = load(tiny, tiny.base)
    before = context(pipeline, "a cat"), context(pipeline, "an embedding")
    add_embedding(pipeline, inspect_embedding(tiny.embedding, WIDTH))
    after = context(pipeline, "a cat"), context(pipeline, "an embedding")
    assert torch.equal(before[0], after[0])
    assert (before[1] - after[1]).abs().max() > 0.1
    weights = pipeline.text_encoder.get_input_embeddings().weight
    assert torch.equal(weights[-2:], load_file(tiny.embedding)["emb_params"])
    assert not weights.requires_grad
    with pytest.raises(RefusedError, match="Token embedding already in tokenizer vocabulary"):
        add_embedding(pipeline, inspect_embedding(tiny.embedding, WIDTH))
