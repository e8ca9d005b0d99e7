"""Control images: what a ControlNet is shown of the raw frame, so that a painting keeps its shapes.

What is computed here is u8 [H, W, 3], gray, of a picture, BGR u8 [H, W, 3], of 8 x 8 pixels or more: white lines on
black, as ControlNets of the function's name were trained with. Same picture, same bits. A frame may bring images of its
own, of these kinds or any other.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from ...base import Frame, Picture
from ...grid import pixel_grid

Floats = NDArray[np.float32]

# Slopes of the lightness, levels, by Sobel: above the higher an edge begins, down to the lower it goes on. The numbers
# that ControlNet's own annotator starts with.
CANNY_LOW, CANNY_HIGH = 100, 200

# What is one surface is made even before lines are sought, or its grain would be drawn.
SURFACE_PX = 5  # diameter of the bilateral filter, pixels
SURFACE_LEVELS = 24.0  # differences that are grain, levels
# Lines are where a wide Gaussian is lighter than a narrow one.
NARROW_PX = 1.0  # standard deviation, pixels: lines are two or three pixels thin
WIDER = 1.6  # times the narrow one, where the difference is nearest to a Laplacian
# The direction of lines is that of the slopes around a pixel, over this standard deviation, pixels.
DIRECTION_PX = 2.5
# A line is averaged along its direction over so many pixels to either side: dashes join, specks fade.
ALONG_PX = 5
# Where lines crowd there is a texture, as of grass: they lose so many times the mean of what is drawn around them, over
# this standard deviation, pixels. A line that stands alone hardly does.
CROWD, CROWD_PX = 1.5, 8.0
# The dip of lightness, levels, that is not yet a line, and the one that is white.
FAINT, FULL = 0.8, 5.0
# Lines that fit into a square of this side, pixels, are specks; in small pictures, of this share of the shorter side.
SPECK_PX, SPECK_SHARE = 16, 1 / 8


def canny(bgr: Picture) -> Picture:
    """Canny's edges: 255 on an edge, else 0."""
    return _gray(cv2.Canny(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), CANNY_LOW, CANNY_HIGH))


def lineart(bgr: Picture) -> Picture:
    """A drawing in thin soft lines on the dark side of edges: 0..255, the whiter the clearer the line.

    Differences of Gaussians, averaged along the lines: H. Kang et al., "Coherent line drawing", NPAR 2007; with the
    soft threshold of H. Winnemöller et al., "XDoG", Computers & Graphics 2012. Textures are held back by what is around
    them: C. Grigorescu et al., "Contour detection based on nonclassical receptive field inhibition", IEEE TIP 2003.
    """
    even = cv2.bilateralFilter(bgr, SURFACE_PX, SURFACE_LEVELS, SURFACE_PX / 2)
    light = cv2.cvtColor(even, cv2.COLOR_BGR2GRAY).astype(np.float32)
    narrow, wide = (cv2.GaussianBlur(light, (0, 0), sigma) for sigma in (NARROW_PX, NARROW_PX * WIDER))
    dips = _along(np.maximum(wide - narrow, 0), _direction(light))
    dips -= np.float32(CROWD) * cv2.GaussianBlur(dips, (0, 0), CROWD_PX)
    drawn = np.clip((dips - np.float32(FAINT)) / np.float32(FULL - FAINT), 0, 1)
    return _gray(_without_specks(np.rint(drawn * 255).astype(np.uint8)))


# The ControlNets that a picture can be made for, by the name of their kind.
KINDS: Mapping[str, Callable[[Picture], Picture]] = MappingProxyType({"canny": canny, "lineart": lineart})


def can_show(kind: str, frame: Frame) -> bool:
    """Whether there is an image of this kind for a frame."""
    return kind in frame.controls or kind in KINDS


def image_of(kind: str, frame: Frame) -> Picture:
    """What a ControlNet of this kind is shown, BGR u8 [H, W, 3]: the image that came with the frame, or one computed.

    There must be one: see `can_show`.
    """
    sent = frame.controls.get(kind)
    return KINDS[kind](frame.bgr) if sent is None else sent


def _gray(lines: NDArray[np.uint8]) -> Picture:
    return cv2.cvtColor(lines, cv2.COLOR_GRAY2BGR)


def _without_specks(lines: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shortest = min(SPECK_PX, SPECK_SHARE * min(lines.shape))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(lines)
    long = boxes[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) > shortest
    return np.where(long[labels], lines, np.uint8(0))


def _direction(light: Floats) -> Floats:
    """The direction in which the lightness changes least: unit vectors [H, W, 2], x then y, or none in flat parts.

    Slopes are squared as complex numbers before they are averaged, so that the two sides of a line do not cancel.
    """
    dx, dy = (cv2.Scharr(light, cv2.CV_32F, x, 1 - x, scale=1 / 32) for x in (1, 0))
    real, imaginary = (cv2.GaussianBlur(p, (0, 0), DIRECTION_PX) for p in (dx * dx - dy * dy, 2 * dx * dy))
    length = np.sqrt(real * real + imaginary * imaginary)  # not cv2.magnitude: see grid.lengths
    cosine = real / np.maximum(length, np.float32(1e-6))
    # Half the angle, and a quarter turn on.
    x = -np.copysign(np.sqrt(np.maximum(1 - cosine, 0) / 2), imaginary)
    y = np.sqrt(np.maximum(1 + cosine, 0) / 2)
    return np.dstack([x, y]) * (length > 0)[..., None]


def _along(values: Floats, direction: Floats) -> Floats:
    """The mean of values [H, W] along the direction, a tent ALONG_PX wide to either side."""
    h, w = values.shape
    here, total, weights = pixel_grid(w, h), values * np.float32(ALONG_PX), ALONG_PX
    for step in range(1, ALONG_PX):
        for way in (-step, step):
            there = here + direction * np.float32(way)
            seen = cv2.remap(values, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            total += seen * np.float32(ALONG_PX - step)
        weights += 2 * (ALONG_PX - step)
    return total / np.float32(weights)
