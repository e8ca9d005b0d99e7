"""A camera: a client in a process of its own that films by the clock, and notes what comes back and when.

Several cameras are several processes: in threads of one, each would wait for the others' interpreter, and its lateness
would count as the daemon's.
"""

import multiprocessing
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from support.clips import frames
from warpaint.client.painting import Client, Session
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.messages import Painted, Source

SIZE = (768, 512)
TICKS_A_SECOND = 1000  # of `pts`
# A process starts, loads what it needs, and opens its session within this, seconds, on a machine that has other work.
READY_WITHIN_S = 60.0

Film = NDArray[np.uint8]  # [N, H, W, 3], BGR


@dataclass(frozen=True)
class Take:
    """What a camera is to film, and how.

    film: a file of numpy's, a Film that is shown over and over. announced: the daemon is told the rate; should it
    refuse that, the camera asks again without, and films nothing if it is refused once more. changes: of the Brief, and
    how many seconds into the take. keep: where the pictures that come back are written, one after the other. follows:
    the film goes on by a frame for each result, and so stands still while none comes.
    """

    address: str
    film: Path
    seconds: float
    rate: float
    announced: bool = True
    max_pixels: int | None = None
    max_delay_ms: float | None = None
    changes: Sequence[tuple[float, dict[str, Any]]] = ()
    keep: Path | None = None
    follows: bool = False


@dataclass(frozen=True)
class Change:
    """An update: when it was asked for, seconds of the clock, and the index of the first frame that shows it."""

    asked_at: float
    shown_at: int | None


@dataclass
class Footage:
    """What a camera saw. Times are those of time.monotonic(), which all processes share."""

    canvas: tuple[int, int] | None  # None: the daemon did not take the session
    refused: str  # what it said to that, or to the rate
    pushed_at: list[float] = field(default_factory=list)  # by index
    pictures: list[int] = field(default_factory=list)  # which of the film was pushed, by index
    late_ms: list[float] = field(default_factory=list)  # the camera itself, behind its clock
    results: list[tuple[float, Painted]] = field(default_factory=list)  # when each came
    changes: list[Change] = field(default_factory=list)
    dropped: Counter[tuple[str, Code]] = field(default_factory=Counter)
    notices: int = 0
    cpu_ms: float = 0.0  # of the camera's process, a frame

    @property
    def delivered(self) -> float:
        """The share of the frames that came back."""
        return len(self.results) / max(1, len(self.pushed_at))

    @property
    def delays_ms(self) -> list[float]:
        """From arrival at the daemon to sending."""
        return [info.delay_ms for _, info in self.results]

    @property
    def gaps_ms(self) -> list[float]:
        """From result to result, at the client."""
        return [float(gap) for gap in 1e3 * np.diff([at for at, _ in self.results])]

    def stages_ms(self) -> dict[str, float]:
        """Milliseconds a result in each stage."""
        sums: Counter[str] = Counter()
        for _, info in self.results:
            sums.update(info.stages_ms)
        return {name: ms / len(self.results) for name, ms in sums.items()}


class Crew:
    """Cameras that begin at the same moment, when all have opened their sessions."""

    def __init__(self, takes: Sequence[Take]) -> None:
        spawn = multiprocessing.get_context("spawn")
        ready = spawn.Barrier(len(takes) + 1)
        self._ends = []
        self._cameras = []
        for take in takes:
            mine, its = spawn.Pipe(duplex=False)
            camera = spawn.Process(target=_camera, args=(take, ready, its), daemon=True)
            camera.start()
            its.close()
            self._ends.append(mine)
            self._cameras.append(camera)
        ready.wait(READY_WITHIN_S)

    def footage(self) -> list[Footage]:
        """What each saw, when all are done. Raises EOFError if one has failed; it has said why on stderr."""
        seen: list[Footage] = [end.recv() for end in self._ends]
        for camera in self._cameras:
            camera.join()
        return seen


def filmed(takes: Sequence[Take]) -> list[Footage]:
    """What these cameras saw."""
    return Crew(takes).footage()


def film(folder: Path, size: tuple[int, int] = SIZE) -> Path:
    """Big Buck Bunny in a file that all cameras read: one copy in memory."""
    path = folder / f"film-{size[0]}x{size[1]}.npy"
    if not path.exists():
        np.save(path, np.stack(list(frames("bigbuckbunny", size))))
    return path


def _camera(take: Take, ready: Barrier, result: "Connection[Footage, Any]") -> None:
    pictures: Film = np.load(take.film, mmap_mode="r")
    with Client(take.address) as client:
        session, refused = _opened(client, take, pictures)
        ready.wait(READY_WITHIN_S)
        if session is None or session.opened is None:
            footage = Footage(None, refused)
        else:
            footage = Footage((session.opened.width, session.opened.height), refused)
            with session:
                _shoot(take, client, session, pictures, footage)
    result.send(footage)


def _opened(client: Client, take: Take, pictures: Film) -> tuple[Session | None, str]:
    """The session, opened, if the daemon takes it; and if not, or not at its rate, the daemon's words for that."""
    refused = ""
    for rate in [take.rate, None] if take.announced else [None]:
        session = client.session(pacing="live", rate=rate, max_pixels=take.max_pixels, max_delay_ms=take.max_delay_ms)
        try:
            session.open(Source(width=pictures.shape[2], height=pictures.shape[1]))
            return session, refused
        except RefusedError as error:
            if error.code is not Code.OVERLOADED:
                raise
            refused = str(error)
    return None, refused


def _shoot(take: Take, client: Client, session: Session, pictures: Film, footage: Footage) -> None:
    """Films by the clock. Between two frames it does nothing but take what comes."""
    changes = list(take.changes)
    requests: list[tuple[float, int]] = []
    keep = take.keep.open("wb") if take.keep else None
    cpu_s, began = time.process_time(), time.monotonic()
    for number in range(round(take.seconds * take.rate)):
        due = began + number / take.rate
        while (left_s := due - time.monotonic()) > 0:
            client.wait(timeout_s=left_s)
            _gather(session, footage, keep)
        while changes and began + changes[0][0] <= due:
            requests.append((time.monotonic(), session.update(**changes.pop(0)[1])))
        picture = len(footage.results) if take.follows else number
        footage.pictures.append(picture)
        footage.pushed_at.append(time.monotonic())
        footage.late_ms.append(1e3 * (footage.pushed_at[-1] - due))
        session.push(pictures[picture % len(pictures)], round(number * TICKS_A_SECOND / take.rate))
        _gather(session, footage, keep)
    while session.unanswered:
        client.wait()
        _gather(session, footage, keep)
    footage.cpu_ms = 1e3 * (time.process_time() - cpu_s) / len(footage.pushed_at)
    footage.changes = [Change(asked_at, session.shown_at(request)) for asked_at, request in requests]
    footage.dropped, footage.notices = session.dropped, len(session.notices)
    if keep is not None:
        keep.close()


def _gather(session: Session, footage: Footage, keep: BinaryIO | None) -> None:
    for painted in session.results(wait=False):
        footage.results.append((time.monotonic(), painted.info))
        if keep is not None:
            keep.write(painted.image.data)
