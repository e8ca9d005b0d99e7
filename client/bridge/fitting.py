"""The largest canvas that a daemon can paint in time. It is found by asking: what would fit is said to people alone."""

from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

from ...proto.errors import Code, RefusedError

# A canvas that cannot be painted in time is made smaller by this, as often as it takes: a tenth off each side.
SMALLER = 0.8
# Down to 128x72, where a picture is hardly one any more.
LEAST_PIXELS = 128 * 72

S = TypeVar("S")
Begun = Callable[[int | None, Fraction | None], S]


def fitted(begun: Begun[S], largest: int, rate: Fraction, *, asked: bool) -> tuple[S, int]:
    """What is begun with the most pixels that are not refused for want of time, `largest` at most, and their number.

    begun: told pixels, None for no bound, and pictures a second, None for as many as there can be. rate: what is asked
    for; or a guess, and where nothing can be painted as often as that, the least canvas is begun without it.

    Raises RefusedError for what is refused otherwise, and where nothing fits.
    """
    pixels = largest
    while True:
        try:
            return begun(None if pixels == largest else pixels, rate), pixels
        except RefusedError as error:
            smaller = int(pixels * SMALLER)
            if error.code is not Code.OVERLOADED or (smaller < LEAST_PIXELS and asked):
                raise
        if smaller < LEAST_PIXELS:
            return begun(pixels, None), pixels
        pixels = smaller
