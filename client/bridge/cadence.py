"""An even rate for what a bridge sends: pictures are repeated or left out. Pure: all times are given.

Pictures are shown at steps of an even clock that begins with the first of them. Their own times decide at which, the
clock on the wall only when nothing comes. Sound keeps its times, and moves with the clock when that moves.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from .timeline import TICKS

# Pictures a second, at most: more than any screen shows, and each is coded.
HIGHEST_RATE = 240
# A picture that is nearer than this to the next step is shown there, steps. More than a half: else pictures that come
# between two steps would be shown now at the one and now at the other.
NEAR = 0.75
# So long after its step a picture may come without having been given up, seconds: twice what a frame of pacing `live`
# waits before it is begun. So late, the last one is repeated.
PATIENCE_S = 0.2
# Pictures that are behind the repeated ones by more than this, seconds, are of a clock that stood still: a sender that
# was stopped and went on. Less is a machine that was busy, and will catch up.
STOOD_STILL_S = 0.5
# A gap is filled at once up to this, seconds. A longer one stays, as all of it would have to be coded in one go.
LONGEST_GAP_S = 1.0
# How long the last picture is repeated when nothing comes, seconds. Then nothing is sent until something comes.
LONGEST_HOLD_S = 60.0


@dataclass(slots=True)
class Cadence:
    """The steps at which pictures are shown, ticks. rate: steps a second."""

    rate: Fraction
    offset: int = 0  # what is added to the times of sound and picture, ticks: never less than before
    repeated: int = 0  # pictures that were shown again
    left_out: int = 0  # pictures that came too late, or too many
    _origin: int | None = None
    _last: int = -1  # the number of the last step
    _came_s: float = 0.0  # when the last picture came
    _lag_s: float = 0.0  # what the wall was ahead of the steps then

    @property
    def step(self) -> int:
        """How long a step lasts, ticks."""
        return round(TICKS / self.rate)

    def show(self, pts: int, now_s: float) -> tuple[list[int], int | None]:
        """When the picture before this one is shown again, and when this one is; None: it is left out. Ticks."""
        if self._origin is None:
            self._origin = pts
        number = self._number(pts + self.offset)
        behind_s = float((self._last + 1 - number) / self.rate)
        if behind_s > STOOD_STILL_S:
            self.offset += self._at(self._last + 1) - self._at(number)
            number = self._last + 1
        self._came_s, self._lag_s = now_s, now_s - float(number / self.rate)
        if number <= self._last:
            self.left_out += 1
            return [], None
        again = self._up_to(number - 1)
        self._last = number
        return again, self._at(number)

    def fill(self, now_s: float) -> list[int]:
        """When the last picture is shown again, as the next one has not come. Ticks."""
        if self._last < 0 or now_s - self._came_s > LONGEST_HOLD_S:
            return []
        due = math.floor((now_s - PATIENCE_S - self._lag_s) * self.rate)
        again = self._up_to(due)
        self._last = max(self._last, due)
        return again

    def next_s(self, now_s: float) -> float:
        """How long it is until `fill` may have something, seconds; infinite while there is nothing to repeat."""
        if self._last < 0 or now_s - self._came_s > LONGEST_HOLD_S:
            return math.inf
        return max(0.0, float((self._last + 1) / self.rate) + self._lag_s + PATIENCE_S - now_s)

    def _up_to(self, number: int) -> list[int]:
        """The steps that were not shown yet, up to this one, unless they are too many."""
        missed = range(self._last + 1, number + 1)
        if len(missed) > LONGEST_GAP_S * self.rate:
            return []
        self.repeated += len(missed)
        return [self._at(each) for each in missed]

    def _number(self, ticks: int) -> int:
        """The step that a time belongs to."""
        steps = float((ticks - (self._origin or 0)) * self.rate / TICKS)
        following = self._last + 1
        return following if abs(steps - following) < NEAR else round(steps)

    def _at(self, number: int) -> int:
        return (self._origin or 0) + round(number * TICKS / self.rate)
