"""`warpaint bridge` over SRT, which an ffmpeg beside it speaks."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bridge import (
    COMES_WITHIN_S,
    EAGER,
    LIVE,
    MPEGTS,
    Programs,
    children,
    free_port,
    leave,
    moving,
    refused,
)
from support.daemon import Daemon
from support.programs import program

SRT, TCP_OUT = "srt://127.0.0.1:{}", "tcp://127.0.0.1:{}?listen=1"
LISTEN = "?listen=1"
SECRET = "correct horse battery"


@pytest.fixture(autouse=True)
def _needed() -> None:
    program("ffmpeg", "apt-get install ffmpeg")


@pytest.fixture
def programs(ffmpeg: str, shared_daemon: Daemon, tmp_path: Path) -> Iterator[Programs]:
    made = Programs(ffmpeg, shared_daemon.address, tmp_path)
    yield made
    made.end_all()


def url(form: str) -> str:
    """A URL of this form with a port that is free."""
    return form.format(free_port())


def gone(pid: int) -> bool:
    """Whether a process ends within a while. A dead one that nobody has asked for counts."""
    deadline = time.monotonic() + COMES_WITHIN_S
    while time.monotonic() < deadline:
        try:
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_srt_in_and_out(programs: Programs) -> None:
    """The bridge listens at both ends; the sender is started again, and the reader comes late."""
    source, target = url(SRT), url(SRT)
    asked = f"?mode=listener&latency=20&passphrase={SECRET}"
    bridge = programs.standing(source + asked, target + asked)
    for _ in range(2):
        sender = programs.sender(f"{source}?passphrase={SECRET}", *LIVE, *MPEGTS)
        reader = programs.reader(f"{target}?passphrase={SECRET}", *EAGER, "-f", "mpegts")
        assert moving(reader.pictures(10))
        leave(sender)
        leave(reader.process)
    code, said = bridge.stop()
    assert code == 0
    assert "Traceback" not in said
    assert SECRET not in said


@pytest.mark.slow
def test_srt_to_and_from_listeners(programs: Programs, tmp_path: Path) -> None:
    """The bridge calls at both ends, also when nobody is there yet, and says that once."""
    source, target = url(SRT), url(SRT)
    bridge = programs.standing(source, f"{target}?latency=20")
    bridge.says(f"{source}: ffmpeg says: srt://127.0.0.1")
    programs.sender(f"{source}?mode=listener", *LIVE, *MPEGTS)
    reader = programs.reader(f"{target}?mode=listener", *EAGER, "-f", "mpegts")
    assert moving(reader.pictures(10))
    assert bridge.stop()[0] == 0


def test_a_wrong_passphrase_lets_nobody_in(programs: Programs) -> None:
    source, target = url(SRT), url(TCP_OUT)
    bridge = programs.standing(f"{source}?mode=listener&passphrase={SECRET}", target)
    for wrong in ("", f"?passphrase={SECRET[::-1]}"):
        assert programs.sender(source + wrong, *LIVE, *MPEGTS).wait(COMES_WITHIN_S) != 0
    programs.sender(f"{source}?passphrase={SECRET}", *LIVE, *MPEGTS)
    assert moving(programs.reader(target.removesuffix(LISTEN), *EAGER).pictures(5))
    assert SECRET not in bridge.stop()[1]


def test_the_ffmpeg_beside_a_bridge_dies_with_it(programs: Programs) -> None:
    bridge = programs.standing(url("srt://127.0.0.1:{}?mode=listener"), url("srt://127.0.0.1:{}?mode=listener"))
    deadline = time.monotonic() + COMES_WITHIN_S
    while len(found := children(bridge.process.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    bridge.process.kill()
    assert all(gone(each) for each in found)


@pytest.mark.slow
def test_an_ffmpeg_that_is_killed_is_started_again(programs: Programs) -> None:
    source, target = url(SRT), url(TCP_OUT)
    bridge = programs.standing(f"{source}?mode=listener", target)
    sender = programs.sender(source, *LIVE, *MPEGTS)
    reader = programs.reader(target.removesuffix(LISTEN), *EAGER)
    assert moving(reader.pictures(5))
    [beside] = children(bridge.process.pid)
    os.kill(beside, 9)
    leave(sender)
    programs.sender(source, *LIVE, *MPEGTS)
    assert moving(reader.pictures(60)[-5:])
    assert bridge.stop()[0] == 0


def test_an_ffmpeg_that_is_not_there_or_does_not_speak_it_is_told(programs: Programs, tmp_path: Path) -> None:
    source = url(SRT)
    assert "there is no program no-ffmpeg" in refused(programs, source, "-", "--ffmpeg", "no-ffmpeg")
    (mute := tmp_path / "mute").write_text("#!/bin/sh\necho '  udp'\n")
    mute.chmod(0o755)
    for ends in ((source, "-"), ("-", source)):
        assert "mute does not speak srt; name one that does by --ffmpeg" in refused(
            programs, *ends, "--ffmpeg", str(mute)
        )


def test_a_port_in_use_is_told(programs: Programs) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = f"srt://127.0.0.1:{other.getsockname()[1]}?mode=listener"
        assert "cannot be listened to: Address already in use" in refused(programs, taken, "-")
        assert "cannot be listened to: Address already in use" in refused(programs, "-", taken)
