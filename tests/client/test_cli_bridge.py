"""`warpaint bridge` between real ffmpeg programs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bridge import AT_ONCE, EAGER, LIVE, MPEGTS, Programs, free_port, moving
from support.daemon import Daemon


@pytest.fixture
def programs(ffmpeg: str, shared_daemon: Daemon, tmp_path: Path) -> Iterator[Programs]:
    made = Programs(ffmpeg, shared_daemon.address, tmp_path)
    yield made
    made.end_all()


def url(form: str) -> str:
    """A URL of this form with a port that is free."""
    return form.format(free_port())


ZMQ, UDP, TCP = "zmq:tcp://127.0.0.1:{}", "udp://127.0.0.1:{}", "tcp://127.0.0.1:{}"
LISTEN = "?listen=1"
LARGE = (*AT_ONCE, "-pkt_size", "2000000")


# What passes


# What is written, what is told of it, where it is read, how: each with the size of the picture.
WAYS = {
    "mpegts in zmq": (ZMQ, (*LIVE, *MPEGTS), (), ZMQ, (), ("-f", "mpegts")),
    "h264 in zmq": (ZMQ, (*LIVE, "-f", "h264", *LARGE), ("--in-format", "h264"), UDP, (), ("-f", "mpegts")),
    "rawvideo in zmq": (
        *(ZMQ, ("-pix_fmt", "yuv420p", "-f", "rawvideo", *AT_ONCE), ("--in-format", "rawvideo", "--size", "480x320")),
        *(ZMQ, ("--out-format", "rawvideo"), ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", "480x320")),
    ),
    "mjpeg in zmq": (
        *(ZMQ, ("-c:v", "mjpeg", "-f", "mjpeg", *LARGE), ("--in-format", "mjpeg")),
        *(TCP + LISTEN, ("--out-format", "mjpeg"), ("-f", "mjpeg")),
    ),
    "nut in tcp": (TCP + LISTEN, (*LIVE, "-f", "nut", *AT_ONCE), (), TCP + LISTEN, ("--out-format", "nut"), ()),
    "mpegts in udp": (UDP, (*LIVE, *MPEGTS), (), UDP, (), ("-f", "mpegts")),
}
SIZES = {"rawvideo in zmq": "480x320"}


@pytest.mark.parametrize("way", WAYS)
def test_a_film_passes(programs: Programs, way: str) -> None:
    source_form, written, told, target_form, wished, read = WAYS[way]
    source, target = url(source_form), url(target_form)
    bridge = programs.standing(source, target, *told, *wished)
    sender = (source.removesuffix(LISTEN), *written)
    if target_form == UDP:  # whoever listens late misses a keyframe
        reader = programs.reader(target, *EAGER, *read)
        programs.sender(*sender)
    else:
        programs.sender(*sender, size=SIZES.get(way, "160x96"))
        reader = programs.reader(target.removesuffix(LISTEN), *EAGER, *read)
    pictures = reader.pictures(20)
    assert moving(pictures)
    code, said = bridge.stop()
    assert code == 0
    assert "pictures came" in said
    assert "Traceback" not in said
