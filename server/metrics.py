"""What Prometheus is shown: the numbers that the daemon keeps anyway, gathered when they are asked for.

docs/operations.md has a table of the names.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, get_args

import psutil
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .. import __version__
from ..engines import devices
from ..proto.messages import Pacing
from .engine_room import EngineRoom, memory_of
from .health import Health
from .isolation import IsolatedPainter
from .supervisor import Child
from .tables import Kind
from .tallies import Count, Depths, Histogram, Tallies

# What is counted singly: name and meaning.
COUNTS: Mapping[Count, tuple[str, str]] = {
    "received": ("warpaint_frames_received", "Frames that came in sessions."),
    "keyframes": ("warpaint_keyframes", "Keyframes that were painted."),
    "canvas_pixels": ("warpaint_canvas_pixels", "Pixels of all painted frames, on their working canvas."),
    "hole_pixels": ("warpaint_hole_pixels", "Pixels among them that no reference explained."),
    "painted_pixels": ("warpaint_painted_pixels", "Pixels that painters painted: keyframes, and crops around holes."),
    "opened": ("warpaint_sessions_opened", "Sessions that were opened."),
}


class Source(Protocol):
    """What the sessions do: a gateway."""

    @property
    def tallies(self) -> Mapping[Pacing, Tallies]:
        """What became of all frames."""

    def depths(self) -> Depths:
        """How much waits where."""


class Collected(Collector):
    """All metrics of the daemon's own, in order. `source` and `room` may come later, when there are any."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.source: Source | None = None
        self.room: EngineRoom | None = None
        self.children: Sequence[Child] = ()

    def collect(self) -> Iterable[Metric]:
        """The metrics as they stand now. Called by the thread that shows them."""
        yield InfoMetricFamily("warpaint_build", "The daemon's version.", {"version": __version__})
        yield _gauge("warpaint_ready", "1 while sessions can be opened.", float(not self._health.not_ready()))
        yield _gauge("warpaint_healthy", "1 while the daemon's loops turn.", float(not self._health.unwell()))
        if self.source is not None:
            yield from _frames(self.source.tallies)
            yield from _depths(self.source.depths())
        if self.room is not None:
            yield from _engines(self.room)
        yield from _children(self.children)
        yield _resident(self.room, self.children)
        yield from _gpus()


def _frames(tallies: Mapping[Pacing, Tallies]) -> Iterable[Metric]:
    for count, (name, meaning) in COUNTS.items():
        family = CounterMetricFamily(name, meaning, labels=["pacing"])
        for pacing, each in tallies.items():
            family.add_metric([pacing], each.counts[count])
        yield family
    painted = CounterMetricFamily(
        "warpaint_frames_painted",
        "Frames that went out, by where most of them came from.",
        labels=["pacing", "provenance"],
    )
    dropped = CounterMetricFamily(
        "warpaint_frames_dropped",
        "Frames that were not painted, by stage and reason.",
        labels=["pacing", "stage", "reason"],
    )
    failed = CounterMetricFamily(
        "warpaint_frames_failed", "Frames that failed, by the code of their error.", labels=["pacing", "code"]
    )
    stages = HistogramMetricFamily(
        "warpaint_stage_seconds", "Time of a painted frame in each stage.", labels=["pacing", "stage"]
    )
    delay = HistogramMetricFamily(
        "warpaint_frame_delay_seconds", "Age of a painted frame when it was sent, from its arrival.", labels=["pacing"]
    )
    for pacing, each in tallies.items():
        for provenance, number in dict(each.painted).items():
            painted.add_metric([pacing, provenance], number)
        for (stage, reason), number in dict(each.dropped).items():
            dropped.add_metric([pacing, stage, reason], number)
        for code, number in dict(each.failed).items():
            failed.add_metric([pacing, code], number)
        for stage, histogram in dict(each.stages).items():
            _add(stages, [pacing, stage], histogram)
        _add(delay, [pacing], each.delay)
    yield from (painted, dropped, failed, stages, delay)
    yield from _steadiness(tallies)


def _steadiness(tallies: Mapping[Pacing, Tallies]) -> Iterable[Metric]:
    """Sums that a rate of one is divided by a rate of the other."""
    pairs = CounterMetricFamily(
        "warpaint_steadiness_pairs", "Pairs of frames whose steadiness was measured.", labels=["pacing"]
    )
    errors = CounterMetricFamily(
        "warpaint_steadiness_squared_levels",
        "How far those are from each other, moved along the motion of the raw film: of it, and of the painted one.",
        labels=["pacing", "of"],
    )
    for pacing, each in tallies.items():
        pairs.add_metric([pacing], each.steady_pairs)
        errors.add_metric([pacing, "raw"], each.steady_raw)
        errors.add_metric([pacing, "painted"], each.steady_painted)
    yield from (pairs, errors)


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    buckets = [("+Inf" if math.isinf(bound) else str(bound), float(count)) for bound, count in histogram.buckets()]
    family.add_metric(labels, buckets, histogram.sum)


def _depths(depths: Depths) -> Iterable[Metric]:
    sessions = GaugeMetricFamily("warpaint_sessions", "Sessions that are served.", labels=["pacing"])
    for pacing in ("every", "live"):
        sessions.add_metric([pacing], depths.sessions.get(pacing, 0))
    yield sessions
    yield _gauge("warpaint_sessions_disconnected", "Sessions that wait for their client.", depths.disconnected)
    queues = GaugeMetricFamily("warpaint_queue_depth", "What waits, by where.", labels=["queue"])
    for name in ("commands", "frames", "replies", "unsent"):
        queues.add_metric([name], getattr(depths, name))
    yield queues


def _engines(room: EngineRoom) -> Iterable[Metric]:
    labels = ["kind", "engine"]
    calls = CounterMetricFamily("warpaint_engine_calls", "Calls of an engine.", labels=labels)
    seconds = CounterMetricFamily("warpaint_engine_seconds", "Time in calls of an engine.", labels=labels)
    memory = GaugeMetricFamily("warpaint_engine_memory_bytes", "Memory that an engine says it holds.", labels=labels)
    held = [("painter", each.name, each.usage, each.painter) for each in room.painters.values()]
    for kind, name, usage, engine in (
        *held,
        *(("flow", each.name, each.usage, each.flow) for each in room.flows.values()),
    ):
        calls.add_metric([kind, name], usage.calls)
        seconds.add_metric([kind, name], usage.seconds)
        nbytes = _quietly(lambda engine=engine: memory_of(engine))  # type: ignore[misc]
        if nbytes is not None:
            memory.add_metric([kind, name], nbytes)
    queue = GaugeMetricFamily("warpaint_painter_queue_depth", "Paintings waiting or under way.", labels=["painter"])
    given_up = CounterMetricFamily(
        "warpaint_painter_timeouts", "Times that a painter was given up.", labels=["painter"]
    )
    for painter in room.painters.values():
        queue.add_metric([painter.name], painter.waiting)
        given_up.add_metric([painter.name], painter.given_up)
    yield from (calls, seconds, memory, queue, given_up)


def _quietly(ask: Callable[[], int | None]) -> int | None:
    """What an engine of somebody else says; None if it fails to."""
    with contextlib.suppress(Exception):
        return ask()
    return None


def _children(children: Sequence[Child]) -> Iterable[Metric]:
    for kind in get_args(Kind):
        up = GaugeMetricFamily(f"warpaint_{kind}_up", f"1 while the process of the {kind} runs.", labels=[kind])
        restarts = CounterMetricFamily(
            f"warpaint_{kind}_restarts", f"Times that the {kind} was started again.", labels=[kind]
        )
        for each in children:
            if each.program.kind == kind:
                up.add_metric([each.program.name], float(each.pid is not None))
                restarts.add_metric([each.program.name], each.restarts)
        yield from (up, restarts)


def _resident(room: EngineRoom | None, children: Sequence[Child]) -> Metric:
    family = GaugeMetricFamily("warpaint_resident_bytes", "Memory of the daemon's processes.", labels=["process"])
    pids: list[tuple[str, int | None]] = [("daemon", os.getpid())]
    for each in [] if room is None else room.painters.values():
        if isinstance(each.painter, IsolatedPainter):
            pids.append((f"painter {each.name}", each.painter.pid))
    pids += [(str(child.program), child.pid) for child in children]
    for name, pid in pids:
        with contextlib.suppress(psutil.Error):  # it may just have ended
            if pid is not None:
                family.add_metric([name], psutil.Process(pid).memory_info().rss)
    return family


def _gpus() -> Iterable[Metric]:
    found = devices.memory()
    if not found:
        return
    family = GaugeMetricFamily(
        "warpaint_gpu_memory_bytes",
        "Memory of a GPU: of the daemon's tensors, taken in all, and total.",
        labels=["device", "of"],
    )
    for each in found:
        for name in ("tensors", "taken", "total"):
            family.add_metric([each.device, name], getattr(each, name))
    yield family


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value)
