"""The figures of a film, by name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a film; None where what they need is not there. gates.py says what each may be.

    steady_*: steadier than alone by, at this distance, frames, and steady_fixed_* than alone with one seed; inf if the
    film adds nothing to the raw film's flicker, nan if neither does. crispness*: detail as a share of that of alone;
    over all, and the blocks of least and most. fidelity*: levels; yardstick: of another seed. following*: agreement
    of edges, as a share of that of alone, or as it is without one. drift*: levels. pop: jump over the median jump.
    """

    steady_1: float | None = None
    steady_5: float | None = None
    steady_15: float | None = None
    steady_fixed_1: float | None = None
    steady_fixed_5: float | None = None
    steady_fixed_15: float | None = None
    crispness: float | None = None
    crispness_low: float | None = None
    crispness_high: float | None = None
    fidelity: float | None = None
    fidelity_worst: float | None = None
    fidelity_local: float | None = None
    yardstick: float | None = None
    following: float | None = None
    following_worst: float | None = None
    drift_mean: float | None = None
    drift_deviation: float | None = None
    pop: float | None = None
    keyframes_per_minute: float | None = None
    painted_share: float | None = None
