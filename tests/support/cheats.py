"""Ways to make a painted film look good by one figure and bad to whoever watches it; and honest films of real clips."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from support.daemon import daemon
from warpaint.client.painting import Client
from warpaint.client.run import FILE_BRIEF
from warpaint.engines.measures import Cost, Judge, Verdict

Picture = NDArray[np.uint8]
Film = Sequence[Picture]

TRUSTING, CHAINED = "flows_under_test:Trusting", "flows_under_test:TrustingLast"
# One keyframe, warped for ever: whatever would end that is switched off.
FOR_EVER: dict[str, Any] = {
    "keyframe_gap_min_s": 3000.0,
    "keyframe_gap_max_s": 3600.0,
    "cut_detection": False,
    "hole_limit": 1.0,
    "max_hops": 254,
}
# Frames a second that Session.paint gives arrays without a rate.
RATE = 25.0


def frozen(film: Film) -> list[Picture]:
    """The first painting, for ever."""
    return [film[0]] * len(film)


def blurred(film: Film, sigma_px: float) -> list[Picture]:
    """Each frame blurred: what is fine cannot flicker."""
    return [cv2.GaussianBlur(picture, (0, 0), sigma_px) for picture in film]


def averaged(film: Film, share: float) -> list[Picture]:
    """An exponential average over time, to which each frame adds its share."""
    mean = film[0].astype(np.float32)
    found = []
    for picture in film:
        mean += np.float32(share) * (picture - mean)
        found.append(np.rint(mean).astype(np.uint8))
    return found


@dataclass(frozen=True)
class Films:
    """A raw clip, and what was painted of it by name: `ours` and two that trust every flow; alone and fixed."""

    raw: Film
    painted: dict[str, Film]
    costs: dict[str, Cost]
    alone: Film
    fixed: Film | None

    def with_cheats(self) -> dict[str, Film]:
        """What was painted, with one seed too if it was, and cheats made of `ours` and alone."""
        made: dict[str, Film] = {"frozen": frozen(self.alone)}
        for name, film in (("ours", self.painted["ours"]), ("alone", self.alone)):
            made[f"{name} blurred, 1 px"] = blurred(film, 1.0)
            made |= {f"{name} averaged, {share}": averaged(film, share) for share in (0.5, 0.1)}
        if self.fixed is not None:
            made["alone, one seed"] = self.fixed
        return {**self.painted, **made}

    def verdicts(self) -> dict[str, Verdict]:
        """The judge's verdict on all of them."""
        films = self.with_cheats()
        judge = Judge(list(films), RATE, alone=True, fixed=self.fixed is not None)
        for t, raw in enumerate(self.raw):
            frames = {name: film[t] for name, film in films.items()}
            judge.add(raw, frames, alone=self.alone[t], fixed=None if self.fixed is None else self.fixed[t])
        return judge.verdicts(self.costs)


@contextmanager
def studio(folder: Path) -> Iterator[Client]:
    """A client of a real daemon that has the flow engines of painted_films."""
    flows = [part for name in ("dis", "none", TRUSTING, CHAINED) for part in ("--flows", name)]
    with daemon(folder, "--log-level", "warning", *flows) as running, Client(running.address) as client:
        yield client


def painted_films(client: Client, raw: Film, *, fixed: bool = False) -> Films:
    """A clip painted by `strokes` with a new seed each time: honestly, as `warpaint run` does, and trusting every flow.

    fixed: whether also frame by frame with one seed.
    """
    alone, _ = _painted(client, raw, flow="none", vary_seed=True)
    made = {
        "ours": _painted(client, raw, flow="dis", vary_seed=True, **FILE_BRIEF),
        "trusts every flow": _painted(client, raw, flow=TRUSTING, vary_seed=True, **FOR_EVER),
        "trusts, chained": _painted(client, raw, flow=CHAINED, vary_seed=True, **FOR_EVER),
    }
    one_seed = _painted(client, raw, flow="none")[0] if fixed else None
    films = {name: film for name, (film, _) in made.items()}
    return Films(raw, films, {name: cost for name, (_, cost) in made.items()}, alone, one_seed)


def _painted(client: Client, raw: Film, **wishes: Any) -> tuple[Film, Cost]:
    with client.session(**wishes) as session:
        results = list(session.paint(raw))
    totals = session.totals
    if totals is None:
        raise RuntimeError("the session was not closed")
    keyframes = [number for number, each in enumerate(results) if each.info.keyframe]
    return [each.image for each in results], Cost(keyframes, totals.painted_pixels / totals.canvas_pixels)
