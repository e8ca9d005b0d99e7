"""From what was measured frame by frame to the figures of a film."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .blocks import Blocks
from .detail import FLAT
from .figures import Figures
from .pops import jumps_of, pop_of
from .steadiness import steadier
from .track import Track
from .verdict import Cost, Curves, Verdict
from .windows import Series, moving_mean, settled

# Frames that are compared are so far apart: neighbours for flicker, the farther ones for what creeps.
DISTANCES = (1, 5, 15)
# Flicker of so little, squared levels, is none: rounding to whole levels alone makes a sixth.
LEAST_FLICKER = 0.25
# Blocks with less detail than this, squared levels, are flat: a ratio of next to nothing says nothing.
LEAST_DETAIL = 4.0
# The share, percent, of blocks that are less and more detailed than crispness_low and crispness_high.
CRISP_LOW_PERCENT, CRISP_HIGH_PERCENT = 5.0, 95.0
# Seconds without edges that agree by so much, even painted alone, are not followed by anybody.
LEAST_AGREEMENT = 0.1
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class References:
    """What films are judged against. counted: sums of the pixels a block whose detail counts, over frames.

    yardstick: what another seed differs by, levels. cuts: first frames of shots but the first.
    """

    rate: float
    raw: Track
    alone: Track | None
    fixed: Track | None
    counted: Blocks
    yardstick: float | None
    cuts: tuple[int, ...]

    @property
    def second(self) -> int:
        """The frames of a second, at least one."""
        return max(1, round(self.rate))


def verdict_of(name: str, film: Track, references: References, cost: Cost | None) -> Verdict:
    """The verdict on a film of which all frames went by."""
    frames = len(film.colours)
    unlike = film.series("unlike")
    drift = moving_mean(_colour_change(film, references), references.second)
    curves = Curves(
        jumps=jumps_of(film.error_series(1), references.raw.error_series(1)),
        fidelity=unlike if unlike.size else np.full(frames, np.nan),
        following=_following(film, references),
        crispness=_shares(film.series("detail"), references.alone.series("detail") if references.alone else None),
        drift=np.abs(drift[:, :3]).max(axis=1),
    )
    pop, pop_frame = pop_of(curves.jumps, cost.keyframes if cost else None, references.rate)
    figures = Figures(
        **_steadiness(film, references.raw, references.alone, "steady"),
        **_steadiness(film, references.raw, references.fixed, "steady_fixed"),
        **_crispness(film, references),
        **_fidelity(film, references),
        **_drift(drift, references),
        following=_mean_following(film, references),
        following_worst=_least(settled(curves.following, references.second)),
        pop=pop,
        keyframes_per_minute=_per_minute(cost.keyframes, frames, references.rate) if cost else None,
        painted_share=cost.painted_share if cost else None,
    )
    return Verdict(
        name=name,
        frames=frames,
        against_alone=references.alone is not None,
        figures=figures,
        curves=curves,
        pop_frame=pop_frame,
        worst_frame=int(unlike.argmax()) if unlike.size else None,
        cuts=references.cuts,
        keyframes=tuple(cost.keyframes) if cost else (),
    )


def _steadiness(film: Track, raw: Track, alone: Track | None, prefix: str) -> dict[str, float | None]:
    """The figures of steadiness at all distances; None where no pair was in one shot, or nothing is to compare with."""
    found: dict[str, float | None] = {}
    for distance in DISTANCES:
        errors = [_mean(track.errors[distance]) for track in (raw, film, alone) if track is not None]
        known = [each for each in errors if each is not None]
        found[f"{prefix}_{distance}"] = steadier(*known, least=LEAST_FLICKER) if len(known) == 3 else None
    return found


def _crispness(film: Track, references: References) -> dict[str, float | None]:
    alone = references.alone
    if alone is None or film.detail_blocks is None or alone.detail_blocks is None:
        return {}
    of_alone, ours = _mean(alone.detail), _mean(film.detail)
    if of_alone is None or ours is None or of_alone < FLAT:
        return {}
    counts = references.counted > 0
    detailed = counts & (alone.detail_blocks > LEAST_DETAIL * references.counted)
    if not detailed.any():
        return {"crispness": ours / of_alone}
    local = film.detail_blocks[detailed] / alone.detail_blocks[detailed]
    low, high = np.percentile(local, [CRISP_LOW_PERCENT, CRISP_HIGH_PERCENT])
    return {"crispness": ours / of_alone, "crispness_low": float(low), "crispness_high": float(high)}


def _fidelity(film: Track, references: References) -> dict[str, float | None]:
    unlike = film.series("unlike")
    if not unlike.size:
        return {}
    return {
        "fidelity": float(unlike.mean()),
        "fidelity_worst": float(unlike.max()),
        "fidelity_local": float(film.series("unlike_worst").mean()),
        "yardstick": references.yardstick,
    }


def _drift(drift: Series, references: References) -> dict[str, float | None]:
    """The largest changes of the means and of the deviations, of any channel, over a second."""
    largest = np.abs(settled(drift, references.second)).max(axis=0)
    return {"drift_mean": float(largest[:3].max()), "drift_deviation": float(largest[3:].max())}


def _following(film: Track, references: References) -> Series:
    """The agreement of edges over the last second: [n], as a share of that of alone, or as it is without one."""
    ours = moving_mean(film.series("follows"), references.second)
    if references.alone is None:
        return ours
    alone = moving_mean(references.alone.series("follows"), references.second)
    return _shares(ours, np.where(alone < LEAST_AGREEMENT, np.nan, alone))


def _mean_following(film: Track, references: References) -> float | None:
    ours = _mean(film.follows)
    if references.alone is None or ours is None:
        return ours
    alone = _mean(references.alone.follows)
    return ours / alone if alone is not None and alone > LEAST_AGREEMENT else None


def _colour_change(film: Track, references: References) -> Series:
    """How the colours' mean and deviation differ, [n, 6], levels: from alone's.

    Without alone from the raw film's, and of that only what has changed since the first second.
    """
    other = references.alone or references.raw
    difference = np.array(film.colours) - np.array(other.colours)
    return difference if references.alone else difference - difference[: references.second].mean(axis=0)


def _per_minute(keyframes: Sequence[int], frames: int, rate: float) -> float:
    """Keyframes a minute; the one that every film begins with counts for nothing."""
    return sum(1 for each in keyframes if each > 0) * rate * MINUTE_S / max(1, frames - 1)


def _shares(ours: Series, whole: Series | None) -> Series:
    if whole is None:
        return np.full(ours.shape, np.nan)
    return np.divide(ours, whole, out=np.full(ours.shape, np.nan), where=whole > FLAT)


def _mean(values: Sequence[float]) -> float | None:
    known = [each for each in values if not math.isnan(each)]
    return sum(known) / len(known) if known else None


def _least(values: Series) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.min()) if known.size else None
