"""The sockets of a connection, as both shells use them: nothing here waits.

That a connection came or went is seen through the socket's monitor. A lost one gets a new socket, which ZeroMQ connects
by itself, trying again with growing pauses. It is not left to the old socket, although that would connect anew too:

- it keeps what was queued for the lost connection, and sends it on the new one, before any `resume`, with a hole where
  messages were on their way;
- ZMQ_IMMEDIATE, which drops that queue, may drop what came and was not yet read as well: the last results of a daemon
  that stops, and its word that it does.
"""

import os
import socket
import time
from collections.abc import Callable

import zmq
from zmq.utils.monitor import parse_monitor_message

from ..proto.address import default_address
from .connection import Connection, Steps
from .errors import DaemonGone

# Kernel buffers of a tcp connection, bytes; parts below which a copy is cheaper than keeping track.
SOCKET_BUFFER = 4 * 1024 * 1024
COPY_BELOW = 64 * 1024
# From one attempt to connect to the next, milliseconds: at first a blink, as most losses are a matter of moments; then
# twice as long each time, up to what is no wait beside that for a daemon to start, which takes most of a second. An
# attempt costs next to nothing: daemons are on this machine, or at the near end of a tunnel.
RECONNECT_MS = 50
LONGEST_RECONNECT_MS = 200
# ZeroMQ asks the other end now and then whether it is there, milliseconds: a cable that is pulled tells nobody. It
# answers whatever the daemon does; together they are shorter than PATIENCE_S, so that this is a loss, not the end.
HEARTBEAT_MS = 2_000
HEARTBEAT_TIMEOUT_MS = 5_000
# How long the last words, which end the sessions, may take when the client closes, milliseconds.
LAST_WORDS_MS = 1_000

CAME_AND_WENT = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED


class Link:
    """Owner of the sockets, and of the Connection that they serve. Raises DaemonGone for what is no address.

    watch, unwatch: told the descriptor of each socket that is made, and that is about to be closed.
    """

    def __init__(self, address: str | None, reconnect_s: float | None) -> None:
        self.address = address or default_address(os.environ, os.getuid())
        self.connection = Connection(self.address, time.monotonic(), reconnect_s=reconnect_s)
        self.watch: Callable[[int], object] = _look_away
        self.unwatch: Callable[[int], object] = _look_away
        self.closed = False
        self._context = zmq.Context()
        try:
            self._connect()
        except zmq.ZMQError as error:
            self.close()
            raise DaemonGone(f"{self.address!r} is no address to connect to: {error.strerror}") from error

    @property
    def descriptors(self) -> list[int]:
        """Of the sockets there are; readable when `pump` has something to do."""
        return [int(each.getsockopt(zmq.FD)) for each in (self.socket, self.monitor)]

    def hang_up(self) -> None:
        """Ends the sessions, as far as that can still be said, and lets go of the sockets. Does not wait."""
        if self.closed:
            return
        self.connection.abandon_all()
        self._flush()
        self._disconnect(LAST_WORDS_MS)
        self.closed = True
        self.connection.end("the client is closed")

    def close(self) -> None:
        """Hangs up, and waits for the last words to leave."""
        self.hang_up()
        self._context.term()

    def _connect(self) -> None:
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, LONGEST_RECONNECT_MS)
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self.socket.setsockopt(zmq.SNDBUF, SOCKET_BUFFER)
        self.socket.setsockopt(zmq.RCVBUF, SOCKET_BUFFER)
        self.socket.copy_threshold = COPY_BELOW
        self.monitor = self.socket.get_monitor_socket(CAME_AND_WENT)
        self.socket.connect(self.address)
        for each in self.descriptors:
            self.watch(each)

    def _disconnect(self, linger_ms: int) -> None:
        for each in self.descriptors:
            self.unwatch(each)
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms)

    def pump(self) -> bool:
        """Takes all that is there, and sends what there is to say. Whether anything came.

        Afterwards nothing is there: whoever waits for the sockets' descriptors is woken for what is new alone.
        """
        if self.closed:
            raise DaemonGone("the client is closed")
        came = False
        while True:
            came |= self._take_all()
            self.connection.tick(time.monotonic())
            self.connection.settle()
            self._flush()
            events = int(self.socket.getsockopt(zmq.EVENTS))  # sending may have used up the word that more is there
            if not events & zmq.POLLIN and not (self.connection.outbox and events & zmq.POLLOUT):
                return came

    def _flush(self) -> None:
        """Sends what there is to say, as far as ZeroMQ takes it."""
        outbox = self.connection.outbox
        while outbox:
            message = outbox[0]
            try:
                self.socket.send_multipart([message.header, *message.payloads], zmq.NOBLOCK, copy=not message.payloads)
            except zmq.Again:
                return
            outbox.popleft()

    def pinging(self, timeout_s: float, *, may_be_starting: bool) -> Steps[None]:
        """Until the daemon has answered. Raises DaemonGone after timeout_s, or at once where nobody listens."""
        if not may_be_starting and _nobody_listens(self.address):
            raise DaemonGone(f"no daemon answers at {self.address}")
        yield from self.connection.pinged(timeout_s)

    def _take_all(self) -> bool:
        """Messages, then word of connections: so `resume` names the last answer that the old one brought."""
        came = False
        while self._receive() or self._notice():
            came = True
        return came

    def _receive(self) -> bool:
        try:
            parts = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        self.connection.receive([part.buffer for part in parts], time.monotonic())
        return True

    def _notice(self) -> bool:
        """Takes word of a connection that came or went."""
        try:
            parts = self.monitor.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        if parse_monitor_message(parts)["event"] == zmq.Event.HANDSHAKE_SUCCEEDED:
            self.connection.connected(time.monotonic())
            return True
        stood = self.connection.up
        self.connection.lost(time.monotonic())
        if stood:  # one that never came about is ZeroMQ's to try again: it has grown the pause already
            self._disconnect(0)
            self._connect()
        return True


def _look_away(_: int) -> None:
    """For shells that poll."""


def _nobody_listens(address: str) -> bool:
    """Whether it is known at once that there is no daemon: ZeroMQ would try a missing socket again and again."""
    if not address.startswith("ipc:///"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address.removeprefix("ipc://"))
        except (FileNotFoundError, ConnectionRefusedError):
            return True
    return False
