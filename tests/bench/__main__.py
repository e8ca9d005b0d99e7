"""`make bench`: what this machine does. Ratios of one run can be compared, milliseconds of different runs cannot."""

import argparse
import sys
from pathlib import Path

import cv2
from rich.console import Console, RenderableType

sys.path.insert(0, str(Path(__file__).parent.parent))  # for `support`

from bench import isolation, latency, live, memory, metrics, quality, resume, session, wire


def _cost() -> RenderableType:
    """Imported when it is asked for: torch would be in every other figure of memory."""
    from bench import cost

    return cost.run()


def _flow() -> RenderableType:
    """Imported when it is asked for, as above."""
    from bench import flow

    return flow.run()


def _page() -> RenderableType:
    """Imported when it is asked for: it needs a real Chromium."""
    from bench import page

    return page.run()


def _obs() -> RenderableType:
    """Imported when it is asked for: it needs a real OBS."""
    from bench import obs

    return obs.run()


BENCHES = {
    "wire": wire.run,
    "session": session.run,
    "isolation": isolation.run,
    "memory": memory.run,
    "metrics": metrics.run,
    "cost": _cost,
    "flow": _flow,
    "live": live.run,
    "latency": latency.run,
    "resume": resume.run,
    "obs": _obs,
    "page": _page,
    "quality": quality.run,
}


# Columns of the output: the table of quality is the widest.
WIDTH = 160


def main() -> None:
    """Runs the benchmarks named, or all."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("names", nargs="*", metavar="|".join(BENCHES), help="[all]")
    names = parser.parse_args().names or list(BENCHES)
    console = Console(width=WIDTH)
    console.print(f"{cv2.getNumberOfCPUs()} cores, one OpenCV thread a core")
    for name in names:
        console.print(BENCHES[name]())


main()
