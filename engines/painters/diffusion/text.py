"""Prompts to embeddings: [1, 77, d], kept per text, and blended while a changed prompt comes in."""

from dataclasses import dataclass
from typing import Any

import torch

from ....proto.brief import Brief
from ...base import Wording
from .kept import Kept
from .work import Work


@dataclass(frozen=True, slots=True)
class Texts:
    """What a job's texts come to: embeddings [1, n, d], `without` of what is not wanted; and what was cut off."""

    wanted: torch.Tensor
    without: torch.Tensor
    cut: str


class TextEncoder:
    """The tokenizer and text encoder of a pipeline, with its textual inversions.

    pipeline: a StableDiffusionPipeline. kept: embeddings are kept there. work: those not found there are counted.
    """

    def __init__(self, pipeline: Any, kept: Kept, work: Work) -> None:
        self._pipeline = pipeline
        self._kept = kept
        self._work = work

    @property
    def layers(self) -> int:
        """Of the text encoder: clip_skip must be smaller."""
        return int(self._pipeline.text_encoder.config.num_hidden_layers)

    def texts(self, brief: Brief, prompt: str, earlier: Wording | None) -> Texts:
        """The embeddings for a Brief whose prompt is `prompt`, tags and all."""
        wanted, without = (self._embedded(text, brief) for text in (prompt, brief.negative_prompt))
        if earlier is not None and earlier.share > 0:
            before = [self._embedded(text, brief) for text in (earlier.prompt, earlier.negative_prompt)]
            wanted = torch.lerp(wanted, before[0], earlier.share)
            without = torch.lerp(without, before[1], earlier.share)
        cut = [left for text in (prompt, brief.negative_prompt) if (left := self.cut(text))]
        return Texts(wanted, without, " ... ".join(cut))

    def cut(self, text: str) -> str:
        """What of a text is past the model's last token, and is not read."""
        tokenizer = self._pipeline.tokenizer
        tokens = tokenizer(self._spelt(text), truncation=False, verbose=False).input_ids
        return str(tokenizer.decode(tokens[tokenizer.model_max_length - 1 : -1])).strip()

    def _spelt(self, text: str) -> str:
        """A text whose textual inversions are spelt as the tokens that they are made of."""
        return str(self._pipeline.maybe_convert_prompt(text, self._pipeline.tokenizer))

    def _embedded(self, text: str, brief: Brief) -> torch.Tensor:
        key = ("text", id(self), text, brief.clip_skip, brief.loras)
        found = self._kept.get(key)
        if found is None:
            found = self._encoded(text, brief.clip_skip)
            self._kept.put(key, found, found.nbytes)
        embedding: torch.Tensor = found
        return embedding

    def _encoded(self, text: str, clip_skip: int) -> torch.Tensor:
        """As the library's pipelines do it, but for clip_skip, with which these fail on today's text encoders."""
        self._work.add("text", (0, 0), 1)
        tokenizer, encoder = self._pipeline.tokenizer, self._pipeline.text_encoder
        tokens = tokenizer(self._spelt(text), padding="max_length", truncation=True, return_tensors="pt", verbose=False)
        seen = encoder(tokens.input_ids.to(encoder.device), output_hidden_states=bool(clip_skip))
        if not clip_skip:
            whole: torch.Tensor = seen.last_hidden_state
            return whole
        normed: torch.Tensor = getattr(encoder, "text_model", encoder).final_layer_norm(
            seen.hidden_states[-1 - clip_skip]
        )
        return normed
