"""SPEC.md is checked against the models: what it says of fields, codes, limits and bytes is what the program does."""

import json
import re
import types
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgpack
import pytest
from annotated_types import GroupedMetadata
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from warpaint.proto import limits
from warpaint.proto.brief import Brief
from warpaint.proto.errors import RETRY, Code
from warpaint.proto.messages import (
    Colour,
    EngineStatus,
    Part,
    Pixels,
    Result,
    SeenPart,
    SessionStatus,
    Source,
    ToClient,
    ToServer,
    Totals,
    Value,
)
from warpaint.proto.pixels import layout

PROTO = Path(__file__).parents[2] / "proto"
SPEC = (PROTO / "SPEC.md").read_text(encoding="utf-8")

LIMITS = {name: value for name, value in vars(limits).items() if name.startswith("MAX_")}
# How the tables name a bound. The limits are distinct numbers, so the way back is clear. Small ones, which bound other
# things too, stand in the tables as numbers.
SMALL = 64
BOUNDS = {value: name for name, value in LIMITS.items() if value > SMALL} | {-limits.MAX_INTEGER: "-MAX_INTEGER"}
MESSAGES: list[type[BaseModel]] = [model for union in (ToServer, ToClient) for model in get_args(get_args(union)[0])]
PARTS: list[type[BaseModel]] = [Source, Result, Colour, Brief, Part, SeenPart, Totals, EngineStatus, SessionStatus]


def kind_of(model: type[BaseModel]) -> str:
    return str(model.model_fields["type"].default)


# `status` is the name of a question and of its answer: they are told apart by who sends them.
TABLES: dict[str, type[BaseModel]] = {
    **{f"`{kind_of(model)}`" + (", the answer" if model.__name__ == "Status" else ""): model for model in MESSAGES},
    **{model.__name__: model for model in PARTS},
}


def rows(model: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    """The first four columns of a model's table: key, type, what is allowed, default."""
    found = []
    for name, field in model.model_fields.items():
        if name not in ("v", "type"):
            kind, allowed = described(field.annotation, field.metadata)
            found.append((f"`{name}`", kind, allowed, default_of(field)))
    return found


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "{}"
    return "nil" if field.default is None else json.dumps(field.default, default=str)


def described(annotation: Any, metadata: list[Any]) -> tuple[str, str]:
    """A field's type in the words of SPEC.md, and what it may be."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return described(arguments[0], [*arguments[1:], *metadata])
    if annotation == Value:
        return "text, boolean, integer, number, list of text or nil", "numbers finite"
    if origin in (types.UnionType, Union):
        kind, allowed = described(next(each for each in arguments if each is not types.NoneType), metadata)
        return f"{kind} or nil", allowed
    if origin is Literal:
        return described_values(arguments)
    if origin is tuple:
        return described_list(arguments, metadata)
    if origin is dict:
        return described_map(arguments, metadata)
    return described_plain(annotation, metadata)


def described_values(values: tuple[Any, ...]) -> tuple[str, str]:
    if isinstance(values[0], int):
        return "integer", ", ".join(str(value) for value in values)
    return "text", ", ".join(f"`{value}`" for value in values)


def described_list(arguments: tuple[Any, ...], metadata: list[Any]) -> tuple[str, str]:
    kind, allowed = described(arguments[0], [])
    if arguments[-1] is not Ellipsis:
        return f"list of {len(arguments)}: {kind}", f"each {allowed}"
    return f"list: {kind}", "; each ".join(filter(None, (length_of(metadata, "items"), allowed)))


def described_map(arguments: tuple[Any, ...], metadata: list[Any]) -> tuple[str, str]:
    kind, allowed = described(arguments[1], [])
    return f"map: text to {kind}", f"{length_of(metadata, 'keys')}; each {allowed}"


def described_plain(annotation: type, metadata: list[Any]) -> tuple[str, str]:
    if issubclass(annotation, BaseModel):
        return f"map: [{annotation.__name__}](#{annotation.__name__.lower()})", ""
    if annotation is Code:
        return "text", "a code of [Errors](#errors)"
    if issubclass(annotation, StrEnum):
        return described_values(tuple(value.value for value in annotation))
    if annotation is bool:
        return "boolean", "true, false"
    if annotation is str:
        return "text", length_of(metadata, "characters")
    return ("integer" if annotation is int else "number"), range_of(metadata)


def length_of(metadata: list[Any], unit: str) -> str:
    least, most = bound(metadata, "min_length"), bound(metadata, "max_length")
    return "" if most is None else f"{least or 0} to {BOUNDS.get(most, most)} {unit}"


def range_of(metadata: list[Any]) -> str:
    above, least, most = bound(metadata, "gt"), bound(metadata, "ge"), bound(metadata, "le")
    low = f"above {above:g}" if above is not None else str(BOUNDS.get(least, f"{least:g}"))
    return f"from {low}" if most is None else f"{low} to {BOUNDS.get(most, f'{most:g}')}"


def bound(metadata: list[Any], name: str) -> Any:
    """The bound of that name, of the annotated_types among the metadata."""
    for each in metadata:
        for one in each if isinstance(each, GroupedMetadata) else [each]:
            if getattr(one, name, None) is not None:
                return getattr(one, name)
    return None


def section(heading: str) -> str:
    """The text below a heading, up to the next one of the same or a higher level."""
    level = heading.split(" ")[0]
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)", SPEC, re.MULTILINE | re.DOTALL)
    assert found, f"SPEC.md has no heading {heading!r}"
    return found[1]


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head; none if there is no table."""
    lines = re.findall(r"^\|(.*)\|$", section(heading), re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


@pytest.mark.parametrize("title", TABLES)
def test_each_message_and_part_has_a_table_of_its_fields(title: str) -> None:
    told = table(f"### {title}")
    assert [tuple(cells[:4]) for cells in told] == rows(TABLES[title])
    assert all(cells[4] for cells in told), "a field without a meaning"


def test_no_table_tells_of_a_message_that_there_is_not() -> None:
    below = "".join(map(section, ("## Messages to the daemon", "## Messages to the client", "## Parts of headers")))
    assert re.findall(r"^### (.*)$", below, re.MULTILINE) == list(TABLES)


def test_messages_stand_under_the_side_that_reads_them() -> None:
    for heading, union in (("## Messages to the daemon", ToServer), ("## Messages to the client", ToClient)):
        for model in get_args(get_args(union)[0]):
            assert f"`{kind_of(model)}`" in section(heading)


def test_codes_and_what_to_do_after_them() -> None:
    told = table("## Errors")
    assert [(cells[0], cells[1]) for cells in told] == [(f"`{code}`", f"`{RETRY[code]}`") for code in Code]
    assert all(cells[2] for cells in told), "a code without a meaning"


def test_limits() -> None:
    assert {cells[0]: int(cells[1]) for cells in table("## Limits")} == LIMITS


def test_lengths_of_raw_pictures() -> None:
    told = {cells[0].strip("`"): int(cells[5]) for cells in table("### Raw pictures") if cells[0]}
    assert told == {pixels: layout(pixels, 5, 3).total_bytes for pixels in get_args(Pixels)}


def test_the_example_of_strides() -> None:
    padded = layout("yuv420p", 5, 3, (8, 4, 16))
    _, cb, cr = padded.planes
    text = " ".join(section("### Raw pictures").split())
    assert "With strides `[8, 4, 16]` a `yuv420p` picture of 5 x 3 pixels" in text
    assert f"8 x 3 + 4 x 2 + 16 x 2 = {padded.total_bytes} bytes" in text
    assert f"Cb begins at byte {cb.offset}, Cr at byte {cr.offset}" in text


def test_the_conversation_is_that_of_the_vectors() -> None:
    vectors = json.loads((PROTO / "vectors" / "valid.json").read_text(encoding="utf-8"))
    said = [each for each in vectors if each["name"].startswith("conversation-")]
    told = list(conversation())
    assert len(told) == len(said) > 0
    for (direction, header, header_hex, payloads), vector in zip(told, said, strict=True):
        packed, *expected = vector["parts_hex"]
        assert (direction, payloads) == (vector["direction"], expected)
        assert header == json.dumps(msgpack.unpackb(bytes.fromhex(packed)))
        assert header_hex in (None, packed)
    assert sum(header_hex is not None for _, _, header_hex, _ in told) >= 3


def conversation() -> Iterator[tuple[str, str, str | None, list[str]]]:
    """What is said in SPEC.md's last section: direction, header as JSON, perhaps its hex, payloads in hex."""
    directions = {"→": "to_server", "←": "to_client"}
    steps = re.findall(r"^([→←]) (.*)\n((?:[=+] .*\n)*)", section("## A conversation"), re.MULTILINE)
    for arrow, header, rest in steps:
        hexes = [line.split() for line in rest.splitlines()]
        header_hex = next((digits for sign, digits in hexes if sign == "="), None)
        yield directions[arrow], header, header_hex, [digits for sign, digits in hexes if sign == "+"]


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", SPEC, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]*)\)", SPEC):
        assert target.removeprefix("#") in anchors if target.startswith("#") else (PROTO / target).exists(), target
