"""What a session remembers from frame to frame. Plain data: session.py changes it, snapshot.py writes it down."""

from dataclasses import dataclass
from fractions import Fraction

from ..engines.base import Features, Flow, Frame, Hops, Picture
from ..engines.colour_lock import Tone
from ..proto.brief import Brief


@dataclass(frozen=True, slots=True)
class Reference:
    """A frame with its paint, from which later frames are warped. Without its control images: it is not painted anew.

    flow leads from the last frame into this one, on a coarser grid; None: this is the last frame. memory is what the
    painter gave with a keyframe, for the next one.
    """

    frame: Frame
    painted: Picture
    hops: Hops
    features: Features | None = None
    flow: Flow | None = None
    memory: bytes | None = None
    fine: Picture | None = None  # the paint doubled, where it is resampled many times: a cache, as features are

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        flow = 0 if self.flow is None else self.flow.nbytes
        features = 0 if self.features is None else self.features.nbytes
        fine = 0 if self.fine is None else self.fine.nbytes
        memory = 0 if self.memory is None else len(self.memory)
        return self.frame.bgr.nbytes + self.painted.nbytes + self.hops.nbytes + flow + features + fine + memory


# What a frame may be warped from, by name: `keyframe`; `fading`, the keyframe before it, while the film fades from
# one to the other; `patch`, a frame with a sizeable repaint; `last`, the last output. Empty at the start and at a cut;
# in a live session there is then `last` alone, which nothing is warped from.
References = dict[str, Reference]


@dataclass(frozen=True, slots=True)
class Leaving:
    """Prompts that are being left for others, since the pts of a frame; None: none came since the change."""

    prompt: str
    negative_prompt: str
    since: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a film stands, beside its references."""

    rekey: bool = False  # a new keyframe is due, whatever the film does
    anew: bool = False  # and nothing of the last one is to be in it
    many_holes_since: Fraction | None = None  # pts of the first of an unbroken run of frames with too many holes
    repainted: float = 0.0  # share of the canvas repainted since the last patch or keyframe
    repainted_at: Fraction | None = None  # pts of the last frame whose holes were painted, or that was
    next_job: int = 0
    leaving: Leaving | None = None
    tone: Tone | None = None  # how the colours of keyframes are to differ from the raw ones; None: no keyframe said yet


@dataclass(frozen=True, slots=True)
class LiveProgress:
    """Where a live film stands besides: what is asked for, what is seen, and what has failed. Times are pts."""

    asked_epoch: int = 0  # the last that changes what is painted: paintings of older ones are of no use
    keyframe_epoch: int = 0  # of the keyframe that is seen
    shown_epoch: int = 0  # the last whose changes are all seen
    shown_since: Fraction | None = None  # when the keyframe was first seen; None: it was not yet
    faded: bool = False  # it has come in whole: it stays so, wherever time goes
    anew: bool = False  # the keyframe was asked for in place of other paint, of which nothing is to stay
    failures: int = 0  # of paintings, without a break
    retry_at: Fraction | None = None  # nothing is asked of the painter before


@dataclass(frozen=True, slots=True)
class State:
    """All of a session that the next frame depends on. size: the working canvas, (W, H); live: None in `every`."""

    brief: Brief
    size: tuple[int, int]
    epoch: int
    references: References
    progress: Progress
    live: LiveProgress | None = None
