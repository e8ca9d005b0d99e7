"""How steady a session's paint is, measured while it runs: the judge's measure, now and then, on small pictures."""

import math

from ..engines.base import Picture
from ..engines.grid import halved
from ..engines.measures import flows_of, warped_error
from .tallies import Tallies

# From one measured pair of frames to the next, seconds: a pair takes some 5 ms of the driver's time.
GAP_S = 2.0
# Pictures are made this small before, pixels: flicker is of areas, and flow takes a tenth of a frame's time here.
PIXELS = 160 * 96
# Frames that are farther apart than this, seconds, are no neighbours: what is between them was dropped.
NEIGHBOURS_S = 0.25


class Meter:
    """Measures pairs of neighbouring frames of one session, and adds what it finds to the tallies.

    The flow is not that which the paint was warped by: engines/measures/motion.py says which. Times are seconds of
    one clock.
    """

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._due = -math.inf
        self._before: tuple[float, Picture, Picture] | None = None

    def see(self, now: float, raw: Picture, painted: Picture) -> None:
        """Takes a frame and its paint, of one size. Nearly always it does nothing."""
        if self._before is None:
            if now >= self._due:
                self._before = now, _small(raw), _small(painted)
            return
        (then, raw_before, painted_before), self._before = self._before, None
        self._due = now + GAP_S
        if now - then > NEIGHBOURS_S:
            return
        flows = flows_of([raw_before, raw := _small(raw)])
        [of_raw], [of_painted] = (
            warped_error(film, flows) for film in ([raw_before, raw], [painted_before, _small(painted)])
        )
        if not math.isnan(of_raw):  # a cut, or motion that nobody can follow
            self._tallies.add_steadiness(float(of_raw), float(of_painted))

    def forget(self) -> None:
        """The next frame is no neighbour of the last one."""
        self._before = None


def _small(picture: Picture) -> Picture:
    """The picture halved, as often as it takes."""
    while picture.shape[0] * picture.shape[1] > PIXELS and min(picture.shape[:2]) > 1:
        picture = halved(picture)
    return picture
