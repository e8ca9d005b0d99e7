"""Denoising: one loop for keyframes and for holes, with ControlNets or without.

The library has a pipeline for each of these, none of which takes soft masks, stops when it is told to, or paints items
of several sessions with noise of their own. This loop does, and gives what those pipelines give where both can, which
is tested.
Latents are [B, 4, h, w], h and w an eighth of the picture's sides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .rules import in_share
from .schedulers import Schedule

# The dimension that a model distilled for guidance is told its scale in, and the factor on the scale.
# Source: S. Luo et al., "Latent Consistency Models", 2023, after the sinusoidal embedding of timesteps.
GUIDANCE_FACTOR = 1000.0


class CancelledError(Exception):
    """Nobody wants the painting any more."""


@dataclass(frozen=True, slots=True)
class ControlInput:
    """A ControlNet, what it is shown ([B, 3, H, W], 0..1), how strongly it counts, and in which share of the steps."""

    net: Any
    picture: torch.Tensor
    weight: float
    start: float
    end: float

    def counts(self, number: int, steps: int) -> bool:
        """Whether it counts in step `number` of `steps`."""
        return in_share(self.start, self.end, number, steps)


@dataclass(frozen=True, slots=True)
class Batch:
    """Items that are denoised together.

    start: latents [B, 4, h, w] of what is painted from; noise: as many, standard normal. text: [B, n, d]; not_text: the
    same of what is not wanted, None: without guidance. hole: [B, 1, h, w], 1 where all is painted anew, 0 where the
    start stays, between: from a later step on; None: everywhere. around: latents of the picture with its holes blanked,
    for a model of nine channels, else None.
    """

    start: torch.Tensor
    noise: torch.Tensor
    generators: list[torch.Generator]
    text: torch.Tensor
    not_text: torch.Tensor | None
    guidance: float
    hole: torch.Tensor | None = None
    around: torch.Tensor | None = None
    controls: Sequence[ControlInput] = ()


def denoise(unet: Any, schedule: Schedule, batch: Batch, cancelled: Callable[[], bool]) -> torch.Tensor:
    """The painted latents [B, 4, h, w]. Raises CancelledError between steps."""
    timesteps = schedule.timesteps
    latents = schedule.noised(batch.start, batch.noise, timesteps[0])
    texts = batch.text if batch.not_text is None else torch.cat([batch.not_text, batch.text])
    condition = guidance_embedding(unet, batch)
    for number, timestep in enumerate(timesteps):
        if cancelled():
            raise CancelledError
        seen = _twice(schedule.input(latents, timestep), batch)
        extra = _controlled(batch, seen, timestep, texts, number, len(timesteps))
        if batch.around is not None and batch.hole is not None:
            seen = torch.cat([seen, _twice(batch.hole, batch), _twice(batch.around, batch)], 1)
        predicted = unet(
            seen, timestep, encoder_hidden_states=texts, timestep_cond=condition, return_dict=False, **extra
        )[0]
        latents = schedule.step(_guided(predicted, batch), timestep, latents, batch.generators)
        if batch.around is None and batch.hole is not None:
            latents = _held(latents, batch, schedule, number)
    return latents


def _twice(latents: torch.Tensor, batch: Batch) -> torch.Tensor:
    """With guidance, each item is seen without the text and with it."""
    return latents if batch.not_text is None else torch.cat([latents, latents])


def _guided(predicted: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Classifier-free guidance. Source: J. Ho, T. Salimans, 2022, eq. (6), with w + 1 = guidance."""
    if batch.not_text is None:
        return predicted
    without, with_text = predicted.chunk(2)
    return without + batch.guidance * (with_text - without)


def _controlled(
    batch: Batch, seen: torch.Tensor, timestep: torch.Tensor, texts: torch.Tensor, number: int, steps: int
) -> dict[str, Any]:
    """What the ControlNets add to the UNet's blocks, summed up."""
    down: list[torch.Tensor] = []
    middle: torch.Tensor | None = None
    for each in batch.controls:
        if not each.counts(number, steps):
            continue
        more_down, more_middle = each.net(
            seen,
            timestep,
            encoder_hidden_states=texts,
            controlnet_cond=_twice(each.picture, batch),
            conditioning_scale=each.weight,
            return_dict=False,
        )
        down = [a + b for a, b in zip(down, more_down, strict=True)] if down else list(more_down)
        middle = more_middle if middle is None else middle + more_middle
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle} if down else {}


def _held(latents: torch.Tensor, batch: Batch, schedule: Schedule, number: int) -> torch.Tensor:
    """The latents with the start put back where it still holds, with the noise of the next step.

    A pixel of hole value m is free in the last m of the steps. Source: E. Levin, O. Fried, "Differential Diffusion",
    2023.
    """
    if batch.hole is None:
        return latents
    timesteps = schedule.timesteps
    done = (number + 1) / len(timesteps)
    held = batch.start
    if number + 1 < len(timesteps):
        held = schedule.noised(batch.start, batch.noise, timesteps[number + 1])
    free = batch.hole > (1.0 - done if number + 1 < len(timesteps) else 0.0)
    return torch.where(free, latents, held)


def guidance_embedding(unet: Any, batch: Batch) -> torch.Tensor | None:
    """The guidance as a model that is distilled for it wants to be told: [B, d] (2B with guidance); others get None."""
    width = unet.config.time_cond_proj_dim
    if width is None:
        return None
    rows = batch.start.shape[0] * (1 if batch.not_text is None else 2)
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * (-torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = torch.full((rows, 1), (batch.guidance - 1.0) * GUIDANCE_FACTOR) * rates
    return torch.cat([angles.sin(), angles.cos()], 1).to(batch.start)
