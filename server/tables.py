"""The tables of the settings file that name clients which the daemon runs: checked, and made command lines. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# What a flag is called in a table: as on the command line, with - or _ between its words.
_KEY = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
# A name stands in each line of the log that is of that bridge, and in the labels of metrics.
LONGEST_NAME = 60

# Flags that make no sense here, and why not.
_NOT_HERE = {
    "daemon": "it is a client of this daemon",
    "help": "it would end at once",
    "probe": "it would end at once",
}

# A bridge that is gone does not come back: another one is started, which needs the room that its session has.
_BEFORE_OTHERS = {"bridge": ("--linger-s=0",), "page": ()}

Kind = Literal["bridge", "page"]
Table = Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """A client that the daemon runs: a command of `warpaint`."""

    kind: Kind
    name: str  # no two bridges have the same
    flags: tuple[str, ...]
    ends: tuple[str, ...] = ()  # where a bridge reads, and where it writes

    def __str__(self) -> str:
        return self.name if self.name.startswith(self.kind) else f"{self.kind} {self.name}"

    def arguments(self, daemon: str | None = None) -> list[str]:
        """What follows `warpaint` on its command line. daemon: the address of the daemon that it is to talk to."""
        address = [] if daemon is None else [f"--daemon={daemon}"]
        ends = ("--", *self.ends) if self.ends else ()
        return [self.kind, *address, *_BEFORE_OTHERS[self.kind], *self.flags, *ends]


def bridges(tables: object) -> tuple[Program, ...]:
    """The programs of the tables [[bridge]]. Raises ValueError, with a sentence, for what cannot be."""
    if not isinstance(tables, Sequence) or isinstance(tables, str) or not all(isinstance(e, Mapping) for e in tables):
        raise ValueError("bridges are tables [[bridge]] of the settings file, each with in and out")
    found = tuple(_bridge(table, f"bridge-{number}") for number, table in enumerate(tables, 1))
    for name, count in Counter(each.name for each in found).items():
        if count > 1:
            raise ValueError(f"{count} bridges have the name {name!r}: each needs one of its own")
    return found


def page(table: object) -> Program:
    """The program of the table [page]. Raises ValueError, with a sentence, for what cannot be."""
    if not isinstance(table, Mapping):
        raise ValueError("the page is a table [page] of the settings file, with flags of `warpaint page`")
    return Program("page", "page", _flags("the page", table.items()))


def _bridge(table: Table, usual_name: str) -> Program:
    name = table.get("name", usual_name)
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        raise ValueError(f"the name of a bridge is a text of 1 to {LONGEST_NAME} characters in one line, not {name!r}")
    whose = f"the bridge {name!r}"
    ends = tuple(_end(whose, table, which) for which in ("in", "out"))
    others = ((key, value) for key, value in table.items() if key not in ("name", "in", "out"))
    return Program("bridge", name, _flags(whose, others), ends)


def _end(whose: str, table: Table, which: str) -> str:
    if which not in table:
        raise ValueError(f"{whose} has no {which}: where it {'reads' if which == 'in' else 'writes'}")
    url = table[which]
    if not isinstance(url, str) or not url or "\0" in url:
        raise ValueError(f"{whose}: {which} is a URL or a path, not {url!r}")
    if url == "-":
        raise ValueError(f"{whose}: {which} cannot be -, as it has no standard input and output of its own")
    return url


def _flags(whose: str, items: Iterable[tuple[str, Any]]) -> tuple[str, ...]:
    """Flags with their values, as a command line has them. What is false is the flag that begins with no-."""
    found: dict[str, list[str]] = {}
    for key, value in items:
        flag = key.replace("_", "-")
        if not _KEY.fullmatch(key):
            raise ValueError(f"{whose}: {key!r} is not the name of a flag")
        if flag in _NOT_HERE:
            raise ValueError(f"{whose} cannot have {key}: {_NOT_HERE[flag]}")
        if flag in found:
            raise ValueError(f"{whose} has {flag} twice, once with - and once with _")
        if isinstance(value, bool):
            found[flag] = [f"--{flag}" if value else f"--no-{flag}"]
        else:
            found[flag] = [f"--{flag}={_text(whose, key, each)}" for each in _listed(value)]
    return tuple(each for flags in found.values() for each in flags)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _text(whose: str, key: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or "\0" in str(value):
        raise ValueError(f"{whose}: {key} is a text, a number, true, false or a list of texts, not {value!r}")
    return str(value)
