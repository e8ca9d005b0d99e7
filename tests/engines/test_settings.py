from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from warpaint.engines.settings import EngineSettings, size_of
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
    [
        *(("device", "tpu"), ("dtype", "fp8"), ("cache_mb", -1), ("least_hole", 1.5), ("model", ""), ("modell", "a")),
        *(("pdcnet_preset", "slow"), ("pdcnet_runtime", "jax"), ("pdcnet_precision", "fp16")),
        *(("pdcnet_confidence", "p"), ("pdcnet_build", "perhaps"), ("pdcnet_weights", 7)),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(name: str, value: Any) -> None:
    assert complaint(**{name: value}).startswith(f"settings.{name}: ")


@pytest.mark.parametrize("value", ["768x512, 256x256", ["768x512", "256x256"], ("768x512", "256x256")])
def test_sizes(value: Any) -> None:
    assert made(pdcnet_sizes=value).pdcnet_sizes == ("768x512", "256x256")


def test_a_size_is_its_width_and_its_height() -> None:
    assert [size_of(text) for text in ("768x512", "8x8192", "0301x0250")] == [(768, 512), (8, 8192), (301, 250)]


@pytest.mark.parametrize(
    "size", ["300", "7x300", "300x7", "0x0", "99999x8", "8193x8", "768X512", "768 x 512", "-8x8", "8x8x8", "x", ""]
)
def test_sizes_that_cannot_be_are_told(size: str) -> None:
    said = f"a size is WIDTHxHEIGHT, such as 768x512, of 8 to 8192 pixels, not {size!r}"
    with pytest.raises(ValueError, match="WIDTHxHEIGHT") as caught:
        size_of(size)
    assert str(caught.value) == said
    assert complaint(pdcnet_sizes=["256x256", size]).startswith("settings.pdcnet_sizes")
    assert said in complaint(pdcnet_sizes=["256x256", size])


def test_settings_go_to_a_painters_process_as_json() -> None:
    settings = made(model="sd", controlnets=CONTROLNETS, model_loras="a,b", compile=True)
    assert EngineSettings.model_validate_json(settings.model_dump_json(exclude_defaults=True)) == settings
    assert EngineSettings().model_dump_json(exclude_defaults=True) == "{}"
