"""`warpaint keyframes`: the frames of a film that are worth painting by hand, as pictures."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..proto.brief import Brief
from .conversion import painted_film
from .errors import MediaError
from .film.media import DEFAULT_RATE, make_folder
from .film.pictures import upright
from .film.reader import open_film
from .local_daemon import connected
from .maps import save_picture
from .run import Figures, Say, told
from .stills import Span, index_of, named, span_of, still_name

# It paints nothing, so what makes a keyframe is the film alone.
PAINTER = "identity"


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
    force: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """A keyframe, as a picture. index, from 0, and time_s, seconds, count from the beginning of the film."""

    file: Path
    index: int
    time_s: float


def choose(choice: Choice, *, say: Say, progress: Callable[[Figures], None]) -> tuple[list[Chosen], Figures]:
    """Writes the keyframes of a film, raw and upright, as PNG named by their frame; which they are, and what it took.

    Raises WarpaintError; the pictures that were written until then stay.
    """
    if choice.flow == "none":
        raise MediaError("without a flow every frame is a keyframe: choose keyframes with one")
    Brief().changed(choice.brief)
    figures, chosen = Figures(), list[Chosen]()
    with ExitStack() as stack:
        film = stack.enter_context(
            open_film(choice.source, start_s=choice.start_s, end_s=choice.end_s, rate=choice.rate)
        )
        figures.expected = film.frame_count_estimate
        span = span_of(choice.source, rate=choice.rate, start_s=choice.start_s) if choice.start_s else Span()
        _make(choice.folder, force=choice.force)
        client = stack.enter_context(connected(choice.daemon, say=say))
        session = stack.enter_context(
            client.session(
                source=film.source, painter=PAINTER, flow=choice.flow, max_pixels=choice.max_pixels, **choice.brief
            )
        )
        for pair in painted_film(film, client, session):
            if pair.painted.info.keyframe:
                index = span.first + pair.painted.index
                file = choice.folder / still_name(index)
                save_picture(file, upright(pair.raw.buffer, film.source, film.tags))
                chosen.append(Chosen(file, index, float(span.first_s + pair.painted.pts)))
            figures.add(pair.painted.info)
            progress(figures)
    told(film.notices, 0, say)
    return chosen, figures


def _make(folder: Path, *, force: bool) -> None:
    """Makes the folder. Raises MediaError where it cannot, or where it holds pictures of frames."""
    make_folder(folder)
    there = sorted(each.name for each in folder.glob("frame_*.png") if each.name == still_name(index_of(each) or 0))
    if there and not force:
        raise MediaError(
            f"{folder} holds pictures of frames, which may be painted already: {named(there)}. "
            "Name another folder, or let them be overwritten with --force"
        )
