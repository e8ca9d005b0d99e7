"""What is said on one connection of a publisher, from the first byte: bytes in, events and bytes out. Pure."""

import hmac
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from .amf import Value, Written, values, written
from .chunks import WRAP, ChunkReader, Kind, Message, chunked
from .errors import Unintelligible
from .flv import HEADER, tag

VERSION = 3  # of RTMP, the first byte of both sides
GREETING = 1536  # the length of what follows it, and of what answers that, bytes
# The first bytes of a TLS hello, and of what browsers and scanners ask.
TLS_HELLO = b"\x16\x03"
HTTP = (b"GET ", b"POST", b"HEAD", b"OPTI", b"PUT ", b"CONN")
TOLD_BY = 4  # bytes that tell them all

# What a stranger may send before the key is right, of one message: a command has hundreds of bytes.
LONGEST_COMMAND = 65_536
# And a publisher: more than a keyframe of 4K at the best quality, less than the sixteen million that can be said.
LONGEST_MESSAGE = 8 * 2**20
# What both sides ask to be acknowledged after, bytes; a publisher's own window counts from the least one on.
WINDOW, LEAST_WINDOW = 2_500_000, 65_536
# Our chunks, bytes: all that is sent fits into one.
CHUNK = 4096

# Chunk streams and streams of messages that are written to, as servers do.
CONTROL, COMMANDS, STREAM = 2, 3, 1

# Of user control messages.
STREAM_BEGIN, PING_REQUEST, PING_RESPONSE = 0, 6, 7

# What goes before a description of the film that the server is to keep.
KEEP = written(["@setDataFrame"])


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody with the right key wants to publish. `accept` or `refuse` before the next event is taken."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody was turned away, and was told so. why: the end of a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Media:
    """The next bytes of a film in FLV."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The publisher has said that this is all."""


Event = Asked | Refused | Media | Ended


class _State(Enum):
    GREETING = auto()  # the handshake
    CONNECTING = auto()
    CONNECTED = auto()
    PUBLISHING = auto()
    OVER = auto()  # whatever comes is not read


class Conversation:
    """The server's side. path: application and key that are right; a key of none: any."""

    def __init__(self, path: str, noise: bytes) -> None:
        """noise: GREETING - 8 random bytes, for the handshake."""
        self.outgoing = bytearray()  # to be sent, and taken away by who sends it
        self._path = path.strip("/")
        self._noise = noise
        self._state = _State.GREETING
        self._greeting = bytearray()
        self._chunks = ChunkReader(LONGEST_COMMAND)
        self._app = ""
        self._begun = False  # the film has its header
        self._received = self._acknowledged = 0
        self._window = WINDOW

    def receive(self, data: bytes) -> Iterator[Event]:
        """What comes of these bytes. Raises Unintelligible, which ends the connection."""
        if self.over:
            return
        self._received += len(data)
        if self._state is _State.GREETING:
            self._greeting += data
            data = self._greeted()
        for message in self._chunks.receive(data):
            yield from self._took(message)
            if self.over:
                return
        if self._received - self._acknowledged >= self._window:
            self._acknowledged = self._received
            self._control(Kind.ACKNOWLEDGEMENT, struct.pack(">I", self._received % WRAP))

    @property
    def over(self) -> bool:
        """Whether somebody was turned away: the connection is to be closed when `outgoing` is sent."""
        return self._state is _State.OVER

    def accept(self) -> None:
        """Lets who has asked publish."""
        self._state = _State.PUBLISHING
        self._chunks.limit = LONGEST_MESSAGE
        self._begun = False
        self._control(Kind.USER_CONTROL, struct.pack(">HI", STREAM_BEGIN, STREAM))
        self._status("status", "NetStream.Publish.Start", "Publishing.")

    def refuse(self, sentence: str) -> None:
        """Tells who has asked why not."""
        self._status("error", "NetStream.Publish.BadName", sentence)
        self._state = _State.OVER

    # The handshake

    def _greeted(self) -> bytes:
        """Answers what there is of the handshake, and gives what comes behind it. Raises Unintelligible."""
        got = self._greeting
        if got and got[0] != VERSION:
            _complain(bytes(got[:TOLD_BY]))
        if self._noise and len(got) > GREETING:
            self.outgoing += bytes([VERSION]) + bytes(8) + self._noise + got[1 : 1 + GREETING]
            self._noise = b""
        if len(got) <= 2 * GREETING:
            return b""
        rest = bytes(got[1 + 2 * GREETING :])  # what they answered is theirs to know: it proves nothing
        self._greeting = bytearray()
        self._state = _State.CONNECTING
        return rest

    # Messages

    def _took(self, message: Message) -> Iterator[Event]:
        kind, data = message.kind, message.data
        if kind in (Kind.AUDIO, Kind.VIDEO):
            if self._state is _State.PUBLISHING and data:
                yield Media(self._headed() + tag(kind, message.at_ms, data))
        elif kind == Kind.COMMAND:
            yield from self._obey(data)
        elif kind == Kind.COMMAND_AMF3:
            yield from self._obey(data[1:])  # which says, by a zero, that AMF0 follows
        elif kind == Kind.DATA:
            if self._state is _State.PUBLISHING:
                yield from self._describe(message)
        elif kind == Kind.AGGREGATE:
            raise Unintelligible("sent an aggregate message, which is not read here")
        else:
            self._take_control(kind, data)

    def _take_control(self, kind: int, data: bytes) -> None:
        """The messages about the connection itself; those that are not known are left out, as the protocol wants it."""
        number = int.from_bytes(data[:4])
        if kind in (Kind.CHUNK_SIZE, Kind.ABORT, Kind.WINDOW) and len(data) < 4:
            raise Unintelligible("sent no RTMP: a number is cut off")
        if kind == Kind.CHUNK_SIZE:
            if not 0 < number < 2**31:
                raise Unintelligible("sent no RTMP: chunks of no length")
            self._chunks.chunk = number
        elif kind == Kind.ABORT:
            self._chunks.abort(number)
        elif kind == Kind.WINDOW:
            self._window = max(LEAST_WINDOW, number)
        elif kind == Kind.USER_CONTROL and len(data) == 6 and int.from_bytes(data[:2]) == PING_REQUEST:
            self._control(Kind.USER_CONTROL, struct.pack(">H", PING_RESPONSE) + data[2:])

    def _describe(self, message: Message) -> Iterator[Event]:
        """What a publisher says of its film is a part of that."""
        data = message.data.removeprefix(KEEP)
        try:
            said = values(data, most=1)
        except Unintelligible:
            return  # the film can be read without it
        if said == ["onMetaData"]:
            yield Media(self._headed() + tag(Kind.DATA, message.at_ms, data))

    def _headed(self) -> bytes:
        """The film's header, the first time."""
        begun, self._begun = self._begun, True
        return b"" if begun else HEADER

    # Commands

    def _obey(self, data: bytes) -> Iterator[Event]:
        said = values(data)
        if len(said) < 2 or not isinstance(said[0], str) or not isinstance(said[1], float):
            raise Unintelligible("sent a command without a name or number")
        name, number, rest = said[0], said[1], said[2:]
        if name == "connect" and self._state is _State.CONNECTING:
            yield from self._connect(number, rest)
        elif self._state is _State.CONNECTING:
            raise Unintelligible("sent no RTMP: the first command is not connect")
        elif name == "createStream":
            self._command(["_result", number, None, STREAM])
        elif name in ("releaseStream", "FCPublish"):
            self._command(["_result", number, None, None])
        elif name == "publish" and self._state is _State.CONNECTED:
            yield from self._publish(rest)
        elif name == "play":
            self._status("error", "NetStream.Play.StreamNotFound", "Here one publishes; nothing is played.")
            yield self._turned_away("wanted to play, where one publishes")
        elif name in ("FCUnpublish", "deleteStream", "closeStream") and self._state is _State.PUBLISHING:
            self._state = _State.CONNECTED
            yield Ended()

    def _connect(self, number: float, rest: list[Value]) -> Iterator[Event]:
        wishes = rest[0] if rest and isinstance(rest[0], dict) else {}
        app = wishes.get("app")
        self._app = app.strip("/") if isinstance(app, str) else ""
        if not _within(self._app, self._path):
            why = {"level": "error", "code": "NetConnection.Connect.Rejected"}
            self._command(["_error", number, None, why | {"description": "There is no such application here."}])
            yield self._turned_away("asked for another application")
            return
        self._state = _State.CONNECTED
        self._control(Kind.WINDOW, struct.pack(">I", WINDOW))
        self._control(Kind.PEER_BANDWIDTH, struct.pack(">IB", WINDOW, 2))
        self._control(Kind.CHUNK_SIZE, struct.pack(">I", CHUNK))
        about: Written = {"fmsVer": "FMS/3,0,1,123", "capabilities": 31}
        well: Written = {
            "level": "status",
            "code": "NetConnection.Connect.Success",
            "description": "Connected.",
            "objectEncoding": 0,
        }
        self._command(["_result", number, about, well])

    def _publish(self, rest: list[Value]) -> Iterator[Event]:
        key = rest[1] if len(rest) > 1 and isinstance(rest[1], str) else ""
        if right(self._app, key, self._path):
            yield Asked()
        else:
            self.refuse("This is not the stream key that is taken here.")
            yield Refused("gave a wrong stream key")

    def _turned_away(self, why: str) -> Refused:
        self._state = _State.OVER
        return Refused(why)

    # What is sent

    def _command(self, items: list[Written], stream: int = 0) -> None:
        self._send(Message(Kind.COMMAND, 0, stream, written(items)), COMMANDS)

    def _status(self, level: str, code: str, sentence: str) -> None:
        told: Mapping[str, Written] = {"level": level, "code": code, "description": sentence}
        self._command(["onStatus", 0, None, told], STREAM)

    def _control(self, kind: Kind, data: bytes) -> None:
        self._send(Message(kind, 0, 0, data), CONTROL)

    def _send(self, message: Message, number: int) -> None:
        self.outgoing += chunked(message, number, CHUNK)


def right(app: str, key: str, path: str) -> bool:
    """Whether a publisher may. path: APP/KEY, or APP for any key. Takes as long for any key of a length.

    Programs cut `a/b/c` where they like, so application and key are compared as one.
    """
    given = f"{app}/{key.strip('/')}".strip("/")
    if "/" not in path:
        return not path or given == path or given.startswith(f"{path}/")
    return hmac.compare_digest(given.encode(), path.encode())


def _within(app: str, path: str) -> bool:
    """Whether an application is right as far as that can be told without a key: by what it begins with."""
    return not path or app.partition("/")[0] == path.partition("/")[0]


def _complain(first: bytes) -> None:
    """Says what begins so. Raises Unintelligible, if there is enough to tell."""
    if TLS_HELLO.startswith(first[:2]) and len(first) < 2:
        return
    if first.startswith(TLS_HELLO):
        raise Unintelligible("came with TLS: RTMPS is not spoken here, so let it send to rtmp://")
    if len(first) < TOLD_BY and any(each.startswith(first) for each in HTTP):
        return
    if first.startswith(HTTP):
        raise Unintelligible("asked for a web page: this is a port for RTMP")
    raise Unintelligible("sent no RTMP")
