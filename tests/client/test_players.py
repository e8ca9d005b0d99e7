"""Players read a bridge, and what they show is the painted film: they write down each picture, or their screen does."""

import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import stamps
from support.bridge import COMES_WITHIN_S, LIVE, MPEGTS, Programs, free_port
from support.daemon import Daemon, daemon
from support.programs import program
from support.screen import screen

NEGATIVE = "painters_under_test:Negative"
SIZE, RATE = (320, 192), 25
SHOWN = 10  # pictures of the painted film, at the least
LOOK_S = 0.2
DOCS = Path(__file__).parents[2] / "docs" / "ffmpeg.md"

pytestmark = pytest.mark.programs

# Where the bridge writes, and where a player finds that. A new kind of output is a line here.
WAYS = {
    "tcp": ("tcp://127.0.0.1:{}?listen=1", "tcp://127.0.0.1:{}"),
    "udp": ("udp://127.0.0.1:{}", "udp://127.0.0.1:{}"),
    "http": ("http://127.0.0.1:{}/live.ts?listen=1", "http://127.0.0.1:{}/live.ts"),
    "zmq": ("zmq:tcp://127.0.0.1:{}", "zmq:tcp://127.0.0.1:{}"),
}

# What each is told so that it is not late; docs/ffmpeg.md says the same.
FFPLAY = "ffplay -fflags nobuffer -flags low_delay -probesize 32768 -analyzeduration 0"
MPV = "mpv --profile=low-latency --demuxer-lavf-format=mpegts"
VLC = "vlc --network-caching=300 --demux=ts"


@pytest.fixture(scope="module")
def negative_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("daemon"), "--painters", NEGATIVE) as running:
        yield running


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stamps.film(tmp_path_factory.mktemp("film") / "film.mp4", size=SIZE, rate=RATE, seconds=stamps.AROUND / RATE)


@pytest.fixture
def programs(ffmpeg: str, negative_daemon: Daemon, tmp_path: Path) -> Iterator[Programs]:
    made = Programs(ffmpeg, negative_daemon.address, tmp_path)
    yield made
    made.end_all()


@dataclass
class Desk:
    """Where a player is started. album: the folder that its pictures are to come into, open to whoever it runs as."""

    programs: Programs
    stack: ExitStack
    album: Path

    def start(self, *command: str, display: str | None = None) -> None:
        """A player that knows nothing of this user's settings. None runs as root: VLC refuses to."""
        environment = os.environ | {"HOME": str(self.album), "SDL_AUDIODRIVER": "dummy"}
        environment |= {"DISPLAY": display} if display else {}
        user = "nobody" if os.geteuid() == 0 else None
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env=environment, user=user, stdin=quiet, stdout=quiet, stderr=quiet)
        self.programs.running.append(process)


@pytest.fixture
def desk(programs: Programs) -> Iterator[Desk]:
    with ExitStack() as stack:
        album = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="album")))
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(album, nobody.pw_uid, nobody.pw_gid)
        yield Desk(programs, stack, album)
        programs.end_all()  # before screen and album go


def ffplay(desk: Desk, url: str) -> None:
    """Its window fills a screen, which ffmpeg films."""
    player = program("ffplay", "apt-get install ffmpeg")
    display = desk.stack.enter_context(screen(*SIZE))
    flags = () if url.startswith("tcp:") else ("-f", "mpegts")
    at = ("-noborder", "-left", "0", "-top", "0")
    desk.start(player, *FFPLAY.split()[1:], *at, *flags, "-i", url, display=display)
    size = "x".join(map(str, SIZE))
    filmed = ("-f", "x11grab", "-draw_mouse", "0", "-framerate", str(RATE), "-video_size", size, "-i", display)
    desk.programs.start(*filmed, str(desk.album / "%05d.png"))


def mpv(desk: Desk, url: str) -> None:
    """Its output is a folder of pictures."""
    player = program("mpv", "apt-get install mpv")
    output = ("--vo=image", "--vo-image-format=png", f"--vo-image-outdir={desk.album}")
    where = f"lavf://{url}" if url.startswith("zmq:") else url
    desk.start(player, "--no-config", "--no-audio", *MPV.split()[1:], *output, where)


def vlc(desk: Desk, url: str) -> None:
    """Its filter `scene` writes down what it shows."""
    player = program("vlc", "apt-get install vlc-bin vlc-plugin-base")
    output = ("--vout=dummy", "--video-filter=scene", "--scene-ratio=1", "--scene-format=png")
    where = url.replace("udp://", "udp://@")
    desk.start(player, "-I", "dummy", "--no-audio", *VLC.split()[1:], *output, f"--scene-path={desk.album}", where)


PLAYERS: dict[str, Callable[[Desk, str], None]] = {"ffplay": ffplay, "mpv": mpv, "vlc": vlc}
# Each player and each way once; what is alike is slow.
QUICK = {("ffplay", "zmq"), ("mpv", "http"), ("vlc", "tcp"), ("ffplay", "udp")}
CASES = [
    pytest.param(player, way, marks=[] if (player, way) in QUICK else pytest.mark.slow)
    for player in PLAYERS
    for way in WAYS
    if (player, way) != ("vlc", "zmq")  # it cannot
]


@pytest.mark.parametrize(("player", "way"), CASES)
def test_a_player_shows_the_painted_film(desk: Desk, film: Path, player: str, way: str) -> None:
    source, (out, where), port = f"tcp://127.0.0.1:{free_port()}", WAYS[way], free_port()
    bridge = desk.programs.standing(f"{source}?listen=1", out.format(port), "--painter", NEGATIVE)
    PLAYERS[player](desk, where.format(port))
    desk.programs.start("-re", "-stream_loop", "-1", "-i", str(film), *LIVE, *MPEGTS, source)
    numbers = painted(desk.album)
    assert len(set(numbers)) >= SHOWN
    assert (np.diff(numbers) >= 0).all()  # the film goes on, and never back
    code, said = bridge.stop()
    assert code == 0, said


def painted(album: Path) -> list[int]:
    """The numbers of the painted pictures in the album, when there are enough. Raises TimeoutError."""
    deadline = time.monotonic() + COMES_WITHIN_S
    numbers: dict[str, int] = {}
    while len(set(numbers.values())) < SHOWN:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the player shows {len(list(album.glob('*.png')))} pictures, painted: {numbers}")
        time.sleep(LOOK_S)
        for path in sorted(album.glob("*.png"))[:-1]:  # the last one is being written
            shown = cv2.imread(str(path)) if path.name not in numbers else None
            what = stamps.seen(shown) if shown is not None else None
            if what and what.negative:
                numbers[path.name] = what.number
    return [numbers[name] for name in sorted(numbers)]


def test_the_docs_say_how_players_are_started() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for command in (FFPLAY, MPV, VLC):
        assert command in text
