import argparse
from typing import Any

import pytest

from warpaint.client.flags import add_brief_flags, brief_changes
from warpaint.proto.brief import Brief


def parsed(*flags: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_brief_flags(parser)
    return brief_changes(parser.parse_args(flags))


def test_what_is_not_given_is_not_changed() -> None:
    assert parsed() == {}


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (("--prompt", "a harbour, at night"), {"prompt": "a harbour, at night"}),
        (("--steps", "8", "--guidance", "1"), {"steps": 8, "guidance": 1.0}),
        (("--scheduler", "dpm++", "--vae", "tiny"), {"scheduler": "dpm++", "vae": "tiny"}),
        (("--attend-last", "--no-vary-seed"), {"attend_last": True, "vary_seed": False}),
        (("--loras", "lcm:1,ink:0.5"), {"loras": ("lcm:1", "ink:0.5")}),
        (("--loras", "lcm:1", "--loras", "ink:0.5, grain"), {"loras": ("lcm:1", "ink:0.5", "grain")}),
        (("--controls=canny:1:0:0.5",), {"controls": ("canny:1:0:0.5",)}),
        (("--tag-block", ""), {"tag_block": ()}),
    ],
)
def test_what_is_given_is_a_change_of_the_brief(flags: tuple[str, ...], changes: dict[str, Any]) -> None:
    assert parsed(*flags) == changes
    brief = Brief().changed(changes)
    assert {name: getattr(brief, name) for name in changes} == changes


@pytest.mark.parametrize(("flag", "value"), [("--steps", "8.5"), ("--scheduler", "heun"), ("--guidance", "much")])
def test_what_is_no_value_is_refused(flag: str, value: str) -> None:
    with pytest.raises(argparse.ArgumentError, match=flag):
        parsed(flag, value)


def test_each_field_has_a_flag_with_its_words_and_its_default() -> None:
    parser = argparse.ArgumentParser()
    add_brief_flags(parser)
    told = " ".join(parser.format_help().split())
    for name in Brief.model_fields:
        assert f"--{name.replace('_', '-')}" in told
    assert "each NAME or NAME:WEIGHT. [none]; separated by commas, or the flag repeated" in told
    assert "[dpm++]" not in told
    assert "[ddim]" in told
