from collections.abc import Callable, Sequence
from typing import Any

import pytest

from warpaint.proto.brief import Brief
from warpaint.proto.errors import (
    Code,
    InvalidMessage,
    MalformedMessage,
    ProtocolError,
    Retry,
    TooLarge,
    UnknownMessage,
    UnsupportedVersion,
)
from warpaint.proto.limits import (
    MAX_HEADER_BYTES,
    MAX_INTEGER,
    MAX_NESTING,
    MAX_PAYLOAD_BYTES,
    MAX_PAYLOADS,
    MAX_SESSION,
)
from warpaint.proto.messages import (
    Credit,
    Error,
    FrameIn,
    Message,
    Open,
    Painted,
    Part,
    Ping,
    Provenance,
    Source,
    Status,
    Update,
    Value,
)
from warpaint.proto.wire import pack, to_client, to_server

PING = b"\x82\xa1v\x01\xa4type\xa4ping"
CLOSE = b"\x83\xa1v\x01\xa4type\xa5close\xa7session"  # without the number
FRAME = b"\x85\xa1v\x01\xa4type\xa5frame\xa7session\x01\xa5index\x02\xa3pts\xd0\xd8"
FRAME_WITH_CONTROLS = (
    b"\x86\xa1v\x01\xa4type\xa5frame\xa7session\x01\xa5index\x02\xa3pts\x28\xa8controls\x92\xa5depth\xa4pose"
)

# Written by hand from the MessagePack specification, so that a mistake of ours cannot stand on both sides.
LITERALS: list[tuple[Callable[..., Any], bytes, Message, list[bytes]]] = [
    (to_server, PING, Ping(), []),
    (to_client, b"\x83\xa1v\x01\xa4type\xa4ping\xa5nonce\xcd\x01\x00", Ping(nonce=256), []),
    (to_server, FRAME, FrameIn(session=1, index=2, pts=-40), [b"\x07"]),
    (
        to_server,
        b"\x84\xa1v\x01\xa4type\xa4open\xa7session\x01\xa6source\x83\xa5width\x04\xa6height\x02\xa9time_base\x92\x01\x19",
        Open(session=1, source=Source(width=4, height=2, time_base=(1, 25))),
        [],
    ),
    (
        to_server,
        b"\x85\xa1v\x01\xa4type\xa4open\xa7session\x01\xa6source\x82\xa5width\x04\xa6height\x02"
        b"\xa5brief\x82\xa6prompt\xa2\xc3\xb6\xa8strength\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00",
        Open(
            session=1,
            source=Source(width=4, height=2),
            brief=Brief(prompt="\N{LATIN SMALL LETTER O WITH DIAERESIS}", strength=0.5),
        ),
        [],
    ),
    (
        to_server,
        b"\x85\xa1v\x01\xa4type\xa6update\xa7session\x01\xa7request\x07\xa7changes\x84"
        b"\xa4seed\x01\xa9vary_seed\xc3\xa6fade_s\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xa4look\xc0",
        Update(session=1, request=7, changes={"seed": 1, "vary_seed": True, "fade_s": 1.0, "look": None}),
        [],
    ),
    (
        to_client,
        b"\x88\xa1v\x01\xa4type\xa7painted\xa7session\x01\xa5index\x02\xa3pts\x28\xa5epoch\x00\xaaprovenance\xa6warped"
        b"\xa5parts\x92\x81\xa4name\xa7picture\x83\xa4name\xa4hops\xa5dtype\xa5uint8\xa5shape\x92\x02\x04",
        Painted(
            session=1,
            index=2,
            pts=40,
            epoch=0,
            provenance=Provenance.WARPED,
            parts=(Part(name="picture"), Part(name="hops", dtype="uint8", shape=(2, 4))),
        ),
        [b"\x07", b"\x01" * 8],
    ),
    (
        to_server,
        FRAME_WITH_CONTROLS,
        FrameIn(session=1, index=2, pts=40, controls=("depth", "pose")),
        [b"\x07", b"\x08" * 3, b"\x09" * 3],
    ),
    (
        to_client,
        b"\x84\xa1v\x01\xa4type\xa6credit\xa7session\x01\xa6frames\xcd\x04\x00",
        Credit(session=1, frames=1024),
        [],
    ),
    (
        to_client,
        b"\x86\xa1v\x01\xa4type\xa5error\xa5index\x02\xa4code\xa9bad_frame\xa5retry\xa7changed\xa7message\xa0",
        Error(index=2, code=Code.BAD_FRAME, retry=Retry.CHANGED, message=""),
        [],
    ),
]


@pytest.mark.parametrize(("parse", "header", "message", "payloads"), LITERALS)
def test_bytes_are_read(parse: Callable[..., Any], header: bytes, message: Message, payloads: list[bytes]) -> None:
    received = parse([header, *payloads])
    assert received.message == message
    assert received.payloads == tuple(payloads)


@pytest.mark.parametrize(("header", "message"), [(header, message) for _, header, message, _ in LITERALS])
def test_bytes_are_written(header: bytes, message: Message) -> None:
    assert pack(message) == header


def test_payloads_are_not_copied() -> None:
    payload = memoryview(b"\x07")
    assert to_server([memoryview(FRAME), payload]).payloads[0] is payload


def test_a_header_past_its_limit_is_not_sent() -> None:
    text = "\N{LATIN SMALL LETTER O WITH DIAERESIS}" * 4_096
    changes: dict[str, Value] = {f"key{number}": text for number in range(9)}
    with pytest.raises(TooLarge, match=f"of at most {MAX_HEADER_BYTES}"):
        pack(Update(session=1, request=1, changes=changes))


def test_the_longest_header_is_read() -> None:
    fill = MAX_HEADER_BYTES - len(CLOSE) - 1 - 4 - 3
    header = b"\x84" + CLOSE[1:] + b"\x01\xa3new\xc5" + fill.to_bytes(2, "big") + bytes(fill)
    assert len(header) == MAX_HEADER_BYTES
    assert to_server([header]).message.type == "close"
    with pytest.raises(TooLarge, match=f"the header has {MAX_HEADER_BYTES + 1} bytes, of at most {MAX_HEADER_BYTES}"):
        to_server([header + b"\x00"])


def test_nesting_has_a_limit() -> None:
    deepest = b"\x84" + CLOSE[1:] + b"\x01\xa3new" + b"\x91" * (MAX_NESTING - 2) + b"\x90"
    assert to_server([deepest]).message.type == "close"
    deeper = b"\x84" + CLOSE[1:] + b"\x01\xa3new" + b"\x91" * (MAX_NESTING - 1) + b"\x90"
    with pytest.raises(MalformedMessage, match=f"more than {MAX_NESTING} deep"):
        to_server([deeper])


@pytest.mark.parametrize(
    "before", [b"\x81\xa1v", b"\x82\xa1v\x01\xa4type", CLOSE, b"\x84" + CLOSE[1:] + b"\x01\xa3new", b""]
)
@pytest.mark.parametrize("depth", [100, 900, 1_000, 1_020, 1_023, 1_024, 2_000, 60_000])
@pytest.mark.parametrize("one", [b"\x91", b"\x81\xa0"])
def test_no_depth_exhausts_the_stack(before: bytes, depth: int, one: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        to_server([before + one * min(depth, 30_000) + b"\xc0"])
    assert caught.value.code is Code.BAD_MESSAGE
    assert not str(caught.value).endswith(": ")


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ([], MalformedMessage, "at least a header"),
        ([b""], MalformedMessage, "not MessagePack: .*incomplete"),
        ([PING + b"\x00"], MalformedMessage, "not MessagePack: .*extra data"),
        ([b"\xc1"], MalformedMessage, r"not MessagePack: \w+"),
        ([b"\x81\xa2v\xff\x01"], MalformedMessage, "'utf-8' codec can't decode byte 0xff"),
        ([b"\x92\x01\x02"], MalformedMessage, "must be a MessagePack map, not tuple"),
        ([b"\x80"], UnsupportedVersion, r"`v` must be 1, .* \(got None\)"),
        ([PING.replace(b"v\x01", b"v\xc3")], UnsupportedVersion, r"\(got True\)"),
        ([PING.replace(b"v\x01", b"v\x02")], UnsupportedVersion, r"\(got 2\)"),
        ([PING.replace(b"ping", b"pinh")], UnknownMessage, "`type` 'pinh' is not known here"),
        ([b"\x81\xa1v\x01"], UnknownMessage, "`type` None is not known here"),
        ([CLOSE + b"\xa1x"], InvalidMessage, r"close\.session: Input should be a valid integer \(got 'x'\)"),
        ([CLOSE + b"\xff"], InvalidMessage, r"close\.session: .* greater than or equal to 0 \(got -1\)"),
        ([CLOSE + b"\xce\x80\x00\x00\x00"], InvalidMessage, rf"less than or equal to {MAX_SESSION} \(got 2147483648\)"),
        ([b"\x82" + CLOSE[1:-8]], InvalidMessage, r"close\.session: Field required$"),
        ([FRAME], InvalidMessage, r"`frame` .* 1 payload.* \(got 0\)"),
        ([FRAME, b"", b""], InvalidMessage, r"1 payload.* \(got 2\)"),
        ([FRAME_WITH_CONTROLS, b"", b""], InvalidMessage, r"`frame` .* 3 payload.* \(got 2\)"),
        ([PING, b""], InvalidMessage, r"`ping` .* 0 payload.* \(got 1\)"),
        ([PING, *[b""] * 7], TooLarge, rf"at most {MAX_PAYLOADS} payloads \(got 7\)"),
        ([FRAME, bytes(MAX_PAYLOAD_BYTES + 1)], TooLarge, f"payload 0 has .* at most {MAX_PAYLOAD_BYTES}"),
    ],
)
def test_what_is_no_message_is_refused(parts: Sequence[bytes], error: type[ProtocolError], message: str) -> None:
    with pytest.raises(error, match=message):
        to_server(parts)


def test_a_type_of_the_other_direction_is_unknown() -> None:
    with pytest.raises(UnknownMessage, match="'frame'"):
        to_client([FRAME, b"\x07"])


def test_a_status_is_a_question_to_the_server_and_an_answer_to_the_client() -> None:
    question = b"\x82\xa1v\x01\xa4type\xa6status"
    assert pack(to_server([question]).message) == question
    with pytest.raises(InvalidMessage, match=r"status\.server: Field required"):
        to_client([question])
    answer = Status(server="", pid=1, uptime_s=0.0, resident_bytes=0, engines=(), sessions=())
    assert to_client([pack(answer)]).message == answer


@pytest.mark.parametrize(
    ("header", "about"),
    [
        (FRAME, (1, 2, None)),
        (FRAME.replace(b"frame", b"flame"), (1, 2, None)),
        (FRAME.replace(b"v\x01", b"v\x02"), (1, 2, None)),
        (FRAME.replace(b"\xa5index\x02", b"\xa5index\xff"), (1, None, None)),
        (FRAME.replace(b"\xa7session\x01", b"\xa7session\xc3"), (None, 2, None)),
        (b"\x84\xa1v\x01\xa4type\xa6update\xa7session\x01\xa7request\x07", (1, None, 7)),
        (b"\x84\xa1v\x01\xa4type\xa6update\xa7session\x01\xa7request\xcb" + bytes(8), (1, None, None)),
        (PING + b"\x00", (None, None, None)),
    ],
)
def test_an_error_is_about_what_the_header_names(header: bytes, about: tuple[int | None, ...]) -> None:
    with pytest.raises(ProtocolError) as caught:
        to_server([header])
    assert (caught.value.session, caught.value.index, caught.value.request) == about


def test_integers_are_exact_to_the_limit() -> None:
    frame = FrameIn(session=MAX_SESSION, index=MAX_INTEGER, pts=-MAX_INTEGER)
    assert to_server([pack(frame), b""]).message == frame
