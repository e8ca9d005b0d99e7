"""One who watches a session in the browser: frames go out coded, knobs come in."""

import asyncio
import json
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import WSMsgType, web
from pydantic import ValidationError

from ...proto.brief import Brief, explain
from ...proto.errors import InvalidMessage, RefusedError, WarpaintError
from ...proto.messages import MapName, ViewName, Watching
from ..aio import AsyncViewer
from ..viewer import SeenImage
from .coding import Coded, Encoder, encoder_for
from .hub import Hub
from .tiles import Stack, Stacker
from .words import OF_VIEW, Ack, Asked, Hold, Keyframe, Unreadable, Update, Want, heard

# Frames on their way to the browser that it has not drawn: one being decoded, one on the line, one to spare. More
# would be seen later, no sooner.
ON_THE_WAY = 3
# How long a browser may take to say what it wants to see, seconds.
PATIENCE_S = 10.0


class View:
    """Frames of one session for one browser. `run` returns when the session ends, or the browser has left."""

    def __init__(self, socket: web.WebSocketResponse, viewer: AsyncViewer, want: Want) -> None:
        self._socket = socket
        self._viewer = viewer
        self._want = want
        self._stacker = Stacker()
        self._encoder: Encoder | None = None
        self._shape: tuple[object, ...] = ()  # of what the encoder codes
        self._key = True
        self._sent = self._acked = 0
        self._room = asyncio.Event()
        self._room.set()
        self._told = -1
        self._unshown: dict[int, int] = {}  # requests of the browser's, and what they are to the daemon

    async def run(self) -> None:
        """Shows and hears. Raises Unreadable, and DaemonGone."""
        tasks = [asyncio.create_task(self._show()), asyncio.create_task(self._hear())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _show(self) -> None:
        """Sends the newest frame whenever there is room for one, until the session ends."""
        await self._tell()
        while True:
            await self._room.wait()
            seen = await self._newest()
            if seen is None:
                return
            want = self._want
            stack, coded = await asyncio.to_thread(self._coded, seen, want)
            await self._tell()
            self._sent += 1
            await self._socket.send_bytes(_frame_message(self._sent, seen, stack, coded, want.codec))
            if self._sent - self._acked >= ON_THE_WAY:
                self._room.clear()
            await self._tell_shown()

    async def _newest(self) -> SeenImage | None:
        """The newest frame that has come; waits for one. None: the session has ended."""
        newest = None
        async for seen in self._viewer.seen():
            newest = seen
            break
        async for seen in self._viewer.seen(wait=False):
            newest = seen
        return newest

    def _coded(self, seen: SeenImage, want: Want) -> tuple[Stack, Coded]:
        """The frame as it is sent. In a thread: nothing else of this object is used meanwhile by others."""
        stack = self._stacker.stack(seen, want.tiles, want.max_width)
        height, width = stack.image.shape[:2]
        shape = (want.codec, width, height, tuple(each.name for each in stack.tiles))
        if self._encoder is None or shape != self._shape:
            self._encoder, self._shape, self._key = encoder_for(want.codec, (width, height)), shape, True
        key, self._key = self._key, False
        return stack, self._encoder.encode(stack.image, key=key)

    async def _tell(self) -> None:
        """Says what is watched, when that has changed, and what went wrong."""
        if self._told != self._viewer.changes:
            self._told = self._viewer.changes
            await self._socket.send_json(_watching_words(self._viewer.watching))
        for notice in self._viewer.notices():
            await self._socket.send_json({"type": "notice", "code": notice.code, "message": notice.message})

    async def _tell_shown(self) -> None:
        for request, asked in list(self._unshown.items()):
            index = self._viewer.shown_at(asked)
            if index is not None:
                del self._unshown[request]
                await self._socket.send_json({"type": "shown", "request": request, "index": index})

    async def _hear(self) -> None:
        """Does what the browser asks for, one thing after the other: who floods waits for the answers."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                raise Unreadable("this socket takes texts alone")
            said = heard(OF_VIEW, message.data)
            if isinstance(said, Ack):
                self._acked = max(self._acked, min(said.seq, self._sent))
                self._room.set()
            elif isinstance(said, Keyframe):
                self._key = True
            elif isinstance(said, Want):
                self._want = said
                self._viewer.want(**wishes(said))
            else:
                await self._ask(said)

    async def _ask(self, said: Asked) -> None:
        try:
            if isinstance(said, Update):
                self._unshown[said.request] = await self._viewer.update(**said.changes)
            elif isinstance(said, Hold):
                await self._viewer.hold(said.on)
            else:
                self._unshown[said.request] = await self._viewer.rekey()
        except (RefusedError, InvalidMessage, ValidationError) as error:
            text = explain(error, "brief") if isinstance(error, ValidationError) else str(error)
            await self._socket.send_json({"type": "refused", "request": said.request, "message": text})
        else:
            await self._socket.send_json({"type": "updated", "request": said.request})


async def serve(socket: web.WebSocketResponse, hub: Hub, session: str) -> None:
    """Shows a session to a browser. Raises Unreadable for what the browser may not say; all else is told to it."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            said = heard(OF_VIEW, (await socket.receive()).data)
    except TimeoutError:
        raise Unreadable("nothing was said of what is to be seen") from None
    if not isinstance(said, Want):
        raise Unreadable("the first message says what is wanted")
    ended = "the session has ended"
    try:
        async with (await hub.client()).watch(session, **wishes(said)) as viewer:
            await View(socket, viewer, said).run()
    except Unreadable:
        raise
    except WarpaintError as error:
        ended = str(error)
    if not socket.closed:
        await socket.send_json({"type": "closed", "message": ended})


def wishes(want: Want) -> dict[str, Any]:
    """What the daemon is asked for."""
    pictures: tuple[ViewName, ...] = want.pictures
    maps: tuple[MapName, ...] = want.maps
    if "holes" in maps and "raw" not in pictures:
        pictures = ("raw", *pictures)  # holes are drawn on it
    return {"pictures": pictures, "maps": maps}


def _watching_words(watching: Watching) -> dict[str, Any]:
    plain = watching.model_dump(mode="json", exclude={"v", "session", "brief"})
    brief: Brief = watching.brief
    return plain | {"rate": watching.rate, "brief": brief.model_dump(mode="json")}


def _frame_message(seq: int, seen: SeenImage, stack: Stack, coded: Coded, codec: str) -> bytes:
    """The length of the header, the header, the picture."""
    info = seen.info
    height, width = stack.image.shape[:2]
    header: Mapping[str, Any] = {
        "seq": seq,
        "index": seen.index,
        "pts": float(seen.pts),
        "epoch": info.epoch,
        "provenance": info.provenance,
        "keyframe": info.keyframe,
        "holes": info.holes,
        "confidence": info.confidence,
        "painted_pixels": info.painted_pixels,
        "delay_ms": info.delay_ms,
        "stages_ms": info.stages_ms,
        "codec": codec,
        "config": coded.config,
        "coded_keyframe": coded.keyframe,
        "width": width,
        "height": height,
        "tiles": [asdict(each) for each in stack.tiles],
        "sent_ms": time.time() * 1e3,
    }
    packed = json.dumps(header).encode()
    return struct.pack("<I", len(packed)) + packed + coded.data
