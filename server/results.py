"""What goes out for a painted frame: the message, the coded picture, and the maps that the client asked for."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..engines.base import Match
from ..engines.grid import scaled_flow
from ..proto.messages import MapName, Open, Painted, Part, Provenance
from .asks import Output
from .codecs import Encoded


def painted(opening: Open, output: Output, pts: int, encoded: Encoded) -> tuple[Painted, list[Any]]:
    """The message, without its times, and its payloads. pts: of the frame, in ticks."""
    arrays = map_arrays(output, opening.maps)
    maps = [
        Part.model_validate({"name": name, "dtype": each.dtype.name, "shape": each.shape})
        for name, each in arrays.items()
    ]
    sure = 0.0 if output.provenance is Provenance.HELD else 1.0
    confidence = sure if output.match is None else float(output.match.confidence.mean())
    message = Painted(
        session=opening.session,
        index=output.index,
        pts=pts,
        epoch=output.epoch,
        provenance=output.provenance,
        keyframe=output.keyframe,
        parts=(Part(name="picture"), *maps),
        coded_keyframe=encoded.keyframe,
        holes=np.count_nonzero(output.holes) / output.holes.size,
        painted_pixels=output.painted_pixels,
        confidence=min(1.0, max(0.0, confidence)),
    )
    return message, [encoded.data, *arrays.values()]


def map_arrays(output: Output, names: Sequence[MapName]) -> dict[MapName, NDArray[Any]]:
    """The maps that somebody asked for, in their order, on the working canvas: as SPEC.md has them, contiguous."""
    if not names:
        return {}
    match = output.match or Match.identity(output.hops.shape)
    h, w = output.holes.shape
    arrays: dict[MapName, NDArray[Any]] = {
        "flow": scaled_flow(match.flow, (w, h)),
        "confidence": _resized(match.confidence, (w, h), cv2.INTER_LINEAR),
        "hops": _resized(output.hops, (w, h), cv2.INTER_NEAREST),
        "holes": output.holes.view(np.uint8),
    }
    return {name: np.ascontiguousarray(arrays[name]) for name in names}


def _resized(array: NDArray[Any], size: tuple[int, int], interpolation: int) -> NDArray[Any]:
    """A map on the canvas (W, H), from the grid that flow is found on."""
    return array if array.shape[1::-1] == size else cv2.resize(array, size, interpolation=interpolation)
