"""Where the bytes of a bridge's output go: ZeroMQ, TCP, UDP, pipes and files. One owner for each socket.

An outlet takes coded packets and never waits. Behind it are lanes, one for each reader that can be told from others.
"""

import contextlib
import io
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import zmq

from ..errors import MediaError
from ..film.media import reason
from .beside import BesideWire
from .lane import LAST_WORDS_S, Lane, Say, Wire
from .listening import HttpWire, ListeningOutlet, TcpWire
from .parts import Coded, Form
from .transports import bound
from .urls import Scheme, Url

# ffmpeg's zmq reader cuts off what is longer than 131072 bytes. This is below it, and a multiple of MPEG-TS's 188.
ZMQ_PIECE = 65_424
# Messages that wait for a subscriber, at most: each is a packet, and this is two seconds of picture and sound.
ZMQ_WAITING = 160
# Seven packets of MPEG-TS: what fits an Ethernet frame, as all senders cut it.
DATAGRAM = 1_316


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


# What goes to some ends is always written in the same way.
ONLY: dict[Scheme, Form] = {"udp": "mpegts", "srt": "mpegts", "rtmp": "flv", "v4l2": "yuv4mpegpipe"}


def outlet_for(url: Url, form: Form, ffmpeg: str | None, *, wants_key: Callable[[], None], say: Say) -> Outlet:
    """The outlet of a URL; a listener listens when this returns. ffmpeg: to be used beside us. Raises MediaError."""
    only = ONLY.get(url.scheme, form)
    if form != only:
        raise MediaError(f"{url}: {url.scheme} carries {only}, not {form}")
    if url.scheme == "tcp":
        return ListeningOutlet(url, TcpWire, wants_key=wants_key, say=say)
    if url.scheme == "http":
        return ListeningOutlet(url, HttpWire.serving(url, form), wants_key=wants_key, say=say)
    if url.scheme in ("srt", "rtmp", "v4l2"):
        if url.listens:
            bound(url, socket.SOCK_DGRAM).close()  # whether it can be: ffmpeg would tell later
        return LaneOutlet(BesideWire(url, ffmpeg), wants_key=wants_key, say=say)
    if url.scheme == "zmq":
        return LaneOutlet(ZmqWire(url, wants_key), wants_key=wants_key, say=say)
    if url.scheme == "udp":
        return LaneOutlet(UdpWire(url), wants_key=wants_key, say=say)
    return LaneOutlet(FileWire(url), wants_key=wants_key, say=say)


class LaneOutlet:
    """An outlet with one lane."""

    def __init__(self, wire: Wire, *, wants_key: Callable[[], None], say: Say) -> None:
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


class ZmqWire:
    """An XPUB socket that ffmpeg's SUB sockets connect to. It tells of new readers, and drops what they do not take.

    A packet is one message of several parts: ffmpeg reads them one after another, and whoever comes late, or loses
    some, begins with a whole packet.
    """

    comes_back = False
    calls = False

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
    calls = False

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

    calls = False

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
