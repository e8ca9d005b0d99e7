"""Folders of pictures, read and written as films: one file a frame."""

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from ...proto.messages import Pixels, Source
from ..errors import MediaError
from .media import (
    Buffer,
    ColourTags,
    Film,
    FilmFrame,
    frame_of,
    make_folder,
    moment,
    reason,
    tight_buffer,
    with_neutral_chroma,
)
from .packets import WaitingPackets

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}

# Frames without a name of their own are numbered so that listings sort them: room for nine hours at 30 a second.
NUMBER_DIGITS = 6

# PNG of painted pictures: level 1 writes several times faster than the usual 6, for files a few per cent larger.
PNG_LEVEL = 1

_MATRICES = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709, "bt2020": Colorspace.BT2020}


class PictureFolder:
    """The pictures of a folder as a film, as media.Film says: one tick a picture, in natural order (img2, img10).

    Pictures are bgr24, turned upright as their EXIF says. They must have one size: reading raises MediaError at
    the first that has not.
    """

    def __init__(
        self, folder: Path, *, rate: Fraction, start_s: float | None = None, end_s: float | None = None
    ) -> None:
        self.name = str(folder)
        self.path: Path | None = folder
        files = sorted(filter(is_picture, folder.iterdir()), key=_natural)
        if not files:
            raise MediaError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
        first = 0 if start_s is None else ceil(moment(start_s) * rate)
        self._files = files[first : None if end_s is None else ceil(moment(end_s) * rate)]
        if not self._files:
            raise MediaError(
                f"{folder} has no picture in the extract: its {len(files)} last {float(len(files) / rate)} s"
            )
        self._stems = Counter(file.stem for file in self._files)  # a.png and a.jpg must not become one file
        self.notices = picture_notices(self._files[0])
        height, width = read_picture(self._files[0]).shape[:2]
        self.source = Source(width=width, height=height, pixels="bgr24", time_base=(rate.denominator, rate.numerator))
        self.tags = ColourTags()
        self.display_matrix: tuple[int, ...] | None = None
        self.metadata: dict[str, str] = {}
        self.average_rate: Fraction | None = rate
        self.frame_count_estimate: int | None = len(self._files)
        self.duration_s: float | None = float(len(self._files) / rate)
        self.copied = WaitingPackets([])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __iter__(self) -> Iterator[FilmFrame]:
        for number, file in enumerate(self._files):
            picture = read_picture(file)
            height, width = picture.shape[:2]
            if (width, height) != (self.source.width, self.source.height):
                raise MediaError(
                    f"{file} is {width}x{height}, but {self._files[0].name} is {self.source.width}x"
                    f"{self.source.height}: the pictures of a folder must have one size"
                )
            yield FilmFrame(number, 1, picture.reshape(-1))

    def times(self) -> Iterator[Fraction]:
        """When its pictures are shown, seconds from the first."""
        yield from (number * Fraction(*self.source.time_base) for number in range(len(self._files)))

    def stem(self, pts: int) -> str | None:
        """The name, without extension, of the picture shown at pts."""
        if not 0 <= pts < len(self._files):
            return None
        file = self._files[pts]
        return file.stem if self._stems[file.stem] == 1 else file.name


class PictureFolderOut:
    """Writes frames as PNG files into a folder, which is made if it is missing.

    A frame keeps the name of the picture it comes from; the frames of a film are numbered from 1, and turned upright
    as PNG has no tag for it. Sound and subtitles are left out.

    pixels: the layout that frames are given in; the film's, if nothing is said. In bgr24 they are kept to the bit.
    """

    def __init__(self, folder: Path, *, like: Film, pixels: Pixels | None = None) -> None:
        if like.path is not None and folder.exists() and folder.samefile(like.path):
            raise MediaError(f"{folder} is the input; the output must be another folder")
        make_folder(folder)
        self.notices = [f"Sound and subtitles are left out: {folder} is a folder of pictures."] * bool(
            like.copied.streams
        )
        self._folder = folder
        self._like = like
        self._source = like.source.model_copy(update={"pixels": pixels or like.source.pixels})
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def write(self, pts: int, duration: int | None, buffer: Buffer) -> None:
        """Writes one frame. Raises MediaError."""
        self._written += 1
        stem = self._like.stem(pts) or f"{self._written:0{NUMBER_DIGITS}d}"
        file = self._folder / f"{stem}.png"
        picture = upright(buffer, self._source, self._like.tags)
        _, png = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
        try:
            file.write_bytes(png)
        except OSError as error:
            raise MediaError(f"{file} cannot be written: {reason(error)}") from None


def _natural(file: Path) -> list[tuple[int, str]]:
    """A key that sorts runs of digits by their value: img2 before img10."""
    return [(int(part), "") if part.isdecimal() else (0, part.lower()) for part in re.split(r"(\d+)", file.name)]


def is_picture(file: Path) -> bool:
    """Whether a file is a picture by its name."""
    return file.suffix.lower() in PICTURE_SUFFIXES


def read_picture(file: Path) -> NDArray[np.uint8]:
    """The picture of a file, BGR [H, W, 3], upright. Raises MediaError."""
    picture = _decoded(file, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(picture, np.uint8)


def _decoded(file: Path, flags: int) -> cv2.typing.MatLike:
    try:
        data = np.fromfile(file, np.uint8)
    except OSError as error:
        raise MediaError(f"{file} cannot be read: {reason(error)}") from None
    picture = cv2.imdecode(data, flags) if data.size else None
    if picture is None:
        raise MediaError(f"{file} is not a picture that can be read, or it is damaged")
    return picture


def picture_notices(file: Path) -> list[str]:
    """What becomes of pictures like this one. Raises MediaError."""
    stored = _decoded(file, cv2.IMREAD_UNCHANGED)
    notices = []
    if stored.ndim == 3 and stored.shape[2] == 4:
        notices.append("The pictures' transparency is dropped.")
    if stored.dtype != np.uint8:
        notices.append("The pictures have more than 8 bits a sample and are reduced to 8.")
    return notices


def upright_size(source: Source) -> tuple[int, int]:
    """The size (W, H) of the film's frames, turned upright."""
    return (source.width, source.height) if source.rotation % 180 == 0 else (source.height, source.width)


def scaled(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture [H, W, 3] at this size (W, H)."""
    if picture.shape[1::-1] == size:
        return picture
    smaller = picture.shape[1] > size[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=how), np.uint8)


def upright(buffer: Buffer, source: Source, tags: ColourTags) -> NDArray[np.uint8]:
    """A tight picture in the source's layout as BGR [H, W, 3], turned as one sees it."""
    return np.rot90(as_bgr(buffer, source, tags), -source.rotation // 90)


def as_bgr(buffer: Buffer, source: Source, tags: ColourTags) -> NDArray[np.uint8]:
    """A tight picture in the source's layout as BGR [H, W, 3]."""
    if source.pixels == "gray":
        buffer = with_neutral_chroma(buffer, source.width, source.height)
    if source.pixels != "bgr24":
        frame = frame_of(buffer, "yuv420p", source.width, source.height).reformat(
            format="bgr24",
            src_colorspace=_MATRICES[source.colour.matrix_for(source.height)],
            src_color_range=ColorRange.JPEG if tags.full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
        )
        buffer = tight_buffer(frame, "bgr24")
    return buffer.reshape(source.height, source.width, 3)
