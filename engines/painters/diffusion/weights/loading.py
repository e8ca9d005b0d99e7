"""Models of Stable Diffusion, loaded: from folders, single files or the hub, with what goes with them.

Parts are loaded one by one, by the same code for all pipelines: each is checked to be whole, and nothing is asked of
the network but a model that was named by its name on the hub. Tensors are on the CPU; whoever paints moves them.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    SchedulerMixin,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from .....proto.errors import RefusedError
from . import originals
from .additions import INVERSIONS, Embedding, Lora
from .checkpoint import NAMED, WANTED, Checkpoint, inspect_model
from .files import adapter_of
from .headers import find_weights, is_safetensors, load_torch, refused
from .sd1 import written

# What original checkpoints hold beside the weights: constants that the models make themselves.
CONSTANTS = ("position_ids",)


def load_pipeline(
    checkpoint: Checkpoint, *, dtype: torch.dtype, configuration: Path | None = None
) -> StableDiffusionPipeline:
    """The model, its parts in evaluation mode, without gradients, all of this dtype.

    An inpaint model comes in the same class, its UNet takes nine channels. configuration is for single files, as for
    inspect_model; the default is that of SD 1.x. Raises RefusedError.
    """
    if checkpoint.layout == "hub":
        checkpoint = fetched(checkpoint, dtype=dtype)
    with _loading(checkpoint.path):
        if checkpoint.layout == "folder":
            return _folder(Path(checkpoint.path), dtype)
        if configuration is not None:
            return _single_file(checkpoint, dtype, configuration)
        with TemporaryDirectory(prefix="warpaint-") as folder:
            return _single_file(checkpoint, dtype, written(Path(folder), inpaint=checkpoint.kind == "inpaint"))


def fetched(checkpoint: Checkpoint, *, dtype: torch.dtype) -> Checkpoint:
    """The model of this name on the hub, as a folder in the cache: the one place that may ask the network."""
    with _loading(checkpoint.path):
        variant = "fp16" if dtype == torch.float16 else None
        wanted: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
        try:
            folder = StableDiffusionPipeline.download(checkpoint.path, variant=variant, **wanted)
        except ValueError:  # it has no such variant
            if variant is None:
                raise
            folder = StableDiffusionPipeline.download(checkpoint.path, **wanted)
    return inspect_model(str(folder), kind=checkpoint.kind)


def load_taesd(path: Path, dtype: torch.dtype) -> AutoencoderTiny:
    """The tiny VAE in this folder, in evaluation mode, without gradients. Raises RefusedError."""
    with _loading(path):
        return _frozen(_pretrained(AutoencoderTiny, path, dtype), path)


def load_controlnet(path: Path, dtype: torch.dtype, configuration: Path | None = None) -> ControlNetModel:
    """The ControlNet in this folder or file, in evaluation mode, without gradients. Raises RefusedError.

    configuration is for single files, as for inspect_controlnet; the default is that of SD 1.x.
    """
    with _loading(path):
        if path.is_dir():
            return _frozen(_pretrained(ControlNetModel, path, dtype), path)
        with TemporaryDirectory(prefix="warpaint-") as folder:
            config = configuration or written(Path(folder), inpaint=False)
            tensors = read_tensors(path)
            return _frozen(_converted(ControlNetModel, tensors, config / "controlnet", dtype), path)


def add_lora(pipeline: StableDiffusionPipeline, lora: Lora) -> str:
    """The name of the adapter that this LoRA now is in the pipeline's UNet and text encoder. Raises RefusedError."""
    adapter = adapter_of(lora.name)
    with _loading(lora.path):
        pipeline.load_lora_weights(read_tensors(Path(lora.path)), adapter_name=adapter)
        for part in (pipeline.unet, pipeline.text_encoder):
            _frozen(part, lora.path)
    return adapter


def add_embedding(pipeline: StableDiffusionPipeline, embedding: Embedding) -> None:
    """Teaches the pipeline's text encoder a word. Raises RefusedError, also where it has the word already."""
    with _loading(embedding.path):
        tensors = read_tensors(Path(embedding.path))
        name = next((each for each in INVERSIONS if each in tensors), None) or next(iter(tensors))
        pipeline.load_textual_inversion({embedding.token: tensors[name]}, token=embedding.token)
        _frozen(pipeline.text_encoder, embedding.path)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors or a torch file, by name; read when they are used. Raises RefusedError."""
    with _loading(path):
        return load_file(path) if is_safetensors(path) else load_torch(path, "cpu")


# A single file


def _single_file(checkpoint: Checkpoint, dtype: torch.dtype, configuration: Path) -> StableDiffusionPipeline:
    path = Path(checkpoint.path)
    tensors = {
        originals.renamed(name): tensor for name, tensor in read_tensors(path).items() if not name.endswith(CONSTANTS)
    }
    channels = WANTED[checkpoint.kind]
    unet = _converted(
        UNet2DConditionModel, _below(tensors, originals.UNET), configuration / "unet", dtype, in_channels=channels
    )
    vae = _converted(AutoencoderKL, _below(tensors, originals.VAE), configuration / "vae", dtype)
    text_encoder = create_diffusers_clip_model_from_ldm(
        CLIPTextModel,
        checkpoint=_below(tensors, originals.TEXT),
        config=str(configuration),
        subfolder="text_encoder",
        torch_dtype=dtype,
        local_files_only=True,
    )
    return _pipeline(path, configuration, unet, vae, text_encoder)


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names start with this."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _converted(model: Any, tensors: dict[str, torch.Tensor], config: Path, dtype: torch.dtype, **changes: int) -> Any:
    """A model of diffusers, made of tensors of an original checkpoint."""
    folder, subfolder = str(config.parent), config.name
    return model.from_single_file(
        tensors, config=folder, subfolder=subfolder, torch_dtype=dtype, local_files_only=True, **changes
    )


# A folder


def _folder(path: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    unet = _pretrained(UNet2DConditionModel, path / "unet", dtype)
    vae = _pretrained(AutoencoderKL, path / "vae", dtype)
    text_encoder = _pretrained(CLIPTextModel, path / "text_encoder", dtype)
    return _pipeline(path, path, unet, vae, text_encoder)


def _pretrained(model: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A model of diffusers or transformers, from a folder of its own. Raises RefusedError if it is not whole."""
    variant = find_weights(folder, half=dtype == torch.float16).variant
    word = "dtype" if issubclass(model, CLIPTextModel) else "torch_dtype"
    loaded, report = model.from_pretrained(
        folder, variant=variant, local_files_only=True, output_loading_info=True, **{word: dtype}
    )
    _check_missing(folder, [name for name in sorted(report["missing_keys"]) if not name.endswith(CONSTANTS)])
    return loaded


# Both


def _pipeline(path: Path, folder: Path, unet: Any, vae: Any, text_encoder: Any) -> StableDiffusionPipeline:
    """The pipeline of these parts; its scheduler and its tokenizer are those of the folder."""
    return StableDiffusionPipeline(
        unet=_frozen(unet, path),
        vae=_frozen(vae, path),
        text_encoder=_frozen(text_encoder, path),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        scheduler=_scheduler(folder),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _scheduler(folder: Path) -> Any:
    """The scheduler of the class that the folder's index names."""
    name = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["scheduler"][1]
    found: Any = getattr(diffusers, name, None)
    is_one = isinstance(found, type) and issubclass(found, SchedulerMixin)
    if not is_one:
        raise refused(folder, f"asks for a scheduler {name!r}, which diffusers has not")
    return found.from_pretrained(folder / "scheduler", local_files_only=True)


def _frozen(model: Any, path: Path | str) -> Any:
    """The model, in evaluation mode, without gradients. Raises RefusedError if any of its weights was not loaded."""
    _check_missing(path, [name for name, tensor in model.named_parameters() if tensor.is_meta])
    return model.eval().requires_grad_(False)


def _check_missing(path: Path | str, missing: list[str]) -> None:
    if missing:
        raise refused(path, f"lacks tensors: {', '.join(missing[:NAMED])}{' and more' * (len(missing) > NAMED)}")


@contextmanager
def _loading(path: Path | str) -> Iterator[None]:
    """Within it libraries are quiet, and whatever they raise says that this path cannot be loaded."""
    levels = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    had_bars = transformers_logging.is_progress_bar_enabled()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about the libraries' own code, and about old configurations
            yield
    except RefusedError:
        raise
    except Exception as error:  # what a library raises for a bad model depends on where it gets stuck
        first = str(error).strip().partition("\n")[0]
        raise refused(path, f"cannot be loaded: {type(error).__name__}: {first}") from error
    finally:
        diffusers_logging.set_verbosity(levels[0])
        transformers_logging.set_verbosity(levels[1])
        if had_bars:
            transformers_logging.enable_progress_bar()
