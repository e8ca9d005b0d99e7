"""`warpaint`: the command line of all clients. It parses and prints, nothing else."""

import argparse
import dataclasses
import signal
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .. import __version__
from ..proto.errors import WarpaintError
from ..proto.messages import Status
from .errors import MediaError
from .film.formats import CODECS
from .flags import add_brief_flags, brief_changes
from .painting import Client
from .run import Figures, Job, convert
from .tether import end_with_stdin

if TYPE_CHECKING:
    from .bridge.pump import Bridge
    from .bridge.sources import Incoming
    from .page.run import Options

# As shells know them: an error, and 128 + SIGINT.
FAILED, INTERRUPTED = 1, 130

# Columns of a table that goes to no terminal: enough that no name is cut off.
TABLE_WIDTH = 200

DAEMON_HELP = "the daemon's address [the user's own daemon, or one that is started for this]"

console = Console(stderr=True, highlight=False)


def main() -> None:
    """Runs the command. Exits with 0, 1 for what could not be done, 2 for a wrong use, 130 for Ctrl-C."""
    arguments = _parser().parse_args()
    if arguments.until_stdin_closes:
        end_with_stdin()
    try:
        (arguments.check if arguments.dry_run else arguments.command)(arguments)
    except WarpaintError as error:
        console.print(f"warpaint: {error}", style="red", markup=False, soft_wrap=True)
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        console.print("stopped; what was painted until now is kept")
        raise SystemExit(INTERRUPTED) from None


class _Parser(argparse.ArgumentParser):
    """Guesses no flag from its beginning: what a settings file holds is to mean the same with the next version."""

    def __init__(self, **words: Any) -> None:
        super().__init__(allow_abbrev=False, **words)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="warpaint", description="Paints films: keyframes are painted, the rest is warped along the flow."
    )
    parser.add_argument("--version", action="version", version=f"warpaint {__version__}")
    parser.add_argument("--dry-run", action="store_true", help="look whether the command line is right, and do nothing")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end, as on SIGTERM, when standard input closes, which is read for nothing else: for a program that "
        "starts this one",
    )
    parser.set_defaults(check=lambda _: None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="paint a film, or a folder of pictures, into another"))
    _add_pipe(commands.add_parser("pipe", help="paint standard input to standard output, for ffmpeg pipes"))
    _add_bridge(
        commands.add_parser("bridge", help="paint a live stream that ffmpeg sends to one URL, for ffmpeg at another")
    )
    _add_page(commands.add_parser("page", help="preview in a browser what is painted, and turn its knobs"))
    status = commands.add_parser("status", help="show how a daemon does")
    status.add_argument("--daemon", metavar="ADDRESS", help="the daemon's address [the user's own]")
    status.add_argument("--wait", type=float, metavar="SECONDS", help="wait so long for a daemon that is starting")
    status.set_defaults(command=_status)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", type=Path, help="a film, or a folder of pictures")
    parser.add_argument(
        "target", metavar="OUT", type=Path, help="a film by its extension, or a folder for PNG pictures"
    )
    parser.add_argument("--start", type=float, metavar="SECONDS", help="paint from here on")
    parser.add_argument("--end", type=float, metavar="SECONDS", help="paint up to here")
    parser.add_argument("--rate", type=_rate, default=Fraction(25), help="pictures a second of a folder [25]")
    parser.add_argument("--compare", action="store_true", help="write raw and painted side by side")
    parser.add_argument("--maps", type=Path, metavar="DIR", help="write flow, confidence, hops and holes of each frame")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="write a contact sheet of a few moments")
    _add_shared(parser)
    parser.set_defaults(command=_run)


def _add_pipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="source_format", metavar="FORMAT", help="nut, matroska or mpegts [looks itself]")
    parser.add_argument("--to", dest="target_format", default="nut", choices=("nut", "mpegts"), help="[nut]")
    _add_shared(parser)
    parser.set_defaults(command=_pipe)


def _add_bridge(parser: argparse.ArgumentParser) -> None:
    from .bridge.parts import FORMS, IN_FORMS, RAW_PIXELS
    from .bridge.urls import IN_URLS, OUT_URLS

    parser.add_argument("source", metavar="IN", help=IN_URLS)
    parser.add_argument("target", metavar="OUT", nargs="?", help=OUT_URLS)
    parser.add_argument("--probe", action="store_true", help="say what comes in, and paint nothing")
    parser.add_argument("--in-format", choices=IN_FORMS, help="[looks itself; over zmq, udp and srt, mpegts]")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of rawvideo that comes in")
    parser.add_argument("--pixels", default="yuv420p", choices=RAW_PIXELS, help="of rawvideo that comes in [yuv420p]")
    parser.add_argument("--rate", type=_rate, help="pictures a second that come in [not known]")
    parser.add_argument("--out-format", choices=FORMS, help="[mpegts; nut for paths and standard output]")
    parser.add_argument("--out-rate", type=_rate, help="send so many pictures a second, evenly [as they come]")
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
    _add_session(parser)
    parser.set_defaults(command=_bridge, check=_bridge_of)


def _add_page(parser: argparse.ArgumentParser) -> None:
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


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--codec", default="h264", choices=tuple(CODECS), help="of the film that is written [h264]")
    parser.add_argument("--crf", type=int, help="its quality: lower is better and larger [the codec's own]")
    _add_session(parser)


def _add_session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--daemon", metavar="ADDRESS", help=DAEMON_HELP)
    parser.add_argument("--painter", help="one of the daemon's painters [its first]")
    parser.add_argument("--flow", help="one of the daemon's flow engines; none: each frame alone [its first]")
    parser.add_argument("--max-pixels", type=int, help="work at no more pixels than this [the daemon's limit]")
    add_brief_flags(parser)


def _run(arguments: argparse.Namespace) -> None:
    job = Job(
        source=arguments.source,
        target=arguments.target,
        start_s=arguments.start,
        end_s=arguments.end,
        rate=arguments.rate,
        compare=arguments.compare,
        maps=arguments.maps,
        sheet=arguments.sheet,
        **_shared(arguments),
    )
    with _progress() as bar:
        task = bar.add_task("painting", total=None, rate="")

        def show(figures: Figures) -> None:
            speed = bar.tasks[task].speed
            rate = f"{speed:.1f} frames/s" if speed else ""
            bar.update(task, completed=figures.frames, total=figures.expected, rate=rate)

        figures = convert(job, say=_say, progress=show)
    _print_figures(figures)


def _pipe(arguments: argparse.Namespace) -> None:
    job = Job(
        source=_unbuffered(sys.stdin, "standard input"),
        target=_unbuffered(sys.stdout, "standard output"),
        source_format=arguments.source_format,
        target_format=arguments.target_format,
        **_shared(arguments),
    )
    convert(job, say=_say, progress=lambda _: None)


def _bridge(arguments: argparse.Namespace) -> None:
    """Bridges until SIGTERM or Ctrl-C, which are its usual end. A second one ends it at once."""
    from .bridge.probe import probe
    from .bridge.pump import run

    if arguments.probe:
        Console(highlight=False).print(probe(_incoming_of(arguments)), markup=False, soft_wrap=True)
        return
    bridge = _bridge_of(arguments)
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: _stop(stopping))
    tally = run(bridge, say=_say, stopping=stopping)
    dropped = "".join(f"; dropped {count} {what}" for what, count in tally.dropped.items())
    sent = f"{tally.sent} were sent" + (f", {tally.repeated} of them again" if tally.repeated else "")
    _say(f"the bridge has ended: {tally.received} pictures came, {sent}{dropped}")


def _page(arguments: argparse.Namespace) -> None:
    """Serves the page until SIGTERM or Ctrl-C, which are its usual end."""
    import webbrowser

    from .local_daemon import address_of
    from .page.run import run

    options = _page_of(arguments)
    with address_of(arguments.daemon, say=_say) as daemon:
        opened = webbrowser.open if arguments.open else None
        run(dataclasses.replace(options, daemon=daemon), say=_say, opened=opened)


def _page_of(arguments: argparse.Namespace) -> "Options":
    """How the page is to be served. Raises MediaError for what must not be."""
    from .page.run import Options

    return Options(
        host=arguments.host,
        port=arguments.port,
        expose=arguments.expose,
        names=tuple(arguments.allow_host),
        token_file=arguments.token_file,
    ).checked()


def _bridge_of(arguments: argparse.Namespace) -> "Bridge":
    """What is to be bridged, and how. Raises WarpaintError for what cannot be, as far as that is known unopened."""
    from .bridge.pump import Bridge
    from .bridge.urls import output_url

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
    from .bridge.sources import Incoming
    from .bridge.urls import input_url

    url = input_url(arguments.source, expose=arguments.expose)
    return Incoming(url, arguments.in_format, arguments.size, arguments.pixels, arguments.rate, arguments.ffmpeg)


def _stop(stopping: threading.Event) -> None:
    if stopping.is_set():
        raise KeyboardInterrupt
    stopping.set()


def _size(text: str) -> tuple[int, int]:
    """Width and height."""
    width, _, height = text.partition("x")
    size = int(width), int(height)
    if min(size) < 1:
        raise ValueError(text)
    return size


def _unbuffered(stream: TextIO | None, name: str) -> BinaryIO:
    """The bytes of a standard stream. No buffer: one that a thread waits in aborts the exit."""
    if stream is None:
        raise MediaError(f"{name} is closed")
    return getattr(stream.buffer, "raw", stream.buffer)


def _rate(text: str) -> Fraction:
    """Pictures a second: more than none."""
    try:
        rate = Fraction(text)
    except ZeroDivisionError:
        rate = Fraction(0)
    if rate <= 0:
        raise ValueError(text)
    return rate


def _shared(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("daemon", "painter", "flow", "max_pixels", "codec", "crf")
    return {name: getattr(arguments, name) for name in names} | {"brief": brief_changes(arguments)}


def _status(arguments: argparse.Namespace) -> None:
    with Client(arguments.daemon) as client:
        if arguments.wait is None:
            client.ping()
        else:
            client.ping(arguments.wait, may_be_starting=True)
        _print_status(client.status())


def _say(sentence: str) -> None:
    console.print(sentence, style="dim", markup=False, soft_wrap=True)


def _progress() -> Progress:
    """A bar on a terminal; elsewhere nothing."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _print_figures(figures: Figures) -> None:
    totals, frames = figures.totals, max(1, figures.frames)
    if totals is None:
        return
    table = Table(box=None, show_header=False)
    table.add_row("frames", str(totals.painted))
    table.add_row("keyframes", str(totals.keyframes))
    table.add_row("painted area a frame", f"{100 * totals.painted_pixels / max(1, totals.canvas_pixels):.1f} %")
    table.add_row("holes a frame", f"{100 * figures.holes / frames:.1f} %")
    for name, ms in figures.stages_ms.items():
        table.add_row(f"{name.replace('_', ' ')}, ms a frame", f"{ms / frames:.1f}")
    console.print(table)


def _print_status(status: Status) -> None:
    out = Console(highlight=False, width=None if sys.stdout.isatty() else TABLE_WIDTH)
    resident = status.resident_bytes / 2**20
    out.print(f"{status.server}, process {status.pid}, up {status.uptime_s:.0f} s, {resident:.0f} MiB resident")
    engines = Table("engine", "kind", "calls", "mean ms", "memory", box=None)
    for engine in status.engines:
        memory = "-" if engine.memory_bytes is None else f"{engine.memory_bytes / 2**20:.0f} MiB"
        engines.add_row(engine.name, engine.kind, str(engine.calls), f"{engine.mean_ms:.1f}", memory)
    out.print(engines)
    columns = (
        "session",
        "painter",
        "flow",
        "pacing",
        "canvas",
        "waiting",
        "unsent",
        "painted",
        "failed",
        "dropped",
        "ms a frame",
        "delay ms",
        "client",
    )
    sessions = Table(*columns, box=None)
    for each in status.sessions:
        busy = sum(ms for stage, ms in each.stages_ms.items() if stage != "wait")
        dropped = ", ".join(f"{count} at {stage}" for stage, count in each.dropped_at.items()) or "0"
        sessions.add_row(
            str(each.session),
            each.painter,
            each.flow,
            each.pacing,
            f"{each.width}x{each.height}",
            str(each.waiting),
            str(each.unsent),
            str(each.totals.painted),
            str(each.totals.failed),
            dropped,
            f"{busy:.1f}",
            f"{each.delay_ms:.0f}",
            "here" if each.connected else "gone",
        )
    out.print(sessions if status.sessions else "no sessions")
