"""Frame numbers in the pixels: large black and white blocks, which survive lossy coding, scaling and painting."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 10
AROUND = 2**BITS  # then numbers begin again
# Two rows: the number and, against misreading, its complement. The first column tells white from black.
COLUMNS, ROWS = BITS + 1, 2
# Samples along a block's side, and how many at each end are passed over: coding and scaling blur the edges.
SAMPLES, EDGE = 10, 3
# Black and white are at least so many levels apart, of 255.
LEAST_CONTRAST = 90

# What the painter `painters_under_test:Negative` makes of the bars: within so many levels, after lossy coding.
BARS = ((0, 0, 255), (0, 255, 0), (255, 0, 0))  # BGR
TOLERANCE = 40

Gray = NDArray[np.uint8]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Stamp:
    """What was read. negative: black and white are exchanged."""

    number: int
    negative: bool


def stamp(number: int, size: tuple[int, int]) -> Gray:
    """The stamp [H, W] of a frame, of this size (W, H). From each number to the next, one column changes."""
    code = number % AROUND
    code ^= code >> 1  # Gray's
    row = np.array([1, *(code >> bit & 1 for bit in range(BITS))], np.uint8)
    return cv2.resize(255 * np.stack([row, 1 - row]), size, interpolation=cv2.INTER_NEAREST)


def read(picture: Gray) -> Stamp | None:
    """What is stamped on a picture [H, W] that is nothing but a stamp, of any size; None if it cannot be read."""
    fine = cv2.resize(picture, (COLUMNS * SAMPLES, ROWS * SAMPLES), interpolation=cv2.INTER_AREA)
    blocks = fine.reshape(ROWS, SAMPLES, COLUMNS, SAMPLES)[:, EDGE:-EDGE, :, EDGE:-EDGE].mean(axis=(1, 3))
    contrasts = blocks[0] - blocks[1]
    if abs(contrasts).min() < LEAST_CONTRAST:
        return None
    ones = (contrasts > 0) == (contrasts[0] > 0)
    number = code = sum(int(one) << bit for bit, one in enumerate(ones[1:]))
    while code := code >> 1:
        number ^= code
    return Stamp(number, negative=bool(contrasts[0] < 0))


def passed(earlier: int, later: int) -> int:
    """How many frames lie between two numbers, less than AROUND."""
    return (later - earlier) % AROUND


# A test film: red, green and blue above, the stamp below


@dataclass(frozen=True)
class Seen:
    """What a picture of the test film shows."""

    number: int
    negative: bool  # bars and stamp alike, as the painter makes them


def film(path: Path, *, size: tuple[int, int], rate: int, seconds: float) -> Path:
    """The test film, h264 in the container that the path names; its size (W, H) is even."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"preset": "ultrafast", "g": str(rate)})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(round(rate * seconds)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, size), format="bgr24")))
        container.mux(stream.encode())
    return path


def picture(number: int, size: tuple[int, int]) -> Picture:
    """A picture [H, W, 3], BGR, of the test film."""
    width, height = size
    bars = cv2.resize(np.array([BARS], np.uint8), (width, height // 2), interpolation=cv2.INTER_NEAREST)
    below = cv2.cvtColor(stamp(number, (width, height - height // 2)), cv2.COLOR_GRAY2BGR)
    return np.vstack([bars, below])


def seen(shown: Picture) -> Seen | None:
    """What a picture [H, W, 3], BGR, shows; None if it is none of the film's, or neither as it was nor its negative."""
    height, width = shown.shape[:2]
    read_stamp = read(cv2.cvtColor(shown[height // 2 :], cv2.COLOR_BGR2GRAY))
    if read_stamp is None:
        return None
    bars = np.array(BARS)
    meant = 255 - bars if read_stamp.negative else bars
    middles = shown[height // 4, [width * part // 6 for part in (1, 3, 5)]].astype(int)
    return Seen(read_stamp.number, read_stamp.negative) if abs(middles - meant).max() <= TOLERANCE else None
