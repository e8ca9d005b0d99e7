"""Which frames of a shot explain most of the others: an exact choice, by how much of each is seen in each.

Shares are 0 to 1; the frames of a shot are counted from 0, in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..proto.brief import Brief

Shares = NDArray[np.float64]

# A shot goes on with a painting of an earlier one if this much of its first frame is seen there: as sessions have it.
GOES_ON = 1 - Brief().hole_limit


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a painted frame is followed, seconds: as far as frames wait for it.

    first: the first one of a shot, before which nothing is painted; later: another one.
    """

    first_s: float
    later_s: float


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames of one shot. seen: [n, n], by painted frame and frame, how much of that is seen in it.

    known: [n], how much paintings of earlier shots show; 0, if it does not go on with one. times_s: [n], when they are
    shown; lasts_s: [n], how long each stands for.
    """

    seen: Shares
    known: Shares
    times_s: Shares
    lasts_s: Shares
    reach: Reach

    @property
    def goes_on(self) -> bool:
        """Whether it may do without a painting of its own."""
        return bool(self.known[0] >= GOES_ON)

    @property
    def by_first(self) -> Shares:
        """What the first painting shows of each frame, [n, n], in which frames that cannot wait for it are not seen."""
        return self._within(self.reach.later_s if self.goes_on else self.reach.first_s)

    @property
    def by_later(self) -> Shares:
        """What another one shows, as `by_first`."""
        return self._within(self.reach.later_s)

    def _within(self, reach_s: float) -> Shares:
        too_early = self.times_s[:, None] - self.times_s > reach_s
        return np.maximum(np.where(too_early, 0.0, self.seen), self.known)


def mirrored(ahead: Shares) -> Shares:
    """How much is seen both ways, [n, n], from what is seen ahead: a frame shows as much of another as that of it.

    It differs by 0.02 in the mean on the test clips, and takes half of the time.
    """
    return np.triu(ahead) + np.triu(ahead, 1).T


def best(shot: Shot, worth_s: float) -> list[int]:
    """The frames to paint, ascending, so that most is seen: each costs as much as worth_s of a film that is all seen.

    A frame is made of the painted ones next to it. There is at least one, unless the shot goes on with an earlier one.
    """
    first, later = shot.by_first * shot.lasts_s, shot.by_later * shot.lasts_s
    n = len(first)
    gains, before = np.zeros(n), np.zeros(n, np.int64)
    for b in range(n):
        gains[b], before[b] = first[b, :b].sum(), -1
        if b:
            between = np.triu(np.maximum(later[:b, :b], later[b, :b])).sum(axis=1)
            a = int(np.argmax(gains[:b] + between))
            if gains[a] + between[a] > gains[b]:
                gains[b], before[b] = gains[a] + between[a], a
        gains[b] -= worth_s
    whole = gains + np.triu(later).sum(axis=1)
    last = int(np.argmax(whole))
    if shot.goes_on and float((shot.known * shot.lasts_s).sum()) >= whole[last]:
        return []
    chosen = []
    while last >= 0:
        chosen.append(last)
        last = int(before[last])
    return chosen[::-1]


def explained_s(shot: Shot, chosen: Sequence[int]) -> float:
    """How much of the film these frames show, as seconds of one that is all seen."""
    first, later, shown = shot.by_first, shot.by_later, shot.known.copy()
    for place, (frame, end) in enumerate(pairwise([*chosen, len(shown)])):
        if not place:
            shown[:frame] = first[frame, :frame]
        else:
            start = chosen[place - 1]
            shown[start:frame] = np.maximum(shown[start:frame], later[frame, start:frame])
        shown[frame:end] = later[frame, frame:end]
    return float((shown * shot.lasts_s).sum())
