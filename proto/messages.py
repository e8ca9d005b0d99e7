"""The header models of the wire: one frozen model a message, one tagged union a direction.

A message on the wire is `[header, payload...]`; wire.py turns it into one of these models and back, SPEC.md says it
in words. Unknown keys of a header are ignored, so that a newer peer may add some; a key may be added within a
version, but never change its meaning. Times in messages are in units of the session's time base unless the
name carries a unit.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from annotated_types import Interval, Len
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .brief import Brief, Share
from .errors import Code, Retry
from .limits import (
    MAX_CONTROLS,
    MAX_DELAY_MS,
    MAX_INTEGER,
    MAX_LINGER_S,
    MAX_NAME,
    MAX_PICTURE_PIXELS,
    MAX_RATE,
    MAX_SESSION,
    MAX_SIDE,
    MAX_TAGS,
    MAX_TEXT,
    MAX_WATCH_WINDOW,
    MAX_WINDOW,
)

VERSION: Final = 1

# From this many lines up a picture without a matrix is taken for high definition, as players do.
BT709_LINES = 720

Count = Annotated[int, Interval(ge=0, le=MAX_INTEGER)]
Number = Annotated[int, Interval(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Positive = Annotated[int, Interval(ge=1, le=MAX_INTEGER)]
Name = Annotated[str, Len(1, MAX_NAME)]
Label = Annotated[str, Len(0, MAX_NAME)]
Text = Annotated[str, Len(0, MAX_TEXT)]
Milliseconds = Annotated[float, Interval(ge=0.0)]
Seconds = Annotated[float, Interval(ge=0.0)]
SessionNumber = Annotated[int, Interval(ge=0, le=MAX_SESSION)]
Side = Annotated[int, Interval(ge=1, le=MAX_SIDE)]
Frames = Annotated[int, Interval(ge=1, le=MAX_WINDOW)]
Scalar = str | bool | Number | float | None
Value = Scalar | tuple[str, ...]  # of a field of the Brief
Ratio = tuple[Positive, Positive]

Encoding = Literal["raw", "jpeg", "mjpeg", "h264", "hevc", "vp8", "vp9", "av1"]
Pixels = Literal["bgr24", "rgb24", "bgra", "gray", "yuv420p", "nv12"]
Matrix = Literal["bt601", "bt709", "bt2020"]
Pacing = Literal["every", "live"]
MapName = Literal["flow", "confidence", "hops", "holes"]
ViewName = Literal["raw", "painted"]


class Model(BaseModel):
    """The rules that every part of a header follows."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Colour(Model):
    """How Y'CbCr samples mean colours. Without a matrix: bt709 from 720 lines up, bt601 below."""

    matrix: Matrix | None = None
    full_range: bool = False

    def matrix_for(self, height: int) -> Matrix:
        """The matrix of a picture of `height` lines as stored: this one, or what players take for it without one."""
        return self.matrix or ("bt709" if height >= BT709_LINES else "bt601")


def _whole(value: object) -> object:
    """Of a choice among numbers: 90.0 and False are no integers, though they equal some."""
    if type(value) is not int:
        raise ValueError("must be an integer")
    return value


class Source(Model):
    """What the client will send. Frames are `width` x `height` as stored; `rotation` turns them upright."""

    width: Side
    height: Side
    encoding: Encoding = "raw"
    pixels: Pixels = "bgr24"  # of raw
    strides: Annotated[tuple[Positive, ...], Len(0, 4)] | None = None  # bytes a row, a plane; None: tight
    colour: Colour = Colour()
    time_base: Ratio = (1, 1000)  # seconds a tick
    sample_aspect: Ratio = (1, 1)
    rotation: Annotated[Literal[0, 90, 180, 270], BeforeValidator(_whole)] = (
        0  # degrees clockwise to show the picture upright
    )
    rate: Annotated[float, Interval(gt=0.0, le=MAX_RATE)] | None = None  # frames a second; None: not known

    @model_validator(mode="after")
    def _fits(self) -> "Source":
        if self.width * self.height > MAX_PICTURE_PIXELS:
            raise ValueError(f"{self.width}x{self.height} is more than {MAX_PICTURE_PIXELS} pixels")
        return self


class Result(Model):
    """How results come back: the size and colour of the source, coded as said here."""

    encoding: Encoding = "raw"
    pixels: Pixels = "bgr24"  # of raw
    quality: Annotated[int, Interval(ge=1, le=100)] = 90  # of jpeg and mjpeg
    crf: Annotated[int, Interval(ge=0, le=51)] = 20  # of the other codecs: lower is better and larger
    gop_frames: Annotated[int, Interval(ge=1, le=10_000)] = 60  # frames from one coded keyframe to the next


class Message(Model):
    """What every header holds."""

    v: Literal[1] = VERSION


class InSession(Message):
    """A header that belongs to a session, by the number that the client gave it in `open`."""

    session: SessionNumber


class Answer(InSession):
    """A header to the client that is kept until it is acknowledged, and sent again to a client that comes back."""

    seq: Count | None = None  # counts the answers of a session from 1 on; None: not kept, as it refuses something


class Open(InSession):
    """Begins a session. Answered by `opened` or `error`."""

    type: Literal["open"] = "open"
    source: Source
    result: Result = Result()
    brief: Brief = Brief()
    painter: Name | None = None  # None: the daemon's default
    flow: Name | None = None
    pacing: Pacing = "every"
    max_delay_ms: Annotated[float, Interval(ge=1.0, le=MAX_DELAY_MS)] = 100.0  # of `live`: the wait to be begun
    linger_s: Annotated[float, Interval(ge=0.0, le=MAX_LINGER_S)] | None = None  # None: the daemon's setting
    max_pixels: Annotated[int, Interval(ge=64, le=MAX_PICTURE_PIXELS)] | None = None  # of the working canvas
    maps: Annotated[tuple[MapName, ...], Len(0, 4)] = ()
    client: Label = ""  # name and version, for the log

    @model_validator(mode="after")
    def _maps_once(self) -> "Open":
        if len(set(self.maps)) != len(self.maps):
            raise ValueError("maps: each may be named once")
        return self


class Resume(InSession):
    """Goes on with a session whose connection was lost. Answered by `resumed`, then what was missed; or by `error`."""

    type: Literal["resume"] = "resume"
    token: Name  # of `opened`
    seq: Count = 0  # of the last answer that was received


class Ack(InSession):
    """Every answer up to this one was received, so that it need not be kept. Not answered."""

    type: Literal["ack"] = "ack"
    seq: Count


class FrameIn(InSession):
    """One frame; one payload, and one more for each of `controls`. Answered by `painted`, `dropped` or `error`.

    A control image is raw bgr24 with tight rows, of the source's width and height as stored.
    """

    type: Literal["frame"] = "frame"
    index: Count  # grows from frame to frame
    pts: Number
    controls: Annotated[tuple[Name, ...], Len(0, MAX_CONTROLS)] = ()  # kinds of the control images, in order
    keyframe: bool = False  # it is to be painted in full

    @model_validator(mode="after")
    def _controls_once(self) -> "FrameIn":
        if len(set(self.controls)) != len(self.controls):
            raise ValueError("controls: each may be named once")
        return self


class Update(InSession):
    """Changes some fields of the Brief. Answered by `updated` at once, and again with the frame that shows it."""

    type: Literal["update"] = "update"
    request: Count
    changes: Annotated[dict[Name, Value], Len(0, 64)]


class Rekey(InSession):
    """Asks for a new keyframe at the next frame. Answered as `update` is."""

    type: Literal["rekey"] = "rekey"
    request: Count


class Hold(InSession):
    """Stops a live film on its last frame, or lets it go on. Answered by `updated`, or by `error` in pacing `every`."""

    type: Literal["hold"] = "hold"
    request: Count
    on: bool


class Watch(InSession):
    """Watches a session, of this client or another; sent again, it changes what is seen. Answered by `watching`.

    `session` numbers the watching, among the sessions of this connection. While it lasts, `update`, `rekey` and `hold`
    with this number are for the session that is watched; `close` ends the watching alone.
    """

    type: Literal["watch"] = "watch"
    id: Name  # of `status`
    pictures: Annotated[tuple[ViewName, ...], Len(0, 2)] = ("raw", "painted")
    maps: Annotated[tuple[MapName, ...], Len(0, 4)] = ()
    window: Annotated[int, Interval(ge=1, le=MAX_WATCH_WINDOW)] = 2  # of `seen` that are not acknowledged

    @model_validator(mode="after")
    def _once(self) -> "Watch":
        for name in ("pictures", "maps"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name}: each may be named once")
        return self


class RequestKeyframe(InSession):
    """Asks the encoder of a coded result for a keyframe (not for a painted one: that is `rekey`)."""

    type: Literal["request_keyframe"] = "request_keyframe"


class Flush(InSession):
    """Answered by `flushed` when every frame sent before it has been answered."""

    type: Literal["flush"] = "flush"
    request: Count


class Close(InSession):
    """Ends the session. Frames in hand are finished first, unless `discard`. Answered by `closed`."""

    type: Literal["close"] = "close"
    discard: bool = False


class Ping(Message):
    """Either side may send it; answered by `pong` with the same nonce."""

    type: Literal["ping"] = "ping"
    nonce: Count = 0


class Pong(Message):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"
    nonce: Count = 0


class AskStatus(Message):
    """Asks how the daemon does. Answered by `status`."""

    type: Literal["status"] = "status"


class Opened(InSession):
    """The session stands. So many frames as `credit` may be sent and not yet answered at once."""

    type: Literal["opened"] = "opened"
    token: Name  # names the session beyond this connection
    credit: Frames
    epoch: Count
    painter: Name
    flow: Name
    looks: tuple[Name, ...]  # what Brief.look may be with this painter
    width: Side  # of the working canvas, which maps are on
    height: Side
    server: Label
    linger_s: Seconds = 0.0  # so long the session waits for a client that is gone
    id: Label = ""  # of `status`, and for `watch`


class Resumed(InSession):
    """The session goes on, on this connection. The answers after `seq` of `resume` follow."""

    type: Literal["resumed"] = "resumed"
    credit: Frames
    epoch: Count
    last_index: Count | None = None  # of the frames taken; later ones were lost on the way. None: none was taken
    last_request: Count | None = None  # of the requests taken; None: none was
    pending: Annotated[tuple[Count, ...], Len(0, 2 * MAX_WINDOW)] = ()  # frames taken whose answers are still to come
    server: Label


class Provenance(StrEnum):
    """Where most of a frame comes from."""

    PAINTED = "painted"  # painted in full
    WARPED = "warped"  # warped keyframes, their holes painted
    FILLED = "filled"  # a warped keyframe, its holes filled cheaply for now
    HELD = "held"  # the raw frame or the last output, as nothing is painted yet


class Part(Model):
    """One payload. A picture (`picture`) is coded as the session's `result` says; a map is a C-ordered array."""

    name: Literal["picture", "flow", "confidence", "hops", "holes"]
    dtype: Literal["uint8", "float32"] | None = None  # of a map
    shape: Annotated[tuple[Positive, ...], Len(0, 3)] | None = None  # of a map: height, width[, 2]


class SeenPart(Model):
    """One payload of `seen`: an array in row order. A picture is bgr24, upright, on the working canvas unpadded."""

    name: Literal["raw", "painted", "flow", "confidence", "hops", "holes"]
    dtype: Literal["uint8", "float32"]
    shape: Annotated[tuple[Positive, ...], Len(2, 3)]  # height, width[, channels]


class Painted(Answer):
    """A painted frame; one payload a part."""

    type: Literal["painted"] = "painted"
    index: Count
    pts: Number
    epoch: Count  # of the Brief that it was painted by
    provenance: Annotated[Provenance, Field(strict=False)]
    keyframe: bool = False  # a keyframe was painted for it; it may fade in
    parts: Annotated[tuple[Part, ...], Len(1, 5)]
    coded_keyframe: bool = True  # the picture can be decoded without an earlier one
    holes: Share = 0.0  # share of the canvas that no reference explained
    painted_pixels: Count = 0  # pixels that the painter painted for this frame
    confidence: Share = 0.0  # mean confidence of the flow
    tags: Annotated[tuple[Name, ...], Len(0, MAX_TAGS)] = ()  # of a keyframe: what the tagger saw and the prompt got
    delay_ms: Milliseconds = 0.0  # from arrival to sending
    stages_ms: Annotated[dict[Name, Milliseconds], Len(0, 32)] = {}


class Dropped(Answer):
    """A frame that will not be painted, and why."""

    type: Literal["dropped"] = "dropped"
    index: Count
    pts: Number
    stage: Name
    reason: Annotated[Code, Field(strict=False)]


class Credit(InSession):
    """From now on so many frames may be unanswered at once; 0: the daemon takes no more."""

    type: Literal["credit"] = "credit"
    frames: Annotated[int, Interval(ge=0, le=MAX_WINDOW)]


class Updated(Answer):
    """An `update` or `rekey` is taken; or, with `epoch` and `shown_at`, is shown for the first time by that frame."""

    type: Literal["updated"] = "updated"
    request: Count
    epoch: Count | None = None
    shown_at: Count | None = None


class Flushed(Answer):
    """Every frame sent before the `flush` has been answered."""

    type: Literal["flushed"] = "flushed"
    request: Count


class Watching(InSession):
    """What is watched: in answer to `watch`, and again before the next `seen` when something of it has changed."""

    type: Literal["watching"] = "watching"
    id: Name
    client: Label  # of the session's `open`
    painter: Name
    flow: Name
    pacing: Pacing
    looks: tuple[Name, ...]  # what Brief.look may be with this painter
    brief: Brief
    rate: Annotated[float, Interval(gt=0.0, le=MAX_RATE)] | None = None  # frames a second of the source, if known
    time_base: Ratio = (1, 1000)  # seconds a tick of `pts`
    sample_aspect: Ratio = (1, 1)  # of the upright picture
    width: Side  # of the pictures and maps that are seen
    height: Side
    may_steer: bool = True  # whether `update`, `rekey` and `hold` are taken
    holding: bool = False  # whether the film is on hold
    epoch: Count


class Seen(InSession):
    """A frame of the session that is watched; one payload a part. Some are left out when they come too fast.

    It is acknowledged by `ack` with its `seq`; `window` of `watch` may be on their way.
    """

    type: Literal["seen"] = "seen"
    seq: Positive  # counts what is seen in this watching, from 1 on
    index: Count
    pts: Number
    epoch: Count
    provenance: Annotated[Provenance, Field(strict=False)]
    keyframe: bool = False
    parts: Annotated[tuple[SeenPart, ...], Len(0, 6)]
    holes: Share = 0.0
    painted_pixels: Count = 0
    confidence: Share = 0.0
    delay_ms: Milliseconds = 0.0  # from arrival to sending
    stages_ms: Annotated[dict[Name, Milliseconds], Len(0, 32)] = {}


class Totals(Model):
    """What became of a session's frames: received = painted + dropped + failed."""

    received: Count = 0
    painted: Count = 0
    dropped: Count = 0
    failed: Count = 0
    keyframes: Count = 0
    canvas_pixels: Count = 0  # of all frames
    painted_pixels: Count = 0  # that the painter painted, keyframes and crops around holes


class Closed(Answer):
    """The session has ended."""

    type: Literal["closed"] = "closed"
    reason: Literal["asked", "shutting_down", "client_gone", "failed", "moved"]  # moved: to another connection
    totals: Totals


class EngineStatus(Model):
    """An engine that the daemon holds."""

    name: Name
    kind: Literal["painter", "flow"]
    calls: Count = 0
    mean_ms: Milliseconds = 0.0
    memory_bytes: Count | None = None  # None: it does not say


class SessionStatus(Model):
    """A session that the daemon serves."""

    session: SessionNumber
    id: Label = ""  # names it for `watch`; not its token
    client: Label = ""  # of its `open`
    painter: Name
    flow: Name
    pacing: Pacing
    width: Side
    height: Side
    waiting: Count  # frames received and not yet begun
    unsent: Count  # results that the client has not yet taken
    references_bytes: Count
    connected: bool = True  # False: its client is gone, and may come back
    delay_ms: Milliseconds = 0.0  # mean of the frames painted, from arrival to sending
    totals: Totals
    stages_ms: Annotated[dict[Name, Milliseconds], Len(0, 32)]  # mean a frame
    dropped_at: Annotated[dict[Name, Count], Len(0, 32)]  # by stage


class Status(Message):
    """How the daemon does."""

    type: Literal["status"] = "status"
    server: Label
    pid: Count
    uptime_s: Annotated[float, Interval(ge=0.0)]
    resident_bytes: Count
    engines: tuple[EngineStatus, ...]
    sessions: tuple[SessionStatus, ...]  # the longest open; at most MAX_STATUS_SESSIONS


class Notice(InSession):
    """Something that costs no frame: a painting of a live session failed, or a prompt was cut. The session goes on."""

    type: Literal["notice"] = "notice"
    code: Annotated[Code, Field(strict=False)]
    message: Text


class Error(Message):
    """What could not be done. `index` and `request` name the frame or request that it is about, where there is one."""

    type: Literal["error"] = "error"
    session: SessionNumber | None = None
    index: Count | None = None
    request: Count | None = None
    seq: Count | None = None  # as in other answers: of a frame or request that was taken, and then failed
    code: Annotated[Code, Field(strict=False)]
    retry: Annotated[Retry, Field(strict=False)]
    message: Text


ToServer = Annotated[
    Open
    | Resume
    | Ack
    | FrameIn
    | Update
    | Rekey
    | Hold
    | Watch
    | RequestKeyframe
    | Flush
    | Close
    | Ping
    | Pong
    | AskStatus,
    Field(discriminator="type"),
]
ToClient = Annotated[
    Opened
    | Resumed
    | Painted
    | Dropped
    | Credit
    | Updated
    | Flushed
    | Watching
    | Seen
    | Closed
    | Notice
    | Ping
    | Pong
    | Status
    | Error,
    Field(discriminator="type"),
]


def wire_form(message: BaseModel) -> dict[str, Any]:
    """A message as plain values, in the form that is packed; fields that hold their defaults are left out."""
    plain: dict[str, Any] = message.model_dump(mode="json", exclude_defaults=True)
    if isinstance(message, Message):
        return {"v": message.v, "type": message.type, **plain}  # type: ignore[attr-defined]
    return plain
