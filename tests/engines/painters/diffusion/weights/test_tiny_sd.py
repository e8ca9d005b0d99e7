"""The tests' own models: every input moves what they paint, or tests of a painter would show nothing."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)

from support.tiny_sd import Tiny, tiny_models
from warpaint.engines.painters.diffusion.weights.checkpoint import Kind, inspect_model
from warpaint.engines.painters.diffusion.weights.loading import load_controlnet, load_pipeline, load_taesd

# Mean difference of two pictures, 0..1, that is more than rounding by far.
FELT = 0.002
SIZE = (64, 64)


def parts(path: Path, kind: Kind = "base") -> dict[str, Any]:
    pipeline = load_pipeline(inspect_model(str(path), kind=kind), dtype=torch.float32)
    return pipeline.components | {"requires_safety_checker": False}


def painted(pipeline: Any, **changes: Any) -> torch.Tensor:
    """A picture, [1, 3, H, W], 0..1."""
    pipeline.set_progress_bar_config(disable=True)
    options: dict[str, Any] = {
        "prompt": "a photo of a cat",
        "image": picture(0),
        "strength": 0.75,
        "num_inference_steps": 4,
        "guidance_scale": 5.0,
        "output_type": "pt",
        "generator": torch.Generator().manual_seed(0),
    }
    return pipeline(**(options | changes)).images


def picture(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def difference(some: torch.Tensor, other: torch.Tensor) -> float:
    return float((some - other).abs().mean())


CHANGES: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "an oil painting of a dog"},
    "guidance": {"guidance_scale": 1.0},
    "strength": {"strength": 0.5},
    "picture": {"image": picture(1)},
    "seed": {"generator": torch.Generator().manual_seed(1)},
}


def test_every_input_moves_the_base_model(tiny: Tiny) -> None:
    pipeline = StableDiffusionImg2ImgPipeline(**parts(tiny.base))
    plain = painted(pipeline)
    assert torch.equal(painted(pipeline), plain)
    assert 0.05 < plain.std() < 0.4, "pictures that are neither flat nor all black and white"
    moved = {name: difference(painted(pipeline, **change), plain) for name, change in CHANGES.items()}
    assert {name: by for name, by in moved.items() if by < FELT} == {}


def test_every_input_moves_the_inpaint_model(tiny: Tiny) -> None:
    pipeline = StableDiffusionInpaintPipeline(**parts(tiny.inpaint, "inpaint"))
    left = torch.zeros(1, 1, *SIZE)
    left[..., : SIZE[1] // 2] = 1
    options: dict[str, Any] = {"mask_image": left, "height": SIZE[0], "width": SIZE[1]}
    plain = painted(pipeline, **options)
    changes = CHANGES | {"mask": {"mask_image": 1 - left}, "seed": {"generator": torch.Generator().manual_seed(1)}}
    moved = {name: difference(painted(pipeline, **(options | change)), plain) for name, change in changes.items()}
    assert {name: by for name, by in moved.items() if by < FELT} == {}


def test_each_controlnet_moves_the_base_model_in_its_own_way(tiny: Tiny) -> None:
    networks = [load_controlnet(path, torch.float32) for path in (tiny.canny, tiny.lineart)]
    canny, lineart = (controlled(tiny, network, 1.0) for network in networks)
    assert difference(canny, controlled(tiny, networks[0], 0.0)) > FELT
    assert difference(canny, lineart) > FELT


def controlled(tiny: Tiny, network: ControlNetModel, scale: float) -> torch.Tensor:
    pipeline = StableDiffusionControlNetImg2ImgPipeline(controlnet=network, **parts(tiny.base))
    return painted(pipeline, control_image=picture(2), controlnet_conditioning_scale=scale)


def test_the_tiny_vae_moves_with_its_picture(tiny: Tiny) -> None:
    pipeline = StableDiffusionImg2ImgPipeline(**(parts(tiny.base) | {"vae": load_taesd(tiny.taesd, torch.float32)}))
    plain = painted(pipeline)
    assert 0.05 < plain.std() < 0.4
    assert difference(painted(pipeline, image=picture(1)), plain) > FELT


def test_they_are_the_same_whenever_they_are_made(tiny: Tiny, tmp_path: Path) -> None:
    again = tiny_models(tmp_path)
    assert digests(again.base.parent) == digests(tiny.base.parent)


def digests(folder: Path) -> dict[Path, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder): sha256(file.read_bytes()).hexdigest() for file in files}


def test_random_numbers_go_on_as_before(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    tiny_models(tmp_path)
    assert torch.equal(torch.rand(3), expected)
