"""Readers that come to a bridge, over TCP and over HTTP: each has a lane, and so a beginning of its own."""

import contextlib
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from .lane import LAST_WORDS_S, Lane, Say, Wire
from .parts import Coded, Form
from .transports import bound, kept_alive
from .urls import Url, is_loopback

# Readers of a listener at once, at most: each costs a thread.
MOST_READERS = 32
# Whoever connects has said what is wanted within this, seconds.
ASKS_WITHIN_S = 5.0
# What browsers and players know a form by.
CONTENT_TYPES: dict[Form, str] = {
    "mpegts": "video/mp2t",
    "flv": "video/x-flv",
    "h264": "video/h264",
    "mjpeg": "video/x-motion-jpeg",
}

MakeWire = Callable[[socket.socket, str], Wire]


class ListeningOutlet:
    """A listener: every reader has a lane, and so a container of its own, which begins at a keyframe."""

    def __init__(self, url: Url, make_wire: MakeWire, *, wants_key: Callable[[], None], say: Say) -> None:
        self._url = url
        self._make_wire = make_wire
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
        lane = Lane(self._make_wire(connection, name), wants_key=self._wants_key, say=self._say)
        with self._lock:
            self._lanes.append(lane)


class TcpWire:
    """A reader that has connected."""

    comes_back = False
    calls = False

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


class HttpWire(TcpWire):
    """A reader that asks by HTTP. The answer has no end; over HTTP/1.1 it comes in chunks."""

    def __init__(self, connection: socket.socket, name: str, url: Url, form: Form) -> None:
        super().__init__(connection, name)
        self._url = url
        self._form = form
        self._chunked = False

    @classmethod
    def serving(cls, url: Url, form: Form) -> MakeWire:
        """Makes the wires of those who connect to a URL."""
        return lambda connection, name: cls(connection, name, url, form)

    def open(self) -> None:
        """Reads what is asked, and begins to answer. Raises OSError where that was all."""
        request = _Request(self._connection, self._url, CONTENT_TYPES.get(self._form, "application/octet-stream"))
        if not request.served:
            raise ConnectionError("nothing more was asked for")
        self._chunked = request.chunked
        self._connection.settimeout(None)

    def write(self, data: bytes) -> int:
        """The length of data."""
        super().write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data)
        return len(data)

    def close(self) -> None:
        """Says that this was all, if it is heard at once, and lets go of the socket."""
        if self._chunked:
            with contextlib.suppress(OSError):
                self._connection.setblocking(False)
                self._connection.send(b"0\r\n\r\n")
        super().close()


class _Request(BaseHTTPRequestHandler):
    """One request, which is answered as far as the film: that comes from somebody else."""

    timeout = ASKS_WITHIN_S
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "warpaint", ""

    def __init__(self, connection: socket.socket, url: Url, content_type: str) -> None:
        self.served = self.chunked = False
        self._url = url
        self._content_type = content_type
        super().__init__(connection, connection.getpeername(), None)  # type: ignore[arg-type]  # there is no server

    def do_GET(self) -> None:
        """Answers with the head of the film."""
        self.served = self._answered()

    def do_HEAD(self) -> None:
        """Answers with the head alone."""
        self._answered()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is logged: the bridge says what is amiss."""

    def _answered(self) -> bool:
        """Whether what is asked for is there."""
        self.close_connection = True
        if unquote(urlsplit(self.path).path).lstrip("/") != self._url.path:
            self.send_error(HTTPStatus.NOT_FOUND, f"the film is at /{self._url.path}")
            return False
        if not self._is_meant():
            self.send_error(HTTPStatus.FORBIDDEN, f"this is {self._url.authority}")
            return False
        self.chunked = self.request_version != "HTTP/1.0"
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", self._content_type)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if self.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        return True

    def _is_meant(self) -> bool:
        """Whether whoever asks knows where. On this machine a page of somebody else's may ask by a name of its own."""
        if not is_loopback(self._url.host):
            return True
        host = urlsplit(f"//{self.headers.get('Host', self._url.host)}").hostname
        return host is not None and is_loopback(host)
