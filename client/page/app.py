"""The page's web server: what is where, who may have it, and what comes with every answer."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

from aiohttp import WSCloseCode, web

from ...proto.errors import RefusedError, WarpaintError
from ...proto.messages import Status
from ..errors import DaemonGone, MediaError
from . import pictures, source, view
from .controls import controls
from .guard import TOKEN, Guard, Request
from .hub import Hub
from .words import MAX_TEXT_BYTES, WIDEST, Picture, Unreadable

log = logging.getLogger(__name__)

STATIC, FILES = Path(__file__).parent / "static", "/static/"
# Browsers that watch, and that send, at once: each that watches has an encoder, which takes half a core at 1280x720.
MAX_VIEWS = 16
MAX_SOURCES = 4
MAX_STREAMS = 8  # of MJPEG
# A browser that is gone without a word is missed after so many seconds.
HEARTBEAT_S = 20.0

# Our own scripts and pictures alone; nobody shows the page inside another one.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), fullscreen=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Server": "warpaint",
    "X-Content-Type-Options": "nosniff",
}
NO_STORE = {"Cache-Control": "no-store"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """The handlers. `app` is to be served; `close` ends what is open."""

    def __init__(self, hub: Hub, guard: Guard) -> None:
        self._hub = hub
        self._guard = guard
        self._open: set[web.WebSocketResponse] = set()
        self._counts = {"view": 0, "source": 0, "stream": 0}
        self.app = web.Application(middlewares=[self._guarded])
        self.app.on_response_prepare.append(_with_headers)
        self.app.on_shutdown.append(self._on_shutdown)
        self.app.router.add_get("/", self._index)
        self.app.router.add_get("/api/status", self._status)
        self.app.router.add_get("/api/controls", self._controls)
        self.app.router.add_get("/api/still", self._still)
        self.app.router.add_get("/api/view", self._view)
        self.app.router.add_get("/api/source", self._source)
        self.app.router.add_get("/mjpeg/{session}", self._mjpeg)
        self.app.router.add_static(FILES, STATIC)

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = self._guard.refusal(_facts(request))
        if refusal is not None:
            status, why = refusal
            log.info("refused %s of %s: %s", request.path, request.remote, why)
            return web.json_response({"error": why}, status=status, headers=NO_STORE)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return web.json_response({"error": error.reason}, status=error.status, headers=NO_STORE)
        except MediaError as error:
            return web.json_response({"error": str(error)}, status=504, headers=NO_STORE)
        except RefusedError as error:
            return web.json_response({"error": str(error)}, status=404, headers=NO_STORE)
        except DaemonGone as error:
            return web.json_response({"error": str(error)}, status=503, headers=NO_STORE)

    async def _index(self, request: web.Request) -> web.StreamResponse:
        if TOKEN in request.query:  # it is not to stay in the address, where somebody might see or share it
            response: web.StreamResponse = web.HTTPSeeOther(request.rel_url.without_query_params(TOKEN))
            response.set_cookie(TOKEN, request.query[TOKEN], httponly=True, samesite="Strict")
            return response
        return web.FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    async def _status(self, request: web.Request) -> web.Response:
        try:
            words = _status_words(await self._hub.status())
        except WarpaintError as error:
            words = {"server": None, "problem": str(error), "engines": [], "sessions": []}
        return web.json_response(words, headers=NO_STORE)

    async def _controls(self, request: web.Request) -> web.Response:
        return web.json_response(controls(), headers=NO_STORE)

    async def _still(self, request: web.Request) -> web.Response:
        picture = _picture(request)
        index, png = await pictures.still(self._hub, request.query.get("session", ""), picture)
        name = f'attachment; filename="{picture}-{index:06d}.png"'
        return web.Response(body=png, content_type="image/png", headers=NO_STORE | {"Content-Disposition": name})

    async def _mjpeg(self, request: web.Request) -> web.StreamResponse:
        picture = _picture(request)
        width = _number(request, "width", WIDEST, least=16, most=WIDEST)
        quality = _number(request, "quality", 85, least=1, most=100)
        self._enter("stream", MAX_STREAMS)
        try:
            kind = f"multipart/x-mixed-replace; boundary={pictures.BOUNDARY}"
            response = web.StreamResponse(headers=NO_STORE | {"Content-Type": kind})
            await response.prepare(request)
            try:
                await pictures.stream(response, self._hub, request.match_info["session"], picture, width, quality)
            except (WarpaintError, ConnectionError) as error:
                log.info("a stream of pictures has ended: %s", error)
            return response
        finally:
            self._counts["stream"] -= 1

    async def _view(self, request: web.Request) -> web.StreamResponse:
        return await self._socket(
            request, "view", MAX_VIEWS, MAX_TEXT_BYTES, lambda socket: self._watch(socket, request)
        )

    async def _watch(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        await view.serve(socket, self._hub, request.query.get("session", ""))

    async def _source(self, request: web.Request) -> web.StreamResponse:
        largest = source.MAX_FRAME_BYTES
        return await self._socket(
            request, "source", MAX_SOURCES, largest, lambda socket: source.serve(socket, self._hub)
        )

    async def _socket(
        self,
        request: web.Request,
        kind: str,
        most: int,
        largest: int,
        serve: Callable[[web.WebSocketResponse], Awaitable[None]],
    ) -> web.StreamResponse:
        """A WebSocket while it is served. What the browser may not say closes it, with a sentence."""
        self._enter(kind, most)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=largest, compress=False)
        try:
            await socket.prepare(request)
            self._open.add(socket)
            await serve(socket)
        except Unreadable as error:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=_reason(error))
        except ConnectionError:
            pass  # the browser has left while something was sent to it
        finally:
            self._counts[kind] -= 1
            self._open.discard(socket)
            if socket.prepared:
                await socket.close()
        return socket

    def _enter(self, kind: str, most: int) -> None:
        """Counts one more. Raises HTTPServiceUnavailable if there are as many as may be."""
        if self._counts[kind] >= most:
            raise web.HTTPServiceUnavailable(reason=f"{most} are open already, which is as many as may be")
        self._counts[kind] += 1

    async def _on_shutdown(self, _: web.Application) -> None:
        for socket in list(self._open):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the page is stopping")


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    if request.path.startswith(FILES):
        response.headers["Cache-Control"] = "no-cache"  # asked for again, and mostly answered by 304


def _facts(request: web.Request) -> Request:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    offered = (
        *([request.cookies[TOKEN]] if TOKEN in request.cookies else []),
        *([request.query[TOKEN]] if TOKEN in request.query else []),
        *([bearer] if scheme.lower() == "bearer" else []),
    )
    return Request({name.lower(): value for name, value in request.headers.items()}, offered)


def _picture(request: web.Request) -> Picture:
    name = request.query.get("picture", "painted")
    for each in get_args(Picture):
        if name == each:
            picture: Picture = each
            return picture
    raise web.HTTPBadRequest(reason="picture is raw or painted")


def _number(request: web.Request, name: str, default: int, *, least: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise web.HTTPBadRequest(reason=f"{name} is a number from {least} to {most}")
    return int(text)


def _reason(error: Exception) -> bytes:
    """Why a WebSocket is closed: at most 123 bytes, RFC 6455."""
    return str(error).encode()[:123].decode(errors="ignore").encode()


def _status_words(status: Status) -> dict[str, Any]:
    return {
        "server": status.server,
        "problem": None,
        "engines": [each.model_dump(mode="json") for each in status.engines],
        "sessions": [each.model_dump(mode="json", exclude={"session"}) for each in status.sessions],
    }
