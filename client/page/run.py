"""Serves the page until it is told to stop."""

import asyncio
import secrets
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from ..bridge.urls import HIGHEST_PORT, is_loopback
from ..errors import MediaError
from ..film.media import reason
from .app import Page
from .guard import TOKEN, Guard
from .hub import Hub

# A token that is made here, bytes of randomness.
TOKEN_BYTES = 16
# One that somebody else made has at least so many characters.
LEAST_TOKEN = 16
# How long what is open may take to end, seconds.
ENDED_WITHIN_S = 2.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How the page is served. daemon: its address; None: the user's own. token_file: None: one is made if needed."""

    host: str = "127.0.0.1"
    port: int = 7700
    expose: bool = False
    names: tuple[str, ...] = ()
    token_file: Path | None = None
    daemon: str | None = None

    def checked(self) -> "Options":
        """These. Raises MediaError for what must not be."""
        if not is_loopback(self.host) and not self.expose:
            raise MediaError(
                f"{self.host}: others than this machine could reach the page; use 127.0.0.1, or say --expose if that "
                "is meant: then it asks for a token"
            )
        if not 0 <= self.port <= HIGHEST_PORT:
            raise MediaError(f"a port is a number from 0 to {HIGHEST_PORT}, and not {self.port}")
        self.token()
        return self

    def token(self) -> str | None:
        """What is asked of who comes; None: nothing, as only this machine can. Raises MediaError."""
        if self.token_file is not None:
            return _read_token(self.token_file)
        return None if is_loopback(self.host) else secrets.token_urlsafe(TOKEN_BYTES)


def run(options: Options, *, say: Say, opened: Callable[[str], object] | None) -> None:
    """Serves until SIGTERM or Ctrl-C. opened: told the page's address when it can be visited. Raises MediaError."""
    asyncio.run(_serve(options.checked(), say, opened))


async def _serve(options: Options, say: Say, opened: Callable[[str], object] | None) -> None:
    listener = _listener(options)
    token = options.token()
    names = frozenset(each.lower() for each in options.names)
    hub = Hub(options.daemon)
    runner = web.AppRunner(Page(hub, Guard(names, token)).app, access_log=None, shutdown_timeout=ENDED_WITHIN_S)
    stopping = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        shown = f"[{options.host}]" if ":" in options.host else options.host
        url = f"http://{shown}:{listener.getsockname()[1]}/{'' if token is None else f'?{TOKEN}={token}'}"
        say(f"the page is at {url}")
        if opened is not None:
            opened(url)
        await stopping.wait()
    finally:
        await runner.cleanup()
        await hub.close()


def _listener(options: Options) -> socket.socket:
    """The socket that is listened on. Raises MediaError, which says why not."""
    where = f"{options.host}:{options.port}"
    try:
        family, *_, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise MediaError(f"{where}: {reason(error)}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen()
    except OSError as error:
        made.close()
        raise MediaError(f"{where} cannot be listened to: {reason(error)}; another port: --port") from None
    return made


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise MediaError(f"the token cannot be read: {error}") from None
    if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
        raise MediaError(f"{path}: a token is at least {LEAST_TOKEN} letters, digits and signs, without blanks")
    return token
