"""Writes proto/vectors/: messages in bytes beside their meaning, and bytes that are no message beside their code.

    python tests/proto/make_vectors.py

A part of a message is written as hex. A long one is a list of pieces instead, each of them hex or a piece that repeats,
`{"repeat_hex": "91", "times": 60000}`. test_vectors.py proves that the files are current.
"""

import json
from pathlib import Path
from typing import Any

import msgpack

from warpaint.proto.brief import Brief
from warpaint.proto.errors import RETRY, Code
from warpaint.proto.limits import (
    MAX_CONTROLS,
    MAX_HEADER_BYTES,
    MAX_LORAS,
    MAX_NESTING,
    MAX_PAYLOAD_BYTES,
    MAX_PAYLOADS,
    MAX_TEXT,
    MAX_WATCH_WINDOW,
)
from warpaint.proto.messages import (
    Ack,
    AskStatus,
    Close,
    Closed,
    Colour,
    Credit,
    Dropped,
    EngineStatus,
    Error,
    Flush,
    Flushed,
    FrameIn,
    Hold,
    Message,
    Notice,
    Open,
    Opened,
    Painted,
    Part,
    Ping,
    Pong,
    Provenance,
    Rekey,
    RequestKeyframe,
    Result,
    Resume,
    Resumed,
    Seen,
    SeenPart,
    SessionStatus,
    Source,
    Status,
    Totals,
    Update,
    Updated,
    Watch,
    Watching,
)
from warpaint.proto.wire import pack, to_server

Vector = dict[str, Any]
FOLDER = Path(__file__).parents[2] / "proto" / "vectors"

# A gray picture of 4 x 2 pixels, the smallest that shows rows and columns.
PICTURE = bytes(range(8))
# A control image of the same size: always three bytes a pixel.
CONTROL_IMAGE = bytes(range(0x40, 0x58))
PAINTED_PICTURE = bytes(range(0x80, 0x88))
# (dx, dy) = (0.5, -1) for each of its pixels: float32, little endian.
FLOW = bytes.fromhex("0000003f000080bf") * 8
CONFIDENCE = bytes.fromhex("0000803f") * 8
# What somebody who watches sees of it: bgr24.
SEEN_PICTURE = bytes(range(0x20, 0x38))
HOPS = bytes([1]) * 8
HOLES = bytes([0, 0, 0, 1]) * 2

GRAY = Source(width=4, height=2, pixels="gray")
TOTALS = Totals(
    received=9, painted=7, dropped=1, failed=1, keyframes=2, canvas_pixels=7 * 64, painted_pixels=2 * 64 + 20
)
# Two frames, both painted in full, on a canvas of 8 x 8 pixels.
CONVERSATION_TOTALS = Totals(received=2, painted=2, keyframes=2, canvas_pixels=128, painted_pixels=128)


def valid_vectors() -> list[Vector]:
    """One or more for each message type: with only what must be there, and with everything."""
    return [
        *(_valid("to_server", name, message, *payloads) for name, message, *payloads in _client_messages()),
        *(_valid("to_client", name, message, *payloads) for name, message, *payloads in _server_messages()),
        *_other_spellings(),
        *_conversation(),
    ]


def invalid_vectors() -> list[Vector]:
    """Bytes that are refused, each with the code of the refusal."""
    return [*_malformed(), *_headers_refused(), *_fields_refused(), *_briefs_refused(), *_payloads_refused()]


def written(vectors: list[Vector]) -> str:
    """The text of a file of vectors: one a line."""
    return "[\n" + ",\n".join(json.dumps(each) for each in vectors) + "\n]\n"


def _client_messages() -> list[tuple[Any, ...]]:
    return [
        ("open-minimal", Open(session=1, source=GRAY)),
        ("open-full", _full_open()),
        ("resume-minimal", Resume(session=1, token="k3Jx9QmB")),
        ("resume-full", Resume(session=1, token="k3Jx9QmB", seq=40)),
        ("ack", Ack(session=1, seq=41)),
        ("frame", FrameIn(session=1, index=0, pts=0), PICTURE),
        ("frame-negative-pts", FrameIn(session=1, index=2**53 - 1, pts=-(2**53 - 1)), PICTURE),
        ("frame-with-a-control", FrameIn(session=1, index=1, pts=40, controls=("depth",)), PICTURE, CONTROL_IMAGE),
        ("frame-with-controls", _full_frame(), PICTURE, *[CONTROL_IMAGE] * MAX_CONTROLS),
        (
            "frame-marked",
            FrameIn(session=1, index=3, pts=120, controls=("still",), keyframe=True),
            PICTURE,
            CONTROL_IMAGE,
        ),
        ("update-minimal", Update(session=1, request=1, changes={})),
        ("update-full", Update(session=1, request=2, changes={"look": "pencil", "seed": 7, "strength": 0.5})),
        ("update-lists", Update(session=1, request=2, changes={"loras": ("lcm:1", "ink:0.5"), "tag_block": ()})),
        ("rekey", Rekey(session=1, request=3)),
        ("hold", Hold(session=1, request=4, on=True)),
        ("watch-minimal", Watch(session=2, id="5d41402a")),
        ("watch-full", _full_watch()),
        ("watch-nothing", Watch(session=2, id="5d41402a", pictures=())),
        ("request_keyframe", RequestKeyframe(session=1)),
        ("flush", Flush(session=1, request=5)),
        ("close-minimal", Close(session=1)),
        ("close-full", Close(session=1, discard=True)),
        ("ping-minimal", Ping()),
        ("ping-full", Ping(nonce=77)),
        ("pong-minimal", Pong()),
        ("pong-full", Pong(nonce=77)),
        ("status", AskStatus()),
    ]


def _full_frame() -> FrameIn:
    return FrameIn(session=1, index=2, pts=80, controls=("depth", "canny", "openpose", "my-scribbles_2"))


def _full_open() -> Open:
    return Open(
        session=2**31 - 1,
        source=Source(
            width=5,
            height=3,
            encoding="h264",
            pixels="yuv420p",
            strides=(8, 4, 16),
            colour=Colour(matrix="bt709", full_range=True),
            time_base=(1001, 30000),
            sample_aspect=(4, 3),
            rotation=90,
            rate=29.97,
        ),
        result=Result(encoding="vp9", pixels="nv12", quality=75, crf=30, gop_frames=25),
        brief=Brief(
            look="pencil",
            prompt="a harbour in winter, \N{LATIN SMALL LETTER O WITH DIAERESIS}l p\N{LATIN SMALL LETTER A WITH ACUTE}",
            negative_prompt="people",
            strength=0.5,
            seed=7,
            vary_seed=True,
            steps=8,
            guidance=1.5,
            scheduler="lcm",
            loras=("lcm", "ink:0.5", "grain:-0.25"),
            controls=("canny", "lineart:0.75:0:0.5"),
            vae="tiny",
            clip_skip=1,
            prompt_fade_s=2.0,
            keyframe_start="warped",
            attend_last=True,
            colour_lock_s=30.0,
            tag_threshold=0.5,
            tag_prefix="an etching of",
            tag_block=("text", "watermark"),
            keyframes="marked",
            keyframe_threshold=40.0,
            keyframe_gap_min_s=0.5,
            keyframe_gap_max_s=5.0,
            cut_detection=False,
            hole_limit=0.25,
            hole_limit_s=0.5,
            confidence=0.75,
            max_hops=4,
            fade_s=0.5,
            when_unpainted="held",
            feather=8,
        ),
        painter="filters",
        flow="dis",
        pacing="live",
        max_delay_ms=80.0,
        linger_s=60.0,
        max_pixels=262_144,
        maps=("flow", "confidence", "hops", "holes"),
        client="example 1.0",
    )


def _server_messages() -> list[tuple[Any, ...]]:
    return [
        ("opened", _opened()),
        ("resumed-minimal", Resumed(session=1, credit=8, epoch=0, server="warpaint 0.1.0")),
        (
            "resumed-full",
            Resumed(
                session=1, credit=8, epoch=2, last_index=41, last_request=3, pending=(40, 41), server="warpaint 0.1.0"
            ),
        ),
        ("notice", Notice(session=1, code=Code.PAINTER_FAILED, message="the painter 'filters' failed")),
        ("notice-prompt-cut", Notice(session=1, code=Code.PROMPT_CUT, message="the prompt has 99 tokens")),
        ("painted-minimal", _painted(Provenance.PAINTED), PAINTED_PICTURE),
        ("painted-full", _full_painted(), PAINTED_PICTURE, FLOW, CONFIDENCE, HOPS, HOLES),
        ("painted-filled", _painted(Provenance.FILLED), PAINTED_PICTURE),
        ("painted-held", _painted(Provenance.HELD), PAINTED_PICTURE),
        ("dropped", Dropped(session=1, seq=4, index=3, pts=120, stage="queue", reason=Code.CANCELLED)),
        ("credit", Credit(session=1, frames=4)),
        ("credit-none", Credit(session=1, frames=0)),
        ("updated-minimal", Updated(session=1, request=2)),
        ("updated-full", Updated(session=1, seq=42, request=2, epoch=1, shown_at=40)),
        ("flushed", Flushed(session=1, request=5)),
        ("watching-minimal", _watching()),
        ("watching-full", _full_watching()),
        ("seen-minimal", Seen(session=2, seq=1, index=0, pts=0, epoch=0, provenance=Provenance.HELD, parts=())),
        ("seen-full", _full_seen(), SEEN_PICTURE, SEEN_PICTURE, FLOW, CONFIDENCE, HOPS, HOLES),
        ("closed-minimal", Closed(session=1, reason="asked", totals=Totals())),
        ("closed-full", Closed(session=1, seq=43, reason="shutting_down", totals=TOTALS)),
        ("ping-minimal", Ping()),
        ("ping-full", Ping(nonce=77)),
        ("pong-minimal", Pong()),
        ("pong-full", Pong(nonce=77)),
        ("status-minimal", _status()),
        ("status-full", _full_status()),
        ("error-minimal", _error(Code.BAD_MESSAGE)),
        ("error-full", _error(Code.UNSUPPORTED, session=1, index=3, request=4, seq=9)),
        *((f"error-{code.value}", _error(code, session=1)) for code in Code),
    ]


def _opened() -> Opened:
    return Opened(
        session=1,
        token="k3Jx9QmB",
        credit=8,
        epoch=0,
        painter="filters",
        flow="dis",
        looks=("strokes", "pencil"),
        width=8,
        height=8,
        server="warpaint 0.1.0",
        linger_s=30.0,
        id="5d41402a",
    )


def _painted(provenance: Provenance, *, index: int = 0, pts: int = 0, epoch: int = 0) -> Painted:
    parts = (Part(name="picture"),)
    return Painted(session=1, index=index, pts=pts, epoch=epoch, provenance=provenance, parts=parts)


def _full_painted() -> Painted:
    return Painted(
        session=1,
        seq=2,
        index=1,
        pts=40,
        epoch=2,
        provenance=Provenance.WARPED,
        parts=(
            Part(name="picture"),
            Part(name="flow", dtype="float32", shape=(2, 4, 2)),
            Part(name="confidence", dtype="float32", shape=(2, 4)),
            Part(name="hops", dtype="uint8", shape=(2, 4)),
            Part(name="holes", dtype="uint8", shape=(2, 4)),
        ),
        coded_keyframe=False,
        holes=0.25,
        painted_pixels=2,
        confidence=0.5,
        tags=("harbour", "snow"),
        delay_ms=12.5,
        stages_ms={"match": 8.0, "paint": 2.5},
    )


def _full_watch() -> Watch:
    return Watch(
        session=2,
        id="5d41402a",
        pictures=("painted", "raw"),
        maps=("holes", "flow", "confidence", "hops"),
        window=MAX_WATCH_WINDOW,
    )


def _watching() -> Watching:
    return Watching(
        session=2,
        id="5d41402a",
        client="",
        painter="filters",
        flow="dis",
        pacing="live",
        looks=("strokes", "pencil"),
        brief=Brief(),
        width=4,
        height=2,
        epoch=0,
    )


def _full_watching() -> Watching:
    return _watching().model_copy(
        update={
            "client": "example 1.0",
            "brief": Brief(look="pencil", prompt="a harbour", strength=0.5, loras=("ink:0.5",)),
            "rate": 29.97,
            "time_base": (1, 90_000),
            "sample_aspect": (4, 3),
            "may_steer": False,
            "holding": True,
            "epoch": 3,
        }
    )


def _full_seen() -> Seen:
    return Seen(
        session=2,
        seq=7,
        index=1,
        pts=-40,
        epoch=2,
        provenance=Provenance.WARPED,
        keyframe=True,
        parts=(
            SeenPart(name="raw", dtype="uint8", shape=(2, 4, 3)),
            SeenPart(name="painted", dtype="uint8", shape=(2, 4, 3)),
            SeenPart(name="flow", dtype="float32", shape=(2, 4, 2)),
            SeenPart(name="confidence", dtype="float32", shape=(2, 4)),
            SeenPart(name="hops", dtype="uint8", shape=(2, 4)),
            SeenPart(name="holes", dtype="uint8", shape=(2, 4)),
        ),
        holes=0.25,
        painted_pixels=2,
        confidence=0.5,
        delay_ms=12.5,
        stages_ms={"match": 8.0, "paint": 2.5},
    )


def _status() -> Status:
    return Status(server="warpaint 0.1.0", pid=4711, uptime_s=2.5, resident_bytes=104_857_600, engines=(), sessions=())


def _full_status() -> Status:
    session = SessionStatus(
        session=1,
        id="5d41402a",
        client="example 1.0",
        painter="filters",
        flow="dis",
        pacing="every",
        width=8,
        height=8,
        waiting=1,
        unsent=2,
        references_bytes=4096,
        connected=False,
        delay_ms=12.5,
        totals=TOTALS,
        stages_ms={"match": 8.0},
        dropped_at={"queue": 1},
    )
    engines = (
        EngineStatus(name="filters", kind="painter", calls=9, mean_ms=2.5, memory_bytes=1024),
        EngineStatus(name="dis", kind="flow"),
    )
    return _status().model_copy(update={"engines": engines, "sessions": (session,)})


def _error(code: Code, **about: Any) -> Error:
    return Error(code=code, retry=RETRY[code], message="what happened", **about)


def _conversation() -> list[Vector]:
    """What SPEC.md shows at its end, in order."""
    said: list[tuple[str, Message, *tuple[bytes, ...]]] = [
        ("to_server", Open(session=1, source=GRAY, result=Result(pixels="gray"))),
        ("to_client", _opened()),
        ("to_server", FrameIn(session=1, index=0, pts=0), PICTURE),
        ("to_client", _painted(Provenance.PAINTED), PAINTED_PICTURE),
        ("to_server", Update(session=1, request=1, changes={"look": "pencil"})),
        ("to_client", Updated(session=1, request=1)),
        ("to_server", FrameIn(session=1, index=1, pts=40), PICTURE),
        ("to_client", _painted(Provenance.PAINTED, index=1, pts=40, epoch=1), PAINTED_PICTURE),
        ("to_client", Updated(session=1, request=1, epoch=1, shown_at=1)),
        ("to_server", Flush(session=1, request=2)),
        ("to_client", Flushed(session=1, request=2)),
        ("to_server", Close(session=1)),
        ("to_client", Closed(session=1, reason="asked", totals=CONVERSATION_TOTALS)),
    ]
    return [
        _valid(direction, f"conversation-{number:02}-{message.type}", message, *payloads)  # type: ignore[attr-defined]
        for number, (direction, message, *payloads) in enumerate(said, start=1)
    ]


def _other_spellings() -> list[Vector]:
    """Messages as another program may write them: defaults spelled out, keys in any order, any width of a number."""
    spelled_out = {"v": 1, **_full_form(Open(session=1, source=GRAY))}
    newer = {"v": 1, "type": "rekey", "session": 1, "request": 3, "since": 1.5, "why": {"cut": [1, 2]}}
    newer_source = {"width": 4, "height": 2, "pixels": "gray", "hdr": True}
    shuffled = {"pts": 0, "index": 0, "session": 1, "type": "frame", "v": 1}
    whole = {"v": 1, "type": "open", "session": 1, "source": _full_form(GRAY), "brief": {"strength": 1, "fade_s": 0}}
    return [
        _spelled("open-defaults-spelled-out", spelled_out),
        _spelled("open-unknown-key-in-source", {"v": 1, "type": "open", "session": 1, "source": newer_source}),
        _spelled("open-integers-for-numbers", whole),
        _spelled("rekey-unknown-keys", newer),
        _spelled("frame-keys-in-any-order", shuffled, PICTURE),
        _spelled("frame-empty-payload", {"v": 1, "type": "frame", "session": 1, "index": 0, "pts": 0}, b""),
        # map 32, str 8 and str 16, uint 64, int 64: longer than need be, and allowed.
        _from_bytes(
            "ping-wide-forms",
            "df00000003d90176cf0000000000000001da000474797065d90470696e67d9056e6f6e6365d3000000000000004d",
        ),
    ]


def _malformed() -> list[Vector]:
    ping = pack(Ping())
    close = b"\x84\xa1v\x01\xa4type\xa5close\xa7session\x01\xa3new"
    return [
        *(_invalid(f"cut-after-{size}-bytes", Code.BAD_MESSAGE, ping[:size]) for size in range(len(ping))),
        _invalid("no-parts", Code.BAD_MESSAGE),
        _invalid("array-for-header", Code.BAD_MESSAGE, msgpack.packb([1, "ping"])),
        _invalid("text-for-header", Code.BAD_MESSAGE, msgpack.packb("ping")),
        _invalid("nil-for-header", Code.BAD_MESSAGE, b"\xc0"),
        _invalid("json-for-header", Code.BAD_MESSAGE, b'{"v":1,"type":"ping"}'),
        _invalid("delimiter-before-header", Code.BAD_MESSAGE, b"", ping),
        _invalid("bytes-for-a-key", Code.BAD_MESSAGE, msgpack.packb({"v": 1, "type": "ping", b"x": 1})),
        _invalid("bytes-for-a-key-inside", Code.BAD_MESSAGE, msgpack.packb({"v": 1, "type": "ping", "new": {b"x": 1}})),
        _invalid("trailing-byte", Code.BAD_MESSAGE, ping + b"\xc0"),
        _invalid("two-headers-in-one-part", Code.BAD_MESSAGE, ping + ping),
        _invalid("reserved-byte", Code.BAD_MESSAGE, b"\x81\xa1v\xc1"),
        _invalid("invalid-utf8-in-key", Code.BAD_MESSAGE, b"\x81\xa2v\xff\x01"),
        _invalid("invalid-utf8-in-value", Code.BAD_MESSAGE, ping.replace(b"ping", b"pin\xff")),
        _invalid("surrogate-in-value", Code.BAD_MESSAGE, ping.replace(b"ping", b"p\xed\xa0\x80")),
        _invalid("integer-for-key", Code.BAD_MESSAGE, b"\x83" + ping[1:] + b"\x07\xc0"),
        _invalid("map-claims-more-than-is-there", Code.BAD_MESSAGE, b"\xdf\xff\xff\xff\xff"),
        _invalid("text-claims-more-than-is-there", Code.BAD_MESSAGE, b"\x81\xa1v\xdb\xff\xff\xff\xff"),
        # The header is the first of these maps and arrays.
        _invalid("nested-too-deep", Code.BAD_MESSAGE, close + b"\x91" * (MAX_NESTING - 1) + b"\x90"),
        _invalid("nested-past-a-thousand", Code.BAD_MESSAGE, [close.hex(), _repeated("91", 1020), "c0"]),
        _invalid("nested-to-the-end-of-the-header", Code.BAD_MESSAGE, [close.hex(), _repeated("91", 60_000), "c0"]),
    ]


def _headers_refused() -> list[Vector]:
    ping = {"v": 1, "type": "ping"}
    return [
        _refused("version-missing", Code.UNSUPPORTED_VERSION, {"type": "ping"}),
        _refused("version-of-the-future", Code.UNSUPPORTED_VERSION, {**ping, "v": 2}),
        _refused("version-zero", Code.UNSUPPORTED_VERSION, {**ping, "v": 0}),
        _refused("version-boolean", Code.UNSUPPORTED_VERSION, {**ping, "v": True}),
        _refused("version-float", Code.UNSUPPORTED_VERSION, {**ping, "v": 1.0}),
        _refused("version-text", Code.UNSUPPORTED_VERSION, {**ping, "v": "1"}),
        _refused("empty-map", Code.UNSUPPORTED_VERSION, {}),
        _refused("type-missing", Code.UNKNOWN_TYPE, {"v": 1}),
        _refused("type-unknown", Code.UNKNOWN_TYPE, {**ping, "type": "paint"}),
        _refused("type-of-the-other-direction", Code.UNKNOWN_TYPE, {**ping, "type": "opened"}),
        _refused("type-binary", Code.UNKNOWN_TYPE, {**ping, "type": b"ping"}),
        _refused("type-array", Code.UNKNOWN_TYPE, {**ping, "type": ["ping"]}),
        _invalid("frame-sent-to-a-client", Code.UNKNOWN_TYPE, msgpack.packb(_frame()), PICTURE, direction="to_client"),
        _invalid("header-too-large", Code.TOO_LARGE, [_repeated("00", MAX_HEADER_BYTES + 1)]),
    ]


def _fields_refused() -> list[Vector]:
    update = {"v": 1, "type": "update", "session": 1, "request": 1}
    return [
        _refused("frame-without-index", Code.INVALID_FIELD, {"v": 1, "type": "frame", "session": 1, "pts": 0}, PICTURE),
        _refused("open-without-source", Code.INVALID_FIELD, {"v": 1, "type": "open", "session": 1}),
        *_numbers_refused(),
        *_controls_refused(),
        *_watches_refused(),
        _refused("flag-of-wrong-type", Code.INVALID_FIELD, {"v": 1, "type": "close", "session": 1, "discard": 1}),
        _refused("mark-of-wrong-type", Code.INVALID_FIELD, {**_frame(), "keyframe": 1}, PICTURE),
        _refused("source-too-wide", Code.INVALID_FIELD, _open(source={"width": 16_385, "height": 1})),
        _refused("source-without-height", Code.INVALID_FIELD, _open(source={"width": 4, "height": 0})),
        _refused("source-of-too-many-pixels", Code.INVALID_FIELD, _open(source={"width": 16_384, "height": 4_097})),
        _refused("encoding-unknown", Code.INVALID_FIELD, _open(result={"encoding": "png"})),
        _refused("rotation-a-float", Code.INVALID_FIELD, _open(source={"width": 4, "height": 2, "rotation": 90.0})),
        _refused("rotation-a-boolean", Code.INVALID_FIELD, _open(source={"width": 4, "height": 2, "rotation": False})),
        _refused(
            "rotation-not-of-a-quarter", Code.INVALID_FIELD, _open(source={"width": 4, "height": 2, "rotation": 45})
        ),
        _refused(
            "time-base-of-three", Code.INVALID_FIELD, _open(source={"width": 4, "height": 2, "time_base": [1, 2, 3]})
        ),
        _refused("time-base-zero", Code.INVALID_FIELD, _open(source={"width": 4, "height": 2, "time_base": [1, 0]})),
        _refused("too-many-maps", Code.INVALID_FIELD, _open(maps=["flow"] * 5)),
        _refused("name-too-long", Code.INVALID_FIELD, _open(painter="x" * 201)),
        _refused("name-empty", Code.INVALID_FIELD, _open(painter="")),
        _refused("text-binary", Code.INVALID_FIELD, _open(client=b"example")),
        _refused("changes-not-a-map", Code.INVALID_FIELD, {**update, "changes": [["seed", 7]]}),
        _refused("changes-with-a-list", Code.INVALID_FIELD, {**update, "changes": {"seed": [7]}}),
        _refused("changes-with-a-list-of-lists", Code.INVALID_FIELD, {**update, "changes": {"loras": [["ink", 0.5]]}}),
        _refused("changes-with-a-map", Code.INVALID_FIELD, {**update, "changes": {"loras": {"ink": 0.5}}}),
        _refused("changes-nan", Code.INVALID_FIELD, {**update, "changes": {"strength": float("nan")}}),
    ]


def _numbers_refused() -> list[Vector]:
    values = {
        "text": "0",
        "float": 0.0,
        "boolean": False,
        "nil": None,
        "negative": -1,
        "past-its-limit": 2**53,
        "past-64-bit-signed": 2**63,
    }
    return [
        _refused(f"index-{name}", Code.INVALID_FIELD, {**_frame(), "index": value}, PICTURE)
        for name, value in values.items()
    ]


def _controls_refused() -> list[Vector]:
    """Of a frame, each with as many payloads as it names."""
    values: dict[str, Any] = {
        "twice": ["depth", "depth"],
        "empty": [""],
        "of-numbers": [1],
        "nil": None,
        "text": "depth",
    }
    many = {**_frame(), "controls": list("abcde")}
    return [
        *(
            _refused(
                f"frame-controls-{name}",
                Code.INVALID_FIELD,
                {**_frame(), "controls": value},
                PICTURE,
                *[CONTROL_IMAGE] * (len(value) if isinstance(value, list) else 1),
            )
            for name, value in values.items()
        ),
        _refused("frame-controls-too-many", Code.INVALID_FIELD, many, PICTURE, *[CONTROL_IMAGE] * MAX_CONTROLS),
    ]


def _watches_refused() -> list[Vector]:
    watch = {"v": 1, "type": "watch", "session": 2, "id": "5d41402a"}
    return [
        _refused("watch-without-id", Code.INVALID_FIELD, {"v": 1, "type": "watch", "session": 2}),
        _refused("watch-id-empty", Code.INVALID_FIELD, {**watch, "id": ""}),
        _refused("watch-pictures-twice", Code.INVALID_FIELD, {**watch, "pictures": ["raw", "raw"]}),
        _refused("watch-picture-unknown", Code.INVALID_FIELD, {**watch, "pictures": ["flow"]}),
        _refused("watch-maps-twice", Code.INVALID_FIELD, {**watch, "maps": ["flow", "flow"]}),
        _refused("watch-window-none", Code.INVALID_FIELD, {**watch, "window": 0}),
        _refused("watch-window-too-large", Code.INVALID_FIELD, {**watch, "window": MAX_WATCH_WINDOW + 1}),
    ]


def _briefs_refused() -> list[Vector]:
    gaps = {"keyframe_gap_min_s": 2.0, "keyframe_gap_max_s": 1.0}
    prompt = [
        msgpack.packb(_open(brief={"prompt": ""}))[:-1].hex() + f"da{MAX_TEXT + 1:04x}",
        _repeated("78", MAX_TEXT + 1),
    ]
    return [
        _refused("brief-unknown-key", Code.INVALID_FIELD, _open(brief={"promt": "a harbour"})),
        _refused("brief-not-a-map", Code.INVALID_FIELD, _open(brief="pencil")),
        _refused("brief-out-of-range", Code.INVALID_FIELD, _open(brief={"strength": 1.5})),
        _refused("brief-nan", Code.INVALID_FIELD, _open(brief={"strength": float("nan")})),
        _refused("brief-infinite", Code.INVALID_FIELD, _open(brief={"fade_s": float("inf")})),
        _refused("brief-boolean-for-number", Code.INVALID_FIELD, _open(brief={"strength": True})),
        _refused("brief-float-for-integer", Code.INVALID_FIELD, _open(brief={"seed": 7.0})),
        *(
            _refused(
                f"brief-weight-not-as-in-json-{number}", Code.INVALID_FIELD, _open(brief={"loras": [f"a:{weight}"]})
            )
            for number, weight in enumerate(("+1", ".5", "1.", " 1", "1_0", "\N{FULLWIDTH DIGIT ONE}"))
        ),
        _refused("brief-gaps-out-of-order", Code.INVALID_FIELD, _open(brief=gaps)),
        _invalid("brief-prompt-too-long", Code.INVALID_FIELD, prompt),
        *(
            _refused(f"brief-{name}", Code.INVALID_FIELD, _open(brief={field: value}))
            for name, field, value in _lists_refused()
        ),
    ]


def _lists_refused() -> list[tuple[str, str, Any]]:
    return [
        ("loras-text", "loras", "ink:0.5"),
        ("loras-nil", "loras", None),
        ("loras-of-numbers", "loras", [1]),
        ("loras-too-many", "loras", [f"ink-{number}" for number in range(MAX_LORAS + 1)]),
        ("lora-empty", "loras", [""]),
        ("lora-without-name", "loras", [":0.5"]),
        ("lora-without-weight", "loras", ["ink:"]),
        ("lora-with-a-word-for-weight", "loras", ["ink:much"]),
        ("lora-with-two-weights", "loras", ["ink:0.5:1"]),
        ("lora-too-heavy", "loras", ["ink:4.5"]),
        ("lora-of-weight-nan", "loras", ["ink:nan"]),
        ("lora-twice", "loras", ["ink:0.5", "lcm", "ink:1"]),
        ("controls-too-many", "controls", ["canny", "lineart", "depth", "pose", "tile"]),
        ("control-without-its-end", "controls", ["canny:1:0"]),
        ("control-that-ends-as-it-starts", "controls", ["canny:1:0.5:0.5"]),
        ("control-past-the-last-step", "controls", ["canny:1:0:1.5"]),
        ("control-twice", "controls", ["canny:0.5:0:0.5", "canny:0.5:0.5:1"]),
        ("scheduler-unknown", "scheduler", "heun"),
        ("blocked-tag-empty", "tag_block", ["text", ""]),
    ]


def _payloads_refused() -> list[Vector]:
    frame, ping = msgpack.packb(_frame()), pack(Ping())
    painted = pack(_full_painted())
    return [
        _invalid("frame-without-payload", Code.INVALID_FIELD, frame),
        _invalid("frame-with-two-payloads", Code.INVALID_FIELD, frame, PICTURE, PICTURE),
        _refused("frame-without-its-control", Code.INVALID_FIELD, {**_frame(), "controls": ["depth"]}, PICTURE),
        _invalid("ping-with-payload", Code.INVALID_FIELD, ping, b""),
        _invalid("painted-without-its-maps", Code.INVALID_FIELD, painted, PAINTED_PICTURE, direction="to_client"),
        _invalid("too-many-payloads", Code.TOO_LARGE, frame, *[b"\x00"] * (MAX_PAYLOADS + 1)),
        _invalid("payload-too-large", Code.TOO_LARGE, frame, [_repeated("00", MAX_PAYLOAD_BYTES + 1)]),
    ]


def _frame() -> dict[str, Any]:
    return {"v": 1, "type": "frame", "session": 1, "index": 0, "pts": 0}


def _open(**fields: Any) -> dict[str, Any]:
    return {"v": 1, "type": "open", "session": 1, "source": {"width": 4, "height": 2}, **fields}


def _full_form(model: Message | Source) -> dict[str, Any]:
    """A model as JSON, its defaults spelled out."""
    return model.model_dump(mode="json")


def _valid(direction: str, name: str, message: Message, *payloads: bytes) -> Vector:
    parts = [pack(message).hex(), *(payload.hex() for payload in payloads)]
    return {"name": name, "direction": direction, "parts_hex": parts, "message": _full_form(message)}


def _spelled(name: str, header: dict[str, Any], *payloads: bytes) -> Vector:
    return _from_bytes(name, msgpack.packb(header).hex(), *payloads)


def _from_bytes(name: str, header_hex: str, *payloads: bytes) -> Vector:
    """A message to the server, whose meaning is what our own parser makes of it."""
    message = to_server([bytes.fromhex(header_hex), *payloads]).message
    parts = [header_hex, *(payload.hex() for payload in payloads)]
    return {"name": name, "direction": "to_server", "parts_hex": parts, "message": _full_form(message)}


def _refused(name: str, code: Code, header: dict[str, Any], *payloads: bytes) -> Vector:
    return _invalid(name, code, msgpack.packb(header), *payloads)


def _invalid(name: str, code: Code, *parts: bytes | list[Any], direction: str = "to_server") -> Vector:
    written_parts = [part.hex() if isinstance(part, bytes) else part for part in parts]
    return {"name": name, "direction": direction, "parts_hex": written_parts, "error": code.value}


def _repeated(repeat_hex: str, times: int) -> dict[str, Any]:
    return {"repeat_hex": repeat_hex, "times": times}


if __name__ == "__main__":
    (FOLDER / "valid.json").write_text(written(valid_vectors()), encoding="utf-8")
    (FOLDER / "invalid.json").write_text(written(invalid_vectors()), encoding="utf-8")
