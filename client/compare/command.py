"""`warpaint compare`: its flags, and what they mean."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import MediaError
from ..flags import add_extract_flags
from ..terminal import console
from .reading import Take

# Columns of a table that goes to no terminal: enough that no figure is broken.
TABLE_WIDTH = 200
# What references are called in what is written.
ALONE, FIXED = "alone", "alone, one seed"


class GatesFailed(MediaError):
    """With --gates: a film did not pass."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; `command` compares, `check` looks whether they are right."""
    parser.add_argument("raw", metavar="RAW", type=Path, help="the film that was painted, or a folder of pictures")
    parser.add_argument(
        "painted", metavar="PAINTED", nargs="+", help="painted versions of it, by any program; LABEL=FILE names one"
    )
    parser.add_argument("--alone", type=Path, metavar="FILM", help="it painted frame by frame, with a new seed each")
    parser.add_argument("--alone-fixed", type=Path, metavar="FILM", help="it painted frame by frame, with one seed")
    parser.add_argument(
        "--log", type=Path, nargs="+", default=[], metavar="LOG", help="what `run --log` wrote, in the order of PAINTED"
    )
    parser.add_argument(
        "--maps",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="what `run --maps` wrote, in the order of PAINTED",
    )
    parser.add_argument("--report", type=Path, metavar="HTML", help="write curves, strips and slices as one page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and curves for programs")
    parser.add_argument("--row", type=int, metavar="Y", help="the row of the report's slices [where most changes]")
    add_extract_flags(parser, "compare", of="folders")
    parser.add_argument("--gates", action="store_true", help="exit with 1 if a film fails a gate")
    parser.set_defaults(command=_compare, check=_takes_of)


def _takes_of(arguments: argparse.Namespace) -> list[Take]:
    """The painted films. Raises MediaError for flags that cannot be meant."""
    takes = [_take_of(text) for text in arguments.painted]
    labels = [take.label for take in takes]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise MediaError(f"two films are called {twice!r}: name them apart, as in LABEL=FILE")
    for flag, given in (("--log", arguments.log), ("--maps", arguments.maps)):
        if len(given) > len(takes):
            raise MediaError(
                f"{flag}: one for each painted film, in their order; there are {len(takes)}, not {len(given)}"
            )
    for folder in arguments.maps:
        if not folder.is_dir():
            raise MediaError(f"{folder}: there is no such folder of maps")
    if arguments.start and (arguments.log or arguments.maps):
        raise MediaError("--log and --maps count frames from the film's first on: they cannot be used with --start")
    if arguments.row is not None and arguments.row < 0:
        raise MediaError(f"--row counts from 0 at the top, and is {arguments.row}")
    return takes


def _take_of(text: str) -> Take:
    """The film that FILE or LABEL=FILE says: a file of that whole name comes first."""
    label, sign, file = text.partition("=")
    if sign and label and file and "/" not in label and not Path(text).exists():
        return Take(label, Path(file))
    return Take(Path(text).stem or text, Path(text))


def _compare(arguments: argparse.Namespace) -> None:
    from .judging import Films, judged
    from .reading import Reels
    from .table import print_findings

    painted = _takes_of(arguments)
    alone, fixed = (
        None if path is None else Take(label, path)
        for label, path in ((ALONE, arguments.alone), (FIXED, arguments.alone_fixed))
    )
    films = Films(Take("raw", arguments.raw), painted, alone, fixed, arguments.log)
    reels = Reels(films.takes, rate=arguments.rate, start_s=arguments.start, end_s=arguments.end)
    if arguments.row is not None and arguments.row >= reels.size[1]:
        raise MediaError(f"--row {arguments.row}: the film has rows 0 to {reels.size[1] - 1}")
    with _bar() as bar:
        tasks: dict[str, int] = {}

        def progress(what: str, done: int, expected: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=expected)
            bar.update(tasks[what], completed=done, total=expected)  # type: ignore[arg-type]

        findings, busiest = judged(films, reels, progress)
        if arguments.json:
            _write(arguments.json, json.dumps(findings.as_json(), allow_nan=False, indent=1))
        if arguments.report:
            from .report import report

            row = busiest if arguments.row is None else arguments.row
            _write(arguments.report, report(findings, films, reels, row, arguments.maps, progress))
    print_findings(findings, Console(highlight=False, width=None if sys.stdout.isatty() else TABLE_WIDTH))
    if arguments.gates and not findings.passed:
        failed = [film.label for film in findings.films if film.failures]
        raise GatesFailed(f"{', '.join(failed)}: not all gates are passed")


def _bar() -> Progress:
    """A bar on a terminal; elsewhere nothing."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MediaError(f"{path} cannot be written: {error.strerror}") from None
