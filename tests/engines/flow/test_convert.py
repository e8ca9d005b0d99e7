"""The converter's command line: what it writes, what it refuses, and that it leaves nothing half done."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from support.pdc_weights import make_weights
from warpaint import __version__
from warpaint.engines.flow import convert
from warpaint.engines.flow.pdcnet.checkpoint import weights_sha256

FAILED, MISUSED = 1, 2
State = dict[str, torch.Tensor]


class Foreign:
    """Stands for the published code's own classes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Malicious:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def small() -> State:
    return {"b.weight": torch.arange(6.0).reshape(2, 3), "a.steps": torch.tensor(7)}


@pytest.fixture
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is one with two tensors."""
    monkeypatch.setattr(convert, "expected_state", lambda: {name: each.to("meta") for name, each in small().items()})


@pytest.fixture
def checkpoint(tmp_path: Path, small_network: None) -> Path:
    path = tmp_path / "PDCNet.pth.tar"
    torch.save({"state_dict": small(), "constructor": Foreign(x=1)}, path)
    return path


def run(*arguments: Path | str) -> int:
    """The exit code."""
    try:
        convert.main([str(each) for each in arguments])
    except SystemExit as exit_:
        return int(str(exit_.code))
    return 0


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as file:
        return dict(file.metadata())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


# What is written


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_the_whole_network_is_converted(tmp_path: Path, is_zip: bool) -> None:
    weights = {name: torch.from_numpy(array) for name, array in make_weights().items()}
    source, out = tmp_path / "PDCNet.pth.tar", tmp_path / "pdcnet.safetensors"
    content = {"state_dict": weights, "net_info": Foreign(kind=Foreign)}
    torch.save(content, source, _use_new_zipfile_serialization=is_zip)
    assert run(source, out) == 0
    written = load_file(out)
    assert len(written) == 501
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[name], weights[name]) for name in weights)
    assert all(written[name].dtype == weights[name].dtype for name in weights)
    assert metadata(out)["weights_sha256"] == weights_sha256(weights)


def test_the_header_says_where_it_comes_from(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    assert run(checkpoint, out) == 0
    assert metadata(out) == {
        "format": "warpaint-pdcnet",
        "origin": "PDCNet.pth.tar",
        "origin_sha256": sha256(checkpoint),
        "weights_sha256": weights_sha256(small()),
        "converter": __version__,
    }


def test_what_was_written_is_said(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.safetensors"
    assert run(checkpoint, out) == 0
    said, complained = capsys.readouterr()
    assert said == f"wrote '{out}': 2 tensors, SHA-256 {sha256(out)}, also in '{out}.sha256'\n"
    assert complained == ""


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum here")
@pytest.mark.parametrize("name", ["out", "two words", "back\\slash", "new\nline", "ümlaut", "latin\udcfc"])
def test_sha256sum_reads_the_sum(checkpoint: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / f"{name}.safetensors"
    assert run(checkpoint, out) == 0
    command = ["sha256sum", "--strict", "-c", f"{out.name}.sha256"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    out.write_bytes(out.read_bytes() + b"\0")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60).returncode == 1


def test_a_checkpoint_of_any_name_is_converted(checkpoint: Path, tmp_path: Path) -> None:
    source = checkpoint.rename(tmp_path / "latin\udcfc")
    assert run(source, tmp_path / "out.safetensors") == 0
    assert metadata(tmp_path / "out.safetensors")["origin"] == r"latin\xfc"


def test_tensors_that_share_memory_are_written_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    views = {"whole": whole, "part": whole[1:, ::2], "turned": whole.T, "minus": torch._neg_view(whole)}
    monkeypatch.setattr(convert, "expected_state", lambda: views)
    torch.save(views, tmp_path / "x")
    assert run(tmp_path / "x", tmp_path / "out.safetensors") == 0
    written = load_file(tmp_path / "out.safetensors")
    assert all(torch.equal(written[name], views[name]) for name in views)


def test_the_files_may_be_read_as_others_of_the_folder(checkpoint: Path, tmp_path: Path) -> None:
    """By whomever the umask lets: the daemon may run as another user."""
    (tmp_path / "plain").touch()
    assert run(checkpoint, tmp_path / "out.safetensors") == 0
    modes = {(tmp_path / name).stat().st_mode for name in ("plain", "out.safetensors", "out.safetensors.sha256")}
    assert len(modes) == 1


def test_an_older_conversion_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"older")
    assert run(checkpoint, out) == 0
    assert sha256(out) in (tmp_path / "out.safetensors.sha256").read_text()
    assert names(tmp_path) == {checkpoint.name, out.name, f"{out.name}.sha256"}


# What is refused


def failed(capsys: pytest.CaptureFixture[str], code: int, *arguments: Path | str) -> str:
    """The sentence on stderr; nothing else is said."""
    assert run(*arguments) == code
    said, complained = capsys.readouterr()
    assert said == ""
    assert complained.endswith("\n")
    return str(complained).splitlines()[-1]


def missing(state: State) -> State:
    return {"b.weight": state["b.weight"]}


def surplus(state: State) -> State:
    return state | {"c": torch.ones(1)}


def other_shape(state: State) -> State:
    return state | {"b.weight": torch.ones(3)}


def not_finite(state: State) -> State:
    return state | {"b.weight": state["b.weight"] / 0}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (missing, "it lacks: 'a.steps'"),
        (surplus, "it has too many: 'c'"),
        (other_shape, "it has others: 'b.weight' (3,) float32, not (2, 3) float32"),
        (not_finite, "it has numbers that are not finite: 'b.weight'"),
    ],
)
def test_other_weights_are_refused(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[State], State],
    sentence: str,
) -> None:
    torch.save(change(small()), checkpoint)
    out = tmp_path / "out.safetensors"
    assert failed(capsys, FAILED, checkpoint, out).endswith(sentence)
    assert names(tmp_path) == {checkpoint.name}


def test_a_file_that_is_none_is_refused(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.write_bytes(b"<html>")
    out = tmp_path / "out.safetensors"
    assert failed(capsys, FAILED, checkpoint, out).startswith(f"convert: '{checkpoint}' is a web page")
    checkpoint.unlink()
    assert failed(capsys, FAILED, checkpoint, out).endswith("cannot be read: No such file or directory")
    assert names(tmp_path) == set()


@pytest.mark.usefixtures("checkpoint")
@pytest.mark.parametrize("name", ["out.bin", "out", ".safetensors", "out.safetensors.sha256"])
def test_an_output_of_another_kind_is_misuse(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    source, out = tmp_path / "PDCNet.pth.tar", tmp_path / name
    assert f"error: '{out}' does not end in .safetensors" in failed(capsys, MISUSED, source, out)


def test_the_checkpoint_is_not_written_over(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = checkpoint.read_bytes()
    direct, linked = tmp_path / "same.safetensors", tmp_path / "linked.safetensors"
    checkpoint.rename(direct)
    linked.symlink_to(direct)
    for out in (direct, linked, tmp_path / "x" / ".." / direct.name):
        (tmp_path / "x").mkdir(exist_ok=True)
        assert "would be written over the checkpoint" in failed(capsys, MISUSED, direct, out)
    sum_ = direct.rename(tmp_path / "other.safetensors.sha256")
    assert "would be written over the checkpoint" in failed(capsys, MISUSED, sum_, tmp_path / "other.safetensors")
    assert sum_.read_bytes() == content


def test_too_few_arguments_are_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert "arguments are required" in failed(capsys, MISUSED, "x")


def test_an_output_that_cannot_be_written_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none" / "out.safetensors"
    assert failed(capsys, FAILED, checkpoint, out) == f"convert: '{out}' cannot be written: No such file or directory"
    out.parent.mkdir()
    out.mkdir()
    assert failed(capsys, FAILED, checkpoint, out) == f"convert: '{out}' cannot be written: Is a directory"
    long = tmp_path / f"{'x' * 300}.safetensors"
    assert failed(capsys, FAILED, checkpoint, long).endswith("cannot be written: File name too long")
    assert names(out.parent) == {out.name}


def test_a_conversion_that_breaks_off_leaves_the_older_one(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"older")

    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert failed(capsys, FAILED, checkpoint, out) == f"convert: '{out}' cannot be written: No space left on device"
    assert out.read_bytes() == b"older"
    assert names(tmp_path) == {checkpoint.name, out.name}


# As a program


def test_the_program_says_a_sentence_and_runs_nothing(tmp_path: Path) -> None:
    source, marker = tmp_path / "x.pth.tar", tmp_path / "marker"
    torch.save({"state_dict": small(), "x": Malicious(marker)}, source)
    command = [sys.executable, "-m", "warpaint.engines.flow.convert", str(source), str(tmp_path / "out.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert done.stderr.startswith("convert: the state dict is not that of the network: it lacks: ")
    assert done.stderr.count("\n") == 1
    assert names(tmp_path) == {source.name}


def test_the_header_is_json_that_others_read(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    assert run(checkpoint, out) == 0
    content = out.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["a.steps"]["dtype"] == "I64"
    assert header["b.weight"] | {"data_offsets": 0} == {"dtype": "F32", "shape": [2, 3], "data_offsets": 0}
