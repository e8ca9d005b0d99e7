"""Everything that can go wrong on the wire.

WarpaintError
├── ProtocolError            bytes that are no message of this protocol; carries the Code to answer with
│   ├── MalformedMessage     not a MessagePack map, or cut short
│   ├── UnsupportedVersion   a version of the protocol that is not spoken here
│   ├── UnknownMessage       a `type` that is not known
│   ├── InvalidMessage       a field that is missing or out of its range
│   └── TooLarge             past one of the limits in limits.py
└── RefusedError             a well-formed request that cannot be met; carries the Code
"""

from enum import StrEnum


class Retry(StrEnum):
    """What to do after an error."""

    NO = "no"  # the same request will fail again
    CHANGED = "changed"  # change the request as the message says, then send it again
    LATER = "later"  # the same request may succeed later


class Code(StrEnum):
    """The stable name of what went wrong. The message beside it is for people and may change."""

    BAD_MESSAGE = "bad_message"  # bytes that are no message
    UNSUPPORTED_VERSION = "unsupported_version"  # `v` is not spoken here
    UNKNOWN_TYPE = "unknown_type"  # `type` is not known
    INVALID_FIELD = "invalid_field"  # a field is missing, of the wrong type, or out of its range
    TOO_LARGE = "too_large"  # a header, payload or picture past its limit
    NO_SESSION = "no_session"  # the session was never opened, or has ended
    SESSION_EXISTS = "session_exists"  # the number is in use on this connection
    TOO_MANY_SESSIONS = "too_many_sessions"  # the daemon is full
    UNKNOWN_TOKEN = "unknown_token"  # no session waits under this token: it has ended, or waited too long
    OVERLOADED = "overloaded"  # a live session that could not be served in time beside those there are
    UNKNOWN_ENGINE = "unknown_engine"  # a painter or flow that the daemon does not hold
    BAD_BRIEF = "bad_brief"  # a Brief that the chosen painter cannot follow
    UNSUPPORTED = "unsupported"  # understood, but not offered by this daemon or session
    BAD_PAYLOAD = "bad_payload"  # the payload's length does not fit its description
    BAD_FRAME = "bad_frame"  # the picture cannot be decoded, or is not what `open` announced
    BAD_INDEX = "bad_index"  # frame numbers must grow
    WINDOW_OVERRUN = "window_overrun"  # more frames than credit
    SUPERSEDED = "superseded"  # live: a newer frame came before this one was begun
    LATE = "late"  # live: the frame waited longer than `max_delay_ms`
    SLOW_READER = "slow_reader"  # live: the client does not take its results as fast as they come
    LOST = "lost"  # the frame or its answer was lost with the connection, or with the daemon
    PAINTER_FAILED = "painter_failed"  # the painter raised, or gave a wrong result
    PAINTER_TIMEOUT = "painter_timeout"  # the painter took longer than the daemon allows
    RESOURCE_EXHAUSTED = "resource_exhausted"  # the painter's device has not enough memory for this
    PROMPT_CUT = "prompt_cut"  # in a notice: the prompt is longer than the model reads; the rest was left out
    NO_STILL = "no_still"  # in a notice: a frame came without its still, and was made of the raw one
    FLOW_FAILED = "flow_failed"  # the flow engine raised, or gave a wrong result
    ENCODER_FAILED = "encoder_failed"  # the result could not be encoded
    CANCELLED = "cancelled"  # the session ended before the frame was painted
    SHUTTING_DOWN = "shutting_down"  # the daemon is stopping
    INTERNAL = "internal"  # a defect of the daemon; its log has more


RETRY: dict[Code, Retry] = {
    Code.BAD_MESSAGE: Retry.NO,
    Code.UNSUPPORTED_VERSION: Retry.NO,
    Code.UNKNOWN_TYPE: Retry.NO,
    Code.INVALID_FIELD: Retry.CHANGED,
    Code.TOO_LARGE: Retry.CHANGED,
    Code.NO_SESSION: Retry.CHANGED,
    Code.SESSION_EXISTS: Retry.CHANGED,
    Code.TOO_MANY_SESSIONS: Retry.LATER,
    Code.UNKNOWN_TOKEN: Retry.CHANGED,
    Code.OVERLOADED: Retry.CHANGED,
    Code.UNKNOWN_ENGINE: Retry.CHANGED,
    Code.BAD_BRIEF: Retry.CHANGED,
    Code.UNSUPPORTED: Retry.CHANGED,
    Code.BAD_PAYLOAD: Retry.CHANGED,
    Code.BAD_FRAME: Retry.CHANGED,
    Code.BAD_INDEX: Retry.CHANGED,
    Code.WINDOW_OVERRUN: Retry.LATER,
    Code.SUPERSEDED: Retry.NO,
    Code.LATE: Retry.NO,
    Code.SLOW_READER: Retry.NO,
    Code.LOST: Retry.NO,
    Code.PAINTER_FAILED: Retry.LATER,
    Code.PAINTER_TIMEOUT: Retry.LATER,
    Code.RESOURCE_EXHAUSTED: Retry.CHANGED,
    Code.PROMPT_CUT: Retry.CHANGED,
    Code.NO_STILL: Retry.CHANGED,
    Code.FLOW_FAILED: Retry.LATER,
    Code.ENCODER_FAILED: Retry.LATER,
    Code.CANCELLED: Retry.LATER,
    Code.SHUTTING_DOWN: Retry.LATER,
    Code.INTERNAL: Retry.LATER,
}


class WarpaintError(Exception):
    """The root of all errors that warpaint raises on purpose."""


class ProtocolError(WarpaintError):
    """Bytes that are no message of this protocol, with the session, frame and request that they name, if they do."""

    code = Code.BAD_MESSAGE

    def __init__(
        self, message: str, *, session: int | None = None, index: int | None = None, request: int | None = None
    ) -> None:
        super().__init__(message)
        self.session = session
        self.index = index
        self.request = request


class MalformedMessage(ProtocolError):
    """Not a MessagePack map, or cut short."""

    code = Code.BAD_MESSAGE


class UnsupportedVersion(ProtocolError):
    """A version of the protocol that is not spoken here."""

    code = Code.UNSUPPORTED_VERSION


class UnknownMessage(ProtocolError):
    """A `type` that is not known."""

    code = Code.UNKNOWN_TYPE


class InvalidMessage(ProtocolError):
    """A field that is missing, of the wrong type, or out of its range."""

    code = Code.INVALID_FIELD


class TooLarge(ProtocolError):
    """Past one of the limits in limits.py."""

    code = Code.TOO_LARGE


class RefusedError(WarpaintError):
    """A well-formed request that cannot be met."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
