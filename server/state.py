"""What a session remembers from frame to frame. Plain data: session.py changes it, snapshot.py writes it down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from ..engines.base import Features, Flow, Frame, Mask, Picture
from ..engines.colour_lock import Tone
from ..engines.compose import MOST_NUMBER, Origins
from ..engines.detect import Glance
from ..proto.brief import Brief


@dataclass(frozen=True, slots=True)
class Reference:
    """A frame with its paint, parts of which later frames show. Without its control images: it is not painted anew.

    number: 1 to 255, by which origins point here. own: where it was painted itself, on the flow's grid; None:
    everywhere, it is a keyframe. flow leads from the last frame into this one, on a coarser grid; None: it is the last
    frame. replaces: what is older goes when it has come in. found: it was sought in a frame since it was painted.
    memory is what the painter gave with a keyframe, for the next one.
    """

    number: int
    frame: Frame
    painted: Picture
    own: Mask | None = None
    features: Features | None = None
    flow: Flow | None = None
    replaces: bool = False
    found: bool = False
    memory: bytes | None = None
    fine: Picture | None = None  # the paint doubled, where it is resampled many times: a cache, as features are
    glance: Glance | None = None  # of a keyframe's raw frame: a cache too

    @property
    def keyframe(self) -> bool:
        """Whether it was painted in full."""
        return self.own is None

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        held = (self.own, self.flow, self.features, self.fine)
        others = sum(each.nbytes for each in held if each is not None)
        others += 0 if self.glance is None else self.glance.edges.nbytes
        memory = 0 if self.memory is None else len(self.memory)
        return self.frame.bgr.nbytes + self.painted.nbytes + others + memory


@dataclass(frozen=True, slots=True)
class Last:
    """The last frame, what was seen of it, and where that came from."""

    frame: Frame
    painted: Picture
    origins: Origins
    features: Features | None = None

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        features = 0 if self.features is None else self.features.nbytes
        return self.frame.bgr.nbytes + self.painted.nbytes + self.origins.nbytes + features


@dataclass(frozen=True, slots=True)
class References:
    """What a frame may be painted from: the last frame's origins, and the references that they point to.

    kept: by number, in the order in which they were painted. Nothing at the start; after a cut a live session has the
    last frame alone, to be held. idle: keyframes that are seen no more, or soon will not be, which what comes back may
    be found in, in the order in which they were set aside; their numbers mean nothing. numbered: the number that was
    given last.
    """

    last: Last | None = None
    kept: Mapping[int, Reference] = field(default_factory=dict)
    idle: tuple[Reference, ...] = ()
    numbered: int = 0

    @property
    def newest_first(self) -> list[Reference]:
        """What is kept, in the order from the newest to the oldest."""
        return list(self.kept.values())[::-1]

    @property
    def keyframe(self) -> Reference | None:
        """The newest keyframe."""
        return next((each for each in self.newest_first if each.keyframe), None)

    @property
    def coming(self) -> int | None:
        """The number of the keyframe that comes in over what is older; None: there is none."""
        keyframe = self.keyframe
        if keyframe is None or not keyframe.replaces or next(iter(self.kept)) == keyframe.number:
            return None
        return keyframe.number

    @property
    def in_use(self) -> list[Reference]:
        """What is kept but for what a keyframe that comes in replaces."""
        coming, held = self.coming, list(self.kept.values())
        return held if coming is None else held[list(self.kept).index(coming) :]

    @property
    def free_number(self) -> int:
        """A number for a new reference: the one after that given last, or the next that is free.

        So frames that still wait do not take a new reference for one that is gone.
        """
        following = (1 + (self.numbered + i) % MOST_NUMBER for i in range(MOST_NUMBER))
        return next(number for number in following if number not in self.kept)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        held = (*self.kept.values(), *self.idle)
        return (0 if self.last is None else self.last.nbytes) + sum(each.nbytes for each in held)

    def plus(self, reference: Reference) -> "References":
        """These with a reference that was painted just now."""
        return replace(self, kept={**self.kept, reference.number: reference}, numbered=reference.number)

    def of(self, numbers: Iterable[int]) -> "References":
        """These without the others, and without what pointed there."""
        wanted = set(numbers)
        kept = {number: each for number, each in self.kept.items() if number in wanted}
        last = self.last and replace(self.last, origins=self.last.origins.among(list(kept)))
        return replace(self, last=last, kept=kept)

    def come_in(self) -> "References":
        """These once the newest keyframe has come in: without what it replaces."""
        if self.coming is None:
            return self
        return self.of(each.number for each in self.in_use)


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
    repainted_at: Fraction | None = None  # pts of the last frame whose holes were painted, or that was
    recalled_at: Fraction | None = None  # pts of the last frame that idle keyframes were looked at for
    next_job: int = 0
    leaving: Leaving | None = None
    tone: Tone | None = None  # how the colours of keyframes are to differ from the raw ones; None: no keyframe said yet
    memory: bytes | None = None  # what the painter gave with the last keyframe, if it is to outlive the references

    @property
    def begins_anew(self) -> bool:
        """Whether the next keyframe is of other words, or asked for so that nothing of the last one is in it."""
        return self.anew or self.leaving is not None


@dataclass(frozen=True, slots=True)
class LiveProgress:
    """Where a live film stands besides: what is asked for, what is seen, and what has failed. Times are pts."""

    asked_epoch: int = 0  # the last that changes what is painted: paintings of older ones are of no use
    keyframe_epoch: int = 0  # of the keyframe that is seen
    shown_epoch: int = 0  # the last whose changes are all seen
    shown_since: Fraction | None = None  # when the keyframe was first seen; None: it was not yet
    faded: bool = False  # it has come in whole: it stays so, wherever time goes
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
