"""The painter `diffusion`: Stable Diffusion, resident. Keyframes by img2img, holes by inpainting.

A call's jobs are sorted into groups that can be one batch: of one kind and size, with the same steps and adapters. A
batch that fails fails alone, and a device that is short of memory is given half of it.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from ....proto.brief import Brief, control_of
from ....proto.errors import Code
from ...base import Frame, Habits, PaintDone, PaintJob
from ...settings import EngineSettings
from . import latents, models
from .denoise import CancelledError
from .jobs import Group, Item, batches, group_of, shown_controls
from .rules import complaint
from .studio import Painting, Studio
from .weights.files import Files, inspected

log = logging.getLogger(__name__)

# What each side of a crop around holes may be, pixels: few, so that equal ones are common and each is compiled once;
# multiples of 64, which the UNet halves three times.
CROP_SIDES = (64, 128, 192, 256, 384, 512)
# What is seen around a hole, pixels: two latents, more to most sides. With three, a fifth to a third more was painted.
CROP_CONTEXT = 16
# Side of the picture that is painted at the start, pixels.
WARM_SIDE = 64

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
RELIEF = (
    "a smaller canvas (max_pixels), vae = tiny, fewer controls, or in the daemon fp16 or a smaller cache_mb need less"
)
BUSY = "the painter is still at a call that was given up"
NO_NUMBERS = "the model gave no numbers (NaN): in fp16 some do; dtype = fp32 or bf16, or another VAE, may help"


class Diffusion:
    """A Painter of what the prompt says. Raises RefusedError when its models cannot be loaded."""

    looks = ("diffusion",)

    def __init__(self, settings: EngineSettings, files: Files | None = None) -> None:
        """files: of the settings, if they have been inspected already."""
        self.habits = Habits(CROP_SIDES, CROP_CONTEXT, settings.least_hole, batches=True)
        self._settings = settings
        self.studio = Studio(models.load(settings, files or inspected(settings)), settings.cache_mb * 10**6)
        self._busy = False
        on_gpu = self.studio.models.device.type == "cuda"
        self._low = torch.cuda.Stream() if on_gpu else None  # type: ignore[no-untyped-call]
        self._warm()

    @property
    def nbytes(self) -> int:
        """Memory of the weights and of what is kept between paintings, bytes."""
        return self.studio.models.nbytes + self.studio.kept.nbytes

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        """One result a job, in order. `cancelled` is asked before each step.

        Errors: BAD_BRIEF; PAINTER_FAILED where the model gives no numbers; RESOURCE_EXHAUSTED; CANCELLED.
        """
        if self._busy:
            return [_failed(job, Code.PAINTER_FAILED, BUSY) for job in jobs]
        self._busy = True
        try:
            with torch.inference_mode(), self._stream():
                done = self._all(jobs, cancelled)
        finally:
            self._busy = False
        return [done[place] for place in range(len(jobs))]

    def _all(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> dict[int, PaintDone]:
        """The results by place."""
        done: dict[int, PaintDone] = {}
        groups: dict[Group, list[Item]] = {}
        for place, job in enumerate(jobs):
            item = self._item(place, job)
            if isinstance(item, PaintDone):
                done[place] = item
            else:
                groups.setdefault(group_of(item), []).append(item)
        for group, items in groups.items():
            for batch in batches(items):
                done |= self._painted(group, batch, cancelled)
        return done

    def _item(self, place: int, job: PaintJob) -> Item | PaintDone:
        """The job, ready to be painted; or why it cannot be."""
        if why := self._unfit(job):
            return _failed(job, Code.BAD_BRIEF, why)
        try:
            return self.studio.item(place, job)
        except Exception as error:  # of the tagger, or the text encoder
            log.exception("job %d", job.id)
            return self._failure(job, error)

    def _unfit(self, job: PaintJob) -> str:
        """Why a job cannot be painted, in a sentence; empty: it can."""
        layers = self.studio.text_layers
        if job.brief.clip_skip >= layers:
            return f"brief.clip_skip: this model's text encoder has {layers} layers, so at most {layers - 1}"
        h, w = job.frame.bgr.shape[:2]
        if any(each % latents.CELL for each in (w, h, *job.origin, *job.size)):
            return f"a picture must lie on multiples of {latents.CELL} pixels; this is {w}x{h} at {job.origin}"
        return complaint(job.brief, settings=self._settings) or _missing_image(job)

    def _painted(self, group: Group, items: Sequence[Item], cancelled: Callable[[], bool]) -> dict[int, PaintDone]:
        """The results of a batch by place; of its halves if there is not enough memory for the whole."""
        done = self._tried(group, items, cancelled)
        if not any(each.error is Code.RESOURCE_EXHAUSTED for each in done.values()):
            return done
        self._free()
        bare = [replace(each, back=None) for each in items]  # what they look back at was let go
        alone = replace(group, back=None)
        half = (len(items) + 1) // 2
        halves = (self._tried(alone, part, cancelled) for part in (bare[:half], bare[half:]) if part)
        done = {place: each for part in halves for place, each in part.items()}
        self._free()
        return done

    def _tried(self, group: Group, items: Sequence[Item], cancelled: Callable[[], bool]) -> dict[int, PaintDone]:
        """The results of a batch by place, whatever happens."""
        try:
            paintings = self.studio.paint(group, items, cancelled)
        except Exception as error:  # of torch and the libraries
            if not isinstance(error, CancelledError):
                log.exception("a batch of %d of %dx%d", len(items), *group.size)
            return {each.place: self._failure(each.job, error) for each in items}
        return {each.place: self._done(each, painting) for each, painting in zip(items, paintings, strict=True)}

    def _failure(self, job: PaintJob, error: Exception) -> PaintDone:
        """What an exception comes to."""
        if isinstance(error, CancelledError):
            return _failed(job, Code.CANCELLED, "cancelled before the painting was finished")
        if _is_short_of_memory(error):
            h, w = job.frame.bgr.shape[:2]
            device = self.studio.models.device.type
            return _failed(
                job, Code.RESOURCE_EXHAUSTED, f"the {device} has not enough memory to paint {w}x{h}: {RELIEF}"
            )
        return _failed(job, Code.PAINTER_FAILED, f"the painter failed: {type(error).__name__}: {error}")

    def _done(self, item: Item, painting: Painting) -> PaintDone:
        job = item.job
        if painting.picture is None:
            return _failed(job, Code.PAINTER_FAILED, NO_NUMBERS)
        return PaintDone(
            job.id, job.epoch, painting.picture, painting.memory, tags=item.tags, note=self._note(item, painting)
        )

    def _note(self, item: Item, painting: Painting) -> tuple[Code, str] | None:
        """What the session is to be told."""
        if item.texts.cut:
            return Code.PROMPT_CUT, f"the prompt is too long for the model, which did not read: {item.texts.cut}"
        if painting.too_large:
            needed, most = (each / 1e6 for each in (painting.too_large, self.studio.kept.most_bytes))
            why = f"attend_last would take {needed:.0f} MB, cache_mb is {most:.0f}: keyframes do not look back"
            return Code.RESOURCE_EXHAUSTED, why
        return None

    def _free(self) -> None:
        self.studio.kept.clear()
        if self.studio.models.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.studio.models.device.type == "mps":
            torch.mps.empty_cache()

    def _stream(self) -> AbstractContextManager[None]:
        """On a GPU, a stream of its own: flow in the same process need not wait for it."""
        if self._low is None:
            return nullcontext()
        return torch.cuda.stream(self._low)

    def _warm(self) -> None:
        """Paints what nobody wants, so that the first frame does not wait for what is set up at the first use."""
        side = WARM_SIDE
        picture = np.zeros((side, side, 3), np.uint8)
        brief = Brief(prompt="a picture", steps=1, strength=1.0)
        keyframe = PaintJob(0, 0, Frame(0, Fraction(0), picture), brief, 0, (0, 0), (side, side))
        hole = np.zeros((side, side), np.bool_)
        hole[: side // 2] = True
        holes = PaintJob(1, 0, keyframe.frame, brief, 0, (0, 0), (side, side), picture, hole)
        for each in self.paint([keyframe, holes], lambda: False):
            if each.error is not None:
                log.warning("painting to warm up failed: %s", each.why)


def _missing_image(job: PaintJob) -> str:
    """Which image a keyframe lacks, in a sentence; empty: none. Holes need none: they fit to what is around them."""
    missing = set(job.brief.controls) - set(shown_controls(job))
    if job.holes is not None or not missing:
        return ""
    kind = next(control_of(each).kind for each in job.brief.controls if each in missing)
    return f"brief.controls: {kind!r} is not computed here; send its image with each frame"


def _failed(job: PaintJob, code: Code, why: str) -> PaintDone:
    return PaintDone(job.id, job.epoch, None, error=code, why=why)


def _is_short_of_memory(error: Exception) -> bool:
    """Torch has a class for it; of a CPU, MPS and the libraries of CUDA there are sentences alone."""
    return isinstance(error, torch.OutOfMemoryError) or any(each in str(error) for each in OUT_OF_MEMORY)
