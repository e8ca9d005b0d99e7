"""Tiny models in the shape of SD 1.5: the same topology, narrow, with seeded random weights.

They paint nothing that one would hang on a wall, but prompt, strength, seed, mask, picture and control all move what
they paint. Each is the same to the byte whenever it is made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from support.original_names import original_controlnet, original_text, original_unet, original_vae
from warpaint.engines.painters.diffusion.weights.sd1 import byte_letters

WIDTH = 16  # of the context
LATENT_SCALE = 0.18215
CONTROL_SEED = {"canny": 50, "lineart": 51}
RANK = 4

UNET: dict[str, Any] = {
    "block_out_channels": (8, 16, 16, 16),
    "norm_num_groups": 4,
    "attention_head_dim": 2,  # the number of heads: in SD 1.x the field is named wrongly
    "cross_attention_dim": WIDTH,
    "layers_per_block": 2,
    "sample_size": 64,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}
VAE: dict[str, Any] = {
    "block_out_channels": (4, 8, 8, 8),
    "norm_num_groups": 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": LATENT_SCALE,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
TAESD: dict[str, Any] = {
    "encoder_block_out_channels": (8,) * 4,
    "decoder_block_out_channels": (8,) * 4,
    "num_encoder_blocks": (1,) * 4,
    "num_decoder_blocks": (1,) * 4,
}
TEXT: dict[str, Any] = {
    "vocab_size": 514,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "projection_dim": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "bos_token_id": 512,
    "eos_token_id": 513,
    "pad_token_id": 513,
}


@dataclass(frozen=True, slots=True)
class Tiny:
    """Where the models are. A folder is in the layout of diffusers; `_file` is a single file in the original one."""

    base: Path
    inpaint: Path
    canny: Path
    lineart: Path
    taesd: Path
    base_file: Path  # fp32
    base_half_file: Path  # fp16
    base_ckpt: Path  # a torch file
    inpaint_file: Path
    canny_file: Path
    lora: Path  # kohya's, of UNet and text encoder
    other_lora: Path
    embedding: Path  # a textual inversion of two vectors
    configuration: Path  # for the single files


def tiny_models(folder: Path) -> Tiny:
    """Makes all models in this folder."""
    with seeded(0), torch.no_grad():
        base, inpaint = pipelines()
        controlnets = {name: controlnet(base.unet, seed) for name, seed in CONTROL_SEED.items()}
        taesd = tiny_vae()
        for name, model in {"base": base, "inpaint": inpaint, "taesd": taesd, **controlnets}.items():
            model.save_pretrained(folder / name)
        write_configuration(folder / "configuration", base, controlnets["canny"])
        write_single_files(folder, base, inpaint, controlnets["canny"])
        for seed, name in enumerate(("lora", "other_lora")):
            save_file(kohya_lora(base, seed), folder / f"{name}.safetensors")
        # A word's embedding is as long as those of the tiny vocabulary.
        save_file({"emb_params": torch.randn(2, WIDTH) * 0.1}, folder / "embedding.safetensors")
    folders = ("base", "inpaint", "canny", "lineart", "taesd", "configuration")
    files = ("base_file", "base_half_file", "inpaint_file", "canny_file", "lora", "other_lora", "embedding")
    return Tiny(
        **{name: folder / name for name in folders},
        **{name: folder / f"{name}.safetensors" for name in files},
        base_ckpt=folder / "base.ckpt",
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it torch's random numbers follow from the seed; after it they go on as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


# Models


def pipelines() -> tuple[StableDiffusionPipeline, StableDiffusionInpaintPipeline]:
    """The base and the inpaint model, which differ by their UNets."""
    parts: dict[str, Any] = {
        "vae": livened_vae(AutoencoderKL(**VAE).eval()),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**TEXT)).eval(),
        "tokenizer": tokenizer(),
        "scheduler": PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            set_alpha_to_one=False,
            skip_prk_steps=True,
            steps_offset=1,
        ),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    parts["text_encoder"].get_input_embeddings().weight.mul_(5)
    base, inpaint = (livened_unet(UNet2DConditionModel(in_channels=channels, **UNET).eval()) for channels in (4, 9))
    return StableDiffusionPipeline(unet=base, **parts), StableDiffusionInpaintPipeline(unet=inpaint, **parts)


def tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer without merges, so that each letter is a token."""
    letters = byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def controlnet(unet: UNet2DConditionModel, seed: int) -> ControlNetModel:
    """A ControlNet for this UNet; as the libraries make it, it would do nothing until it is trained."""
    with seeded(seed):
        made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 8)).eval()
        for silent in (made.controlnet_down_blocks, made.controlnet_mid_block):
            for tensor in silent.parameters():
                tensor.normal_(std=0.05)
        last = made.controlnet_cond_embedding.conv_out
        last.weight.normal_()
        seen = made.controlnet_cond_embedding(torch.rand(1, 3, 64, 64))
        last.weight.div_(2 * seen.std())
    return made


def tiny_vae() -> AutoencoderTiny:
    """A TAESD with latents of variance 1, and pictures that are mid-grey on average, and contrasted."""
    made = AutoencoderTiny(**TAESD).eval()
    first, last = made.encoder.layers[-1], made.decoder.layers[-1]
    latents = made.encode(torch.rand(1, 3, 128, 128) * 2 - 1).latents
    first.bias.sub_(latents.mean((0, 2, 3)))
    for tensor in (first.weight, first.bias):
        tensor.div_((latents - latents.mean((2, 3), keepdim=True)).std())
    shown = made.decode(torch.randn(1, 4, 16, 16))[0] / 2
    last.weight.mul_(0.25 / shown.std())
    last.bias.fill_(0.5)
    return made


# As they are initialised, networks hardly answer to what goes into them: changes are of a millionth.


def livened_unet(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The UNet, with attention that is felt, and noise of variance 1 as its output."""
    for name, module in unet.named_modules():
        if name.endswith(("attn1", "attn2")):
            for matrix in (module.to_q, module.to_k, module.to_v, module.to_out[0]):
                matrix.weight.mul_(2)
        elif name.endswith("proj_out"):
            module.weight.mul_(2)
    seen = unet(torch.randn(1, unet.config.in_channels, 32, 32), 500, torch.randn(1, 77, WIDTH))[0]
    unet.conv_out.weight.div_(seen.std())
    unet.conv_out.bias.zero_()
    return unet


def livened_vae(vae: AutoencoderKL) -> AutoencoderKL:
    """The VAE, with latents of variance 1, hardly any noise in them, and contrasted pictures."""
    means, logarithms = vae.quant_conv.weight[:4], vae.quant_conv.weight[4:]
    seen = vae.encode(torch.rand(1, 3, 128, 128) * 2 - 1).latent_dist.mean
    means.div_(seen.std() * LATENT_SCALE)
    logarithms.zero_()
    vae.quant_conv.bias.copy_(torch.tensor([0.0] * 4 + [-6.0] * 4))
    shown = vae.decode(torch.randn(1, 4, 16, 16) / LATENT_SCALE)[0]
    vae.decoder.conv_out.weight.mul_(0.5 / shown.std())
    vae.decoder.conv_out.bias.zero_()
    return vae


# Files


def write_configuration(folder: Path, base: StableDiffusionPipeline, control: ControlNetModel) -> None:
    """Writes what is in the base model's folder, but for the weights."""
    base.save_config(folder)
    base.unet.save_config(folder / "unet")
    base.vae.save_config(folder / "vae")
    base.text_encoder.config.save_pretrained(folder / "text_encoder")
    base.tokenizer.save_pretrained(folder / "tokenizer")
    base.scheduler.save_pretrained(folder / "scheduler")
    control.save_config(folder / "controlnet")


def write_single_files(
    folder: Path, base: StableDiffusionPipeline, inpaint: StableDiffusionInpaintPipeline, control: ControlNetModel
) -> None:
    tensors = original(base)
    save_file(tensors, folder / "base_file.safetensors")
    halves = {name: each.half() if each.is_floating_point() else each for name, each in tensors.items()}
    save_file(halves, folder / "base_half_file.safetensors")
    torch.save({"state_dict": tensors, "global_step": 1}, folder / "base.ckpt")
    save_file(original(inpaint), folder / "inpaint_file.safetensors")
    save_file(original_controlnet(control.state_dict()), folder / "canny_file.safetensors")


def original(pipeline: Any) -> dict[str, torch.Tensor]:
    """The tensors of a whole model as single files have them, among them such as nobody needs."""
    named = (
        original_unet(pipeline.unet.state_dict())
        | original_vae(pipeline.vae.state_dict())
        | original_text(pipeline.text_encoder.state_dict())
        | {"alphas_cumprod": pipeline.scheduler.alphas_cumprod, "model_ema.decay": torch.tensor(0.9999)}
    )
    return {name: each.clone().contiguous() for name, each in named.items()}


def kohya_lora(pipeline: StableDiffusionPipeline, seed: int) -> dict[str, torch.Tensor]:
    """A LoRA of all attention, under the names that kohya's trainer gives."""
    tensors: dict[str, torch.Tensor] = {}
    with seeded(100 + seed):
        for prefix, model in (("lora_unet_", pipeline.unet), ("lora_te_text_model_", pipeline.text_encoder)):
            for name, module in model.named_modules():
                if name.endswith(("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")):
                    layer = prefix + name.removeprefix("text_model.").replace(".", "_")
                    tensors[f"{layer}.lora_down.weight"] = torch.randn(RANK, module.in_features) * 0.3
                    tensors[f"{layer}.lora_up.weight"] = torch.randn(module.out_features, RANK) * 0.3
                    tensors[f"{layer}.alpha"] = torch.tensor(float(RANK))
    return tensors
