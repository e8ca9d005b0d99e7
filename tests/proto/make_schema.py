"""Writes proto/schema.json, the JSON Schema of every header and of the Brief.

    python tests/proto/make_schema.py

It describes the map that MessagePack packs. test_schema.py proves that the file is current.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from warpaint.proto.brief import Brief
from warpaint.proto.messages import ToClient, ToServer

FILE = Path(__file__).parents[2] / "proto" / "schema.json"
_COMMENT = (
    "Made by tests/proto/make_schema.py. Rules that concern several fields, payloads and sizes in bytes are in SPEC.md."
)


def schema() -> dict[str, Any]:
    """A schema with one definition for each message and part, and one for each direction."""
    roots: list[tuple[str, TypeAdapter[Any]]] = [
        ("ToServer", TypeAdapter(ToServer)),
        ("ToClient", TypeAdapter(ToClient)),
        ("Brief", TypeAdapter(Brief)),
    ]
    found, rest = TypeAdapter.json_schemas([(name, "validation", adapter) for name, adapter in roots])
    definitions: dict[str, Any] = rest["$defs"]
    for name in ("ToServer", "ToClient"):
        definitions[name] = found[name, "validation"]
    for definition in definitions.values():
        _require_what_leads(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": _COMMENT,
        "title": "Warpaint, headers of the wire, version 1",
        "anyOf": [{"$ref": "#/$defs/ToServer"}, {"$ref": "#/$defs/ToClient"}],
        "$defs": definitions,
    }


def _require_what_leads(definition: dict[str, Any]) -> None:
    """Makes `v` and `type` required: in the models they have defaults, for whoever builds one."""
    properties = definition.get("properties", {})
    if "v" in properties and "type" in properties:
        definition["required"] = ["v", "type", *definition.get("required", [])]
        for name in ("v", "type"):
            del properties[name]["default"]


def written() -> str:
    """The text of the file."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
