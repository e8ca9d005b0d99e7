"""The device that the painter is tested on: the CPU, and a GPU where there is one."""

from typing import Any

import pytest
import torch

from warpaint.engines.settings import EngineSettings

GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here"))


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=GPU)])
def there(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of the device. fp32 on both: they are compared to a level."""
    return EngineSettings(device=request.param, dtype="fp32").model_dump(include={"device", "dtype"})
