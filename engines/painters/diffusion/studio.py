"""Where batches are painted: the resident models, what is kept between paintings, and the way from jobs to pictures."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

from ....proto.brief import control_of, lora_of
from ...base import PaintJob, Picture
from . import control, latents
from .attention import Bank, looking_back
from .denoise import Batch, CancelledError, ControlInput, denoise
from .jobs import Group, Item, blanked, holes_of, start_of
from .kept import Kept
from .memory import Memory, read
from .models import Models
from .schedulers import Schedule
from .tagger import prompted, unblocked
from .text import TextEncoder
from .weights.files import adapter_of
from .work import Work

# What is added to the seed for the noise that steps add, so that it is not the noise that a painting starts from.
STEP_SEED = 2**61
# Of a name under which a keyframe's attention is kept: as good as never the same for two.
NAME_BYTES = 16


@dataclass(frozen=True, slots=True)
class Painting:
    """One item, painted. picture None: the model gave no numbers. memory: of a keyframe, for the next one.

    too_large: what its attention would take, bytes, if that is more than may be kept; else 0.
    """

    picture: Picture | None
    memory: bytes | None = None
    too_large: int = 0


class Studio:
    """Paints batches. One thread at a time, and one batch: schedulers and adapters carry state."""

    def __init__(self, models: Models, cache_bytes: int) -> None:
        self.models = models
        self.kept = Kept(cache_bytes)
        self.work = Work()
        self._encoders = {id(each): TextEncoder(each, self.kept, self.work) for each in models.pipelines}
        self._adapted: dict[int, tuple[str, ...]] = {}
        self._like = torch.empty(0, dtype=models.dtype, device=models.device)

    @property
    def text_layers(self) -> int:
        """Of the text encoder: clip_skip must be smaller."""
        return self._encoders[id(self.models.base)].layers

    def item(self, place: int, job: PaintJob) -> Item:
        """A job with its texts, and what it looks back at if that is still kept."""
        pipeline = self._pipeline(keyframe=job.holes is None)
        self._adapt(pipeline, job.brief.loras)
        brief, memory = job.brief, read(job.memory)
        tags = self._tags(job, memory)

        def with_tags(prompt: str) -> str:
            return prompted(prompt, tags, prefix=brief.tag_prefix) if tags else prompt

        earlier = None if job.earlier is None else replace(job.earlier, prompt=with_tags(job.earlier.prompt))
        texts = self._encoders[id(pipeline)].texts(brief, with_tags(brief.prompt), earlier)
        looks_back = brief.attend_last and job.holes is None and memory.attention is not None
        return Item(place, job, texts, tags, self.kept.get(memory.attention) if looks_back else None)

    def paint(self, group: Group, items: Sequence[Item], cancelled: Callable[[], bool]) -> list[Painting]:
        """The items of one group, painted as one batch. Raises CancelledError, and what torch raises."""
        if cancelled():
            raise CancelledError
        pipeline = self._pipeline(keyframe=group.keyframe)
        self._adapt(pipeline, group.loras)
        schedule = Schedule(
            group.scheduler,
            pipeline.scheduler.config,
            steps=group.steps,
            strength=group.strength,
            device=self.models.device,
        )
        batch = self._batch(group, items, pipeline)
        banks = self._banks(group, items, batch, schedule)
        looking = looking_back(pipeline.unet, *banks) if banks else nullcontext()
        with looking:
            painted = denoise(pipeline.unet, schedule, batch, cancelled)
        self._count(group, batch, len(schedule.timesteps))
        decoded = self._decoded(group, painted)
        finite = torch.isfinite(decoded).flatten(1).all(1).tolist()
        pictures = latents.pictures_of(decoded)
        written = banks[1] if banks else [None] * len(items)
        return [
            self._finished(item, picture, bank) if whole else Painting(None)
            for item, picture, bank, whole in zip(items, pictures, written, finite, strict=True)
        ]

    def _pipeline(self, *, keyframe: bool) -> Any:
        """The one that paints keyframes, or holes."""
        return self.models.base if keyframe or self.models.inpaint is None else self.models.inpaint

    def _adapt(self, pipeline: Any, loras: tuple[str, ...]) -> None:
        """Has the pipeline use these LoRAs and no others."""
        if self._adapted.get(id(pipeline)) == loras:
            return
        self._adapted.pop(id(pipeline), None)  # if what follows fails, nothing is known
        if loras:
            wanted = [lora_of(each) for each in loras]
            pipeline.enable_lora()
            pipeline.set_adapters([adapter_of(each.name) for each in wanted], [each.weight for each in wanted])
        else:
            pipeline.disable_lora()
        self._adapted[id(pipeline)] = loras

    def _tags(self, job: PaintJob, memory: Memory) -> tuple[str, ...]:
        """What the tagger sees in a keyframe, but for what the Brief blocks; around holes, what it saw in that."""
        tagger, threshold = self.models.tagger, job.brief.tag_threshold
        if tagger is None or not threshold:
            return ()
        if job.holes is not None:
            return memory.tags
        [tags] = tagger.tags([job.frame.bgr], threshold=threshold)
        return unblocked(tags, job.brief.tag_block)

    # From jobs to a batch

    def _batch(self, group: Group, items: Sequence[Item], pipeline: Any) -> Batch:
        jobs = [each.job for each in items]
        hole = around = None
        if not group.keyframe:
            nine = self.models.inpaint is not None
            hole = torch.cat([latents.hole_of(holes_of(each), self._like, soft=not nine) for each in jobs])
            around = self._encoded(group, [blanked(each) for each in jobs]) if nine else None
        distilled = pipeline.unet.config.time_cond_proj_dim is not None  # is told the guidance: no second pass for it
        guided = group.guidance > 1 and not distilled
        return Batch(
            start=self._encoded(group, [start_of(each) for each in jobs]),
            noise=torch.cat([latents.noise_of(each, self._like) for each in jobs]),
            generators=[latents.generator_of(each.seed + STEP_SEED) for each in jobs],
            text=torch.cat([each.texts.wanted for each in items]),
            not_text=torch.cat([each.texts.without for each in items]) if guided else None,
            guidance=group.guidance,
            hole=hole,
            around=around,
            controls=[self._control(text, jobs) for text in group.controls],
        )

    def _control(self, text: str, jobs: Sequence[PaintJob]) -> ControlInput:
        wanted = control_of(text)
        pictures = [control.image_of(wanted.kind, each.frame) for each in jobs]
        shown = latents.tensor_of(pictures, self._like)
        return ControlInput(self.models.controls[wanted.kind], shown, wanted.weight, wanted.start, wanted.end)

    # Latents

    def _encoded(self, group: Group, pictures: Sequence[Picture]) -> torch.Tensor:
        self.work.add("tiny_encode" if group.vae == "tiny" else "vae_encode", group.size, len(pictures))
        return latents.encoded(self._vae(group), latents.tensor_of(pictures, self._like))

    def _decoded(self, group: Group, painted: torch.Tensor) -> torch.Tensor:
        self.work.add("tiny_decode" if group.vae == "tiny" else "vae_decode", group.size, len(painted))
        return latents.decoded(self._vae(group), painted)

    def _vae(self, group: Group) -> Any:
        return self.models.tiny if group.vae == "tiny" else self.models.base.vae

    # Attention

    def _banks(
        self, group: Group, items: Sequence[Item], batch: Batch, schedule: Schedule
    ) -> tuple[Sequence[Bank] | None, Sequence[Bank]] | None:
        """What each item looks back at, and where its own attention is written; None: it looks at itself alone.

        Banks of another size, or of other steps, are of no use: the painting is then as the first one was.
        """
        if not group.attend:
            return None
        shape = (*batch.start.shape[1:], len(schedule.timesteps), 1 if batch.not_text is None else 2)
        back = [each.back for each in items if each.back is not None and each.back.shape == shape]
        return back or None, [Bank(shape, self.kept.most_bytes) for _ in items]

    def _finished(self, item: Item, picture: Picture, bank: Bank | None) -> Painting:
        """A painting, its attention kept for the next keyframe in place of what it looked back at itself."""
        if item.job.holes is not None:
            return Painting(picture)
        name = None
        if bank is not None and bank.fits:
            name = _name(item.job, picture)
            self.kept.put(name, bank, bank.nbytes)
        too_large = 0 if bank is None or bank.fits else bank.wanted_bytes
        return Painting(picture, Memory(name, item.tags).packed(), too_large)

    def _count(self, group: Group, batch: Batch, steps: int) -> None:
        rows = len(batch.start) * (1 if batch.not_text is None else 2)
        self.work.add("unet" if batch.around is None else "inpaint_unet", group.size, rows * steps)
        for each in batch.controls:
            self.work.add("controlnet", group.size, rows * sum(each.counts(number, steps) for number in range(steps)))


def _name(job: PaintJob, picture: Picture) -> bytes:
    """The same for the same painting of the same job, so that a session's outputs do not depend on chance."""
    said = f"{job.frame.index} {job.seed} {job.brief.model_dump_json()}".encode()
    return blake2b(
        np.ascontiguousarray(picture).data, key=blake2b(said, digest_size=64).digest(), digest_size=NAME_BYTES
    ).digest()
