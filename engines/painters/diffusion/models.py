"""The models of the painter `diffusion`: loaded once from what the settings name, and resident."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._dynamo import config as compiler

from ....proto.errors import Code, RefusedError
from ...settings import EngineSettings
from . import additions, checkpoint, loading
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
    _check_names(settings.model_loras)
    base = _here(checkpoint.inspect_model(settings.model, kind="base", configuration=configuration), dtype)
    inpaint = None
    if settings.inpaint_model is not None:
        inpaint = checkpoint.inspect_model(settings.inpaint_model, kind="inpaint", configuration=configuration)
        inpaint = _here(inpaint, dtype)
    width = base.context_width
    loras = [additions.inspect_lora(each, width) for each in settings.model_loras]
    embeddings = [additions.inspect_embedding(each, width) for each in settings.embeddings]
    for path in settings.controlnets.values():
        additions.inspect_controlnet(path, width, configuration)
    if settings.taesd is not None:
        additions.inspect_taesd(settings.taesd)

    pipelines = [
        _resident(loading.load_pipeline(each, dtype=dtype, configuration=configuration), device)
        for each in (base, inpaint)
        if each is not None
    ]
    for pipeline in pipelines:
        for lora in loras:
            loading.add_lora(pipeline, lora)
        for embedding in embeddings:
            loading.add_embedding(pipeline, embedding)
        if loras:
            pipeline.disable_lora()
    if inpaint is not None:
        pipelines[1].vae = None  # latents of the same family: the base's reads and writes them too
    tiny = None if settings.taesd is None else _placed(loading.load_taesd(settings.taesd, dtype), device)
    controls = {
        kind: _placed(loading.load_controlnet(path, dtype, configuration), device)
        for kind, path in settings.controlnets.items()
    }
    tagger = None if settings.tagger is None else Tagger(settings.tagger, threads=torch.get_num_threads())
    if settings.compile:
        _compile([*(each.unet for each in pipelines), *controls.values()])
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
        raise RefusedError(
            Code.UNKNOWN_ENGINE, f"there is no device {name!r} here, or torch cannot use it; there is {here}"
        )
    return torch.device(name)


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """The dtype of this name; `auto`: half precision on a GPU, where it is twice as fast, single on a CPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    return _DTYPES[name]


def _here(found: checkpoint.Checkpoint, dtype: torch.dtype) -> checkpoint.Checkpoint:
    """The checkpoint on this machine: one on the hub is fetched."""
    return loading.fetched(found, dtype=dtype) if found.layout == "hub" else found


def _resident(pipeline: Any, device: torch.device) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    pipeline.unet.to(memory_format=torch.channels_last)  # what convolutions on a GPU are fastest with
    return pipeline


def _compile(nets: list[Any]) -> None:
    """Has the nets compiled for each size of picture when it first comes. What cannot be runs as it is, with a warning."""
    compiler.suppress_errors = True
    for each in nets:
        each.compile(dynamic=False)


def _placed(net: Any, device: torch.device) -> Any:
    return net.to(device)


def _check_names(loras: tuple[Path, ...]) -> None:
    """Raises RefusedError for names that sessions could not say, or not tell apart."""
    names = [each.stem for each in loras]
    adapters = [loading.adapter_of(each) for each in names]
    for name, adapter in zip(names, adapters, strict=True):
        if adapters.count(adapter) > 1:
            why = f"two LoRAs are called {name!r}, or nearly so: sessions could not tell them apart; rename one"
            raise RefusedError(Code.UNKNOWN_ENGINE, why)
        if {":", ","} & set(name):
            raise RefusedError(Code.UNKNOWN_ENGINE, f"a LoRA's name must have no colon or comma: {name!r}; rename it")
