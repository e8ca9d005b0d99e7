"""What `warpaint run --log` writes of each frame, one line of JSON a frame, and how it is read again."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ..proto.messages import Count, Opened
from .errors import MediaError
from .painting import PaintedImage

FORMAT = "warpaint run 1"


class Head(BaseModel):
    """The first line: what painted, on which canvas."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    log: str = FORMAT
    painter: str
    flow: str
    width: Count  # of the working canvas
    height: Count


class Line(BaseModel):
    """The line of one frame. pts in seconds; holes and confidence are shares, as in `painted` of the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    index: Count
    pts: float
    keyframe: bool
    provenance: str
    holes: float
    confidence: float
    painted_pixels: Count
    delay_ms: float
    stages_ms: dict[str, float]


class LogOut:
    """Writes the lines as frames come, so that a run that stops leaves what it knows. Raises MediaError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise MediaError(f"{path} cannot be written: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, painted: PaintedImage, opened: Opened) -> None:
        """Writes the line of a frame; before the first one, what the session is."""
        if not self._begun:
            self._line(Head(painter=opened.painter, flow=opened.flow, width=opened.width, height=opened.height))
            self._begun = True
        info = painted.info
        self._line(
            Line(
                index=info.index,
                pts=float(painted.pts),
                keyframe=info.keyframe,
                provenance=str(info.provenance),
                holes=info.holes,
                confidence=info.confidence,
                painted_pixels=info.painted_pixels,
                delay_ms=info.delay_ms,
                stages_ms=info.stages_ms,
            )
        )

    def _line(self, line: BaseModel) -> None:
        try:
            self._file.write(line.model_dump_json() + "\n")
            self._file.flush()
        except OSError as error:
            raise MediaError(f"{self._path} cannot be written: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class RunLog:
    """A log, read."""

    path: Path
    head: Head
    lines: tuple[Line, ...]

    @property
    def keyframes(self) -> tuple[int, ...]:
        """The numbers of the frames that a keyframe was painted for, from 0 on, by their order."""
        return tuple(number for number, line in enumerate(self.lines) if line.keyframe)

    def painted_share(self, frames: int) -> float:
        """The area that was painted for the first so many frames, as a share of painting them in full."""
        painted = sum(line.painted_pixels for line in self.lines[:frames])
        return painted / (frames * self.head.width * self.head.height)


def read_log(path: Path) -> RunLog:
    """A log of `warpaint run --log`. Raises MediaError for another file, naming the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MediaError(f"{path} is no log of `warpaint run --log`: it is not text") from None
    first, *others = text.splitlines() or [""]
    head = _read(Head, first, path, 1)
    if head.log != FORMAT or not others:
        raise MediaError(f"{path} is no log of `warpaint run --log` with frames in it")
    return RunLog(path, head, tuple(_read(Line, each, path, number) for number, each in enumerate(others, start=2)))


def _read(kind: Any, line: str, path: Path, number: int) -> Any:
    try:
        return kind.model_validate_json(line)
    except ValidationError:
        raise MediaError(f"{path} is no log of `warpaint run --log`: line {number} is none of its lines") from None
