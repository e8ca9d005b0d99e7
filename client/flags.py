"""Command-line flags made from the Brief: the same names, the same bounds, the same words."""

import argparse
import types
from typing import Any, Literal, get_args, get_origin

from ..proto.brief import Brief


def add_brief_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each field of the Brief."""
    group = parser.add_argument_group("what to paint, and how it moves")
    for name, field in Brief.model_fields.items():
        flag = "--" + name.replace("_", "-")
        help_text = f"{field.description} [{_shown(field.default)}]".replace("%", "%%")
        kind = _plain(field.annotation)
        if get_origin(field.annotation) is Literal:
            group.add_argument(flag, default=None, choices=get_args(field.annotation), help=help_text)
        elif kind is bool:
            group.add_argument(flag, default=None, action=argparse.BooleanOptionalAction, help=help_text)
        else:
            group.add_argument(flag, default=None, type=kind, metavar=kind.__name__.upper(), help=help_text)


def brief_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of the Brief that were given."""
    given = {name: getattr(arguments, name) for name in Brief.model_fields}
    return {name: value for name, value in given.items() if value is not None}


def _plain(annotation: Any) -> type:
    """int, float, str or bool: the type of a field without its None."""
    if isinstance(annotation, types.UnionType):
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    return annotation if isinstance(annotation, type) else str


def _shown(default: Any) -> str:
    return f"{default:.3g}" if isinstance(default, float) else str(default)
