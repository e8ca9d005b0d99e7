"""What is seen of one frame as one picture: raw, painted and maps one under the other, so that they stay together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np

from ..images import Image
from ..sheet import confidence_picture, flow_colours, full_speed, holes_picture, hops_picture
from ..viewer import SeenImage

TileName = Literal["raw", "painted", "flow", "confidence", "hops", "holes"]
TILE_NAMES: tuple[TileName, ...] = get_args(TileName)
PICTURES = ("raw", "painted")

# Maps are coloured at no more pixels than this, and scaled up: they are smooth, and colouring takes most of the time.
MAP_PIXELS = 320 * 180
# How fast the speed that has full colour falls back after a quick movement, a frame: colours do not flap.
CALM = 0.97
# Hops that have the darkest colour: the Brief's default limit.
MAX_HOPS = 16


@dataclass(frozen=True, slots=True)
class Tile:
    """Where one picture lies in the stack, pixels."""

    name: TileName
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Stack:
    """The tiles as one picture. image: u8 [H, W, 3] BGR, both sides even, as most codecs want it."""

    image: Image
    tiles: tuple[Tile, ...]


class Stacker:
    """Makes stacks of the frames of one session."""

    def __init__(self) -> None:
        self._full_speed = 0.0

    def stack(self, seen: SeenImage, names: Sequence[TileName], max_width: int) -> Stack:
        """The tiles that were asked for, in that order, as far as they came, each at most max_width wide."""
        found = [(name, self._picture(seen, name)) for name in names]
        pictures = [(name, picture) for name, picture in found if picture is not None]
        width, height = _size(seen, max_width)
        rows = height + height % 2
        image = np.zeros((rows * max(1, len(pictures)), width + width % 2, 3), np.uint8)
        tiles = []
        for number, (name, picture) in enumerate(pictures):
            top = number * rows
            image[top : top + height, :width] = _scaled(picture, (width, height))
            tiles.append(Tile(name, 0, top, width, height))
        return Stack(image, tuple(tiles))

    def _picture(self, seen: SeenImage, name: TileName) -> Image | None:
        if name == "raw":
            return seen.raw
        if name == "painted":
            return seen.painted
        array = seen.maps.get(name)
        if array is None:
            return None
        small = _small(array)
        if name == "flow":
            self._full_speed = max(full_speed([small]), CALM * self._full_speed)
            return flow_colours(small, self._full_speed)
        if name == "confidence":
            return confidence_picture(small)
        if name == "hops":
            return hops_picture(small, MAX_HOPS)
        under = np.zeros((*small.shape, 3), np.uint8) if seen.raw is None else _scaled(seen.raw, small.shape[1::-1])
        return holes_picture(under, small.astype(np.bool_))


def _size(seen: SeenImage, max_width: int) -> tuple[int, int]:
    height, width = seen.info.parts[0].shape[:2] if seen.info.parts else (2, 2)
    if width <= max_width:
        return width, height
    return max_width, max(1, round(height * max_width / width))


def _small(array: Any) -> Any:
    """A map at no more than MAP_PIXELS. Values stay what they are: speeds in pixels of the canvas."""
    height, width = array.shape[:2]
    scale = (MAP_PIXELS / (width * height)) ** 0.5
    if scale >= 1:
        return array
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(array, size, interpolation=cv2.INTER_NEAREST)


def _scaled(picture: Image, size: tuple[int, int]) -> Image:
    if picture.shape[1::-1] == size:
        return picture
    shrinks = size[0] < picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
