import re
from typing import Any

import pytest

from warpaint.engines.painters.diffusion.rules import complaint, lora_names, steps_done
from warpaint.engines.settings import EngineSettings
from warpaint.proto.brief import Brief

BARE = EngineSettings(model="sd")
RICH = EngineSettings.model_validate(
    {
        "model": "sd",
        "taesd": "taesd",
        "tagger": "tagger",
        "model_loras": ["/models/lcm.safetensors", "ink v1.2.safetensors"],
        "controlnets": {"canny": "canny"},
    }
)


def told(settings: EngineSettings = RICH, **brief: Any) -> str:
    return complaint(Brief.model_validate({"prompt": "a harbour"} | brief), settings=settings)


@pytest.mark.parametrize(
    "brief",
    [
        {},
        {"strength": 1.0, "steps": 1},
        {"strength": 0.25, "steps": 4},
        {"vae": "tiny"},
        {"tag_threshold": 0.5},
        {"tag_threshold": 0.5, "prompt": ""},
        {"loras": ["lcm:1", "ink v1.2:0.5"]},
        {"controls": ["canny:0.5:0:0.8"]},
    ],
)
def test_what_can_be_painted(brief: dict[str, Any]) -> None:
    assert told(**brief) == ""


@pytest.mark.parametrize(
    ("brief", "settings", "sentence"),
    [
        ({"prompt": ""}, RICH, "brief.prompt: a diffusion model paints what it is told; the prompt is empty"),
        ({"prompt": " \n"}, RICH, "brief.prompt: a diffusion model paints what it is told; the prompt is empty"),
        (
            {"prompt": "", "tag_threshold": 0.5},
            BARE,
            "brief.prompt: a diffusion model paints what it is told; the prompt is empty",
        ),
        (
            {"controls": ["canny:1:0:0.2"], "steps": 8, "strength": 0.5},
            RICH,
            "brief.controls: 'canny' would count in no step: 0 to 0.2 of 4 steps holds no whole one",
        ),
        (
            {"strength": 0.2, "steps": 4},
            RICH,
            "brief.strength: 0.2 of 4 steps is less than one; at least 0.25 is needed, or more steps",
        ),
        (
            {"strength": 0.0},
            RICH,
            "brief.strength: 0 of 20 steps is less than one; at least 0.05 is needed, or more steps",
        ),
        (
            {"vae": "tiny"},
            BARE,
            "brief.vae: this daemon holds no tiny autoencoder; its setting `taesd` names one",
        ),
        (
            {"tag_threshold": 0.5},
            BARE,
            "brief.tag_threshold: this daemon holds no tagger; its setting `tagger` names one",
        ),
        (
            {"loras": ["lcm", "oil:0.5", "pen"]},
            RICH,
            "brief.loras: this daemon holds no LoRA 'oil'; it holds lcm, ink v1.2",
        ),
        ({"loras": ["lcm"]}, BARE, "brief.loras: this daemon holds no LoRA 'lcm'; it holds none"),
        (
            {"controls": ["canny", "lineart:0.5"]},
            RICH,
            "brief.controls: this daemon holds no ControlNet 'lineart'; it holds canny",
        ),
        ({"controls": ["canny"]}, BARE, "brief.controls: this daemon holds no ControlNet 'canny'; it holds none"),
    ],
)
def test_what_cannot_be_painted_is_said_with_what_can(
    brief: dict[str, Any], settings: EngineSettings, sentence: str
) -> None:
    assert told(settings, **brief) == sentence


def test_the_strength_that_is_said_to_be_needed_is_enough() -> None:
    for steps in range(1, 151):
        [needed] = re.findall(r"at least (\S+) is", told(strength=0.0, steps=steps))
        assert told(strength=float(needed), steps=steps) == "", steps


def test_as_many_steps_are_done_as_the_strength_is_a_share_of() -> None:
    assert [steps_done(20, strength) for strength in (0.0, 0.04, 0.05, 0.5, 0.99, 1.0)] == [0, 0, 1, 10, 19, 20]


def test_loras_go_by_the_names_of_their_files() -> None:
    assert lora_names(RICH) == ["lcm", "ink v1.2"]
