"""What it costs to be watched: the counting of a frame, a page of metrics, and frames while many ask for pages."""

import http.client
import re
import statistics
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from rich.table import Table

from support.camera import Camera
from support.clips import frames
from support.daemon import Daemon, Wire, daemon
from warpaint.proto.brief import Brief
from warpaint.proto.messages import Provenance, Source
from warpaint.server.accounts import Accounts, Stages

SIZE = (384, 256)
COUNTED = 20_000  # frames
STAGES = ("wait", "decode", "canvas", "compose", "encode_features", "match", "encode")
PAGES = 8
PAGE_EACH_S = 0.6  # a page is shown again for half a second
ASKERS = 8
ROUNDS, FRAMES = 10, 20  # by turns without and with the askers


def run() -> Table:
    """Microseconds a frame, milliseconds a page, and frames without and with many that ask."""
    table = Table("", "figure", title=f"Metrics: {SIZE[0]}x{SIZE[1]}, pacing `every`, `identity`, `dis`")
    table.add_row("counting a painted frame, for its session and for all", f"{1e6 * _counting_s():.1f} µs")
    with (
        tempfile.TemporaryDirectory() as folder,
        daemon(Path(folder), "--metrics-bind", "127.0.0.1:*") as running,
        Wire(running.address) as wire,
    ):
        _measure(running, wire, table)
    return table


def _counting_s() -> float:
    accounts, stages = Accounts(), Stages(dict.fromkeys(STAGES, 12.0))
    began = time.perf_counter()
    for _ in range(COUNTED):
        accounts.received()
        accounts.painted(SIZE, Provenance.WARPED, 0.1, stages, 40.0)
        accounts.paint(keyframes=0, pixels=0)
    return (time.perf_counter() - began) / COUNTED


def _measure(running: Daemon, wire: Wire, table: Table) -> None:
    found = re.search(r"metrics are on http://(\S+)/metrics", running.log.read_text())
    if not found:
        raise RuntimeError("it shows no metrics")
    address = found[1]
    wire.open(Source(width=SIZE[0], height=SIZE[1]), painter="identity", brief=Brief(cut_detection=False))
    camera = Camera(wire)
    clip = [picture.tobytes() for picture in frames("bikes", SIZE, stop=FRAMES)]
    camera.film(clip)
    pages = []
    for _ in range(PAGES):
        time.sleep(PAGE_EACH_S)
        began = time.perf_counter()
        size = _asked(address)
        pages.append(time.perf_counter() - began)
    table.add_row("a page, made anew", f"{1e3 * statistics.median(pages):.1f} ms, {size / 1e3:.0f} kB")
    quiet, stormy, answered = _by_turns(address, camera, clip)
    table.add_row("a frame, nobody asks", f"{quiet:.1f} ms")
    table.add_row(f"a frame, {ASKERS} ask without end", f"{stormy:.1f} ms, {stormy / quiet:.2f} times")
    table.add_row("pages that they got", f"{answered:.0f} a second")


def _by_turns(address: str, camera: Camera, clip: list[bytes]) -> tuple[float, float, float]:
    """Milliseconds of a frame, without and with askers, at the median, and the pages that these got a second."""
    ended, asking, answered = threading.Event(), threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            if asking.wait(0.01):
                answered.append(_asked(address))

    askers = [threading.Thread(target=ask) for _ in range(ASKERS)]
    for each in askers:
        each.start()
    took: dict[bool, list[float]] = {False: [], True: []}
    asked_s = 0.0
    for storm in (False, True) * ROUNDS:
        (asking.set if storm else asking.clear)()
        began = time.perf_counter()
        took[storm] += [each.message.delay_ms for each in camera.film(clip)]
        asked_s += storm * (time.perf_counter() - began)
    ended.set()
    for each in askers:
        each.join()
    return statistics.median(took[False]), statistics.median(took[True]), len(answered) / asked_s


def _asked(address: str) -> int:
    """The bytes of a page."""
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("GET", "/metrics")
        return len(connection.getresponse().read())
