"""The control images that come with a frame, as pictures. See SPEC.md, "Control images"."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..engines.base import Picture
from ..proto.errors import Code, RefusedError
from ..proto.messages import Source
from ..proto.wire import Payload

CHANNELS = 3  # bgr24, tight


def control_images(kinds: Sequence[str], payloads: Sequence[Payload], source: Source) -> Iterator[tuple[str, Picture]]:
    """The kinds with their images, each BGR u8 [H, W, 3] of the source's stored size: the payload itself, read-only.

    Raises RefusedError: BAD_PAYLOAD for one of another length.
    """
    for kind, payload in zip(kinds, payloads, strict=True):
        yield kind, _image(kind, payload, source)


def _image(kind: str, payload: Payload, source: Source) -> Picture:
    expected = source.width * source.height * CHANNELS
    if len(payload) != expected:
        size = f"{source.width}x{source.height} as bgr24 has {expected}"
        raise RefusedError(Code.BAD_PAYLOAD, f"the control image {kind!r} has {len(payload)} bytes; {size}")
    return np.frombuffer(payload, np.uint8).reshape(source.height, source.width, CHANNELS)
