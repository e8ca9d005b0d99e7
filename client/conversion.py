"""Paints a whole film: every frame, in order, with its time."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .errors import DaemonGone
from .feed import fed
from .film.media import FilmFrame
from .images import NO_STILLS, Stills, still_of
from .painting import Client, PaintedImage, Session


@dataclass(frozen=True, slots=True)
class PaintedPair:
    """A frame of the film and what became of it."""

    raw: FilmFrame
    painted: PaintedImage


def painted_film(
    film: Iterable[FilmFrame], client: Client, session: Session, stills: Stills = NO_STILLS
) -> Iterator[PaintedPair]:
    """The frames of the film, painted, in order, each as soon as it is there.

    stills: frames as somebody has painted them, as they are stored, by number, counted from the first that is read.
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
                still = still_of(stills, session.pushed)
                session.push(frame.buffer, frame.pts, still, keyframe=bool(still))
            elif not feed.over:
                client.wait(feed if may_push else None)
            for painted in session.results(wait=feed.over):
                yield PaintedPair(waiting.popleft(), painted)
            if session.opened is not None and session.totals is not None:
                raise DaemonGone("the daemon has ended the session")
