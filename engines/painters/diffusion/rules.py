"""What a Brief must be for the painter `diffusion`, as far as it is known without its models. No torch here."""

from math import ceil
from pathlib import Path

from ....proto.brief import Brief
from ...settings import EngineSettings

# Schedulers that go along the steps that their models were distilled for, of which there are so many.
DISTILLED = ("lcm", "tcd")
MOST_DISTILLED_STEPS = 50


def steps_done(steps: int, strength: float) -> int:
    """How many of the steps are done at this strength: the share of the noise that is added and taken away again."""
    return min(int(steps * strength), steps)


def in_share(start: float, end: float, number: int, steps: int) -> bool:
    """Whether step `number` of `steps` lies whole between these shares of them."""
    return start <= number / steps and (number + 1) / steps <= end


def complaint(brief: Brief, *, settings: EngineSettings) -> str:
    """Why this Brief cannot be painted, and what can, in a sentence; empty: it can.

    Whether the images of controls will come that are not computed here, nobody knows yet.
    """
    if not brief.prompt.strip() and not (brief.tag_threshold and settings.tagger):
        return "brief.prompt: a diffusion model paints what it is told; the prompt is empty"
    if not steps_done(brief.steps, brief.strength):
        least = ceil(1e4 / brief.steps) / 1e4
        share = f"{brief.strength:g} of {brief.steps} steps is less than one"
        return f"brief.strength: {share}; at least {least:g} is needed, or more steps"
    if brief.scheduler in DISTILLED and brief.steps > MOST_DISTILLED_STEPS:
        return f"brief.steps: {brief.scheduler} has at most {MOST_DISTILLED_STEPS} steps; four to eight are usual"
    if brief.vae == "tiny" and settings.taesd is None:
        return "brief.vae: this daemon holds no tiny autoencoder; its setting `taesd` names one"
    if brief.tag_threshold and settings.tagger is None:
        return "brief.tag_threshold: this daemon holds no tagger; its setting `tagger` names one"
    if unknown := [each.name for each in brief.lora_list if each.name not in lora_names(settings)]:
        return f"brief.loras: this daemon holds no LoRA {unknown[0]!r}; it holds {_listed(lora_names(settings))}"
    if strange := [each.kind for each in brief.control_list if each.kind not in settings.controlnets]:
        known = _listed(list(settings.controlnets))
        return f"brief.controls: this daemon holds no ControlNet {strange[0]!r}; it holds {known}"
    done = steps_done(brief.steps, brief.strength)
    for each in brief.control_list:
        if not any(in_share(each.start, each.end, number, done) for number in range(done)):
            share = f"{each.start:g} to {each.end:g}"
            return f"brief.controls: {each.kind!r} would count in no step: {share} of {done} steps holds no whole one"
    return ""


def lora_names(settings: EngineSettings) -> list[str]:
    """The names under which sessions ask for the daemon's LoRAs."""
    return [Path(each).stem for each in settings.model_loras]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
