import math
from typing import Any

import pytest
from pydantic import ValidationError

from warpaint.proto.brief import Brief, explain
from warpaint.proto.errors import Code, InvalidMessage
from warpaint.proto.limits import MAX_INTEGER, MAX_NAME, MAX_TEXT


def complaint(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Brief(**fields)
    return explain(caught.value, "brief")


def test_every_field_has_a_default_and_a_description() -> None:
    for name, field in Brief.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name


def test_a_brief_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Brief(), "seed", 7)  # noqa: B010, a plain assignment is already refused by the type checker


def test_a_change_is_a_new_brief() -> None:
    brief = Brief(seed=7)
    changed = brief.changed({"look": "pencil", "strength": 1})
    assert changed == Brief(seed=7, look="pencil", strength=1.0)
    assert brief == Brief(seed=7)


def test_no_change_is_an_equal_brief() -> None:
    assert Brief(seed=7).changed({}) == Brief(seed=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"promt": "x"}, r"^brief\.promt: Extra inputs are not permitted \(got 'x'\)$"),
        ({"strength": 1.5}, r"^brief\.strength: Input should be less than or equal to 1 \(got 1\.5\)$"),
        ({"max_hops": 0}, r"^brief\.max_hops: Input should be greater than or equal to 1 \(got 0\)$"),
        ({"seed": 7.0}, r"^brief\.seed: Input should be a valid integer \(got 7\.0\)$"),
        ({"keyframe_gap_min_s": 11.0}, r"keyframe_gap_min_s \(11\.0\) must not exceed keyframe_gap_max_s \(10\.0\)"),
    ],
)
def test_a_change_that_cannot_be_names_field_rule_and_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidMessage, match=message) as caught:
        Brief().changed(changes)
    assert caught.value.code is Code.INVALID_FIELD


def test_fields_that_depend_on_each_other_can_change_together() -> None:
    changed = Brief().changed({"keyframe_gap_min_s": 20.0, "keyframe_gap_max_s": 30.0})
    assert (changed.keyframe_gap_min_s, changed.keyframe_gap_max_s) == (20.0, 30.0)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("strength", 0.0, 1.0),
        ("seed", 0, MAX_INTEGER),
        ("keyframe_threshold", 0.0, 255.0),
        ("hole_limit", 0.0, 1.0),
        ("hole_limit_s", 0.0, 3600.0),
        ("confidence", 0.0, 1.0),
        ("max_hops", 1, 254),
        ("fade_s", 0.0, 10.0),
        ("feather", 0, 64),
    ],
)
def test_bounds_are_allowed_and_one_past_them_is_not(name: str, least: Any, most: Any) -> None:
    assert getattr(Brief(**{name: least}), name) == least
    assert getattr(Brief(**{name: most}), name) == most
    assert f"brief.{name}:" in complaint(**{name: least - 1})
    assert f"brief.{name}:" in complaint(**{name: most + 1})


def test_the_longest_gap_is_not_zero() -> None:
    assert "greater than 0" in complaint(keyframe_gap_min_s=0.0, keyframe_gap_max_s=0.0)


def test_lengths_of_texts() -> None:
    brief = Brief(look="x" * MAX_NAME, prompt="x" * MAX_TEXT, negative_prompt="x" * MAX_TEXT)
    assert len(brief.prompt) == MAX_TEXT
    assert f"at most {MAX_TEXT} characters" in complaint(prompt="x" * (MAX_TEXT + 1))
    assert f"at most {MAX_NAME} characters" in complaint(look="x" * (MAX_NAME + 1))
    assert "at least 1 character" in complaint(look="")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "0.5", None, [0.5]])
def test_a_number_is_a_finite_number(value: object) -> None:
    assert complaint(strength=value).startswith("brief.strength: Input should be ")


def test_the_first_complaints_are_told_and_the_others_counted() -> None:
    told = complaint(strength=2.0, seed=-1, max_hops=0, feather=-1, fade_s=-1.0)
    assert [part.split(":")[0] for part in told.split("; ")[:3]] == ["brief.strength", "brief.seed", "brief.max_hops"]
    assert told.endswith("; and 2 more")


def test_a_long_value_is_cut() -> None:
    told = complaint(strength="x" * 5_000)
    assert told.endswith("...)")
    assert len(told) < 200


@pytest.mark.parametrize("key", ["x" * 5_000, "a\nb", "\x1b[31m"])
def test_a_key_that_the_other_side_made_up_is_printed_safely(key: str) -> None:
    told = complaint(**{key: 1})
    assert told.isprintable()
    assert len(told) < 200
