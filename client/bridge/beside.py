"""An ffmpeg beside the bridge, for what the FFmpeg within it does not speak, or cannot be stopped at.

That is SRT, cameras of Video4Linux, and servers that are published to. It is a child with a pipe. It dies with the
bridge, whatever becomes of that, and is started again when it ends.
"""

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..errors import MediaError
from .urls import Url

# Asked what it speaks, it answers within this, seconds: its libraries may have to be read from a disk.
ANSWERS_WITHIN_S = 10.0
# How long it may take to send what it has when its input ends, seconds.
ENDS_WITHIN_S = 1.0
# How often somebody who waits for it looks whether the bridge ends, seconds.
LOOK_S = 0.2
# Somebody who takes nothing for so long is gone, seconds.
TAKES_WITHIN_S = 10.0
# What it says at most in one line that is repeated, characters.
LONGEST_LINE = 300
# Told by ffmpeg, of any version, when its output is open: for a listener, when somebody has come.
OUTPUT_IS_OPEN = b"Output #0"
# With these it says what it does in lines that begin with how grave they are.
LOGGED = ("-hide_banner", "-nostats", "-loglevel", "level+info")
# The first bytes that are waited for, at most: what a pipe holds.
FIRST_BYTES = 65_536
# What MPEG-TS sends where there is nothing to send, seven packets: ffmpeg opens no output before there is some input.
NOTHING = 7 * (bytes((0x47, 0x1F, 0xFF, 0x10)) + 184 * b"\xff")
# Seven packets of MPEG-TS, bytes: what SRT puts into one of its own. A pipe keeps such a piece whole.
DATAGRAM = 1_316
# So far into FLV an ffmpeg looks what it holds, bytes: its header says that.
FLV_HEAD = 32_768
_GRAVE = re.compile(rb"\[(error|fatal|panic)\] *(.*)")

# Linux sends a signal (9: KILL) to a child whose parent has died, if the child asks for it (1: PR_SET_PDEATHSIG).
# That outlives exec. Asked in a process of its own, as Python may not be run between fork and exec beside threads.
_TIED = """
import ctypes, os, sys
tie = getattr(ctypes.CDLL(None), "prctl", None)
if tie:
    tie(1, 9, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def found(url: Url, named: str | None) -> str:
    """The path of an ffmpeg that speaks a URL. named: which one, rather than that of the PATH. Raises MediaError."""
    path = shutil.which(named or "ffmpeg")
    if path is None:
        missing = f"there is no program {named}" if named else "there is none: install ffmpeg, or name one by --ffmpeg"
        raise MediaError(f"{url}: {url.scheme} is spoken by an ffmpeg beside the bridge, and {missing}")
    asked, word = ("-devices", r"\bv4l2\b") if url.scheme == "v4l2" else ("-protocols", rf"^\s*{url.scheme}$")
    try:
        said = subprocess.run(
            [path, "-hide_banner", asked], capture_output=True, text=True, timeout=ANSWERS_WITHIN_S, errors="replace"
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MediaError(f"{path} cannot be asked whether it speaks {url.scheme}: {error}") from None
    if not re.search(word, said, re.MULTILINE):
        raise MediaError(f"{url}: {path} does not speak {url.scheme}; name one that does by --ffmpeg")
    return path


def check_device(url: Url) -> None:
    """Raises MediaError where a URL names a device that does not exist."""
    if url.scheme == "v4l2" and not Path(url.path).is_char_device():
        raise MediaError(f"{url}: there is no device {url.path}")


def reading(url: Url) -> list[str]:
    """What ffmpeg is told, to write to standard output what comes in at a URL."""
    to_pipe = [*("-map", "0", "-c", "copy"), *("-flush_packets", "1"), "-f"]
    if url.scheme == "srt":  # the bytes as they are: one program that looks what they mean is enough
        return [*LOGGED, *_RAW, *_srt_options(url), "-i", f"srt://{url.authority}", *to_pipe, "data", "pipe:1"]
    names = {"format": "-input_format", "size": "-video_size", "rate": "-framerate"}
    wishes = [part for name, flag in names.items() if name in url.options for part in (flag, url.options[name])]
    return [*LOGGED, "-f", "v4l2", *wishes, "-i", url.path, *to_pipe, "nut", "pipe:1"]


def writing(url: Url) -> list[str]:
    """What ffmpeg is told, to send to a URL what it reads from standard input."""
    copied = ("-i", "pipe:0", "-map", "0", "-c", "copy", "-flush_packets", "1")
    if url.scheme == "srt":
        sent = ("-pkt_size", str(DATAGRAM), *_srt_options(url), "-f", "data", f"srt://{url.authority}")
        return [*LOGGED, *_RAW, "-blocksize", str(DATAGRAM), *copied, *sent]
    if url.scheme == "rtmp":
        probed = ("-probesize", str(FLV_HEAD), "-analyzeduration", "0", "-f", "flv")
        return [*LOGGED, *probed, *copied, "-flvflags", "no_duration_filesize", "-f", "flv", url.address]
    return [*LOGGED, "-f", "yuv4mpegpipe", "-i", "pipe:0", "-f", "v4l2", "-pix_fmt", "yuv420p", url.path]


# ffmpeg's format of bytes that mean nothing to it, in pieces of this size, and no time to find out.
_RAW = ("-probesize", "32", "-analyzeduration", "0", "-f", "data", "-raw_packet_size", str(DATAGRAM))


def _srt_options(url: Url) -> list[str]:
    """Options, rather than a part of the address, which ffmpeg repeats in what it says."""
    options = ["-mode", url.options.get("mode", "caller")]
    if "latency" in url.options:
        options += ["-latency", str(1_000 * int(url.options["latency"]))]
    if "passphrase" in url.options:
        options += ["-passphrase", url.options["passphrase"], "-enforced_encryption", "1"]
    if "streamid" in url.options:
        options += ["-streamid", url.options["streamid"]]
    return options


class Beside:
    """One run of an ffmpeg. Use it from the thread that started it: the child dies with that thread."""

    def __init__(self, command: Sequence[str], *, writes: bool) -> None:
        """command: the path of ffmpeg, and what it is told. writes: its output is read; else its input is written."""
        self.output_is_open = threading.Event()
        self._complaint = b""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL if writes else subprocess.PIPE,
            stdout=subprocess.PIPE if writes else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us
        )
        if not writes:  # whoever writes waits no longer than it wants to
            os.set_blocking(self.pipe.fileno(), False)
        self._listener = threading.Thread(target=self._listen, name="bridge-ffmpeg", daemon=True)
        self._listener.start()

    @property
    def pipe(self) -> IO[bytes]:
        """What is read from, or written to."""
        pipe = self._process.stdout or self._process.stdin
        if pipe is None:
            raise OSError("the ffmpeg beside the bridge has no pipe")
        return pipe

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def complaint(self) -> str:
        """Why it has ended, in its own last words."""
        self._process.wait(ENDS_WITHIN_S)
        self._listener.join(ENDS_WITHIN_S)
        last = self._complaint.decode(errors="replace")[:LONGEST_LINE]
        return f"ffmpeg says: {last}" if last else f"ffmpeg has ended with exit code {self._process.returncode}"

    def kill(self) -> None:
        """Ends it at once. May be called by any thread."""
        self._process.kill()

    def close(self) -> None:
        """Ends it, when it has sent what it has, and lets go of it."""
        with contextlib.suppress(OSError):
            self.pipe.close()
        if self._process.stdin is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDS_WITHIN_S)
        self._process.kill()
        self._process.wait()
        self._listener.join(ENDS_WITHIN_S)

    def _listen(self) -> None:
        """Reads what it says, to the end: else it would wait for that."""
        if self._process.stderr is None:
            return
        with self._process.stderr as said:
            for line in iter(lambda: said.readline(4 * LONGEST_LINE), b""):
                if OUTPUT_IS_OPEN in line:
                    self.output_is_open.set()
                if grave := _GRAVE.search(line):
                    self._complaint = grave[2].strip()


class BesideReader:
    """What an ffmpeg beside us reads: a transport."""

    endless = True

    def __init__(self, url: Url, stopping: threading.Event, ffmpeg: str | None) -> None:
        self.name = str(url)
        self._url = url
        self._stopping = stopping
        check_device(url)
        self._command = [found(url, ffmpeg), *reading(url)]
        self._run: Beside | None = None
        self._first = b""

    def begin(self) -> bool:
        """Starts it, and waits for what it sends first. Raises MediaError, with its last words, where that is none."""
        self.close()
        check_device(self._url)
        self._run = Beside(self._command, writes=True)
        self._first = self.read(FIRST_BYTES)
        if not self._first and not self._stopping.is_set():
            raise MediaError(f"{self._url}: {self._url.without_secrets(self._run.complaint())}")
        return not self._stopping.is_set()

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if first := self._first:
            self._first = first[size:]
            return first[:size]
        while self._run is not None and not self._stopping.is_set():
            if select.select([self._run.pipe], [], [], LOOK_S)[0]:
                return self._run.pipe.read(size) or b""
        return b""

    def close(self) -> None:
        """Ends it."""
        if self._run is not None:
            self._run.close()
            self._run = None


class BesideWire:
    """What an ffmpeg beside us writes. A listener's is open when somebody has come."""

    comes_back = True

    def __init__(self, url: Url, ffmpeg: str | None) -> None:
        """Whether a listener can listen is asked by whoever makes it."""
        self.name = str(url)
        self.calls = not url.listens
        self._url = url
        check_device(url)
        self._command = [found(url, ffmpeg), *writing(url)]
        self._run: Beside | None = None
        self._rest = b""
        self._interrupted = threading.Event()

    def open(self) -> None:
        """Starts it, and waits until its output is open. Raises OSError, with its last words."""
        self.close()
        self._rest = b""
        self._run = run = Beside(self._command, writes=False)
        if self._url.scheme != "srt":
            return  # it opens its output when it has seen the beginning of a film
        self._send(NOTHING)
        while not run.output_is_open.wait(LOOK_S):
            if self._interrupted.is_set():
                raise InterruptedError("the bridge ends")
            if not run.alive:
                raise ConnectionError(self._complaint(run))

    def write(self, data: bytes) -> int:
        """The length of data. Raises OSError."""
        if self._url.scheme != "srt":
            self._send(data)
            return len(data)
        self._rest += data
        whole = len(self._rest) - len(self._rest) % DATAGRAM
        for at in range(0, whole, DATAGRAM):
            self._send(self._rest[at : at + DATAGRAM])
        self._rest = self._rest[whole:]
        return len(data)

    def flush(self) -> None:
        """Sends what does not fill a datagram. Raises OSError."""
        rest, self._rest = self._rest, b""
        self._send(rest)

    def interrupt(self) -> None:
        """Ends it."""
        self._interrupted.set()
        if (run := self._run) is not None:
            run.kill()

    def close(self) -> None:
        """Ends it when it has sent what it has."""
        if self._run is not None:
            self._run.close()
            self._run = None

    def _send(self, data: bytes) -> None:
        run = self._run
        if run is None:
            raise BrokenPipeError("the ffmpeg beside the bridge has not been started")
        rest = memoryview(data)
        try:
            while rest:
                if not select.select([], [run.pipe], [], TAKES_WITHIN_S)[1]:
                    raise TimeoutError(f"nothing has been taken for {TAKES_WITHIN_S:g} s")
                rest = rest[run.pipe.write(rest) or 0 :]
        except BrokenPipeError:
            raise ConnectionError(self._complaint(run)) from None

    def _complaint(self, run: Beside) -> str:
        return self._url.without_secrets(run.complaint())
