"""Whether a long session grows: the slope of the daemon's resident memory."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import psutil
from rich.table import Table

from support.clips import frames
from support.daemon import daemon
from warpaint.client.painting import Client

SIZE = (192, 112)
FIRST, LAST, STEP = 1000, 5000, 50
AIM_BYTES = 1024


def run() -> Table:
    """Bytes a frame between frames 1,000 and 5,000 of one session."""
    film = itertools.cycle(list(frames("bigbuckbunny", SIZE)))
    at, resident = [], []
    with tempfile.TemporaryDirectory() as folder, daemon(Path(folder), "--log-level", "warning") as running:
        process = psutil.Process(running.process.pid)
        with Client(running.address) as client, client.session(look="poster") as session:
            for painted in session.paint(itertools.islice(film, LAST)):
                if painted.index >= FIRST and painted.index % STEP == 0:
                    at.append(painted.index)
                    resident.append(process.memory_info().rss)
    slope = float(np.polyfit(at, resident, 1)[0])
    title = f"Memory: one session of {LAST} frames, `poster`"
    table = Table("resident at 1,000", "at 5,000", "slope", "aim", title=title)
    first, last = (f"{each / 2**20:.1f} MiB" for each in (resident[0], resident[-1]))
    table.add_row(first, last, f"{slope:.0f} B a frame", f"< {AIM_BYTES} B")
    return table
