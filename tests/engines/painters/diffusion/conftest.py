"""The device that the painter is tested on: the CPU, and a GPU where there is one."""

from typing import Any

import pytest
import torch

from warpaint.engines.settings import EngineSettings

DEVICES = ["cpu", *([pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module", params=DEVICES)
def there(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of the device. fp32 on each: they are compared to a level."""
    return EngineSettings(device=request.param, dtype="fp32").model_dump(include={"device", "dtype"})
