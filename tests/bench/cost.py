"""What painting with Stable Diffusion costs: GFLOPs an output frame, beside painting each frame anew.

What the painter runs is counted on real films with tiny models, which decide nothing about it; each run is then weighed
with the operations of the real SD 1.5 nets, counted on torch's meta device, where they have shapes and no weights.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from rich.console import Group, RenderableType
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from support.clips import frames
from support.studio import drive
from support.tiny_sd import Tiny, tiny_models
from warpaint.engines.base import Frame, PaintJob
from warpaint.engines.flow.dis import Dis
from warpaint.engines.painters.diffusion.painter import Diffusion
from warpaint.engines.painters.diffusion.weights import sd1
from warpaint.engines.painters.diffusion.work import Net, Size, Work
from warpaint.engines.settings import EngineSettings
from warpaint.proto.brief import Brief
from warpaint.server.session import Session

# Portrait as in the original's examples, and landscape.
CLIPS = (("bigbuckbunny", (512, 768)), ("bikes", (640, 272)))
# Of each clip; and of those that are painted alone.
FRAMES, FRAMES_ALONE = 60, 6
# Seconds between paintings of holes: each frame's, or as often as the Brief says.
GAPS_S = (0.0, 0.25)
# Four steps: half of eight.
BRIEF: dict[str, Any] = {"prompt": "a painting", "scheduler": "lcm", "guidance": 1.0, "steps": 8, "strength": 0.5}
# The original's: every frame img2img or inpainting of the whole, 50 steps at 0.4, with guidance; it encodes the picture
# and the blanked picture, and decodes twice.
ORIGINAL_STEPS, ORIGINAL_ROWS, ORIGINAL_CODINGS = 20, 2, 2
AIM_OF_ORIGINAL, AIM_RATE = 0.015, 4.0
TEXT_TOKENS, TEXT_WIDTH = 77, 768


def run() -> RenderableType:
    """The cost of a frame by scheme; and the time that one takes with the tiny models."""
    torch.set_num_threads(2)
    title = "Stable Diffusion 1.5, GFLOPs an output frame: 4 steps of LCM, TAESD; flow `dis`, no net: 0"
    columns = ("clip", "gap, s", "holes", "keyframes", "painted", "original", "alone, 1 / 2 / 4 steps", "ours", "share")
    costs = Table(*columns, title=title)
    rates = Table(
        "clip",
        "repaint_gap_s",
        "each frame alone, ms",
        "Warpaint, ms",
        "rate",
        "aim",
        title="Time a frame, tiny models",
    )
    with tempfile.TemporaryDirectory() as folder:
        models = tiny_models(Path(folder))
        for name, size in CLIPS:
            alone_ms = _alone_ms(models, name, size)
            for gap_s in GAPS_S:
                film = painted(models, name, size, gap_s)
                costs.add_row(f"{name} {size[0]}x{size[1]}", f"{gap_s:g}", *_costs(film, size))
                rates.add_row(name, f"{gap_s:g}", *_rates(film, alone_ms))
    return Group(costs, rates)


@dataclass(frozen=True)
class Film:
    """What a film took: counted work, shares a frame, and seconds of the painter and of all."""

    work: Work
    frames: int
    keyframes: int
    holes: float
    painted: float
    seconds: float


def painted(models: Tiny, name: str, size: Size, gap_s: float) -> Film:
    """A clip through the session core, flow and painter, without a daemon."""
    painter, flow = _painter(models), Dis()
    brief = Brief(look="diffusion", vae="tiny", repaint_gap_s=gap_s, **BRIEF)
    session = Session(brief, size, habits=painter.habits)
    pictures = list(frames(name, size, stop=FRAMES))
    painter.studio.work.runs.clear()
    began = time.perf_counter()
    outputs = []
    for index, picture in enumerate(pictures):
        outputs += drive(session, Frame(index, Fraction(index, 25), picture), flow, painter)
    seconds = time.perf_counter() - began
    count, pixels = len(outputs), size[0] * size[1]
    holes = sum(np.count_nonzero(each.holes) for each in outputs if not each.keyframe) / count / pixels
    area = sum(each.painted_pixels for each in outputs) / count / pixels
    return Film(painter.studio.work, count, sum(each.keyframe for each in outputs), holes, area, seconds)


def _painter(models: Tiny) -> Diffusion:
    return Diffusion(
        EngineSettings(model=str(models.base), inpaint_model=str(models.inpaint), taesd=models.taesd, device="cpu")
    )


def _costs(film: Film, size: Size) -> Sequence[str]:
    original = ORIGINAL_STEPS * ORIGINAL_ROWS * gflops("unet", size)
    original += ORIGINAL_CODINGS * (gflops("vae_encode", size) + gflops("vae_decode", size))
    coding = gflops("tiny_encode", size) + gflops("tiny_decode", size)
    alone = [coding + steps * gflops("unet", size) for steps in (1, 2, 4)]
    ours = sum(rows * gflops(net, at) for (net, at), rows in film.work.runs.items()) / film.frames
    return (
        f"{100 * film.holes:.1f} %",
        f"{film.keyframes} of {film.frames}",
        f"{100 * film.painted:.1f} %",
        f"{original:,.0f}",
        " / ".join(f"{each:,.0f}" for each in alone),
        f"{ours:,.0f}",
        f"{100 * ours / original:.2f} % (aim {100 * AIM_OF_ORIGINAL:g} %)",
    )


def _rates(film: Film, alone_ms: float) -> Sequence[str]:
    ours_ms = 1e3 * film.seconds / film.frames
    return f"{alone_ms:.0f}", f"{ours_ms:.0f}", f"{alone_ms / ours_ms:.1f}x", f"{AIM_RATE:g}x"


def _alone_ms(models: Tiny, name: str, size: Size) -> float:
    """Time a frame, each painted in full by img2img with the same models, steps and threads, milliseconds."""
    painter, brief = _painter(models), Brief(look="diffusion", vae="tiny", **BRIEF)
    pictures = list(frames(name, size, stop=FRAMES_ALONE))
    began = time.perf_counter()
    for index, picture in enumerate(pictures):
        frame = Frame(index, Fraction(index, 25), picture)
        painter.paint([PaintJob(index, 0, frame, brief, 0, (0, 0), size)], lambda: False)
    return 1e3 * (time.perf_counter() - began) / len(pictures)


@cache
def gflops(net: Net, size: Size) -> float:
    """Operations of one run of a real SD 1.5 net on a picture of this size (W, H), two a multiply-add, in 1e9."""
    if net == "text":  # a millionth of the rest: 6.5 GFLOPs, once a prompt
        return 0.0
    width, height = size[0] // 8, size[1] // 8
    with torch.device("meta"), counting() as counter:
        picture, latent = torch.empty(1, 3, size[1], size[0]), torch.empty(1, 4, height, width)
        text, step = torch.empty(1, TEXT_TOKENS, TEXT_WIDTH), torch.tensor(1)
        model = real(net)
        with counter:
            if net in ("unet", "inpaint_unet"):
                channels = 9 if net == "inpaint_unet" else 4
                model(torch.empty(1, channels, height, width), step, text)
            elif net == "controlnet":
                model(latent, step, text, controlnet_cond=picture)
            elif net in ("vae_encode", "tiny_encode"):
                model.encode(picture)
            else:
                model.decode(latent)
    return counter.get_total_flops() / 1e9


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """A counter of operations; nothing is computed."""
    with torch.inference_mode():
        yield FlopCounterMode(display=False)


@cache
def real(net: Net) -> Any:
    """A net of SD 1.5 on the meta device: its shapes, without weights."""
    with tempfile.TemporaryDirectory() as folder, torch.device("meta"):
        configuration = sd1.written(Path(folder), inpaint=net == "inpaint_unet")
        if net.startswith("tiny"):
            return AutoencoderTiny()
        if net.startswith("vae"):
            return AutoencoderKL.from_config(AutoencoderKL.load_config(configuration, subfolder="vae"))
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(configuration, subfolder="unet"))
        return ControlNetModel.from_unet(unet, load_weights_from_unet=False) if net == "controlnet" else unet
