"""Bridges under test, and the real ffmpeg programs on both sides of them."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

WARPAINT = Path(sys.executable).with_name("warpaint")

# Whatever is waited for has come within this, seconds, on a machine that is busy.
COMES_WITHIN_S = 20.0
ENDS_WITHIN_S = 10.0

Gray = NDArray[np.uint8]

LIVE = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10")
AT_ONCE = ("-flush_packets", "1")
MPEGTS = ("-f", "mpegts", "-omit_video_pes_length", "0", *AT_ONCE)
# So little to paint, and so much patience, that a busy machine drops few frames, and refuses no session.
EASY = ("--max-pixels", "16384", "--max-delay-ms", "1000")
PATTERN = ("-f", "lavfi", "-i", "testsrc2=s=160x96:r=25")
# A reader that begins with what comes first.
EAGER = ("-fflags", "nobuffer", "-probesize", "32768", "-analyzeduration", "0")


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Programs:
    """Starts programs, and ends those that are still running when the test is over."""

    ffmpeg: str
    daemon: str
    folder: Path
    running: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def bridge(self, source: str, target: str, *flags: str, stdin: int | IO[bytes] | None = None) -> "RunningBridge":
        """A bridge with the painter `identity`, unless the flags say another one."""
        log = self.folder / f"bridge-{len(self.running)}.log"
        command = [
            str(WARPAINT),
            "bridge",
            source,
            target,
            "--daemon",
            self.daemon,
            "--painter",
            "identity",
            *EASY,
            *flags,
        ]
        with log.open("w") as errors:
            process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=errors)
        self.running.append(process)
        return RunningBridge(process, log)

    def standing(self, source: str, target: str, *flags: str, stdin: int | IO[bytes] | None = None) -> "RunningBridge":
        """A bridge that stands: others can connect to it."""
        bridge = self.bridge(source, target, *flags, stdin=stdin)
        bridge.says("bridging")
        return bridge

    def sender(self, url: str, *arguments: str, size: str = "160x96", rate: int = 25) -> "subprocess.Popen[bytes]":
        """An ffmpeg that writes a moving pattern to a URL, in time, until it is ended."""
        pattern = ("-re", "-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}")
        return self.start(*pattern, *arguments, url)

    def made(self, film: Path, *arguments: str, inputs: Sequence[str] = PATTERN) -> None:
        """A film that an ffmpeg has written, not in time."""
        inputs = [each for each in inputs if each != "-re"]
        if self.start(*inputs, *arguments, str(film)).wait(COMES_WITHIN_S) != 0:
            raise RuntimeError(f"{film} could not be made")

    def start(self, *arguments: str, stdout: int | None = None) -> "subprocess.Popen[bytes]":
        """An ffmpeg with these arguments."""
        command = [self.ffmpeg, "-v", "error", "-nostdin", "-y", *arguments]
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL)
        self.running.append(process)
        return process

    def reader(self, url: str, *arguments: str, size: str = "160x96") -> "Reader":
        """An ffmpeg that reads from a URL, and what it sees."""
        width, height = map(int, size.split("x"))
        command = (*arguments, "-i", url, "-map", "0:v:0", "-f", "rawvideo", "-pix_fmt", "gray")
        scaled = ("-vf", f"scale={width}:{height}", "-fps_mode", "passthrough", "-flush_packets", "1", "-")
        return Reader(self.start(*command, *scaled, stdout=subprocess.PIPE), width, height)

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Ends a program that runs until it is ended. ffmpeg's zmq reader may outlive a SIGTERM."""
        process.kill()
        process.wait(ENDS_WITHIN_S)
        if process.stdout:
            process.stdout.close()

    def end_all(self) -> None:
        """Ends what still runs."""
        for process in self.running:
            self.end(process)


@dataclass
class RunningBridge:
    """A bridge under test."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text()

    def says(self, words: str, within_s: float = COMES_WITHIN_S) -> str:
        """Waits until it has said this. Raises TimeoutError."""
        deadline = time.monotonic() + within_s
        while words not in self.said:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise TimeoutError(f"it does not say {words!r}, but: {self.said}")
            time.sleep(0.05)
        return self.said

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """The exit code after a signal, and all that was said."""
        self.process.send_signal(how)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """The exit code of a bridge that ends by itself, and all that was said."""
        return self.process.wait(ENDS_WITHIN_S), self.said


class Reader:
    """The pictures that an ffmpeg sees, gray [H, W], as they come."""

    def __init__(self, process: "subprocess.Popen[bytes]", width: int, height: int) -> None:
        self.process = process
        self._shape = height, width

    def pictures(self, count: int) -> list[Gray]:
        """The next pictures. Raises TimeoutError."""
        with alarmed(self.process):
            return [self._next() for _ in range(count)]

    def _next(self) -> Gray:
        height, width = self._shape
        data = self.process.stdout.read(height * width) if self.process.stdout else b""
        if len(data) < height * width:
            raise TimeoutError("no more pictures come")
        return np.frombuffer(data, np.uint8).reshape(height, width)


@contextlib.contextmanager
def alarmed(process: "subprocess.Popen[bytes]", within_s: float = COMES_WITHIN_S) -> Iterator[None]:
    """Ends a process that somebody reads from, if that takes too long."""
    alarm = threading.Timer(within_s, process.kill)
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()


def moving(pictures: Sequence[Gray]) -> bool:
    """Whether they are a film: no two neighbours are the same, and none is flat."""
    differ = all((one != other).any() for one, other in pairwise(pictures))
    return differ and all(picture.std() > 20 for picture in pictures)


def leave(process: "subprocess.Popen[bytes]") -> None:
    """Ends a program that says goodbye: one that does not is missed after five seconds by SRT."""
    process.terminate()
    process.wait(ENDS_WITHIN_S)


def refused(programs: Programs, *arguments: str) -> str:
    """What a bridge says that ends at once with exit code 1."""
    command = [str(WARPAINT), "bridge", *arguments, "--daemon", programs.daemon]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMES_WITHIN_S)
    if done.returncode != 1 or "Traceback" in done.stderr:
        raise RuntimeError(f"it ended with {done.returncode}: {done.stderr}")
    return done.stderr


def children(pid: int) -> list[int]:
    """The processes that a process has begun."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(each) for path in found for each in path.read_text().split()]
