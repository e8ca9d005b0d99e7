"""`warpaint bridge`: its flags, and what they mean."""

import argparse
import signal
import threading
from typing import TYPE_CHECKING

from rich.console import Console

from ..errors import MediaError
from ..flags import add_session_flags, brief_changes, rate_of, size_of
from ..terminal import say

if TYPE_CHECKING:
    from .pump import Bridge
    from .sources import Incoming


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; `command` bridges, `check` looks whether they are right."""
    from .parts import FORMS, IN_FORMS, RAW_PIXELS
    from .urls import IN_URLS, OUT_URLS

    parser.add_argument("source", metavar="IN", help=IN_URLS)
    parser.add_argument("target", metavar="OUT", nargs="?", help=OUT_URLS)
    parser.add_argument("--probe", action="store_true", help="say what comes in, and paint nothing")
    parser.add_argument("--in-format", choices=IN_FORMS, help="[looks itself; over zmq, udp and srt, mpegts]")
    parser.add_argument("--size", type=size_of, metavar="WxH", help="of rawvideo that comes in")
    parser.add_argument("--pixels", default="yuv420p", choices=RAW_PIXELS, help="of rawvideo that comes in [yuv420p]")
    parser.add_argument("--rate", type=rate_of, help="pictures a second that come in [not known]")
    parser.add_argument("--out-format", choices=FORMS, help="[mpegts; nut for paths and standard output]")
    parser.add_argument("--out-rate", type=rate_of, help="send so many pictures a second, evenly [as they come]")
    parser.add_argument(
        "--expose",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="listen where others can reach it; nobody is asked",
    )
    parser.add_argument(
        "--max-delay-ms", type=float, metavar="MS", help="how long a picture may wait to be begun [100]"
    )
    parser.add_argument("--crf", type=int, help="of h264 that goes out: lower is better and larger [18]")
    parser.add_argument(
        "--linger-s",
        type=float,
        metavar="SECONDS",
        help="how long the daemon waits for a bridge that is gone [its own]",
    )
    parser.add_argument(
        "--ffmpeg", metavar="PATH", help="the program that speaks srt, v4l2 and rtmp out for it [on the PATH]"
    )
    add_session_flags(parser)
    parser.set_defaults(command=_bridge, check=_bridge_of)


def _bridge(arguments: argparse.Namespace) -> None:
    """Bridges until SIGTERM or Ctrl-C, which are its usual end. A second one ends it at once."""
    from .probe import probe
    from .pump import run

    if arguments.probe:
        Console(highlight=False).print(probe(_incoming_of(arguments)), markup=False, soft_wrap=True)
        return
    bridge = _bridge_of(arguments)
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: _stop(stopping))
    tally = run(bridge, say=say, stopping=stopping)
    dropped = "".join(f"; dropped {count} {what}" for what, count in tally.dropped.items())
    sent = f"{tally.sent} were sent" + (f", {tally.repeated} of them again" if tally.repeated else "")
    say(f"the bridge has ended: {tally.received} pictures came, {sent}{dropped}")


def _bridge_of(arguments: argparse.Namespace) -> "Bridge":
    """What is to be bridged, and how. Raises WarpaintError for what cannot be, as far as that is known unopened."""
    from .pump import Bridge
    from .urls import output_url

    incoming = _incoming_of(arguments)
    if arguments.target is None:
        raise MediaError("a bridge leads from IN to OUT; without OUT there is only --probe")
    names = ("daemon", "painter", "flow", "max_pixels", "max_delay_ms", "crf", "linger_s", "out_rate")
    return Bridge(
        incoming=incoming,
        target=output_url(arguments.target, expose=arguments.expose),
        form=arguments.out_format,
        brief=brief_changes(arguments),
        **{name: getattr(arguments, name) for name in names},
    ).checked()


def _incoming_of(arguments: argparse.Namespace) -> "Incoming":
    from .sources import Incoming
    from .urls import input_url

    url = input_url(arguments.source, expose=arguments.expose)
    return Incoming(url, arguments.in_format, arguments.size, arguments.pixels, arguments.rate, arguments.ffmpeg)


def _stop(stopping: threading.Event) -> None:
    if stopping.is_set():
        raise KeyboardInterrupt
    stopping.set()
