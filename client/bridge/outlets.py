"""Where the bytes of a bridge's output go: ZeroMQ, TCP, UDP, pipes and files. One owner for each socket.

An outlet takes coded packets and never waits. Behind it are lanes, one for each reader that can be told from others.
"""

import contextlib
import io
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import zmq

from ..errors import MediaError
from ..film.media import reason
from .lane import Lane
from .parts import Coded, Form
from .transports import bound, kept_alive
from .urls import Url

# ffmpeg's zmq reader cuts off what is longer than 131072 bytes. This is below it, and a multiple of MPEG-TS's 188.
ZMQ_PIECE = 65_424
# Messages that wait for a subscriber, at most: each is a packet, and this is two seconds of picture and sound.
ZMQ_WAITING = 160
# Seven packets of MPEG-TS: what fits an Ethernet frame, as all senders cut it.
DATAGRAM = 1_316
# How long a lane may take for what waits when the bridge ends, seconds.
LAST_WORDS_S = 2.0
# Readers of a listener at once, at most: each costs a thread.
MOST_READERS = 32

Say = Callable[[str], None]


class Outlet(Protocol):
    """Takes coded packets for whoever reads."""

    def put(self, coded: Coded) -> None:
        """Takes one; never waits."""

    def check(self) -> None:
        """Raises MediaError when nobody can read any more."""

    def close(self) -> None:
        """Writes what waits, for a moment, and ends."""

    @property
    def dropped(self) -> int:
        """Packets that readers were too slow for."""


def outlet_for(url: Url, form: Form, *, wants_key: Callable[[], None], say: Say) -> Outlet:
    """The outlet of a URL; a listener listens when this returns. Raises MediaError."""
    if url.scheme == "tcp":
        return TcpOutlet(url, wants_key=wants_key, say=say)
    if url.scheme == "zmq":
        return LaneOutlet(ZmqWire(url, wants_key), wants_key=wants_key, say=say)
    if url.scheme == "udp":
        if form != "mpegts":
            raise MediaError(f"{url}: datagrams carry mpegts, not {form}")
        return LaneOutlet(UdpWire(url), wants_key=wants_key, say=say)
    return LaneOutlet(FileWire(url), wants_key=wants_key, say=say)


class LaneOutlet:
    """An outlet with one lane."""

    def __init__(self, wire: "ZmqWire | UdpWire | FileWire", *, wants_key: Callable[[], None], say: Say) -> None:
        self._lane = Lane(wire, wants_key=wants_key, say=say)

    def put(self, coded: Coded) -> None:
        """Takes a packet."""
        self._lane.put(coded)

    def check(self) -> None:
        """Raises MediaError when the lane is over."""
        if self._lane.over:
            raise MediaError(f"{self._lane.name} cannot be written on: {self._lane.broken}")

    def close(self) -> None:
        """Ends the lane."""
        self._lane.close(LAST_WORDS_S)

    @property
    def dropped(self) -> int:
        """Packets that were dropped."""
        return self._lane.dropped


class TcpOutlet:
    """A listener: every reader has a lane, and so a container of its own, which begins at a keyframe."""

    def __init__(self, url: Url, *, wants_key: Callable[[], None], say: Say) -> None:
        self._url = url
        self._wants_key = wants_key
        self._say = say
        self._gone = 0  # packets that were dropped for readers that have left
        self._lanes: list[Lane] = []
        self._lock = threading.Lock()
        self._listener = bound(url, socket.SOCK_STREAM)
        self._listener.listen()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="bridge-listener", daemon=True)
        self._thread.start()

    def put(self, coded: Coded) -> None:
        """Takes a packet for all readers."""
        for lane in self._readers():
            lane.put(coded)

    def check(self) -> None:
        """A listener may have no reader."""

    def close(self) -> None:
        """Ends all lanes."""
        self._stopping.set()
        self._thread.join()
        self._listener.close()
        for lane in self._readers():
            lane.close(LAST_WORDS_S)

    @property
    def dropped(self) -> int:
        """Packets that were dropped, of all readers."""
        return self._gone + sum(lane.dropped for lane in self._readers())

    def _readers(self) -> list[Lane]:
        with self._lock:
            self._gone += sum(lane.dropped for lane in self._lanes if lane.over)
            self._lanes = [lane for lane in self._lanes if not lane.over]
            return list(self._lanes)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                connection, address = self._listener.accept()
                self._take(connection, f"{self._url} (reader {address[0]}:{address[1]})")

    def _take(self, connection: socket.socket, name: str) -> None:
        if len(self._readers()) >= MOST_READERS:
            connection.close()
            self._say(f"{name} is turned away: {MOST_READERS} read already")
            return
        lane = Lane(TcpWire(connection, name), wants_key=self._wants_key, say=self._say)
        with self._lock:
            self._lanes.append(lane)


class TcpWire:
    """A reader that has connected."""

    comes_back = False

    def __init__(self, connection: socket.socket, name: str) -> None:
        self.name = name
        self._connection = connection
        kept_alive(connection).settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def open(self) -> None:
        """It is there."""

    def write(self, data: bytes) -> int:
        """The length of data."""
        self._connection.sendall(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""

    def interrupt(self) -> None:
        """Hangs up on a reader that does not read."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Lets go of the socket."""
        self._connection.close()


class ZmqWire:
    """An XPUB socket that ffmpeg's SUB sockets connect to. It tells of new readers, and drops what they do not take.

    A packet is one message of several parts: ffmpeg reads them one after another, and whoever comes late, or loses
    some, begins with a whole packet.
    """

    comes_back = False

    def __init__(self, url: Url, wants_key: Callable[[], None]) -> None:
        self.name = str(url)
        self._wants_key = wants_key
        self._parts: list[bytes] = []
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        for option, value in {
            zmq.LINGER: round(1000 * LAST_WORDS_S),
            zmq.SNDHWM: ZMQ_WAITING,
            zmq.XPUB_VERBOSE: 1,
            zmq.IPV6: int(":" in url.host),
        }.items():
            self._socket.setsockopt(option, value)
        try:
            self._socket.bind(url.endpoint)
        except zmq.ZMQError as error:
            self._socket.close(0)
            self._context.term()
            raise MediaError(f"{url} cannot be listened to: {error.strerror}") from None

    def open(self) -> None:
        """Readers come and go as they like."""

    def write(self, data: bytes) -> int:
        """The length of data."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Sends the packet."""
        while self._socket.poll(0):
            if self._socket.recv()[:1] == b"\1":  # somebody has subscribed
                self._wants_key()
        data = b"".join(self._parts)
        self._parts.clear()
        if data:
            self._socket.send_multipart([data[at : at + ZMQ_PIECE] for at in range(0, len(data), ZMQ_PIECE)])

    def interrupt(self) -> None:
        """It never waits."""

    def close(self) -> None:
        """Lets go of the socket."""
        self._socket.close()
        self._context.term()


class UdpWire:
    """Datagrams to one address. Nobody need be there."""

    comes_back = False

    def __init__(self, url: Url) -> None:
        self.name = str(url)
        self._rest = b""
        try:
            found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise MediaError(f"{url}: {reason(error)}") from None
        self._address = found[4]
        self._socket = socket.socket(found[0], socket.SOCK_DGRAM)

    def open(self) -> None:
        """Nothing is to be waited for."""

    def write(self, data: bytes) -> int:
        """The length of data."""
        self._rest += data
        whole = len(self._rest) - len(self._rest) % DATAGRAM
        self._send(self._rest[:whole])
        self._rest = self._rest[whole:]
        return len(data)

    def flush(self) -> None:
        """Sends what does not fill a datagram."""
        self._send(self._rest)
        self._rest = b""

    def interrupt(self) -> None:
        """It hardly waits."""

    def close(self) -> None:
        """Lets go of the socket."""
        self._socket.close()

    def _send(self, data: bytes) -> None:
        for at in range(0, len(data), DATAGRAM):
            with contextlib.suppress(OSError):  # nobody listens yet, or the network is away: it may come back
                self._socket.sendto(data[at : at + DATAGRAM], self._address)


class FileWire:
    """Standard output, a FIFO, which is opened again for each reader, or a file."""

    def __init__(self, url: Url) -> None:
        self.name = "standard output" if url.scheme == "standard" else url.path
        self._path = None if url.scheme == "standard" else Path(url.path)
        self.comes_back = self._path is not None and self._path.is_fifo()
        self._file: BinaryIO | io.RawIOBase | None = None
        if self._path is None and sys.stdout is None:
            raise MediaError("standard output is closed")
        if not self.comes_back:
            self.open()

    def open(self) -> None:
        """Opens it; a FIFO, when there is a reader. Raises MediaError for a file that may not be written."""
        if self._path is None:
            self._file = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        elif self.comes_back or self._file is None:
            self.close()
            try:
                self._file = self._path.open("wb", buffering=0)
            except OSError as error:
                raise MediaError(f"{self.name} cannot be written: {reason(error)}") from None

    def write(self, data: bytes) -> int:
        """The length of data."""
        rest = memoryview(data)
        while rest and self._file is not None:
            rest = rest[self._file.write(rest) or 0 :]
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""

    def interrupt(self) -> None:
        """A thread that waits in a pipe is left to itself: it does not keep the process."""

    def close(self) -> None:
        """Closes it, unless it is standard output."""
        if self._file is not None and self._path is not None:
            with contextlib.suppress(OSError):
                self._file.close()
