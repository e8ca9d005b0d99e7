"""Pictures for whatever shows an image: a still as PNG, and an endless series of JPEGs (MJPEG)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import cv2
from aiohttp import web

from ...proto.errors import WarpaintError
from ..errors import DaemonGone, MediaError
from ..images import Image
from ..viewer import SeenImage
from .coding import JpegEncoder
from .hub import Hub
from .tiles import Stacker
from .words import Picture

# How long a still waits for the next frame, seconds: a film of a frame a second has one by then.
STILL_WITHIN_S = 5.0
# How often it is looked whether there is a session to follow, seconds.
LOOK_S = 0.5
# The name of a session that stands for the newest one.
LATEST = "latest"
BOUNDARY = "warpaint-frame"


async def still(hub: Hub, session: str, picture: Picture) -> tuple[int, bytes]:
    """The next frame of a session: its index, and the PNG. Raises MediaError if none comes in time."""
    async with (await hub.client()).watch(session, pictures=(picture,)) as viewer:
        try:
            async with asyncio.timeout(STILL_WITHIN_S):
                async for seen in viewer.seen():
                    image = _picture(seen)
                    if image is not None:
                        return seen.index, await asyncio.to_thread(_png, image)
        except TimeoutError:
            raise MediaError(f"no frame came in {STILL_WITHIN_S:g} s: does the session get any?") from None
    raise DaemonGone("the session has ended")


async def stream(
    response: web.StreamResponse, hub: Hub, session: str, picture: Picture, width: int, quality: int
) -> None:
    """Writes JPEGs until the session ends; of LATEST, until the reader leaves."""
    encoder, stacker = JpegEncoder(quality), Stacker()

    def coded(seen: SeenImage) -> bytes:
        return encoder.encode(stacker.stack(seen, (picture,), width).image, key=True).data

    async for seen in _frames(hub, session, picture):
        jpeg = await asyncio.to_thread(coded, seen)
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        await response.write(head.encode() + jpeg + b"\r\n")


async def _frames(hub: Hub, session: str, picture: Picture) -> AsyncIterator[SeenImage]:
    """The frames of a session; of LATEST, of one after the other, each until it ends."""
    while session == LATEST:
        with suppress(WarpaintError):  # it has ended, or the daemon has: the next one is followed
            newest = await hub.newest()
            if newest is not None:
                async for seen in _frames(hub, newest.id, picture):
                    yield seen
        await asyncio.sleep(LOOK_S)
    async with (await hub.client()).watch(session, pictures=(picture,)) as viewer:
        async for seen in viewer.seen():
            yield seen


def _picture(seen: SeenImage) -> Image | None:
    return seen.raw if seen.painted is None else seen.painted


def _png(image: Image) -> bytes:
    done, png = cv2.imencode(".png", image)
    if not done:
        raise MediaError("a picture cannot be coded as PNG")
    return png.tobytes()
