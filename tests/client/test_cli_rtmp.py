"""`warpaint bridge` as what OBS, phones and ffmpeg publish to over RTMP."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from support.bridge import COMES_WITHIN_S, EAGER, LIVE, PATTERN, Programs, free_port, moving
from support.daemon import Daemon
from support.rtmp import Publisher, asking

FLV = (*LIVE, "-f", "flv")


@pytest.fixture
def programs(ffmpeg: str, shared_daemon: Daemon, tmp_path: Path) -> Iterator[Programs]:
    made = Programs(ffmpeg, shared_daemon.address, tmp_path)
    yield made
    made.end_all()


def ends() -> tuple[int, str, str]:
    """A port, what a bridge reads from there, and what it writes to."""
    port = free_port()
    return port, f"rtmp://127.0.0.1:{port}/live/s3cret", f"tcp://127.0.0.1:{free_port()}"


def refused(programs: Programs, url: str) -> str:
    """What a publisher says that is not let in."""
    command = [programs.ffmpeg, "-v", "error", "-nostdin", *PATTERN, "-t", "5", *FLV, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMES_WITHIN_S)
    assert done.returncode != 0
    return done.stderr


def test_one_publishes_and_nobody_gets_in_its_way(programs: Programs) -> None:
    port, source, target = ends()
    bridge = programs.standing(source, f"{target}?listen=1")
    with_sound = ("-f", "lavfi", "-i", "sine", *LIVE, "-c:a", "aac", "-f", "flv")
    programs.start("-re", *PATTERN, *with_sound, source)
    reader = programs.reader(target, *EAGER)
    assert moving(reader.pictures(10))
    assert "This is not the stream key" in refused(programs, f"rtmp://127.0.0.1:{port}/live/guessed")
    assert "no such application" in refused(programs, f"rtmp://127.0.0.1:{port}/other/s3cret")
    assert "Somebody publishes here already" in refused(programs, source)
    for data in (np.random.default_rng(0).bytes(50_000), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00"):
        with Publisher(port, data) as stranger:
            assert stranger.is_closed()
    with Publisher(port):  # and says nothing
        assert moving(reader.pictures(25)[-10:])
    code, said = bridge.stop()
    assert code == 0
    for words in (
        "gave a wrong stream key",
        "asked for another application",
        "wanted to publish while another one does",
        "sent no RTMP",
        "asked for a web page",
        "RTMPS is not spoken here",
        f"bridging rtmp://127.0.0.1:{port}/live/*** to",
    ):
        assert said.count(words) == 1, said
    for word in ("s3cret", "guessed", "Traceback", "mended"):
        assert word not in said


def test_publishers_come_back(programs: Programs) -> None:
    """One leaves properly, one is killed, one has another codec: HEVC, as Enhanced RTMP has it."""
    _, source, target = ends()
    bridge = programs.standing(source, f"{target}?listen=1")
    first = programs.sender(source, *FLV)
    reader = programs.reader(target, *EAGER)
    assert moving(reader.pictures(10))
    first.send_signal(signal.SIGINT)
    assert first.wait(COMES_WITHIN_S) == 255  # of its own accord
    second = programs.sender(source, *FLV, size="320x176")
    bridge.says("the input is 320x176 from here on")
    assert moving(reader.pictures(20)[-10:])
    programs.end(second)
    programs.ffmpeg = str(imageio_ffmpeg.get_ffmpeg_exe())  # the system's may be too old for it
    hevc = ("-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10", "-f", "flv")
    programs.sender(source, *hevc, size="192x128")
    bridge.says("the input is 192x128 from here on")
    assert moving(reader.pictures(20)[-10:])
    code, said = bridge.stop()
    assert code == 0
    assert "Traceback" not in said
    assert "can be read" not in said


@pytest.mark.slow
def test_a_publisher_of_sound_alone_ends_nothing(programs: Programs) -> None:
    _, source, target = ends()
    bridge = programs.standing(source, f"{target}?listen=1")
    sound = programs.start("-re", "-f", "lavfi", "-i", "sine", "-c:a", "aac", "-f", "flv", source)
    bridge.says("has no picture")
    programs.end(sound)
    programs.sender(source, *FLV)
    assert moving(programs.reader(target, *EAGER).pictures(10))
    assert "Traceback" not in bridge.stop()[1]


@pytest.mark.slow
def test_a_film_of_garbage_ends_nothing(programs: Programs) -> None:
    port, source, target = ends()
    bridge = programs.standing(source, f"{target}?listen=1")
    with Publisher(port, asking("s3cret")) as publisher:
        publisher.hears("NetStream.Publish.Start")
        publisher.send(np.random.default_rng(0).bytes(100_000))
        assert publisher.is_closed()
    programs.sender(source, *FLV)
    assert moving(programs.reader(target, *EAGER).pictures(10))
    assert "Traceback" not in bridge.stop()[1]


@pytest.mark.slow
def test_without_a_key_it_is_said_that_any_is_taken(programs: Programs) -> None:
    port, _, target = ends()
    bridge = programs.standing(f"rtmp://127.0.0.1:{port}/live", f"{target}?listen=1")
    programs.sender(f"rtmp://127.0.0.1:{port}/live/whatever", *FLV)
    assert moving(programs.reader(target, *EAGER).pictures(5))
    assert "no stream key, so any is taken" in bridge.stop()[1]


@pytest.mark.slow
def test_a_publisher_that_hangs_gives_way(programs: Programs) -> None:
    _, source, target = ends()
    bridge = programs.standing(source, f"{target}?listen=1")
    first = programs.sender(source, *FLV)
    reader = programs.reader(target, *EAGER)
    assert moving(reader.pictures(10))
    first.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + COMES_WITHIN_S
    while "gives way to another one" not in bridge.said:
        assert time.monotonic() < deadline, bridge.said
        second = programs.sender(source, *FLV, size="320x176")
        while second.poll() is None and "gives way" not in bridge.said:  # it is refused while the first one may send
            time.sleep(0.1)
    bridge.says("the input is 320x176 from here on")
    assert moving(reader.pictures(20)[-10:])
    first.send_signal(signal.SIGCONT)
    assert first.wait(COMES_WITHIN_S) != 0  # it has lost its connection
    code, said = bridge.stop()
    assert code == 0
    assert said.count("wanted to publish while another one does") == 1
    assert "Traceback" not in said
