"""The configuration of Stable Diffusion 1.x: its tokenizer, and its networks' sizes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from warpaint.engines.painters.diffusion.weights.sd1 import CONFIGURATION, byte_letters, written


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("sd1") / "base", inpaint=False)


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    return CLIPTokenizer.from_pretrained(base, subfolder="tokenizer", local_files_only=True)


def config(folder: Path, part: str) -> dict[str, Any]:
    return json.loads((folder / part / "config.json").read_text(encoding="utf-8"))


# The encodings are those of OpenAI's own tokenizer.
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("A Photo  of a\ncat", [320, 1125, 539, 320, 2368]),
        ("a photo of a dog", [320, 1125, 539, 320, 1929]),
        ("hello world!", [3306, 1002, 256]),
        ("a diagram", [320, 22697]),
    ],
)
def test_text_is_encoded_as_clip_encodes_it(tokenizer: Any, text: str, tokens: list[int]) -> None:
    assert tokenizer(text).input_ids == [49406, *tokens, 49407]


def test_any_text_is_encoded_and_found_again(tokenizer: Any) -> None:
    text = "naïve ☃ 猫 émigré-42"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).replace(" ", "") == text.replace(
        " ", ""
    )


def test_prompts_are_padded_to_the_length_of_the_text_encoder(tokenizer: Any) -> None:
    ids = tokenizer("cat", padding="max_length", truncation=True, max_length=tokenizer.model_max_length).input_ids
    assert ids == [49406, 2368] + [49407] * 75
    assert len(tokenizer) == 49408


def test_each_byte_has_a_letter_of_its_own() -> None:
    letters = byte_letters()
    assert (len(letters), len(set(letters))) == (256, 256)
    assert all(letter.isprintable() and not letter.isspace() for letter in letters[:188])


def test_the_networks_have_the_known_sizes(base: Path) -> None:
    with torch.device("meta"):
        networks = {
            "unet": UNet2DConditionModel.from_config(config(base, "unet")),
            "vae": AutoencoderKL.from_config(config(base, "vae")),
            "controlnet": ControlNetModel.from_config(config(base, "controlnet")),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**config(base, "text_encoder"))),
        }
    parameters = {name: sum(each.numel() for each in network.parameters()) for name, network in networks.items()}
    assert parameters == {
        "unet": 859_520_964,
        "vae": 83_653_863,
        "controlnet": 361_279_120,
        "text_encoder": 123_060_480,
    }


def test_an_inpaint_model_takes_nine_channels(base: Path, tmp_path: Path) -> None:
    inpaint = written(tmp_path / "inpaint", inpaint=True)
    assert config(inpaint, "unet") == config(base, "unet") | {"in_channels": 9}
    assert config(base, "unet") == config(CONFIGURATION, "unet")
    assert json.loads((inpaint / "model_index.json").read_text())["_class_name"] == "StableDiffusionInpaintPipeline"
