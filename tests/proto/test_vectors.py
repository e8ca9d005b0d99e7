import json
import runpy
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from warpaint.proto.errors import Code, ProtocolError
from warpaint.proto.messages import ToClient, ToServer
from warpaint.proto.wire import pack, to_client, to_server

HERE = Path(__file__).parent
VECTORS = HERE.parents[1] / "proto" / "vectors"
PARSERS: dict[str, Any] = {"to_server": to_server, "to_client": to_client}
Vector = dict[str, Any]

# What another program may write, and we do not: defaults spelled out, unknown keys, longer forms.
NOT_OURS = {
    "open-defaults-spelled-out",
    "open-unknown-key-in-source",
    "open-integers-for-numbers",
    "rekey-unknown-keys",
    "frame-keys-in-any-order",
    "ping-wide-forms",
}


def load(name: str) -> list[Vector]:
    vectors: list[Vector] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return vectors


VALID, INVALID = load("valid.json"), load("invalid.json")


def label(vector: Vector) -> str:
    return f"{vector['direction']}-{vector['name']}"


def parts_of(vector: Vector) -> list[bytes]:
    return [b"".join(map(piece_of, part if isinstance(part, list) else [part])) for part in vector["parts_hex"]]


def piece_of(piece: str | dict[str, Any]) -> bytes:
    if isinstance(piece, str):
        return bytes.fromhex(piece)
    if piece["repeat_hex"] == "00":
        return bytes(piece["times"])  # a payload past its limit costs no memory so
    return bytes.fromhex(piece["repeat_hex"]) * int(piece["times"])


@pytest.mark.parametrize(("file", "maker"), [("valid.json", "valid_vectors"), ("invalid.json", "invalid_vectors")])
def test_the_files_are_current(file: str, maker: str) -> None:
    made = runpy.run_path(str(HERE / "make_vectors.py"))
    assert (VECTORS / file).read_text(encoding="utf-8") == made["written"](made[maker]()), (
        "run python tests/proto/make_vectors.py"
    )


@pytest.mark.parametrize("vector", VALID, ids=label)
def test_a_valid_vector_means_what_it_says(vector: Vector) -> None:
    header, *payloads = parts_of(vector)
    received = PARSERS[vector["direction"]]([header, *payloads])
    assert json.loads(received.message.model_dump_json()) == vector["message"]
    assert list(received.payloads) == payloads


@pytest.mark.parametrize("vector", VALID, ids=label)
def test_a_valid_vector_is_written_as_it_stands(vector: Vector) -> None:
    header, *payloads = parts_of(vector)
    message = PARSERS[vector["direction"]]([header, *payloads]).message
    assert (pack(message) == header) is (vector["name"] not in NOT_OURS)
    assert PARSERS[vector["direction"]]([pack(message), *payloads]).message == message


@pytest.mark.parametrize("vector", INVALID, ids=label)
def test_an_invalid_vector_is_refused_with_its_code(vector: Vector) -> None:
    with pytest.raises(ProtocolError) as caught:
        PARSERS[vector["direction"]](parts_of(vector))
    assert caught.value.code == vector["error"]
    assert str(caught.value)


@pytest.mark.parametrize(("direction", "union"), [("to_server", ToServer), ("to_client", ToClient)])
def test_each_message_type_has_a_vector(direction: str, union: Any) -> None:
    types = {model.model_fields["type"].default for model in get_args(get_args(union)[0])}
    assert {each["message"]["type"] for each in VALID if each["direction"] == direction} == types


def test_each_code_has_a_vector() -> None:
    assert {each["error"] for each in INVALID} == {error.code for error in ProtocolError.__subclasses__()}
    assert {each["message"]["code"] for each in VALID if each["message"]["type"] == "error"} == set(Code)


def test_names_are_unique_in_a_direction() -> None:
    for vectors in (VALID, INVALID):
        assert Counter(map(label, vectors)).most_common(1)[0][1] == 1
    assert {each["name"] for each in VALID} >= NOT_OURS


def test_the_files_stay_small() -> None:
    assert all(path.stat().st_size < 100_000 for path in VECTORS.iterdir())
