"""Settings as they are read: from flags, the environment and a file, into one model."""

from pathlib import Path

import pytest

from warpaint.engines.settings import EngineSettings
from warpaint.server.config import Settings, load_settings, parser


def loaded(*flags: str) -> Settings:
    return load_settings(flags, parser())


@pytest.mark.parametrize(
    "flags",
    [
        ("--painters", "a,b"),
        ("--painters", "a", "--painters", "b"),
        ("--painter", "a", "--painter", "b"),
        ("--painter=a", "--painters=b"),
        ("--painter", "a, b"),
    ],
)
def test_painters_are_given_one_by_one_or_at_once(flags: tuple[str, ...]) -> None:
    assert loaded(*flags).painters == ("a", "b")


def test_one_painter_and_one_flow() -> None:
    settings = loaded("--painter", "identity", "--flow", "none")
    assert (settings.painters, settings.flows) == (("identity",), ("none",))


def test_a_flag_is_not_guessed_from_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        loaded("--paint", "identity")
    assert "unrecognized arguments" in capsys.readouterr().err


CONTROLNETS = {"canny": Path("/models/canny"), "lineart": Path("lineart")}
LORAS = (Path("a.safetensors"), Path("b.safetensors"))


@pytest.mark.parametrize(
    "flags",
    [
        ("--controlnets", "canny=/models/canny,lineart=lineart", "--model-loras", "a.safetensors, b.safetensors"),
        (
            *("--controlnets", "canny=/models/canny", "--controlnets", "lineart=lineart"),
            *("--model-loras", "a.safetensors", "--model-loras", "b.safetensors"),
        ),
    ],
    ids=["at once", "one by one"],
)
def test_the_engines_part_by_flags(flags: tuple[str, ...]) -> None:
    settings = loaded(*flags)
    assert (settings.controlnets, settings.model_loras) == (CONTROLNETS, LORAS)


def test_the_engines_part_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARPAINT_CONTROLNETS", "canny=/models/canny, lineart=lineart")
    monkeypatch.setenv("WARPAINT_MODEL_LORAS", "a.safetensors,b.safetensors")
    settings = loaded("--device", "cpu")
    assert (settings.controlnets, settings.model_loras, settings.device) == (CONTROLNETS, LORAS, "cpu")


def test_sizes_are_a_list_wherever_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ("256x256", "768x512")
    assert loaded("--pdcnet-sizes", "256x256,768x512").engines.pdcnet_sizes == expected
    assert loaded("--pdcnet-sizes", "256x256", "--pdcnet-sizes", "768x512").engines.pdcnet_sizes == expected
    monkeypatch.setenv("WARPAINT_PDCNET_SIZES", "256x256, 768x512")
    assert loaded().engines.pdcnet_sizes == expected


def test_the_engines_part_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "warpaint.toml"
    file.write_text(
        'model_loras = ["a.safetensors", "b.safetensors"]\n'
        '[controlnets]\ncanny = "/models/canny"\nlineart = "lineart"\n'
    )
    settings = loaded("--config", str(file))
    assert (settings.controlnets, settings.model_loras) == (CONTROLNETS, LORAS)


def test_the_engines_part_by_itself() -> None:
    """What painters are made with, and their processes are told: nothing of the daemon's own."""
    engines = loaded("--controlnets", "canny=/models/canny", "--compile", "--cache-mb", "7", "--window", "3").engines
    assert type(engines) is EngineSettings
    assert engines == EngineSettings(controlnets={"canny": Path("/models/canny")}, compile=True, cache_mb=7)
    assert Settings().engines == EngineSettings()
