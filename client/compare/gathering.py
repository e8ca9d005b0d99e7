"""Gathers what the report shows of the films: pictures at some moments, and slices through time."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .reading import Picture, Reels

# A slice is so many frames high at most: one line a frame, so that no flicker is averaged away.
SLICE_FRAMES = 300
# Pictures are kept no wider than this, pixels: two share the width of the page at the least.
KEPT_PX = 840


@dataclass(slots=True)
class Gathered:
    """What was gathered. pictures: by frame number, one a film. slices: one a film, [n, W, 3], a line a frame.

    first: the number of the slices' first frame.
    """

    first: int
    pictures: dict[int, list[Picture]] = field(default_factory=dict)
    slices: list[Picture] = field(default_factory=list)


def gathered(
    reels: Reels, moments: Collection[int], row: int, around: int, progress: Callable[[int], None]
) -> Gathered:
    """Reads the films once more. moments: numbers of frames to keep. row: of the slices, which lie around a frame."""
    frames = reels.frames or 0
    first = min(max(0, around - SLICE_FRAMES // 2), max(0, frames - SLICE_FRAMES))
    found = Gathered(first)
    lines: list[list[NDArray[np.uint8]]] = [[] for _ in reels.takes]
    for number, pictures in enumerate(reels):
        if number in moments:
            found.pictures[number] = [_kept(picture) for picture in pictures]
        if first <= number < first + SLICE_FRAMES:
            for of_film, picture in zip(lines, pictures, strict=True):
                of_film.append(picture[row].copy())
        progress(number + 1)
    found.slices = [np.stack(of_film) for of_film in lines]
    return found


def _kept(picture: Picture) -> Picture:
    h, w = picture.shape[:2]
    if w <= KEPT_PX:
        return picture
    return cv2.resize(picture, (KEPT_PX, max(1, round(h * KEPT_PX / w))), interpolation=cv2.INTER_AREA)
