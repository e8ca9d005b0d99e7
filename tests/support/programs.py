"""Programs that some tests need and a machine may lack."""

import os
import shutil
from typing import NoReturn

import pytest


def program(name: str, install: str) -> str:
    """The path of a program. Without it the test is skipped, and told how to install it; see `absent`."""
    return shutil.which(name) or absent(f"{name} is not installed: {install}")


def absent(reason: str) -> NoReturn:
    """Skips the test; with WARPAINT_REQUIRE_ALL=1, as where everything is to be tested, it fails."""
    if os.environ.get("WARPAINT_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
