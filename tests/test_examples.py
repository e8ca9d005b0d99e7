"""The programs in examples/ run against a real daemon, as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.router import Router

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = ("sync_client.py", "async_client.py")
# What is loaded by the daemon has tests of its own, in tests/examples.
LOADED = ("replay_painter.py", "webui_painter.py")
FINISHED_WITHIN_S = 60.0
SECONDS, RATE = 2, 25
LINE = re.compile(r"([\d.]+) frames/s, delay \d+ ms, dropped: .+")


@pytest.fixture(scope="module")
def clip(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds."""
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    picture = ("-f", "lavfi", "-i", f"testsrc2=s=160x96:r={RATE}:d={SECONDS}")
    subprocess.run([ffmpeg, "-v", "error", "-nostdin", *picture, "-pix_fmt", "yuv420p", path], check=True, timeout=60)
    return path


def lines(program: str, clip: Path, address: str, *flags: str) -> list[str]:
    """What a program prints."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / program), str(clip), "--daemon", address, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FINISHED_WITHIN_S)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_all_examples_are_run() -> None:
    assert sorted(each.name for each in EXAMPLES.glob("*.py")) == sorted(PROGRAMS + LOADED)
    for program in LOADED:
        assert (Path(__file__).parent / "examples" / f"test_{program}").is_file()


@pytest.mark.parametrize("program", PROGRAMS)
def test_in_pacing_every(program: str, clip: Path, shared_daemon: Daemon) -> None:
    said = lines(program, clip, shared_daemon.address, "--look", "poster", "--pacing", "every")
    assert len(said) >= 2
    assert all(LINE.fullmatch(line) for line in said), said
    assert all(line.endswith("dropped: none") for line in said)


@pytest.mark.parametrize("program", PROGRAMS)
def test_in_pacing_live(program: str, clip: Path, shared_daemon: Daemon) -> None:
    check_live(lines(program, clip, shared_daemon.address, "--look", "poster"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_in_pacing_live_with_nobody_who_paints(program: str, clip: Path, tmp_path: Path) -> None:
    with Router(f"ipc://{tmp_path}/router.sock") as router:
        check_live(lines(program, clip, router.address))
        [opening] = [each.opening for each in router.sittings.values()]
    assert (opening.pacing, opening.source.rate) == ("live", RATE)
    assert len(router.taken) == SECONDS * RATE


def check_live(said: list[str]) -> None:
    assert len(said) >= 2
    assert all(LINE.fullmatch(line) for line in said), said
    assert any(float(line.split()[0]) > 0 for line in said)
