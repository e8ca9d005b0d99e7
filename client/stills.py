"""Stills: frames of a film as somebody has painted them, pictures in a folder, found by the numbers in their names.

A still is painted upright, as one sees the film; it is scaled and turned to be like the film's frames as stored.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..proto.messages import Source
from .errors import MediaError
from .film.media import moment, seekable
from .film.pictures import (
    NUMBER_DIGITS,
    PICTURE_SUFFIXES,
    is_picture,
    picture_notices,
    read_picture,
    scaled,
    upright_size,
)
from .film.reader import open_film
from .images import Image

# Ratios of sides that differ by less are taken for the same, as a share: websites round sides to multiples of 8. Lines
# are then off by half of that at the edges, less than a brush is wide.
SAME_ASPECT = 0.01
# Names in one sentence that is no error.
NAMES_SHOWN = 6

_DIGITS = re.compile("[0-9]+")


def still_name(index: int) -> str:
    """The name of the picture of a frame, by its index in the film."""
    return f"frame_{index:0{NUMBER_DIGITS}d}.png"


def index_of(file: Path) -> int | None:
    """The frame that a picture is of: the last group of digits in its name. None: there is none."""
    groups = _DIGITS.findall(file.stem)
    return int(groups[-1]) if groups else None


def named(names: Sequence[object]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(map(str, names[:NAMES_SHOWN])) + (f" and {more} more" if more > 0 else "")


def runs(indices: Sequence[int]) -> list[str]:
    """Frames, by their indices in ascending order, as few words: "frame 3", "frames 7 to 9"."""
    said, first = [], 0
    for place, index in enumerate(indices):
        if place + 1 == len(indices) or indices[place + 1] != index + 1:
            said.append(f"frame {index}" if first == place else f"frames {indices[first]} to {index}")
            first = place + 1
    return said


def check_read_twice(source: Path) -> None:
    """Raises MediaError for a film that cannot be."""
    if not source.is_dir() and not seekable(source):
        raise MediaError(
            f"{source} cannot be read twice: frames can be counted in a file or in a folder of pictures alone"
        )


@dataclass(frozen=True, slots=True)
class Span:
    """Where an extract lies in its film, in frames of the film, counted from 0.

    first: of the extract, and first_s: when it is shown, seconds. end: the first after it; None: it was not come to.
    count: of the film's frames; None: the film was not looked through to its end.
    """

    first: int = 0
    first_s: Fraction = Fraction(0)
    end: int | None = None
    count: int | None = None

    def holds(self, index: int) -> bool:
        """Whether the frame is in the extract, as far as it is known where that ends."""
        return self.first <= index and (self.end is None or index < self.end)


def span_of(
    source: Path, *, rate: Fraction, start_s: float | None = None, end_s: float | None = None, last: int = 0
) -> Span:
    """Where an extract begins, and ends if it does so before the frame `last`; the film is looked through so far.

    As open_film has it: frames from start_s on, and before end_s. Raises MediaError for a film that cannot be read
    twice.
    """
    check_read_twice(source)
    start, end = moment(start_s or 0.0), None if end_s is None else moment(end_s)
    span, count = Span(), 0
    with open_film(source, rate=rate) as film:
        for time in film.times():
            if count > last and span.first_s >= start:
                return span
            if span.first_s < start:
                span = replace(span, first=count, first_s=time)
            if span.end is None and end is not None and time >= end:
                span = replace(span, end=count)
            count += 1
    return replace(span, count=count)


class Stills(Mapping[int, Image]):
    """The stills of an extract, by frame, counted from its first: BGR [H, W, 3], as the film's frames are stored.

    They are read when they are asked for, which raises MediaError for one that is gone meanwhile.
    """

    def __init__(self, files: Mapping[int, Path], source: Source, span: Span, notices: Sequence[str] = ()) -> None:
        """files: by index in the whole film. notices: what becomes of them, in sentences."""
        self._files = {index - span.first: file for index, file in sorted(files.items()) if span.holds(index)}
        self._source = source
        self._first = span.first
        self.notices = list(notices)

    def __getitem__(self, number: int) -> Image:
        return _as_stored(read_picture(self._files[number]), self._source)

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, number: object) -> bool:
        return number in self._files

    def index(self, number: int) -> int:
        """The index in the whole film of a frame of the extract."""
        return self._first + number

    def unseen(self, frames: int) -> list[str]:
        """The names of those that did not come up in so many frames."""
        return [file.name for number, file in self._files.items() if number >= frames]


def open_stills(
    folder: Path,
    source: Source,
    film: Path,
    *,
    rate: Fraction,
    start_s: float | None = None,
    end_s: float | None = None,
) -> Stills:
    """The stills of a folder, all of them looked at.

    source: what the film's frames are like; the others: as span_of has them. Raises MediaError, which names each still
    that cannot be used, and says why not.
    """
    files, faults = _numbered(folder)
    span = span_of(film, rate=rate, start_s=start_s, end_s=end_s, last=max(files, default=0))
    if span.count is not None:
        there = f"the film has {span.count}, 0 to {span.count - 1}"
        faults |= {file: f"there is no frame {index}: {there}" for index, file in files.items() if index >= span.count}
    scaled, told = [], dict[str, list[str]]()
    for file in (each for each in files.values() if each not in faults):
        try:
            height, width = read_picture(file).shape[:2]
            for notice in picture_notices(file):
                told.setdefault(notice, []).append(file.name)
        except MediaError as error:
            faults[file] = str(error).removeprefix(f"{file} ")
            continue
        if (width, height) != upright_size(source):
            if _same_shape((width, height), source):
                scaled.append(file.name)
            else:
                wanted = "{}x{}".format(*upright_size(source))
                faults[file] = f"it is {width}x{height}, and the film {wanted}: stills must have its shape"
    if faults:
        listed = "; ".join(f"{file.name}: {why}" for file, why in sorted(faults.items()))
        raise MediaError(f"{folder} has stills that cannot be used: {listed}")
    outside = [file.name for index, file in sorted(files.items()) if not span.holds(index)]
    if len(outside) == len(files):
        raise MediaError(f"none of the stills in {folder} is of a frame in the extract: {named(outside)}")
    notices = [f"{notice} So it is with {named(names)}." for notice, names in told.items()]
    if scaled:
        notices.append("Stills are scaled to {}x{}: {}.".format(*upright_size(source), named(scaled)))
    if outside:
        notices.append(f"Stills outside the extract are left out: {named(outside)}.")
    if others := _others(folder):
        notices.append(f"Files in {folder} that are no pictures are passed over: {named(others)}.")
    return Stills(files, source, span, notices)


def _numbered(folder: Path) -> tuple[dict[int, Path], dict[Path, str]]:
    """The pictures of a folder by their number, and what is wrong with the others. Raises MediaError."""
    if not folder.is_dir():
        raise MediaError(f"{folder} is no folder: stills are pictures in one, such as {still_name(123)}")
    files: dict[int, Path] = {}
    faults: dict[Path, str] = {}
    for file in sorted(filter(is_picture, _visible(folder))):
        index = index_of(file)
        if index is None:
            faults[file] = f"its name has no number of a frame, such as {still_name(123)}"
        elif index in files:
            faults[file] = f"{files[index].name} is of frame {index}, too"
        else:
            files[index] = file
    if not files and not faults:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise MediaError(
            f"{folder} holds no stills: pictures ({kinds}) with the number of their frame, {still_name(123)}"
        )
    return files, faults


def _visible(folder: Path) -> Iterable[Path]:
    return (file for file in folder.iterdir() if not file.name.startswith("."))


def _others(folder: Path) -> list[str]:
    """Files that are no pictures by their names: one may have been meant to be a still."""
    return sorted(file.name for file in _visible(folder) if file.is_file() and not is_picture(file))


def _same_shape(size: tuple[int, int], source: Source) -> bool:
    """Whether a picture has the film's shape: as its frames are stored, or as they are shown."""
    width, height = upright_size(source)
    aspect = Fraction(*source.sample_aspect)
    shown = aspect if source.rotation % 180 == 0 else 1 / aspect
    ratio = Fraction(*size)
    return any(
        abs(ratio / each - 1) < SAME_ASPECT for each in (Fraction(width, height), Fraction(width, height) * shown)
    )


def _as_stored(picture: Image, source: Source) -> Image:
    return np.ascontiguousarray(np.rot90(scaled(picture, upright_size(source)), source.rotation // 90))
