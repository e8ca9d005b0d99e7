"""The models of the painter `diffusion`: loaded once from what the settings name, and resident."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ....proto.errors import Code, RefusedError
from ...settings import EngineSettings
from . import checkpoint, loading
from .tagger import Tagger

log = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Models:
    """What is resident. base and inpaint are StableDiffusionPipelines, for their parts; the first one's VAE serves both.

    inpaint: with a UNet of nine channels; None: holes are painted by the base. tiny: an AutoencoderTiny. controls: by kind.
    """

    base: Any
    inpaint: Any
    tiny: Any
    controls: Mapping[str, Any]
    tagger: Tagger | None
    device: torch.device
    dtype: torch.dtype

    @property
    def pipelines(self) -> tuple[Any, ...]:
        """Those that there are."""
        return tuple(each for each in (self.base, self.inpaint) if each is not None)

    @property
    def nbytes(self) -> int:
        """Memory of all weights, bytes."""
        nets = [self.base.vae, self.tiny, *self.controls.values()]
        nets += [part for each in self.pipelines for part in (each.unet, each.text_encoder)]
        weights = sum(weight.nbytes for net in nets if net is not None for weight in net.parameters())
        return weights + (self.tagger.nbytes if self.tagger else 0)


def load(settings: EngineSettings) -> Models:
    """The models, on their device. What the files are is read first, so that a wrong one is told before any is loaded.

    Raises RefusedError: UNKNOWN_ENGINE, with what is wrong and what is allowed.
    """
    if settings.model is None:
        raise RefusedError(Code.UNKNOWN_ENGINE, "the painter 'diffusion' needs a model: --model PATH, or hub id")
    device = device_of(settings.device)
    dtype = dtype_of(settings.dtype, device)
    configuration = settings.model_configuration
    base = checkpoint.inspect_model(settings.model, kind="base", configuration=configuration)
    inpaint = None
    if settings.inpaint_model is not None:
        inpaint = checkpoint.inspect_model(settings.inpaint_model, kind="inpaint", configuration=configuration)
    width = base.context_width
    loras = [checkpoint.inspect_lora(each, width) for each in settings.model_loras]
    for each in (*settings.controlnets.values(),):
        checkpoint.inspect_controlnet(each, width)
    for each in settings.embeddings:
        checkpoint.inspect_embedding(each, width)
    if settings.taesd is not None:
        checkpoint.inspect_taesd(settings.taesd)
    _check_names(settings.model_loras)

    pipelines = [
        _resident(loading.load_pipeline(each, dtype=dtype, configuration=configuration), device)
        for each in (base, inpaint)
        if each is not None
    ]
    for pipeline in pipelines:
        for lora in loras:
            loading.add_lora(pipeline, lora)
        for path in settings.embeddings:
            loading.add_embedding(pipeline, path, path.stem)
        if loras:
            pipeline.disable_lora()
    if inpaint is not None:
        pipelines[1].vae = None  # latents of the same family: the base's reads and writes them too
    tiny = None if settings.taesd is None else _placed(loading.load_taesd(settings.taesd, dtype), device)
    controls = {
        kind: _placed(loading.load_controlnet(path, dtype), device) for kind, path in settings.controlnets.items()
    }
    tagger = None if settings.tagger is None else Tagger(settings.tagger, threads=torch.get_num_threads())
    found = Models(pipelines[0], pipelines[1] if inpaint else None, tiny, controls, tagger, device, dtype)
    log.info("%s on %s in %s, %d MB", settings.model, device, dtype, found.nbytes // 2**20)
    return found


def device_of(name: str) -> torch.device:
    """The device of this name; `auto`: a GPU if there is one. Raises RefusedError if it is not here."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(each for each in ("cuda", "mps", "cpu") if there[each]))
    if not there[name]:
        here = ", ".join(each for each, is_there in there.items() if is_there)
        raise RefusedError(Code.UNKNOWN_ENGINE, f"there is no device {name!r} here, or torch cannot use it; there is {here}")
    return torch.device(name)


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """The dtype of this name; `auto`: half precision on a GPU, where it is twice as fast, single on a CPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    return _DTYPES[name]


def _resident(pipeline: Any, device: torch.device) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    pipeline.unet.to(memory_format=torch.channels_last)  # what convolutions on a GPU are fastest with
    return pipeline


def _placed(net: Any, device: torch.device) -> Any:
    return net.to(device)


def _check_names(loras: tuple[Path, ...]) -> None:
    names = [each.stem for each in loras]
    for name in names:
        if names.count(name) > 1:
            raise RefusedError(Code.UNKNOWN_ENGINE, f"two LoRAs are called {name!r}: sessions could not tell them apart")
        if ":" in name or "," in name or "." in name:
            raise RefusedError(Code.UNKNOWN_ENGINE, f"a LoRA's name must have no colon, comma or dot in it: {name!r}")
