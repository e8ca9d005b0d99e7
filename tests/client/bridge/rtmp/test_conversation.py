"""What is said on one connection: no sockets."""

import contextlib
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.rtmp import HELLO, answered, asking, command, message, told
from warpaint.client.bridge.rtmp.amf import values, written
from warpaint.client.bridge.rtmp.chunks import Kind
from warpaint.client.bridge.rtmp.conversation import (
    GREETING,
    LEAST_WINDOW,
    LONGEST_COMMAND,
    LONGEST_MESSAGE,
    Asked,
    Conversation,
    Ended,
    Event,
    Media,
    Refused,
    right,
)
from warpaint.client.bridge.rtmp.errors import Unintelligible
from warpaint.client.bridge.rtmp.flv import HEADER, tag

PATH = "live/secret"
NOISE = bytes(range(256)) * 6
DESCRIPTION = written(["onMetaData", {"width": 160.0, "videocodecid": 7.0}])
# What OBS sends of a film, and how it ends.
FILM = b"".join(
    [
        message(Kind.DATA, written(["@setDataFrame"]) + DESCRIPTION),
        message(Kind.CHUNK_SIZE, struct.pack(">I", 4096), number=2),
        message(Kind.VIDEO, b"\x17\x00" + b"v" * 5000, 40, chunk=4096),
        message(Kind.AUDIO, b"\xaf\x01aaa", 41, number=5),
    ]
)
END = command("FCUnpublish", 6, None, "secret") + command("deleteStream", 7, None, 1)


def talk(data: bytes, cuts: tuple[int, ...] = (), path: str = PATH) -> tuple[list[Event], bytes]:
    """What comes of these bytes, in pieces, and what is answered. Who asks may publish."""
    conversation = Conversation(path, NOISE[: GREETING - 8])
    events: list[Event] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        for event in conversation.receive(data[start:end]):
            events.append(event)
            if isinstance(event, Asked):
                conversation.accept()
    return events, bytes(conversation.outgoing)


def film(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Media))


def test_a_publisher_is_let_in_and_its_film_becomes_flv() -> None:
    events, out = talk(asking("secret") + FILM + END)
    assert [type(event) for event in events] == [Asked, Media, Media, Media, Ended]
    assert film(events) == b"".join(
        [
            HEADER,
            tag(Kind.DATA, 0, DESCRIPTION),
            tag(Kind.VIDEO, 40, b"\x17\x00" + b"v" * 5000),
            tag(Kind.AUDIO, 41, b"\xaf\x01aaa"),
        ]
    )
    assert out[0] == 3
    assert out[1 + GREETING : 1 + 2 * GREETING] == bytes(GREETING)  # theirs, given back
    codes = [code for code, _ in told(out)]
    assert codes == ["NetConnection.Connect.Success", "NetStream.Publish.Start"]
    results = [values(each.data)[1] for each in answered(out) if each.data.startswith(written(["_result"]))]
    assert results == [1.0, 2.0, 3.0, 4.0]


def test_flv_is_these_bytes() -> None:
    assert HEADER == b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"
    assert tag(9, 0x01020304, b"ab") == b"\x09\x00\x00\x02\x02\x03\x04\x01\x00\x00\x00ab\x00\x00\x00\x0d"


def test_a_film_need_not_be_described() -> None:
    events, _ = talk(asking("secret") + message(Kind.AUDIO, b"\xaf\x00"))
    assert film(events) == HEADER + tag(8, 0, b"\xaf\x00")


def test_a_description_that_cannot_be_read_is_left_out() -> None:
    events, _ = talk(asking("secret") + message(Kind.DATA, b"\x02\x00\x99") + message(Kind.AUDIO, b"\xaf\x00"))
    assert film(events) == HEADER + tag(8, 0, b"\xaf\x00")


def test_one_may_publish_again_on_the_same_connection() -> None:
    again = command("createStream", 8, None) + command("publish", 9, None, "secret", "live")
    events, _ = talk(asking("secret") + FILM + END + again + message(Kind.AUDIO, b"\xaf\x00", chunk=4096))
    assert [type(event) for event in events] == [Asked, Media, Media, Media, Ended, Asked, Media]
    assert film(events[5:]).startswith(b"FLV")


@pytest.mark.parametrize("key", ["wrong", "", "secre", "secrets", "Secret", "sécret"])
def test_a_wrong_key_is_refused_in_words(key: str) -> None:
    events, out = talk(asking(key) + FILM)
    assert events == [Refused("gave a wrong stream key")]
    assert told(out)[-1] == ("NetStream.Publish.BadName", "This is not the stream key that is taken here.")
    assert b"secret" not in out


def test_another_application_is_refused_in_words() -> None:
    events, out = talk(asking("secret", "other") + FILM)
    assert events == [Refused("asked for another application")]
    assert told(out) == [("NetConnection.Connect.Rejected", "There is no such application here.")]


def test_whoever_wants_to_see_something_is_refused() -> None:
    events, out = talk(asking("secret").partition(command("createStream", 4, None))[0] + command("play", 4, None, "x"))
    assert [type(event) for event in events] == [Refused]
    assert told(out)[-1][0] == "NetStream.Play.StreamNotFound"


@pytest.mark.parametrize(
    ("app", "key", "path", "may"),
    [
        ("live", "secret", "live/secret", True),
        ("live/secret", "", "live/secret", True),
        ("live", "room/secret", "live/room/secret", True),
        ("live/room", "secret", "live/room/secret", True),
        ("live", "secret/more", "live/secret", False),
        ("live", "", "live/secret", False),
        ("", "live/secret", "live/secret", True),
        ("live", "anything", "live", True),
        ("live", "", "live", True),
        ("livelier", "anything", "live", False),
        ("whatever", "anything", "", True),
    ],
)
def test_who_may(app: str, key: str, path: str, may: bool) -> None:
    assert right(app, key, path) == may


def test_a_ping_is_answered() -> None:
    _, out = talk(asking("secret") + message(Kind.USER_CONTROL, struct.pack(">HI", 6, 1234), number=2))
    assert answered(out)[-1].data == struct.pack(">HI", 7, 1234)


def test_what_was_received_is_acknowledged() -> None:
    window = message(Kind.WINDOW, struct.pack(">I", 1), number=2)  # the least one counts
    events, out = talk(asking("secret") + window + message(Kind.VIDEO, b"v" * LEAST_WINDOW))
    assert len(film(events)) > LEAST_WINDOW
    last = answered(out)[-1]
    assert last.kind == Kind.ACKNOWLEDGEMENT
    assert int.from_bytes(last.data) > LEAST_WINDOW


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "RTMPS is not spoken here"),
        (b"GET / HTTP/1.1\r\n\r\n", "a web page"),
        (b"\x06" + bytes(4000), "sent no RTMP"),
        (b"GETAWAY", "sent no RTMP"),
        (b"\x16\x16\x16\x16", "sent no RTMP"),
        (HELLO + b"\xff" * 100, "never begun"),
        (HELLO + command("createStream", 1, None), "the first command is not connect"),
        (HELLO + message(Kind.COMMAND, written(["connect"])), "without a name or number"),
        (HELLO + message(Kind.COMMAND, written([1, 1])), "without a name or number"),
        (HELLO + message(Kind.CHUNK_SIZE, bytes(4), number=2), "chunks of no length"),
        (HELLO + message(Kind.CHUNK_SIZE, b"\1", number=2), "cut off"),
        (HELLO + message(Kind.AGGREGATE, b"1234"), "aggregate"),
        (HELLO + message(Kind.VIDEO, bytes(LONGEST_COMMAND + 1)), "65536 bytes"),
        (asking("secret") + message(Kind.VIDEO, bytes(LONGEST_MESSAGE + 1)), f"{LONGEST_MESSAGE} bytes"),
    ],
)
def test_what_is_no_publisher_is_told(data: bytes, complaint: str) -> None:
    with pytest.raises(Unintelligible, match=complaint):
        talk(data)


WHOLE = asking("secret") + FILM + END
cuts = st.lists(st.integers(0, len(WHOLE)), max_size=12).map(tuple)


@given(cuts)
def test_pieces_make_no_difference(cuts: tuple[int, ...]) -> None:
    assert talk(WHOLE, cuts) == talk(WHOLE)


def test_single_bytes_make_no_difference() -> None:
    assert talk(WHOLE, tuple(range(len(WHOLE)))) == talk(WHOLE)


def outcome(data: bytes, cuts: tuple[int, ...]) -> tuple[list[Event], str]:
    """What came of it, and why it ended."""
    conversation = Conversation(PATH, NOISE[: GREETING - 8])
    events: list[Event] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, end in pairwise(edges):
            for event in conversation.receive(data[start:end]):
                events.append(event)
                if isinstance(event, Asked):
                    conversation.accept()
    except Unintelligible as error:
        return events, str(error)
    return events, ""


@given(st.lists(st.tuples(st.integers(len(HELLO), len(WHOLE) - 1), st.integers(0, 255)), max_size=6), cuts)
def test_a_talk_that_is_spoilt_is_understood_or_refused(changes: list[tuple[int, int]], cuts: tuple[int, ...]) -> None:
    spoilt = bytearray(WHOLE)
    for at, byte in changes:
        spoilt[at] = byte
    assert outcome(bytes(spoilt), cuts) == outcome(bytes(spoilt), ())


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x03", HELLO, asking("secret")]))
def test_garbage_raises_nothing_else(data: bytes, before: bytes) -> None:
    with contextlib.suppress(Unintelligible):
        talk(before + data)
