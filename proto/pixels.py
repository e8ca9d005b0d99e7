"""How raw pictures lie in a payload: planes one after the other, each a number of rows of `stride` bytes.

| pixels  | planes, and bytes a row of each when tight                                             |
|---------|----------------------------------------------------------------------------------------|
| bgr24   | one, 3 W                                                                               |
| rgb24   | one, 3 W                                                                               |
| bgra    | one, 4 W                                                                               |
| gray    | one, W                                                                                 |
| yuv420p | Y, W; Cb and Cr, each ceil(W / 2) and ceil(H / 2) rows                                 |
| nv12    | Y, W; Cb and Cr interleaved, 2 ceil(W / 2) and ceil(H / 2) rows                        |
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import InvalidMessage, TooLarge
from .limits import MAX_PAYLOAD_BYTES
from .messages import Pixels

_PIXEL_BYTES: dict[Pixels, int] = {"bgr24": 3, "rgb24": 3, "bgra": 4, "gray": 1}


@dataclass(frozen=True, slots=True)
class Plane:
    """Where one plane lies: `rows` rows of `stride` bytes from `offset` on, the first `row_bytes` of each in use."""

    offset: int
    row_bytes: int
    rows: int
    stride: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The planes of a raw picture, and the length of its payload in bytes; the last row is `stride` bytes long too."""

    planes: tuple[Plane, ...]
    total_bytes: int


def layout(pixels: Pixels, width: int, height: int, strides: Sequence[int] | None = None) -> Layout:
    """The layout of a raw picture of width x height pixels.

    `strides` are bytes a row, one for each plane; None means tight rows. Raises InvalidMessage for strides that are
    too few, too many or shorter than a row, and TooLarge for a picture past MAX_PAYLOAD_BYTES.
    """
    if width < 1 or height < 1:
        raise InvalidMessage(f"a picture of {width}x{height} pixels: each side must be at least 1")
    shapes = _shapes(pixels, width, height)
    strides = [row_bytes for row_bytes, _ in shapes] if strides is None else strides
    if len(strides) != len(shapes):
        raise InvalidMessage(
            f"strides: {pixels} has {len(shapes)} planes, so {len(shapes)} strides (got {len(strides)})"
        )
    planes = []
    offset = 0
    for number, ((row_bytes, rows), stride) in enumerate(zip(shapes, strides, strict=True)):
        if stride < row_bytes:
            raise InvalidMessage(f"strides.{number}: at least {row_bytes} bytes, a row of {pixels} (got {stride})")
        planes.append(Plane(offset, row_bytes, rows, stride))
        offset += stride * rows
    if offset > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"strides: a picture of {offset} bytes; at most {MAX_PAYLOAD_BYTES} are allowed")
    return Layout(tuple(planes), offset)


def _shapes(pixels: Pixels, width: int, height: int) -> list[tuple[int, int]]:
    """Bytes a row and rows of each plane. Odd sizes round the chroma planes up: no pixel goes without chroma."""
    half_width, half_height = (width + 1) // 2, (height + 1) // 2
    if pixels == "yuv420p":
        return [(width, height), (half_width, half_height), (half_width, half_height)]
    if pixels == "nv12":
        return [(width, height), (2 * half_width, half_height)]
    return [(width * _PIXEL_BYTES[pixels], height)]
