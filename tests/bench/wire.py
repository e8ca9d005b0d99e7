"""What the wire costs: 1280x720 raw frames through the daemon, beside a bare ZeroMQ echo of the same bytes.

Painting, flow and detection are off; the painter `identity` gives each frame in a fresh buffer.
"""

import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import zmq
from rich.table import Table

from support.bridge import free_port
from support.daemon import daemon
from warpaint.client.link import SOCKET_BUFFER
from warpaint.client.painting import Client
from warpaint.proto.messages import Source

SIZE = (1280, 720)
WINDOW = 8
FRAMES = 600
WARM_UP = 50
ROUNDS = 3  # both are measured in turn, so that a busy moment meets both
AIM = 0.6


def run() -> Table:
    """Frames a second of both, and the ratio."""
    table = Table(
        "transport", "echo, frames/s", "daemon, frames/s", "ratio", "aim", title="Wire: 1280x720 bgr24, window 8"
    )
    with tempfile.TemporaryDirectory() as folder:
        for transport in ("ipc", "tcp"):
            pairs = [(_echo(transport, folder), _daemon(transport, Path(folder))) for _ in range(ROUNDS)]
            echo, ours = (float(np.median(each)) for each in zip(*pairs, strict=True))
            table.add_row(transport, f"{echo:.0f}", f"{ours:.0f}", f"{ours / echo:.2f}", f"{AIM}")
    return table


def _daemon(transport: str, folder: Path) -> float:
    binds = ["tcp://127.0.0.1:*"] if transport == "tcp" else []
    flags = ("--painters", "identity", "--flows", "none", "--log-level", "warning")
    with daemon(folder, *flags, binds=binds) as running, Client(running.address) as client:
        source = Source(width=SIZE[0], height=SIZE[1])
        frame = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        with client.session(source=source) as session:
            began, received = 0.0, 0
            for index in range(FRAMES + WARM_UP):
                session.push(frame, index)
                received += sum(1 for _ in session.results(wait=False))
                if index == WARM_UP:
                    began, before = time.perf_counter(), received
            received += sum(1 for _ in session.results())
            return (received - before) / (time.perf_counter() - began)


def _echo(transport: str, folder: str) -> float:
    """The same number of bytes there and back, between two processes, with nothing in between."""
    spawn = multiprocessing.get_context("spawn")
    address = f"ipc://{folder}/echo.sock" if transport == "ipc" else f"tcp://127.0.0.1:{free_port()}"
    ready = spawn.Event()
    server = spawn.Process(target=_serve_echo, args=(address, FRAMES + WARM_UP, ready))
    server.start()
    ready.wait()
    context = zmq.Context()
    socket = _tuned(context.socket(zmq.DEALER))
    socket.connect(address)
    payload = bytes(SIZE[0] * SIZE[1] * 3)
    sent = received = 0
    began = 0.0
    while received < FRAMES + WARM_UP:
        while sent < FRAMES + WARM_UP and sent - received < WINDOW:
            socket.send_multipart([b"header", payload], copy=False)
            sent += 1
        socket.recv_multipart(copy=False)
        received += 1
        if received == WARM_UP:
            began = time.perf_counter()
    rate = FRAMES / (time.perf_counter() - began)
    socket.close()
    context.term()
    server.join()
    return rate


def _serve_echo(address: str, count: int, ready: Event) -> None:
    context = zmq.Context()
    socket = _tuned(context.socket(zmq.ROUTER))
    socket.bind(address)
    ready.set()
    for _ in range(count):
        socket.send_multipart(socket.recv_multipart(copy=False), copy=False)
    socket.close(linger=5000)
    context.term()


def _tuned(socket: "zmq.Socket[bytes]") -> "zmq.Socket[bytes]":
    socket.setsockopt(zmq.SNDBUF, SOCKET_BUFFER)
    socket.setsockopt(zmq.RCVBUF, SOCKET_BUFFER)
    return socket
