"""The client for C: built as it stands, given the test vectors, and in conversation with the real daemon."""

import json
import os
import random
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from support.daemon import Daemon, daemon, ended
from support.programs import REQUIRE_ALL, missing, program
from support.proxy import Proxy
from support.router import Router
from warpaint.client import Client
from warpaint.proto.address import default_address
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, ProtocolError
from warpaint.proto.messages import Close, Provenance, Result, Resume, Seen, SeenPart, Source, Update, Watching
from warpaint.proto.wire import to_client, to_server

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "client" / "c"
VECTORS = ROOT / "proto" / "vectors"
PARSERS: dict[str, Any] = {"to_server": to_server, "to_client": to_client}
Vector = dict[str, Any]

INSTALL = "apt-get install gcc make libzmq3-dev libmsgpack-dev"
LIBRARIES = "#include <msgpack.h>\n#include <zmq.h>\nint main(void) { return 0; }\n"
STRICT = "-Werror"
SANITIZED = "-g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
BUILT_WITHIN_S = 100.0
FINISHED_WITHIN_S = 60.0
# A mistake that a sanitizer finds ends the program with this, which no program of ours does by itself.
SANITIZER_CODE = 99
# Of the library, see warpaint.h.
REFUSED, GONE = 3, 4

# Vectors that would be nearly all that is fuzzed: they are large, and all alike.
LARGE = 4_096
ROUNDS = 300
SPOILT = 4_000


# Built


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of gcc, where it finds the libraries."""
    gcc = program("gcc", INSTALL)
    program("make", INSTALL)
    source = tmp_path_factory.mktemp("libraries") / "probe.c"
    source.write_text(LIBRARIES, encoding="utf-8")
    command: list[str | Path] = [gcc, source, "-lzmq", "-lmsgpackc", "-o", source.with_suffix("")]
    if subprocess.run(command, capture_output=True, timeout=BUILT_WITHIN_S).returncode:
        missing("libzmq or msgpack-c", INSTALL)
    return gcc


def made(compiler: str, folder: Path, flags: str, *more: str) -> Path:
    """The folder, with all programs in it; nothing is said about any of them."""
    command = ["make", "--silent", "-C", str(FOLDER), f"CC={compiler}", f"BUILD={folder}", f"CFLAGS=-O1 {flags}", *more]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILT_WITHIN_S, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    return folder


@pytest.fixture(scope="session")
def plain(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs as others build them; without pkg-config, which the others here are built with if it is there."""
    return made(compiler, tmp_path_factory.mktemp("c"), STRICT, "PKG_CONFIG=false")


@pytest.fixture(scope="session")
def programs(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs, with sanitizers that end them at the first mistake, or at a leak."""
    return made(compiler, tmp_path_factory.mktemp("c-sanitized"), f"{STRICT} {SANITIZED}")


@pytest.fixture(autouse=True)
def _sanitizers_have_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASAN_OPTIONS", f"exitcode={SANITIZER_CODE}:detect_leaks=1")
    monkeypatch.setenv("UBSAN_OPTIONS", f"exitcode={SANITIZER_CODE}:print_stacktrace=1")


def run(command: list[str | Path], given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """A program that has ended, and not by a sanitizer."""
    done = subprocess.run(command, input=given, capture_output=True, timeout=FINISHED_WITHIN_S, check=False)
    assert done.returncode != SANITIZER_CODE, done.stderr.decode()
    return done


def test_what_is_missing_is_skipped_unless_all_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE_ALL, raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"no-such-program is missing: {INSTALL}"):
        program("no-such-program", INSTALL)
    monkeypatch.setenv(REQUIRE_ALL, "1")
    with pytest.raises(pytest.fail.Exception, match=f"no-such-program is missing: {INSTALL}"):
        program("no-such-program", INSTALL)


def test_the_library_has_no_globals_and_no_names_but_its_own(plain: Path) -> None:
    """Nothing lies in it that is zero at first, to be written to, and all that it exports begins with wp_."""
    done = run([program("nm", INSTALL), "--defined-only", plain / "warpaint.o"])
    symbols = [line.split()[-2:] for line in done.stdout.decode().splitlines()]
    assert [name for kind, name in symbols if kind in "bBcCD"] == []
    exported = {name for kind, name in symbols if kind.isupper()}
    assert {"wp_connect", "wp_open", "wp_push", "wp_next", "wp_close"} <= exported
    assert [name for name in exported if not name.startswith("wp_")] == []


def test_the_program_of_the_readme_runs(compiler: str, shared_daemon: Daemon, tmp_path: Path) -> None:
    """With a daemon where the client looks for one."""
    [block] = re.findall(
        r"^```c\n(.*?)^```", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "main.c").write_text(block, encoding="utf-8")
    sources: list[str | Path] = [tmp_path / "main.c", FOLDER / "warpaint.c"]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{FOLDER}"]
    run([compiler, *flags, *sources, "-lzmq", "-lmsgpackc", "-lm", "-o", tmp_path / "main"])
    with tempfile.TemporaryDirectory(prefix="wp") as runtime:
        socket = Path(default_address({"XDG_RUNTIME_DIR": runtime}, os.getuid()).removeprefix("ipc://"))
        socket.parent.mkdir()
        socket.symlink_to(shared_daemon.address.removeprefix("ipc://"))
        done = run(["env", f"XDG_RUNTIME_DIR={runtime}", tmp_path / "main"])
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [f"{number}: {3 * 160 * 120} bytes" for number in range(10)]


# The wire


def load(name: str) -> list[Vector]:
    vectors: list[Vector] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return vectors


VALID, INVALID = load("valid.json"), load("invalid.json")


def pieces_of(part: Any) -> list[tuple[str, int]]:
    """A part of a vector: pieces of hex, each so many times."""
    pieces = part if isinstance(part, list) else [part]
    return [(each, 1) if isinstance(each, str) else (each["repeat_hex"], each["times"]) for each in pieces if each]


def line_of(vector: Vector) -> str:
    """A vector as test_vectors reads it."""
    parts = ["+".join(f"{text}*{times}" for text, times in pieces_of(part)) for part in vector["parts_hex"]]
    return " ".join([vector["direction"], *(part or "-" for part in parts)])


def checked(programs: Path, lines: list[str]) -> list[list[str]]:
    """What test_vectors says of each line, in words."""
    done = run([programs / "test_vectors", "check"], "".join(f"{line}\n" for line in lines).encode())
    assert done.returncode == 0, done.stderr.decode()
    answers = [line.split(" ") for line in done.stdout.decode().splitlines()]
    assert len(answers) == len(lines)
    return answers


@pytest.mark.parametrize("build", ["plain", "programs"])
def test_valid_vectors_mean_the_same_when_packed_again(build: str, request: pytest.FixtureRequest) -> None:
    answers = checked(request.getfixturevalue(build), [line_of(each) for each in VALID])
    for vector, (word, kind, header) in zip(VALID, answers, strict=True):
        assert (word, kind) == ("ok", vector["message"]["type"]), vector["name"]
        payloads = [bytes.fromhex(each) for each in vector["parts_hex"][1:]]
        again = PARSERS[vector["direction"]]([bytes.fromhex(header), *payloads]).message
        assert json.loads(again.model_dump_json()) == vector["message"], vector["name"]


@pytest.mark.parametrize("build", ["plain", "programs"])
def test_invalid_vectors_are_refused_with_their_code(build: str, request: pytest.FixtureRequest) -> None:
    answers = checked(request.getfixturevalue(build), [line_of(each) for each in INVALID])
    for vector, (word, code, *sentence) in zip(INVALID, answers, strict=True):
        assert (word, code) == ("error", vector["error"]), vector["name"]
        assert sentence, vector["name"]


def spoilt(header: bytes, chance: random.Random) -> bytes:
    """A header with one to three bytes changed, or missing, or cut off after some."""
    data = bytearray(header)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(data))
        how = chance.randrange(8)
        if how < 3:
            data[at] = chance.randrange(256)
        elif how < 6:
            data[at] ^= 1 << chance.randrange(8)
        elif how < 7 or at == 0:
            data[at] = chance.choice(b"\xc0\xc2\xc3\x00\x01\x80\x90\xa0\xff")
        else:
            del data[at:]
    return bytes(data)


def test_spoilt_vectors_are_judged_as_the_daemon_judges_them(programs: Path) -> None:
    chance = random.Random(1)
    vectors = [chance.choice(VALID) for _ in range(SPOILT)]
    headers = [spoilt(bytes.fromhex(each["parts_hex"][0]), chance) for each in vectors]
    pairs = list(zip(vectors, headers, strict=True))
    lines = [line_of(vector | {"parts_hex": [header.hex(), *vector["parts_hex"][1:]]}) for vector, header in pairs]
    for (vector, header), (word, code, *_) in zip(pairs, checked(programs, lines), strict=True):
        payloads = [bytes.fromhex(each) for each in vector["parts_hex"][1:]]
        assert ("ok" if word == "ok" else code) == judged(vector["direction"], [header, *payloads]), header.hex()


def judged(direction: str, parts: list[bytes]) -> str:
    try:
        PARSERS[direction](parts)
    except ProtocolError as error:
        return error.code.value
    return "ok"


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_nothing_that_comes_breaks_it(programs: Path, seed: int) -> None:
    """Vectors are spoilt, parsed, and told to a session that waits for answers."""
    small = [each for each in [*VALID, *INVALID] if size_of(each) <= LARGE]
    assert len(small) > 200
    lines = "".join(f"{line_of(each)}\n" for each in small)
    done = run([programs / "test_vectors", "fuzz", str(seed), str(ROUNDS)], lines.encode())
    assert done.returncode == 0, done.stderr.decode()
    taken, _, refused, _ = done.stdout.decode().split()
    assert int(taken) > len(small)
    assert int(refused) > len(small)


def size_of(vector: Vector) -> int:
    return sum(len(text) // 2 * times for part in vector["parts_hex"] for text, times in pieces_of(part))


# The examples: folders


def jpegs(folder: Path, sizes: list[tuple[int, int]]) -> list[bytes]:
    """JPEGs of (width, height) pixels, written into a folder that is made."""
    folder.mkdir()
    for number, (width, height) in enumerate(sizes):
        across = np.linspace(0, 255, width, dtype=np.uint8)
        picture = np.stack([np.tile(np.roll(across, 5 * number), (height, 1))] * 3, axis=-1)
        cv2.circle(picture, (width // 3 + 4 * number, height // 2), height // 4, (40, 200, 90), -1)
        cv2.imwrite(str(folder / f"{number:03}.jpg"), picture)
    return [each.read_bytes() for each in sorted(folder.iterdir())]


def test_a_folder_is_painted_as_the_python_client_paints_it(
    programs: Path, shared_daemon: Daemon, tmp_path: Path
) -> None:
    given = jpegs(tmp_path / "in", [(96, 64)] * 12)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "out").mkdir()
    folders = [tmp_path / "in", tmp_path / "out"]
    done = run([programs / "paint_folder", *folders, "--look", "ink", "--daemon", shared_daemon.address])
    assert (done.returncode, done.stderr) == (0, b"")
    source, result = Source(width=96, height=64, encoding="jpeg"), Result(encoding="jpeg")
    with (
        Client(shared_daemon.address) as client,
        client.session(source=source, result=result, look="ink") as session,
    ):
        for number, each in enumerate(given):
            session.push(np.frombuffer(each, np.uint8), 40 * number)
        expected = [each.image.tobytes() for each in session.results()]
    painted = [each.read_bytes() for each in sorted((tmp_path / "out").iterdir())]
    assert painted == expected
    assert painted != given


def test_pictures_of_several_sizes_and_one_that_is_none(programs: Path, shared_daemon: Daemon, tmp_path: Path) -> None:
    sizes = [(64, 48), (64, 48), (48, 64), (64, 48)]
    jpegs(tmp_path / "in", sizes)
    (tmp_path / "in" / "001b.jpg").write_bytes(b"no JPEG")
    (tmp_path / "out").mkdir()
    folders = [tmp_path / "in", tmp_path / "out"]
    done = run([programs / "paint_folder", *folders, "--look", "poster", "--daemon", shared_daemon.address])
    assert (done.returncode, done.stderr) == (1, b"paint_folder: 001b.jpg is no JPEG\n")
    shapes = [cv2.imread(str(each)).shape[1::-1] for each in sorted((tmp_path / "out").iterdir())]
    assert shapes == sizes


def test_a_frame_that_cannot_be_decoded_costs_itself_alone(
    programs: Path, shared_daemon: Daemon, tmp_path: Path
) -> None:
    [first, second, _] = jpegs(tmp_path / "in", [(64, 48)] * 3)
    (tmp_path / "in" / "001.jpg").write_bytes(second[: second.index(b"\xff\xda")])  # it ends before its samples
    (tmp_path / "out").mkdir()
    folders = [tmp_path / "in", tmp_path / "out"]
    done = run([programs / "paint_folder", *folders, "--look", "poster", "--daemon", shared_daemon.address])
    assert done.returncode == 1
    assert done.stderr.startswith(b"paint_folder: 001.jpg was not painted: bad_frame: ")
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["000.jpg", "002.jpg"]
    assert first


def test_a_refused_session_is_told_in_a_sentence(programs: Path, shared_daemon: Daemon, tmp_path: Path) -> None:
    jpegs(tmp_path / "in", [(64, 48)])
    folders = [tmp_path / "in", tmp_path]
    done = run([programs / "paint_folder", *folders, "--painter", "nobody", "--daemon", shared_daemon.address])
    assert done.returncode == REFUSED
    assert done.stderr.startswith(b"paint_folder: unknown_engine: ")
    assert done.stderr.endswith(b"\n")
    assert done.stderr.count(b"\n") == 1


def test_what_cannot_be_asked_for_is_told_before_it_is_sent(
    programs: Path, shared_daemon: Daemon, tmp_path: Path
) -> None:
    jpegs(tmp_path / "in", [(64, 48)])
    done = run(
        [programs / "paint_folder", tmp_path / "in", tmp_path, "--strength", "7", "--daemon", shared_daemon.address]
    )
    assert (done.returncode, done.stderr) == (5, b"paint_folder: brief.strength: must be from 0 to 1\n")


def test_without_a_daemon_it_says_so_at_once(programs: Path, tmp_path: Path) -> None:
    jpegs(tmp_path / "in", [(64, 48)])
    address = f"ipc://{tmp_path}/nobody.sock"
    begun = time.monotonic()
    done = run([programs / "paint_folder", tmp_path / "in", tmp_path, "--daemon", address])
    assert (done.returncode, done.stderr.decode()) == (GONE, f"paint_folder: no daemon answers at {address}\n")
    assert time.monotonic() - begun < 5


# The examples: pipes

SIZE = (64, 48)
IDENTITY = ("--painter", "identity", "--flow", "none")


def pattern(ffmpeg: str, pixels: str, *, frames: int, size: tuple[int, int] = SIZE) -> list[str]:
    """The command that writes raw video to its standard output."""
    source = f"testsrc2=r=25,scale={size[0]}:{size[1]}"  # testsrc2 itself makes no odd sizes
    flags = ["-v", "error", "-nostdin", "-f", "lavfi", "-i", source, "-frames:v", str(frames)]
    return [ffmpeg, *flags, "-f", "rawvideo", "-pix_fmt", pixels, "-"]


def pipe_command(programs: Path, address: str, pixels: str, *flags: str, size: tuple[int, int] = SIZE) -> list[str]:
    shape = ["--size", f"{size[0]}x{size[1]}", "--pixels", pixels, "--fps", "25"]
    return [str(programs / "pipe_raw"), *shape, "--daemon", address, *flags]


def test_raw_video_goes_through_it(ffmpeg: str, programs: Path, shared_daemon: Daemon) -> None:
    """From ffmpeg, and to ffmpeg. An odd size, so that planes are rounded up."""
    size, frames = (65, 49), 30
    reading = [ffmpeg, "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "65x49", "-r", "25", "-i", "-"]
    with (
        subprocess.Popen(pattern(ffmpeg, "yuv420p", frames=frames, size=size), stdout=subprocess.PIPE) as writer,
        subprocess.Popen(
            pipe_command(programs, shared_daemon.address, "yuv420p", "--look", "ink", size=size),
            stdin=writer.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as painter,
        subprocess.Popen([*reading, "-f", "framecrc", "-"], stdin=painter.stdout, stdout=subprocess.PIPE) as reader,
    ):
        for each in (writer, painter):  # only the next program is to hold the pipe
            if each.stdout:
                each.stdout.close()
        crcs, _ = reader.communicate(timeout=FINISHED_WITHIN_S)
        said = painter.stderr.read() if painter.stderr else b""
    assert (writer.returncode, painter.returncode, reader.returncode, said) == (0, 0, 0, b"")
    assert len([line for line in crcs.decode().splitlines() if not line.startswith("#")]) == frames


def test_the_identity_changes_nothing(ffmpeg: str, programs: Path, shared_daemon: Daemon) -> None:
    given = run([*pattern(ffmpeg, "bgr24", frames=40)]).stdout
    done = run([*pipe_command(programs, shared_daemon.address, "bgr24", *IDENTITY)], given)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == given


def test_no_frame_waits_for_the_next_one(programs: Path, shared_daemon: Daemon) -> None:
    command = pipe_command(programs, shared_daemon.address, "gray", *IDENTITY)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as painter:
        assert painter.stdin
        assert painter.stdout
        try:
            for shade in range(20):
                frame = bytes([10 * shade]) * (SIZE[0] * SIZE[1])
                painter.stdin.write(frame[:1000])
                painter.stdin.write(frame[1000:])
                assert read_exactly(painter.stdout, len(frame)) == frame
            painter.stdin.close()
            assert painter.wait(FINISHED_WITHIN_S) == 0
        finally:
            painter.kill()


def read_exactly(file: Any, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def test_it_reads_no_more_than_it_can_pass_on(programs: Path, shared_daemon: Daemon) -> None:
    """While nobody reads what is painted: some frames in the daemon, some here, some in pipes, and then none."""
    side = 256
    frame = bytes(side * side)
    command = pipe_command(programs, shared_daemon.address, "gray", *IDENTITY, size=(side, side))
    written = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as painter:
        assert painter.stdin
        assert painter.stdout

        def feed() -> None:
            nonlocal written
            assert painter.stdin
            try:
                for _ in range(1_000):
                    painter.stdin.write(frame)
                    written += 1
            except BrokenPipeError:
                return

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            assert painter.stdout.read(1) == frame[:1]
            stood = -1
            while written != stood:  # a second without a step
                stood = written
                time.sleep(1.0)
            assert 1 <= written < 60
        finally:
            painter.kill()
            feeder.join()


def test_the_reader_goes_away(ffmpeg: str, programs: Path, shared_daemon: Daemon) -> None:
    command = pipe_command(programs, shared_daemon.address, "bgr24", *IDENTITY)
    with (
        subprocess.Popen(pattern(ffmpeg, "bgr24", frames=2_000), stdout=subprocess.PIPE) as writer,
        subprocess.Popen(command, stdin=writer.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as painter,
    ):
        assert writer.stdout
        assert painter.stdout
        assert painter.stderr
        writer.stdout.close()
        assert painter.stdout.read(100)
        painter.stdout.close()
        said = painter.stderr.read()
        assert painter.wait(FINISHED_WITHIN_S) == 1
        writer.wait(FINISHED_WITHIN_S)
    assert said == b"pipe_raw: cannot write: Broken pipe\n"


def test_a_last_frame_that_is_cut_short(programs: Path, shared_daemon: Daemon) -> None:
    size = SIZE[0] * SIZE[1]
    done = run([*pipe_command(programs, shared_daemon.address, "gray", *IDENTITY)], bytes(2 * size + 7))
    assert (done.returncode, len(done.stdout)) == (1, 2 * size)
    assert done.stderr == f"pipe_raw: the last frame is cut short: 7 of {size} bytes\n".encode()


def test_a_rate_that_is_a_fraction(programs: Path, tmp_path: Path) -> None:
    with Router(f"ipc://{tmp_path}/router.sock") as router:
        for fps in ("30000/1001", "29.97", "25"):
            command = pipe_command(programs, router.address, "gray")
            assert run([*command, "--fps", fps], bytes(SIZE[0] * SIZE[1])).returncode == 0
        bases = [Fraction(*each.opening.source.time_base) for each in router.sittings.values()]
        rates = [each.opening.source.rate for each in router.sittings.values()]
    assert bases == [Fraction(1001, 30000), Fraction(1000, 29970), Fraction(1, 25)]
    assert rates == pytest.approx([30000 / 1001, 29.97, 25.0])


# A session, order by order


class Told:
    """The program test_session, which does what it is told."""

    def __init__(self, programs: Path, address: str) -> None:
        self.process = subprocess.Popen(
            [programs / "test_session", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def read(self) -> str:
        """Its next line."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            _, said = self.process.communicate()
            pytest.fail(f"it has ended: {said}")
        return line.rstrip("\n")

    def __call__(self, order: str) -> str:
        """What it says to an order."""
        assert self.process.stdin
        self.process.stdin.write(f"{order}\n")
        return self.read()

    def pushed(self, count: int) -> None:
        """Pushes so many frames, at once."""
        assert [self("push 0") for _ in range(count)] == ["OK"] * count

    def indices(self) -> list[int]:
        """The indices of all that is painted, waiting for it."""
        found = []
        while (line := self("next 20000")) != "END":
            assert line.startswith("painted "), line
            found.append(int(line.split()[1]))
        return found

    def end(self) -> None:
        """Ends it, without a complaint of the sanitizers."""
        _, said = self.process.communicate(timeout=FINISHED_WITHIN_S)
        assert (self.process.returncode, said) == (0, "")


@contextmanager
def told(programs: Path, address: str) -> Iterator[Told]:
    """A program that is connected."""
    program = Told(programs, address)
    try:
        assert program.read() == "OK"
        yield program
        program.end()
    finally:
        program.process.kill()
        program.process.wait()
        for file in (program.process.stdin, program.process.stdout, program.process.stderr):
            if file and not file.closed:
                file.close()


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    with Router(f"ipc://{tmp_path}/router.sock") as running:
        yield running


def eventually(tell: Told, order: str, answer: str) -> None:
    """Repeats an order until it is answered so."""
    deadline = time.monotonic() + 20
    while (said := tell(order)) != answer and time.monotonic() < deadline:
        tell("wait 20")
    assert said == answer


def happens(condition: Callable[[], bool]) -> bool:
    """Whether something comes to hold by itself."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_session_from_beginning_to_end(programs: Path, shared_daemon: Daemon) -> None:
    with told(programs, shared_daemon.address) as tell:
        assert tell("open poster") == "OK"
        assert tell("opened") == "filters dis, a look strokes, credit 8, canvas 64x48"
        tell.pushed(2)
        assert tell("next -1") == "painted 0 0 epoch 0 maps 2 bytes 3072 first 0"
        assert tell("next -1").startswith("painted 1 40 epoch 0 maps 2 bytes 3072 ")
        assert tell("next -1") == "END"
        assert tell("flush") == "OK"
        assert tell("rekey") == "OK"
        assert tell("hold 1").startswith("REFUSED unsupported: ")
        assert tell("close") == "closed received 2 painted 2 dropped 0 failed 0"


def test_an_update_is_seen(programs: Path, shared_daemon: Daemon) -> None:
    with told(programs, shared_daemon.address) as tell:
        tell("open poster")
        tell.pushed(2)
        assert tell.indices() == [0, 1]
        assert tell("update look pencil") == "request 1"
        assert tell("shown 1") == "AGAIN"
        tell.pushed(1)
        assert " epoch 1 " in tell("next -1")
        eventually(tell, "shown 1", "shown at 2")
        assert tell("update look crayon").startswith("REFUSED bad_brief: ")
        assert tell("update lok pencil").startswith("REFUSED ")
        assert tell("shown 9").startswith("INVALID there is no request 9")


def test_control_images_go_along(programs: Path, shared_daemon: Daemon) -> None:
    """A kind that the Brief does not ask for changes nothing."""
    with told(programs, shared_daemon.address) as tell:
        tell("open poster")
        assert tell(f"control depth {3 * 64 * 48}") == "OK"
        assert tell("next -1").startswith("painted 0 ")
        assert tell("control depth 7").startswith("INVALID wp_push: a control image has a kind, and 9216 bytes")
        assert tell("keyframe") == "OK"
        assert tell("close") == "closed received 1 painted 1 dropped 0 failed 0"


def test_a_frame_is_marked(programs: Path, router: Router) -> None:
    router.paints = False
    with told(programs, router.address) as tell:
        tell("open plain")
        assert tell(f"control depth {3 * 64 * 48}") == "OK"
        assert tell(f"control still {3 * 64 * 48}") == "OK"
        tell("ping 5000")  # the frames are there before its answer
        [sitting] = router.sittings.values()
        sent = [(frame.keyframe, frame.controls) for frame, _ in sitting.pending]
        assert sent == [(False, ("depth",)), (True, ("still",))]
        router.paint()


def test_credit_is_honoured(programs: Path, router: Router) -> None:
    router.paints = False
    with told(programs, router.address) as tell:
        tell("open plain")
        tell.pushed(router.window)
        assert tell("push 0") == "AGAIN"
        assert tell("push 50") == "AGAIN"
        assert tell("unanswered") == str(router.window)
        assert tell("next 0") == "AGAIN"
        router.paint(2)
        assert tell("next 5000").startswith("painted 0 ")
        tell.pushed(1)
        router.paints = True
        router.paint(router.window)
        assert tell.indices() == list(range(1, router.window + 1))
    assert router.taken == list(range(router.window + 1))
    assert router.refused == []


def test_a_film_whose_frames_wait_gets_credit_for_them(programs: Path, tmp_path: Path) -> None:
    with daemon(tmp_path, "--window", "2") as narrow, told(programs, narrow.address) as tell:
        assert tell("open poster ahead") == "OK"
        assert "credit 2," in tell("opened")
        assert [tell("push 20000") for _ in range(20)] == ["OK"] * 20
        assert tell("next 20000").startswith("painted 0 ")
        assert tell("next 0") == "AGAIN"  # all others wait
        assert "credit 32," in tell("opened")
        assert tell("flush") == "OK"
        assert tell.indices() == list(range(1, 20))
        assert tell("close") == "closed received 20 painted 20 dropped 0 failed 0"


def test_results_that_are_not_taken_bound_what_is_pushed(programs: Path, router: Router) -> None:
    with told(programs, router.address) as tell:
        tell("open plain")
        answers = [tell("push 0") for _ in range(3 * router.window) if tell("wait 5") in ("OK", "AGAIN")]
        assert answers[-1] == tell("push -1") == "AGAIN"
        assert tell.indices() == list(range(answers.count("OK")))
        tell.pushed(1)


def test_answers_are_acknowledged(programs: Path, router: Router) -> None:
    with told(programs, router.address) as tell:
        tell("open plain")
        tell.pushed(5)
        tell.indices()
        assert happens(lambda: max(router.acks, default=0) == 5)
        assert tell("close").startswith("closed ")
    assert happens(lambda: max(router.acks) == 6)


class Talkative(Router):
    """One that tells a client what it never asked to see."""

    def tell(self, away: int) -> None:
        """Of a session `away` from that of each client; 0: of that."""

        def tell() -> None:
            for each in self.sittings.values():
                number = each.number + away
                part = SeenPart(name="raw", dtype="uint8", shape=(1, 1, 3))
                seen = Seen(session=number, seq=50, index=0, pts=0, epoch=0, provenance=Provenance.HELD, parts=(part,))
                self._send(each.identity, watching(number))
                self._send(each.identity, seen, b"bgr")

        self.do(tell)


def watching(number: int) -> Watching:
    return Watching(
        session=number,
        id="5d41402a",
        client="",
        painter="identity",
        flow="none",
        pacing="every",
        looks=("plain",),
        brief=Brief(),
        width=1,
        height=1,
        epoch=0,
    )


@pytest.mark.parametrize("away", [0, 5])
def test_what_is_seen_by_nobody_is_passed_over(programs: Path, tmp_path: Path, away: int) -> None:
    """It has a `seq` of its own, which is not to be taken for the session's."""
    router = Talkative(f"ipc://{tmp_path}/router.sock")
    with router, told(programs, router.address) as tell:
        tell("open plain")
        router.tell(away)
        tell.pushed(5)
        assert tell.indices() == list(range(5))
        assert happens(lambda: max(router.acks, default=0) == 5)
        assert tell("close") == "closed received 5 painted 5 dropped 0 failed 0"
        assert max(router.acks) <= 6


def test_a_session_that_is_not_closed_ends_with_the_client(programs: Path, router: Router) -> None:
    with told(programs, router.address) as tell:
        tell("open plain")
        tell.pushed(1)
    assert happens(lambda: [each.discard for each in router.received if isinstance(each, Close)] == [True])


def test_live(programs: Path, shared_daemon: Daemon) -> None:
    with told(programs, shared_daemon.address) as tell:
        assert tell("open poster live") == "OK"
        tell.pushed(1)
        assert tell("next -1").startswith("painted 0 ")
        assert tell("hold 1") == "OK"
        assert tell("hold 0") == "OK"
        assert tell("close 1").startswith("closed received 1 ")


# Coming back


def test_what_the_connection_lost_comes_once(programs: Path, router: Router) -> None:
    router.paints = False
    with told(programs, router.address) as tell:
        tell("open plain")
        tell.pushed(3)
        eventually(tell, "ping 5000", "OK")
        router.paint(2)  # of which the client may hear before the loss, or after it
        router.vanish()
        tell.pushed(2)
        router.paints = True
        router.come_back()
        router.paint(8)
        assert tell.indices() == [0, 1, 2, 3, 4]
        assert tell("close") == "closed received 5 painted 5 dropped 0 failed 0"
    assert router.taken == [0, 1, 2, 3, 4]
    assert len([each for each in router.received if isinstance(each, Resume)]) == 1


def test_requests_are_sent_again(programs: Path, router: Router) -> None:
    with told(programs, router.address) as tell:
        tell("open plain")
        tell.pushed(1)
        assert tell.indices() == [0]
        router.vanish()
        threading.Timer(0.2, router.come_back).start()
        assert tell("update look plain") == "request 1"
        tell.pushed(1)
        assert tell.indices() == [1]
    assert [each.request for each in router.received if isinstance(each, Update)] == [1]


def test_a_daemon_that_goes_on_from_an_older_state(programs: Path, router: Router) -> None:
    """It has forgotten frames that were answered, and some that were not: those are sent again."""
    with told(programs, router.address) as tell:
        tell("open plain")
        tell.pushed(2)
        assert tell.indices() == [0, 1]
        older = router.written_down()
        tell.pushed(2)
        assert tell.indices() == [2, 3]
        router.paints = False
        tell.pushed(3)
        eventually(tell, "ping 5000", "OK")
        router.paints = True
        router.restart(older)
        assert tell.indices() == [4, 5, 6]
    assert router.taken == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6]


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_each_frame_once_and_in_order_whatever_is_cut(programs: Path, seed: int) -> None:
    """Cut after some bytes, in the middle of greetings, headers and pictures, in both directions."""
    chance = random.Random(seed)
    limits = [chance.randrange(*chance.choice(((1, 400), (400, 4_000), (4_000, 90_000)))) for _ in range(12)]
    given = b"".join(bytes([number % 256]) * (SIZE[0] * SIZE[1]) for number in range(300))
    with (
        Router("tcp://127.0.0.1:*") as router,
        Proxy(int(router.address.rpartition(":")[2]), [10_000, *limits]) as proxy,
    ):
        done = run([*pipe_command(programs, proxy.address, "gray")], given)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == given
    assert router.taken == list(range(300))
    assert proxy.cuts >= len(limits) // 2


def test_live_frames_are_lost_with_the_connection(programs: Path, router: Router) -> None:
    router.paints = False
    with told(programs, router.address) as tell:
        tell("open plain live")
        tell.pushed(2)
        eventually(tell, "ping 5000", "OK")
        router.do(lambda: setattr(router, "mute", True))
        tell.pushed(1)
        router.vanish()
        tell("wait 100")
        assert tell("push 0") == "AGAIN"
        router.mute = False
        router.come_back()
        assert tell("next 20000") == "dropped 2 lost connection"
        router.paint(2)
        assert tell.indices() == [0, 1]
    assert router.taken == [0, 1]


def test_a_daemon_that_does_not_come_back(programs: Path, router: Router) -> None:
    with told(programs, router.address) as tell:
        tell("open plain")
        router.paints = False
        tell.pushed(1)
        tell("reconnect 300")
        router.vanish()
        said = tell("next -1")
        assert said.startswith("GONE the connection to the daemon at ipc://")
        assert "was lost, and it has not answered for 0." in said
        assert tell("push -1") == said
        assert tell("close") == said


def test_a_daemon_that_has_forgotten(programs: Path, router: Router) -> None:
    router.paints = False
    with told(programs, router.address) as tell:
        tell("open plain")
        tell.pushed(1)
        router.vanish()
        router.forget()
        router.come_back()
        assert tell("next -1").startswith("GONE the session did not outlive the loss of its connection: ")
        tell("close")
        router.paints = True
        assert tell("open plain") == "OK"
        tell.pushed(1)
        assert tell.indices() == [0]


@pytest.mark.slow
def test_a_daemon_that_says_nothing_more(programs: Path, router: Router) -> None:
    """The connection stands: none will take its place."""
    with told(programs, router.address) as tell:
        tell("open plain")
        router.mute = True
        tell.pushed(1)
        assert "has not answered for" in tell("next -1")


def keeping(folder: Path, address: str) -> Any:
    """A daemon that writes its sessions down, and goes on where the last one was."""
    flags = ("--state-dir", str(folder / "state"), "--snapshot-s", "0.05", "--probe-s", "0.2")
    return daemon(folder, *flags, binds=(address,))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_is_started_again_goes_on(programs: Path, tmp_path: Path, number: signal.Signals) -> None:
    address = f"ipc://{tmp_path}/warpaint.sock"
    with keeping(tmp_path, address) as first, told(programs, address) as tell:
        assert tell("open poster") == "OK"
        tell.pushed(3)
        assert tell.indices() == [0, 1, 2]
        assert tell("update look pencil") == "request 1"
        time.sleep(0.5)  # it is written down
        tell.pushed(2)
        ended(first, number)
        with keeping(tmp_path, address):
            assert tell("push -1") == "OK"  # one that was ended has taken its credit back
            assert tell.indices() == [3, 4, 5]
            assert tell("push -1") == "OK"
            assert " epoch 1 " in tell("next 20000")
            eventually(tell, "shown 1", "shown at 3")
            assert tell("close").startswith("closed ")


def test_an_example_outlives_its_daemon(programs: Path, tmp_path: Path) -> None:
    """Killed while pipe_raw is in the middle of a film: nothing is missing, and nothing comes twice."""
    address = f"ipc://{tmp_path}/warpaint.sock"
    frames = [bytes([number]) * (SIZE[0] * SIZE[1]) for number in range(60)]
    command = pipe_command(programs, address, "gray", *IDENTITY)
    with (
        keeping(tmp_path, address) as first,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as painter,
    ):
        assert painter.stdin
        assert painter.stdout
        try:
            for each in frames[:10]:
                painter.stdin.write(each)
                assert read_exactly(painter.stdout, len(each)) == each
            time.sleep(0.5)  # it is written down
            ended(first, signal.SIGKILL)
            with keeping(tmp_path, address):
                rest, _ = painter.communicate(b"".join(frames[10:]), timeout=FINISHED_WITHIN_S)
        finally:
            painter.kill()
    assert painter.returncode == 0
    assert rest == b"".join(frames[10:])


def test_the_codes_are_those_of_the_protocol() -> None:
    header = (FOLDER / "warpaint.h").read_text(encoding="utf-8")
    listed = [line.strip(" ,").removeprefix("WP_REASON_") for line in header.splitlines() if "    WP_REASON_" in line]
    assert [each.lower() for each in listed if "=" not in each] == [code.value for code in Code]
