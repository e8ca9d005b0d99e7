"""What engines with models are told at the start: where their files lie, and what to compute with. No torch here."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval
from pydantic import BaseModel, ConfigDict, Field, field_validator

from .flow.pdcnet.presets import Measure, Precision, PresetName, RuntimeName

# What the kind of a ControlNet may be called: sessions name it in their controls, beside colons and commas.
CONTROL_KIND = re.compile(r"[A-Za-z0-9_-]+")

SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
# Sides of pictures that a flow is prepared for, pixels: those of a canvas.
LEAST_SIDE, MOST_SIDE = 8, 8192


def listed(value: object) -> object:
    """A list: in the environment it is a text separated by commas."""
    return tuple(each.strip() for each in value.split(",")) if isinstance(value, str) else value


def size_of(text: str) -> tuple[int, int]:
    """The size (W, H) that a text such as 768x512 says. Raises ValueError."""
    found = SIZE.fullmatch(text)
    if not found or not all(LEAST_SIDE <= int(side) <= MOST_SIDE for side in found.groups()):
        raise ValueError(
            f"a size is WIDTHxHEIGHT, such as 768x512, of {LEAST_SIDE} to {MOST_SIDE} pixels, not {text!r}"
        )
    return int(found[1]), int(found[2])


class EngineSettings(BaseModel):
    """The engines' part of the daemon's settings, under the same names. A painter's process gets it whole."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    model: str | None = Field(
        None,
        min_length=1,
        description="Painter diffusion: the Stable Diffusion model. A diffusers folder, a .safetensors or .ckpt file, "
        "or the id of a model on the hub, which is asked for it. Needed if the painter is to be held.",
    )
    inpaint_model: str | None = Field(
        None,
        min_length=1,
        description="Painter diffusion: an inpainting model for the holes, as `model`. None: the model paints them "
        "too.",
    )
    model_configuration: Path | None = Field(
        None,
        description="Painter diffusion: folder with the configuration of models in single files. None: Stable "
        "Diffusion 1.x, which comes with Warpaint.",
    )
    taesd: Path | None = Field(
        None, description="Painter diffusion: folder of a tiny autoencoder (TAESD) for sessions that want vae = tiny."
    )
    model_loras: tuple[Path, ...] = Field(
        (), description="Painter diffusion: LoRA files that sessions may name, by the files' names without suffix."
    )
    embeddings: tuple[Path, ...] = Field(
        (), description="Painter diffusion: files of textual inversions; their names are words that prompts may hold."
    )
    controlnets: dict[str, Path] = Field(
        {},
        description="Painter diffusion: ControlNets, by kind, each as KIND=PATH. What canny and lineart are shown is "
        "computed; for any other kind, such as depth, clients send images. Letters, digits, - and _.",
    )
    tagger: Path | None = Field(
        None, description="Painter diffusion: folder of a tagger (model.onnx, selected_tags.csv) for keyframes."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="What models compute on; auto: a GPU if there is one."
    )
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto", description="What models compute in; auto: fp16 on a GPU, fp32 elsewhere."
    )
    compile: bool = Field(
        False,
        description="Compile models (torch.compile) for each size of picture when it first comes, which takes up to a "
        "minute and counts for paint_timeout_s. For GPUs; what it saves was not measured. What cannot be compiled "
        "runs as it is.",
    )
    cache_mb: Annotated[int, Interval(ge=0, le=1_000_000)] = Field(
        512,
        description="Memory for what is kept between keyframes on the device (attention of the last ones, texts), MB; "
        "the least recently used goes first. A session with attend_last takes 30 MB a step at 768x512 in fp16, twice "
        "that with guidance.",
    )
    least_hole: Annotated[int, Interval(ge=0, le=1_000_000)] = Field(
        256,
        description="Painter diffusion: holes that no square of so many pixels fits into are filled cheaply, not "
        "painted. A latent pixel is 8x8: of fewer than two by two of them a model makes a blot.",
    )

    pdcnet_weights: Path | None = Field(
        None,
        description="Flow pdcnet: file of PDCNet+'s weights (.safetensors), made once from the published checkpoint by "
        "`python -m warpaint.engines.flow.convert`. Needed if the flow is to be held.",
    )
    pdcnet_preset: PresetName = Field(
        "paper",
        description="Flow pdcnet: how often its filters are refined. fast: 3 times, as it was trained; paper: 7 times "
        "on the fine levels, as its authors evaluate it; original: 14 and 6 times, as the offline experiment ran it.",
    )
    pdcnet_runtime: RuntimeName = Field(
        "auto",
        description="Flow pdcnet: what it runs on. tensorrt and onnx need graphs for each size of picture and fall "
        "back, to onnx and to torch, where this machine cannot run them. auto: torch on a CPU; on a GPU tensorrt, once "
        "there are graphs, which then serves the sizes that were built and refuses others.",
    )
    pdcnet_precision: Precision = Field(
        "fp32",
        description="Flow pdcnet: mixed computes features and decoders in half precision, for GPUs; the filters and "
        "the flow itself stay in single precision.",
    )
    pdcnet_confidence: Measure = Field(
        "p_r",
        description="Flow pdcnet: what its confidence is. p_r: the probability that the flow is right to within a "
        "pixel, over the most that this can be; mixture_weight: the weight of the mixture's accurate mode, which the "
        "offline experiment took.",
    )
    pdcnet_sizes: tuple[str, ...] = Field(
        (),
        description="Flow pdcnet: sizes of canvas, as 768x512, to be ready for from the start. Live sessions need "
        "256x256, but for canvases about three times as wide as high.",
    )
    pdcnet_build: bool = Field(
        False,
        description="Flow pdcnet: make what pdcnet_sizes lack, at the start: graphs take a minute a size, plans of "
        "TensorRT's minutes. Otherwise a daemon that was told onnx or tensorrt, and lacks them, ends and says the "
        "command that makes them.",
    )
    pdcnet_cache: Path | None = Field(
        None, description="Flow pdcnet: folder of graphs and plans. None: warpaint/pdcnet in this user's cache."
    )

    @field_validator("pdcnet_sizes", mode="before")
    @classmethod
    def _sizes(cls, value: object) -> object:
        return listed(value)

    @field_validator("pdcnet_sizes")
    @classmethod
    def _sizes_are_sizes(cls, sizes: tuple[str, ...]) -> tuple[str, ...]:
        for each in sizes:
            size_of(each)
        return sizes

    @field_validator("model_loras", "embeddings", mode="before")
    @classmethod
    def _files(cls, value: object) -> object:
        return listed(value)

    @field_validator("controlnets", mode="before")
    @classmethod
    def _by_kind(cls, value: Any) -> Any:
        """As text: KIND=PATH, separated by commas. Raises ValueError for a kind that is named twice."""
        pairs = value.split(",") if isinstance(value, str) else value
        if not isinstance(pairs, list | tuple):
            return value
        found: dict[str, str] = {}
        for each in pairs:
            kind, equals, path = str(each).strip().partition("=")
            if not equals or not path:
                raise ValueError(f"{each!r} is not KIND=PATH")
            if kind in found:
                raise ValueError(f"the ControlNet {kind!r} is named twice")
            found[kind] = path
        return found

    @field_validator("controlnets")
    @classmethod
    def _kinds_can_be_said(cls, controlnets: dict[str, Path]) -> dict[str, Path]:
        for kind in controlnets:
            if not CONTROL_KIND.fullmatch(kind):
                raise ValueError(f"the kind of a ControlNet has letters, digits, - and _ alone, not {kind!r:.60}")
        return controlnets
