"""Denoising, against the library's own pipelines: the same pictures, where these can paint them."""

from collections.abc import Callable
from typing import Any

import diffusers.pipelines.controlnet.pipeline_controlnet_img2img as library_controlnet
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img as library_img2img
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint as library_inpaint
import numpy as np
import pytest
import torch

from support.easel import brief, hole_job, keyframe, scene
from support.tiny_sd import Tiny
from warpaint.engines.base import PaintJob, Picture
from warpaint.engines.painters.diffusion import latents, schedulers
from warpaint.engines.painters.diffusion.control import canny
from warpaint.engines.painters.diffusion.jobs import blanked, holes_of, start_of
from warpaint.engines.painters.diffusion.painter import Diffusion
from warpaint.engines.painters.diffusion.studio import STEP_SEED
from warpaint.engines.settings import EngineSettings

# In the library's own pipelines.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def painter(tiny: Tiny, there: dict[str, Any]) -> Diffusion:
    models = {"model": str(tiny.base), "inpaint_model": str(tiny.inpaint), "controlnets": {"canny": tiny.canny}}
    return Diffusion(EngineSettings.model_validate(models | there))


def like(painter: Diffusion) -> torch.Tensor:
    return torch.empty(0, device=painter.studio.models.device)


@pytest.fixture
def same_noise(painter: Diffusion, monkeypatch: pytest.MonkeyPatch) -> Callable[[PaintJob], None]:
    """Has the pipelines start from the noise that a job starts from."""

    def use(job: PaintJob) -> None:
        for module in (library_img2img, library_inpaint, library_controlnet):
            monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: latents.noise_of(job, like(painter)))

    return use


def in_latents(painter: Diffusion, picture: Picture) -> torch.Tensor:
    with torch.inference_mode():
        return latents.encoded(painter.studio.models.base.vae, latents.tensor_of([picture], like(painter)))


def asked(painter: Diffusion, job: PaintJob) -> dict[str, Any]:
    """What a pipeline is asked for, to paint a job."""
    wanted = job.brief
    return {
        "prompt": wanted.prompt,
        "negative_prompt": wanted.negative_prompt,
        "strength": wanted.strength,
        "num_inference_steps": wanted.steps,
        "guidance_scale": wanted.guidance,
        "generator": [latents.generator_of(job.seed + STEP_SEED)],
        "output_type": "np",
    }


def made(pipeline: Any, painter: Diffusion, job: PaintJob, **parts: Any) -> Any:
    """One of the library's pipelines of the painter's own parts, with the scheduler of the job."""
    base = painter.studio.models.base
    scheduler = schedulers.scheduler_of(job.brief.scheduler, base.scheduler.config)
    names = ("vae", "text_encoder", "tokenizer", "unet", "feature_extractor")
    found = {name: getattr(base, name) for name in names} | {"safety_checker": None, **parts}
    made_of = pipeline(**found, scheduler=scheduler, requires_safety_checker=False)
    made_of.set_progress_bar_config(disable=True)
    return made_of


def assert_same(painted: Picture | None, library: Any) -> None:
    """Equal to a level: floats are added up in another order."""
    assert painted is not None
    expected = np.rint(library.images[0][:, :, ::-1] * 255)
    assert np.abs(expected - painted.astype(float)).max() <= 1


SCHEDULERS = ["ddim", "dpm++", "euler", "euler_a", "lcm", "tcd", "unipc"]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize(("guidance", "steps", "strength"), [(6.0, 8, 0.5), (1.0, 4, 1.0)])
def test_keyframes_are_those_of_the_librarys_img2img(
    painter: Diffusion,
    same_noise: Callable[[PaintJob], None],
    scheduler: str,
    guidance: float,
    steps: int,
    strength: float,
) -> None:
    job = keyframe(brief(scheduler=scheduler, guidance=guidance, steps=steps, strength=strength, negative_prompt="fog"))
    [done] = painter.paint([job], lambda: False)
    same_noise(job)
    pipeline = made(library_img2img.StableDiffusionImg2ImgPipeline, painter, job)
    eta = {"eta": 0.3} if scheduler == "tcd" else {}  # which is its own default, and not the pipeline's
    assert_same(done.image, pipeline(image=in_latents(painter, job.frame.bgr), **asked(painter, job), **eta))


def test_a_keyframe_may_start_from_a_picture_of_its_own(painter: Diffusion) -> None:
    start = scene(9)
    [from_canvas] = painter.paint([keyframe(brief(), canvas=start)], lambda: False)
    [from_raw] = painter.paint([keyframe(brief(), start)], lambda: False)
    np.testing.assert_array_equal(from_canvas.image, from_raw.image)


def test_holes_are_those_of_the_librarys_inpainting(
    painter: Diffusion, same_noise: Callable[[PaintJob], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = hole_job(brief(steps=8, strength=0.5, guidance=5.0))
    [done] = painter.paint([job], lambda: False)
    same_noise(job)
    inpaint = painter.studio.models.inpaint
    parts = {name: getattr(inpaint, name) for name in ("unet", "text_encoder", "tokenizer")}
    pipeline = made(library_inpaint.StableDiffusionInpaintPipeline, painter, job, **parts)
    cells = latents.hole_of(holes_of(job), like(painter), soft=False)
    mask = torch.nn.functional.interpolate(cells, scale_factor=latents.CELL)
    around = in_latents(painter, blanked(job))
    library = pipeline(
        image=in_latents(painter, start_of(job)),
        mask_image=mask,
        masked_image_latents=around,
        height=job.frame.bgr.shape[0],
        width=job.frame.bgr.shape[1],
        **asked(painter, job),
    )
    assert_same(done.image, library)


@pytest.mark.parametrize("window", [(0.0, 1.0), (0.0, 0.5), (0.5, 1.0)])
def test_controls_are_those_of_the_library(
    painter: Diffusion, same_noise: Callable[[PaintJob], None], window: tuple[float, float]
) -> None:
    text = f"canny:0.8:{window[0]}:{window[1]}"
    job = keyframe(brief(steps=8, strength=0.5, guidance=5.0, controls=(text,)))
    [done] = painter.paint([job], lambda: False)
    same_noise(job)
    net = painter.studio.models.controls["canny"]
    pipeline = made(library_controlnet.StableDiffusionControlNetImg2ImgPipeline, painter, job, controlnet=net)
    shown = latents.tensor_of([canny(job.frame.bgr)], like(painter))
    library = pipeline(
        image=in_latents(painter, job.frame.bgr),
        control_image=shown,
        controlnet_conditioning_scale=0.8,
        control_guidance_start=window[0],
        control_guidance_end=window[1],
        **asked(painter, job),
    )
    assert_same(done.image, library)
