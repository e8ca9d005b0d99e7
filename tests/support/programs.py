"""Programs of the system that some tests need: where one is missing the test is skipped, with what installs it."""

import os
import shutil
from typing import NoReturn

import pytest

# Set to 1 where everything is meant to be there: then a skip is a failure.
REQUIRE_ALL = "WARPAINT_REQUIRE_ALL"


def program(name: str, install: str) -> str:
    """The path of a program. install: the line that installs it."""
    return shutil.which(name) or missing(name, install)


def missing(what: str, install: str) -> NoReturn:
    """Skips the test for want of something, or fails it where everything is required."""
    reason = f"{what} is missing: {install}"
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
