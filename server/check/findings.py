"""What a check has found, and how it is written: a line each, for a terminal or for a pipe."""

import shutil
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO


class Grade(StrEnum):
    """How it is with what was looked at."""

    OK = "ok"
    WARNING = "warning"  # the daemon would start, and not do all that it was meant to
    WRONG = "wrong"  # the daemon would not start, or fail at its work


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what mends it: sentences without a full stop."""

    grade: Grade
    what: str
    said: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to look at: its name, for a reader who waits, and what looks."""

    what: str
    look: Callable[[], Iterable[Finding]]


# Columns of the name of what was looked at. Ours are shorter; what is said of longer ones begins on the next line.
WHAT_WIDTH = 20
# Columns up to which lines are filled on a terminal: longer ones are hard to read.
MOST_COLUMNS = 110
GRADE_WIDTH = max(map(len, Grade)) + 2

# How a terminal is told of colours, and to clear the rest of a line (ECMA-48).
COLOURS = {Grade.OK: "\033[32m", Grade.WARNING: "\033[33m", Grade.WRONG: "\033[1;31m"}
DIM, PLAIN, CLEAR_LINE = "\033[2m", "\033[0m", "\r\033[K"


class Report:
    """Writes findings as they come, and counts them. For a terminal lines are filled and coloured, for a pipe not."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._counts = dict.fromkeys(Grade, 0)

    def begun(self, what: str) -> None:
        """Says on a terminal what is being looked at, until something is found."""
        if self._terminal:
            self._write(f"{CLEAR_LINE}{DIM}{'...':<{GRADE_WIDTH}}{_line(what)}{PLAIN}")

    def add(self, finding: Finding) -> None:
        """One more."""
        self._counts[finding.grade] += 1
        self._write(self._filled(finding) if self._terminal else _plain(finding))

    def end(self) -> bool:
        """Writes the sum. True: nothing is wrong."""
        wrong, warnings = self._counts[Grade.WRONG], self._counts[Grade.WARNING]
        if not wrong and not warnings:
            text = "all is well"
        else:
            text = f"{wrong or 'nothing'} wrong, {_counted(warnings, 'warning')}"
        self._write(f"{CLEAR_LINE if self._terminal else ''}{text}\n")
        return not wrong

    def _filled(self, finding: Finding) -> str:
        indent = " " * (GRADE_WIDTH + WHAT_WIDTH)
        columns = min(shutil.get_terminal_size().columns, MOST_COLUMNS)
        columns = max(columns, len(indent) + WHAT_WIDTH)  # on a narrow one lines run over, rather than a word a line

        def filled(text: str, first: str) -> list[str]:
            return textwrap.wrap(
                text,
                columns,
                initial_indent=first,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )

        what = f"{_line(finding.what):<{WHAT_WIDTH - 1}} "
        said = filled(_line(finding.said), indent)
        first, *others = [what, *said] if len(what) > WHAT_WIDTH else [what + said[0].lstrip(), *said[1:]]
        grade = f"{COLOURS[finding.grade]}{finding.grade:<{GRADE_WIDTH}}{PLAIN}"
        mend = [f"{DIM}{each}{PLAIN}" for each in filled(_line(finding.mend), indent)]
        return "\n".join([f"{CLEAR_LINE}{grade}{first}", *others, *mend]) + "\n"

    def _write(self, text: str) -> None:
        encoding = self._out.encoding or "utf-8"
        self._out.write(text.encode(encoding, "backslashreplace").decode(encoding))  # paths may hold any bytes
        self._out.flush()


def _plain(finding: Finding) -> str:
    mend = f" => {_line(finding.mend)}" if finding.mend else ""
    return f"{finding.grade:<{GRADE_WIDTH}}{_line(finding.what):<{WHAT_WIDTH - 1}} {_line(finding.said)}{mend}\n"


def _line(text: str) -> str:
    """The text as one line that moves no cursor: some of it is what engines of others have said."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def _counted(count: int, name: str) -> str:
    return f"{count or 'no'} {name}{'' if count == 1 else 's'}"


def ok(what: str, said: str, mend: str = "") -> Finding:
    """All is well with it."""
    return Finding(Grade.OK, what, said, mend)


def warning(what: str, said: str, mend: str = "") -> Finding:
    """It is not as it was meant to be."""
    return Finding(Grade.WARNING, what, said, mend)


def wrong(what: str, said: str, mend: str = "") -> Finding:
    """It does not work."""
    return Finding(Grade.WRONG, what, said, mend)
