import math
import re
from typing import Any

import pytest
from pydantic import ValidationError

from warpaint.proto.brief import MAX_WEIGHT, Brief, Control, Lora, control_of, explain, lora_of
from warpaint.proto.errors import Code, InvalidMessage
from warpaint.proto.limits import MAX_BLOCKED_TAGS, MAX_CONTROLS, MAX_INTEGER, MAX_LORAS, MAX_NAME, MAX_TEXT


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
        ("steps", 1, 150),
        ("guidance", 0.0, 30.0),
        ("clip_skip", 0, 11),
        ("prompt_fade_s", 0.0, 60.0),
        ("colour_lock_s", 0.0, 3600.0),
        ("tag_threshold", 0.0, 1.0),
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


# Lists of texts


@pytest.mark.parametrize(
    ("text", "lora"),
    [
        ("ink", Lora("ink", 1.0)),
        ("ink:0.5", Lora("ink", 0.5)),
        ("ink:-4", Lora("ink", -MAX_WEIGHT)),
        ("ink wash v1.2:4", Lora("ink wash v1.2", MAX_WEIGHT)),
    ],
)
def test_a_lora_is_a_name_and_a_weight(text: str, lora: Lora) -> None:
    assert lora_of(text) == lora


# What `float` takes, and JSON does not.
NO_NUMBERS = ("inf", "nan", "+1", ".5", "1.", "1_0", "01", "\N{FULLWIDTH DIGIT ONE}")


@pytest.mark.parametrize(
    "text",
    [*("ink:", "ink:much", "ink:0.5:1", "ink:0.5:0:1", ":0.5", ":", "ink::1"), *(f"ink:{each}" for each in NO_NUMBERS)],
)
def test_what_is_no_lora_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(repr(text))} is not NAME or NAME:WEIGHT$"):
        lora_of(text)


@pytest.mark.parametrize("of", [lora_of, control_of])
@pytest.mark.parametrize("weight", ["4.001", "-4.001", "1e9"])
def test_a_weight_has_its_bounds(of: Any, weight: str) -> None:
    with pytest.raises(ValueError, match=rf"^'canny:{weight}': the weight must be between -4 and 4$"):
        of(f"canny:{weight}")


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("canny", Control("canny", 1.0, 0.0, 1.0)),
        ("canny:0.5", Control("canny", 0.5, 0.0, 1.0)),
        ("lineart:0.5:0.25:0.75", Control("lineart", 0.5, 0.25, 0.75)),
    ],
)
def test_a_control_is_a_kind_a_weight_and_a_share_of_the_steps(text: str, control: Control) -> None:
    assert control_of(text) == control


@pytest.mark.parametrize("text", ["canny:", "canny:1:0", "canny:1:0:1:1", "canny:1:from:to", ":1:0:1"])
def test_what_is_no_control_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^'{text}' is not KIND, KIND:WEIGHT or KIND:WEIGHT:START:END$"):
        control_of(text)


@pytest.mark.parametrize("shares", ["0.5:0.5", "0.6:0.5", "-0.1:1", "0:1.1"])
def test_a_control_ends_after_it_starts_and_within_the_steps(shares: str) -> None:
    with pytest.raises(ValueError, match=r"START and END are shares of the steps, 0 <= START < END <= 1$"):
        control_of(f"canny:1:{shares}")


def test_a_brief_reads_its_loras_and_controls() -> None:
    brief = Brief(loras=("lcm", "ink:0.5"), controls=("canny:2:0:0.5",))
    assert brief.lora_list == (Lora("lcm", 1.0), Lora("ink", 0.5))
    assert brief.control_list == (Control("canny", 2.0, 0.0, 0.5),)
    assert (Brief().lora_list, Brief().control_list) == ((), ())


def test_a_list_may_come_as_a_list() -> None:
    """As it does through MessagePack."""
    changed = Brief().changed({"loras": ["ink"], "tag_block": ["text", "text"]})
    assert (changed.loras, changed.tag_block) == (("ink",), ("text", "text"))
    assert hash(changed) == hash(Brief(loras=("ink",), tag_block=("text", "text")))


@pytest.mark.parametrize(
    ("name", "items", "message"),
    [
        ("loras", ["ink:much"], "brief.loras: Value error, 'ink:much' is not NAME or NAME:WEIGHT (got ['ink:much'])"),
        ("loras", ["ink", "lcm", "ink:0.5"], "brief.loras: Value error, 'ink' is named twice"),
        ("controls", ["canny:1:0:0.5", "canny:1:0.5:1"], "brief.controls: Value error, 'canny' is named twice"),
        ("controls", ["canny:1:1:0"], "brief.controls: Value error, 'canny:1:1:0': START and END are shares"),
        ("loras", [""], "brief.loras.0: String should have at least 1 character"),
        ("tag_block", ["x" * (MAX_NAME + 1)], f"brief.tag_block.0: String should have at most {MAX_NAME} characters"),
        ("loras", [1], "brief.loras.0: Input should be a valid string (got 1)"),
        ("loras", "ink", "brief.loras: Input should be a valid tuple (got 'ink')"),
        ("loras", None, "brief.loras: Input should be a valid tuple (got None)"),
    ],
)
def test_a_list_that_cannot_be_is_refused_by_its_field(name: str, items: Any, message: str) -> None:
    assert complaint(**{name: items}).startswith(message)


@pytest.mark.parametrize(
    ("name", "most"), [("loras", MAX_LORAS), ("controls", MAX_CONTROLS), ("tag_block", MAX_BLOCKED_TAGS)]
)
def test_a_list_has_a_longest_length(name: str, most: int) -> None:
    items = tuple(f"x{number}" for number in range(most + 1))
    assert len(getattr(Brief.model_validate({name: items[:-1]}), name)) == most
    assert complaint(**{name: items}).startswith(f"brief.{name}: Tuple should have at most {most} items")
