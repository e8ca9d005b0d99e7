"""`warpaint run` and `warpaint pipe`: films through a daemon, into films."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..proto.brief import Brief
from ..proto.messages import Painted, Pixels, Provenance, Result, Totals
from .conversion import PaintedPair, painted_film
from .errors import MediaError
from .film.media import DEFAULT_RATE, Buffer, Film, plane_shapes
from .film.pictures import upright, upright_size
from .film.reader import open_film
from .film.writer import create_film, is_folder
from .local_daemon import connected
from .maps import ALL, MapFolder, save_picture
from .painting import Session
from .run_log import LogOut
from .sheet import SheetRow, contact_sheet
from .stills import Span, Stills, named, open_stills, runs

# Moments of the film on a contact sheet: as many as fit a page.
SHEET_ROWS = 6
# Where the length of the film is not known, the sheet's moments lie so many frames apart.
SHEET_STEP = 24

# The painter that shows stills, and what its sessions are told. As frames wait for it, each still is seen whole with
# its own frame, and has come in over those before it: for so long that it is not seen as a jump.
STILLS_PAINTER = "stills"
STILLS_BRIEF: dict[str, Any] = {"keyframes": "marked", "fade_s": 0.4, "lookahead_s": 10.0}
# A film that is a file is not waited for: its frames may wait for what comes. As holes then show what is painted later,
# they need fewer paintings, and less need be risked to have few of them. docs/quality.md has the figures.
FILE_BRIEF: dict[str, Any] = {"lookahead_s": 1.0, "repaint_gap_s": 0.5, "confidence": 0.4}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What to convert, and how. `source` and `target` are paths, or file objects for pipes."""

    source: Path | BinaryIO
    target: Path | BinaryIO
    brief: dict[str, Any]
    daemon: str | None = None
    painter: str | None = None
    flow: str | None = None
    max_pixels: int | None = None
    codec: str = "h264"
    crf: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    source_format: str | None = None
    target_format: str | None = None
    rate: Fraction = DEFAULT_RATE
    compare: bool = False
    maps: Path | None = None
    sheet: Path | None = None
    log: Path | None = None
    stills: Path | None = None

    @property
    def whole_brief(self) -> dict[str, Any]:
        """What is asked of the session beside what was said: of a file to look ahead, of stills to be its keyframes."""
        file = isinstance(self.source, Path) and isinstance(self.target, Path)
        return (FILE_BRIEF if file else {}) | (STILLS_BRIEF if self.stills else {}) | self.brief


@dataclass(slots=True)
class Figures:
    """What it took: grows while a film is converted."""

    frames: int = 0
    expected: int | None = None
    totals: Totals | None = None
    stages_ms: dict[str, float] = field(default_factory=dict)
    holes: float = 0.0

    def add(self, info: Painted) -> None:
        """One more frame."""
        self.frames += 1
        self.holes += info.holes
        for name, ms in info.stages_ms.items():
            self.stages_ms[name] = self.stages_ms.get(name, 0.0) + ms


def convert(job: Job, *, say: Say, progress: Callable[[Figures], None]) -> Figures:
    """Paints the film, and writes it. What it took.

    say: told, in sentences, what becomes of the picture and the sound. Raises WarpaintError; what was painted until
    then is a film that plays. So it is after a KeyboardInterrupt.
    """
    figures = Figures()
    Brief().changed(job.whole_brief)  # a wrong wish is told before anything is started
    _check_stills(job)
    with ExitStack() as stack:
        film = stack.enter_context(
            open_film(job.source, start_s=job.start_s, end_s=job.end_s, format=job.source_format, rate=job.rate)
        )
        figures.expected = film.frame_count_estimate
        stills = _stills(job, film)
        client = stack.enter_context(connected(job.daemon, say=say))
        result = Result(pixels=_pixels(job, film))
        session = client.session(
            source=film.source,
            result=result,
            painter=STILLS_PAINTER if job.stills else job.painter,
            flow=job.flow,
            max_pixels=job.max_pixels,
            maps=ALL if job.maps or job.sheet else (),
            **job.whole_brief,
        )
        stack.enter_context(session)
        outputs = _Outputs(job, film, result, session, stack)
        if job.stills:
            stills.notices += _enlarged(film, session)
        said = told([*stills.notices, *film.notices, *outputs.notices], 0, say)
        bare = _Bare()
        for pair in painted_film(film, client, session, stills):
            outputs.write(pair)
            figures.add(pair.painted.info)
            if pair.painted.index not in stills:
                bare.take(stills.index(pair.painted.index), pair.painted.info)
            progress(figures)
        session.close()
        figures.totals = session.totals
    told([*stills.notices, *film.notices, *outputs.notices], said, say)
    if job.stills:
        told(_left_open(stills, bare, figures.frames), 0, say)
    return figures


def _pixels(job: Job, film: Film) -> Pixels:
    """The layout that frames come back in: the film's own, but for PNG what that stores, so that nothing is lost."""
    return "bgr24" if is_folder(job.target, job.target_format) else film.source.pixels


def _check_stills(job: Job) -> None:
    """Raises MediaError for wishes that contradict each other."""
    if job.stills is None:
        return
    if job.painter not in (None, STILLS_PAINTER):
        raise MediaError(f"--stills is for the painter {STILLS_PAINTER!r}; {job.painter!r} paints its own keyframes")
    if job.flow == "none":
        raise MediaError("--stills needs a flow, along which the film follows them; --flow none has each frame alone")
    if isinstance(job.target, Path) and job.target.exists() and job.stills.exists() and job.target.samefile(job.stills):
        raise MediaError(f"{job.target} is the folder of the stills; the output must be another one")


def _stills(job: Job, film: Film) -> Stills:
    """The stills of the film; without --stills, none. Raises MediaError, naming each that cannot be used."""
    if job.stills is None or not isinstance(job.source, Path):
        return Stills({}, film.source, Span())
    return open_stills(job.stills, film.source, job.source, rate=job.rate, start_s=job.start_s, end_s=job.end_s)


def _enlarged(film: Film, session: Session) -> list[str]:
    """Where frames are painted smaller than they are, stills are so too: a sentence says it."""
    opened, (width, height) = session.opened, upright_size(film.source)
    if opened is None or opened.width >= width:
        return []
    size = f"{opened.width}x{opened.height}"
    return [f"The film is painted at {size} and enlarged to {width}x{height}, its stills too: see max_pixels."]


@dataclass(slots=True)
class _Bare:
    """Frames that show the raw film, by index: keyframes without a still, which others follow, and lone frames.

    failed: those of which the painter failed.
    """

    keyframes: list[int] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def take(self, index: int, info: Painted) -> None:
        """Notes a frame that has no still of its own."""
        if info.keyframe:
            self.keyframes.append(index)
        elif info.provenance is Provenance.PAINTED:
            self.alone.append(index)
        elif info.provenance is Provenance.HELD:
            self.failed.append(index)

    def told(self) -> list[str]:
        """Which they are, in sentences."""
        raw, said = "the raw film, in the colours of the last still", []
        if self.keyframes:
            listed = named([f"frame {index}" for index in self.keyframes])
            said.append(f"No still shows what begins at {listed}: it is made of {raw}.")
        if self.alone:
            said.append(f"No still was near enough to be followed by {named(runs(self.alone))}: there is {raw}.")
        if self.failed:
            said.append(f"The painter failed with {named(runs(self.failed))}: there is the raw film.")
        return said


def _left_open(stills: Stills, bare: _Bare, frames: int) -> list[str]:
    """What the stills left open, in sentences."""
    open_ends = bare.told()
    if unseen := stills.unseen(frames):
        open_ends.append(f"The film ended before these stills came up: {named(unseen)}.")
    return open_ends


def told(notices: Sequence[str], said: int, say: Say) -> int:
    """Says the notices that have not been said; how many there are now."""
    for notice in dict.fromkeys(notices[said:]):
        say(notice)
    return len(notices)


class _Outputs:
    """Where the frames of a conversion go: the film, and on request maps, a log and a contact sheet."""

    def __init__(self, job: Job, film: Film, result: Result, session: Session, stack: ExitStack) -> None:
        source = film.source
        self._film = film
        self._session = session
        self._compare = job.compare
        width = 2 * source.width if job.compare else None
        self._sink = stack.enter_context(
            create_film(
                job.target,
                like=film,
                codec=job.codec,
                crf=job.crf,
                format=job.target_format,
                width=width,
                pixels=result.pixels,
            )
        )
        max_hops = session.brief.max_hops
        self._maps = MapFolder(job.maps, max_hops=max_hops) if job.maps else None
        self._log = stack.enter_context(LogOut(job.log)) if job.log else None
        self._sheet = _Sheet(job.sheet, film, result, max_hops) if job.sheet else None
        if self._sheet:
            stack.callback(self._sheet.save)

    @property
    def notices(self) -> list[str]:
        """What becomes of sound, subtitles and picture, in sentences."""
        return self._sink.notices

    def write(self, pair: PaintedPair) -> None:
        """Takes a frame."""
        raw, image = pair.raw, pair.painted.image.reshape(-1)
        side_by_side = _beside(raw.buffer, image, self._film) if self._compare else image
        self._sink.write(raw.pts, raw.duration, side_by_side)
        if self._maps:
            self._maps.write(pair.painted)
        if self._log and self._session.opened is not None:
            self._log.write(pair.painted, self._session.opened)
        if self._sheet:
            self._sheet.take(pair)


def _beside(left: Buffer, right: Buffer, film: Film) -> Buffer:
    """Two pictures in the film's layout side by side, as one twice as wide."""
    source, planes, start = film.source, [], 0
    if source.width % 2 and source.pixels == "yuv420p":
        raise MediaError(f"--compare needs an even width; {film.name} is {source.width} wide")
    for rows, row_bytes in plane_shapes(source.pixels, source.width, source.height):
        stop = start + rows * row_bytes
        pair = [each[start:stop].reshape(rows, row_bytes) for each in (left, right)]
        planes.append(np.hstack(pair).reshape(-1))
        start = stop
    return np.concatenate(planes)


class _Sheet:
    """Gathers a few moments of the film for a contact sheet."""

    def __init__(self, path: Path, film: Film, result: Result, max_hops: int) -> None:
        self._path = path
        self._film = film
        self._painted = film.source.model_copy(update={"pixels": result.pixels})
        self._max_hops = max_hops
        self._rows: list[SheetRow] = []
        self._step = max(1, (film.frame_count_estimate or SHEET_STEP * SHEET_ROWS) // SHEET_ROWS)

    def take(self, pair: PaintedPair) -> None:
        """Keeps the frame if it is one of the moments: the middles of equal parts of the film."""
        painted = pair.painted
        if painted.index % self._step != self._step // 2 or len(self._rows) == SHEET_ROWS:
            return
        maps = painted.maps
        self._rows.append(
            SheetRow(
                pts=float(painted.pts),
                raw=upright(pair.raw.buffer, self._film.source, self._film.tags),
                painted=upright(painted.image.reshape(-1), self._painted, self._film.tags),
                flow=maps["flow"],
                confidence=maps["confidence"],
                hops=maps["hops"],
                holes=maps["holes"].astype(np.bool_),
            )
        )

    def save(self) -> None:
        """Writes the sheet. Raises MediaError."""
        if self._rows:
            save_picture(self._path, contact_sheet(self._rows, max_hops=self._max_hops))
