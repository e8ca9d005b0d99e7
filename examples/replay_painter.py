"""A painter of one's own: it replays pictures that another program painted, one for each frame, from a folder.

REPLAY_FOLDER=frames PYTHONPATH=examples warpaintd --painters replay_painter:ReplayPainter
warpaint run in.mp4 out.mp4

Only keyframes and holes are taken of the pictures. All else is the keyframe moved along the film: so a film that
flickers, as it was painted frame by frame, comes out steady.

A picture is found by the time of its frame, if its name is a number of milliseconds (5480ms.png), or else by the
frame's index, if its name ends in a number (000138.png). REPLAY_FIRST is the number of the first picture, 1 if it
is not set: ffmpeg and Warpaint number so.
"""

import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from warpaint.engines.base import Frame, PaintDone, PaintJob, Picture
from warpaint.proto.errors import Code

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
# A canvas is the picture, filled up at the right and below to sides that are multiples of this.
CANVAS_STEP = 8


class ReplayPainter:
    """A Painter. It raises ValueError or OSError when it is made: the daemon then does not start, and says why."""

    # No habits: it costs next to nothing, but its pictures flicker, so holes are not painted in each frame (`at_once`).
    looks = ("replay",)

    def __init__(self) -> None:
        if not os.environ.get("REPLAY_FOLDER"):
            raise ValueError("REPLAY_FOLDER must name the folder of pictures")
        self._folder = Path(os.environ["REPLAY_FOLDER"])
        self._first = int(os.environ.get("REPLAY_FIRST", "1"))
        self._by_ms: dict[int, Path] = {}
        self._by_number: dict[int, Path] = {}
        for file in sorted(self._folder.iterdir()):
            if file.suffix.lower() not in SUFFIXES:
                continue
            if at := re.fullmatch(r"(\d+)ms", file.stem):
                self._by_ms[int(at[1])] = file
            elif number := re.search(r"(\d+)$", file.stem):
                self._by_number[int(number[1])] = file
        if not self._by_ms and not self._by_number:
            raise ValueError(f"{self._folder} holds no pictures whose names are times, or end in numbers")

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        """One result a job, in order: the frame's picture, or that part of it that the crop is of."""
        return [self._cancelled(job) if cancelled() else self._painted(job) for job in jobs]

    def _cancelled(self, job: PaintJob) -> PaintDone:
        return PaintDone(job.id, job.epoch, None, error=Code.CANCELLED)

    def _painted(self, job: PaintJob) -> PaintDone:
        """A whole keyframe and a crop around holes alike: of a crop only pixels in holes are taken."""
        try:
            picture = self._picture(job.frame, job.size)
        except (OSError, ValueError) as error:
            return PaintDone(job.id, job.epoch, None, error=Code.PAINTER_FAILED, why=str(error))
        (x, y), (height, width) = job.origin, job.frame.bgr.shape[:2]
        return PaintDone(job.id, job.epoch, picture[y : y + height, x : x + width].copy())

    def _picture(self, frame: Frame, size: tuple[int, int]) -> Picture:
        """The frame's picture on a canvas of this size (W, H). Raises OSError or ValueError, with a sentence."""
        ms = round(1000 * frame.pts)
        file = self._by_ms.get(ms) or self._by_number.get(frame.index + self._first)
        if file is None:
            raise ValueError(f"{self._folder} has no picture of frame {frame.index}, at {ms} ms")
        picture = _read(file)
        height, width = picture.shape[:2]
        right, below = size[0] - width, size[1] - height
        if not 0 <= right < CANVAS_STEP or not 0 <= below < CANVAS_STEP:
            raise ValueError(f"{file} is {width}x{height}, and the frames are painted at {size[0]}x{size[1]}")
        return np.asarray(cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)


@lru_cache(maxsize=1)  # a frame may have several crops
def _read(file: Path) -> Picture:
    picture = cv2.imread(str(file))
    if picture is None:
        raise OSError(f"{file} cannot be read as a picture")
    return np.asarray(picture, np.uint8)
