"""A publisher that says what a test wants it to say over RTMP."""

import contextlib
import socket
import struct
import time
from types import TracebackType

from support.bridge import COMES_WITHIN_S
from warpaint.client.bridge.rtmp.amf import Written, values, written
from warpaint.client.bridge.rtmp.chunks import ChunkReader, Kind, Message, chunked
from warpaint.client.bridge.rtmp.conversation import GREETING, LONGEST_MESSAGE

HELLO = b"\x03" + bytes(2 * GREETING)  # both halves of the handshake
CHUNK = 128  # until another one is said


def message(kind: int, data: bytes, at_ms: int = 0, number: int = 4, chunk: int = CHUNK) -> bytes:
    """A message as the bytes that are sent."""
    return chunked(Message(kind, at_ms, 1, data), number, chunk)


def command(*items: Written) -> bytes:
    """A command as the bytes that are sent."""
    return message(Kind.COMMAND, written(items), number=3)


def asking(key: str, app: str = "live") -> bytes:
    """All that a publisher says before it sends something, as ffmpeg and OBS say it."""
    return b"".join(
        [
            HELLO,
            command("connect", 1, {"app": app, "type": "nonprivate", "tcUrl": f"rtmp://127.0.0.1/{app}"}),
            *(command(name, number, None, key) for number, name in enumerate(("releaseStream", "FCPublish"), 2)),
            command("createStream", 4, None),
            command("publish", 5, None, key, "live"),
        ]
    )


def answered(data: bytes) -> list[Message]:
    """The messages of a server's answer, without its handshake."""
    reader = ChunkReader(LONGEST_MESSAGE)
    got: list[Message] = []
    for each in reader.receive(data[1 + 2 * GREETING :]):
        if each.kind == Kind.CHUNK_SIZE:
            (reader.chunk,) = struct.unpack(">I", each.data)
        got.append(each)
    return got


def told(data: bytes) -> list[tuple[str, str]]:
    """The codes of a server's answer, each with its sentence."""
    commands = [values(each.data) for each in answered(data) if each.kind == Kind.COMMAND]
    items = [item for each in commands for item in each if isinstance(item, dict) and "code" in item]
    return [(str(item["code"]), str(item["description"])) for item in items]


class Publisher:
    """A connection to a listener."""

    def __init__(self, port: int, data: bytes = b"") -> None:
        """data: what it sends at once."""
        self.received = b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=COMES_WITHIN_S)
        self.send(data)

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Sends bytes, unless the other side has hung up."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)

    def hears(self, code: str, within_s: float = COMES_WITHIN_S) -> str:
        """Waits until it was told this, and gives the sentence. Raises TimeoutError."""
        ends = time.monotonic() + within_s
        while not (found := [sentence for each, sentence in told(self.received) if each == code]):
            if time.monotonic() > ends or not self._more():
                raise TimeoutError(f"it was not told {code}, but {told(self.received)}")
        return found[0]

    def reset(self) -> None:
        """Closes the connection as a program that is killed with unread bytes does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def is_closed(self) -> bool:
        """Waits until the other side has hung up. Raises TimeoutError."""
        while self._more():
            pass
        return True

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65_536)
        except ConnectionError:
            return False
        self.received += data
        return bool(data)
