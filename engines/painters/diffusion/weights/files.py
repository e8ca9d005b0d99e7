"""What the settings name, looked at before any of it is loaded, and before torch is: a wrong path is told at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from .....proto.errors import Code, RefusedError
from ....settings import EngineSettings
from .additions import Embedding, Lora, inspect_controlnet, inspect_embedding, inspect_lora, inspect_taesd
from .checkpoint import Checkpoint, family_of, inspect_model


@dataclass(frozen=True, slots=True)
class Files:
    """What is to be loaded. additions: None if the model is on the hub, of which nothing is known yet."""

    base: Checkpoint
    inpaint: Checkpoint | None
    additions: "Additions | None"


@dataclass(frozen=True, slots=True)
class Additions:
    """What goes with a model, for a context of its width."""

    loras: Sequence[Lora]
    embeddings: Sequence[Embedding]


def inspected(settings: EngineSettings) -> Files:
    """The files, each what it is to be. Raises RefusedError: UNKNOWN_ENGINE, with what is wrong and what is allowed."""
    if settings.model is None:
        raise _refused(
            "the painter 'diffusion' needs a model: --model PATH, a diffusers folder or a checkpoint, or hub id"
        )
    _check_names([path.stem for path in settings.model_loras])
    configuration = settings.model_configuration
    base = inspect_model(settings.model, kind="base", configuration=configuration)
    inpaint = None
    if settings.inpaint_model is not None:
        inpaint = inspect_model(settings.inpaint_model, kind="inpaint", configuration=configuration)
    if settings.taesd is not None:
        inspect_taesd(settings.taesd)
    check_pair(base, inpaint)
    return Files(base, inpaint, None if base.layout == "hub" else additions_of(settings, base.context_width))


def check_pair(base: Checkpoint, inpaint: Checkpoint | None) -> None:
    """Raises RefusedError if two models are not of one family; of one on the hub that is known when it is fetched."""
    if inpaint is None or "hub" in (base.layout, inpaint.layout) or base.context_width == inpaint.context_width:
        return
    ours, theirs = family_of(base.context_width), family_of(inpaint.context_width)
    raise _refused(
        f"{inpaint.path!r} is an inpainting model of {theirs}, but the model is {ours}: they must be of one family"
    )


def additions_of(settings: EngineSettings, width: int) -> Additions:
    """What goes with a model whose context has this width. Raises RefusedError, as `inspected` does."""
    for path in settings.controlnets.values():
        inspect_controlnet(path, width, settings.model_configuration)
    return Additions(
        [inspect_lora(path, width) for path in settings.model_loras],
        [inspect_embedding(path, width) for path in settings.embeddings],
    )


def adapter_of(name: str) -> str:
    """The adapter that a LoRA of this name is: it becomes the name of a module, which has no dots."""
    return name.replace(".", "_")


def _check_names(loras: Sequence[str]) -> None:
    """Raises RefusedError for names that sessions could not say, or not tell apart."""
    adapters = [adapter_of(each) for each in loras]
    for name, adapter in zip(loras, adapters, strict=True):
        if adapters.count(adapter) > 1:
            raise _refused(
                f"two LoRAs are called {name!r}, or nearly so: sessions could not tell them apart; rename one"
            )
        if {":", ","} & set(name):
            raise _refused(f"a LoRA's name must have no colon or comma: {name!r}; rename it")


def _refused(why: str) -> RefusedError:
    return RefusedError(Code.UNKNOWN_ENGINE, why)
