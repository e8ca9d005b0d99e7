"""Where the bytes of a bridge's input come from: ZeroMQ, TCP, UDP, RTMP, pipes and files. One owner for each socket.

A transport lives as long as the bridge; the senders come and go. `begin` waits for one, `read` gives what it sends, and
nothing at its end. All of them look at `stopping` often enough to end with it.
"""

import contextlib
import io
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import zmq
from zmq.utils.monitor import parse_monitor_message

from ..errors import MediaError
from ..film.media import reason
from .beside import BesideReader
from .urls import Url

# How often somebody who waits looks whether the bridge ends, seconds.
LOOK_S = 0.2
# A sender that is there takes a connection within this, seconds.
CONNECTED_WITHIN_S = 2.0
# ZeroMQ's pause between attempts to connect, milliseconds. With its usual 100 the first group of pictures is lost.
RECONNECT_MS = 10
# Messages that wait to be read, at most: two seconds of frames, or some MB of MPEG-TS.
WAITING_MESSAGES = 100
# The kernel's buffer for datagrams, bytes: a keyframe comes as hundreds of them at once.
UDP_BUFFER = 4 * 2**20
LARGEST_DATAGRAM = 65_536
# A sender of datagrams that was silent for so long may be followed by another one, seconds; until then, what others
# send is left out, as two streams make none.
UDP_TURN_S = 0.5
# A machine that is gone without a word is missed after some ten seconds: silent for so long it is asked, in such steps,
# both in seconds, and so many times.
KEEPALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3}


class Transport(Protocol):
    """Bytes of one sender after another."""

    name: str
    endless: bool  # another sender may come

    def begin(self) -> bool:
        """Waits for a sender; False: the bridge ends. Raises OSError or MediaError."""

    def read(self, size: int) -> bytes:
        """At least one byte as soon as there is one; none when this sender is gone, or the bridge ends."""

    def close(self) -> None:
        """Lets go of everything."""


def transport_for(
    url: Url, stopping: threading.Event, say: Callable[[str], None], ffmpeg: str | None = None
) -> Transport | None:
    """The transport of a URL; a listener listens when this returns. None: FFmpeg does it. Raises MediaError.

    say: told of who is turned away. ffmpeg: the program that is used beside us where one is needed; None: that of the
    PATH.
    """
    if url.scheme == "rtmp":
        from .rtmp.listener import RtmpReader  # which is made of what is here

        return RtmpReader(url, stopping, say)
    if url.listens and url.scheme in ("rtsp", "srt"):  # whether it can be: FFmpeg would tell later
        bound(url, socket.SOCK_DGRAM if url.scheme == "srt" else socket.SOCK_STREAM).close()
    if url.scheme == "rtsp":
        return None
    if url.scheme in ("srt", "v4l2"):
        return BesideReader(url, stopping, ffmpeg)
    if url.scheme == "zmq":
        return ZmqReader(url, stopping)
    if url.scheme == "tcp":
        return TcpReader(url, stopping)
    if url.scheme == "udp":
        return UdpReader(url, stopping)
    return FileReader(url, stopping)


def bound(url: Url, kind: int) -> socket.socket:
    """A socket that is bound to the address of a URL. Raises MediaError, which says why not."""
    try:
        family = socket.getaddrinfo(url.host, url.port, type=kind)[0][0]
        made = socket.socket(family, kind)
    except OSError as error:
        raise MediaError(f"{url}: {reason(error)}") from None
    try:
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((url.host, url.port))
    except OSError as error:
        made.close()
        raise MediaError(f"{url} cannot be listened to: {reason(error)}") from None
    made.settimeout(LOOK_S)
    return made


def kept_alive(connection: socket.socket) -> socket.socket:
    """The connection, which now notices that the other machine is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return connection


class ZmqReader:
    """A SUB socket, connected to the PUB socket of an ffmpeg."""

    endless = True

    def __init__(self, url: Url, stopping: threading.Event) -> None:
        self.name = str(url)
        self._stopping = stopping
        self._rest = b""
        self._first: bytes | None = None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        for option, value in {
            zmq.LINGER: 0,
            zmq.RECONNECT_IVL: RECONNECT_MS,
            zmq.RCVHWM: WAITING_MESSAGES,
            zmq.RCVTIMEO: round(1000 * LOOK_S),
            zmq.IPV6: int(":" in url.host),
        }.items():
            self._socket.setsockopt(option, value)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._monitor = self._socket.get_monitor_socket(zmq.Event.DISCONNECTED)
        try:
            self._socket.connect(url.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise MediaError(f"{url} is no address to connect to: {error.strerror}") from None

    def begin(self) -> bool:
        """Waits for the first message."""
        self._rest = b""
        while not self._stopping.is_set():
            self._left()
            try:
                self._first = self._socket.recv()
            except zmq.Again:
                continue
            return True
        return False

    def receive(self) -> bytes:
        """The next message; none when the sender has left, or the bridge ends."""
        first, self._first = self._first, None
        if first is not None:
            return first
        while not self._stopping.is_set():
            try:
                return self._socket.recv()
            except zmq.Again:
                if self._left():
                    break
        return b""

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self._rest or self.receive()
        self._rest = data[size:]
        return data[:size]

    def close(self) -> None:
        """Lets go of the sockets."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
        self._context.term()

    def _left(self) -> bool:
        """Whether a sender has left since this was asked last."""
        left = False
        while self._monitor.poll(0):
            parse_monitor_message(self._monitor.recv_multipart())
            left = True
        return left


class TcpReader:
    """One sender at a time: one that connects to us, or that we connect to."""

    endless = True

    def __init__(self, url: Url, stopping: threading.Event) -> None:
        self.name = str(url)
        self._url = url
        self._stopping = stopping
        self._listener = bound(url, socket.SOCK_STREAM) if url.listens else None
        self._connection: socket.socket | None = None
        if self._listener:
            self._listener.listen()

    def begin(self) -> bool:
        """Waits for a sender that connects, or connects. Raises OSError."""
        self._hang_up()
        if self._listener is None:
            made = socket.create_connection((self._url.host, self._url.port), timeout=CONNECTED_WITHIN_S)
            self._connection = kept_alive(made)
            self._connection.settimeout(LOOK_S)
            return not self._stopping.is_set()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                made, _ = self._listener.accept()
                self._connection = kept_alive(made)
                self._connection.settimeout(LOOK_S)
                return True
        return False

    def read(self, size: int) -> bytes:
        """The next bytes."""
        while self._connection is not None and not self._stopping.is_set():
            try:
                return self._connection.recv(size)
            except TimeoutError:
                continue
            except OSError:  # reset by the sender
                break
        return b""

    def close(self) -> None:
        """Lets go of the sockets."""
        self._hang_up()
        if self._listener:
            self._listener.close()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class UdpReader:
    """Datagrams of one sender at a time; a sender that is started again has another port, and so is another one."""

    endless = True

    def __init__(self, url: Url, stopping: threading.Event) -> None:
        self.name = str(url)
        self._stopping = stopping
        self._socket = bound(url, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
        self._sender: object = None
        self._heard_s = 0.0
        self._next: deque[bytes] = deque()
        self.foreign = 0  # datagrams of others that were left out

    def begin(self) -> bool:
        """Waits for the first datagram."""
        while not self._stopping.is_set():
            if self._next:
                return True
            with contextlib.suppress(TimeoutError):
                data, self._sender = self._socket.recvfrom(LARGEST_DATAGRAM)
                self._heard_s = time.monotonic()
                self._next.append(data)
        return False

    def read(self, size: int) -> bytes:
        """The rest of a datagram, or the next one."""
        if not self._next and not self._receive():
            return b""
        data = self._next.popleft()
        if len(data) > size:
            self._next.appendleft(data[size:])
        return data[:size]

    def close(self) -> None:
        """Lets go of the socket."""
        self._socket.close()

    def _receive(self) -> bool:
        """Whether there is another datagram of the same sender. The first one of the next sender is kept."""
        while not self._stopping.is_set():
            try:
                data, sender = self._socket.recvfrom(LARGEST_DATAGRAM)
            except TimeoutError:
                continue
            now = time.monotonic()
            if sender != self._sender and now - self._heard_s < UDP_TURN_S:
                self.foreign += 1
                continue
            another, self._sender, self._heard_s = sender != self._sender, sender, now
            self._next.append(data)
            return not another
        return False


class FileReader:
    """Standard input, a FIFO, which is opened again for each sender, or a file."""

    def __init__(self, url: Url, stopping: threading.Event) -> None:
        self.name = "standard input" if url.scheme == "standard" else url.path
        self._path = None if url.scheme == "standard" else Path(url.path)
        self._stopping = stopping
        self._file: BinaryIO | io.RawIOBase | None = None
        self.endless = self._path is not None and self._path.is_fifo()
        self.stored = self._path is not None and self._path.is_file()
        if self._path is None and sys.stdin is None:
            raise MediaError("standard input is closed")
        if self._path is not None and not self.endless and not self.stored:
            raise MediaError(f"{self.name}: there is no such file or pipe")

    def begin(self) -> bool:
        """Opens it; a FIFO, when there is a sender. Raises OSError."""
        self._close()
        if self._path is None:
            self._file = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        else:
            self._file = self._path.open("rb", buffering=0)
        return not self._stopping.is_set()

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if self._file is None or self._stopping.is_set():
            return b""
        return self._file.read(size) or b""

    def close(self) -> None:
        """Closes what is not in the middle of being read."""

    def _close(self) -> None:
        if self._file is not None and self._path is not None:
            self._file.close()
