"""AMF0: byte for byte, both ways, and what is no AMF0."""

import contextlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warpaint.client.bridge.rtmp.amf import DEEPEST, MOST_VALUES, Value, values, written
from warpaint.client.bridge.rtmp.errors import Unintelligible

ONE = b"\x00\x3f\xf0\x00\x00\x00\x00\x00\x00"
CONNECT = b"\x02\x00\x07connect" + ONE + b"\x03\x00\x03app\x02\x00\x04live\x00\x00\x09"


def test_a_command_is_these_bytes() -> None:
    assert written(["connect", 1, {"app": "live"}]) == CONNECT
    assert values(CONNECT) == ["connect", 1.0, {"app": "live"}]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x01\x00", False),
        (b"\x01\x01", True),
        (b"\x05", None),
        (b"\x06", None),
        (b"\x08\x00\x00\x00\x07\x00\x01a\x05\x00\x00\x09", {"a": None}),  # a mapping that is wrong about its length
        (b"\x0a\x00\x00\x00\x02\x05\x01\x01", [None, True]),
        (b"\x0b" + ONE[1:] + b"\0\0", 1.0),
        (b"\x0c\x00\x00\x00\x02hi", "hi"),
        (b"\x0f\x00\x00\x00\x04<a/>", "<a/>"),
        (b"\x10\x00\x01T\x00\x01a\x05\x00\x00\x09", {"a": None}),
        (b"\x03\x00\x00\x05\x00\x00\x09", {"": None}),  # a name of nothing is no end
    ],
)
def test_what_is_read(data: bytes, value: Value) -> None:
    assert values(data) == [value]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x02\x00\x05abc", "cut off"),
        (b"\x00\x00", "cut off"),
        (b"\x03\x00\x01a", "cut off"),
        (b"\x07\x00\x00", "a type that is not read"),
        (b"\x11\x04", "a type that is not read"),
        (b"\x02\x00\x02\xff\xfe", "no UTF-8"),
        (b"\x0a\xff\xff\xff\xff" + b"\x05" * 2000, "too many values"),
        (b"\x05" * (MOST_VALUES + 1) + b"\x0a\x00\x00\x00\x01" * 9, None),
        (b"\x0a\x00\x00\x00\x01" * (DEEPEST + 2), "too many values"),
        (b"\x03\x00\x01a" * 5000, "too many values"),
    ],
)
def test_what_is_too_much_or_no_amf(data: bytes, complaint: str | None) -> None:
    if complaint is None:
        assert len(values(data)) == MOST_VALUES
        return
    with pytest.raises(Unintelligible, match=complaint):
        values(data)


texts = st.text(max_size=20)
scalars = st.none() | st.booleans() | st.floats(allow_nan=False) | texts
trees = st.recursive(scalars, lambda inner: st.dictionaries(texts, inner, max_size=3), max_leaves=8)


@given(st.lists(trees.filter(lambda tree: depth(tree) <= DEEPEST), max_size=5))
def test_what_is_written_is_read(items: list[Value]) -> None:
    assert values(written(items)) == items  # type: ignore[arg-type]  # the strategy makes no lists


def depth(tree: Value) -> int:
    return 1 + max(map(depth, tree.values()), default=0) if isinstance(tree, dict) else 0


@given(st.binary(max_size=300))
def test_garbage_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(Unintelligible):
        values(data)


def test_a_number_is_eight_bytes() -> None:
    (nan,) = values(b"\x00" + struct.pack(">d", math.nan))
    assert isinstance(nan, float)
    assert math.isnan(nan)
