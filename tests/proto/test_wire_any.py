"""Any message survives the wire, and any bytes at all are a message or a ProtocolError that can be answered."""

import json
import math
import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgpack
import pytest
from annotated_types import BaseMetadata, GroupedMetadata
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from warpaint.proto.errors import RETRY, ProtocolError, TooLarge
from warpaint.proto.messages import Error, FrameIn, Message, Painted, Seen, ToClient, ToServer
from warpaint.proto.wire import pack, to_client, to_server

VECTORS = Path(__file__).parents[2] / "proto" / "vectors"
VALID = [
    (each["direction"], [bytes.fromhex(part) for part in each["parts_hex"]])
    for each in json.loads((VECTORS / "valid.json").read_text(encoding="utf-8"))
]
PARSERS: dict[str, Callable[..., Any]] = {"to_server": to_server, "to_client": to_client}
TO_SERVER: tuple[type[Message], ...] = get_args(get_args(ToServer)[0])
TO_CLIENT: tuple[type[Message], ...] = get_args(get_args(ToClient)[0])
TYPES = sorted({model.model_fields["type"].default for model in TO_SERVER + TO_CLIENT})
KEYS = sorted({name for model in TO_SERVER + TO_CLIENT for name in model.model_fields})

# Derandomised: the same examples on every run, so that a failure is one that everybody sees.
repeatable = settings(deadline=None, derandomize=True, database=None, max_examples=150)


def messages(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Any valid instance of a model: its required fields, and some of the others."""
    fields = {name: values(field.annotation, field.metadata) for name, field in model.model_fields.items()}
    required = {name: each for name, each in fields.items() if model.model_fields[name].is_required()}
    optional = {name: each for name, each in fields.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda chosen: built(model, chosen))


def built(model: type[BaseModel], fields: dict[str, Any]) -> BaseModel:
    try:
        return model(**fields)
    except ValidationError as error:
        # Rules between fields are not in the annotations. Any other complaint is a mistake of these strategies.
        if {detail["type"] for detail in error.errors()} != {"value_error"}:
            raise
        reject()


def values(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    """Any value that a field of this annotation may have."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values(arguments[0], [*arguments[1:], *metadata])
    if origin in (types.UnionType, Union):
        return st.one_of([st.none() if each is types.NoneType else values(each, metadata) for each in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*(values(each, []) for each in arguments))
    if origin is tuple:
        return st.lists(values(arguments[0], []), **sizes(metadata)).map(tuple)
    if origin is dict:
        return st.dictionaries(*(values(each, []) for each in arguments), **sizes(metadata))
    return plain_values(annotation, metadata)


def plain_values(annotation: type, metadata: list[Any]) -> st.SearchStrategy[Any]:
    if issubclass(annotation, BaseModel):
        return messages(annotation)
    if issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    if annotation is bool:
        return st.booleans()
    known = [each for each in metadata if isinstance(each, BaseMetadata | GroupedMetadata)]
    wanted: Any = Annotated[annotation, *known] if known else annotation
    return st.from_type(wanted).filter(math.isfinite) if annotation is float else st.from_type(wanted)


def sizes(metadata: list[Any]) -> dict[str, Any]:
    """What lists and dictionaries are bounded by, in Hypothesis's words. A few are as good as many."""
    length = next((each for each in metadata if hasattr(each, "max_length")), None)
    least, most = getattr(length, "min_length", 0), getattr(length, "max_length", 4)
    return {"min_size": least, "max_size": min(4, most)}


def payloads_of(message: Message) -> list[bytes]:
    count = len(message.parts) if isinstance(message, Painted | Seen) else 0
    if isinstance(message, FrameIn):
        count = 1 + len(message.controls)
    return [bytes([number]) for number in range(count)]


def survives(message: Message, parse: Callable[..., Any]) -> None:
    try:
        header = pack(message)
    except TooLarge:
        reject()
    received = parse([header, *payloads_of(message)])
    assert received.message == message
    assert pack(received.message) == header  # tells True from 1, which `==` does not


@pytest.mark.parametrize("model", TO_SERVER, ids=lambda model: model.__name__)
def test_any_message_to_the_server_survives(model: type[Message]) -> None:
    @given(messages(model))
    @settings(repeatable, max_examples=40)
    def check(message: Message) -> None:
        survives(message, to_server)

    check()


@pytest.mark.parametrize("model", TO_CLIENT, ids=lambda model: model.__name__)
def test_any_message_to_the_client_survives(model: type[Message]) -> None:
    @given(messages(model))
    @settings(repeatable, max_examples=40)
    def check(message: Message) -> None:
        survives(message, to_client)

    check()


def is_judged(parse: Callable[..., Any], parts: list[bytes]) -> None:
    """The parts are a message, or a ProtocolError that can be sent as an `error`; nothing else may come out."""
    verdict = judged(parse, parts)
    if isinstance(verdict, ProtocolError):
        about: dict[str, Any] = {"session": verdict.session, "index": verdict.index, "request": verdict.request}
        answer = Error(code=verdict.code, retry=RETRY[verdict.code], message=str(verdict), **about)
        assert to_client([pack(answer)]).message == answer
        assert not answer.message.endswith(": ")
    else:
        assert parse([pack(verdict), *parts[1:]]).message == verdict


def judged(parse: Callable[..., Any], parts: list[bytes]) -> Message | ProtocolError:
    try:
        message: Message = parse(parts).message
    except ProtocolError as refusal:
        return refusal
    return message


parsers = st.sampled_from(sorted(PARSERS)).map(PARSERS.__getitem__)


@given(parsers, st.lists(st.binary(max_size=64), max_size=7))
@settings(repeatable)
def test_any_bytes(parse: Callable[..., Any], parts: list[bytes]) -> None:
    is_judged(parse, parts)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8)),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(KEYS) | st.text(max_size=8)
    return st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)


anything = st.recursive(scalars, containers, max_leaves=8)


@given(parsers, anything, st.lists(st.binary(max_size=2), max_size=6))
@settings(repeatable)
def test_any_messagepack(parse: Callable[..., Any], header: object, payloads: list[bytes]) -> None:
    is_judged(parse, [msgpack.packb(header), *payloads])


@given(parsers, st.sampled_from(TYPES), st.dictionaries(st.sampled_from(KEYS), anything), st.integers(0, 5))
@settings(repeatable)
def test_any_fields_of_any_type(parse: Callable[..., Any], kind: str, fields: dict[str, Any], payloads: int) -> None:
    is_judged(parse, [msgpack.packb({**fields, "v": 1, "type": kind}), *[b""] * payloads])


@given(st.sampled_from(VALID), st.data())
@settings(repeatable)
def test_a_valid_message_with_one_field_replaced(vector: tuple[str, list[bytes]], data: st.DataObject) -> None:
    direction, [packed, *payloads] = vector
    header = msgpack.unpackb(packed)
    where = header
    while True:
        key = data.draw(st.sampled_from(sorted(where)))
        if not isinstance(where[key], dict) or not where[key] or data.draw(st.booleans()):
            break
        where = where[key]
    where[key] = data.draw(anything)
    is_judged(PARSERS[direction], [msgpack.packb(header), *payloads])


@given(st.sampled_from(VALID), st.data())
@settings(repeatable, max_examples=500)
def test_a_valid_message_with_some_bytes_changed(vector: tuple[str, list[bytes]], data: st.DataObject) -> None:
    direction, [packed, *payloads] = vector
    header = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(header) - 1)))
        change = data.draw(st.sampled_from(["flip", "insert", "delete"]))
        if change == "flip" and header:
            header[at] ^= data.draw(st.integers(1, 255))
        elif change == "insert":
            header[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        else:
            del header[at : at + data.draw(st.integers(1, 4))]
    is_judged(PARSERS[direction], [bytes(header), *payloads])
