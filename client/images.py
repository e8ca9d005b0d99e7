"""Frames as arrays: what is sent of them, and what is made of what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..proto.limits import MAX_CONTROLS, MAX_NAME
from ..proto.messages import Open, Painted, Source
from .conversation import PaintedFrame

Image = NDArray[np.uint8]
Frame = Image | bytes | bytearray | memoryview
Controls = Mapping[str, Image]  # control images, by kind

NO_CONTROLS: Controls = MappingProxyType({})

# Frames as somebody has painted them, by the number of the frame. They go along as control images of this kind.
Stills = Mapping[int, Image]
STILL = "still"
NO_STILLS: Stills = MappingProxyType({})

# Formats whose pictures have a shape: [H, W] and this.
CHANNELS: dict[str, tuple[int, ...]] = {"bgr24": (3,), "rgb24": (3,), "bgra": (4,), "gray": ()}


@dataclass(frozen=True, slots=True)
class PaintedImage:
    """A painted frame.

    image: the picture in the session's result format: [H, W, 3] uint8 for bgr24 and rgb24, [H, W, 4] for bgra,
    [H, W] for gray; for other formats and codecs the payload, [n] uint8. pts: seconds. maps: by name, on the
    working canvas. info: provenance, holes, times and all else that the daemon says of the frame.
    """

    image: Image
    index: int
    pts: Fraction
    maps: dict[str, NDArray[Any]]
    info: Painted


def painted_image(result: PaintedFrame, opening: Open) -> PaintedImage:
    """The arrays of a painted frame of a session that was opened so; views on what was received."""
    message = result.message
    arrays: dict[str, NDArray[Any]] = {
        part.name: np.frombuffer(payload, part.dtype or "uint8").reshape(part.shape or (-1,))
        for part, payload in zip(message.parts, result.payloads, strict=True)
    }
    image = _shaped(arrays.pop("picture"), opening)
    pts = message.pts * Fraction(*opening.source.time_base)
    return PaintedImage(image, message.index, pts, arrays, message)


def _shaped(flat: Image, opening: Open) -> Image:
    """A raw picture as an array of rows, where its format has such a shape."""
    if opening.result.encoding != "raw":
        return flat
    width, height = opening.source.width, opening.source.height
    channels = CHANNELS.get(opening.result.pixels)
    return flat if channels is None else flat.reshape(height, width, *channels)


def payload_of(frame: Any, source: Source) -> Any:
    """The bytes of a frame. Raises ValueError for an array that is not what the source says, or for no bytes at all."""
    if isinstance(frame, bytes | bytearray | memoryview):
        return frame
    channels = CHANNELS.get(source.pixels) if source.encoding == "raw" and source.strides is None else None
    shape = None if channels is None else (source.height, source.width, *channels)
    if (
        not isinstance(frame, np.ndarray)
        or frame.dtype != np.uint8
        or (shape and frame.ndim > 1 and frame.shape != shape)
    ):
        got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        kind = f"{source.width}x{source.height} {source.pixels}" if source.encoding == "raw" else source.encoding
        raise ValueError(f"a frame must be uint8{f' {shape}' if shape else ''}, as the session is {kind} (got {got})")
    return np.ascontiguousarray(frame).reshape(-1)


def still_of(stills: Stills, number: int) -> Controls:
    """The still of the frame of this number, to go along with it; nothing, if it has none."""
    still = stills.get(number)
    return NO_CONTROLS if still is None else {STILL: still}


def control_payloads(controls: Mapping[Any, Any], source: Source) -> dict[str, Any]:
    """The payloads of control images, by kind: bgr24 of the source's stored size. Raises ValueError for others."""
    if len(controls) > MAX_CONTROLS:
        raise ValueError(f"a frame has at most {MAX_CONTROLS} control images (got {len(controls)})")
    for kind in controls:
        if not isinstance(kind, str) or not 0 < len(kind) <= MAX_NAME:
            raise ValueError(f"the kind of a control image is a text of 1 to {MAX_NAME} characters (got {kind!r:.60})")
    return {kind: _control_payload(kind, image, source) for kind, image in controls.items()}


def _control_payload(kind: str, image: Any, source: Source) -> Any:
    size = source.height, source.width
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape not in (size, (*size, 3)):
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        shapes = f"{(*size, 3)}, BGR, or {size}, gray"
        raise ValueError(f"the control image {kind!r} must be uint8 {shapes}, as the frame's size is (got {got})")
    coloured = image if image.ndim == 3 else np.broadcast_to(image[..., None], (*size, 3))
    return np.ascontiguousarray(coloured).reshape(-1)


def source_of(frame: Any) -> Source:
    """What a session is opened for whose first frame this is. Raises ValueError for what is no picture in BGR."""
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(f"a frame must be uint8 [H, W, 3], BGR (got {got}); for other formats give a source")
    height, width = frame.shape[:2]
    return Source(width=width, height=height)
