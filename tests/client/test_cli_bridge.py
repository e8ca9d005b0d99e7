"""`warpaint bridge` between real ffmpeg programs."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import zmq

from support.bridge import (
    AT_ONCE,
    COMES_WITHIN_S,
    EAGER,
    LIVE,
    MPEGTS,
    PATTERN,
    WARPAINT,
    Programs,
    alarmed,
    free_port,
    moving,
    refused,
)
from support.daemon import Daemon, daemon
from warpaint.client.bridge.sources import Incoming
from warpaint.client.bridge.urls import input_url
from warpaint.client.errors import MediaError


@pytest.fixture
def programs(ffmpeg: str, shared_daemon: Daemon, tmp_path: Path) -> Iterator[Programs]:
    made = Programs(ffmpeg, shared_daemon.address, tmp_path)
    yield made
    made.end_all()


def url(form: str) -> str:
    """A URL of this form with a port that is free."""
    return form.format(free_port())


RTMP = "rtmp://127.0.0.1:{}/live/key"
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
    "flv in rtmp": (RTMP, (*LIVE, "-f", "flv"), (), TCP + LISTEN, (), ()),
    "mpegts in udp": (UDP, (*LIVE, *MPEGTS), (), UDP, (), ("-f", "mpegts")),
}
QUICK = ("mpegts in zmq", "rawvideo in zmq", "nut in tcp")
SIZES = {"rawvideo in zmq": "480x320"}


@pytest.mark.parametrize(
    "way", [*QUICK, *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way not in QUICK)]
)
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


@pytest.mark.timing
def test_a_pipe_passes_and_ends_with_its_input(programs: Programs, tmp_path: Path) -> None:
    film = tmp_path / "in.nut"
    programs.made(film, "-t", "3", *LIVE, "-f", "nut")
    sender = programs.start("-re", "-i", str(film), "-c", "copy", "-f", "nut", *AT_ONCE, "-", stdout=subprocess.PIPE)
    bridge = programs.bridge("-", "-", "--look", "poster", "--painter", "filters", stdin=sender.stdout)
    with alarmed(bridge.process):
        out = bridge.process.stdout.read() if bridge.process.stdout else b""
    code, said = bridge.ended()
    assert code == 0, said
    with av.open(io.BytesIO(out), "r") as container:
        count = len(list(container.decode(video=0)))
    assert 10 < count <= 75  # it may have begun before the bridge


@pytest.mark.parametrize("data", [b"", b"words, words\n" * 100])
def test_an_input_that_is_no_film_is_told(programs: Programs, tmp_path: Path, data: bytes) -> None:
    (film := tmp_path / "in.nut").write_bytes(data)
    said = refused(programs, str(film), "-")
    assert "has ended without a picture" in said
    assert "can be read" in said


@pytest.mark.slow
def test_what_an_output_cannot_hold_is_said(programs: Programs, tmp_path: Path) -> None:
    (words := tmp_path / "words.srt").write_text("1\n00:00:00,200 --> 00:00:01,000\nhello\n")
    inputs = (*PATTERN, "-f", "lavfi", "-i", "sine", "-i", str(words))
    programs.made(film := tmp_path / "in.mkv", "-t", "2", *LIVE, "-c:a", "flac", "-c:s", "srt", inputs=inputs)
    code, said = programs.bridge(str(film), str(tmp_path / "out.ts")).ended()
    assert code == 0
    assert "The audio (flac) is left out: mpegts cannot hold it." in said
    assert "The subtitle (" in said


# Sound

FLASH = "color=black:s=160x96:r=25,drawbox=c=white:t=fill:enable='lt(mod(n,25),10)'"
BEEP = "aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t,1),0.4)':s=48000"
CLIP = ("-re", "-f", "lavfi", "-i", FLASH, "-re", "-f", "lavfi", "-i", BEEP)
FRAME_S = 1 / 25


@pytest.mark.timing
@pytest.mark.parametrize(
    "flags",
    [
        ("--painter", "identity"),
        pytest.param(("--painter", "filters"), marks=pytest.mark.slow),
        pytest.param(("--out-rate", "25"), marks=pytest.mark.slow),
        pytest.param(("--out-rate", "60"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_sound_stays_with_its_picture(programs: Programs, tmp_path: Path, flags: tuple[str, ...]) -> None:
    coded = (*LIVE, "-c:a", "aac")
    programs.made(reference := tmp_path / "reference.nut", *coded, "-t", "4", "-f", "nut", inputs=CLIP)
    source, target = url(TCP + LISTEN), url(TCP + LISTEN)
    bridge = programs.standing(source, target, *flags)
    programs.start(*CLIP, *coded, *MPEGTS, source.removesuffix(LISTEN))
    copied = ("-copyts", "-i", target.removesuffix(LISTEN), "-c", "copy", "-t", "4", "-f", "nut")
    programs.start(*copied, str(got := tmp_path / "got.nut")).wait(COMES_WITHIN_S)
    before, after = offset_s(reference), offset_s(got)
    assert abs(before) < FRAME_S
    assert abs(after - before) < FRAME_S
    with av.open(str(got), "r") as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.pts is not None]
    assert np.diff(times) == pytest.approx(1024 / 48_000, abs=0.002)  # ms, as NUT may store them
    assert "mended" not in bridge.stop()[1]


def offset_s(film: Path) -> float:
    """How much later the beep is than the flash, seconds: of the flash that is least late, as frames may be dropped."""
    flashes, beeps = begins(film, "video", 128), begins(film, "audio", 0.3)
    nearest = [min((beep - flash for beep in beeps), key=abs) for flash in flashes]
    assert len(nearest) >= 2
    return max(nearest)


def begins(film: Path, kind: str, level: float) -> list[float]:
    """When it becomes bright, or loud, seconds; what begins with the film is left out."""
    found, was = [], True
    with av.open(str(film), "r") as container:
        for frame in container.decode(**{kind: 0}):
            if isinstance(frame, av.VideoFrame):
                samples, step_s = np.array([frame.to_ndarray(format="gray").mean()]), 0.0
            elif isinstance(frame, av.AudioFrame):
                samples, step_s = abs(frame.to_ndarray()[0]), 1 / frame.sample_rate
            else:
                continue
            now = bool((samples > level).any())
            if now and not was:
                found.append(float(frame.time or 0) + int((samples > level).argmax()) * step_s)
            was = now
    return found


# What may happen


def test_a_sender_comes_back_with_another_size(programs: Programs) -> None:
    source, target = url(ZMQ), url(ZMQ)
    bridge = programs.standing(source, target)
    first = programs.sender(source, *LIVE, *MPEGTS, size="160x96")
    reader = programs.reader(target, *EAGER, "-f", "mpegts")
    assert moving(reader.pictures(20))
    programs.end(first)
    programs.sender(source, *LIVE, *MPEGTS, size="320x176")
    bridge.says("the input is 320x176 from here on")
    assert moving(reader.pictures(30)[-20:])
    code, said = bridge.stop()
    assert code == 0
    assert said.count("times that jump") == 1
    assert "Traceback" not in said


def test_garbage_ends_nothing(programs: Programs) -> None:
    source, target = url(TCP + LISTEN), url(TCP + LISTEN)
    bridge = programs.standing(source, target)
    port = int(source.removesuffix(LISTEN).rpartition(":")[2])
    noise = np.random.default_rng(0).bytes(200_000)
    for data in (noise, b"", b"GET / HTTP/1.1\r\n\r\n" * 200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sender:
            sender.sendall(data)  # the bridge may hang up
    bridge.says("can be read")
    programs.sender(source.removesuffix(LISTEN), *LIVE, "-f", "nut", *AT_ONCE)
    assert moving(programs.reader(target.removesuffix(LISTEN), *EAGER).pictures(10))
    assert "Traceback" not in bridge.stop()[1]


@pytest.mark.parametrize("damage", ["lost", pytest.param("noise", marks=pytest.mark.slow)])
def test_damage_in_the_middle_ends_nothing(programs: Programs, tmp_path: Path, damage: str) -> None:
    source, target = url(UDP), url(TCP + LISTEN)
    programs.made(film := tmp_path / "in.ts", "-t", "6", *LIVE, "-f", "mpegts")
    bridge = programs.standing(source, target)
    reader = programs.reader(target.removesuffix(LISTEN), *EAGER)
    send_datagrams(film.read_bytes(), source, for_s=6, damage=damage)
    assert moving(reader.pictures(10)[-5:])
    code, said = bridge.stop()
    assert code == 0
    assert "Traceback" not in said


def test_whoever_comes_late_sees_something_soon(programs: Programs) -> None:
    source, target = url(TCP + LISTEN), url(ZMQ)
    bridge = programs.standing(source, target)
    programs.sender(source.removesuffix(LISTEN), *LIVE, "-f", "nut", *AT_ONCE)
    programs.reader(target, *EAGER, "-f", "mpegts").pictures(1)
    with zmq.Context() as context, context.socket(zmq.SUB) as late:
        late.setsockopt(zmq.SUBSCRIBE, b"")
        late.connect(target.removeprefix("zmq:"))
        data, ends = b"", time.monotonic() + 1
        while time.monotonic() < ends and b"\0\0\0\1\x67" not in data:  # the parameters, which go before a keyframe
            if late.poll(100):
                data += b"".join(late.recv_multipart())
    assert b"\0\0\0\1\x67" in data
    assert bridge.stop(signal.SIGINT)[0] == 0


@pytest.mark.slow
def test_a_reader_that_does_not_read_holds_up_nobody(programs: Programs) -> None:
    source, target = url(ZMQ), url(TCP + LISTEN)
    bridge = programs.standing(source, target, "--out-format", "rawvideo")
    programs.sender(source, *LIVE, *MPEGTS, size="960x540", rate=30)
    port = int(target.removesuffix(LISTEN).rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        raw = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", "960x540")
        reader = programs.reader(target.removesuffix(LISTEN), *raw)
        bridge.says("is read too slowly", 60.0)  # when some 50 MB wait
        assert moving(reader.pictures(20))
        code, said = bridge.stop()
    assert code == 0
    assert "packets as a reader was too slow" in said


@pytest.mark.slow
def test_a_sender_that_sends_its_film_again_and_again(programs: Programs, tmp_path: Path) -> None:
    source = url(UDP)
    programs.made(film := tmp_path / "in.ts", "-t", "2", *LIVE, "-f", "mpegts")
    bridge = programs.standing(source, str(out := tmp_path / "out.nut"))
    send_datagrams(3 * film.read_bytes(), source, for_s=6)
    code, said = bridge.stop()
    assert code == 0
    assert said.count("times that jump") == 1
    with av.open(str(out)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.pts is not None]
    assert times == sorted(set(times))
    assert 4 < times[-1] - times[0] < 8


def send_datagrams(data: bytes, target: str, *, for_s: float, damage: str = "") -> None:
    """Sends a film evenly over some time, from one port. damage: some of it is `lost`, or is `noise`."""
    noise = np.random.default_rng(0)
    pieces = [data[at : at + 1316] for at in range(0, len(data), 1316)]
    address = "127.0.0.1", int(target.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number, piece in enumerate(pieces):
            if damage and number % 29 == 28:
                piece = noise.bytes(1316) if damage == "noise" else b""
            if piece:
                sender.sendto(piece, address)
            time.sleep(for_s / len(pieces))


@pytest.mark.slow
def test_what_becomes_of_the_picture_is_said(programs: Programs) -> None:
    source, target = url(TCP + LISTEN), url(TCP + LISTEN)
    bridge = programs.standing(source, target)
    fine = ("-pix_fmt", "yuv422p10le", "-c:v", "libx264", "-flags", "+ildct+ilme", "-x264-params", "tff=1", "-g", "10")
    programs.sender(source.removesuffix(LISTEN), *fine, "-tune", "zerolatency", "-f", "nut", *AT_ONCE)
    assert moving(programs.reader(target.removesuffix(LISTEN), *EAGER).pictures(10))
    _, said = bridge.stop()
    for words in ("has 10 bits a sample", "becomes 4:2:0", "deinterlaced"):
        assert said.count(words) == 1


# What cannot be begun, and --probe


@pytest.mark.parametrize("form", [TCP + LISTEN, ZMQ, UDP])
def test_a_port_in_use_is_told(programs: Programs, form: str) -> None:
    kind = socket.SOCK_DGRAM if form == UDP else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        taken, free = form.format(other.getsockname()[1]), url(UDP)
        ends = (taken, free) if form == UDP else (free, taken)
        assert f"{taken} cannot be listened to: Address already in use" in refused(programs, *ends)


@pytest.mark.parametrize(("flag", "value", "word"), [("--strength", "7", "strength"), ("--crf", "99", "crf of h264")])
def test_a_wrong_wish_is_told(programs: Programs, flag: str, value: str, word: str) -> None:
    assert word in refused(programs, "-", "-", flag, value)


def test_probe(programs: Programs) -> None:
    source = url(ZMQ)
    programs.start(*CLIP, *LIVE, "-c:a", "aac", *MPEGTS, source)
    command = [str(WARPAINT), "bridge", "--probe", source]
    said = subprocess.run(command, capture_output=True, text=True, timeout=COMES_WITHIN_S, check=True).stdout
    for words in ("mpegts", "video h264", "160x96", "audio aac, 48000 Hz", "rate: 25"):
        assert words in said


@pytest.mark.slow
def test_probe_where_nothing_comes(programs: Programs) -> None:
    assert "nothing came in 5 s" in refused(programs, "--probe", url(UDP))


@pytest.mark.parametrize(
    ("source", "form", "complaint"),
    [("-", "rawvideo", "--size"), ("rtmp://127.0.0.1/live/key", "nut", "rtmp carries flv")],
)
def test_what_does_not_go_together_is_told(source: str, form: str, complaint: str) -> None:
    with pytest.raises(MediaError, match=complaint):
        Incoming(input_url(source), form).checked()


@pytest.mark.slow
def test_a_daemon_that_is_started_again(programs: Programs, tmp_path: Path) -> None:
    """The pictures meanwhile are lost; sessions do not outlive a daemon without a state directory."""
    source, target = url(TCP + LISTEN), url(TCP + LISTEN)
    (folder := tmp_path / "own").mkdir()
    with daemon(folder) as first:
        programs.daemon = first.address
        bridge = programs.standing(source, target)
        programs.sender(source.removesuffix(LISTEN), *LIVE, "-f", "nut", *AT_ONCE)
        reader = programs.reader(target.removesuffix(LISTEN), *EAGER)
        assert moving(reader.pictures(10))
    with daemon(folder):
        bridge.says("trying again")
        assert moving(reader.pictures(60)[-10:])
        code, said = bridge.stop()
    assert code == 0, said
    assert "Traceback" not in said


@pytest.mark.slow
def test_pipes_with_names_are_opened_for_each_sender_and_reader(programs: Programs, tmp_path: Path) -> None:
    for name in ("in", "out"):
        os.mkfifo(tmp_path / name)
    bridge = programs.standing(str(tmp_path / "in"), str(tmp_path / "out"))
    for size in ("160x96", "192x128"):
        sender = programs.sender(str(tmp_path / "in"), *LIVE, "-f", "nut", *AT_ONCE, size=size)
        reader = programs.reader(str(tmp_path / "out"), *EAGER)
        assert moving(reader.pictures(10))
        programs.end(reader.process)
        programs.end(sender)
    code, said = bridge.stop()
    assert code == 0, said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_closed_standard_output_ends_it(programs: Programs) -> None:
    source = url(ZMQ)
    bridge = programs.standing(source, "-")
    programs.sender(source, *LIVE, *MPEGTS)
    if bridge.process.stdout:
        bridge.process.stdout.read(1000)
        bridge.process.stdout.close()
    code, said = bridge.ended()
    assert code == 1
    assert "standard output cannot be written on: Broken pipe" in said
    assert "Traceback" not in said
