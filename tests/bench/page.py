"""The preview page in a real Chromium: frames shown a second, and how late, of a real film that is painted live."""

import os
import tempfile
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from rich.console import RenderableType
from rich.table import Table

from support.browser import Filming, Image, browser, page_server, shown
from support.daemon import daemon

FILM = Path(__file__).parents[2] / "footage" / "bigbuckbunny.mp4"
# What two cores paint at this rate, beside a browser.
SIZES = ((512, 288), (768, 432), (1280, 720))
RATE = 25.0
MEASURED_MS = 10_000
SETTLED_FRAMES = 50
# Without WebCodecs, as in a browser that has none.
WITHOUT_WEBCODECS = "delete window.VideoDecoder;"
FIGURES = """() => ({ shown: warpaint.shown, arrival: warpaint.arrival_to_canvas_ms, sent: warpaint.sent_to_canvas_ms,
  delay: warpaint.delay_ms, codec: warpaint.codec })"""


def run() -> RenderableType:
    """Measures raw and painted side by side, by each codec and size."""
    load = os.getloadavg()[0]
    title = (
        f"The page in Chromium without a GPU, identity painter, {RATE:g} frames a second sent; load average {load:.1f}"
    )
    table = Table(
        *("picture", "codec", "shown a second", "daemon's delay, ms", "arrival to canvas, ms", "sent to canvas, ms"),
        title=title,
    )
    with tempfile.TemporaryDirectory() as name, browser() as running:
        folder = Path(name)
        with daemon(folder, "--painters", "identity") as served, page_server(served.address, folder) as url:
            for size in SIZES:
                with Filming(served.address, _frames(size), rate=RATE, painter="identity"):
                    for init in ("", WITHOUT_WEBCODECS):
                        with shown(running, url, init=init, size=(1440, 900)) as tab:
                            tab.frames(SETTLED_FRAMES)
                            before = tab.page.evaluate(FIGURES)
                            tab.page.wait_for_timeout(MEASURED_MS)
                            after = tab.page.evaluate(FIGURES)
                        table.add_row(
                            *("{}x{}".format(*size), after["codec"]),
                            f"{1e3 * (after['shown'] - before['shown']) / MEASURED_MS:.1f}",
                            *(f"{after[key]:.0f}" for key in ("delay", "arrival", "sent")),
                        )
    return table


def _frames(size: tuple[int, int]) -> list[Image]:
    with av.open(str(FILM), "r") as container:
        decoded = islice(container.decode(video=0), 100)
        frames = [cv2.resize(each.to_ndarray(format="bgr24"), size, interpolation=cv2.INTER_AREA) for each in decoded]
    return [np.asarray(each, np.uint8) for each in frames]
