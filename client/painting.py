"""The Python client: connect, open a session, push frames, iterate what is painted.

    with Client() as client, client.session(look="strokes") as session:
        for painted in session.paint(frames):
            show(painted.image)

Nothing here may be used by two threads at once.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import zmq
from numpy.typing import NDArray
from pydantic import ValidationError

from .. import __version__
from ..proto.address import default_address
from ..proto.brief import Brief, explain
from ..proto.errors import InvalidMessage, ProtocolError, RefusedError, UnknownMessage
from ..proto.messages import (
    AskStatus,
    Error,
    MapName,
    Message,
    Open,
    Opened,
    Painted,
    Ping,
    Pong,
    Result,
    Source,
    Status,
    Totals,
)
from ..proto.wire import Payload, pack, to_client
from .conversation import Conversation, PaintedFrame
from .errors import DaemonGone, raised_for

CLIENT = f"warpaint python {__version__}"
# A daemon answers a ping at once, whatever it paints; one that has not for this long is gone, seconds.
PATIENCE_S = 10.0
# After this long without a word the client asks whether the daemon is still there, seconds.
SILENCE_S = 2.0
# Kernel buffers of a tcp connection, bytes; parts below which a copy is cheaper than keeping track.
SOCKET_BUFFER = 4 * 1024 * 1024
COPY_BELOW = 64 * 1024

Image = NDArray[np.uint8]

# Formats whose pictures have a shape: [H, W] and this.
CHANNELS: dict[str, tuple[int, ...]] = {"bgr24": (3,), "rgb24": (3,), "bgra": (4,), "gray": ()}


class HasFileno(Protocol):
    """Something to poll."""

    def fileno(self) -> int:
        """The file descriptor."""


@dataclass(frozen=True, slots=True)
class PaintedImage:
    """A painted frame.

    image: the picture in the session's result format: [H, W, 3] uint8 for bgr24 and rgb24, [H, W, 4] for bgra,
    [H, W] for gray; for other formats and codecs the payload, [n] uint8. pts: seconds. maps: by name, on the
    working canvas. info: provenance, holes, times and all else that the daemon says of the frame.
    """

    image: Image
    index: int
    pts: Fraction
    maps: dict[str, NDArray[Any]]
    info: Painted


class Client:
    """A connection to a daemon. Raises DaemonGone where none answers."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address or default_address(os.environ, os.getuid())
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDBUF, SOCKET_BUFFER)
        self._socket.setsockopt(zmq.RCVBUF, SOCKET_BUFFER)
        self._socket.copy_threshold = COPY_BELOW
        self._conversations: dict[int, Conversation] = {}
        self._status: Status | None = None
        self._pongs = 0
        self._heard = self._asked = time.monotonic()
        try:
            self._socket.connect(self.address)
        except zmq.ZMQError as error:
            self.close()
            raise DaemonGone(f"{self.address!r} is no address to connect to: {error.strerror}") from error

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connection; sessions still open end with it."""
        self._socket.close()
        self._context.term()

    def ping(self, timeout_s: float = PATIENCE_S, *, may_be_starting: bool = False) -> None:
        """Returns when the daemon has answered. Raises DaemonGone after timeout_s.

        It is raised at once where nobody listens, unless the daemon may be starting.
        """
        if not may_be_starting and _nobody_listens(self.address):
            raise DaemonGone(f"no daemon answers at {self.address}")
        before = self._pongs
        self._send(Ping())
        deadline = time.monotonic() + timeout_s
        while self._pongs == before:
            if time.monotonic() > deadline:
                raise DaemonGone(f"no daemon answers at {self.address}")
            self._receive(max(0.0, deadline - time.monotonic()))

    def status(self) -> Status:
        """How the daemon does."""
        self._status = None
        self._send(AskStatus())
        while self._status is None:
            self.wait()
        return self._status

    def session(
        self,
        *,
        source: Source | None = None,
        result: Result | None = None,
        painter: str | None = None,
        flow: str | None = None,
        max_pixels: int | None = None,
        maps: Sequence[MapName] = (),
        **brief: Any,
    ) -> "Session":
        """A session with this Brief. Without a source, that of the first frame: bgr24, time in seconds.

        Raises InvalidMessage for a field of the Brief that is unknown or out of its range.
        """
        checked = Brief().changed(brief)
        return Session(self, source, result, checked, painter, flow, max_pixels, tuple(maps))

    # For sessions

    def _begin(self, opening: dict[str, Any]) -> Conversation:
        number = max(self._conversations, default=-1) + 1
        try:
            conversation = Conversation(Open(session=number, client=CLIENT, **opening))
        except ValidationError as error:
            raise InvalidMessage(explain(error, "session")) from None
        self._conversations[number] = conversation
        self._send(conversation.opening)
        while conversation.opened is None:
            if conversation.failure is not None:
                del self._conversations[number]
                raise raised_for(conversation.failure)
            self.wait()
        return conversation

    def _end(self, conversation: Conversation) -> None:
        self._conversations.pop(conversation.opening.session, None)

    def _send(self, message: Message, payloads: Sequence[Any] = ()) -> None:
        self._socket.send_multipart([pack(message), *payloads], copy=not payloads)

    def wait(self, also: HasFileno | None = None) -> None:
        """Waits for a message, and takes it; or until `also` is readable.

        Raises DaemonGone when the daemon has been silent for too long.
        """
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        if also is not None:
            poller.register(also, zmq.POLLIN)
        if poller.poll(int(SILENCE_S * 1000)):
            self._receive(0)
            return
        now = time.monotonic()
        if self._asked <= self._heard:
            self._asked = now
            self._send(Ping())
        elif now - self._asked > PATIENCE_S:
            raise DaemonGone(f"the daemon at {self.address} has not answered for {now - self._heard:.0f} s")

    def take_all(self) -> None:
        """Takes all messages that are there, without waiting."""
        while self._receive(0):
            pass

    def _receive(self, timeout_s: float) -> bool:
        if not self._socket.poll(int(timeout_s * 1000)):
            return False
        parts = self._socket.recv_multipart(copy=False)
        self._heard = time.monotonic()
        try:
            received = to_client([part.buffer for part in parts])
        except UnknownMessage:
            return True  # of a newer daemon, which may say more
        except ProtocolError as error:
            raise DaemonGone(f"what answers at {self.address} is no daemon of this version: {error}") from error
        self._take(received.message, received.payloads)
        return True

    def _take(self, message: Message, payloads: Sequence[Payload]) -> None:
        number = getattr(message, "session", None)
        if isinstance(message, Ping):
            self._send(Pong(nonce=message.nonce))
        elif isinstance(message, Pong):
            self._pongs += 1
        elif isinstance(message, Status):
            self._status = message
        elif number in self._conversations:
            self._conversations[number].receive(message, payloads)
        elif isinstance(message, Error) and number is None:
            raise RefusedError(message.code, message.message)


class Session:
    """A film being painted. Frames go in by `push`, results come out by `results`; or both by `paint`."""

    def __init__(
        self,
        client: Client,
        source: Source | None,
        result: Result | None,
        brief: Brief,
        painter: str | None,
        flow: str | None,
        max_pixels: int | None,
        maps: tuple[MapName, ...],
    ) -> None:
        self.brief = brief
        self._client = client
        self._source = source
        self._opening = {
            "result": result,
            "brief": brief,
            "painter": painter,
            "flow": flow,
            "max_pixels": max_pixels,
            "maps": maps,
        }
        self._conversation: Conversation | None = None

    def __enter__(self) -> "Session":
        if self._source is not None:
            self.open(self._source)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._open is not None:
            self._client._send(self._open.close(discard=True))
            self._client._end(self._open)

    def open(self, source: Source) -> Opened:
        """Opens the session for frames like this. Raises RefusedError, with what is allowed."""
        result = self._opening["result"] or Result(pixels=source.pixels)
        self._source = source
        self._conversation = self._client._begin(self._opening | {"source": source, "result": result})
        if self._conversation.opened is None:
            raise DaemonGone("the session was not opened")
        return self._conversation.opened

    @property
    def opened(self) -> Opened | None:
        """What the daemon said when the session was opened."""
        return self._conversation.opened if self._conversation else None

    @property
    def totals(self) -> Totals | None:
        """What became of the frames, once the session is closed."""
        return self._conversation.totals if self._conversation else None

    @property
    def may_push(self) -> bool:
        """Whether `push` would send at once."""
        return self._conversation is None or self._active.may_send

    @property
    def unanswered(self) -> int:
        """Frames sent and not yet answered."""
        return self._conversation.unanswered if self._conversation else 0

    def push(self, frame: Image | bytes | memoryview, pts: int) -> int:
        """The index of a frame that was sent; waits until the daemon takes it.

        frame: an array of the source's format, or its payload. pts: in units of the source's time base. The array
        must not be changed before its result has come.
        """
        if self._conversation is None:
            self.open(self._source or _source_of(frame))
        conversation = self._active
        payload = _payload_of(frame, conversation.opening.source)
        while not conversation.may_send:
            self._wait()
        message = conversation.frame(pts)
        self._client._send(message, [payload])
        return message.index

    def results(self, *, wait: bool = True) -> Iterator[PaintedImage]:
        """What is painted, in order: what is there, or with `wait` all that is still unanswered.

        Raises FrameFailed for a frame that was not painted; iterating again goes on with the next.
        """
        conversation = self._conversation
        if conversation is None:
            return
        while True:
            self._client.take_all()
            while conversation.results:
                yield self._painted(conversation.results.pop(0))
            if not wait or not conversation.unanswered:
                return
            self._wait()

    def paint(self, frames: Iterable[Image], *, rate: float | Fraction = 25) -> Iterator[PaintedImage]:
        """The painted frames, in order. rate: frames a second, from which the timestamps are made."""
        for number, frame in enumerate(frames):
            if self._conversation is None:
                self.open(self._source or _source_of(frame))
            ticks = Fraction(number) / (Fraction(rate) * Fraction(*self._active.opening.source.time_base))
            self.push(frame, round(ticks))
            yield from self.results(wait=False)
        yield from self.results()

    def update(self, **changes: Any) -> int:
        """Changes some fields of the Brief; the number of the request. Raises RefusedError, with what is allowed."""
        message = self._active.update(changes)
        return self._asked(message, message.request)

    def rekey(self) -> int:
        """Asks for a new keyframe at the next frame; the number of the request."""
        message = self._active.rekey()
        return self._asked(message, message.request)

    def shown_at(self, request: int) -> int | None:
        """The index of the first frame that shows an update; None: none has yet."""
        updated = self._active.updated.get(request)
        return updated.shown_at if updated else None

    def request_keyframe(self) -> None:
        """Asks the encoder of a coded result for a keyframe."""
        self._client._send(self._active.request_keyframe())

    def flush(self) -> None:
        """Returns when every frame pushed so far has been answered. The results are then there to be taken."""
        message = self._active.flush()
        self._client._send(message)
        while message.request not in self._active.flushed:
            self._wait()

    def close(self) -> Totals | None:
        """Ends the session when the frames in hand are painted; what became of them."""
        if self._open is not None:
            self._client._send(self._open.close())
            while self._open is not None:
                self._client.wait()
        if self._conversation is not None:
            self._client._end(self._conversation)
        return self.totals

    @property
    def _open(self) -> Conversation | None:
        conversation = self._conversation
        return conversation if conversation is not None and conversation.closed is None else None

    @property
    def _active(self) -> Conversation:
        """The conversation. Raises DaemonGone if there is none any more, or none yet."""
        conversation = self._conversation
        if conversation is None:
            raise DaemonGone("the session is not open yet: push a frame, or give `session` a source")
        if conversation.failure is not None:
            raise raised_for(conversation.failure)
        if conversation.closed is not None:
            raise DaemonGone(f"the session has ended: {conversation.closed.reason}")
        return conversation

    def _asked(self, message: Message, request: int) -> int:
        self._client._send(message)
        while request not in self._active.updated:
            if request in self._active.refused:
                raise raised_for(self._active.refused.pop(request))
            self._wait()
        return request

    def _wait(self) -> None:
        self._client.wait()
        if self._conversation is not None and not self._conversation.results:
            _ = self._active

    def _painted(self, result: Any) -> PaintedImage:
        if not isinstance(result, PaintedFrame):
            raise raised_for(result)
        opening = self._conversation.opening if self._conversation else None
        if opening is None:
            raise DaemonGone("the session is not open")
        message = result.message
        arrays: dict[str, NDArray[Any]] = {
            part.name: np.frombuffer(payload, part.dtype or "uint8").reshape(part.shape or (-1,))
            for part, payload in zip(message.parts, result.payloads, strict=True)
        }
        image = _shaped(arrays.pop("picture"), opening)
        pts = message.pts * Fraction(*opening.source.time_base)
        return PaintedImage(image, message.index, pts, arrays, message)


def _shaped(flat: Image, opening: Open) -> Image:
    """A raw picture as an array of rows, where its format has such a shape."""
    if opening.result.encoding != "raw":
        return flat
    width, height = opening.source.width, opening.source.height
    channels = CHANNELS.get(opening.result.pixels)
    return flat if channels is None else flat.reshape(height, width, *channels)


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


def _payload_of(frame: Any, source: Source) -> Any:
    """The bytes of a frame. Raises ValueError for an array that is not what the source says, or for no bytes at all."""
    if isinstance(frame, bytes | bytearray | memoryview):
        return frame
    channels = CHANNELS.get(source.pixels) if source.encoding == "raw" and source.strides is None else None
    shape = None if channels is None else (source.height, source.width, *channels)
    if (
        not isinstance(frame, np.ndarray)
        or frame.dtype != np.uint8
        or (shape and frame.ndim > 1 and frame.shape != shape)
    ):
        got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        kind = f"{source.width}x{source.height} {source.pixels}" if source.encoding == "raw" else source.encoding
        raise ValueError(f"a frame must be uint8{f' {shape}' if shape else ''}, as the session is {kind} (got {got})")
    return np.ascontiguousarray(frame).reshape(-1)


def _source_of(frame: Any) -> Source:
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(f"a frame must be uint8 [H, W, 3], BGR (got {got}); for other formats give a source")
    height, width = frame.shape[:2]
    return Source(width=width, height=height)
