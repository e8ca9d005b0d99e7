"""What paintings cost, counted: how often each net was run, and on how much."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Net = Literal["unet", "inpaint_unet", "controlnet", "vae_encode", "vae_decode", "tiny_encode", "tiny_decode", "text"]
Size = tuple[int, int]  # of the picture, W x H


@dataclass(slots=True)
class Work:
    """Runs of each net by the size of the picture, one a row of the batch; of `text`, one a text, size (0, 0)."""

    runs: Counter[tuple[Net, Size]] = field(default_factory=Counter)

    def add(self, net: Net, size: Size, rows: int) -> None:
        """So many more rows."""
        self.runs[net, size] += rows
