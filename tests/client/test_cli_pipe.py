"""`warpaint pipe` between two real ffmpeg programs, and what becomes of it when one of them goes away."""

import contextlib
import io
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from support.daemon import Daemon

WARPAINT = Path(sys.executable).with_name("warpaint")
FINISHED_WITHIN_S = 60.0
# One that has nothing more to do has ended within this.
GONE_WITHIN_S = 10.0
# It has read its input, or waits for it, after this: no test goes wrong if it has not.
STARTED_AFTER_S = 2.0
IDLE_AFTER_S = 1.0

IDENTITY = ("--painter", "identity", "--flow", "none")
TICKS = ("-fps_mode", "passthrough", "-enc_time_base", "1:1000")
LIVE = ("-c:v", "libx264", "-tune", "zerolatency", "-g", "5")

# A reader in front of which nothing is held back.
AT_ONCE = {"probesize": "32", "analyzeduration": "0", "fpsprobesize": "0"}
# Frames that FFmpeg wants to see before a film is open; from then on they come out one by one.
PROBED = 12


@pytest.fixture
def pipe(shared_daemon: Daemon) -> Sequence[str]:
    """The command, with the daemon to use."""
    return (str(WARPAINT), "pipe", "--daemon", shared_daemon.address)


def pattern(*, frames: int = 20, size: str = "64x48") -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25", "-frames:v", str(frames))


def made(ffmpeg: str, *arguments: str) -> bytes:
    """What ffmpeg writes to its standard output."""
    command = [ffmpeg, "-v", "error", "-nostdin", *arguments, "-"]
    return subprocess.run(command, check=True, capture_output=True, timeout=FINISHED_WITHIN_S).stdout


def times(crcs: bytes) -> list[Fraction]:
    """When the frames are shown, counted from the first, from ffmpeg's framecrc."""
    base, ticks = Fraction(1), []
    for line in crcs.decode().splitlines():
        if line.startswith("#tb 0:"):
            base = Fraction(line.split(":")[1].strip())
        elif not line.startswith("#"):
            ticks.append(int(line.split(",")[2]))
    return [(tick - ticks[0]) * base for tick in ticks]


@pytest.mark.parametrize(
    ("source", "target"),
    [("nut", "nut"), ("matroska", "nut"), ("mpegts", "nut"), ("nut", "mpegts"), ("mpegts", "mpegts")],
)
def test_every_frame_arrives_with_its_time(ffmpeg: str, pipe: Sequence[str], source: str, target: str) -> None:
    uneven = ("-vf", "setpts=N*N+10*N")
    writing = [ffmpeg, "-v", "error", "-nostdin", *pattern(), *uneven, *TICKS, *LIVE, "-f", source, "-"]
    reading = [ffmpeg, "-v", "error", "-nostdin", "-i", "-", *TICKS, "-f", "framecrc", "-"]
    with (
        subprocess.Popen(writing, stdout=subprocess.PIPE) as writer,
        subprocess.Popen(
            [*pipe, "--look", "poster", "--to", target],
            stdin=writer.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as painter,
        subprocess.Popen(reading, stdin=painter.stdout, stdout=subprocess.PIPE) as reader,
    ):
        for each in (writer, painter):  # only the next program is to hold the pipe
            if each.stdout:
                each.stdout.close()
        crcs, _ = reader.communicate(timeout=FINISHED_WITHIN_S)
        said = painter.stderr.read() if painter.stderr else b""
    assert (writer.returncode, painter.returncode, reader.returncode) == (0, 0, 0), said
    assert times(crcs) == [Fraction(number * number + 10 * number, 25) for number in range(20)]


def test_sound_goes_along(ffmpeg: str, pipe: Sequence[str]) -> None:
    data = made(ffmpeg, "-f", "lavfi", "-i", "sine=d=0.8", *pattern(), *LIVE, "-c:a", "aac", "-f", "nut")
    done = subprocess.run([*pipe, *IDENTITY], input=data, capture_output=True, timeout=FINISHED_WITHIN_S)
    assert done.returncode == 0, done.stderr
    assert packets(done.stdout, "audio") == packets(data, "audio") != []


def packets(data: bytes, kind: str) -> list[bytes]:
    with av.open(io.BytesIO(data), "r") as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [bytes(packet) for packet in container.demux(*streams) if packet.size and streams]


# Live


class Outcome:
    """What comes out of a pipe, frame by frame, as it comes."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._frames: queue.Queue[int] = queue.Queue()
        self._count = 0
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def read(self, size: int) -> bytes:
        """What is there: for FFmpeg."""
        return self._file.read1(size)

    def _follow(self) -> None:
        with av.open(self, "r", format="nut", options=AT_ONCE) as container:
            for number, packet in enumerate(container.demux(video=0)):
                if packet.size:
                    self._frames.put(number)

    def join(self) -> None:
        """Waits until the pipe is at its end."""
        self._thread.join(GONE_WITHIN_S)

    def until(self, number: int) -> None:
        """Waits until frame `number` has come out."""
        while self._count <= number:
            try:
                self._frames.get(timeout=GONE_WITHIN_S)
            except queue.Empty:
                pytest.fail(f"frame {self._count} does not come out")
            self._count += 1


# A frame of MPEG-TS is known to be whole when the next one begins, and FFmpeg's parser wants one more.
@pytest.mark.parametrize(("container", "lag"), [("nut", 0), ("matroska", 0), ("mpegts", 2)])
def test_no_frame_waits_for_others(ffmpeg: str, pipe: Sequence[str], container: str, lag: int) -> None:
    """A frame is fed only when those before it, but for the lag, have come out: were one held back, all would stop."""
    pieces = split(made(ffmpeg, *pattern(frames=40), *LIVE, "-flush_packets", "1", "-f", container), container)
    with subprocess.Popen(
        [*pipe, *IDENTITY, "--from", container], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as painter:
        assert painter.stdin
        assert isinstance(painter.stdout, io.RawIOBase)
        outcome = Outcome(io.BufferedReader(painter.stdout))
        try:
            for number, piece in enumerate(pieces):
                if number >= PROBED:
                    outcome.until(number - 1 - lag)
                painter.stdin.write(piece)
            painter.stdin.close()
            outcome.until(len(pieces) - 1)
            assert painter.wait(GONE_WITHIN_S) == 0
        finally:
            painter.kill()
            outcome.join()


def split(data: bytes, container: str) -> list[bytes]:
    """A stream in pieces of one frame each; the headers are in the first."""
    with av.open(io.BytesIO(data), "r", format=container) as film:
        starts = [packet.pos for packet in film.demux(video=0) if packet.size and packet.pos is not None]
    ends = [*starts[1:], len(data)]
    return [data[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


# One end is missing


def test_the_reader_goes_away(ffmpeg: str, pipe: Sequence[str]) -> None:
    data = made(ffmpeg, *pattern(frames=300), *LIVE, "-f", "nut")
    with subprocess.Popen(
        [*pipe, *IDENTITY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as painter:
        assert painter.stdin
        assert painter.stdout
        assert painter.stderr
        feeding = threading.Thread(target=feed, args=(painter.stdin, data))
        feeding.start()
        assert painter.stdout.read(1000)
        painter.stdout.close()
        code = ended(painter)
        said = painter.stderr.read().decode()
        feeding.join()
    assert code == 1
    assert "Broken pipe" in said
    assert "Traceback" not in said
    assert "Exception" not in said


def feed(file: io.BufferedWriter, data: bytes) -> None:
    try:
        file.write(data)
        file.close()
    except BrokenPipeError:
        pass


def ended(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of a process that has ended in time; one that has not is killed, and the test fails."""
    try:
        return process.wait(GONE_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("it does not end")


@pytest.mark.parametrize("data", [b"", np.random.default_rng(0).bytes(100_000), b"words, words\n" * 100])
def test_an_input_that_is_no_film_is_told(pipe: Sequence[str], data: bytes) -> None:
    done = subprocess.run([*pipe, *IDENTITY], input=data, capture_output=True, timeout=FINISHED_WITHIN_S)
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"stdin" in done.stderr or b"standard input" in done.stderr
    assert b"film" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_pipe_cut_off_in_a_frame_is_painted_so_far(ffmpeg: str, pipe: Sequence[str]) -> None:
    data = made(ffmpeg, *pattern(), *LIVE, "-f", "nut")
    cut = data[: len(data) * 2 // 3]
    done = subprocess.run([*pipe, *IDENTITY], input=cut, capture_output=True, timeout=FINISHED_WITHIN_S)
    assert done.returncode == 0, done.stderr
    assert 5 < len(packets(done.stdout, "video")) < 20


def test_a_full_disk_is_told(ffmpeg: str, pipe: Sequence[str]) -> None:
    data = made(ffmpeg, *pattern(), *LIVE, "-f", "nut")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*pipe, *IDENTITY], input=data, stdout=full, stderr=subprocess.PIPE, timeout=FINISHED_WITHIN_S
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_missing_end_is_told(pipe: Sequence[str], closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *pipe], capture_output=True, timeout=FINISHED_WITHIN_S, input=b""
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


class Silent:
    """`warpaint pipe` with an input that stays open, and says no more than it is given."""

    def __init__(self, pipe: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [*pipe, *IDENTITY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                if file:
                    file.close()

    def feed(self, data: bytes) -> None:
        """Gives it something to read."""
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read(self, size: int) -> bytes:
        """So many bytes of what it has painted."""
        assert self.process.stdout
        return self.process.stdout.read(size)

    def interrupt(self) -> tuple[bytes, str]:
        """What it had still to write, and what it said, after Ctrl-C. It must end in an orderly way, and soon."""
        self.process.send_signal(signal.SIGINT)
        code = ended(self.process)
        assert self.process.stdout
        assert self.process.stderr
        said = self.process.stderr.read().decode()
        assert code == 130, said
        assert "Traceback" not in said
        assert "Fatal" not in said
        return self.process.stdout.read(), said


def test_ctrl_c_before_anything_comes(pipe: Sequence[str]) -> None:
    with Silent(pipe) as painter:
        time.sleep(STARTED_AFTER_S)
        painter.interrupt()


def test_ctrl_c_while_nothing_comes(ffmpeg: str, pipe: Sequence[str]) -> None:
    """The thread that reads is stuck in the pipe. The command ends all the same, and what it has written plays."""
    with Silent(pipe) as painter:
        painter.feed(made(ffmpeg, *pattern(frames=30), *LIVE, "-f", "nut"))
        written = painter.read(2000)
        time.sleep(IDLE_AFTER_S)
        rest, _ = painter.interrupt()
    assert len(packets(written + rest, "video")) == 30


def test_ctrl_c_while_it_writes(ffmpeg: str, pipe: Sequence[str]) -> None:
    """FFmpeg calls us to write: what is raised there does not come out at the other side."""
    with Silent(pipe) as painter:
        feeding = threading.Thread(target=feed, args=(painter.process.stdin, endless(ffmpeg)))
        feeding.start()
        written = painter.read(4000)
        time.sleep(IDLE_AFTER_S)  # the pipe is full by now, as nobody reads it
        painter.process.send_signal(signal.SIGINT)
        written += painter.read(-1)
        code = ended(painter.process)
        said = painter.process.stderr.read().decode() if painter.process.stderr else ""
        feeding.join()
    assert code == 130, said
    assert "Traceback" not in said
    assert packets(written, "video")


def endless(ffmpeg: str) -> bytes:
    """More than a pipe holds."""
    return made(ffmpeg, *pattern(frames=600, size="160x120"), *LIVE, "-f", "nut")


def test_a_wish_that_cannot_be_met_ends_it_though_input_goes_on(ffmpeg: str, pipe: Sequence[str]) -> None:
    with Silent([*pipe, "--look", "nonsense"]) as painter:
        painter.feed(made(ffmpeg, *pattern(frames=30), *LIVE, "-f", "nut"))
        code = ended(painter.process)
        said = painter.process.stderr.read().decode() if painter.process.stderr else ""
    assert code == 1, said
    assert "nonsense" in said
    assert "Traceback" not in said
