"""Films painted through a real daemon, for several benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.clips import frames
from support.daemon import daemon
from warpaint.client.painting import Client
from warpaint.proto.messages import Painted, Totals

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class PaintedFilm:
    """What a daemon made of a clip."""

    raw: list[Picture]
    painted: list[Picture]
    infos: list[Painted]
    totals: Totals

    def stage_ms(self, names: Sequence[str]) -> float:
        """Milliseconds a frame in these stages together."""
        return sum(info.stages_ms.get(name, 0.0) for info in self.infos for name in names) / len(self.infos)

    @property
    def painted_share(self) -> float:
        """What the painter painted, as a share of painting each frame in full."""
        return self.totals.painted_pixels / self.totals.canvas_pixels


def painted_film(folder: Path, name: str, size: tuple[int, int], *, flow: str = "dis", **brief: Any) -> PaintedFilm:
    """A clip, scaled to this size (W, H), painted at the defaults but for `flow` and `brief`."""
    raw = list(frames(name, size))
    with daemon(folder, "--log-level", "warning") as running, Client(running.address) as client:
        with client.session(flow=flow, **brief) as session:
            results = list(session.paint(raw))
        totals = session.totals
        if totals is None:
            raise RuntimeError("the session was not closed")
        return PaintedFilm(raw, [each.image for each in results], [each.info for each in results], totals)
