"""Writes the tables of docs/configuration.md, from the daemon's settings and the Brief; the prose stays.

    python tests/make_configuration.py

test_docs.py proves that the file is current.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from warpaint.proto.address import default_address
from warpaint.proto.brief import Brief
from warpaint.server.config import ENVIRONMENT_PREFIX, OTHER_FLAGS, Settings

FILE = Path(__file__).parents[1] / "docs" / "configuration.md"

# The place of a table: a line with its name, and a line that ends it. Markdown shows neither.
_TABLE = re.compile(r"(<!-- (settings|brief): made by tests/make_configuration\.py -->\n).*?(<!-- end -->)", re.DOTALL)

# Defaults that depend on the user, in words.
_AN_ID = 1000
_IN_WORDS = {
    "bind": f"`{default_address({'XDG_RUNTIME_DIR': '$XDG_RUNTIME_DIR'}, _AN_ID)}`; "
    f"where that variable is not set, `{default_address({}, _AN_ID)}` with your user id in place of {_AN_ID}",
}


def settings_table() -> str:
    """The settings of `warpaintd`."""
    head = ("name", "flag", "environment", "default", "allowed", "meaning")
    return table(
        head,
        (
            (f"`{name}`", *places(name, schema), *described(name, schema))
            for name, schema in Settings.model_json_schema()["properties"].items()
        ),
    )


def brief_table() -> str:
    """The fields of the Brief, as flags of `warpaint run` and `warpaint pipe`."""
    return table(
        ("name", "flag", "default", "allowed", "meaning"),
        (
            (f"`{name}`", flags(name, schema), *described(name, schema))
            for name, schema in Brief.model_json_schema()["properties"].items()
        ),
    )


def places(name: str, schema: dict[str, Any]) -> tuple[str, str]:
    """The flag and the variable of a setting; tables are in the file alone."""
    if any(is_tables(each) for each in schema.get("anyOf", ())):
        return "in the file alone", "in the file alone"
    return flags(name, schema), f"`{ENVIRONMENT_PREFIX}{name.upper()}`"


def is_tables(schema: dict[str, Any]) -> bool:
    """Whether a JSON Schema allows tables with any keys, which are checked elsewhere."""
    return schema.get("items", schema).get("additionalProperties") is True


def flags(name: str, schema: dict[str, Any]) -> str:
    """The flag of that name; what is on or off has a second one, for off, and some lists one for a single item."""
    names = [name, f"no_{name}"] if schema.get("type") == "boolean" else [name]
    names += [OTHER_FLAGS[name]] if name in OTHER_FLAGS else []
    return ", ".join("`--" + each.replace("_", "-") + "`" for each in names)


def described(name: str, schema: dict[str, Any]) -> tuple[str, str, str]:
    """Default, what is allowed, and meaning."""
    default = f"`{shown(schema['default'])}`" if "default" in schema else _IN_WORDS[name]
    return default, allowed(schema), schema["description"]


def shown(value: Any) -> str:
    """A value as a settings file has it; a number as the flags' help has it; nothing as `none`."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return "none" if value is None else json.dumps(value)


def allowed(schema: dict[str, Any]) -> str:
    """What a JSON Schema allows, in words."""
    if "anyOf" in schema:
        return f"none, or {allowed(schema['anyOf'][0])}"
    if is_tables(schema):
        return "a list of tables" if schema["type"] == "array" else "a table"
    if "pattern" in schema:
        return ", ".join(f"`{each}`" for each in schema["pattern"].strip("^$()").split("|"))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if schema["type"] == "boolean":
        return "`true`, `false`"
    if schema["type"] == "array":
        return allowed_items(schema)
    if schema["type"] == "object":
        return f"{allowed(schema['additionalProperties'])} for each kind"
    if schema.get("format") == "path":
        return "a path"
    if schema["type"] == "string":
        return (
            f"{schema.get('minLength', 0)} to {schema['maxLength']} characters" if "maxLength" in schema else "a text"
        )
    kind = "integer, " if schema["type"] == "integer" else ""
    low = f"above {schema['exclusiveMinimum']:g}, up" if "exclusiveMinimum" in schema else f"{schema['minimum']:g}"
    return f"{kind}{low} to {int(schema['maximum'])}"


def allowed_items(schema: dict[str, Any]) -> str:
    """What a JSON Schema of a list allows, in words."""
    least, most, each = schema.get("minItems", 0), schema.get("maxItems"), allowed(schema["items"])
    count = f"{least} or more" if most is None else f"{least} to {most}"
    return f"a list, {count}" + ("" if each == "a text" else f", each {each}")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def written() -> str:
    """The text of the file, its tables made anew."""
    tables = {"settings": settings_table(), "brief": brief_table()}
    text, count = _TABLE.subn(
        lambda place: f"{place[1]}\n{tables[place[2]]}\n{place[3]}", FILE.read_text(encoding="utf-8")
    )
    if count != len(tables):
        raise ValueError(f"{FILE.name} has places for {count} tables, not for {len(tables)}")
    return text


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
