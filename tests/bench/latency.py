"""How much later a painted picture is seen than the raw one would be: live, 1280x720, 30 a second.

A picture has a number stamped into it, and is timed from just before it is written to ffmpeg, or pushed by a client, to
when it is decoded again. Beside each route through Warpaint is the same without: what the sender sends, read at once.
"""

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from bench.camera import Footage, Take, filmed
from bench.streams import (
    HEIGHT,
    RATE,
    READY_WITHIN_S,
    WIDTH,
    Films,
    Seen,
    ffmpeg,
    read_container,
    read_zmq,
    sent,
    wait_for_listener,
)
from support.bridge import WARPAINT, RunningBridge, free_port
from support.corner_stamps import read_stamp
from support.daemon import daemon

FRAME_MS = 1e3 / RATE
# By then a bridge has found the canvas that this machine can paint in time.
WARM_UP_S, MEASURED_S = 10.0, 10.0
# The canvas of the clients, pixels: one that two cores can paint in time. Bridges find theirs by themselves.
CLIENTS_PIXELS = 640 * 360
WARM_UP, FRAMES = round(WARM_UP_S * RATE), round((WARM_UP_S + MEASURED_S) * RATE)
AIM_FRAMES = 1.5  # that Warpaint adds, at the median and at the percentiles
# A session is let in on a machine that has other work too, and what is late is seen late and not dropped.
MAX_DELAY_MS = "1000"

DRIVERS, CLIENTS = Path(__file__).parent / "drivers", Path(__file__).parents[2] / "client"
# Programs are built, and fetched by npm, within this; and have ended so long after they have filmed, seconds.
BUILT_WITHIN_S, ENDED_WITHIN_S = 120.0, 30.0
NODE_NEEDS, C_NEEDS = "apt-get install nodejs npm", "apt-get install gcc make libzmq3-dev libmsgpack-dev"

NOTES = (
    "Three figures are p50/p95/p99; of what is added, the differences of these.",
    f"Bridges and clients: pacing `live`, painter `identity`, flow `dis`, max_delay_ms {MAX_DELAY_MS}, else defaults.",
    "The pictures are painted at the size that is said, which for bridges is what they found, and enlarged again.",
    "Without: the sender's stream, read at once. Of clients that is nothing: the picture is there already. JPEGs are "
    "coded before they are pushed, and not decoded.",
    f"{WARM_UP_S:g} s to warm up, {MEASURED_S:g} s measured. Unread: a picture that shows no number that is new.",
    f"*: short of the aim, which is to add no more than {AIM_FRAMES} frames.",
)


@dataclass
class Timing:
    """What became of the measured frames: delays by number, ms, and how many pictures showed no number that was new."""

    delays_ms: dict[int, float] = field(default_factory=dict)
    unread: int = 0
    why: str = "nothing came"
    canvas: str = f"{WIDTH}x{HEIGHT}"

    def add(self, number: int, captured_s: float, seen_s: float) -> None:
        """Adds a frame, if it is one of those that are measured."""
        if number >= WARM_UP:
            self.delays_ms[number] = 1e3 * (seen_s - captured_s)

    @property
    def delivered(self) -> str:
        """The share of the frames, in words."""
        share = f"{100 * len(self.delays_ms) / (FRAMES - WARM_UP):.0f} %"
        return f"{share}, {self.unread} unread" if self.unread else share

    @property
    def percentiles(self) -> NDArray[np.float64]:
        """p50, p95 and p99, ms. Raises ValueError if nothing came, with the reason."""
        if not self.delays_ms:
            raise ValueError(self.why)
        return np.percentile(list(self.delays_ms.values()), [50, 95, 99])


def run() -> Table:
    """Delays by route, with and without Warpaint, and what it adds, beside the aim."""
    columns = ("route", "ms", "delivered", "without, ms", "delivered", "adds, ms", "adds, frames")
    title = f"Latency: from capture to the decoded picture, {WIDTH}x{HEIGHT}, {RATE:g} a second"
    table = Table(*columns, title=title, caption_justify="left")
    machine = _machine()
    with tempfile.TemporaryDirectory() as name:
        folder, films = Path(name), Films(Path(name))
        with daemon(folder, "--painters", "identity", "--log-level", "warning") as running:
            for route in ROUTES:
                with_us = _bridged(route, films, running.address)
                table.add_row(f"{route.name}, {with_us.canvas}", *_cells(with_us, _direct(route, films)))
        table.add_section()
        flags = ("--painters", "identity", "--log-level", "warning", "--max-pixels", str(CLIENTS_PIXELS))
        with daemon(folder, *flags) as running:
            footage = _footage(films, running.address)
            canvas = "x".join(map(str, footage.canvas or ()))
            table.add_row(f"Python, raw, {canvas}", *_cells(_of_footage(footage)))
            for language, program in (("Node", _node), ("C", _c)):
                for encoding in ("raw", "jpeg"):
                    cells = _filmed_by(program, films, running.address, encoding)
                    table.add_row(f"{language}, {encoding}, {canvas}", *cells)
    load = f"Load average {os.getloadavg()[0]:.1f} at the end, with what the bench itself does."
    table.caption = "\n".join([machine, load, _daemons_work(footage), *NOTES])
    return table


def _machine() -> str:
    said = subprocess.run([ffmpeg(), "-version"], capture_output=True, text=True, check=True).stdout.split()
    load = f"load average {os.getloadavg()[0]:.1f} at the start"
    return (
        f"{os.cpu_count()} cores, {load}, ffmpeg {said[2]}, PyAV {av.__version__} with FFmpeg {av.ffmpeg_version_info}."
    )


def _daemons_work(footage: Footage) -> str:
    """What it did with the Python client's frames."""
    if not footage.results:
        return f"The daemon, to the Python client: {footage.refused}."
    seen = Counter(info.provenance.value for _, info in footage.results)
    shares = ", ".join(f"{name} {100 * count / seen.total():.0f} %" for name, count in seen.most_common())
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in footage.stages_ms().items() if ms >= 0.05)
    delays = _triple(np.percentile(footage.delays_ms, [50, 95, 99]))
    canvas = "x".join(map(str, footage.canvas or ()))
    where = f"Canvas {canvas}; {shares} of the frames."
    return f"The daemon's part, of the Python client: {delays} ms; on average {stages}. {where}"


def _cells(with_us: Timing, without: Timing | None = None) -> list[str]:
    """without: None: nothing, which takes no time."""
    try:
        base = np.zeros(3) if without is None else without.percentiles
        adds = with_us.percentiles - base
    except ValueError as error:
        return [str(error)]
    shares = "/".join(f"{each:.1f}{'*' if each > AIM_FRAMES else ''}" for each in adds / FRAME_MS)
    beside = ["0", ""] if without is None else [_triple(base), without.delivered]
    return [_triple(with_us.percentiles), with_us.delivered, *beside, _triple(adds), shares]


def _triple(values: NDArray[np.float64]) -> str:
    return "/".join(f"{each:.0f}" for each in values)


# Between ffmpeg and a reader


@dataclass(frozen=True)
class Route:
    """URLs whose port is left open. written: what ffmpeg is told of its output; flags: of the bridge.

    read and read_directly: the pictures at the target, and at the source.
    """

    name: str
    source: str
    written: Sequence[str]
    target: str
    flags: Sequence[str]
    read: Callable[[str], Seen]
    read_directly: Callable[[str], Seen]


def _read_udp(url: str) -> Seen:
    return read_container(url, "mpegts", {"fifo_size": "100000", "overrun_nonfatal": "1"})


ZMQ, UDP = "zmq:tcp://127.0.0.1:{}", "udp://127.0.0.1:{}"
ROUTES = (
    Route(
        "zmq h264",
        *(ZMQ, ("-f", "h264", "-pkt_size", "2000000")),
        *(ZMQ, ("--in-format", "h264", "--out-format", "h264")),
        *(read_zmq, read_zmq),
    ),
    Route(
        "rtmp to tcp nut",
        *("rtmp://127.0.0.1:{}/live/key", ("-f", "flv")),
        *("tcp://127.0.0.1:{}?listen=1", ("--out-format", "nut")),
        lambda url: read_container(url.removesuffix("?listen=1"), "nut"),
        lambda url: read_container(url, "flv", {"listen": "1"}),
    ),
    Route(
        "udp mpegts",
        *(UDP, ("-f", "mpegts", "-omit_video_pes_length", "0")),
        *(UDP, ()),
        *(_read_udp, _read_udp),
    ),
)


def _bridged(route: Route, films: Films, address: str) -> Timing:
    source, target = route.source.format(free_port()), route.target.format(free_port())
    flags = ("--daemon", address, "--painter", "identity", "--max-delay-ms", MAX_DELAY_MS, *route.flags)
    log = films.folder / "bridge.log"
    with log.open("w") as errors:
        process = subprocess.Popen([WARPAINT, "bridge", source, target, *flags], stderr=errors)
    bridge = RunningBridge(process, log)
    try:
        bridge.says("bridging")
        timing = _timed(route, source, route.read(target), films)
        code, said = bridge.stop()
    finally:
        process.kill()
    if code:
        return Timing(why=said.strip().splitlines()[-1])
    for found in re.findall(r"it is painted at (\d+x\d+)", said):
        timing.canvas = found
    return timing


def _direct(route: Route, films: Films) -> Timing:
    source = route.source.format(free_port())
    return _timed(route, source, route.read_directly(source), films)


def _timed(route: Route, source: str, seen: Seen, films: Films) -> Timing:
    """Films, and reads what comes; the reader is there first."""
    came: list[tuple[int | None, float]] = []
    reading = threading.Thread(target=lambda: came.extend((read_stamp(each[:HEIGHT]), at) for each, at in seen))
    reading.start()
    if not source.startswith("zmq:"):  # there the sender listens
        wait_for_listener(source)
    captured = sent(source, route.written, films.planes(), FRAMES)
    reading.join(READY_WITHIN_S)
    return _read(came, captured)


def _read(came: Iterable[tuple[int | None, float]], captured: Sequence[float]) -> Timing:
    timing, last = Timing(), -1
    for number, at in came:
        if number is not None and last < number < len(captured):
            timing.add(number, captured[number], at)
            last = number
        elif last >= WARM_UP:
            timing.unread += 1
    return timing


# Clients: which frame a result is of, they are told


def _footage(films: Films, address: str) -> Footage:
    seconds, max_delay_ms = WARM_UP_S + MEASURED_S, float(MAX_DELAY_MS)
    [footage] = filmed([Take(address, films.pictures(), seconds, RATE, announced=False, max_delay_ms=max_delay_ms)])
    return footage


def _of_footage(footage: Footage) -> Timing:
    timing = Timing(why=footage.refused or "nothing came")
    for at, info in footage.results:
        timing.add(info.index, footage.pushed_at[info.index], at)
    return timing


def _filmed_by(program: Callable[[Path], Sequence[str]], films: Films, address: str, encoding: str) -> list[str]:
    """The cells of a client of another language; or what is missing."""
    try:
        command = [*program(films.folder), address, str(films.payloads(encoding)), encoding]
    except FileNotFoundError as error:
        return [str(error)]
    numbers = (WIDTH, HEIGHT, f"{RATE:g}", FRAMES, MAX_DELAY_MS)
    command += map(str, numbers)
    done = subprocess.run(command, capture_output=True, text=True, timeout=WARM_UP_S + MEASURED_S + ENDED_WITHIN_S)
    if done.returncode:
        return [done.stderr.strip()]
    timing = Timing()
    for line in done.stdout.splitlines():
        index, pushed_ms, came_ms = line.split()
        timing.add(int(index), float(pushed_ms) / 1e3, float(came_ms) / 1e3)
    return _cells(timing)


def _node(folder: Path) -> Sequence[str]:
    """The driver for Node. Raises FileNotFoundError, with what is missing."""
    node, npm = _program("node", NODE_NEEDS), _program("npm", NODE_NEEDS)
    package = folder / "node"
    if not package.exists():
        shutil.copytree(CLIENTS / "node", package, ignore=shutil.ignore_patterns("node_modules"))
        shutil.copy(DRIVERS / "latency.js", package)
        fetched = subprocess.run([npm, "ci", "--silent", "--prefer-offline"], cwd=package, timeout=BUILT_WITHIN_S)
        if fetched.returncode:
            raise FileNotFoundError("what npm ci fetches is missing")
    return [node, str(package / "latency.js")]


def _c(folder: Path) -> Sequence[str]:
    """The driver for C. Raises FileNotFoundError, with what is missing."""
    make, compiler = _program("make", C_NEEDS), _program("cc", C_NEEDS)
    built = folder / "c"
    if not (built / "latency").exists():
        library = built / "libwarpaint.a"
        source, libraries = DRIVERS / "latency.c", ("-lzmq", "-lmsgpackc", "-lm")
        compiled = [compiler, "-O2", f"-I{CLIENTS / 'c'}", source, library, *libraries, "-o", built / "latency"]
        for command in ([make, "--silent", "-C", CLIENTS / "c", f"BUILD={built}", library], compiled):
            if subprocess.run(list(map(str, command)), timeout=BUILT_WITHIN_S).returncode:
                raise FileNotFoundError(f"it does not compile; is all there? {C_NEEDS}")
    return [str(built / "latency")]


def _program(name: str, install: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is missing: {install}")
    return path
