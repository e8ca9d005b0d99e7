"""Vandals: connections that say anything at all, beside a neighbour who must see nothing of it."""

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest
import zmq

from support.clips import frames
from support.daemon import Daemon, Wire, daemon
from warpaint.client.painting import Client
from warpaint.proto.messages import Ping
from warpaint.proto.wire import to_client

FUZZ_S = 20.0
SLOW_FUZZ_S = float(os.environ.get("WARPAINT_FUZZ_S", "600"))
VANDALS = 2
SIZE = (96, 64)
SIDES = (8, 16, 33, 64, 96)
VECTORS = Path(__file__).parents[2] / "proto" / "vectors"
# What the daemon and its painters may hold more at the end than after the first moments: allocators keep what they had
# at the worst moment, with all the sessions that the vandals may have at a time.
GROWTH_BYTES = 64 * 2**20
WARM_UP_S = 10.0
FLAGS = ("--max-sessions", "64", "--linger-s", "0.5", "--probe-s", "0.2", "--max-pixels", "20000")

Parts = list[bytes]


def vectors(name: str) -> list[Parts]:
    """The messages to the daemon in a file of test vectors."""
    read = json.loads((VECTORS / f"{name}.json").read_text())
    return [[_bytes(part) for part in each["parts_hex"]] for each in read if each["direction"] == "to_server"]


def _bytes(pieces: Any) -> bytes:
    if isinstance(pieces, str):
        return bytes.fromhex(pieces)
    return b"".join(
        bytes.fromhex(piece)
        if isinstance(piece, str)
        else bytes.fromhex(piece["repeat_hex"]) * min(piece["times"], 9_999)
        for piece in pieces
    )


class Vandal:
    """One connection after the other that says what comes to its mind. Its `complaint` is what the daemon did wrong."""

    def __init__(self, address: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.said = self.heard = 0
        self.complaint: BaseException | None = None
        self._address = address
        self._over = threading.Event()
        self._vectors = [*vectors("valid"), *vectors("invalid")]
        self._tokens = ["open sesame"]
        self._sizes: dict[int, tuple[int, int]] = {}
        self._context = zmq.Context()
        self._thread = threading.Thread(target=self._run, name=f"vandal {seed}")

    def __enter__(self) -> "Vandal":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._context.term()

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._connection()
        except BaseException as error:
            self.complaint = error

    def _connection(self) -> None:
        """Some hundreds of messages, with the answers taken now and then."""
        with self._context.socket(zmq.DEALER) as dealer:
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.setsockopt(zmq.SNDTIMEO, 20_000)
            dealer.connect(self._address)
            self._sizes.clear()
            for _ in range(self.rng.randint(5, 60)):
                if self._over.is_set():
                    return
                for _ in range(self.rng.randint(1, 20)):
                    dealer.send_multipart(self._words())
                    self.said += 1
                time.sleep(0.005)
                if self.rng.random() < 0.9:
                    self._take(dealer)

    def _take(self, dealer: "zmq.Socket[bytes]") -> None:
        """Whatever is said to a client can be read by one."""
        while dealer.poll(0):
            message = to_client(dealer.recv_multipart()).message
            self.heard += not isinstance(message, Ping)
            if (token := getattr(message, "token", None)) is not None:
                self._tokens = [*self._tokens[-9:], token]

    def _words(self) -> Parts:
        kind: Callable[[], Parts] = self.rng.choice(
            (self._garbage, self._mutated, self._valid, self._valid, self._valid)
        )
        return kind()

    def _garbage(self) -> Parts:
        return [self.rng.randbytes(self.rng.choice((0, 1, 7, 300, 70_000))) for _ in range(self.rng.randint(1, 7))]

    def _mutated(self) -> Parts:
        parts = [bytearray(part) for part in self.rng.choice(self._vectors)]
        for part in parts:
            for _ in range(self.rng.randint(0, 4) if part else 0):
                part[self.rng.randrange(len(part))] = self.rng.randrange(256)
            if self.rng.random() < 0.1:
                del part[self.rng.randrange(len(part) + 1) :]
        return [bytes(part) for part in parts] or [b""]

    def _valid(self) -> Parts:
        """A header that is one, mostly; its numbers are anything."""
        rng = self.rng
        kinds = ["open", "frame", "frame", "frame", "update", "rekey", "hold", "flush", "resume", "ack", "close"]
        kind = rng.choice([*kinds, "request_keyframe", "ping", "pong", "status"])
        header: dict[str, Any] = {"v": 1, "type": kind, "session": rng.randrange(4)}
        number = rng.choice((rng.randrange(30), rng.randrange(2**53), 0, -1, 2**53 - 1))
        header |= {
            "index": self.said if rng.random() < 0.8 else number,
            "pts": 40 * self.said if rng.random() < 0.8 else rng.choice((number, -number)),
            "request": self.said if rng.random() < 0.8 else number,
            "seq": number,
            "nonce": number,
            "on": rng.random() < 0.5,
            "discard": rng.random() < 0.5,
            "token": rng.choice(self._tokens) if rng.random() < 0.7 else str(number),
            "changes": rng.choice(({}, {"look": "ink"}, {"seed": number}, {"fade_s": rng.random()}, {"max_hops": 1})),
        }
        if kind == "open":
            header |= self._opening(header["session"])
        payloads = []
        if kind == "frame":
            width, height = self._sizes.get(header["session"], SIZE)
            size = width * height * 3 if rng.random() < 0.8 else rng.randrange(30_000)
            payloads = [rng.randbytes(size) if rng.random() < 0.5 else bytes(size)]
        return [msgpack.packb(header), *payloads]

    def _opening(self, session: int) -> dict[str, Any]:
        rng = self.rng
        size = rng.choice(SIDES), rng.choice(SIDES)
        self._sizes[session] = size
        encodings = ["raw"] * 6 + ["jpeg", "h264", "vp8"]
        return {
            "source": {
                "width": size[0],
                "height": size[1],
                "encoding": rng.choice(encodings),
                "time_base": rng.choice(([1, 1000], [1001, 30_000], [2**53 - 1, 1], [1, 2**53 - 1])),
                "rotation": rng.choice((0, 90, 180, 270)),
                "rate": rng.choice((None, 1, 15)),
            },
            "result": {"encoding": rng.choice(encodings)},
            "brief": {"look": rng.choice(("poster", None)), "when_unpainted": rng.choice(("raw", "held"))},
            "painter": rng.choice(("filters", "identity", None, "monet")),
            "flow": rng.choice(("dis", "dis", "none", None)),
            "pacing": rng.choice(("every", "live")),
            "max_delay_ms": rng.choice((1, 100, 60_000)),
            "linger_s": rng.choice((None, 0, 1, 86_400)),
            "maps": rng.choice(([], ["flow", "holes"], ["hops", "confidence"])),
        }


def held(running: Daemon) -> int:
    """Memory of the daemon and its painters, bytes."""
    process = psutil.Process(running.process.pid)
    return sum(each.memory_info().rss for each in (process, *process.children()))


def settled(running: Daemon) -> bool:
    """Whether all sessions have ended."""
    deadline = time.monotonic() + 20.0
    with Wire(running.address) as wire:
        while wire.status().sessions:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("daemon"), *FLAGS) as made:
        yield made


@pytest.mark.parametrize(
    "for_s",
    [
        pytest.param(FUZZ_S, marks=pytest.mark.timeout(FUZZ_S + 120)),
        pytest.param(SLOW_FUZZ_S, marks=[pytest.mark.slow, pytest.mark.timeout(SLOW_FUZZ_S + 120)]),
    ],
    ids=["short", "long"],
)
def test_whatever_others_say_the_daemon_lives_and_a_neighbour_gets_the_same_bits(
    running: Daemon, for_s: float, request: pytest.FixtureRequest
) -> None:
    clip = list(frames("bikes", SIZE, stop=20))

    def painted() -> list[bytes]:
        with Client(running.address) as client, client.session(look="poster") as session:
            return [each.image.tobytes() for each in session.paint(clip)]

    undisturbed = painted()
    began, before, rounds = time.monotonic(), 0, 0
    with ExitStack() as held_open:
        vandals = [held_open.enter_context(Vandal(running.address, seed)) for seed in range(VANDALS)]
        while time.monotonic() < began + for_s:
            assert painted() == undisturbed
            assert running.alive
            rounds += 1
            if not before and time.monotonic() > began + WARM_UP_S:
                before = held(running)
    assert [each.complaint for each in vandals] == [None] * VANDALS
    assert painted() == undisturbed
    assert settled(running)
    grown = held(running) - before
    said, heard = (sum(getattr(each, name) for each in vandals) for name in ("said", "heard"))
    print(f"{said} messages, {heard} answers, {rounds} films in {for_s:g} s; {grown / 2**20:+.1f} MiB")
    assert min(said, heard) > 100
    assert before
    assert grown < GROWTH_BYTES
    assert "Traceback" not in running.log.read_text()
