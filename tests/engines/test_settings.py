from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from warpaint.engines.settings import EngineSettings
from warpaint.proto.brief import explain

CONTROLNETS = {"canny": Path("/models/canny"), "lineart": Path("lineart=2"), "Open-Pose_2": Path("pose")}


def made(**fields: Any) -> EngineSettings:
    return EngineSettings.model_validate(fields)


def complaint(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        made(**fields)
    return explain(caught.value, "settings")


def test_every_setting_has_a_default_and_says_what_it_is() -> None:
    for name, field in EngineSettings.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name


@pytest.mark.parametrize(
    "value",
    [
        "canny=/models/canny, lineart=lineart=2, Open-Pose_2=pose",
        ["canny=/models/canny", "lineart=lineart=2", "Open-Pose_2=pose"],
        ("canny=/models/canny", "lineart=lineart=2", "Open-Pose_2=pose"),
        {"canny": "/models/canny", "lineart": "lineart=2", "Open-Pose_2": "pose"},
    ],
    ids=["text", "list", "tuple", "map"],
)
def test_controlnets_by_kind(value: Any) -> None:
    assert made(controlnets=value).controlnets == CONTROLNETS


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("canny", "'canny' is not KIND=PATH"),
        ("canny=", "'canny=' is not KIND=PATH"),
        (["canny=a", "lineart"], "'lineart' is not KIND=PATH"),
        ("canny=a,canny=b", "the ControlNet 'canny' is named twice"),
        ("depth:0.5=a", "has letters, digits, - and _ alone, not 'depth:0.5'"),
        ({"": "a"}, "has letters, digits, - and _ alone, not ''"),
        ({"línea": "a"}, "has letters, digits, - and _ alone, not 'línea'"),
        (7, "Input should be a valid dictionary (got 7)"),
    ],
)
def test_controlnets_that_cannot_be_are_told(value: Any, told: str) -> None:
    assert complaint(controlnets=value).startswith("settings.controlnets")
    assert told in complaint(controlnets=value)


@pytest.mark.parametrize("name", ["model_loras", "embeddings"])
@pytest.mark.parametrize("value", ["a.safetensors, b", ["a.safetensors", "b"], (Path("a.safetensors"), Path("b"))])
def test_lists_of_files(name: str, value: Any) -> None:
    assert getattr(made(**{name: value}), name) == (Path("a.safetensors"), Path("b"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("device", "tpu"), ("dtype", "fp8"), ("cache_mb", -1), ("least_hole", 1.5), ("model", ""), ("modell", "a")],
)
def test_what_cannot_be_is_refused_by_its_name(name: str, value: Any) -> None:
    assert complaint(**{name: value}).startswith(f"settings.{name}: ")


def test_settings_go_to_a_painters_process_as_json() -> None:
    settings = made(model="sd", controlnets=CONTROLNETS, model_loras="a,b", compile=True)
    assert EngineSettings.model_validate_json(settings.model_dump_json(exclude_defaults=True)) == settings
    assert EngineSettings().model_dump_json(exclude_defaults=True) == "{}"
