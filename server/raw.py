"""The codecs that remember nothing: raw pictures, and JPEG, one picture a payload."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ..engines.base import Picture
from ..proto.errors import Code, RefusedError
from ..proto.messages import Pixels, Result, Source
from ..proto.pixels import Layout, Plane, layout
from .colour import Space, bgr_to_gray, bgr_to_yuv, space_of, yuv_to_bgr

Bytes = NDArray[np.uint8]  # of any shape
Payload = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Encoded:
    """One payload to send. `data` may be the very array that was encoded: leave that alone until it is sent."""

    tag: int
    data: bytes | Bytes
    keyframe: bool  # can be decoded without an earlier one


class RawDecoder:
    """Pictures from raw payloads of one layout. The alpha of bgra is dropped."""

    def __init__(self, source: Source) -> None:
        """Raises InvalidMessage or TooLarge for strides that do not fit the picture."""
        self._source = source
        self._space = space_of(source.colour, source.height)
        self._layout = layout(source.pixels, source.width, source.height, source.strides)

    def decode(self, payload: Payload, tag: int) -> list[tuple[int, Picture]]:
        """The tag and its picture. Of tight bgr24 the picture is the payload itself, read-only."""
        received = np.frombuffer(payload, np.uint8)
        _check_length(received, self._layout, self._source)
        rows = [_rows(received, plane) for plane in self._layout.planes]
        return [(tag, _READ[self._source.pixels](rows, self._source.width, self._space))]

    def flush(self) -> list[tuple[int, Picture]]:
        """Nothing: no picture is held back."""
        return []

    def close(self) -> None:
        """Does nothing: nothing is held."""


class RawEncoder:
    """Raw payloads with tight rows. The alpha of bgra is 255 everywhere."""

    def __init__(self, result: Result, source: Source) -> None:
        self._source = source
        self._write = _WRITE[result.pixels]
        self._space = space_of(source.colour, source.height)

    def encode(self, bgr: Picture, tag: int, key: bool = False) -> list[Encoded]:
        """One payload. As bgr24 a C-contiguous picture is its own payload, and nothing is copied."""
        check_picture(bgr, self._source)
        return [Encoded(tag, self._write(bgr, self._space), keyframe=True)]

    def flush(self) -> list[Encoded]:
        """Nothing: no payload is held back."""
        return []

    def close(self) -> None:
        """Does nothing: nothing is held."""


class JpegDecoder:
    """Pictures from JPEG, as `jpeg` or as `mjpeg`: BT.601 in full range, whatever the session's colour, as JFIF says.

    Damage that a decoder could paper over, with gray below the break, is refused too: it would be painted.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def decode(self, payload: Payload, tag: int) -> list[tuple[int, Picture]]:
        """The tag and its picture. Raises RefusedError: BAD_FRAME for no JPEG, or one of another size."""
        try:
            # The size comes first: a small file may announce a picture that fills the memory.
            height, width, _, _ = simplejpeg.decode_jpeg_header(payload)
            check_size(width, height, self._source)
            return [(tag, np.asarray(simplejpeg.decode_jpeg(payload, "BGR"), np.uint8))]
        except ValueError as error:
            raise RefusedError(Code.BAD_FRAME, f"frame {tag} is no JPEG that can be decoded: {error}") from None

    def flush(self) -> list[tuple[int, Picture]]:
        """Nothing: no picture is held back."""
        return []

    def close(self) -> None:
        """Does nothing: nothing is held."""


class JpegEncoder:
    """JPEG with chroma at half size, at the quality that the session asked for."""

    def __init__(self, result: Result, source: Source) -> None:
        self._source = source
        self._quality = result.quality

    def encode(self, bgr: Picture, tag: int, key: bool = False) -> list[Encoded]:
        """One payload. Raises RefusedError: ENCODER_FAILED."""
        check_picture(bgr, self._source)
        try:
            data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(bgr), self._quality, "BGR", "420")
        except ValueError as error:
            raise RefusedError(Code.ENCODER_FAILED, f"frame {tag} could not be encoded as JPEG: {error}") from None
        return [Encoded(tag, data, keyframe=True)]

    def flush(self) -> list[Encoded]:
        """Nothing: no payload is held back."""
        return []

    def close(self) -> None:
        """Does nothing: nothing is held."""


def check_size(width: int, height: int, source: Source) -> None:
    """Raises RefusedError, BAD_FRAME, if a decoded picture is not of the size that `open` announced."""
    if (width, height) != (source.width, source.height):
        raise RefusedError(
            Code.BAD_FRAME,
            f"the picture is {width}x{height}; the session was opened for {source.width}x{source.height}",
        )


def check_picture(bgr: Picture, source: Source) -> None:
    """Raises RefusedError, ENCODER_FAILED, if a picture to encode is not [H, W, 3] uint8 of the source's size."""
    wanted = (source.height, source.width, 3)
    if bgr.shape != wanted or bgr.dtype != np.uint8:
        raise RefusedError(
            Code.ENCODER_FAILED, f"the encoder takes uint8 {list(wanted)} (got {bgr.dtype} {list(bgr.shape)})"
        )


def _check_length(received: Bytes, wanted: Layout, source: Source) -> None:
    if received.size != wanted.total_bytes:
        rows = "" if source.strides is None else f" with strides {list(source.strides)}"
        raise RefusedError(
            Code.BAD_PAYLOAD,
            f"a {source.pixels} picture of {source.width}x{source.height}{rows} is {wanted.total_bytes} bytes; "
            f"the payload has {received.size}",
        )


def _rows(payload: Bytes, plane: Plane) -> Bytes:
    """The rows of one plane [rows, row_bytes]: a read-only view of the payload."""
    rows = payload[plane.offset : plane.offset + plane.rows * plane.stride].reshape(plane.rows, plane.stride)
    rows.flags.writeable = False
    return rows[:, : plane.row_bytes]


def _pixels(rows: Bytes, width: int) -> Bytes:
    """Interleaved samples [H, W, C] of one plane. Rows that are not tight are copied together."""
    return np.ascontiguousarray(rows).reshape(rows.shape[0], width, -1)


def _convert(pixels: Bytes, code: int) -> Bytes:
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _read_bgr24(rows: list[Bytes], width: int, space: Space) -> Picture:
    return _pixels(rows[0], width)


def _read_rgb24(rows: list[Bytes], width: int, space: Space) -> Picture:
    return _convert(_pixels(rows[0], width), cv2.COLOR_RGB2BGR)


def _read_bgra(rows: list[Bytes], width: int, space: Space) -> Picture:
    return _convert(_pixels(rows[0], width), cv2.COLOR_BGRA2BGR)


def _read_gray(rows: list[Bytes], width: int, space: Space) -> Picture:
    return _convert(rows[0], cv2.COLOR_GRAY2BGR)


def _read_yuv420p(rows: list[Bytes], width: int, space: Space) -> Picture:
    y, u, v = rows
    return yuv_to_bgr(y, u, v, space)


def _read_nv12(rows: list[Bytes], width: int, space: Space) -> Picture:
    y, chroma = rows
    return yuv_to_bgr(y, chroma[:, 0::2].copy(), chroma[:, 1::2].copy(), space)


def _write_bgr24(bgr: Picture, space: Space) -> Bytes:
    return np.ascontiguousarray(bgr)


def _write_rgb24(bgr: Picture, space: Space) -> Bytes:
    return _convert(bgr, cv2.COLOR_BGR2RGB)


def _write_bgra(bgr: Picture, space: Space) -> Bytes:
    return _convert(bgr, cv2.COLOR_BGR2BGRA)


def _write_gray(bgr: Picture, space: Space) -> Bytes:
    return bgr_to_gray(bgr, space)


def _write_yuv420p(bgr: Picture, space: Space) -> Bytes:
    return np.concatenate([plane.ravel() for plane in bgr_to_yuv(bgr, space)])


def _write_nv12(bgr: Picture, space: Space) -> Bytes:
    y, u, v = bgr_to_yuv(bgr, space)
    return np.concatenate([y.ravel(), np.stack([u, v], axis=-1).ravel()])


_READ: dict[Pixels, Callable[[list[Bytes], int, Space], Picture]] = {
    "bgr24": _read_bgr24,
    "rgb24": _read_rgb24,
    "bgra": _read_bgra,
    "gray": _read_gray,
    "yuv420p": _read_yuv420p,
    "nv12": _read_nv12,
}
_WRITE: dict[Pixels, Callable[[Picture, Space], Bytes]] = {
    "bgr24": _write_bgr24,
    "rgb24": _write_rgb24,
    "bgra": _write_bgra,
    "gray": _write_gray,
    "yuv420p": _write_yuv420p,
    "nv12": _write_nv12,
}
