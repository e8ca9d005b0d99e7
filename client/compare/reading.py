"""Films that go by in step: the raw one and the painted ones, frame by frame, upright and of one size."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..film.media import DEFAULT_RATE, Film, FilmFrame
from ..film.pictures import scaled, upright, upright_size
from ..film.reader import open_film

Picture = NDArray[np.uint8]  # [H, W, 3], BGR, upright

# Programs drop the last frame or add one; films that differ by more are not two versions of one.
LENGTHS_MAY_DIFFER_BY = 2
# Sides are rounded to even numbers, or to multiples of 8 or 16: pictures of the same shape differ by so much.
SHAPES_MAY_DIFFER_BY = 0.04


@dataclass(frozen=True, slots=True)
class Take:
    """A film to read. label: what it is called in what is written."""

    label: str
    path: Path


class Reels:
    """The films of a comparison, to be read in step, as often as it takes. The first one is the raw film.

    rate: pictures a second of folders. start_s and end_s: as of open_film, for all of them.
    """

    def __init__(
        self,
        takes: Sequence[Take],
        *,
        rate: Fraction = DEFAULT_RATE,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> None:
        self.takes = list(takes)
        self._folder_rate = rate
        self._extract = start_s, end_s
        self.whole = start_s is None and end_s is None  # whether it is no extract
        self.notes: list[str] = []
        with self._opened() as films:
            raw, *others = films
            self.rate: Fraction = raw.average_rate or DEFAULT_RATE
            self.size = upright_size(raw.source)
            self.expected = raw.frame_count_estimate
            for take, film in zip(self.takes[1:], others, strict=True):
                self._check_shape(take, film, raw)
        self.frames: int | None = None  # that all films have; known once they were read to the end

    def __iter__(self) -> Iterator[list[Picture]]:
        """The frames of all films, one list a moment, until the shortest ends.

        Raises MediaError if the films turn out not to be of one length.
        """
        with self._opened() as films:
            readers = [iter(film) for film in films]
            for number in count():
                if number == self.frames:
                    return
                frames = [next(reader, None) for reader in readers]
                there = [frame for frame in frames if frame is not None]
                if len(there) < len(frames):
                    self._end(number, frames, readers)
                    return
                yield [self._picture(film, frame) for film, frame in zip(films, there, strict=True)]

    def _end(self, number: int, frames: list[FilmFrame | None], readers: list[Iterator[FilmFrame]]) -> None:
        """Counts what is left of the longer films."""
        lengths = [
            number + (frame is not None) + sum(1 for _ in reader) for frame, reader in zip(frames, readers, strict=True)
        ]
        raw = self.takes[0]
        if not number:
            raise MediaError(f"{raw.path} has no frames to compare")
        for take, length in zip(self.takes[1:], lengths[1:], strict=True):
            if abs(length - lengths[0]) > LENGTHS_MAY_DIFFER_BY:
                raise MediaError(
                    f"{take.path} has {length} frames, and {raw.path} has {lengths[0]}: they are matched by order, and "
                    f"may differ by at most {LENGTHS_MAY_DIFFER_BY}"
                )
        if len(set(lengths)) > 1:
            told = ", ".join(f"{take.label} {length}" for take, length in zip(self.takes, lengths, strict=True))
            self.notes.append(f"The films have not the same number of frames ({told}): the first {number} are judged.")
        self.frames = number

    @contextmanager
    def _opened(self) -> Iterator[list[Film]]:
        start_s, end_s = self._extract
        with ExitStack() as stack:
            yield [
                stack.enter_context(open_film(take.path, rate=self._folder_rate, start_s=start_s, end_s=end_s))
                for take in self.takes
            ]

    def _check_shape(self, take: Take, film: Film, raw: Film) -> None:
        (width, height), (raw_width, raw_height) = _shown_size(film), _shown_size(raw)
        if abs(width / height / (raw_width / raw_height) - 1) > SHAPES_MAY_DIFFER_BY:
            raise MediaError(
                f"{take.path} is shown as {width:.0f}x{height:.0f}, and {self.takes[0].path} as "
                f"{raw_width:.0f}x{raw_height:.0f}: they must have one shape"
            )
        if upright_size(film.source) != self.size:
            of_film, of_raw = ("x".join(map(str, size)) for size in (upright_size(film.source), self.size))
            self.notes.append(f"{take.label} is {of_film}, and scaled to the raw film's {of_raw}: its figures suffer.")

    def _picture(self, film: Film, frame: FilmFrame) -> Picture:
        return np.ascontiguousarray(scaled(upright(frame.buffer, film.source, film.tags), self.size))


def _shown_size(film: Film) -> tuple[float, float]:
    """Width and height as shown: with the shape of the pixels, turned upright."""
    across, down = film.source.sample_aspect
    width, height = film.source.width * across / down, float(film.source.height)
    return (height, width) if film.source.rotation % 180 else (width, height)
