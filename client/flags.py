"""Flags that several commands have: those made from the Brief, with its names, bounds and words, and of a session."""

import argparse
import types
from collections.abc import Collection
from fractions import Fraction
from typing import Any, Literal, get_args, get_origin

from ..proto.brief import Brief
from .film.media import DEFAULT_RATE

DAEMON_HELP = "the daemon's address [the user's own daemon, or one that is started for this]"


def add_extract_flags(parser: argparse.ArgumentParser, verb: str, *, of: str = "a folder") -> None:
    """The flags of what is read of a film: from where, up to where, and how quick a folder's pictures are."""
    parser.add_argument("--start", type=float, metavar="SECONDS", help=f"{verb} from here on")
    parser.add_argument("--end", type=float, metavar="SECONDS", help=f"{verb} up to here")
    parser.add_argument(
        "--rate", type=rate_of, default=DEFAULT_RATE, help=f"pictures a second of {of} [{DEFAULT_RATE}]"
    )


def add_session_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a session: its daemon, its engines, its Brief."""
    parser.add_argument("--daemon", metavar="ADDRESS", help=DAEMON_HELP)
    parser.add_argument("--painter", help="one of the daemon's painters [its first]")
    parser.add_argument("--flow", help="one of the daemon's flow engines; none: each frame alone [its first]")
    parser.add_argument("--max-pixels", type=int, help="work at no more pixels than this [the daemon's limit]")
    add_brief_flags(parser)


def add_brief_flags(
    parser: argparse.ArgumentParser,
    fields: Collection[str] = tuple(Brief.model_fields),
    title: str = "what to paint, and how it moves",
) -> None:
    """Adds a flag for each of these fields of the Brief."""
    group = parser.add_argument_group(title)
    for name, field in ((each, Brief.model_fields[each]) for each in fields):
        flag = "--" + name.replace("_", "-")
        help_text = f"{field.description} [{_shown(field.default)}]".replace("%", "%%")
        kind = _plain(field.annotation)
        if get_origin(field.annotation) is Literal:
            group.add_argument(flag, default=None, choices=get_args(field.annotation), help=help_text)
        elif get_origin(field.annotation) is tuple:
            listed = f"{help_text}; separated by commas, or the flag repeated"
            group.add_argument(flag, default=None, action="extend", type=_items, metavar="LIST", help=listed)
        elif kind is bool:
            group.add_argument(flag, default=None, action=argparse.BooleanOptionalAction, help=help_text)
        else:
            group.add_argument(flag, default=None, type=kind, metavar=kind.__name__.upper(), help=help_text)


def brief_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of the Brief that were given."""
    given = {name: getattr(arguments, name, None) for name in Brief.model_fields}
    return {name: _frozen(value) for name, value in given.items() if value is not None}


def size_of(text: str) -> tuple[int, int]:
    """Width and height, as in 1280x720. Raises ValueError."""
    width, _, height = text.partition("x")
    size = int(width), int(height)
    if min(size) < 1:
        raise ValueError(text)
    return size


def rate_of(text: str) -> Fraction:
    """Pictures a second: more than none. Raises ValueError."""
    try:
        rate = Fraction(text)
    except ZeroDivisionError:
        rate = Fraction(0)
    if rate <= 0:
        raise ValueError(text)
    return rate


def _plain(annotation: Any) -> type:
    """int, float, str or bool: the type of a field without its None."""
    if isinstance(annotation, types.UnionType):
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    return annotation if isinstance(annotation, type) else str


def _items(text: str) -> list[str]:
    """The items of a list, separated by commas; of an empty text, none."""
    return [each.strip() for each in text.split(",")] if text else []


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(default: Any) -> str:
    if isinstance(default, float):
        return f"{default:.3g}"
    return (",".join(default) or "none") if isinstance(default, tuple) else str(default)
