"""What an ffmpeg beside a bridge is told, and what becomes of a camera that is none."""

import time
from pathlib import Path

import numpy as np
import pytest

from support.bridge import COMES_WITHIN_S, Programs, moving, refused
from support.daemon import Daemon
from support.programs import program
from warpaint.client.bridge.beside import reading, writing
from warpaint.client.bridge.urls import Url, input_url, output_url

SAYS = ["-hide_banner", "-nostats", "-loglevel", "level+info"]
COPIED = ["-map", "0", "-c", "copy", "-flush_packets", "1", "-f"]
BYTES = ["-probesize", "32", "-analyzeduration", "0", "-f", "data", "-raw_packet_size", "1316"]
A_CAMERA = "v4l2:/dev/video0?size=1280x720&rate=30000/1001&format=mjpeg"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            A_CAMERA,
            [
                *("-f", "v4l2", "-input_format", "mjpeg", "-video_size", "1280x720", "-framerate", "30000/1001"),
                *("-i", "/dev/video0", *COPIED, "nut", "pipe:1"),
            ],
        ),
        ("v4l2:/dev/video2", ["-f", "v4l2", "-i", "/dev/video2", *COPIED, "nut", "pipe:1"]),
        (
            "srt://0.0.0.0:9000?mode=listener&latency=120&passphrase=0123456789",
            [
                *(*BYTES, "-mode", "listener", "-latency", "120000", "-passphrase", "0123456789"),
                *("-enforced_encryption", "1", "-i", "srt://0.0.0.0:9000", *COPIED, "data", "pipe:1"),
            ],
        ),
    ],
)
def test_what_it_is_told_to_read(text: str, told: list[str]) -> None:
    assert reading(input_url(text)) == SAYS + told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "v4l2:/dev/video9",
            ["-f", "yuv4mpegpipe", "-i", "pipe:0", "-f", "v4l2", "-pix_fmt", "yuv420p", "/dev/video9"],
        ),
        (
            "rtmp://server/live/key?token=x",
            [
                *(
                    "-probesize",
                    "32768",
                    "-analyzeduration",
                    "0",
                    "-f",
                    "flv",
                    "-i",
                    "pipe:0",
                    "-map",
                    "0",
                    "-c",
                    "copy",
                ),
                *("-flush_packets", "1", "-flvflags", "no_duration_filesize"),
                *("-f", "flv", "rtmp://server/live/key?token=x"),
            ],
        ),
        (
            "srt://[::1]:9000?streamid=x",
            [
                *(*BYTES, "-blocksize", "1316", "-i", "pipe:0", *COPIED[:-1], "-pkt_size", "1316"),
                *("-mode", "caller", "-streamid", "x", "-f", "data", "srt://[::1]:9000"),
            ],
        ),
    ],
)
def test_what_it_is_told_to_write(text: str, told: list[str]) -> None:
    assert writing(output_url(text)) == SAYS + told


@pytest.fixture
def programs(ffmpeg: str, shared_daemon: Daemon, tmp_path: Path) -> Programs:
    return Programs(ffmpeg, shared_daemon.address, tmp_path)


def test_a_camera_that_is_not_there_is_told(programs: Programs) -> None:
    for ends in (("v4l2:/dev/video4999", "-"), ("-", "v4l2:/dev/video4999")):
        assert "v4l2:/dev/video4999: there is no device /dev/video4999" in refused(programs, *ends)


def test_a_device_that_is_no_camera_is_told(programs: Programs, tmp_path: Path) -> None:
    program("ffmpeg", "apt-get install ffmpeg")
    try:
        bridge = programs.standing("v4l2:/dev/null", str(tmp_path / "out.nut"))
        said = bridge.says("Inappropriate ioctl for device")
        assert "v4l2:/dev/null: ffmpeg says:" in said
        assert bridge.stop()[0] == 0
    finally:
        programs.end_all()


@pytest.mark.parametrize(
    ("url", "said", "shown"),
    [
        (
            output_url("rtmp://h/live/sesame?token=x"),
            "rtmp://h/live/sesame?token=x: no sesame?token=x in tcp://h:1935",
            "rtmp://h:1935/live/***: no ... in tcp://h:1935",
        ),
        (input_url("srt://h:9?passphrase=open+sesame"), "Bad 'open sesame'", "Bad '...'"),
    ],
)
def test_what_it_says_is_shown_without_secrets(url: Url, said: str, shown: str) -> None:
    assert url.without_secrets(said) == shown


# No machine without a kernel module has a camera: an ffmpeg that is put in between reads and writes files instead.
INSTEAD = """#!/bin/sh
case "$*" in
    *-devices) exec {ffmpeg} "$@" ;;
    *"-i /dev/null"*) exec {ffmpeg} -v error -nostdin -re -f lavfi -i testsrc2=s=160x96:r=25 -c:v mjpeg -f nut pipe:1 ;;
    *) exec {ffmpeg} -v error -y -f yuv4mpegpipe -i pipe:0 -pix_fmt yuv420p -f rawvideo {out} ;;
esac
"""


def test_pictures_pass_from_camera_to_camera(programs: Programs, tmp_path: Path) -> None:
    ffmpeg = program("ffmpeg", "apt-get install ffmpeg")
    out, instead = tmp_path / "out.yuv", tmp_path / "instead"
    instead.write_text(INSTEAD.format(ffmpeg=ffmpeg, out=out))
    instead.chmod(0o755)
    try:
        bridge = programs.standing("v4l2:/dev/null?format=mjpeg", "v4l2:/dev/zero", "--ffmpeg", str(instead))
        picture = 160 * 96 * 3 // 2
        deadline = time.monotonic() + COMES_WITHIN_S
        while not out.exists() or out.stat().st_size < 10 * picture:
            assert time.monotonic() < deadline, bridge.said
            time.sleep(0.05)
        assert bridge.stop()[0] == 0
    finally:
        programs.end_all()
    pictures = np.frombuffer(out.read_bytes(), np.uint8)
    pictures = pictures[: len(pictures) // picture * picture].reshape(-1, picture)
    assert moving([each[: 160 * 96] for each in pictures[:10]])
