"""How the clients that the daemon runs are started, and whether their command lines are right, without running them."""

import re
import subprocess
import sys
from collections.abc import Iterable

from .config import environment_of_a_child
from .tables import Program

# How long a command line may take to be read, seconds. It takes half a second, or some on a machine that is busy.
READ_WITHIN_S = 30.0

# What the command line puts before a sentence: its name, its command, and that it is an error.
_BEFORE = re.compile(r"warpaint(?: \w+)?: (?:error: )?")


def command(*arguments: str) -> list[str]:
    """The command line of `warpaint` with these arguments, in the Python that this is."""
    return [sys.executable, "-u", "-P", "-m", f"{__package__.partition('.')[0]}.client", *arguments]


def troubles(programs: Iterable[Program]) -> dict[Program, str]:
    """What is wrong with the command lines of these, a sentence each; those that are right are not there.

    They are read all at once, by `warpaint --dry-run`. Raises OSError if there can be no more processes.
    """
    reading: dict[Program, subprocess.Popen[str]] = {}
    try:
        for program in programs:
            reading[program] = subprocess.Popen(
                command("--dry-run", *program.arguments()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="backslashreplace",
                env=environment_of_a_child(),
            )
        found = {program: _trouble(process) for program, process in reading.items()}
    finally:
        for process in reading.values():
            process.kill()
            process.communicate()
    return {program: trouble for program, trouble in found.items() if trouble}


def _trouble(process: "subprocess.Popen[str]") -> str:
    try:
        _, said = process.communicate(timeout=READ_WITHIN_S)
    except subprocess.TimeoutExpired:
        return f"it could not be read in {READ_WITHIN_S:g} s"
    if process.returncode == 0:
        return ""
    return sentence(said) or f"it cannot be read (exit code {process.returncode})"


def sentence(said: str) -> str:
    """The last line of what a client said, without its name: what ended it."""
    lines = [line for line in said.splitlines() if line.strip()]
    return _BEFORE.sub("", lines[-1].strip(), count=1) if lines else ""
