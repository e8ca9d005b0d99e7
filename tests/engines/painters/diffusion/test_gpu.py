"""On a GPU the tests of the painter run once more there, all that the fixture `there` is in; this one says if not."""

import numpy as np
import pytest
import torch

from support.easel import brief, hole_job, keyframe
from support.tiny_sd import Tiny
from warpaint.engines.painters.diffusion.painter import Diffusion
from warpaint.engines.settings import EngineSettings


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here: what runs on one was not exercised")
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_paints_what_single_does_nearly(tiny: Tiny, dtype: str) -> None:
    jobs = [keyframe(brief()), hole_job(brief())]

    def painted(dtype: str, device: str) -> list[np.ndarray]:
        settings = EngineSettings.model_validate({"model": str(tiny.base), "device": device, "dtype": dtype})
        done = Diffusion(settings).paint(jobs, lambda: False)
        return [each.image for each in done if each.image is not None]

    for half, single in zip(painted(dtype, "cuda"), painted("fp32", "cpu"), strict=True):
        assert np.abs(half.astype(float) - single).mean() < 4
