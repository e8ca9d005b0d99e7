"""`warpaint bridge` at ends that other programs than ffmpeg have: cameras, servers and players."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import av
import pytest

from support.bridge import (
    AT_ONCE,
    COMES_WITHIN_S,
    EAGER,
    LIVE,
    PATTERN,
    Programs,
    free_port,
    moving,
)
from support.daemon import Daemon
from support.programs import program

TCP = "tcp://127.0.0.1:{}"
HTTP = "http://127.0.0.1:{}/live.ts"
RTSP = "rtsp://127.0.0.1:{}/x"
LISTEN = "?listen=1"
SINE = ("-f", "lavfi", "-i", "sine=r=48000")
NOBODY = 65_534
TCP_LISTEN = "0A"  # as Linux spells it


@pytest.fixture
def programs(ffmpeg: str, shared_daemon: Daemon, tmp_path: Path) -> Iterator[Programs]:
    made = Programs(ffmpeg, shared_daemon.address, tmp_path)
    yield made
    made.end_all()


def url(form: str) -> str:
    """A URL of this form with a port that is free."""
    return form.format(free_port())


# RTSP


ONCE_AND_AGAIN = pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])


@ONCE_AND_AGAIN
def test_a_sender_pushes_by_rtsp(programs: Programs, times: int) -> None:
    source, target = url(RTSP), url(TCP)
    bridge = programs.standing(source + LISTEN, target + LISTEN)
    for _ in range(times):
        until_somebody_listens(source)
        sender = programs.sender(source, *LIVE, "-f", "rtsp", "-rtsp_transport", "tcp")
        reader = programs.reader(target, *EAGER)
        assert moving(reader.pictures(10))
        for each in (sender, reader.process):
            programs.end(each)
    code, said = bridge.stop()
    assert code == 0
    assert "whoever reaches the rtsp port may publish" in said


def until_somebody_listens(where: str) -> None:
    """Waits for a listener of this machine. It is not tried, as that would be its first sender."""
    port = f":{int(where.split('/')[2].rpartition(':')[2]):04X}"
    deadline = time.monotonic() + COMES_WITHIN_S
    while time.monotonic() < deadline:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if address.endswith(port) and state == TCP_LISTEN:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens at {where}")


def test_a_camera_is_asked_by_rtsp(programs: Programs, tmp_path: Path) -> None:
    """VLC, as a camera that only knows RTP over UDP."""
    vlc = program("cvlc", "apt-get install vlc-bin vlc-plugin-base")
    source, target = url(RTSP), url(TCP)
    film = tmp_path / "film.mkv"
    programs.made(film, "-t", "40", *LIVE, "-c:a", "aac", inputs=(*PATTERN, *SINE))
    served = f"#rtp{{sdp={source}}}"
    command = [vlc, "--no-dbus", "--rtsp-host", "127.0.0.1", "--loop", str(film), "--sout", served]
    bridge = programs.standing(source, target + LISTEN)
    bridge.says("Connection refused")  # it is asked again when it is there
    programs.running.append(subprocess.Popen(as_somebody(command, tmp_path), stderr=subprocess.DEVNULL))
    assert moving(programs.reader(target, *EAGER).pictures(10))
    assert bridge.stop()[0] == 0


def as_somebody(command: list[str], folder: Path) -> list[str]:
    """The command; of root, who is told by VLC to be somebody else, as nobody, who may read the folder."""
    if os.getuid() != 0:
        return command
    for each in (folder, *folder.parents):
        if each.stat().st_uid == 0 and not each.stat().st_mode & 0o005 and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o005)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


# RTMP


@ONCE_AND_AGAIN
def test_it_publishes_to_an_rtmp_server(programs: Programs, tmp_path: Path, times: int) -> None:
    source, target = url(TCP), url("rtmp://127.0.0.1:{}/live/sesame")
    bridge = programs.standing(source + LISTEN, target)
    pictures = ("-re", "-f", "lavfi", "-i", "testsrc2=s=160x96:r=25", *SINE)
    programs.start(*pictures, *LIVE, "-c:a", "aac", "-f", "nut", *AT_ONCE, source)
    bridge.says("trying again")  # there is no server yet
    got = tmp_path / "got.mkv"
    for _ in range(times):  # the server is started again
        programs.start("-listen", "1", "-f", "flv", "-i", target, "-frames:v", "12", "-c", "copy", str(got)).wait(
            COMES_WITHIN_S
        )
        with av.open(str(got)) as container:
            assert [each.codec_context.name for each in container.streams] == ["h264", "aac"]
            assert container.streams.video[0].average_rate == 25
            assert len(list(container.decode(video=0))) == 12
        with av.open(str(got)) as container:
            assert len(list(container.decode(audio=0))) > 2
    code, said = bridge.stop()
    assert code == 0
    assert "sesame" not in said


@pytest.mark.slow
def test_pictures_of_another_size_are_published_anew(programs: Programs, tmp_path: Path) -> None:
    """The first server ends when the bridge hangs up; the second one gets the new size alone."""
    source, target = url(TCP), url("rtmp://127.0.0.1:{}/live/sesame")
    bridge = programs.standing(source + LISTEN, target)
    served = ("-listen", "1", *EAGER, "-f", "flv", "-i", target, "-c", "copy", *AT_ONCE)
    first = programs.start(*served, str(tmp_path / "first.ts"))
    sender = programs.sender(source, *LIVE, "-f", "nut", *AT_ONCE, size="160x96")
    until_it_holds_something(tmp_path / "first.ts")
    programs.end(sender)
    programs.sender(source, *LIVE, "-f", "nut", *AT_ONCE, size="192x128")
    assert first.wait(COMES_WITHIN_S) == 0
    programs.start(*served, "-frames:v", "12", str(tmp_path / "second.ts")).wait(COMES_WITHIN_S)
    for name, size in (("first", (160, 96)), ("second", (192, 128))):
        with av.open(str(tmp_path / f"{name}.ts")) as container:
            sizes = {(frame.width, frame.height) for frame in container.decode(video=0)}
        assert sizes == {size}
    assert bridge.stop()[0] == 0


def until_it_holds_something(film: Path) -> None:
    """Waits until a film is being written."""
    deadline = time.monotonic() + COMES_WITHIN_S
    while not film.exists() or film.stat().st_size < 1_000:
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing is written to {film}")
        time.sleep(0.05)


# HTTP


def test_players_read_by_http(programs: Programs) -> None:
    source, target = url(TCP), url(HTTP)
    bridge = programs.standing(source + LISTEN, target + LISTEN)
    programs.sender(source, *LIVE, "-f", "nut", *AT_ONCE)
    readers = [programs.reader(target, *EAGER) for _ in range(2)]
    assert all(moving(reader.pictures(10)) for reader in readers)
    connection = HTTPConnection(target.split("/")[2], timeout=COMES_WITHIN_S)
    connection.request("GET", "/live.ts")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Content-Type")) == (200, "video/mp2t")
    begun = answer.read(37_600)
    assert {begun[at] for at in range(0, len(begun), 188)} == {0x47}
    assert begun.index(b"\0\0\0\1\x67") < begun.index(b"\0\0\1\x65")  # parameters, and a keyframe
    assert b"\0\0\1\x41" not in begun[: begun.index(b"\0\0\1\x65")]  # nothing before it
    assert bridge.stop()[0] == 0
    answer.read()  # to the last chunk


def asked(target: str, request: str) -> str:
    """The first line of the answer to a request, with its line ends left out."""
    host, port = target.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=COMES_WITHIN_S) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        return connection.makefile("rb").readline().decode().strip()


REQUESTS = {
    "GET /live.ts HTTP/1.0\n\n": "HTTP/1.1 200 OK",
    "GET /live.ts?x=1 HTTP/1.1\nHost: localhost:9\n\n": "HTTP/1.1 200 OK",
    "HEAD /live.ts HTTP/1.1\nHost: 127.0.0.1\n\n": "HTTP/1.1 200 OK",
    "GET / HTTP/1.1\nHost: 127.0.0.1\n\n": "HTTP/1.1 404 the film is at /live.ts",
    "GET /live.ts HTTP/1.1\nHost: elsewhere.example\n\n": "HTTP/1.1 403",
    "PUT /live.ts HTTP/1.1\n\n": "HTTP/1.1 501",
    "nonsense\n\n": "",
}


def test_what_is_asked_by_http(programs: Programs) -> None:
    target = url(HTTP)
    bridge = programs.standing(url(TCP) + LISTEN, target + LISTEN)
    for request, status in REQUESTS.items():
        assert asked(target, request).startswith(status)
    code, said = bridge.stop()
    assert code == 0
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "player",
    [
        ("mpv", "apt-get install mpv", ("--no-config", "--vo=null", "--ao=null", "--frames=20")),
        ("ffplay", "apt-get install ffmpeg", ("-nodisp", "-autoexit", "-t", "1")),
        ("curl", "apt-get install curl", ("--silent", "--max-time", "2", "--output", "/dev/null")),
    ],
    ids=lambda player: player[0],
)
@pytest.mark.slow
def test_what_players_there_are(programs: Programs, player: tuple[str, str, tuple[str, ...]]) -> None:
    name, install, flags = player
    source, target = url(TCP), url(HTTP)
    path = program(name, install)
    programs.standing(source + LISTEN, target + LISTEN)
    programs.sender(source, *LIVE, "-f", "nut", *AT_ONCE)
    done = subprocess.run([path, *flags, target], timeout=COMES_WITHIN_S, capture_output=True, text=True)
    assert done.returncode == (28 if name == "curl" else 0), done.stderr  # 28: it read to the end of its time
