"""Looks at the clients that the daemon would run: whether their command lines are right. Nothing is opened."""

from collections.abc import Iterator

from ..config import Settings
from ..dry_run import troubles
from ..tables import Program
from .findings import Finding, Step, ok, wrong


def steps(settings: Settings) -> Iterator[Step]:
    """A step a client."""
    for program in settings.programs:
        yield Step(str(program), lambda program=program: [_client(program)])  # type: ignore[misc]


def _client(program: Program) -> Finding:
    what = str(program)
    try:
        trouble = troubles([program]).get(program)
    except OSError as error:
        return wrong(what, f"its command line cannot be looked at: {error}")
    if trouble:
        return wrong(what, trouble, f"warpaint {program.kind} --help says what its table may have")
    return ok(what, f"from {' to '.join(program.ends)}" if program.ends else "its command line is right")
