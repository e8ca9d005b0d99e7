"""What a step of pacing `every` has painted, and what it gives for a frame. Pure helpers of a step."""

from collections.abc import Generator, Sequence
from typing import Any

from ..engines.base import Frame, Mask, Match, PaintDone, PaintJob, Picture
from ..engines.compose import Composition
from ..proto.errors import Code, RefusedError
from ..proto.messages import Provenance
from .asks import Ask, Output, PaintAsk
from .state import Last


def paintings(jobs: Sequence[PaintJob]) -> Generator[Ask, Any, list[tuple[Picture, bytes | None]]]:
    """The painted pictures, each with its memory. Raises RefusedError with the painter's code if one is missing."""
    done: list[PaintDone] = yield PaintAsk(jobs)
    pictures = []
    for each in done:
        if each.image is None:
            raise RefusedError(each.error or Code.PAINTER_FAILED, each.why or "the painter gave no picture")
        pictures.append((each.image, each.memory))
    return pictures


def output_of(
    last: Last, epoch: int, holes: Mask, filled: Mask, match: Match | None, *, keyframe: bool, painted_pixels: int
) -> Output:
    """What is given for a frame. filled: [H, W], which holes were filled cheaply; match: that of the keyframe."""
    provenance = Provenance.PAINTED if match is None else Provenance.WARPED
    return Output(
        index=last.frame.index,
        pts=last.frame.pts,
        epoch=epoch,
        raw=last.frame.bgr,
        picture=last.painted,
        provenance=Provenance.FILLED if filled.any() and not keyframe else provenance,
        keyframe=keyframe,
        holes=holes,
        hops=last.origins.hops,
        match=match,
        painted_pixels=painted_pixels,
    )


def whole_output(frame: Frame, picture: Picture, epoch: int, *, keyframe: bool) -> Output:
    """What is given for a frame that was painted in full, and is all that it shows."""
    h, w = picture.shape[:2]
    made = Composition.of(picture, 1, (h, w))
    last = Last(frame.alone, picture, made.origins)
    return output_of(last, epoch, made.holes, made.holes, None, keyframe=keyframe, painted_pixels=h * w)
