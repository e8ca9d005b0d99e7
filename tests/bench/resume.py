"""How soon a live film goes on when its connection was cut, or its daemon killed, and how large a step is seen."""

import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.table import Table

from bench.camera import Crew, Film, Footage, Take, film
from support.daemon import daemon, start
from support.proxy import Proxy

SIZE = (384, 256)  # the proxy is Python: it carries 18 MB a second of it, and there and back
RATE = 30.0
CUTS, CUT_EVERY_S = 10, 2.0
KILLS = 3
KILL_AFTER_S = 8.0  # a session is written down every 5 s
AFTER_KILL_S = 8.0  # a daemon starts, and its client finds it, within this


def run() -> Table:
    """Milliseconds to the first result of a frame that was pushed afterwards, and the step that is seen there."""
    table = Table("", "median", "each", title=f"Coming back: live, {SIZE[0]}x{SIZE[1]}, {RATE:g} a second")
    with tempfile.TemporaryDirectory() as folder:
        cuts = _cut(Path(folder))
        table.add_row("connection cut to the first result, ms", *_cells(cuts, "{:.0f}"))
        table.add_section()
        kills = [_killed(Path(folder), number) for number in range(KILLS)]
    starts, comes, steps, usual, most = zip(*kills, strict=True)
    table.add_row("daemon killed to the new one listening, ms", *_cells(starts, "{:.0f}"))
    table.add_row("daemon killed to the first result, ms", *_cells(comes, "{:.0f}"))
    table.add_row("last picture before to first after, levels", *_cells(steps, "{:.2f}"))
    table.add_row("pictures a frame apart before the kill, median, levels", *_cells(usual, "{:.2f}"))
    table.add_row("the same, 99th percentile, levels", *_cells(most, "{:.2f}"))
    return table


def _cut(folder: Path) -> list[float]:
    seconds = (CUTS + 1) * CUT_EVERY_S
    cuts = []
    with (
        daemon(folder, "--log-level", "warning", binds=["tcp://127.0.0.1:*"]) as running,
        Proxy(int(running.address.rpartition(":")[2])) as proxy,
    ):
        crew = Crew([Take(proxy.address, film(folder, SIZE), seconds, RATE)])
        for _ in range(CUTS):
            time.sleep(CUT_EVERY_S)
            cuts.append(time.monotonic())
            proxy.cut()
        [footage] = crew.footage()
    return [_first_after(footage, at) for at in cuts]


def _killed(folder: Path, number: int) -> tuple[float, float, float, float, float]:
    """Milliseconds to a daemon that listens, and to the first result; steps of the picture: there, usual, and large."""
    state, keep = folder / f"state-{number}", folder / f"kept-{number}"
    with _daemon(folder, state) as (process, address):
        take = Take(address, film(folder, SIZE), KILL_AFTER_S + AFTER_KILL_S, RATE, keep=keep, follows=True)
        crew = Crew([take])
        time.sleep(KILL_AFTER_S)
        killed_at = time.monotonic()
        process.send_signal(signal.SIGKILL)
        process.wait()
        with _daemon(folder, state):
            starts_ms = 1e3 * (time.monotonic() - killed_at)
            [footage] = crew.footage()
    kept: Film = np.memmap(keep, np.uint8).reshape(-1, SIZE[1], SIZE[0], 3)
    first = next(place for place, (at, _) in enumerate(footage.results) if at > killed_at + starts_ms / 1e3)
    usual = [_step(kept, place) for place in range(first) if place and _apart(footage, place) == 1]
    return (
        starts_ms,
        _first_after(footage, killed_at),
        _step(kept, first),
        statistics.median(usual),
        float(np.percentile(usual, 99)),
    )


def _first_after(footage: Footage, at: float) -> float:
    """Milliseconds from then to the first result of a frame that was pushed later: no answer that was on its way."""
    return 1e3 * (next(came for came, info in footage.results if footage.pushed_at[info.index] > at) - at)


def _apart(footage: Footage, place: int) -> int:
    """How many frames of the film lie between a result and the one before it."""
    before, this = (footage.pictures[info.index] for _, info in footage.results[place - 1 : place + 1])
    return this - before


def _step(kept: Film, place: int) -> float:
    """The mean absolute difference to the picture before, levels."""
    return float(np.abs(kept[place].astype(np.int16) - kept[place - 1]).mean())


def _cells(values: "list[float] | tuple[float, ...]", form: str) -> tuple[str, str]:
    return form.format(statistics.median(values)), ", ".join(form.format(value) for value in values)


@contextmanager
def _daemon(folder: Path, state: Path) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    """A daemon that may be killed, and its address; it has taken up its sessions when it says that it listens."""
    flags = ("--bind", f"ipc://{folder}/killed.sock", "--state-dir", str(state), "--log-level", "warning")
    with (folder / "killed.log").open("a") as errors:
        process = start(flags, errors)
    try:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise RuntimeError(f"the daemon did not start: {(folder / 'killed.log').read_text()}")
        yield process, line.split()[-1]
    finally:
        process.terminate()
        process.communicate()
