"""Keyframes that look back: self-attention over the painting's own keys and values and those of the last keyframe.

While a keyframe is painted, the keys and values of each self-attention layer at each step are written into a bank; the
next keyframe attends to its own and to these, at the same layer and step. Looking back at the very same picture changes
nothing: every key is there twice, and the softmax gives each half its weight.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional

# Layers of self-attention, by the names that diffusers gives them. Not those of the finest level: they are half of all
# keys and values, and take a fifth more time where the others take a thirtieth.
SELF_ATTENTION = ".attn1."
FINEST = ("down_blocks.0.", "up_blocks.3.")

Pair = tuple[torch.Tensor, torch.Tensor]  # keys and values, each [rows, heads, tokens, width]


@dataclass(slots=True)
class Bank:
    """The keys and values of one keyframe: by layer and step; one row, or two with guidance (without text first).

    shape: of its latents, then steps and rows, which those of whoever looks back must equal. most_bytes: if all its
    steps would take more, it is not written, and stays empty.
    """

    shape: tuple[int, ...]
    most_bytes: int
    pairs: dict[tuple[str, int], Pair] = field(default_factory=dict)
    wanted_bytes: int = 0  # of all steps, as far as is known after the first

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.pairs.values())

    @property
    def fits(self) -> bool:
        """Whether all its steps take no more than they may."""
        return self.wanted_bytes <= self.most_bytes

    def write(self, layer: str, step: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keeps a layer's keys and values of a step."""
        if step == 0:
            _, _, _, steps, _ = self.shape
            self.wanted_bytes += steps * (keys.nbytes + values.nbytes)
        if self.fits:
            self.pairs[layer, step] = (keys.clone(), values.clone())
        else:
            self.pairs.clear()


@dataclass(slots=True)
class _Pass:
    """One painting of a batch: what each item looks back at, and where each one's own is written."""

    before: Sequence[Bank] | None
    written: Sequence[Bank]
    step: int = -1

    def seen(self, layer: str) -> Pair | None:
        """The keys and values that the items look back at in this step, in the order of the batch's rows."""
        if self.before is None:
            return None
        pairs = [each.pairs[layer, self.step] for each in self.before]
        keys, values = (_rows([pair[which] for pair in pairs]) for which in (0, 1))
        return keys, values

    def write(self, layer: str, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keeps each item's own."""
        items = len(self.written)
        for number, bank in enumerate(self.written):
            bank.write(layer, self.step, keys[number::items], values[number::items])


def _rows(of_items: Sequence[torch.Tensor]) -> torch.Tensor:
    """[rows, ...] of each item to [rows * items, ...]: first all items without text, then all with it."""
    return torch.stack(tuple(of_items), dim=1).flatten(0, 1)


@contextmanager
def looking_back(unet: Any, before: Sequence[Bank] | None, written: Sequence[Bank]) -> Iterator[None]:
    """Within it, the UNet's calls are the steps of one painting of len(written) items.

    before: one bank an item, or None: each attends to itself alone.
    """
    this = _Pass(before, written)

    def begin_step(*_: Any) -> None:
        this.step += 1

    plain = dict(unet.attn_processors)
    hook = unet.register_forward_pre_hook(begin_step)
    unet.set_attn_processor(
        {name: _Attention(this, name) if _looks_back(name) else each for name, each in plain.items()}
    )
    try:
        with torch.compiler.set_stance("force_eager"):  # processors that change would be compiled anew each time
            yield
    finally:
        hook.remove()
        unet.set_attn_processor(plain)


def _looks_back(layer: str) -> bool:
    return SELF_ATTENTION in layer and not layer.startswith(FINEST)


class _Attention:
    """An attention processor of diffusers: what its own does for self-attention, and the looking back."""

    def __init__(self, this: _Pass, layer: str) -> None:
        self._this = this
        self._layer = layer

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """hidden_states: [B, tokens, width]."""
        query, keys, values = (_by_head(to(hidden_states), attn.heads) for to in (attn.to_q, attn.to_k, attn.to_v))
        self._this.write(self._layer, keys, values)
        back = self._this.seen(self._layer)
        if back is not None:
            keys, values = (torch.cat([own, other], 2) for own, other in zip((keys, values), back, strict=True))
        attended = functional.scaled_dot_product_attention(query, keys, values)
        attended = attended.transpose(1, 2).flatten(2).to(query.dtype)
        projected: torch.Tensor = attn.to_out[1](attn.to_out[0](attended))
        return projected


def _by_head(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, tokens, heads * width] to [B, heads, tokens, width]."""
    rows, count, width = tokens.shape
    return tokens.view(rows, count, heads, width // heads).transpose(1, 2)
