"""The gates: between what a good film has and what each way of cheating costs, one for each figure.

They were set by films of this program and cheats made of them, on the three real clips and a generated one of
tests/engines/test_judge.py, with paintings by `strokes` at a new seed each; `make bench` prints the table. A gate is no
aim: what passes all of them is a painted film, and may still be made better.
"""

import math
from dataclasses import dataclass

from .figures import Figures

# What counts as another seed's difference at least, levels: of a painter that paints alike each time there is none.
LEAST_YARDSTICK = 2.0


@dataclass(frozen=True, slots=True)
class Gate:
    """What one figure may be: from `low` to `high`, each None if that end is open. nan passes: it is nothing to judge.

    title: the figure's name in tables. unit: as it is written behind the number. of_yardstick: bounds are multiples of
    what another seed differs by. wants_alone: the figure means this only beside the film painted frame by frame.
    """

    figure: str
    title: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    decimals: int = 2
    of_yardstick: bool = False
    wants_alone: bool = False

    def passes(self, value: float, figures: Figures) -> bool:
        """Whether the figure is between the bounds."""
        low, high = self.bounds(figures)
        return not ((low is not None and value < low) or (high is not None and value > high))

    def said(self, value: float | None) -> str:
        """The figure in words: a number with its unit, or why there is none."""
        if value is None:
            return "not known"
        if math.isnan(value):
            return "nothing to compare"
        if math.isinf(value):
            return "without bound"
        shown = 100 * value if self.unit == " %" else value
        return f"{shown:.{self.decimals}f}{self.unit}"

    def bound_of(self, figures: Figures) -> str:
        """What is allowed, in words."""
        low, high = self.bounds(figures)
        if low is not None and high is not None:
            return f"allowed {self.said(low)} to {self.said(high)}"
        return f"at least {self.said(low)}" if low is not None else f"at most {self.said(high)}"

    def allowed(self, figures: Figures) -> str:
        """What is allowed, in short: `≥ 2.0 x`."""
        low, high = self.bounds(figures)
        if low is not None and high is not None:
            return f"{self.said(low)} to {self.said(high)}"
        return f"≥ {self.said(low)}" if low is not None else f"≤ {self.said(high)}"

    def bounds(self, figures: Figures) -> tuple[float | None, float | None]:
        """The least and the most that is allowed, each None if that end is open."""
        if not self.of_yardstick:
            return self.low, self.high
        times = max(LEAST_YARDSTICK, figures.yardstick or 0.0)
        low, high = (None if each is None else each * times for each in (self.low, self.high))
        return low, high


# In the order of tables. What each is for:
#
# - Steadiness. A steady film has new keyframes with seeds of their own all the same, every half second in a hard
#   film: so at 15 frames it gains little. What creeps or lags loses there: 0.2 to 0.6 frozen, torn or averaged.
# - Crispness. Moving paint by parts of a pixel takes three hundredths of strokes that are two pixels thin, if done
#   once and well; a blur of sigma 1 takes three quarters, an average of two frames a sixth to a half, what trusts every
#   flow adds a tenth. Tearing adds in some places what blur takes away in others: so blocks have gates of their own.
# - Fidelity. Another seed is the yardstick, read from how alone changes from frame to frame: 2.1, 2.5, 4.0 and 5.3
#   levels, where films of two seeds differ by 2.3, 2.5, 4.0 and 5.3. Carried paint falls behind the light of the film,
#   by twice that in a face that turns. Torn or frozen it is five times and more.
# - Following. Honest films have 0.97 and more, 0.93 in the worst second; what trusts every flow has 0.96 down to 0.1.
# - Drift. The same light, in levels; the deviation falls where a film is averaged, and rises where it is torn.
# - Pops. Three times the median jump is seen as a jump.
# - Cost. Painting each frame is 100 %; small pictures of much motion need up to 63 %, as holes are painted with room
#   around them. And no keyframes faster than the Brief's shortest gap.
GATES: tuple[Gate, ...] = (
    Gate("steady_1", "steadiness at 1 frame", " x", low=2.0, decimals=1),
    Gate("steady_5", "steadiness at 5 frames", " x", low=1.2, decimals=1),
    Gate("steady_15", "steadiness at 15 frames", " x", low=0.8),
    Gate("steady_fixed_1", "against one seed at 1 frame", " x", low=1.5, decimals=1),
    Gate("steady_fixed_5", "against one seed at 5 frames", " x", low=1.0, decimals=1),
    Gate("steady_fixed_15", "against one seed at 15 frames", " x", low=0.5),
    Gate("crispness", "crispness", low=0.95, high=1.05),
    Gate("crispness_low", "crispness, softest blocks", low=0.8),
    Gate("crispness_high", "crispness, roughest blocks", high=1.25),
    Gate("fidelity", "fidelity", " levels", high=3.0, of_yardstick=True),
    Gate("fidelity_worst", "fidelity, worst frame", " levels", high=5.0, of_yardstick=True),
    Gate("fidelity_local", "fidelity, worst blocks", " levels", high=5.0, of_yardstick=True),
    Gate("following", "following", low=0.94, decimals=3, wants_alone=True),
    Gate("following_worst", "following, worst second", low=0.90, decimals=3, wants_alone=True),
    Gate("drift_mean", "drift of colour", " levels", high=8.0, decimals=1),
    Gate("drift_deviation", "drift of contrast", " levels", high=3.0, decimals=1),
    Gate("pop", "pop over the median jump", " x", high=3.0, decimals=1),
    Gate("keyframes_per_minute", "keyframes a minute", high=180.0, decimals=0),
    Gate("painted_share", "painted area", " %", high=0.75, decimals=1),
)
