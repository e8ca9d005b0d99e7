import re

import pytest

from warpaint.proto import errors
from warpaint.proto.errors import RETRY, Code, ProtocolError, RefusedError, Retry, WarpaintError

PROTOCOL_ERRORS = ProtocolError.__subclasses__()


def test_each_code_says_what_to_do_next() -> None:
    assert list(RETRY) == list(Code)
    assert all(isinstance(retry, Retry) for retry in RETRY.values())


@pytest.mark.parametrize("code", Code)
def test_codes_are_their_names_in_lower_case(code: Code) -> None:
    assert code.value == code.name.lower()


def test_each_protocol_error_has_a_code_of_its_own() -> None:
    codes = [error.code for error in PROTOCOL_ERRORS]
    assert len(set(codes)) == len(codes) == 5


@pytest.mark.parametrize("error", PROTOCOL_ERRORS)
def test_a_protocol_error_carries_what_it_is_about(error: type[ProtocolError]) -> None:
    bare, full = error("what happened"), error("what happened", session=1, index=2, request=3)
    assert (str(bare), bare.session, bare.index, bare.request) == ("what happened", None, None, None)
    assert (str(full), full.session, full.index, full.request) == ("what happened", 1, 2, 3)


def test_a_refusal_carries_its_code() -> None:
    refusal = RefusedError(Code.UNSUPPORTED, "not offered")
    assert (refusal.code, str(refusal)) == (Code.UNSUPPORTED, "not offered")


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    tree = re.findall(r"^[│ ]*(?:[├└]── )?(\w+)(?: {2,}\S.*)?$", errors.__doc__ or "", re.MULTILINE)
    there = [name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, WarpaintError)]
    assert tree == there
