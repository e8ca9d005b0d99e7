"""Live streams of stamped pictures for the latency bench: what is filmed, who sends it by ffmpeg, and who reads it."""

import multiprocessing
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import av
import cv2
import imageio_ffmpeg
import numpy as np
import psutil
import simplejpeg
import zmq
from numpy.typing import NDArray

from support.clips import frames
from support.corner_stamps import stamp

SIZE = WIDTH, HEIGHT = 1280, 720
RATE = 30.0

# So many pictures of the clip, shown forwards and backwards, so that nothing jumps.
CLIP, CLIP_FRAMES = "bigbuckbunny", 30
JPEG_QUALITY = 85
# A pipe that takes most of a picture at once: with the usual 64 KiB the sender would be woken twenty times for each.
PIPE_BYTES = 2**20
# Somebody listens, connects or has sent the first picture within this, and has ended when silent for so long, seconds.
READY_WITHIN_S, SILENT_S = 20.0, 2.0

RAW = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{WIDTH}x{HEIGHT}", "-framerate", f"{RATE:g}")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", f"{RATE:g}")
AT_ONCE = ("-fps_mode", "passthrough", "-flush_packets", "1")
# A reader that begins with what comes first, and keeps what it has looked at.
EAGER = {"probesize": "65536", "analyzeduration": "0", "fpsprobesize": "0"}

Planes = NDArray[np.uint8]  # [1.5 H, W], yuv420p
Seen = Iterator[tuple[Planes, float]]  # decoded pictures, and when each was an array, seconds of time.monotonic()


def ffmpeg() -> str:
    """The path of an ffmpeg program: the system's, or else the one that comes with imageio-ffmpeg."""
    return shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())


class Films:
    """The clip in all the forms that senders take, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        there = list(frames(CLIP, SIZE, stop=CLIP_FRAMES))
        self._pictures = [*there, *there[-2:0:-1]]

    def pictures(self) -> Path:
        """A file of numpy's: BGR [N, H, W, 3]."""
        return self._array("pictures", lambda picture: picture)

    def planes(self) -> Path:
        """A file of numpy's: yuv420p [N, 1.5 H, W]."""
        return self._array("planes", lambda picture: cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420))

    def payloads(self, encoding: str) -> Path:
        """A folder with a file for each picture, 000 and so on: raw BGR or JPEG."""
        folder = self.folder / encoding
        if not folder.exists():
            folder.mkdir()
            for number, picture in enumerate(self._pictures):
                payload = (
                    picture.tobytes() if encoding == "raw" else simplejpeg.encode_jpeg(picture, JPEG_QUALITY, "BGR")
                )
                (folder / f"{number:03}").write_bytes(payload)
        return folder

    def _array(self, name: str, convert: Callable[[Any], Any]) -> Path:
        path = self.folder / f"{name}.npy"
        if not path.exists():
            np.save(path, np.stack([convert(each) for each in self._pictures]))
        return path


# Sending


def sent(url: str, written: Sequence[str], film: Path, count: int) -> list[float]:
    """Sends so many stamped pictures of a film [N, 1.5 H, W] to a URL, by the clock; when each was captured.

    written: what ffmpeg is told of its output. The sender has a process of its own, so that it waits for nobody's
    interpreter.
    """
    command = [ffmpeg(), "-v", "error", *RAW, "-i", "-", *H264, *AT_ONCE, *written, url]
    spawn = multiprocessing.get_context("spawn")
    mine, its = spawn.Pipe(duplex=False)
    sender = spawn.Process(target=_send, args=(command, film, count, its), daemon=True)
    sender.start()
    its.close()
    captured: list[float] = mine.recv()
    sender.join()
    return captured


def _send(command: Sequence[str], film: Path, count: int, captured: "Connection[list[float], None]") -> None:
    pictures = np.load(film, mmap_mode="r")
    times = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, pipesize=PIPE_BYTES) as writer:
        if writer.stdin is None:
            raise RuntimeError("no standard input")
        began = time.monotonic()
        for number in range(count):
            picture = pictures[number % len(pictures)].copy()
            stamp(picture, number)
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            times.append(time.monotonic())
            if not _written(writer.stdin, memoryview(picture).cast("B")):
                break
        time.sleep(SILENT_S / 2)  # the last ones arrive before the sender leaves
        writer.kill()  # a writer to zmq: would wait for readers
    captured.send(times)


def _written(pipe: IO[bytes], rest: memoryview) -> bool:
    """Whether all of it was written: not if the other side is gone, which has said why."""
    try:
        while rest:
            rest = rest[pipe.write(rest) or 0 :]
    except BrokenPipeError:
        return False
    return True


def wait_for_listener(url: str) -> None:
    """Waits until somebody on this machine listens at the port of a URL. Raises TimeoutError."""
    port = urlsplit(url).port
    deadline = time.monotonic() + READY_WITHIN_S
    while not any(each.laddr and each.laddr.port == port and not each.raddr for each in psutil.net_connections("inet")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody listens at {url}")
        time.sleep(0.05)


# Reading


def read_zmq(url: str) -> Seen:
    """The pictures of a PUB socket whose messages are access units of h264."""
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_type = "SLICE"  # frame threads hold frames back
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RECONNECT_IVL, 10)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(url.removeprefix("zmq:"))
        patience_s = READY_WITHIN_S
        while socket.poll(round(1e3 * patience_s)):
            patience_s = SILENT_S
            try:
                decoded = decoder.decode(av.Packet(b"".join(socket.recv_multipart())))
            except av.InvalidDataError:  # it came in the middle: a keyframe comes
                continue
            for frame in decoded:
                yield frame.to_ndarray(), time.monotonic()


def read_container(url: str, form: str, options: Mapping[str, str] | None = None) -> Seen:
    """The pictures that FFmpeg reads from a URL, until it is silent."""
    timeouts = READY_WITHIN_S, SILENT_S
    try:
        with closing(av.open(url, format=form, options=EAGER | dict(options or {}), timeout=timeouts)) as container:
            stream: Any = container.streams.video[0]
            stream.thread_type = "SLICE"
            for frame in container.decode(stream):
                yield frame.to_ndarray(), time.monotonic()
    except (OSError, av.FFmpegError):  # it has ended, or is silent
        return
