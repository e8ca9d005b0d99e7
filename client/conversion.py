"""Paints a whole film: every frame, in order, with its time."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import DaemonGone
from .feed import fed
from .film.media import Film, FilmFrame
from .painting import Client, PaintedImage, Session


@dataclass(frozen=True, slots=True)
class PaintedPair:
    """A frame of the film and what became of it."""

    raw: FilmFrame
    painted: PaintedImage


def painted_film(film: Film, client: Client, session: Session) -> Iterator[PaintedPair]:
    """The frames of the film, painted, in order, each as soon as it is there.

    Raises FrameFailed for a frame that could not be painted, MediaError for one that could not be read, and
    DaemonGone.
    """
    waiting: deque[FilmFrame] = deque()
    with fed(film) as feed:
        while not feed.over or waiting:
            may_push = not feed.over and session.may_push
            frame = feed.take() if may_push else None
            if frame is not None:
                waiting.append(frame)
                session.push(frame.buffer, frame.pts)
            elif not feed.over or waiting:
                client.wait(feed if may_push else None)
            for painted in session.results(wait=False):
                yield PaintedPair(waiting.popleft(), painted)
            if session.opened is not None and session.totals is not None:
                raise DaemonGone("the daemon has ended the session")
