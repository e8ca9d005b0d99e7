"""Bytes to messages and back: the MessagePack header, and the parts around it. No sockets.

On the wire a message is several parts: the header, a MessagePack map, then its payloads, raw bytes. SPEC.md says it
in words, vectors/ in bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgpack
from pydantic import TypeAdapter, ValidationError

from .brief import explain
from .errors import InvalidMessage, MalformedMessage, ProtocolError, TooLarge, UnknownMessage, UnsupportedVersion
from .limits import MAX_HEADER_BYTES, MAX_INTEGER, MAX_NESTING, MAX_PAYLOAD_BYTES, MAX_PAYLOADS, MAX_SESSION
from .messages import VERSION, FrameIn, Message, Painted, Seen, ToClient, ToServer, wire_form

Payload = bytes | memoryview
M = TypeVar("M")

_TO_SERVER: TypeAdapter[ToServer] = TypeAdapter(ToServer)
_TO_CLIENT: TypeAdapter[ToClient] = TypeAdapter(ToClient)


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """A message with its payloads, which are views on what was received: no copy is made."""

    message: M
    payloads: tuple[Payload, ...]


def pack(message: Message) -> bytes:
    """The header of a message. Raises TooLarge if its texts are longer than a header may be."""
    header: bytes = msgpack.packb(wire_form(message))
    if len(header) > MAX_HEADER_BYTES:
        raise TooLarge(f"the header has {len(header)} bytes, of at most {MAX_HEADER_BYTES}")
    return header


def to_server(parts: Sequence[Payload]) -> Received[ToServer]:
    """What a client sent. Raises ProtocolError, and nothing else, for whatever is no message."""
    return _received(parts, _TO_SERVER)


def to_client(parts: Sequence[Payload]) -> Received[ToClient]:
    """What a server sent. Raises ProtocolError, and nothing else, for whatever is no message."""
    return _received(parts, _TO_CLIENT)


def _received(parts: Sequence[Payload], adapter: TypeAdapter[M]) -> Received[M]:
    if not parts:
        raise MalformedMessage("a message has at least a header; this one has no parts")
    header, payloads = _header(parts[0]), tuple(parts[1:])
    about = _about(header)
    _check_version(header, about)
    _check_sizes(payloads, about)
    try:
        message = adapter.validate_python(header)
    except ValidationError as error:
        raise _complaint(error, header, about) from None
    _check_count(message, payloads, about)
    return Received(message, payloads)


def _header(part: Payload) -> dict[Any, Any]:
    size = len(part)
    if size > MAX_HEADER_BYTES:
        raise TooLarge(f"the header has {size} bytes, of at most {MAX_HEADER_BYTES}")
    try:
        header = msgpack.unpackb(part, raw=False, strict_map_key=True, use_list=False)
    except (ValueError, RecursionError) as error:  # msgpack's own errors are ValueErrors
        raise MalformedMessage(f"the header is not MessagePack: {str(error) or type(error).__name__}") from None
    if not isinstance(header, dict):
        raise MalformedMessage(f"the header must be a MessagePack map, not {type(header).__name__}")
    _check_nesting(header)
    return header


def _check_nesting(header: dict[Any, Any]) -> None:
    """Raises MalformedMessage for maps and arrays too deep in one another, and for keys that are not text.

    Does not recurse: what is in the header comes from outside.
    """
    level: list[Any] = [header]
    for _ in range(MAX_NESTING):
        for each in level:
            if isinstance(each, dict) and not all(isinstance(key, str) for key in each):
                raise MalformedMessage("the keys of a map are text (MessagePack str), and one is not")
        insides = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for inside in insides for value in inside if isinstance(value, dict | tuple)]
    if level:
        raise MalformedMessage(f"the header has maps and arrays more than {MAX_NESTING} deep in one another")


def _about(header: Mapping[Any, Any]) -> dict[str, int | None]:
    """The session, frame and request that a header names, so that even a bad one is answered to the right address."""

    def number(key: str, most: int) -> int | None:
        value = header.get(key)
        return value if type(value) is int and 0 <= value <= most else None

    return {
        "session": number("session", MAX_SESSION),
        "index": number("index", MAX_INTEGER),
        "request": number("request", MAX_INTEGER),
    }


def _check_version(header: Mapping[Any, Any], about: Mapping[str, int | None]) -> None:
    version = header.get("v")
    if type(version) is not int or version != VERSION:
        raise UnsupportedVersion(f"`v` must be {VERSION}, the version spoken here (got {version!r:.40})", **about)


def _check_sizes(payloads: Sequence[Payload], about: Mapping[str, int | None]) -> None:
    if len(payloads) > MAX_PAYLOADS:
        raise TooLarge(f"a message has at most {MAX_PAYLOADS} payloads (got {len(payloads)})", **about)
    for number, payload in enumerate(payloads):
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise TooLarge(f"payload {number} has {len(payload)} bytes, of at most {MAX_PAYLOAD_BYTES}", **about)


def _check_count(message: object, payloads: Sequence[Payload], about: Mapping[str, int | None]) -> None:
    expected = _payloads_of(message)
    if len(payloads) != expected:
        kind = getattr(message, "type", "?")
        raise InvalidMessage(f"a `{kind}` like this has {expected} payloads (got {len(payloads)})", **about)


def _payloads_of(message: object) -> int:
    """How many payloads belong to a message."""
    if isinstance(message, FrameIn):
        return 1 + len(message.controls)
    return len(message.parts) if isinstance(message, Painted | Seen) else 0


def _complaint(error: ValidationError, header: Mapping[Any, Any], about: Mapping[str, int | None]) -> ProtocolError:
    kind = header.get("type")
    if any(each["type"].startswith("union_tag") for each in error.errors(include_url=False)):
        return UnknownMessage(f"`type` {kind!r:.60} is not known here", **about)
    return InvalidMessage(explain(error, "message"), **about)
