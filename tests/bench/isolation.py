"""What a painter in a process of its own costs, and what one in a thread costs the others."""

import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction

import cv2
import numpy as np
from rich.table import Table

from support.clips import frames
from support.daemon import PLUGINS
from warpaint.engines.base import Frame, MatchRequest, Painter, PaintJob
from warpaint.engines.flow.dis import Dis
from warpaint.proto.brief import Brief
from warpaint.server import containment
from warpaint.server.cores import available, budget
from warpaint.server.isolation import start_painters, wait_for

SIZE = (768, 512)
PLAIN, BUSY = "painters_under_test:Negative", "painters_under_test:BusyInPython"
CALLS, STEPS = 200, 100


def run() -> Table:
    """Milliseconds: a job of a painter that does next to nothing; steps of flow alone, and while one is busy."""
    title = f"Isolation: {SIZE[0]}x{SIZE[1]}, ms"
    table = Table("painter in a", "a job", "step alone, p50", "p95", "beside a busy one, p50", "p95", title=title)
    sys.path.insert(0, str(PLUGINS))
    cores = budget(available())
    cv2.setNumThreads(cores.daemon)
    for isolation in ("thread", "process"):
        with ExitStack() as held:
            isolated = isolation == "process"
            painters = start_painters([PLAIN, BUSY], held, isolated=isolated, threads=cores.painter)
            wait_for(painters)
            cells = [_job_ms(painters[PLAIN]), *_steps_ms(), *_beside(painters[BUSY], _steps_ms)]
        table.add_row(isolation, f"{cells[0]:.2f}", *(f"{ms:.1f}" for ms in cells[1:]))
    return table


def _job() -> PaintJob:
    bgr = next(frames("bigbuckbunny", SIZE, start=100))
    return PaintJob(0, 0, Frame(0, Fraction(0), bgr), Brief(), 0, (0, 0), SIZE)


def _job_ms(painter: Painter) -> float:
    job, times = _job(), []
    for _ in range(CALLS):
        began = time.perf_counter()
        containment.paint(PLAIN, painter, [job], lambda: False)
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def _steps_ms() -> list[float]:
    """Half and 95 of a hundred steps of a session take no longer than this: two flows and a warp."""
    first, second = (next(frames("bigbuckbunny", SIZE, start=start)) for start in (100, 102))
    grid = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), axis=-1).astype(np.float32)
    flow, times = Dis(), []
    for _ in range(STEPS):
        began = time.perf_counter()
        one, other = flow.encode([first, second])
        [[match]] = flow.match([MatchRequest(other, [one], [None])])
        cv2.remap(first, grid + match.flow, None, cv2.INTER_LINEAR)
        times.append(1e3 * (time.perf_counter() - began))
    return [float(np.percentile(times, share)) for share in (50, 95)]


def _beside(painter: Painter, measure: Callable[[], list[float]]) -> list[float]:
    """What is measured while the painter paints one keyframe after another."""
    ended = threading.Event()

    def keep_painting() -> None:
        while not ended.is_set():
            containment.paint(BUSY, painter, [job], ended.is_set)

    job, thread = _job(), threading.Thread(target=keep_painting)
    thread.start()
    measured = measure()
    ended.set()
    thread.join()
    return measured
