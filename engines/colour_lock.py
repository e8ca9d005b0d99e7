"""Stops the slow drift of colours from keyframe to keyframe.

A chained keyframe is painted from the one before it, and what the painter does to colours adds up: after a minute all
is orange. What is held is the tone: how the colours of a painting differ from those of its raw frame. So a film may
get dark, and its painting with it. Mean and deviation in Lab are moved as in E. Reinhard et al., "Color transfer
between images", IEEE CG&A 2001.

Lab is CIE's with the white point D65: L 0..100, a and b about -100..100.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Picture

# Deviations count for at least this, Lab units: those of flat pictures are noise, and say nothing.
FLAT = 1.0
# About so many pixels of a picture are looked at, in even rows and columns: all of them would tell no more.
SAMPLES = 2**16
# How far a deviation is moved at most, as a factor: beyond, noise and the steps between levels would be seen.
LEAST_GAIN, MOST_GAIN = 0.5, 2.0

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]  # of L, a, b


@dataclass(frozen=True, slots=True)
class Tone:
    """How a painting's colours differ from its raw frame's.

    shift: mean of the painting - that of the raw frame, Lab units; spread: deviation of the painting / that of the raw
    frame, above 0.
    """

    shift: Triple
    spread: Triple

    def as_plain(self) -> dict[str, list[float]]:
        """The tone as lists of numbers, for a snapshot."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Tone":
        """The tone that `as_plain` gave. Raises ValueError, TypeError or KeyError for anything else."""
        tone = cls(_triple(plain["shift"]), _triple(plain["spread"]))
        if min(tone.spread) <= 0:
            raise ValueError(f"a tone's spread must be above 0; it is {list(tone.spread)}")
        return tone


def tone(painted: Picture, raw: Picture) -> Tone:
    """The tone of a painting of this raw frame; their sizes may differ."""
    painting, frame = (_statistics(_lab(_sampled(each))) for each in (painted, raw))
    return Tone(_triple(painting.mean - frame.mean), _triple(painting.deviation / frame.deviation))


def locked(painted: Picture, raw: Picture, target: Tone) -> Picture:
    """The painting [H, W, 3] in the target's tone, u8 BGR.

    Exact but for what no longer fits into 0..255, and for deviations that would change by more than LEAST_GAIN to
    MOST_GAIN.
    """
    lab = _lab(painted)
    painting, frame = _statistics(_sampled(lab)), _statistics(_lab(_sampled(raw)))
    gain = np.clip(target.spread * frame.deviation / painting.deviation, LEAST_GAIN, MOST_GAIN)
    offset = frame.mean + target.shift - gain * painting.mean
    bgr = cv2.cvtColor(lab * gain.astype(np.float32) + offset.astype(np.float32), cv2.COLOR_LAB2BGR)
    return np.rint(np.clip(bgr, 0, 1) * 255).astype(np.uint8)


def followed(target: Tone, seen: Tone, gap_s: float, time_s: float) -> Tone:
    """The target, moved towards the tone of a painting as it came from the painter, `gap_s` seconds after the last.

    Exponentially, with the time constant time_s, above 0: so a change that is meant comes through in the end. Of a
    drift of one level a keyframe, gap_s / time_s of a level a keyframe remain.
    """
    share = -math.expm1(-gap_s / time_s)
    return Tone(
        _triple([a + share * (b - a) for a, b in zip(target.shift, seen.shift, strict=True)]),
        _triple([a * (b / a) ** share for a, b in zip(target.spread, seen.spread, strict=True)]),
    )


@dataclass(frozen=True, slots=True)
class _Statistics:
    """Mean and standard deviation, FLAT or more, of L, a, b: [3] float64 each."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def _sampled(picture: NDArray[Any]) -> NDArray[Any]:
    step = max(1, round(math.sqrt(picture.shape[0] * picture.shape[1] / SAMPLES)))
    return np.ascontiguousarray(picture[::step, ::step])


def _lab(bgr: Picture) -> Floats:
    return cv2.cvtColor(np.multiply(bgr, 1 / 255, dtype=np.float32), cv2.COLOR_BGR2LAB)


def _statistics(lab: Floats) -> _Statistics:
    mean, deviation = cv2.meanStdDev(lab)
    return _Statistics(mean[:, 0], np.maximum(deviation[:, 0], FLAT))


def _triple(values: Sequence[float] | NDArray[np.float64]) -> Triple:
    """Three finite numbers. Raises ValueError or TypeError."""
    first, second, third = map(float, values)
    if not all(map(math.isfinite, (first, second, third))):
        raise ValueError(f"a tone is of finite numbers; these are {list(values)}")
    return first, second, third
