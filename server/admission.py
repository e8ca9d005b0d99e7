"""Which live sessions can be served in time beside those there are. One that cannot is refused, with what would fit.

A frame takes some time whatever its size, and some for each pixel of the canvas: both are measured once for each flow
engine, on generated pictures of two sizes, and corrected by what the sessions themselves take.
"""

import logging
import math
import time
from dataclasses import dataclass
from fractions import Fraction

from ..engines.base import Frame, PaintDone
from ..proto.brief import Brief
from ..proto.errors import Code, RefusedError
from ..proto.messages import Open
from .asks import Ask, PaintAsk, run
from .engine_room import EngineRoom, FlowRunner
from .live import LiveSession
from .trial import frame, ground

log = logging.getLogger(__name__)

# The share of the driver's time that live sessions may be promised: the rest is for codecs, snapshots and other work.
PROMISED = 0.9
# And what several of them may be promised together: their painters keep caches and cores busy that were idle when a
# frame was measured. Four that had been promised 0.75 got 0.88 of their frames.
PROMISED_SEVERAL = 0.65
# Generated pictures for the first measurement, (W, H), a fifth of a second in all; so many of each, of which the first
# few only warm up.
TRIAL_SIZES = (192, 128), (640, 384)
TRIAL_FRAMES, TRIAL_WARM_UP = 6, 2
# A session that was refused may have the measurement taken again, not more often than this, seconds.
TRIAL_AGAIN_S = 30.0
# By the frames of this canvas measurements are compared, pixels.
TYPICAL_PIXELS = 768 * 512
# A frame of a trial that takes longer, seconds, ends it: nothing live comes of that, and other sessions wait meanwhile.
HOPELESS_S = 0.5
# A session's own time is believed from so many frames on: two seconds at 30 a second.
BELIEVED_FRAMES = 60
# The least that a refusal offers: 64x48 pixels, and frames a second as fine as it is said.
LEAST_PIXELS = 3_072
LEAST_RATE = 0.1


@dataclass(slots=True)
class Load:
    """A live session: its canvas in pixels, its flow, the frames a second that it announced, and what it has taken."""

    pixels: int
    flow: str
    rate: float | None
    busy_s: float = 0.0
    frames: int = 0


class Admission:
    """What the live sessions take of the driver's time. One thread's alone."""

    def __init__(self, room: EngineRoom) -> None:
        self._room = room
        self._trials: dict[str, tuple[float, float]] = {}  # seconds a frame and a pixel, by flow
        self._tried_at: dict[str, float] = {}  # time.monotonic() of the last measurement, by flow
        self._loads: dict[str, Load] = {}

    def admit(self, key: str, opening: Open, pixels: int, flow: str) -> None:
        """Counts a live session in. Raises RefusedError: OVERLOADED, with what would fit."""
        load = Load(pixels, flow, opening.source.rate)
        try:
            self._check(load, opening.max_delay_ms)
        except RefusedError:
            if not self._found_quicker(flow):
                raise
            self._check(load, opening.max_delay_ms)
        self._loads[key] = load

    def take(self, key: str, opening: Open, pixels: int, flow: str) -> None:
        """Counts a live session in that was admitted before."""
        self._loads[key] = Load(pixels, flow, opening.source.rate)

    def _check(self, load: Load, max_delay_ms: float) -> None:
        """Raises RefusedError if there is no time for a session beside those there are."""
        step_s = self._step_s(load)
        others_s = sum(self._step_s(each) for each in self._loads.values())
        in_time = _share(max_delay_ms / 1e3 - others_s, step_s)
        promised = PROMISED_SEVERAL if self._loads else PROMISED
        free = promised - sum(self._step_s(each) * (each.rate or 0.0) for each in self._loads.values())
        often = 1.0 if load.rate is None else _share(free, step_s * load.rate)
        if in_time < 1.0:
            text = f"a frame would take {1e3 * (step_s + others_s):.0f} ms beside the sessions there are"
            text += f", of max_delay_ms {max_delay_ms:g}"
            delay = f"max_delay_ms {math.ceil(1e3 * (step_s + others_s))}"
            raise _overloaded(text, self._pixels(load, min(in_time, often)), delay if often == 1.0 else None)
        if load.rate is not None and often < 1.0:
            text = f"{load.rate:g} frames a second would take {100 * step_s * load.rate:.0f} % of the time there is"
            text += f", and {100 * max(0.0, free):.0f} % are free"
            rate = math.floor(load.rate * often / LEAST_RATE) * LEAST_RATE
            slower = f"{rate:.1f} frames a second" if rate >= LEAST_RATE else None
            raise _overloaded(text, self._pixels(load, often), slower)

    def _found_quicker(self, flow: str) -> bool:
        """Whether another measurement finds frames to be quicker: the machine may have been busy at the first one.

        Not while a session is served: it would wait for that, and be in the way.
        """
        known = self._trials.get(flow)
        if self._loads or known is None or time.monotonic() - self._tried_at.get(flow, 0.0) < TRIAL_AGAIN_S:
            return False
        fixed, pixel = self._try(flow)
        quicker = fixed + pixel * TYPICAL_PIXELS < known[0] + known[1] * TYPICAL_PIXELS
        if not quicker:
            self._trials[flow] = known
        return quicker

    def _try(self, flow: str) -> tuple[float, float]:
        """Seconds a frame and a pixel, measured now."""
        fixed, pixel = self._trials[flow] = _tried(self._room.flows[flow])
        self._tried_at[flow] = time.monotonic()
        log.info("a live frame takes %.1f ms and %.1f a megapixel with %s", 1e3 * fixed, 1e9 * pixel, flow)
        return fixed, pixel

    def count(self, key: str, busy_s: float, frames: int) -> None:
        """Notes what a session has taken so far: seconds, for so many frames."""
        load = self._loads.get(key)
        if load is not None:
            load.busy_s, load.frames = busy_s, frames

    def ended(self, key: str) -> None:
        """A session has ended."""
        self._loads.pop(key, None)

    def _step_s(self, load: Load) -> float:
        """What one frame takes, seconds: as measured, of the session itself if it is known."""
        if load.frames >= BELIEVED_FRAMES:
            return load.busy_s / load.frames
        known = [each for each in self._loads.values() if each.flow == load.flow and each.frames >= BELIEVED_FRAMES]
        slower = [each.busy_s / each.frames / self._expected_s(each) for each in known]
        return self._expected_s(load) * max([1.0, *slower])

    def _pixels(self, load: Load, share: float) -> int:
        """The pixels of a canvas whose frames take this share of what those of the load take."""
        fixed, pixel = self._trials[load.flow]
        return int((share * (fixed + pixel * load.pixels) - fixed) / pixel) if pixel else 0

    def _expected_s(self, load: Load) -> float:
        fixed, pixel = self._trials[load.flow] if load.flow in self._trials else self._try(load.flow)
        return fixed + pixel * load.pixels


def _share(there_is: float, wanted: float) -> float:
    """How much of what is wanted there is, 0 to 1."""
    return 1.0 if wanted <= there_is else max(0.0, there_is / wanted)


def _overloaded(text: str, pixels: int, other: str | None) -> RefusedError:
    """The refusal, with what would fit: so many pixels, or this other wish."""
    fitting = [f"max_pixels {pixels}"] if pixels >= LEAST_PIXELS else []
    fitting += [other] if other is not None else []
    fits = f"{', or '.join(fitting)} would fit" if fitting else "nothing fits until one of them ends"
    return RefusedError(Code.OVERLOADED, f"{text}: {fits}")


def _tried(runner: FlowRunner) -> tuple[float, float]:
    """Seconds a frame and a pixel that a live frame takes. Next to nothing if the engine fails: that is told later."""
    (small, small_s), (large, large_s) = ((w * h, _trial_s(runner, (w, h))) for w, h in TRIAL_SIZES)
    pixel = max(0.0, (large_s - small_s) / (large - small))
    return max(1e-6, small_s - pixel * small), pixel


def _trial_s(runner: FlowRunner, size: tuple[int, int]) -> float:
    """Seconds that a live frame of this size takes, with three references, on generated pictures."""
    film = ground(size)
    session = LiveSession(Brief(cut_detection=False, keyframe_gap_min_s=0.0), size)
    times = []
    for index in range(TRIAL_FRAMES):
        picture = frame(film, size, index)
        began = time.perf_counter()
        try:
            run(session.step(Frame(index, Fraction(index, 30), picture)), lambda ask: _answer(ask, runner))
        except RefusedError:
            return 0.0
        times.append(time.perf_counter() - began)
        if times[-1] > HOPELESS_S and index >= TRIAL_WARM_UP:
            return times[-1]
        for ask in session.take_jobs():
            session.adopt([PaintDone(job.id, job.epoch, job.frame.bgr) for job in ask.jobs])
    return min(times[TRIAL_WARM_UP:])  # the others were disturbed by what still starts


def _answer(ask: Ask, runner: FlowRunner) -> object:
    if isinstance(ask, PaintAsk):
        raise RefusedError(Code.INTERNAL, "a live session does not wait for paint")
    [answer] = runner.answer([ask])
    return answer
