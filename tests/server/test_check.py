"""`warpaintd --check`: what it finds, how it says so, and that it leaves nothing behind."""

import io
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from support.daemon import PLUGINS, Daemon, Wire, daemon, start
from warpaint import __version__
from warpaint.engines.devices import Seen
from warpaint.server.check import machine
from warpaint.server.check.findings import MOST_COLUMNS, Finding, Grade, Report, ok, warning, wrong
from warpaint.server.config import Settings

CHECKED_WITHIN_S = 60.0
LIGHT = ("--painters", "identity", "--flows", "dis")


@dataclass
class Checked:
    """How a check ended: its lines, by what they are about."""

    code: int
    lines: list[str]
    errors: str

    def about(self, what: str) -> str:
        """The one line about this."""
        [line] = [each for each in self.lines if each[9:].startswith(what)]
        return line

    def grades(self) -> set[str]:
        return {line.split()[0] for line in self.lines[:-1]}


def checked(folder: Path, *flags: str, bind: str = "", env: dict[str, str] | None = None) -> Checked:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WARPAINT_")}
    bind_flags = ["--bind", bind or f"ipc://{folder}/run/warpaint.sock"]
    done = subprocess.run(
        [sys.executable, "-m", "warpaint.server", "--check", *bind_flags, *flags],
        env=plain | {"PYTHONPATH": str(PLUGINS)} | (env or {}),
        capture_output=True,
        text=True,
        timeout=CHECKED_WITHIN_S,
    )
    return Checked(done.returncode, done.stdout.splitlines(), done.stderr)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("daemon"), *LIGHT, "--metrics-bind", "127.0.0.1:*") as made:
        yield made


# What is found


def test_all_is_well_and_nothing_is_left(tmp_path: Path) -> None:
    before = {each.pid for each in psutil.process_iter()}
    flags = ("--painters", "filters,identity", "--state-dir", f"{tmp_path}/state", "--record-dir", f"{tmp_path}/r")
    found = checked(tmp_path, *flags, "--flows", "dis,none")
    assert (found.code, found.lines[-1], found.errors) == (0, "all is well", ""), found
    assert found.grades() == {"ok"}
    assert "set are bind, painters, flows, state_dir, record_dir" in found.about("settings")
    assert f"ipc://{tmp_path}/run/warpaint.sock can be listened on" in found.about("address")
    assert "in a process of its own; a keyframe of 256x256 takes" in found.about("painter filters")
    assert "in the daemon's process" in found.about("painter identity")
    assert "and is right to" in found.about("flow dis")
    assert f"{tmp_path}/state will be made" in found.about("state folder")
    assert "FFmpeg" in found.about("ffmpeg")
    assert "torch" in found.about("gpu")
    assert list(tmp_path.iterdir()) == []
    after = psutil.process_iter(["cmdline"])  # of processes that end meanwhile there is none
    left = [each for each in after if each.pid not in before and str(tmp_path) in str(each.info["cmdline"])]
    assert left == []


def test_each_thing_that_is_wrong_is_told_with_what_mends_it(tmp_path: Path) -> None:
    file = tmp_path / "warpaint.toml"
    (tmp_path / "file").touch()
    file.write_text(
        'painters = ["nosuch", "painters_under_test:Raises", "painters_under_test:DiesWhenLoaded", "identity"]\n'
        'flows = ["pdcnet", "flows_under_test:TooFew", "flows_under_test:Still", "dis"]\n'
        f'state_dir = "{tmp_path}/file"\nrecord_dir = "{tmp_path}/file/below"\nmodel = "m"\nflow_threads = 999\n'
    )
    found = checked(tmp_path, "--config", str(file), env={"WARPAINT_PAINTER": "ink"})
    assert found.code == 1
    assert found.lines[-1] == "7 wrong, 5 warnings"
    assert found.errors == "", "the log was not asked for"
    told = {
        "painter nosuch": ("wrong", "no painter 'nosuch' here; there are", "diffusion, filters, identity"),
        "painter painters_under_test:Raises": ("wrong", "paints no keyframe", "out of paint", "--log-level debug"),
        "painter painters_under_test:Dies": ("wrong", "cannot be loaded", "died (exit code 3)"),
        "painter identity": ("ok", "1 look"),
        "flow pdcnet": ("wrong", "needs weights: --pdcnet-weights FILE.safetensors"),
        "flow flows_under_test:TooFew": ("wrong", "matches nothing", "0 answers for 1 asked"),
        "flow flows_under_test:Still": ("warning", "8.9 pixels from where it is => films will smear"),
        "flow dis": ("ok", "right to"),
        "state folder": ("wrong", f"{tmp_path}/file is no folder => another folder: --state-dir"),
        "record folder": ("wrong", f"{tmp_path}/file is no folder => another folder: --record-dir"),
        "settings                no setting": ("warning", "WARPAINT_PAINTER => is WARPAINT_PAINTERS meant?"),
        "settings                model": (
            "warning",
            "model is set, but diffusion is not",
            "--painters diffusion,nosuch",
        ),
        "settings                set": ("ok", f"the file {file} is read"),
        "cores": ("warning", "999 threads for flow", "--flow-threads"),
    }
    for what, (grade, *words) in told.items():
        line = found.about(what.replace("settings                ", f"{'settings':<20}"))
        assert line.split()[0] == grade, line
        assert [word for word in words if word not in line] == [], line


def test_the_command_lines_of_bridges_are_looked_at(tmp_path: Path) -> None:
    (file := tmp_path / "warpaint.toml").write_text(
        'painters = ["identity"]\nflows = ["none"]\n'
        '[[bridge]]\nname = "camera"\nin = "udp://127.0.0.1:1"\nout = "udp://127.0.0.1:2"\nlook = "ink"\n'
        '[[bridge]]\nin = "udp://127.0.0.1:3"\nout = "udp://127.0.0.1:4"\nlok = "ink"\n'
        "[page]\nno_such_flag = 1\n"
    )
    found = checked(tmp_path, "--config", str(file))
    assert (found.code, found.lines[-1], found.errors) == (1, "2 wrong, no warnings", "")
    assert found.about("bridge camera") == "ok       bridge camera       from udp://127.0.0.1:1 to udp://127.0.0.1:2"
    for what, mend in (("bridge-2", "unrecognized arguments: --lok=ink => warpaint bridge --help"), ("page", "=> ")):
        assert found.about(what).startswith("wrong")
        assert mend in found.about(what)


def test_the_log_is_there_for_whoever_asks(tmp_path: Path) -> None:
    found = checked(tmp_path, "--painters", "identity", "--flows", "flows_under_test:TooFew", "--log-level", "debug")
    assert found.code == 1
    assert "Traceback" in found.errors


def test_a_painter_that_hangs_is_given_up(tmp_path: Path) -> None:
    flags = ("--painters", "painters_under_test:HangsOnce", "--flows", "none", "--paint-timeout-s", "0.5")
    found = checked(tmp_path, *flags)
    assert found.code == 1
    assert "took longer than 0.5 s (painter_timeout)" in found.about("painter")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--window", "0"), "settings.window: Input should be greater than or equal to 1 (got '0')"),
        (("--config", "/no/file.toml"), "there is no settings file '/no/file.toml'"),
        (("--bind", "tcp://0.0.0.0:1"), "is not allowed"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    found = checked(tmp_path, *flags, bind="ipc:///x")
    assert (found.code, found.lines) == (2, [])
    assert said in found.errors


# Addresses


def test_a_daemon_that_is_there_already_is_named_and_left_alone(running: Daemon, tmp_path: Path) -> None:
    found = checked(tmp_path, *LIGHT, bind=running.address)
    assert found.code == 0
    line = found.about("address")
    assert line.startswith("warning")
    assert f"listens on {running.address} already: process {running.process.pid}, 0 sessions" in line
    assert f"kill {running.process.pid}" in line
    with Wire(running.address) as wire:
        assert wire.status().pid == running.process.pid


def test_a_port_that_somebody_else_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        found = checked(tmp_path, *LIGHT, bind=address)
    assert found.code == 1
    line = found.about("address")
    assert line.startswith("wrong")
    assert f"cannot listen on {address}: somebody listens there already" in line


def test_where_metrics_are_to_be_shown(running: Daemon, tmp_path: Path) -> None:
    shown = re.search(r"metrics are on http://(\S+)/metrics", running.log.read_text())
    assert shown
    for address, grade, said in (
        ("127.0.0.1:*", "ok", "http://127.0.0.1:*/metrics can be shown"),
        (shown[1], "warning", f"warpaintd/{__version__} shows its metrics on {shown[1]} already"),
    ):
        line = checked(tmp_path, *LIGHT, "--metrics-bind", address).about("metrics")
        assert line.split()[0] == grade
        assert said in line
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = checked(tmp_path, *LIGHT, "--metrics-bind", f"127.0.0.1:{taken.getsockname()[1]}")
    assert found.code == 1
    assert "somebody listens there already => another port: --metrics-bind" in found.about("metrics")


def test_sockets_that_can_be_had_and_those_that_cannot(tmp_path: Path) -> None:
    """A socket that a dead daemon has left is left alone; what is no socket is told."""
    stale, file = tmp_path / "stale.sock", tmp_path / "file"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    file.write_text("precious")
    addresses = f"ipc://{stale},ipc://{file},ipc://@warpaint-check-{os.getpid()},tcp://127.0.0.1:*"
    found = checked(tmp_path, *LIGHT, bind=addresses)
    lines = [line for line in found.lines if line[9:].startswith("address")]
    assert [line.split()[0] for line in lines] == ["ok", "wrong", "ok", "ok"], lines
    assert "no socket" in lines[1]
    assert stat.S_ISSOCK(stale.stat().st_mode)
    assert file.read_text() == "precious"


def test_ctrl_c_ends_a_check_and_all_that_it_has_begun(tmp_path: Path) -> None:
    flags = ("--painters", "painters_under_test:HangsOnce", "--flows", "none", "--bind", f"ipc://{tmp_path}/s")
    with (tmp_path / "errors").open("w") as errors:
        process = start(("--check", *flags), errors)
    try:
        if process.stdout is None:
            raise RuntimeError("no standard output")
        while not process.stdout.readline().startswith("ok       gpu"):
            pass
        began = psutil.Process(process.pid)
        while not (children := began.children()):
            pass
        process.send_signal(2)
        assert process.wait(20) == 130
        _, alive = psutil.wait_procs(children, timeout=10)  # one that has only begun learns of it a little later
        assert alive == []
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "errors").read_text() == ""


# GPUs

CPU = Seen("2.13.0", None, (), (), "1.31 runs on CPU", driver=False)
GPU = Seen("2.13.0", "13.0", ("cuda",), ("RTX 4090 (24 GB)",), "", driver=True)


@pytest.mark.parametrize(
    ("seen", "flags", "grade", "said", "mend"),
    [
        (None, {}, "ok", "torch is not installed", ""),
        (CPU, {}, "ok", "torch 2.13.0 sees no GPU; onnxruntime 1.31 runs on CPU", ""),
        (CPU, {"painters": "diffusion"}, "warning", "diffusion will compute on the CPU", ""),
        (CPU, {"device": "cuda"}, "wrong", "device = cuda, but torch 2.13.0 sees no GPU", "without CUDA"),
        (GPU, {"device": "cuda"}, "ok", "torch 2.13.0 sees RTX 4090 (24 GB)", ""),
        (GPU, {"device": "mps"}, "wrong", "device = mps, but torch 2.13.0 sees RTX 4090", "--device auto"),
        (Seen("2.13.0", None, (), (), "", driver=True), {}, "warning", "a driver of NVIDIA's", "without CUDA"),
        (Seen("2.13.0", "13.0", (), (), "", driver=True), {}, "warning", "sees no GPU", "built for CUDA 13.0"),
    ],
)
def test_gpus(
    monkeypatch: pytest.MonkeyPatch, seen: Seen | None, flags: dict[str, str], grade: str, said: str, mend: str
) -> None:
    monkeypatch.setattr(machine, "seen", lambda: seen)
    [found] = machine.gpus(Settings(**flags))  # type: ignore[arg-type]
    assert found.grade == grade
    assert said in found.said
    assert mend in found.mend
    assert bool(mend) == bool(found.mend)


# How it is written


class Terminal(io.StringIO):
    encoding = "ascii"

    def isatty(self) -> bool:
        return True


LONG = "word " * 60
FINDINGS = [ok("cores", "two"), warning("a name as long as that of a painter", LONG, LONG), wrong("gpu", "none", "buy")]


def written(out: io.StringIO, findings: list[Finding]) -> tuple[bool, list[str]]:
    report = Report(out)
    for finding in findings:
        report.begun(finding.what)
        report.add(finding)
    return report.end(), out.getvalue().split("\n")[:-1]


def test_in_a_pipe_there_is_a_line_for_each() -> None:
    well, lines = written(io.StringIO(), FINDINGS)
    assert not well
    assert len(lines) == len(FINDINGS) + 1
    assert lines[0] == f"ok       {'cores':<20}two"
    assert lines[2] == f"wrong    {'gpu':<20}none => buy"
    assert lines[3] == "1 wrong, 1 warning"
    assert all(line.isprintable() for line in lines)


def test_on_a_terminal_lines_are_filled_and_coloured() -> None:
    well, lines = written(Terminal(), FINDINGS)
    assert not well
    plain = [line.rpartition("\033[K")[2] for line in lines]
    assert plain[0] == f"\033[32mok       \033[0m{'cores':<20}two"
    assert plain[-2] == f"\033[2m{' ' * 29}buy\033[0m"
    assert all(len(line) <= MOST_COLUMNS + len("\033[1;31m\033[0m") for line in plain)
    assert {line[:29] for line in plain if line.lstrip().startswith("word")} == {" " * 29}


def test_warnings_alone_are_well() -> None:
    assert written(io.StringIO(), [ok("a", "b"), warning("c", "d")]) == (True, [
        f"ok       {'a':<20}b", f"warning  {'c':<20}d", "nothing wrong, 1 warning",
    ])  # fmt: skip


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_what_others_say_moves_no_cursor(kind: type[io.StringIO]) -> None:
    """And what a terminal cannot show is spelled out."""
    _, lines = written(kind(), [Finding(Grade.OK, "x", "a\x1b[2Jb\nc\udcff \N{SNOWFLAKE}")])
    assert "a?[2Jb c? " in lines[0]
