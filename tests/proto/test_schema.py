import json
import runpy
from pathlib import Path
from typing import Any, get_args

import pytest

from warpaint.proto.limits import MAX_SESSION
from warpaint.proto.messages import ToClient, ToServer

HERE = Path(__file__).parent
FILE = HERE.parents[1] / "proto" / "schema.json"


@pytest.fixture(scope="module")
def definitions() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))["$defs"]
    return found


def test_the_file_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == runpy.run_path(str(HERE / "make_schema.py"))["written"](), (
        "run python tests/proto/make_schema.py"
    )


@pytest.mark.parametrize(("name", "union"), [("ToServer", ToServer), ("ToClient", ToClient)])
def test_each_message_of_a_direction_is_there(definitions: dict[str, Any], name: str, union: Any) -> None:
    models = get_args(get_args(union)[0])
    wanted = {model.model_fields["type"].default: f"#/$defs/{model.__name__}" for model in models}
    assert definitions[name]["discriminator"]["mapping"] == wanted
    for model in models:
        assert definitions[model.__name__]["required"][:2] == ["v", "type"]


def test_only_the_brief_refuses_unknown_keys(definitions: dict[str, Any]) -> None:
    strict = [name for name, each in definitions.items() if each.get("additionalProperties") is False]
    assert strict == ["Brief"]


def test_ranges_and_defaults_are_told(definitions: dict[str, Any]) -> None:
    session = definitions["Open"]["properties"]["session"]
    assert (session["minimum"], session["maximum"]) == (0, MAX_SESSION)
    assert "default" not in session
    assert definitions["Source"]["properties"]["time_base"]["default"] == [1, 1000]
    assert definitions["Brief"]["properties"]["strength"]["default"] == 0.75
    assert "default" not in definitions["Open"]["properties"]["v"]
