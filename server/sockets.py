"""The daemon's socket: how it is made, and where it may be bound."""

import os
import socket
from pathlib import Path

import zmq

from ..proto.limits import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES

# Messages that ZeroMQ itself keeps for a client that does not read. Small: a frame of 1280x720 is 2.7 MB.
SEND_HIGH_WATER = 16
# Messages that ZeroMQ keeps for us; a client that overruns its window is told so as soon as we come to it.
RECEIVE_HIGH_WATER = 64
# Kernel buffers of a tcp connection, bytes: one raw frame fits; measured to double the rate on loopback.
SOCKET_BUFFER = 4 * 1024 * 1024
# Parts from this size up are sent without a copy: below, keeping track costs more than copying.
COPY_BELOW = 64 * 1024
# From so many probes that the other end of a tcp connection does not answer, it is lost. The kernel asks, not ZeroMQ:
# its own heartbeat (HEARTBEAT_IVL) ends the process (`Assertion failed: !_io_error`) where a connection breaks while
# more waits to be read than RECEIVE_HIGH_WATER. An ipc connection needs neither.
LOST_PROBES = 3
# How long what is left to say may take to reach the clients when the daemon ends, milliseconds.
LINGER_MS = 2_000


def make_router(context: "zmq.Context[zmq.Socket[bytes]]", *, probe_s: float) -> "zmq.Socket[bytes]":
    """A ROUTER with its bounds set, not yet bound. probe_s: how often a silent tcp connection is asked about."""
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    router.setsockopt(zmq.ROUTER_HANDOVER, 1)
    router.setsockopt(zmq.SNDHWM, SEND_HIGH_WATER)
    router.setsockopt(zmq.RCVHWM, RECEIVE_HIGH_WATER)
    router.setsockopt(zmq.SNDBUF, SOCKET_BUFFER)
    router.setsockopt(zmq.RCVBUF, SOCKET_BUFFER)
    router.setsockopt(zmq.MAXMSGSIZE, MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES)
    router.setsockopt(zmq.TCP_KEEPALIVE, 1)
    router.setsockopt(zmq.TCP_KEEPALIVE_IDLE, max(1, round(probe_s)))
    router.setsockopt(zmq.TCP_KEEPALIVE_INTVL, max(1, round(probe_s)))
    router.setsockopt(zmq.TCP_KEEPALIVE_CNT, LOST_PROBES)
    router.setsockopt(zmq.LINGER, LINGER_MS)
    router.copy_threshold = COPY_BELOW
    return router


def bound(router: "zmq.Socket[bytes]", address: str) -> str:
    """Binds an address and gives it back with the port that was chosen. Raises OSError that names it."""
    if address.startswith("ipc:///"):
        _make_room(Path(address.removeprefix("ipc://")))
    try:
        router.bind(address)
    except zmq.ZMQError as error:
        raise OSError(f"cannot listen on {address}: {error.strerror or error}; is another daemon running?") from error
    return router.getsockopt_string(zmq.LAST_ENDPOINT)


def _make_room(path: Path) -> None:
    """Makes the folder of an ipc socket, for this user alone, and takes away a socket that nobody listens on."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid not in (0, os.getuid()):  # root's, as /tmp is, keep others' hands off what is ours
        raise OSError(f"cannot listen on ipc://{path}: the folder belongs to another user")
    if not os.path.lexists(path):
        return
    if not path.is_socket():  # ZeroMQ would delete it
        raise OSError(f"cannot listen on ipc://{path}: there is something there that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
        else:
            raise OSError(f"cannot listen on ipc://{path}: another daemon is running there")
