"""The largest canvas that a daemon can paint in time: what it admits, and then what keeps up. No sockets, no clock."""

from collections.abc import Callable
from fractions import Fraction
from statistics import median
from typing import TypeVar

from ...proto.errors import Code, RefusedError

# A canvas that cannot be painted in time is made smaller by this, as often as it takes: a tenth off each side.
SMALLER = 0.8
# Down to 128x72, where a picture is hardly one any more.
LEAST_PIXELS = 128 * 72

# Frames are looked at over so long, seconds, and what is seen so many times in a row is believed: a burst of other
# work on the machine is over by then.
WINDOW_S, WINDOWS = 2.0, 2
# With fewer of them nothing is known.
LEAST_FRAMES = 10
# A session that is at work for more than this share of the time from one picture to the next does not keep up: each
# hiccup makes frames late, and the daemon is to code pictures as well. It is made smaller so that the share is this.
TOO_MUCH, ENOUGH = 0.85, 0.6
# By no more than this at once: what a frame takes does not all go with its pixels.
SMALLEST_STEP = 0.25

S = TypeVar("S")
Begun = Callable[[int, Fraction | None], S]


def fitted(begun: Begun[S], largest: int, rate: Fraction, *, asked: bool) -> tuple[S, int]:
    """What is begun with the most pixels that are not refused for want of time, `largest` at most, and their number.

    begun: told pixels, and pictures a second, None for as many as there can be. rate: what is asked for; or a guess,
    and where nothing can be painted as often as that, the least canvas is begun without it.

    Raises RefusedError for what is refused otherwise, and where nothing fits.
    """
    pixels = largest
    while True:
        try:
            return begun(pixels, rate), pixels
        except RefusedError as error:
            smaller = int(pixels * SMALLER)
            if error.code is not Code.OVERLOADED or (smaller < LEAST_PIXELS and asked):
                raise
        if smaller < LEAST_PIXELS:
            return begun(pixels, None), pixels
        pixels = smaller


class Effort:
    """How much of its time a session is at work. Times are seconds of the caller's clock."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._came = self._too_much = 0
        self._busy: list[float] = []

    def came(self) -> None:
        """A picture was pushed."""
        self._came += 1

    def took(self, busy_s: float) -> None:
        """One was painted, and took so long without waiting."""
        self._busy.append(busy_s)

    def too_large(self, now: float) -> float | None:
        """The share of its pixels that would keep up, if all of them do not."""
        over_s = now - self._since
        if over_s < WINDOW_S:
            return None
        known = len(self._busy) >= LEAST_FRAMES
        share = median(self._busy) * self._came / over_s if known else 0.0
        self._since, self._came, self._busy = now, 0, []
        self._too_much = self._too_much + 1 if share > TOO_MUCH else 0
        if self._too_much < WINDOWS:
            return None
        self._too_much = 0
        return max(SMALLEST_STEP, ENOUGH / share)
