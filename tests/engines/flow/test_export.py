"""The command lines that make graphs and plans of PDCNet+: what they write and say, and how they fail in words."""

import re
import runpy
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support.pdc_exported import SIZE, Exported
from warpaint.engines.flow import build, convert, export
from warpaint.engines.flow.pdcnet import making, tensorrt
from warpaint.engines.flow.pdcnet.graphs import GRAPHS
from warpaint.engines.flow.pdcnet.making import Difference
from warpaint.engines.flow.pdcnet.shelf import Shelf

FAILED, MISUSED = 1, 2
NAMES = ["export", "build"]
MAINS: dict[str, Callable[[Sequence[str]], None]] = {"export": export.main, "build": build.main}


def run(name: str, *arguments: object) -> int:
    """The exit code."""
    try:
        MAINS[name]([str(each) for each in arguments])
    except SystemExit as exit_:
        return int(str(exit_.code))
    return 0


def refused(capsys: pytest.CaptureFixture[str], code: int, name: str, *arguments: object) -> str:
    """What a command says that ends with this code."""
    assert run(name, *arguments) == code
    said, complained = capsys.readouterr()
    assert said == ""
    assert "Traceback" not in complained
    return complained


@pytest.fixture
def exports_at_once(pdc_exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting gives the shared graphs, and comparing what was found of them: they took half a minute."""
    graphs = {name: pdc_exported.shelf.graph(SIZE, name).read_bytes() for name in GRAPHS}
    monkeypatch.setattr(making, "exported", lambda *_: graphs)
    monkeypatch.setattr(making, "difference", lambda *_: pdc_exported.difference)


def usual(exported: Exported, cache: Path, size: str = "96x64") -> list[object]:
    return ["--weights", exported.file, "--preset", "fast", "--cache", cache, "--size", size]


# What is made


@pytest.mark.usefixtures("exports_at_once")
def test_export_writes_graphs_compares_them_and_says_so(
    pdc_exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", *usual(pdc_exported, tmp_path), "--size", "256x256") == 0
    shelf = replace(pdc_exported.shelf, folder=tmp_path)
    assert shelf.has(SIZE)
    place = shelf.graph(SIZE, "match").parent
    assert capsys.readouterr().out == f"256x256: {place}\n  {pdc_exported.difference}\n"


def test_each_size_is_told(
    pdc_exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    near = Difference(1e-4, 7.0, 0.1, 1e-3, 1e-3)
    monkeypatch.setattr(export, "make_graphs", lambda *_: near)
    sizes = ["--size", "301x250", "--size", "768x512", "--size", "775x519"]
    assert run("export", *usual(pdc_exported, tmp_path), *sizes) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[::2]] == ["256x256", "296x256", "768x512"]
    assert lines[1::2] == [f"  {near}"] * 3


def test_graphs_that_are_off_fail_the_command(
    pdc_exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(making, "difference", lambda *_: Difference(0.5, 7.0, 0.1, 1e-3, 1e-3))
    monkeypatch.setattr(making, "exported", lambda *_: dict.fromkeys(GRAPHS, b"graph"))
    assert run("export", *usual(pdc_exported, tmp_path), "--size", "256x256") == FAILED
    assert "for 256x256 do not compute what torch does" in capsys.readouterr().err


def test_build_builds_plans_of_the_graphs_there_are(pdc_planned: Exported) -> None:
    first, *lines = pdc_planned.said.splitlines()
    assert first == f"tensorrt_rtx {tensorrt.library('tensorrt_rtx').version}, for GPU: any"
    for name, line in zip(GRAPHS, lines, strict=True):
        found = re.fullmatch(r"256x256: (.*), [\d.]+ MB", line)
        assert found
        path = Path(found[1])
        assert path.is_file()
        assert (path.name, path.parents[1]) == (f"{name}.plan", pdc_planned.shelf.graph(SIZE, name).parent)


def test_build_makes_graphs_first_where_there_are_none(
    pdc_exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "make_graphs", lambda *_: pdc_exported.difference)
    monkeypatch.setattr(build, "make_plans", lambda *_: [])
    assert run("build", *usual(pdc_exported, tmp_path)) == 0
    assert f"256x256: graphs are made first\n  {pdc_exported.difference}\n" in capsys.readouterr().out


def test_by_default_it_is_the_papers_preset_in_single_precision_in_this_users_cache(
    pdc_exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Shelf] = []

    def make(_: object, shelf: Shelf, __: object) -> Difference:
        made.append(shelf)
        return pdc_exported.difference

    monkeypatch.setattr(export, "make_graphs", make)
    assert run("export", "--weights", pdc_exported.file, "--size", "768x512") == 0
    [shelf] = made
    assert (shelf.preset, shelf.precision, shelf.folder) == ("paper", "fp32", tmp_path / "warpaint" / "pdcnet")


@pytest.mark.parametrize("name", NAMES)
def test_they_are_commands_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module = f"warpaint.engines.flow.{name}"
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module(module, run_name="__main__")
    assert f"python -m {module}" in capsys.readouterr().out


# What cannot be meant


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--size", "300"], "a size is WIDTHxHEIGHT, such as 768x512, of 8 to 8192 pixels, not '300'"),
        (["--size", "7x300"], "not '7x300'"),
        (["--size", "99999x8"], "not '99999x8'"),
        (["--size", "256x256", "--preset", "quick"], "invalid choice: 'quick'"),
        (["--size", "256x256", "--precision", "int8"], "invalid choice: 'int8'"),
        ([], "--size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, arguments: list[str], said: str
) -> None:
    assert said in refused(capsys, MISUSED, name, "--weights", tmp_path / "weights.safetensors", *arguments)


def test_weights_have_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--weights" in refused(capsys, MISUSED, "export", "--size", "256x256")


def test_only_the_packages_of_tensorrt_build(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--weights", tmp_path, "--size", "256x256", "--library", "tensorflow"]
    assert "invalid choice: 'tensorflow'" in refused(capsys, MISUSED, "build", *arguments)


# What fails


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_missing_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    missing = tmp_path / "weights.safetensors"
    said = refused(capsys, FAILED, name, "--weights", missing, "--size", "256x256")
    assert said == f"{name}: '{missing}' cannot be read: No such file or directory\n"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_of_the_published_file_the_command_that_converts_it_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, is_zip: bool
) -> None:
    published = tmp_path / "the weights" / "PDCNet_plus_m.pth.tar"
    published.parent.mkdir()
    torch.save({"state_dict": {"x": torch.zeros(1)}}, published, _use_new_zipfile_serialization=is_zip)
    said = refused(capsys, FAILED, name, "--weights", published, "--size", "256x256")
    command = re.search("`(.*)`", said)
    assert command
    python, dash_m, module, *arguments = shlex.split(command[1])
    assert (python, dash_m, module) == ("python", "-m", "warpaint.engines.flow.convert")
    wanted = convert.parser().parse_args(arguments)
    assert (wanted.checkpoint, wanted.out) == (published, published.with_name("PDCNet_plus_m.safetensors"))


@pytest.mark.usefixtures("exports_at_once")
@pytest.mark.parametrize("name", NAMES)
def test_a_cache_that_cannot_be_written_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pdc_exported: Exported, name: str
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    assert run(name, *usual(pdc_exported, file / "cache")) == FAILED
    complained = capsys.readouterr().err
    assert complained.startswith(f"{name}: '{file}")
    assert complained.endswith(": Not a directory\n")


def test_without_tensorrt_build_says_what_to_install(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pdc_exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "EXTRAS", {"no_tensorrt": "tensorrt"})
    said = refused(capsys, FAILED, "build", *usual(pdc_exported, tmp_path))
    assert said == "build: no_tensorrt is not installed: pip install 'warpaint[tensorrt]'\n"
