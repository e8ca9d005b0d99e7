"""The Node client: its own tests, and its programs in conversation with a real daemon, as they stand."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import msgpack
import numpy as np
import pytest

from support.daemon import Daemon, daemon, ended, eventually
from support.programs import missing, program
from support.proxy import Proxy
from support.router import SERVER, Router
from warpaint import __version__
from warpaint.client.painting import Client
from warpaint.proto.address import default_address
from warpaint.proto.brief import Brief
from warpaint.proto.messages import (
    Ack,
    AskStatus,
    Closed,
    Provenance,
    Seen,
    SeenPart,
    SessionStatus,
    Status,
    Totals,
    Update,
    Updated,
    Watch,
    Watching,
)
from warpaint.proto.wire import to_server

ROOT = Path(__file__).parents[2]
NODE = ROOT / "client" / "node"
INSTALL = "apt-get install nodejs npm"
INSTALLED_WITHIN_S = 100.0
FINISHED_WITHIN_S = 60.0
HAPPENED_WITHIN_S = 20.0
# What npm says when it has no network.
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")

SIZE = (160, 96)
FRAMES = 40
IDENTITY = ("--painter", "identity")
KEEPING = ("--snapshot-s", "0.01", "--state-dir")
# Bytes that may be under way in a pipe that stands still: two pipes, what Node reads ahead, and two windows of frames.
BOUND = 1_000_000


@dataclass(frozen=True)
class NodeClient:
    """The client as it is installed, beside the vectors that its tests read."""

    node: str
    npm: str
    folder: Path

    def command(self, script: str, *arguments: str) -> list[str]:
        """A program of the client, by its path from client/node."""
        return [self.node, str(self.folder / script), *arguments]

    def run(self, script: str, *arguments: str, data: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
        """Runs it to its end."""
        command = self.command(script, *arguments)
        return subprocess.run(command, input=data or b"", capture_output=True, timeout=FINISHED_WITHIN_S)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> NodeClient:
    node, npm = program("node", INSTALL), program("npm", INSTALL)
    root = tmp_path_factory.mktemp("node")
    folder = root / "client" / "node"
    shutil.copytree(NODE, folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "proto", root / "proto", ignore=shutil.ignore_patterns("__pycache__"))
    command = [npm, "ci", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALLED_WITHIN_S)
    if done.returncode and any(each in done.stderr for each in NO_NETWORK):
        missing("what npm ci fetches", f"a network that reaches npm's registry ({done.stderr})")
    assert done.returncode == 0, done.stderr
    return NodeClient(node, npm, folder)


def said(done: "subprocess.CompletedProcess[bytes]") -> Any:
    """The JSON that a program printed last."""
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    return json.loads(done.stdout.splitlines()[-1])


# What the tests need


# The package


def test_versions_are_pinned() -> None:
    package = json.loads((NODE / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((NODE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert package["dependencies"].keys() == {"@msgpack/msgpack", "zeromq"}
    assert lock.pop("")["dependencies"] == package["dependencies"]
    for name, version in package["dependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert lock[f"node_modules/{name}"]["version"] == version
    for name, each in lock.items():
        assert each["integrity"].startswith("sha512-"), name
        assert "resolved" not in each, name  # npm asks the registry that it is set up for


def test_the_package_says_what_it_is() -> None:
    package = json.loads((NODE / "package.json").read_text(encoding="utf-8"))
    assert (package["license"], package["private"]) == ("Apache-2.0", True)
    assert package["version"] == __version__
    assert f"'warpaint node {__version__}'" in (NODE / "lib" / "connection.js").read_text(encoding="utf-8")


def test_nothing_of_it_is_python() -> None:
    """A package of Python is found by its files: this one is not to be."""
    ours = [each for each in NODE.rglob("*") if "node_modules" not in each.parts]
    assert [each for each in ours if each.suffix in (".py", ".pyi")] == []


def test_its_own_tests_pass(client: NodeClient) -> None:
    try:
        done = subprocess.run(
            [client.npm, "test"], cwd=client.folder, capture_output=True, text=True, timeout=FINISHED_WITHIN_S
        )
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"not done in {FINISHED_WITHIN_S} s, after {(late.stdout or b'')[-1_000:]!r}")
    assert done.returncode == 0, done.stdout
    counts = dict(re.findall(r"^\S (tests|pass|skipped) (\d+)$", done.stdout, re.MULTILINE))
    assert counts["tests"] == counts["pass"]
    assert int(counts["tests"]) > 200  # the vectors were found


def test_the_example_of_its_readme_runs(client: NodeClient, shared_daemon: Daemon, tmp_path: Path) -> None:
    """With a daemon where the client looks for one."""
    socket = Path(address_in(tmp_path).removeprefix("ipc://"))
    socket.parent.mkdir()
    socket.symlink_to(shared_daemon.address.removeprefix("ipc://"))
    lines = lines_of_example(client, 0, tmp_path)
    assert [line[:2] for line in lines] == [[str(number), str(160 * 120 * 3)] for number in range(20)]
    assert lines[0][2] == "painted"


def address_in(runtime: Path) -> str:
    """Where the client looks for a daemon in this runtime folder."""
    return default_address({"XDG_RUNTIME_DIR": str(runtime)}, os.getuid())


def lines_of_example(client: NodeClient, number: int, runtime: Path) -> list[list[str]]:
    """What the example of this number in the README prints, in words."""
    blocks = re.findall(r"^```js\n(.*?)^```$", (NODE / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    example = client.folder / "example.js"
    example.write_text(blocks[number], encoding="utf-8")
    environment = os.environ | {"XDG_RUNTIME_DIR": str(runtime)}
    done = subprocess.run(
        [client.node, example], env=environment, capture_output=True, text=True, timeout=FINISHED_WITHIN_S
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split() for line in done.stdout.splitlines()]


# Watching


class Shown(Router):
    """A daemon in which one session is painted, which shows the next frame when the last was acknowledged."""

    FRAMES = 4

    def _take(self, identity: bytes, parts: Sequence[bytes]) -> None:
        message = to_server(parts).message
        if isinstance(message, AskStatus):
            self._send(identity, status())
        elif isinstance(message, Watch):
            self.received.append(message)
            self._send(identity, watching(message.session, "ink", 0))
            self._show(identity, message.session, 1)
        elif isinstance(message, Update):
            self.received.append(message)
            self._send(identity, Updated(session=message.session, request=message.request))
            self._send(identity, watching(message.session, str(message.changes["look"]), 1))
        elif isinstance(message, Ack):
            self.acks.append(message.seq)
            self._show(identity, message.session, message.seq + 1)
        else:
            super()._take(identity, parts)

    def _show(self, identity: bytes, session: int, seq: int) -> None:
        if seq > self.FRAMES:
            self._send(identity, Closed(session=session, reason="asked", totals=Totals()))
            return
        parts = (
            SeenPart(name="painted", dtype="uint8", shape=(2, 4, 3)),
            SeenPart(name="confidence", dtype="float32", shape=(2, 4)),
        )
        seen = Seen(
            session=session,
            seq=seq,
            index=10 * seq,
            pts=40 * seq,
            epoch=int(seq > 1),
            provenance=Provenance.WARPED,
            parts=parts,
        )
        self._send(identity, seen, bytes(24), np.full((2, 4), seq / 4, "<f4").tobytes())


def status() -> Status:
    session = SessionStatus(
        session=7,
        id="5d41402a",
        client="camera 1.0",
        painter="filters",
        flow="dis",
        pacing="live",
        width=8,
        height=8,
        waiting=0,
        unsent=0,
        references_bytes=0,
        totals=Totals(),
        stages_ms={},
        dropped_at={},
    )
    return Status(server=SERVER, pid=1, uptime_s=1.0, resident_bytes=1, engines=(), sessions=(session,))


def watching(session: int, look: str, epoch: int) -> Watching:
    return Watching(
        session=session,
        id="5d41402a",
        client="camera 1.0",
        painter="filters",
        flow="dis",
        pacing="live",
        looks=("ink", "pencil"),
        brief=Brief(look=look),
        width=4,
        height=2,
        epoch=epoch,
    )


def test_the_example_of_watching_runs(client: NodeClient, tmp_path: Path) -> None:
    """As it stands in the README, over real sockets, with a daemon that says what the SPEC says."""
    address = address_in(tmp_path)
    Path(address.removeprefix("ipc://")).parent.mkdir()
    with Shown(address) as router:
        lines = lines_of_example(client, 1, tmp_path)
    looks = ["ink", "pencil", "pencil", "pencil"]
    assert lines == [
        [str(10 * seq), "4x2", looks[seq - 1], "24", str(seq / 4).removesuffix(".0")] for seq in range(1, 5)
    ]
    [watched, updated] = router.received
    assert isinstance(watched, Watch)
    assert (watched.id, watched.pictures, watched.maps) == ("5d41402a", ("painted",), ("confidence",))
    assert isinstance(updated, Update)
    assert router.acks == [1, 2, 3, 4]


WATCHING = """
import { connect } from './client.js';
const client = await connect(process.argv[2]);
const watch = await client.watch(process.argv[3], { pictures: ['raw', 'painted'], maps: ['holes'] });
await watch.update({ look: 'pencil' });
for await (const { index, pictures, maps, watching } of watch) {
  if (watching.brief.look !== 'pencil') continue;
  const shapes = [pictures.raw, pictures.painted, maps.holes].map(({ shape }) => shape);
  console.log(JSON.stringify([index, ...shapes, pictures.raw.data[0]]));
  break;
}
await watch.close();
await client.close();
"""


def test_a_session_of_somebody_else_is_watched_and_steered(client: NodeClient, shared_daemon: Daemon) -> None:
    script = client.folder / "watching.mjs"
    script.write_text(WATCHING, encoding="utf-8")
    with Client(shared_daemon.address) as other, other.session(painter="filters", pacing="live") as session:
        frame = np.full((48, 64, 3), 90, np.uint8)
        session.push(frame, 0)
        assert session.opened is not None
        command = client.command("watching.mjs", shared_daemon.address, session.opened.id)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watcher:
            number = 0
            while watcher.poll() is None:
                number += 1
                session.push(frame, 40 * number)
                list(session.results(wait=False))
                time.sleep(0.02)
                assert number < 50 * FINISHED_WITHIN_S
            out, errors = watcher.communicate()
        assert errors == b""
        index, *seen = json.loads(out)
        assert index > 0
        assert seen == [[48, 64, 3], [48, 64, 3], [48, 64], 90]


# A folder of JPEGs


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five of one size, and two of another."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(7):
        width, height = SIZE if number < 5 else (SIZE[1], SIZE[0])
        picture = np.zeros((height, width, 3), np.uint8)
        cv2.circle(picture, (30 + 5 * number, 40), 25, (40, 160, 230), -1)
        assert cv2.imwrite(str(folder / f"{number}.jpg"), picture)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_is_painted(client: NodeClient, shared_daemon: Daemon, photos: Path, tmp_path: Path) -> None:
    painted = tmp_path / "painted" / "ink"
    flags = ("--look", "ink", "--daemon", shared_daemon.address)
    done = client.run("examples/paint-folder.js", str(photos), str(painted), *flags)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert sorted(each.name for each in painted.iterdir()) == [f"{number}.jpg" for number in range(7)]
    for number in range(7):
        before, after = (cv2.imread(str(folder / f"{number}.jpg")) for folder in (photos, painted))
        assert before is not None
        assert after is not None
        assert after.shape == before.shape
        assert float(np.abs(after.astype(int) - before.astype(int)).mean()) > 5  # ink is not what it was


def test_a_picture_that_is_none_is_told(
    client: NodeClient, shared_daemon: Daemon, photos: Path, tmp_path: Path
) -> None:
    """The header is whole, the rest is not: the daemon finds out, and the others are painted."""
    bad = photos / "2.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    painted = tmp_path / "painted"
    flags = (*IDENTITY, "--daemon", shared_daemon.address)
    done = client.run("examples/paint-folder.js", str(photos), str(painted), *flags)
    assert done.returncode == 1
    assert done.stderr.startswith(b"2.jpg: ")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(each.stem for each in painted.iterdir()) == ["0", "1", "3", "4", "5", "6"]


# Raw video


def test_raw_video_between_two_ffmpegs(client: NodeClient, ffmpeg: str, shared_daemon: Daemon) -> None:
    raw = ("-f", "rawvideo", "-pix_fmt", "yuv420p")
    writing = [ffmpeg, "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=s=160x96:r=25", "-frames:v", "30"]
    flags = ("--size", "160x96", "--pixels", "yuv420p", "--fps", "30000/1001", "--daemon", shared_daemon.address)
    painting = client.command("examples/pipe-raw.js", *flags, "--look", "poster")
    reading = [ffmpeg, "-v", "error", "-nostdin", *raw, "-video_size", "160x96", "-i", "-", "-f", "framemd5", "-"]
    with (
        subprocess.Popen([*writing, *raw, "-"], stdout=subprocess.PIPE) as writer,
        subprocess.Popen(painting, stdin=writer.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as painter,
        subprocess.Popen(reading, stdin=painter.stdout, stdout=subprocess.PIPE) as reader,
    ):
        for each in (writer, painter):  # only the next program is to hold the pipe
            if each.stdout:
                each.stdout.close()
        sums, _ = reader.communicate(timeout=FINISHED_WITHIN_S)
        words = painter.stderr.read() if painter.stderr else b""
    assert (writer.returncode, painter.returncode, reader.returncode, words) == (0, 0, 0, b"")
    frames = [line.split(b",")[-1].strip() for line in sums.splitlines() if not line.startswith(b"#")]
    assert len(frames) == 30
    assert len(set(frames)) > 20


def test_what_is_not_painted_comes_out_as_it_went_in(client: NodeClient, shared_daemon: Daemon) -> None:
    data = np.random.default_rng(5).bytes(25 * 16 * 8 * 3 + 7)
    flags = ("--size", "16x8", "--pixels", "rgb24", "--fps", "25", *IDENTITY, "--daemon", shared_daemon.address)
    done = client.run("examples/pipe-raw.js", *flags, data=data)
    assert done.returncode == 0
    assert done.stdout == data[:-7]
    assert done.stderr == b"pipe-raw: the last frame is cut off, after 7 of 384 bytes\n"


def test_a_reader_that_does_not_read_stops_the_writer(client: NodeClient, shared_daemon: Daemon) -> None:
    """Nothing piles up in between: of a film without end, so much is taken and no more."""
    flags = ("--size", "64x48", "--pixels", "bgr24", "--fps", "25", *IDENTITY, "--daemon", shared_daemon.address)
    command = client.command("examples/pipe-raw.js", *flags)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as painter:
        assert painter.stdin
        assert painter.stdout
        assert painter.stderr
        feeder = Feeder(painter.stdin)
        try:
            taken = feeder.stands_still()
            assert painter.stdout.read(64 * 48 * 3 * 10) == bytes(64 * 48 * 3 * 10)
            assert eventually(lambda: feeder.written > taken, HAPPENED_WITHIN_S), "it does not go on"
            painter.stdout.close()
            assert painter.wait(FINISHED_WITHIN_S) == 1
            assert painter.stderr.read() == b"pipe-raw: EPIPE: broken pipe, write\n"
        finally:
            painter.kill()
            feeder.join()


class Feeder:
    """Writes zeros as long as they are taken."""

    def __init__(self, file: IO[bytes]) -> None:
        self.written = 0
        self._file = file
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        try:
            while True:
                self.written += os.write(self._file.fileno(), bytes(4096))
        except BrokenPipeError:
            pass

    def stands_still(self) -> int:
        """How much was taken when no more was for a second."""
        assert eventually(lambda: self.written > 0, HAPPENED_WITHIN_S)
        before = -1
        while before != self.written:
            before = self.written
            assert before < BOUND
            time.sleep(1)
        return before

    def join(self) -> None:
        """Waits until nobody reads any more."""
        self._thread.join(FINISHED_WITHIN_S)


# What is refused, and who is not there


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--painter", "nobody"), b"this daemon holds no painter 'nobody'; it holds filters, identity"),
        (("--strength", "3"), b"open.brief.strength: must be a number from 0 to 1 (got 3)"),
        (("--look", "nolook"), b"this painter has no look 'nolook'"),
    ],
)
def test_an_open_that_is_refused_is_told(
    client: NodeClient, shared_daemon: Daemon, photos: Path, tmp_path: Path, flags: Sequence[str], words: bytes
) -> None:
    address = ("--daemon", shared_daemon.address)
    done = client.run("examples/paint-folder.js", str(photos), str(tmp_path / "painted"), *address, *flags)
    assert (done.returncode, done.stdout) == (1, b"")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("address", ["ipc://{}/none.sock", "nonsense"])
def test_a_daemon_that_is_not_there_is_told_at_once(client: NodeClient, tmp_path: Path, address: str) -> None:
    flags = ("--size", "16x8", "--pixels", "gray", "--fps", "25", "--daemon", address.format(tmp_path))
    done = client.run("examples/pipe-raw.js", *flags)
    assert done.returncode == 1
    assert address.format(tmp_path).encode() in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_updates_are_acknowledged_and_seen(client: NodeClient, shared_daemon: Daemon) -> None:
    told = said(client.run("test/programs/update.js", shared_daemon.address))
    assert (told["request"], told["epochs"], told["shown_at"]) == (1, [0, 0, 1, 1], 2)
    assert (told["rekeyed_at"], told["keyframe"]) == (4, True)
    assert [(each["name"], each["code"], each["retry"]) for each in told["errors"]] == [
        ("RefusedError", "bad_brief", "changed"),
        ("RefusedError", "unsupported", "changed"),
        ("InvalidMessage", "invalid_field", "changed"),
        ("InvalidMessage", "invalid_field", "changed"),
    ]
    assert told["bytes"] == [64 * 64, told["canvas"], told["canvas"]]
    assert told["confidence"] == 1  # a frame that is painted in full
    assert told["sessions"] >= 1
    assert (told["totals"]["received"], told["totals"]["painted"], told["done"]) == (5, 5, True)


def test_live_frames_are_all_told(client: NodeClient, shared_daemon: Daemon) -> None:
    told = said(client.run("test/programs/live.js", shared_daemon.address))
    indices = [index for index, *_ in told["came"]]
    assert len(set(indices)) == len(indices)
    assert len(indices) + told["dropped"] == 50
    assert told["drops"] == told["dropped"]
    assert {(pts, size) for index, pts, size, _ in told["came"]} == {(20 * index, 64 * 64) for index in indices}
    assert told["came"][0][-1] == "held"  # before anything is painted
    assert len(indices) > 10
    assert told["longest_ms"] < 500  # `push` waits for nobody


# Coming back


@dataclass(frozen=True)
class Film:
    """test/programs/film.js while it runs."""

    process: "subprocess.Popen[str]"

    def some(self) -> None:
        """Returns when half of the frames have come back."""
        self._says("some")

    def go_on(self) -> None:
        """Ends its pause, and returns when it has sent another frame."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._says("on")

    def _says(self, word: str) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == f"{word}\n"

    def end(self) -> list[tuple[int, str]]:
        """The index and the digest of each result, at the end."""
        out, errors = self.process.communicate(timeout=FINISHED_WITHIN_S)
        assert (self.process.returncode, errors) == (0, "")
        return [(index, digest) for index, digest in json.loads(out.splitlines()[-1])]


@pytest.fixture
def film(client: NodeClient) -> Iterator[Callable[..., Film]]:
    """Starts films."""
    made: list[subprocess.Popen[str]] = []

    def start(*flags: str) -> Film:
        command = client.command("test/programs/film.js", *flags)
        pipe = subprocess.PIPE
        made.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return Film(made[-1])

    yield start
    for each in made:
        each.kill()
        each.communicate()


@pytest.fixture(scope="module")
def uncut(client: NodeClient, shared_daemon: Daemon) -> list[tuple[int, str]]:
    """The film by a daemon that nobody ends."""
    told = said(client.run("test/programs/film.js", "--daemon", shared_daemon.address))
    assert [index for index, _ in told] == list(range(FRAMES))
    return [(index, digest) for index, digest in told]


def test_a_film_goes_on_by_the_daemon_that_starts_next(
    film: Callable[..., Film], uncut: list[tuple[int, str]], tmp_path: Path
) -> None:
    with daemon(tmp_path, *KEEPING, str(tmp_path / "state")) as first:
        running = film("--daemon", first.address)
        running.some()
        first.stop()
    with daemon(tmp_path, *KEEPING, str(tmp_path / "state")):
        assert running.end() == uncut


def test_a_film_goes_on_from_what_a_killed_daemon_wrote_last(
    film: Callable[..., Film], uncut: list[tuple[int, str]], tmp_path: Path
) -> None:
    """It was killed with frames on their way to it. All that it had answered was written down."""
    state = tmp_path / "state"
    with daemon(tmp_path, *KEEPING, str(state)) as first:
        running = film("--daemon", first.address, "--pause")
        running.some()
        assert eventually(
            lambda: [last_index(each) for each in state.glob("*.session")] == [FRAMES // 2 - 1], HAPPENED_WITHIN_S
        )
        first.process.send_signal(signal.SIGSTOP)
        running.go_on()
        ended(first, signal.SIGKILL)
    with daemon(tmp_path, *KEEPING, str(state)):
        assert running.end() == uncut


def last_index(written: Path) -> Any:
    """The last frame that a session on disk goes on from."""
    return msgpack.unpackb(written.read_bytes())["last_index"]


def test_each_result_comes_once_whatever_the_connection_does(
    film: Callable[..., Film], uncut: list[tuple[int, str]], tmp_path: Path
) -> None:
    cuts = [30_000 + 7_919 * number for number in range(8)]
    with daemon(tmp_path, binds=["tcp://127.0.0.1:*"]) as running:
        with Proxy(int(running.address.rpartition(":")[2]), cuts) as proxy:
            assert film("--daemon", proxy.address).end() == uncut
        assert (
            proxy.cuts >= len(cuts) // 2
        )  # how much is sent again, and so how many it takes, depends on when they come


def test_a_film_whose_frames_wait_gets_credit_for_them(film: Callable[..., Film], tmp_path: Path) -> None:
    with daemon(tmp_path, "--window", "2") as narrow:
        results = film("--daemon", narrow.address, "--ahead", "--every_ms", "0").end()
    assert [index for index, _ in results] == list(range(FRAMES))


def test_a_daemon_that_does_not_come_back_is_told(film: Callable[..., Film], tmp_path: Path) -> None:
    with daemon(tmp_path, "--probe-s", "0.2") as gone:
        running = film("--daemon", gone.address, "--reconnect", "0.5")
        running.some()
        ended(gone, signal.SIGKILL)
        _, errors = running.process.communicate(timeout=FINISHED_WITHIN_S)
    assert running.process.returncode == 1
    assert errors.startswith(f"DaemonGone: the connection to the daemon at {gone.address} was lost")


def test_a_daemon_that_stops_is_told(film: Callable[..., Film], tmp_path: Path) -> None:
    """One that keeps nothing says that it ends its sessions."""
    with daemon(tmp_path) as stopping:
        running = film("--daemon", stopping.address)
        running.some()
        stopping.stop()
        _, errors = running.process.communicate(timeout=FINISHED_WITHIN_S)
    assert (running.process.returncode, errors) == (1, "DaemonGone: the session has ended: shutting_down\n")
