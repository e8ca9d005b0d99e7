"""`warpaint`: the command line of all clients. It parses and prints, nothing else."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .. import __version__
from ..proto.errors import WarpaintError
from ..proto.messages import Status
from .bridge import command as bridge_command
from .compare import command as compare_command
from .errors import MediaError
from .film.formats import CODECS
from .film.media import DEFAULT_RATE
from .flags import DAEMON_HELP, add_brief_flags, add_extract_flags, add_session_flags, brief_changes
from .keyframes import WORTH_S, Choice, Selection, choose
from .leaving import leave
from .page import command as page_command
from .painting import Client
from .run import FILE_BRIEF, Figures, Job, convert
from .terminal import console, say
from .tether import end_with_stdin

# As shells know them: an error, and 128 + SIGINT.
FAILED, INTERRUPTED = 1, 130

# The fields of the Brief that say where a film cuts.
CHOICE_FIELDS = ("cut_detection",)

# Of seconds that are to be given again: microseconds, in the longest film.
SECONDS_DIGITS = 12

# Columns of a table that goes to no terminal: enough that no name is cut off.
TABLE_WIDTH = 200


def main() -> None:
    """Runs the command. Exits with 0, 1 for what could not be done, 2 for a wrong use, 130 for Ctrl-C."""
    arguments = _parser().parse_args()
    if arguments.until_stdin_closes:
        end_with_stdin()
    code = 0
    try:
        (arguments.check if arguments.dry_run else arguments.command)(arguments)
    except WarpaintError as error:
        console.print(f"warpaint: {error}", style="red", markup=False, soft_wrap=True)
        code = FAILED
    except KeyboardInterrupt:
        console.print("stopped; what was painted until now is kept")
        code = INTERRUPTED
    leave(code)


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
    files = ", ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in FILE_BRIEF.items())
    _add_run(
        commands.add_parser(
            "run",
            help="paint a film, or a folder of pictures, into another",
            description=f"Paint a film, or a folder of pictures, into another. Unless you say otherwise: {files}.",
        )
    )
    _add_keyframes(commands.add_parser("keyframes", help="choose the frames of a film that are worth painting by hand"))
    _add_pipe(commands.add_parser("pipe", help="paint standard input to standard output, for ffmpeg pipes"))
    bridge_command.add_flags(
        commands.add_parser("bridge", help="paint a live stream that ffmpeg sends to one URL, for ffmpeg at another")
    )
    compare_command.add_flags(
        commands.add_parser("compare", help="judge painted versions of a film, of any program, and draw them")
    )
    page_command.add_flags(commands.add_parser("page", help="preview in a browser what is painted, and turn its knobs"))
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
    add_extract_flags(parser, "paint")
    parser.add_argument(
        "--stills",
        type=Path,
        metavar="DIR",
        help="have the film follow pictures that were painted by hand, named by their frames: see `warpaint keyframes`",
    )
    parser.add_argument("--compare", action="store_true", help="write raw and painted side by side")
    parser.add_argument("--maps", type=Path, metavar="DIR", help="write flow, confidence, hops and holes of each frame")
    parser.add_argument("--log", type=Path, metavar="JSONL", help="write a line for each frame: keyframes, area, times")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="write a contact sheet of a few moments")
    _add_shared(parser)
    parser.set_defaults(command=_run)


def _add_keyframes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", type=Path, help="a film, or a folder of pictures")
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder for PNG pictures, made if it is missing")
    add_extract_flags(parser, "choose")
    parser.add_argument("--force", action="store_true", help="overwrite pictures of frames that are in DIR")
    worth = f"paint what shows as much as this of a film that no other still shows; more: fewer stills [{WORTH_S}]"
    parser.add_argument("--worth-s", type=float, default=WORTH_S, metavar="SECONDS", help=worth)
    parser.add_argument("--daemon", metavar="ADDRESS", help=DAEMON_HELP)
    parser.add_argument("--flow", help="one of the daemon's flow engines [its first]")
    parser.add_argument(
        "--max-pixels", type=int, help="as for `warpaint run`: of larger frames fewer wait [the daemon's]"
    )
    add_brief_flags(parser, CHOICE_FIELDS, "where the film cuts")
    parser.set_defaults(command=_keyframes)


def _add_pipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="source_format", metavar="FORMAT", help="nut, matroska or mpegts [looks itself]")
    parser.add_argument("--to", dest="target_format", default="nut", choices=("nut", "mpegts"), help="[nut]")
    _add_shared(parser)
    parser.set_defaults(command=_pipe)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--codec", default="h264", choices=tuple(CODECS), help="of the film that is written [h264]")
    parser.add_argument("--crf", type=int, help="its quality: lower is better and larger [the codec's own]")
    add_session_flags(parser)


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
        log=arguments.log,
        stills=arguments.stills,
        **_shared(arguments),
    )
    with _shown("painting") as show:
        figures = convert(job, say=say, progress=show)
    _print_figures(figures)


def _keyframes(arguments: argparse.Namespace) -> None:
    choice = Choice(
        source=arguments.source,
        folder=arguments.folder,
        brief=brief_changes(arguments),
        daemon=arguments.daemon,
        flow=arguments.flow,
        max_pixels=arguments.max_pixels,
        start_s=arguments.start,
        end_s=arguments.end,
        rate=arguments.rate,
        worth_s=arguments.worth_s,
        force=arguments.force,
    )
    with _shown("looking") as show:
        selection, figures = choose(choice, say=say, progress=show)
    _print_keyframes(choice, selection, figures.frames)


def _pipe(arguments: argparse.Namespace) -> None:
    job = Job(
        source=_unbuffered(sys.stdin, "standard input"),
        target=_unbuffered(sys.stdout, "standard output"),
        source_format=arguments.source_format,
        target_format=arguments.target_format,
        **_shared(arguments),
    )
    convert(job, say=say, progress=lambda _: None)


def _unbuffered(stream: TextIO | None, name: str) -> BinaryIO:
    """The bytes of a standard stream. No buffer: one that a thread waits in aborts the exit."""
    if stream is None:
        raise MediaError(f"{name} is closed")
    return getattr(stream.buffer, "raw", stream.buffer)


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


@contextmanager
def _shown(what: str) -> Iterator[Callable[[Figures], None]]:
    """A bar, while something is done; what is given is to be called with how far it is."""
    with _progress() as bar:
        task = bar.add_task(what, total=None, rate="")

        def show(figures: Figures) -> None:
            speed = bar.tasks[task].speed
            rate = f"{speed:.1f} frames/s" if speed else ""
            bar.update(task, completed=figures.frames, total=figures.expected, rate=rate)

        yield show


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


def _print_keyframes(choice: Choice, selection: Selection, frames: int) -> None:
    """Which frames are to be painted, and what to do with them."""
    out = Console(highlight=False)

    def line(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    line(f"{len(selection.frames)} of {frames} frames are worth painting; they are in {choice.folder}:")
    for each in selection.frames:
        line(f"  {each.file.name}  at {each.time_s:.2f} s")
    line(f"They show {100 * selection.share:.0f} % of what is seen in the film.")
    line(f"A smaller --worth-s than {choice.worth_s:g} finds more of them that show more; name another folder then.")
    extract = "".join(
        f" {flag} {value:.{SECONDS_DIGITS}g}"
        for flag, value in (("--start", choice.start_s), ("--end", choice.end_s))
        if value is not None
    )
    extract += f" --rate {choice.rate}" if choice.rate != DEFAULT_RATE else ""
    extract += f" --max-pixels {choice.max_pixels}" if choice.max_pixels else ""
    line("Paint them, each under its name and in its size, and have the film follow them:")
    line(f"  warpaint run {shlex.quote(str(choice.source))} OUT --stills {shlex.quote(str(choice.folder))}{extract}")


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
