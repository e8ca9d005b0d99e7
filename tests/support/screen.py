"""A screen that nobody sees: Xvfb."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from .programs import program

INSTALL = "apt-get install xvfb"
ENDS_WITHIN_S = 10.0


@contextmanager
def screen(width: int, height: int) -> Iterator[str]:
    """The name of an X display of this size. Skips the test where there is no Xvfb."""
    xvfb = program("Xvfb", INSTALL)
    reads, writes = os.pipe()
    command = [xvfb, "-displayfd", str(writes), "-screen", "0", f"{width}x{height}x24", "+extension", "GLX"]
    process = subprocess.Popen([*command, "-nolisten", "tcp"], pass_fds=[writes], stderr=subprocess.DEVNULL)
    os.close(writes)
    try:
        with os.fdopen(reads) as told:
            number = told.readline().strip()
        if not number:
            raise RuntimeError("Xvfb did not start")
        yield f":{number}"
    finally:
        process.terminate()
        process.wait(ENDS_WITHIN_S)
