"""`warpaint page`: its flags, and what they mean."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ..flags import DAEMON_HELP
from ..terminal import say

if TYPE_CHECKING:
    from .run import Options


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; `command` serves the page, `check` looks whether they are right."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at [127.0.0.1]")
    parser.add_argument("--port", type=int, default=7700, help="and the port; 0: any that is free [7700]")
    parser.add_argument(
        "--expose",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="listen where others can reach it; they need a token",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name that the page is reached by, besides localhost and addresses",
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the token to ask for [one is made]")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument("--daemon", metavar="ADDRESS", help=DAEMON_HELP)
    parser.set_defaults(command=_page, check=_page_of)


def _page(arguments: argparse.Namespace) -> None:
    """Serves the page until SIGTERM or Ctrl-C, which are its usual end."""
    import webbrowser

    from ..local_daemon import address_of
    from .run import run

    options = _page_of(arguments)
    with address_of(arguments.daemon, say=say) as daemon:
        opened = webbrowser.open if arguments.open else None
        run(dataclasses.replace(options, daemon=daemon), say=say, opened=opened)


def _page_of(arguments: argparse.Namespace) -> "Options":
    """How the page is to be served. Raises MediaError for what must not be."""
    from .run import Options

    return Options(
        host=arguments.host,
        port=arguments.port,
        expose=arguments.expose,
        names=tuple(arguments.allow_host),
        token_file=arguments.token_file,
    ).checked()
