"""A webcam or a film of the browser's as a live session."""

import asyncio
import struct
from contextlib import AsyncExitStack

from aiohttp import WSMsgType, web
from pydantic import ValidationError

from ...proto.brief import explain
from ...proto.errors import Code, InvalidMessage, WarpaintError
from ...proto.limits import MAX_INTEGER
from ...proto.messages import Result, Source
from ..aio import AsyncClient, AsyncSession
from .hub import Hub
from .words import OF_SOURCE, CloseSource, OpenSource, Unreadable, heard

# A frame is its time, a float64 of milliseconds, little endian, and its picture.
_TIME = struct.Struct("<d")
# Of a picture, bytes: far more than a good JPEG of the largest picture that a browser sends.
MAX_FRAME_BYTES = 16 * 2**20
LARGEST_TIME_MS = MAX_INTEGER
# How long a frame may wait to be begun, milliseconds: whoever tries a webcam on a slow machine wants to see it late,
# rather than to be refused. It holds nothing up, as a newer frame takes the place of one that waits.
LATEST_MS = 1_000.0
# How long a browser may take to say what it sends, seconds.
PATIENCE_S = 10.0


async def serve(socket: web.WebSocketResponse, hub: Hub) -> None:
    """Opens a session for what a browser sends. Raises Unreadable for what it may not say; all else is told to it."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            said = heard(OF_SOURCE, (await socket.receive()).data)
    except TimeoutError:
        raise Unreadable("nothing was said of what comes") from None
    if not isinstance(said, OpenSource):
        raise Unreadable("the first message says what comes")
    async with AsyncExitStack() as stack:
        try:
            session = await stack.enter_async_context(_session(await hub.client(), said))
        except WarpaintError as error:
            await socket.send_json({"type": "refused", "message": str(error)})
            return
        opened = session.opened
        if opened is not None:
            await socket.send_json({"type": "opened", "id": opened.id, "credit": opened.credit})
        try:
            await _passed_on(socket, session)
        except Unreadable:
            raise
        except WarpaintError as error:
            await socket.send_json({"type": "closed", "message": str(error)})


def _session(client: AsyncClient, said: OpenSource) -> AsyncSession:
    """The session for what comes. Raises InvalidMessage.

    What is painted is seen by watching it: of its own results nothing is looked at.
    """
    try:
        source = Source(width=said.width, height=said.height, encoding=said.codec, rate=said.rate)
    except ValidationError as error:
        raise InvalidMessage(explain(error, "source")) from None
    return client.session(
        source=source,
        result=Result(pixels="gray"),
        painter=said.painter,
        flow=said.flow,
        pacing="live",
        max_delay_ms=LATEST_MS,
        name=said.name,
        **said.brief,
    )


async def _passed_on(socket: web.WebSocketResponse, session: AsyncSession) -> None:
    """Passes frames on until the browser closes, or leaves. Raises Unreadable, and DaemonGone."""
    pushed = asyncio.Event()
    answering = asyncio.create_task(_answers(socket, session, pushed))
    last = -1
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                if not isinstance(heard(OF_SOURCE, message.data), CloseSource):
                    raise Unreadable("the source is open already")
                return
            last = max(last + 1, _time_of(message.data))
            await session.push(message.data[_TIME.size :], last)
            pushed.set()
            if answering.done():
                answering.result()
    finally:
        answering.cancel()
        await asyncio.wait([answering])


async def _answers(socket: web.WebSocketResponse, session: AsyncSession, pushed: asyncio.Event) -> None:
    """Tells how many frames were answered, and when the next one must be a keyframe."""
    while True:
        await pushed.wait()
        pushed.clear()
        async for _ in session.results():
            await _tell(socket, session)
        await _tell(socket, session)


async def _tell(socket: web.WebSocketResponse, session: AsyncSession) -> None:
    pushed = session.pushed
    await socket.send_json({"type": "answered", "count": pushed - session.unanswered})
    wants_keyframe = any(each.reason is Code.BAD_FRAME for each in session.drops)
    session.drops.clear()
    if wants_keyframe:
        await socket.send_json({"type": "keyframe"})


def _time_of(data: bytes) -> int:
    """When a frame is shown, milliseconds. Raises Unreadable."""
    if len(data) <= _TIME.size:
        raise Unreadable("a frame is its time, 8 bytes, and its picture")
    [time_ms] = _TIME.unpack_from(data)
    if not 0 <= time_ms <= LARGEST_TIME_MS:
        raise Unreadable("a time is a number of milliseconds, from 0")
    return round(time_ms)
