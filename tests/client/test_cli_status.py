"""`warpaint status`, and what the command says of itself."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.daemon import Daemon, daemon
from warpaint import __version__
from warpaint.client.painting import Client
from warpaint.proto.brief import Brief

WARPAINT = Path(sys.executable).with_name("warpaint")
FINISHED_WITHIN_S = 60.0
# Wide enough that argparse breaks no flag in two.
WIDE = {"COLUMNS": "200"}


def warpaint(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(WARPAINT), *arguments],
        capture_output=True,
        text=True,
        timeout=FINISHED_WITHIN_S,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )


def test_shows_a_session_that_runs(shared_daemon: Daemon) -> None:
    frames = np.zeros((2, 48, 64, 3), np.uint8)
    with Client(shared_daemon.address) as client, client.session(painter="identity", flow="none") as session:
        assert len(list(session.paint(frames))) == 2
        shown = warpaint("status", "--daemon", shared_daemon.address)
    assert shown.returncode == 0, shown.stderr
    assert f"process {shared_daemon.process.pid}" in shown.stdout
    [row] = [line.split() for line in shown.stdout.splitlines() if "64x48" in line]
    # session, painter, flow, pacing, canvas, waiting, unsent, painted, failed, dropped, ms a frame, delay ms, client
    assert row[:10] == ["0", "identity", "none", "every", "64x48", "0", "0", "2", "0", "0"]
    assert min(float(row[10]), float(row[11])) >= 0
    assert row[12] == "here"


def test_shows_the_engines_and_that_there_is_no_session(shared_daemon: Daemon) -> None:
    shown = warpaint("status", "--daemon", shared_daemon.address)
    assert shown.returncode == 0, shown.stderr
    assert f"warpaint {__version__}" in shown.stdout
    for engine, kind in (("filters", "painter"), ("identity", "painter"), ("dis", "flow")):
        assert any(line.split()[:2] == [engine, kind] for line in shown.stdout.splitlines())
    assert "no sessions" in shown.stdout


def test_without_a_daemon(tmp_path: Path) -> None:
    told = warpaint("status", XDG_RUNTIME_DIR=str(tmp_path))
    assert told.returncode == 1
    assert told.stdout == ""
    assert "no daemon answers at" in told.stderr
    assert "Traceback" not in told.stderr


def test_waits_for_a_daemon_that_is_starting(tmp_path: Path) -> None:
    with subprocess.Popen(
        [str(WARPAINT), "status", "--wait", "60"],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as waiting:
        (tmp_path / "warpaint").mkdir()
        with daemon(tmp_path / "warpaint"):
            shown, _ = waiting.communicate(timeout=FINISHED_WITHIN_S)
    assert waiting.returncode == 0
    assert "no sessions" in shown


def test_waits_no_longer_than_it_is_told(tmp_path: Path) -> None:
    told = warpaint("status", "--wait", "0.3", XDG_RUNTIME_DIR=str(tmp_path))
    assert told.returncode == 1
    assert "no daemon answers at" in told.stderr


def test_a_reader_that_goes_away_is_no_defect(shared_daemon: Daemon) -> None:
    """As with `warpaint status | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:  # noqa: PTH123
        done = subprocess.run(
            [str(WARPAINT), "status", "--daemon", shared_daemon.address], stdout=closed, stderr=subprocess.PIPE
        )
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_the_version() -> None:
    assert warpaint("--version").stdout == f"warpaint {__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("status",)])
def test_help(arguments: tuple[str, ...]) -> None:
    told = warpaint(*arguments, "--help", **WIDE)
    assert told.returncode == 0
    assert told.stdout.startswith("usage: warpaint")
    assert told.stderr == ""


@pytest.mark.parametrize("command", ["run", "pipe"])
def test_there_is_a_flag_for_each_field_of_the_brief(command: str) -> None:
    told = warpaint(command, "--help", **WIDE)
    assert told.returncode == 0
    words = set(told.stdout.replace(",", " ").split())
    for name, field in Brief.model_fields.items():
        assert f"--{name.replace('_', '-')}" in words
        if field.annotation is bool:
            assert f"--no-{name.replace('_', '-')}" in words
        assert (field.description or "").split()[0] in words


@pytest.mark.parametrize("arguments", [(), ("dance",), ("run", "only-in")])
def test_a_wrong_use_is_told(arguments: tuple[str, ...]) -> None:
    told = warpaint(*arguments)
    assert told.returncode == 2
    assert told.stdout == ""
    assert "usage: warpaint" in told.stderr
