"""A long run: live sessions whose clients break off and come back. Nothing grows, and each frame is accounted for."""

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from support.clips import frames
from support.daemon import Daemon, Wire, daemon
from support.proxy import Proxy
from warpaint.client.painting import Client, Session

SOAK_S = float(os.environ.get("WARPAINT_SOAK_S", "1800"))
SESSIONS = 2
SIZE = (192, 112)
RATE = 15.0
SAMPLE_S = 1.0
LOOKS = ("poster", "ink", "pencil", "strokes")
# What the second half may hold more than the first one, on the whole: what is less is noise of allocators.
GROWTH_BYTES = 16 * 2**20
# Descriptors that come and go with connections: a session's lost one may be seen beside its new one.
COMING_AND_GOING = 4 * SESSIONS


@dataclass
class Usage:
    """What a daemon and its painters hold at a time."""

    resident_bytes: int
    threads: int
    descriptors: int
    shared: int  # entries of /dev/shm

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Of the daemon with this process."""
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return cls(
            sum(each.memory_info().rss for each in family),
            sum(each.num_threads() for each in family),
            sum(each.num_fds() for each in family),
            sum(1 for _ in Path("/dev/shm").iterdir()),
        )


@dataclass
class Shooting:
    """A camera before a connection that breaks, in a thread of its own."""

    port: int
    seed: int
    clip: Sequence[NDArray[np.uint8]]
    until: float
    pushed: int = 0
    results: int = 0
    dropped: int = 0
    breaks: int = 0
    totals: Any = None
    trouble: BaseException | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=f"camera {self.seed}")
        self.thread.start()

    def _run(self) -> None:
        try:
            with Proxy(self.port) as proxy, Client(proxy.address) as client:
                fields: dict[str, Any] = {"pacing": "live", "painter": "filters", "max_delay_ms": 1_000.0}
                with client.session(look=LOOKS[0], rate=RATE, **fields) as session:
                    self._shoot(proxy, client, session)
                    self.results += sum(1 for _ in session.results())
                self.dropped = sum(session.dropped.values())
                self.totals = session.totals
        except BaseException as error:
            self.trouble = error

    def _shoot(self, proxy: Proxy, client: Client, session: Session) -> None:
        rng = random.Random(self.seed)
        number = 0
        while time.monotonic() < self.until:
            due = time.monotonic() + 1 / RATE
            session.push(self.clip[number % len(self.clip)], round(1e3 * number / RATE))
            self.pushed += 1
            number += 1
            while (left := due - time.monotonic()) > 0:
                client.wait(timeout_s=left)
            self.results += sum(1 for _ in session.results(wait=False))
            if rng.random() < 1 / (4 * RATE):  # every four seconds
                self.breaks += 1
                rng.choice((proxy.cut, proxy.cut, lambda: _away(proxy, rng.uniform(0.1, 2.0))))()
            elif rng.random() < 1 / (5 * RATE):
                _whim(session, rng)


def _away(proxy: Proxy, for_s: float) -> None:
    """The connection carries nothing more for a while, and is then found to be gone."""
    proxy.stall()
    time.sleep(for_s)
    proxy.cut()


def _whim(session: Session, rng: random.Random) -> None:
    """Something that somebody who looks on wishes."""
    wishes: list[Callable[[], int]] = [
        lambda: session.update(look=rng.choice(LOOKS), seed=rng.randrange(100)),
        session.rekey,
        lambda: session.hold(rng.random() < 0.3),
    ]
    rng.choice(wishes)()


def halves(samples: Sequence[Usage], name: str) -> tuple[float, float]:
    """The medians of the two halves of the run, after its first quarter."""
    values = [getattr(each, name) for each in samples][len(samples) // 4 :]
    middle = len(values) // 2
    return float(np.median(values[:middle])), float(np.median(values[middle:]))


def soaked(running: Daemon, cameras: Sequence[Shooting]) -> list[Usage]:
    """Samples until all cameras are done."""
    samples = []
    while any(each.thread.is_alive() for each in cameras):
        samples.append(Usage.of(running.process.pid))
        time.sleep(SAMPLE_S)
    return samples


@pytest.mark.slow
@pytest.mark.timeout(SOAK_S + 300)
def test_nothing_grows_and_every_frame_is_accounted_for(tmp_path: Path) -> None:
    binds = [f"ipc://{tmp_path}/warpaint.sock", "tcp://127.0.0.1:*"]
    state = ("--state-dir", str(tmp_path / "state"), "--snapshot-s", "2", "--probe-s", "0.5")
    clip = list(frames("bikes", SIZE, stop=120))
    with daemon(tmp_path, *state, binds=binds) as running:
        port, until = int(running.addresses[1].rpartition(":")[2]), time.monotonic() + SOAK_S
        cameras = [Shooting(port, seed, clip, until) for seed in range(SESSIONS)]
        samples = soaked(running, cameras)
        for each in cameras:
            if each.trouble is not None:
                raise each.trouble
            totals = each.totals
            print(f"{each.pushed} frames: {each.results} results, {each.dropped} drops, {each.breaks} breaks; {totals}")
            assert each.pushed == each.results + each.dropped
            assert totals.received == totals.painted + totals.dropped + totals.failed
            assert each.results <= totals.painted
            assert each.breaks
        for name in ("resident_bytes", "threads", "descriptors", "shared"):
            print(f"{name}: {samples[0]} to {samples[-1]}; medians of the halves: {halves(samples, name)}")
        first, second = halves(samples, "resident_bytes")
        assert second - first < GROWTH_BYTES
        for name, allowed in (("threads", 0), ("descriptors", COMING_AND_GOING), ("shared", 0)):
            first, second = halves(samples, name)
            assert second - first <= allowed, name
        with Wire(running.address) as wire:
            assert wire.status().sessions == ()
        assert list((tmp_path / "state").iterdir()) == []
        assert "Traceback" not in running.log.read_text()
