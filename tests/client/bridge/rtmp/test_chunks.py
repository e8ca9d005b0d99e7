"""RTMP's chunks: byte for byte, in any pieces, and what is no chunk."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warpaint.client.bridge.rtmp.chunks import MOST_STREAMS, WRAP, ChunkReader, Kind, Message, chunked
from warpaint.client.bridge.rtmp.errors import Unintelligible

LIMIT = 100_000
LATE = 0x01000000  # a time that does not fit into three bytes


def read(data: bytes, *, chunk: int = 128, cuts: tuple[int, ...] = ()) -> list[Message]:
    """The messages in these bytes, which come in pieces."""
    reader = ChunkReader(LIMIT)
    reader.chunk = chunk
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [each for start, end in pairwise(edges) for each in reader.receive(data[start:end])]


def head(form: int, number: int, step: int, length: int = 0, kind: int = 8, stream: int = 1) -> bytes:
    """The header of a chunk, of one of the four forms."""
    fields = (min(step, 0xFFFFFF).to_bytes(3), length.to_bytes(3) + bytes([kind]), struct.pack("<I", stream))
    late = struct.pack(">I", step) if step >= 0xFFFFFF and form < 3 else b""
    return bytes([form << 6 | number]) + b"".join(fields[: 3 - form]) + late


def test_the_four_forms_of_a_header() -> None:
    """What a header leaves out is as in the one before; a step that is left out is the same again."""
    data = b"".join(
        [
            *(head(0, 4, 1000, 2), b"ab"),
            *(head(1, 4, 20, 3, kind=9), b"cde"),
            *(head(2, 4, 30), b"fgh"),
            *(head(3, 4, 0), b"ijk"),
        ]
    )
    assert read(data) == [
        Message(8, 1000, 1, b"ab"),
        Message(9, 1020, 1, b"cde"),
        Message(9, 1050, 1, b"fgh"),
        Message(9, 1080, 1, b"ijk"),
    ]


def test_chunks_of_two_messages_are_mixed() -> None:
    data = b"".join(
        [
            *(head(0, 4, 5, 200, kind=9), b"v" * 128),
            *(head(0, 6, 7, 3), b"abc"),
            *(head(3, 4, 0), b"v" * 72),
        ]
    )
    assert read(data) == [Message(8, 7, 1, b"abc"), Message(9, 5, 1, b"v" * 200)]


@pytest.mark.parametrize(("basic", "number"), [(b"\x00\x05", 69), (b"\x01\x01\x02", 64 + 1 + 512)])
def test_numbers_of_chunk_streams_may_be_long(basic: bytes, number: int) -> None:
    begun = basic + head(0, 2, 9, 200)[1:] + b"a" * 128
    ended = bytes([basic[0] | 0xC0]) + basic[1:] + b"a" * 72
    assert read(begun + ended) == [Message(8, 9, 1, b"a" * 200)]
    reader = ChunkReader(LIMIT)
    assert list(reader.receive(begun)) == []
    reader.abort(number)
    assert list(reader.receive(basic + head(0, 2, 9, 1)[1:] + b"b")) == [Message(8, 9, 1, b"b")]


@pytest.mark.parametrize("repeated", [True, False])
def test_a_long_time_is_repeated_or_not(repeated: bool) -> None:
    """The protocol repeats it in each chunk of a message; OBS before 30.1 does not."""
    late = struct.pack(">I", LATE) if repeated else b""
    data = head(0, 4, LATE, 300) + b"x" * 128 + b"\xc4" + late + b"x" * 128 + b"\xc4" + late + b"x" * 44
    assert read(data) == [Message(8, LATE, 1, b"x" * 300)]


def test_times_wrap() -> None:
    data = head(0, 4, WRAP - 10, 1) + b"a" + head(2, 4, 30) + b"b"
    assert [each.at_ms for each in read(data)] == [WRAP - 10, 20]


def test_a_message_of_nothing() -> None:
    assert read(head(0, 4, 1, 0) + b"\xc4" + head(1, 4, 1, 1) + b"z")[-1] == Message(8, 3, 1, b"z")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (head(3, 4, 0), "never begun"),
        (head(2, 4, 1), "never begun"),
        (head(0, 4, 0, LIMIT + 1), "more than the 100000 bytes that are allowed"),
        (head(0, 4, 0, 200) + b"a" * 128 + head(0, 4, 0, 200), "begins where another one goes on"),
        (b"".join(head(0, 3, 0, 0) + bytes([0, each]) + head(0, 3, 0, 0)[1:] for each in range(MOST_STREAMS)), "more"),
    ],
)
def test_what_is_no_chunk(data: bytes, complaint: str) -> None:
    with pytest.raises(Unintelligible, match=complaint):
        read(data)


def test_what_is_announced_on_all_streams_is_bounded() -> None:
    half = LIMIT // 2 + 1
    with pytest.raises(Unintelligible, match="100000 bytes"):
        read(head(0, 4, 0, half) + b"a" * 128 + head(0, 5, 0, half))


messages = st.builds(
    Message,
    st.sampled_from(list(map(int, Kind))),
    st.integers(0, WRAP - 1) | st.integers(0xFFFFFE, 0x1000000),
    st.integers(0, 2),
    st.binary(max_size=700),
)
cuts = st.lists(st.integers(0, 10_000), max_size=8).map(tuple)


@given(st.lists(st.tuples(messages, st.integers(2, 9)), max_size=5), st.integers(1, 300), cuts)
def test_what_is_written_is_read_in_any_pieces(
    sent: list[tuple[Message, int]], chunk: int, cuts: tuple[int, ...]
) -> None:
    data = b"".join(chunked(message, number, chunk) for message, number in sent)
    assert read(data, chunk=chunk, cuts=cuts) == [message for message, _ in sent]


def outcome(data: bytes, cuts: tuple[int, ...]) -> tuple[list[Message], str]:
    """What came of it, and why it ended."""
    reader, got = ChunkReader(LIMIT), []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, end in pairwise(edges):
            for message in reader.receive(data[start:end]):
                got.append(message)
    except Unintelligible as error:
        return got, str(error)
    return got, ""


@given(st.binary(max_size=600), cuts)
def test_garbage_is_the_same_garbage_in_any_pieces(data: bytes, cuts: tuple[int, ...]) -> None:
    assert outcome(data, cuts) == outcome(data, ())
