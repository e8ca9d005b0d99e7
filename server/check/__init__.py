"""`warpaintd --check`: looks at all that a daemon with these settings would need, and leaves nothing behind."""

import difflib
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TextIO

from ..config import ENVIRONMENT_PREFIX, Settings, unknown_variables
from . import clients, engines, machine, places
from .findings import Finding, Report, Step, ok, warning


def check(settings: Settings, file: str | None, out: TextIO) -> bool:
    """Whether nothing is wrong; what is found is written line by line. file: that the settings were read from.

    What is logged meanwhile is found too: as a warning.
    """
    report = Report(out)
    with ExitStack() as held, _Overheard() as overheard:
        for step in _steps(settings, file, held):
            report.begun(step.what)
            for finding in step.look():
                report.add(finding)
            for text in overheard.taken():
                report.add(warning(step.what, text))
    return report.end()


def _steps(settings: Settings, file: str | None, held: ExitStack) -> Iterator[Step]:
    yield Step("settings", lambda: _settings(settings, file))
    yield Step("cores", lambda: machine.cores(settings))
    yield from places.steps(settings)
    yield Step("ffmpeg", machine.ffmpeg)
    yield Step("gpu", lambda: machine.gpus(settings))
    yield from engines.steps(settings, held)
    yield from clients.steps(settings)


def _settings(settings: Settings, file: str | None) -> Iterator[Finding]:
    """What is set, and what is set in vain."""
    set_here = [name for name in Settings.model_fields if name in settings.model_fields_set]
    where = f"; the file {file} is read" if file else ""
    yield ok("settings", (f"set are {', '.join(set_here)}" if set_here else "all are defaults") + where)
    known = [f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name in unknown_variables():
        near = difflib.get_close_matches(name.upper(), known, 1)
        yield warning("settings", f"no setting belongs to the variable {name}", f"is {near[0]} meant?" if near else "")
    for setting, engine, held in (
        ("model", "diffusion", settings.painters),
        ("pdcnet_weights", "pdcnet", settings.flows),
    ):
        if getattr(settings, setting) is not None and engine not in held:
            flag = "--painters" if held is settings.painters else "--flows"
            text = f"{setting} is set, but {engine} is not among the engines to be held"
            yield warning("settings", text, f"{flag} {','.join((engine, *held))}")


class _Overheard(logging.Handler):
    """The warnings that the package logs inside this block. Errors are not among them: those are findings anyway.

    Unless the log was asked for, nothing of it goes on to stderr.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a warning."""
        if record.levelno == logging.WARNING:
            self._texts.append(record.getMessage())

    def taken(self) -> list[str]:
        """Those since the last time."""
        texts, self._texts = self._texts, []
        return texts

    def __enter__(self) -> "_Overheard":
        self._logger = logging.getLogger(__package__.partition(".")[0])
        self._before = self._logger.level, self._logger.propagate
        self._logger.addHandler(self)
        if self._logger.getEffectiveLevel() > logging.WARNING:
            self._logger.setLevel(logging.WARNING)
            self._logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
