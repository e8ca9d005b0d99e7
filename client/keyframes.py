"""`warpaint keyframes`: the frames of a film that are worth painting by hand, as pictures.

The film is looked at small, and in steps. A session tells where it cuts; another one, in each shot, how much of each
frame is seen in those before it. `explaining` chooses by that.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from ..proto.brief import Brief
from ..proto.limits import MAX_WAITING_BYTES
from ..proto.messages import Source
from . import explaining
from .conversion import painted_film
from .errors import MediaError
from .explaining import Shares, Shot
from .film.media import DEFAULT_RATE, Film, FilmFrame, make_folder
from .film.pictures import as_bgr, scaled, upright
from .film.reader import open_film
from .images import Image
from .local_daemon import connected
from .maps import save_picture
from .painting import Client
from .run import FILE_BRIEF, STILLS_BRIEF, Figures, Say, told
from .stills import Span, check_read_twice, index_of, named, span_of, still_name

# It paints nothing, so what is seen in what is told by the film alone.
PAINTER = "identity"
# What both sessions are asked for: no frame is painted in full that is not to be, and nothing fades.
BRIEF: dict[str, Any] = {"keyframes": "marked", "idle_keyframes": 0, "references": 1, "fade_s": 0.0}

# A still is worth painting if it shows as much as so many seconds of a film that no other still shows anything of.
WORTH_S = 0.25
# The film is looked at in so many pixels: what is seen in what is nearly the same as in full size (correlation 0.99).
LOOK_PIXELS = 192 * 108
# In steps of so many seconds: with shorter ones the shares differ by less than 0.02, and take the square of the time.
LOOK_STEP = Fraction(4, 25)
# So far ahead a frame is sought in others, seconds: farther apart no two frames of a film that moves show the same.
SPAN_S = 10.0
# A shot has so many looks at most, 4 minutes: one that is longer is taken for two.
MOST_LOOKS = 1500
# A pixel is seen where the flow is at least as sure as files want it to be.
SURE = FILE_BRIEF["confidence"]
# How many of the stills of earlier shots may be what a shot goes on with.
MOST_IDLE = Brief().idle_keyframes
# What a frame holds in the daemon that waits for a still, bytes a pixel; docs/stills.md has what that comes to.
WAITING_PIXEL_BYTES = 43
# Sides of pictures that are sent: canvases have no others, so nothing is added at their edges.
SIDE_STEP = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """Of which film, and where the pictures go. force: pictures of frames that lie there may be overwritten."""

    source: Path
    folder: Path
    brief: dict[str, Any]
    daemon: str | None = None
    flow: str | None = None
    max_pixels: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    rate: Fraction = DEFAULT_RATE
    worth_s: float = WORTH_S
    force: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """A frame to paint, as a picture. index, from 0, and time_s, seconds, count from the beginning of the film."""

    file: Path
    index: int
    time_s: float


@dataclass(slots=True)
class Selection:
    """The frames to paint. explained_s: how much of the film they show, as seconds of one that is all seen."""

    frames: list[Chosen] = field(default_factory=list)
    explained_s: float = 0.0
    lasts_s: float = 0.0

    @property
    def share(self) -> float:
        """How much of the film they show, 0 to 1."""
        return self.explained_s / self.lasts_s if self.lasts_s else 0.0


@dataclass(frozen=True, slots=True)
class _Look:
    """A frame that is looked at. index and time_s count from the beginning of the extract."""

    index: int
    time_s: float
    picture: Image


@dataclass(slots=True)
class _Shot:
    """What is looked at of a shot, and the index and the time of the first frame after it."""

    looks: list[_Look] = field(default_factory=list)
    end: int = 0
    end_s: float = 0.0

    def lasts_s(self) -> Shares:
        """How long each look stands for, seconds."""
        times = [look.time_s for look in self.looks]
        return np.diff([*times, max(self.end_s, times[-1])])


def choose(choice: Choice, *, say: Say, progress: Callable[[Figures], None]) -> tuple[Selection, Figures]:
    """Writes the frames of a film that are worth painting, raw and upright, as PNG named by their number.

    Which they are, and what it took. Raises WarpaintError; the pictures that were written until then stay.
    """
    _check(choice)
    figures, selection, indices = Figures(), Selection(), list[int]()
    with ExitStack() as stack:
        film = stack.enter_context(_film(choice))
        check_read_twice(choice.source)
        figures.expected = film.frame_count_estimate
        _make(choice.folder, force=choice.force)
        client = stack.enter_context(connected(choice.daemon, say=say))
        gauge = stack.enter_context(_Gauge(choice, film, client))
        stills: list[Image] = []  # the last ones, small
        for shot in _shots(choice, film, client):

            def measured(looks: int, shot: _Shot = shot) -> None:
                first = shot.looks[0].index
                figures.frames = first + (shot.end - first) * looks // len(shot.looks)
                progress(figures)

            shares = gauge.measured(shot, stills, measured)
            places = explaining.best(shares, choice.worth_s)
            stills = [*stills, *(shot.looks[place].picture for place in places)][-MOST_IDLE:]
            indices += [shot.looks[place].index for place in places]
            selection.explained_s += explaining.explained_s(shares, places)
            selection.lasts_s += float(shares.lasts_s.sum())
    told(film.notices, 0, say)
    selection.frames = list(_written(choice, indices))
    return selection, figures


def _check(choice: Choice) -> None:
    """Raises WarpaintError for wishes that cannot be met."""
    if choice.flow == "none":
        raise MediaError("without a flow no frame is seen in another: choose keyframes with one")
    if not choice.worth_s > 0:
        raise MediaError(f"a still is to be worth more than 0 s, not {choice.worth_s:g}")
    Brief().changed(choice.brief)


def _film(choice: Choice) -> Film:
    return open_film(choice.source, start_s=choice.start_s, end_s=choice.end_s, rate=choice.rate)


def _shots(choice: Choice, film: Film, client: Client) -> Iterator[_Shot]:
    """The shots of a film, each as soon as it is over."""
    source = _small(film)
    shot, epoch, due = _Shot(), 0, Fraction(0)
    with client.session(source=source, painter=PAINTER, flow=choice.flow, **BRIEF, **choice.brief) as session:
        for pair in painted_film(_smaller(film, source), client, session):
            painted, time_s = pair.painted, float(pair.painted.pts)
            shot.end, shot.end_s = painted.index, time_s
            if shot.looks and (painted.info.epoch != epoch or len(shot.looks) == MOST_LOOKS):
                yield shot
                shot = _Shot()
            if not shot.looks or painted.pts >= due:
                due = painted.pts + LOOK_STEP
                shot.looks.append(_Look(painted.index, time_s, _picture(pair.raw.buffer, source)))
            epoch = painted.info.epoch
            shot.end, shot.end_s = painted.index + 1, time_s + _lasts_s(pair.raw, film)
    if shot.looks:
        yield shot


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


class _Gauge:
    """Tells how much of some frames is seen in another: in a session of its own."""

    def __init__(self, choice: Choice, film: Film, client: Client) -> None:
        small = _small(film).model_copy(update={"time_base": LOOK_STEP.as_integer_ratio()})
        brief = {**BRIEF, "cut_detection": False}
        self._session = client.session(
            source=small, painter=PAINTER, flow=choice.flow, maps=("confidence",), **brief, **choice.brief
        )
        self._reach_s = _reach_s(choice, film, client)

    def __enter__(self) -> "_Gauge":
        self._session.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._session.__exit__(*error)

    def measured(self, shot: _Shot, stills: Sequence[Image], done: Callable[[int], None]) -> Shot:
        """How much of each look of a shot is seen in each, and in stills of earlier ones.

        done: told how many looks are sought in the others.
        """
        pictures, times_s = [look.picture for look in shot.looks], np.array([look.time_s for look in shot.looks])
        n = len(pictures)
        ahead, known = np.zeros((n, n)), np.zeros(n)
        for place in range(n):
            end = int(np.searchsorted(times_s, times_s[place] + SPAN_S, side="right"))
            ahead[place, place:end] = self._seen(pictures[place], pictures[place:end])
            done(place + 1)
        for still in stills:
            if self._seen(still, pictures[:1])[0] >= explaining.GOES_ON:
                known = np.maximum(known, self._seen(still, pictures))
        seen = explaining.within_reach(explaining.mirrored(ahead), times_s, self._reach_s)
        return Shot(seen, known, shot.lasts_s())

    def _seen(self, source: Image, targets: Sequence[Image]) -> list[float]:
        """How much of each target is seen in the source, 0 to 1, the targets being in the order of the film."""
        for place, picture in enumerate((source, *targets)):
            self._session.push(picture, self._session.pushed, keyframe=not place)
        shares = [float(np.mean(each.maps["confidence"] >= SURE)) for each in self._session.results()]
        return shares[1:]


def _reach_s(choice: Choice, film: Film, client: Client) -> float:
    """How far back a still is followed, seconds: as far as frames may wait for it."""
    session = client.session(source=film.source, painter=PAINTER, flow=choice.flow, max_pixels=choice.max_pixels)
    opened = session.open(film.source)
    session.close()
    frames = MAX_WAITING_BYTES // (WAITING_PIXEL_BYTES * opened.width * opened.height)
    return min(STILLS_BRIEF["lookahead_s"], frames / float(film.average_rate or DEFAULT_RATE))


def _written(choice: Choice, indices: Sequence[int]) -> Iterator[Chosen]:
    """Reads the film once more, and writes these frames of the extract."""
    span = span_of(choice.source, rate=choice.rate, start_s=choice.start_s) if choice.start_s else Span()
    wanted = set(indices)
    with _film(choice) as film:
        for number, frame in enumerate(film):
            if number not in wanted:
                continue
            index = span.first + number
            file = choice.folder / still_name(index)
            save_picture(file, upright(frame.buffer, film.source, film.tags))
            yield Chosen(file, index, float(span.first_s + frame.pts * Fraction(*film.source.time_base)))
            wanted.remove(number)
            if not wanted:
                return


def _make(folder: Path, *, force: bool) -> None:
    """Makes the folder. Raises MediaError where it cannot, or where it holds pictures of frames."""
    make_folder(folder)
    there = sorted(each.name for each in folder.glob("frame_*.png") if each.name == still_name(index_of(each) or 0))
    if there and not force:
        raise MediaError(
            f"{folder} holds pictures of frames, which may be painted already: {named(there)}. "
            "Name another folder, or let them be overwritten with --force"
        )
