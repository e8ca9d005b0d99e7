"""The seam between the server and the models: arrays in, arrays out.

Conventions, everywhere: pictures are BGR uint8 [H, W, 3]; `flow[y, x] = (dx, dy)` in pixels on the grid of the
target, pointing into the source, so that what is seen at (x, y) of the target is seen at (x + dx, y + dy) of the
source; confidence is in [0, 1], 1 meaning sure to within a pixel. Sizes are width x height, as (W, H).
Arrays that an engine is given are read-only. An engine inherits nothing of ours: it has the right methods. One that
holds weights may have an attribute `nbytes`, the memory that they occupy, which `status` shows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..proto.brief import Brief
from ..proto.errors import Code

Picture = NDArray[np.uint8]  # [H, W, 3], BGR, 0..255
Flow = NDArray[np.float32]  # [H, W, 2], pixels, x then y
Confidence = NDArray[np.float32]  # [H, W], 0..1
Mask = NDArray[np.bool_]  # [H, W]
Hops = NDArray[np.uint8]  # [H, W], flows in a row since painted or found
Controls = Mapping[str, Picture]  # control images, by kind

# Of a frame that brings none.
NO_CONTROLS: Controls = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Frame:
    """One raw frame at the working size. index counts the source's frames; pts is in seconds.

    controls: the images that came with it for ControlNets, or as its `still`, each of the shape of `bgr`. keyframe: the
    client wants it painted in full.
    """

    index: int
    pts: Fraction
    bgr: Picture
    controls: Controls = field(default_factory=lambda: NO_CONTROLS)
    keyframe: bool = False

    @property
    def alone(self) -> "Frame":
        """The frame without its control images and its mark: as it is remembered."""
        return replace(self, controls=NO_CONTROLS, keyframe=False) if self.controls or self.keyframe else self


class Features(Protocol):
    """What a flow engine knows of one picture: opaque, a cache, never in a snapshot."""

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""

    @property
    def key(self) -> str:
        """Features with equal keys may be matched in one call."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a target's pixels are seen in one source: flow and confidence on the target's grid."""

    flow: Flow
    confidence: Confidence

    @classmethod
    def identity(cls, shape: tuple[int, ...]) -> "Match":
        """The match of a picture of this shape (H, W) with itself."""
        h, w = shape
        return cls(np.zeros((h, w, 2), np.float32), np.ones((h, w), np.float32))


@dataclass(frozen=True, slots=True)
class MatchRequest:
    """A target to be matched with each of its sources; a guess is a flow to start from, on any coarser grid."""

    target: Features
    sources: Sequence[Features]
    guesses: Sequence[Flow | None]  # one a source


class FlowEngine(Protocol):
    """Finds where the pixels of one picture are seen in others.

    It may have a method `complaint(size)` that says, in a sentence, why it cannot match pictures of this size (W, H),
    or "": a session of such a size is refused when it is opened. A text `description`, of what it runs on, which is
    logged at the start together with the time that a match takes. And `takes_guesses`, False if it has no use for them:
    then all references of a frame are matched in one call, in pacing `every` too.
    """

    def encode(self, pictures: Sequence[Picture]) -> list[Features]:
        """The features of each picture."""

    def match(self, requests: Sequence[MatchRequest]) -> list[list[Match]]:
        """For each request, the match of its target with each of its sources. All features have the same key.

        What depends on the target alone may be done once a request; several requests, of sessions that are served
        together, may be done in one batch.
        """


@dataclass(frozen=True, slots=True)
class Wording:
    """The prompts that are being left for the Brief's, and the share of them that is left, 0..1."""

    prompt: str
    negative_prompt: str
    share: float


@dataclass(frozen=True, slots=True)
class PaintJob:
    """One picture to paint: a whole keyframe, or a crop around holes.

    frame.bgr, frame.controls and canvas are the crop, [h, w, 3]; origin (x, y) is where it lies on the working canvas
    of `size` (W, H). holes is None for a keyframe; `canvas` is then what to start from instead of the raw frame, or
    None. For holes, `canvas` is what is painted so far, and only pixels where `holes` is True will be taken from the
    result. `seed` is the Brief's, varied if the Brief says so. memory is what the painter gave with the last keyframe.
    earlier is the wording that is being left, while a changed prompt comes in.
    """

    id: int
    epoch: int
    frame: Frame
    brief: Brief
    seed: int
    origin: tuple[int, int]
    size: tuple[int, int]
    canvas: Picture | None = None
    holes: Mask | None = None
    memory: bytes | None = None
    earlier: Wording | None = None


@dataclass(frozen=True, slots=True)
class PaintDone:
    """A painted job: `image` has the shape of the job's frame; or an error, and why in a sentence.

    memory: what the painter wants to be given with the session's next keyframe, if this is one. tags: what joined the
    prompt. note: what the session should be told though it was painted: a code, and a sentence.
    """

    id: int
    epoch: int
    image: Picture | None
    memory: bytes | None = None
    error: Code | None = None
    why: str = ""
    tags: tuple[str, ...] = ()
    note: tuple[Code, str] | None = None


# Crops lie on a grid of so many pixels, as the canvas does.
SIDE_STEP = 8


@dataclass(frozen=True, slots=True)
class Habits:
    """How a painter wants its work. A painter may have an attribute `habits` of this; the defaults fit any.

    crop_sides: what each side of a crop around holes may be, pixels, ascending, so that equal ones can be painted in
    one batch; empty: they are as large as the holes need. crop_context: what it wants to see around a hole,
    pixels. least_hole: holes that no square of so many pixels fits into are filled
    cheaply. batches: jobs of several sessions may come in one
    call, and what one of them takes is then shared by all. lasting_memory: what it gave with the last keyframe it wants
    with the next one in any case: after a cut, after `rekey`, and after a change of what is painted, too. at_once: its
    paint costs little, so the holes of each frame are painted, whatever `Brief.repaint_gap_s`; and where keyframes are
    marked, frames before the first one of their shot wait for it, and are each painted in full if it does not come.
    """

    crop_sides: tuple[int, ...] = ()
    crop_context: int = 8
    least_hole: int = 0
    batches: bool = False
    at_once: bool = False
    lasting_memory: bool = False

    def __post_init__(self) -> None:
        sides = tuple(self.crop_sides)  # a list, where they come from another process
        object.__setattr__(self, "crop_sides", sides)
        if any(side % SIDE_STEP for side in sides) or list(sides) != sorted(set(sides)):
            raise ValueError(f"crop_sides must be multiples of {SIDE_STEP}, ascending, not {sides}")
        if self.crop_context < 0 or self.least_hole < 0:
            raise ValueError(f"a context of {self.crop_context} and a least hole of {self.least_hole} pixels cannot be")
        if sides and sides[0] < 2 * self.crop_context + 2 * SIDE_STEP:
            raise ValueError(f"a side of {sides[0]} has no room for a hole with {self.crop_context} pixels around it")


# How a painter works that does not say so.
NO_HABITS = Habits()


class Painter(Protocol):
    """Paints pictures. `looks` are the values of Brief.look that it knows."""

    @property
    def looks(self) -> Sequence[str]:
        """The looks that it knows; a Brief with another one is refused before it gets here."""

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        """One result a job, in order. May return early, with Code.CANCELLED, when cancelled() turns True.

        A painter that batches may be given jobs of several sessions: `id` and `epoch` count within one session, so that
        two jobs may have the same. cancelled() is True when none of them is wanted any more. If all of them fail with
        Code.PAINTER_FAILED, each session's are given again in a call of their own.
        """
