"""The models of the painter `diffusion`: loaded once from what the settings name, and resident."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch._dynamo import config as compiler

from ...devices import device_of
from ...settings import EngineSettings
from .tagger import Tagger
from .weights import loading
from .weights.checkpoint import Checkpoint
from .weights.files import Additions, Files, additions_of, check_pair

log = logging.getLogger(__name__)

# Shapes that are compiled, of all nets: some forty sizes of crops in batches of a few sizes, and keyframes.
MOST_SHAPES = 512
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Models:
    """What is resident.

    base, inpaint: StableDiffusionPipelines, for their parts; the first one's VAE serves both. inpaint has a UNet of
    nine channels; None: holes are painted by the base. tiny: an AutoencoderTiny. controls: ControlNets, by kind.
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


def load(settings: EngineSettings, files: Files) -> Models:
    """The models, on their device. files: of the settings, inspected.

    Raises RefusedError: UNKNOWN_ENGINE, with what is wrong and what is allowed.
    """
    device = torch.device(device_of(settings.device))
    dtype = dtype_of(settings.dtype, device)
    base = _here(files.base, dtype)
    inpaint = None if files.inpaint is None else _here(files.inpaint, dtype)
    check_pair(base, inpaint)
    additions = files.additions or additions_of(settings, base.context_width)
    pipelines = [_pipeline(each, additions, settings, device, dtype) for each in (base, inpaint) if each is not None]
    if inpaint is not None:
        pipelines[1].vae = None  # latents of the same family: the base's reads and writes them too
    tiny = None if settings.taesd is None else loading.load_taesd(settings.taesd, dtype).to(device)
    controls: dict[str, Any] = {
        kind: loading.load_controlnet(path, dtype, settings.model_configuration).to(device)
        for kind, path in settings.controlnets.items()
    }
    if settings.compile:
        _compile([*(each.unet for each in pipelines), *controls.values()])
    tagger = None if settings.tagger is None else Tagger(settings.tagger, threads=torch.get_num_threads())
    if device.type == "cuda":
        torch.cuda.synchronize()  # paintings are on another stream than what was done to the weights
    found = Models(pipelines[0], pipelines[1] if inpaint else None, tiny, controls, tagger, device, dtype)
    log.info("%s on %s in %s, %d MB", settings.model, device, dtype, found.nbytes // 2**20)
    return found


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """The dtype of this name; `auto`: half precision on a GPU, single on a CPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    return _DTYPES[name]


def _here(found: Checkpoint, dtype: torch.dtype) -> Checkpoint:
    """The checkpoint on this machine: one on the hub is fetched."""
    return loading.fetched(found, dtype=dtype) if found.layout == "hub" else found


def _pipeline(
    found: Checkpoint, additions: Additions, settings: EngineSettings, device: torch.device, dtype: torch.dtype
) -> Any:
    """A model on its device, with its LoRAs and textual inversions; which LoRAs are in use is for the studio to say."""
    pipeline = loading.load_pipeline(found, dtype=dtype, configuration=settings.model_configuration)
    for lora in additions.loras:
        loading.add_lora(pipeline, lora)
    for embedding in additions.embeddings:
        loading.add_embedding(pipeline, embedding)
    pipeline.to(device)
    pipeline.unet.to(memory_format=torch.channels_last)  # what convolutions on a GPU are fastest with
    return pipeline


def _compile(nets: list[Any]) -> None:
    """Has the nets compiled for each size of picture when it comes; what cannot be runs as it is, with a warning."""
    compiler.suppress_errors = True
    compiler.recompile_limit = MOST_SHAPES
    for each in nets:
        each.compile(dynamic=False)
