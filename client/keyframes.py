"""`warpaint keyframes`: the frames of a film that are worth painting by hand, as pictures."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

from ..proto.brief import Brief
from .errors import MediaError
from .explaining import best, explained_s
from .film.media import DEFAULT_RATE, Film, make_folder
from .film.pictures import upright
from .film.reader import open_film
from .images import Image
from .local_daemon import connected
from .looking import gauge, measured, reach, shots
from .maps import save_picture
from .run import Figures, Say, told
from .stills import Span, check_read_twice, index_of, named, span_of, still_name

# A still is worth painting if it shows as much as so many seconds of a film that no other still shows anything of.
WORTH_S = 0.25
# How many of the stills of earlier shots may be what a shot goes on with.
MOST_IDLE = Brief().idle_keyframes


@dataclass(frozen=True, slots=True)
class Choice:
    """Of which film, and where the pictures go. force: pictures of frames that lie there may be overwritten.

    worth_s: what a still is to show, as seconds of a film that is all seen, beside what others show.
    """

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
    """The frames to paint. explained_s: how much of the film they show, as seconds of one that is all seen.

    lasts_s: how long the film is, seconds.
    """

    frames: list[Chosen] = field(default_factory=list)
    explained_s: float = 0.0
    lasts_s: float = 0.0

    @property
    def share(self) -> float:
        """How much of the film they show, 0 to 1."""
        return self.explained_s / self.lasts_s if self.lasts_s else 0.0


def choose(choice: Choice, *, say: Say, progress: Callable[[Figures], None]) -> tuple[Selection, Figures]:
    """Writes the frames of a film that are worth painting, raw and upright, as PNG named by their number.

    Which they are, and what it took. Raises WarpaintError; the pictures that were written until then stay, as after a
    KeyboardInterrupt.
    """
    _check(choice)
    selection, going = Selection(), _Going(Figures(), progress)
    with ExitStack() as stack:
        film = stack.enter_context(_film(choice))
        check_read_twice(choice.source)
        writer = _Writer(choice, stack.enter_context(_film(choice)))
        going.figures.expected = film.frame_count_estimate
        client = stack.enter_context(connected(choice.daemon, say=say))
        far = reach(film, client, flow=choice.flow, max_pixels=choice.max_pixels)
        session = stack.enter_context(gauge(film, client, flow=choice.flow))
        stills: list[Image] = []  # the last ones, small
        for shot in shots(film, client, flow=choice.flow, brief=choice.brief, done=going.read):
            shares = measured(shot, stills, session, far, going.sought)
            places = best(shares, choice.worth_s)
            looks = [shot.looks[place] for place in places]
            stills = [*stills, *(look.picture for look in looks)][-MOST_IDLE:]
            selection.frames += writer.written([look.index for look in looks])
            selection.explained_s += explained_s(shares, places)
            selection.lasts_s += float(shares.lasts_s.sum())
    told([*film.notices, *writer.others()], 0, say)
    return selection, going.figures


def _check(choice: Choice) -> None:
    """Raises WarpaintError for wishes that cannot be met."""
    if choice.flow == "none":
        raise MediaError("without a flow no frame is seen in another: choose keyframes with one")
    if not 0 < choice.worth_s < inf:
        raise MediaError(f"a still is to be worth a number of seconds, more than 0, not {choice.worth_s:g}")
    Brief().changed(choice.brief)


def _film(choice: Choice) -> Film:
    return open_film(choice.source, start_s=choice.start_s, end_s=choice.end_s, rate=choice.rate)


@dataclass(slots=True)
class _Going:
    """How far it is: each frame is read, and sought in others."""

    figures: Figures
    tell: Callable[[Figures], None]
    _read: int = 0
    _sought: int = 0

    def read(self, frames: int) -> None:
        """So many are."""
        self._read = frames
        self._told()

    def sought(self, frames: int) -> None:
        """So many are."""
        self._sought = frames
        self._told()

    def _told(self) -> None:
        self.figures.frames = (self._read + self._sought) // 2
        self.tell(self.figures)


class _Writer:
    """Reads the film once more, and writes frames of it into the folder, which must hold no pictures of frames yet.

    Raises MediaError where it cannot, or if it does and that is not to be forced.
    """

    def __init__(self, choice: Choice, film: Film) -> None:
        self._folder = choice.folder
        self._film = film
        self._frames = enumerate(film)
        self._written: set[str] = set()
        self._span = span_of(choice.source, rate=choice.rate, start_s=choice.start_s) if choice.start_s else Span()
        make_folder(self._folder)
        there = self._there()
        if there and not choice.force:
            raise MediaError(
                f"{self._folder} holds pictures of frames, which may be painted already: {named(there)}. "
                "Name another folder, or let them be overwritten with --force"
            )

    def written(self, indices: Sequence[int]) -> Iterator[Chosen]:
        """Writes these frames, ascending, all after those before."""
        for wanted in indices:
            frame = next(frame for index, frame in self._frames if index == wanted)
            index = self._span.first + wanted
            file = self._folder / still_name(index)
            save_picture(file, upright(frame.buffer, self._film.source, self._film.tags))
            self._written.add(file.name)
            time_s = self._span.first_s + frame.pts * Fraction(*self._film.source.time_base)
            yield Chosen(file, index, float(time_s))

    def others(self) -> list[str]:
        """What else lies in the folder and would be taken for stills, in a sentence."""
        left = [name for name in self._there() if name not in self._written]
        if not left:
            return []
        return [f"{self._folder} holds other pictures of frames, which are stills, too: {named(left)}."]

    def _there(self) -> list[str]:
        files = (each.name for each in self._folder.glob("frame_*.png"))
        return sorted(name for name in files if name == still_name(index_of(Path(name)) or 0))
