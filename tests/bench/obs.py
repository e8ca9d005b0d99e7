"""How long it is from what OBS draws to what comes back painted into the same OBS, by each way that it can send."""

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from support.daemon import daemon
from support.obs import RATE, SIZE
from support.round_trip import NEGATIVE, WAYS, Take, filmed

LOOKS = 50  # some ten seconds
AGAIN = 3  # a Media Source keeps the delay that it began with: so each way begins several times


def run() -> Table:
    """A row for each time that OBS began to send."""
    title = f"OBS and back: {SIZE[0]}x{SIZE[1]} at {RATE} a second, a frame being {1e3 / RATE:g} ms"
    columns = ("frames", "sent back", "round trip p50, ms", "p5 to p95, ms", "load average")
    table = Table("", *columns, title=title)
    with tempfile.TemporaryDirectory() as folder, daemon(Path(folder), "--painters", NEGATIVE) as running:
        for way in WAYS:
            for number in range(AGAIN):
                (place := Path(folder) / f"{way}-{number}").mkdir()
                [take] = filmed(place, running.address, [way], LOOKS)
                table.add_row(way, *_figures(take), f"{os.getloadavg()[0]:.1f}")
    return table


def _figures(take: Take) -> Sequence[str]:
    found = re.search(r"(\d+) pictures came, (\d+) were sent", take.said)
    if not found:
        raise RuntimeError(f"the bridge did not end well: {take.said}")
    p5, p50, p95 = 1e3 / RATE * np.percentile(take.delays, [5, 50, 95])
    return str(take.frames), f"{100 * int(found[2]) / int(found[1]):.0f} %", f"{p50:.0f}", f"{p5:.0f} to {p95:.0f}"
