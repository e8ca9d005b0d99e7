"""Pictures to latents and back, and the noise that paintings start from. Latents: [B, 4, H / 8, W / 8]."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from ...base import Mask, PaintJob, Picture

# Pixels of a latent's side.
CELL = 8
# Holes reach so many latents beyond their rim, where they are painted without a model of their own: with less strength
# there, so that what is painted runs into what stays. What lies outside the hole is not taken from it.
RIM = 1
RIM_STRENGTH = 0.5


def tensor_of(pictures: Sequence[Picture], like: torch.Tensor) -> torch.Tensor:
    """BGR u8 [H, W, 3] each to RGB [B, 3, H, W], 0..1, of the dtype and on the device of `like`."""
    stacked = np.stack([cv2.cvtColor(each, cv2.COLOR_BGR2RGB) for each in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).to(like.device).to(like.dtype) / 255


def pictures_of(decoded: torch.Tensor) -> list[Picture]:
    """RGB [B, 3, H, W], -1..1 and beyond, to BGR u8 [H, W, 3] each."""
    levels = (decoded.float().clamp(-1, 1) + 1) * 127.5
    rgb = levels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [np.asarray(cv2.cvtColor(each, cv2.COLOR_RGB2BGR), np.uint8) for each in rgb]


def encoded(vae: Any, pictures: torch.Tensor) -> torch.Tensor:
    """The latents of pictures [B, 3, H, W], 0..1: their means, so that the same picture has the same latents."""
    found = vae.encode(pictures * 2 - 1)
    latents: torch.Tensor = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
    return latents * vae.config.scaling_factor


def decoded(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """The pictures of latents: [B, 3, H, W], -1..1 and a little beyond."""
    pictures: torch.Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
    return pictures


def noise_of(job: PaintJob, like: torch.Tensor) -> torch.Tensor:
    """The job's noise [1, 4, h, w]. It is a field over the whole canvas: a crop finds that of its place."""
    columns, rows = (side // CELL for side in job.size)
    field = torch.randn((1, 4, rows, columns), generator=generator_of(job.seed))
    x, y = (place // CELL for place in job.origin)
    h, w = (side // CELL for side in job.frame.bgr.shape[:2])
    return field[:, :, y : y + h, x : x + w].to(like.device, like.dtype)


def generator_of(seed: int) -> torch.Generator:
    """Chance from a seed. Always of the CPU: the same seed gives the same painting on every device."""
    return torch.Generator().manual_seed(seed)


def hole_of(holes: Mask, like: torch.Tensor, *, soft: bool) -> torch.Tensor:
    """Holes [H, W] as a map over latents [1, 1, h, w]: 1 in each that a hole touches; soft: with a rim."""
    pixels = torch.from_numpy(holes.astype(np.float32))[None, None]
    hard = functional.max_pool2d(pixels, CELL)
    if soft:
        around = functional.max_pool2d(hard, 2 * RIM + 1, stride=1, padding=RIM)
        hard = torch.maximum(hard, RIM_STRENGTH * around)
    return hard.to(like.device, like.dtype)
