"""Looks at the engines: each is loaded as the daemon loads it, and does one piece of work."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction

from ...engines import workers
from ...engines.base import Frame, PaintDone, Painter, PaintJob
from ...engines.registry import brief_rule, load_flow
from ...proto.brief import Brief
from ...proto.errors import RefusedError
from .. import trial
from ..asks import PaintAsk
from ..config import Settings
from ..cores import available, budget, limit_threads
from ..engine_room import EngineRoom, FlowRunner
from ..isolation import IsolatedPainter, start_painters, wait_for
from .findings import Finding, Step, ok, warning, wrong

# The keyframe that each painter paints, (W, H): large enough for any model, small enough not to be waited for.
KEYFRAME_SIZE = (256, 256)
# Steps that a diffusion model takes for it. Four show that it paints; twenty would take a minute on a CPU.
KEYFRAME_STEPS = 4
# How often it is looked whether a painter has run out of time, seconds.
LOOK_S = 0.25
# A flow may be off by so much in the middle of a picture that is known to move, pixels, until it is told: more than
# rounding, and less than anybody would see.
OFF_PIXELS = 1.0

# What is nearer than this is not told more exactly, pixels.
LEAST_MISS = 0.01

_MORE = "its log says more: warpaintd --check --log-level debug"


def steps(settings: Settings, held: ExitStack) -> Iterator[Step]:
    """A step an engine. They stay loaded until `held` ends them, as what the daemon holds must fit all at once."""
    cores = budget(available(), flow_threads=settings.flow_threads, painter_threads=settings.painter_threads)
    workers.use(cores.daemon)
    held.callback(workers.use, 1)
    limit_threads(opencv=1, torch=cores.torch(isolated=settings.isolation == "process"))
    for name in dict.fromkeys(settings.painters):
        yield Step(f"painter {name}", lambda name=name: _painter(name, settings, cores.painter, held))  # type: ignore[misc]
    for name in dict.fromkeys(settings.flows):
        if name != "none":
            yield Step(f"flow {name}", lambda name=name: _flow(name, settings))  # type: ignore[misc]


def _painter(name: str, settings: Settings, threads: int, held: ExitStack) -> Iterator[Finding]:
    what = f"painter {name}"
    isolated = settings.isolation == "process"
    began = time.monotonic()
    try:
        painters = start_painters([name], held, isolated=isolated, threads=threads, settings=settings.engines)
        wait_for(painters)
    except (RefusedError, OSError) as error:
        yield wrong(what, str(error))
        return
    loaded_s = time.monotonic() - began
    brief = Brief(look=painters[name].looks[0], steps=KEYFRAME_STEPS)
    if complaint := brief_rule(name, settings.engines)(brief):
        yield wrong(what, complaint)
        return
    began = time.monotonic()
    done = _keyframe(name, painters, brief, settings, held)
    if done.error is not None:
        yield wrong(what, f"it is loaded, but paints no keyframe: {done.why} ({done.error})", _MORE)
        return
    looks = len(painters[name].looks)
    where = "in a process of its own" if isinstance(painters[name], IsolatedPainter) else "in the daemon's process"
    yield ok(
        what,
        f"loaded in {loaded_s:.1f} s {where}; a keyframe of {_sized(KEYFRAME_SIZE)} takes "
        f"{time.monotonic() - began:.2g} s; {looks} look{'' if looks == 1 else 's'}",
    )


def _keyframe(name: str, painters: dict[str, Painter], brief: Brief, settings: Settings, held: ExitStack) -> PaintDone:
    """A keyframe of a generated picture, or the error of one that came to nothing."""
    room = EngineRoom(painters, {}, paint_timeout_s=settings.paint_timeout_s)
    held.callback(room.close)
    picture = trial.frame(trial.ground(KEYFRAME_SIZE), KEYFRAME_SIZE, 0)
    job = PaintJob(0, 0, Frame(0, Fraction(0), picture), brief, brief.seed, (0, 0), KEYFRAME_SIZE)
    finished = threading.Event()
    painting = room.paint(name, PaintAsk([job]), finished.set)
    while not finished.wait(LOOK_S) and not room.overdue(name, painting):
        pass
    [done] = painting.done
    return done


def _flow(name: str, settings: Settings) -> Iterator[Finding]:
    what = f"flow {name}"
    began = time.monotonic()
    engines = settings.engines.model_copy(update={"pdcnet_build": False})  # that takes minutes, and leaves files
    try:
        flow = load_flow(name, engines)
    except (RefusedError, OSError) as error:
        if name == "pdcnet" and settings.pdcnet_build:
            yield warning(what, str(error), "nothing: the daemon makes them when it starts, as pdcnet_build says")
        else:
            yield wrong(what, str(error))
        return
    loaded_s = time.monotonic() - began
    runner = FlowRunner(name, flow)
    for size in getattr(flow, "sizes", ()) or (trial.USUAL_SIZE,):
        yield _matched(what, runner, size, f"loaded in {loaded_s:.1f} s; ")


def _matched(what: str, runner: FlowRunner, size: tuple[int, int], said: str) -> Finding:
    """What comes of matching two generated pictures that are known to move."""
    if complaint := runner.complaint(size):
        return wrong(what, complaint)
    try:
        seconds, off = trial.known_motion(runner, size)
    except RefusedError as error:
        return wrong(what, f"it is loaded, but matches nothing: {error}", _MORE)
    description = getattr(runner.flow, "description", None)
    said += f"{description}; " if isinstance(description, str) else ""
    said += f"a match of {_sized(size)} takes {seconds:.2g} s"
    if off > OFF_PIXELS:
        text = f"{said}, but a picture that moves is found {off:.1f} pixels from where it is"
        return warning(what, text, "films will smear: take another flow, or look after its weights")
    return ok(what, f"{said}, and is right to {max(off, LEAST_MISS):.1g} pixels")


def _sized(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
