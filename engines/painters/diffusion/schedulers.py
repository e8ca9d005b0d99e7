"""Schedulers by the names of the Brief: how a diffusion model goes from step to step."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)

from .rules import steps_done

_CLASSES: Mapping[str, Any] = {
    "ddim": DDIMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_a": EulerAncestralDiscreteScheduler,
    "lcm": LCMScheduler,
    "tcd": TCDScheduler,
    "unipc": UniPCMultistepScheduler,
}


# Those that clip latents to -1..1 unless they are told otherwise, which configs of other schedulers do not: right for
# models of pixels, and wrong for latents, which reach to 4.
_CLIPPING = ("ddim", "lcm", "tcd")


def scheduler_of(name: str, config: Any) -> Any:
    """A scheduler by its name in the Brief, for a model whose own one has this config."""
    unclipped = {"clip_sample": False} if name in _CLIPPING else {}
    with _quiet():
        return _CLASSES[name].from_config(config, **unclipped)


@contextmanager
def _quiet() -> Iterator[None]:
    """Schedulers convert arrays in a way that NumPy 2 warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        yield


class Schedule:
    """The steps of one painting: from noise that `strength` calls for, to the picture. It carries state: one use each.

    config: of the model's own scheduler, which knows how its noise was made in training.
    """

    def __init__(self, name: str, config: Any, *, steps: int, strength: float, device: torch.device) -> None:
        self._scheduler = scheduler_of(name, config)
        with _quiet():
            self._scheduler.set_timesteps(steps, device=device)
        order = self._scheduler.order
        first = (steps - steps_done(steps, strength)) * order
        self.timesteps: torch.Tensor = self._scheduler.timesteps[first:]
        if hasattr(self._scheduler, "set_begin_index"):  # DDIM knows by the timestep where it is
            self._scheduler.set_begin_index(first)
        self._wants_generator = "generator" in signature(self._scheduler.step).parameters

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The latents [B, 4, h, w] with as much noise as there is at the timestep (a scalar)."""
        return self._scheduler.add_noise(latents, noise, timestep.reshape(1))

    def input(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The latents as the model wants them at this step."""
        return self._scheduler.scale_model_input(latents, timestep)

    def step(
        self, predicted: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor, generators: list[torch.Generator]
    ) -> torch.Tensor:
        """The latents after a step. generators: one an item, for schedulers that add noise of their own."""
        extra = {"generator": generators} if self._wants_generator else {}
        return self._scheduler.step(predicted, timestep, latents, return_dict=False, **extra)[0]
