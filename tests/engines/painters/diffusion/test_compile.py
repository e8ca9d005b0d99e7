"""Compiled models: the same pictures; and where there is nothing to compile with, the models as they are."""

import logging
from typing import Any

import numpy as np
import pytest
import torch

from support.easel import brief, keyframe, scene
from support.tiny_sd import Tiny
from warpaint.engines.painters.diffusion.painter import Diffusion
from warpaint.engines.settings import EngineSettings

SIZE = (64, 64)

# Compiling takes a minute for each size, however small the model.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def painted(tiny: Tiny, *, compiled: bool) -> Any:
    painter = Diffusion(EngineSettings(model=str(tiny.base), device="cpu", compile=compiled))
    return [painter.paint([keyframe(brief(), scene(0, SIZE))], lambda: False)[0].image for _ in range(2)]


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_models_paint_the_same(tiny: Tiny) -> None:
    for plain, fast in zip(painted(tiny, compiled=False), painted(tiny, compiled=True), strict=True):
        assert np.abs(plain.astype(int) - fast).max() <= 1


@pytest.mark.filterwarnings("ignore")
def test_without_a_compiler_they_run_as_they_are(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler here")

    torch.compiler.reset()
    logger = logging.getLogger("torch._dynamo.convert_frame")  # torch's loggers do not hand on to the root's handlers
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", fails)
    plain = painted(tiny, compiled=False)
    np.testing.assert_array_equal(plain, painted(tiny, compiled=True))
    assert "no compiler here" in caplog.text
