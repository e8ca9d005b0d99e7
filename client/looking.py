"""Looks at a film, small and in steps: where it cuts, and how much of each frame is seen in the others of its shot.

One session tells where it cuts. In another one a frame is marked and those after it are sent, so that the confidence of
their flow tells how much of each is seen in it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np

from ..proto.limits import MAX_WAITING, MAX_WAITING_BYTES
from ..proto.messages import Source
from .conversion import painted_film
from .explaining import GOES_ON, Reach, Shares, Shot, mirrored
from .film.media import DEFAULT_RATE, Film, FilmFrame
from .film.pictures import as_bgr, scaled
from .images import Image
from .painting import Client, Session
from .run import FILE_BRIEF, STILLS_BRIEF

# It paints nothing, so what is seen in what is told by the film alone.
PAINTER = "identity"
# What both sessions are asked for: no frame is painted in full that is not to be, and nothing fades.
BRIEF: dict[str, Any] = {"keyframes": "marked", "idle_keyframes": 0, "references": 1, "fade_s": 0.0}

# The film is looked at in so many pixels: what is seen in what is nearly the same as in full size (correlation 0.99).
LOOK_PIXELS = 192 * 108
# In steps of so many seconds: with shorter ones the shares differ by less than 0.02, and take the square of the time.
LOOK_STEP = Fraction(4, 25)
# From so many looks ahead on a frame is sought in each so many alone: what is seen for so long changes slowly.
STRIDES = ((0, 1), (16, 4), (64, 16))
# And no farther where less than this is seen: pictures of other things show up to 0.25 of each other.
LEAST_SEEN = 0.3
# A shot has so many looks at most, two minutes: one that is longer is taken for two, of which the other goes on.
MOST_LOOKS = 750
# A pixel is seen where the flow is at least as sure as files want it to be.
SURE = FILE_BRIEF["confidence"]
# What a frame holds in the daemon that waits for a still, bytes a pixel, with the flow engine `dis`: one that is to
# follow the first of its shot back, and one that waits with its holes.
BACKWARD_PIXEL_BYTES = 20
WAITING_PIXEL_BYTES = 43
# Sides of pictures that are sent: canvases have no others, so nothing is added at their edges.
SIDE_STEP = 8


@dataclass(frozen=True, slots=True)
class Look:
    """A frame that is looked at. index counts the film's frames from the first that is read; time_s, its seconds."""

    index: int
    time_s: float
    picture: Image


@dataclass(slots=True)
class Looks:
    """What is looked at of a shot, and the index and the time of the first frame after it."""

    looks: list[Look] = field(default_factory=list)
    end: int = 0
    end_s: float = 0.0

    @property
    def times_s(self) -> Shares:
        """When each look is shown, [n]."""
        return np.array([look.time_s for look in self.looks])

    @property
    def lasts_s(self) -> Shares:
        """How long each look stands for, [n]."""
        return np.diff([*self.times_s, max(self.end_s, self.looks[-1].time_s)])


def shots(
    film: Film, client: Client, *, flow: str | None, brief: dict[str, Any], done: Callable[[int], None]
) -> Iterator[Looks]:
    """The shots of a film, each when it is over. done: told how many frames are read."""
    source = _small(film)
    shot, epoch, due = Looks(), 0, Fraction(0)
    with client.session(source=source, painter=PAINTER, flow=flow, **{**BRIEF, **brief}) as session:
        for pair in painted_film(_smaller(film, source), client, session):
            painted, time_s = pair.painted, float(pair.painted.pts)
            if shot.looks and (painted.info.epoch != epoch or len(shot.looks) == MOST_LOOKS):
                shot.end_s = time_s
                yield shot
                shot = Looks()
            if not shot.looks or painted.pts >= due:
                due = painted.pts + LOOK_STEP
                shot.looks.append(Look(painted.index, time_s, _picture(pair.raw.buffer, source)))
            epoch = painted.info.epoch
            shot.end, shot.end_s = painted.index + 1, time_s + _lasts_s(pair.raw, film)
            done(shot.end)
    if shot.looks:
        yield shot


def reach(film: Film, client: Client, *, flow: str | None, max_pixels: int | None) -> Reach:
    """How far back stills of a film are followed."""
    session = client.session(painter=PAINTER, flow=flow, max_pixels=max_pixels)
    opened = session.open(film.source)
    session.close()
    pixels, rate = opened.width * opened.height, float(film.average_rate or DEFAULT_RATE)

    def seconds(pixel_bytes: int) -> float:
        frames = min(MAX_WAITING, MAX_WAITING_BYTES // (pixel_bytes * pixels))
        return min(float(STILLS_BRIEF["lookahead_s"]), frames / rate)

    return Reach(first_s=seconds(BACKWARD_PIXEL_BYTES), later_s=seconds(WAITING_PIXEL_BYTES))


def gauge(film: Film, client: Client, *, flow: str | None) -> Session:
    """A session in which `measured` measures."""
    small = _small(film).model_copy(update={"time_base": LOOK_STEP.as_integer_ratio()})
    brief = {**BRIEF, "cut_detection": False}
    return client.session(source=small, painter=PAINTER, flow=flow, maps=("confidence",), **brief)


def measured(shot: Looks, stills: Sequence[Image], session: Session, reach: Reach, done: Callable[[int], None]) -> Shot:
    """How much of each look of a shot is seen in each, and in stills of earlier shots.

    session: of `gauge`. done: told the index up to which frames are sought in the others.
    """
    pictures = [look.picture for look in shot.looks]
    n = len(pictures)
    ahead, known = np.zeros((n, n)), np.zeros(n)
    for place, look in enumerate(shot.looks):
        done(look.index)
        ahead[place, place:] = _seen_ahead(look.picture, pictures[place:], session)
    for still in stills:
        seen = _seen_ahead(still, pictures, session)
        if seen[0] >= GOES_ON:
            known = np.maximum(known, seen)
    done(shot.end)
    return Shot(mirrored(ahead), known, shot.times_s, shot.lasts_s, reach)


def _seen_ahead(source: Image, targets: Sequence[Image], session: Session) -> Shares:
    """How much of each target is seen in the source, [n], the targets being in the order of the film."""
    n = len(targets)
    places, shares = list[int](), list[float]()
    session.push(source, session.pushed, keyframe=True)
    for (first, stride), (end, _) in pairwise([*STRIDES, (n, 0)]):
        batch = sorted({*range(first, min(end, n), stride), *([n - 1] if first < n <= end else [])})
        for place in batch:
            session.push(targets[place], session.pushed)
        found = [float(np.mean(each.maps["confidence"] >= SURE)) for each in session.results()]
        places, shares = places + batch, shares + found[len(found) - len(batch) :]
        if end >= n or shares[-1] < LEAST_SEEN:
            break
    return np.interp(np.arange(n), places, shares, right=0.0)


def _lasts_s(frame: FilmFrame, film: Film) -> float:
    """How long a frame is shown, seconds."""
    if frame.duration is not None:
        return float(frame.duration * Fraction(*film.source.time_base))
    return float(1 / (film.average_rate or DEFAULT_RATE))


def _small(film: Film) -> Source:
    """What the film's frames are like when they are small: as they are stored."""
    width, height = film.source.width, film.source.height
    scale = min(1.0, sqrt(LOOK_PIXELS / (width * height)))
    sides = [max(SIDE_STEP, round(side * scale / SIDE_STEP) * SIDE_STEP) for side in (width, height)]
    return Source(width=sides[0], height=sides[1], time_base=film.source.time_base)


def _smaller(film: Film, source: Source) -> Iterator[FilmFrame]:
    """The frames of a film, made small."""
    for frame in film:
        picture = scaled(as_bgr(frame.buffer, film.source, film.tags), (source.width, source.height))
        yield FilmFrame(frame.pts, frame.duration, picture.reshape(-1))


def _picture(buffer: Image, source: Source) -> Image:
    return buffer.reshape(source.height, source.width, 3)
