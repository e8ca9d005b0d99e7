"""A real `warpaint page` in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STARTED_WITHIN_S = 30.0
ENDED_WITHIN_S = 20.0
SAYS = "the page is at "


@dataclass
class PageServer:
    """A page under test. url: with its token, if it asks for one."""

    process: "subprocess.Popen[str]"
    url: str

    @property
    def base(self) -> str:
        """The address without its last slash and what follows."""
        return self.url.partition("/?")[0].rstrip("/")

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(ENDED_WITHIN_S)


def start(flags: Sequence[str], log: Path) -> "subprocess.Popen[str]":
    """The process of a page with these flags; it says where it is on stderr, in the log."""
    with log.open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", "from warpaint.client.cli import main; main()", "page", *flags],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            env=os.environ | {"NO_COLOR": "1", "COLUMNS": "500"},
        )


@contextmanager
def page(folder: Path, daemon: str, *flags: str, port: int = 0) -> Iterator[PageServer]:
    """A page of the daemon at this address. At the end it must still run, and end well."""
    log = folder / "page.log"
    process = start(["--daemon", daemon, "--port", str(port), *flags], log)
    try:
        yield PageServer(process, _url(process, log))
        process.send_signal(signal.SIGTERM)
        if (code := process.wait(ENDED_WITHIN_S)) != 0:
            raise RuntimeError(f"the page ended with {code}: {log.read_text()}")
    finally:
        process.kill()
        process.wait()


def _url(process: "subprocess.Popen[str]", log: Path) -> str:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith(SAYS):
                return line.removeprefix(SAYS)
        time.sleep(0.05)
    raise RuntimeError(f"the page did not start: {log.read_text()}")
