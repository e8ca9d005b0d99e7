"""The daemon told nonsense: each thing is answered with a code and a reason, and nothing else is harmed by it."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support.daemon import Daemon, Wire, daemon
from warpaint.proto.brief import Brief
from warpaint.proto.errors import RETRY, Code
from warpaint.proto.messages import (
    Close,
    Closed,
    Error,
    Flush,
    Flushed,
    Hold,
    Open,
    Painted,
    Ping,
    Pixels,
    Pong,
    Rekey,
    Result,
    Source,
    Update,
    Updated,
)
from warpaint.proto.pixels import layout
from warpaint.server.codecs import make_encoder
from warpaint.server.colour import bgr_to_yuv, space_of

WINDOW = 4
MAX_SESSIONS = 40
MAX_PIXELS = 64 * 48
SMALL = Source(width=16, height=8)
IDENTITY: dict[str, Any] = {"painter": "identity", "flow": "none"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    settings = {"--window": WINDOW, "--max-sessions": MAX_SESSIONS, "--probe-s": 0.2}
    flags = [str(part) for pair in settings.items() for part in pair]
    with daemon(tmp_path_factory.mktemp("daemon"), *flags) as made:
        yield made


@pytest.fixture
def wire(running: Daemon) -> Iterator[Wire]:
    """A connection. Whatever was sent over it, the daemon must serve the next one as if nothing had been."""
    with Wire(running.address) as made:
        yield made
    with Wire(running.address) as other:
        other.open(SMALL, **IDENTITY)
        other.frame(0, picture())
        assert bytes(other.receive().payloads[0]) == picture()
        other.send(Close(session=0))
        assert other.expect(Closed).totals.painted == 1


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def gentle(width: int, height: int) -> NDArray[np.uint8]:
    """A ramp whose colours Y'CbCr can hold."""
    x, y = np.meshgrid(np.linspace(70, 180, width), np.linspace(70, 180, height))
    return np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8)


def picture(seed: int = 0) -> bytes:
    """The payload of a frame of SMALL."""
    return noise(SMALL.width, SMALL.height, seed).tobytes()


def still_serves(wire: Wire, index: int, *, session: int = 0) -> None:
    """The session paints its next frame."""
    wire.frame(index, picture(index), session=session)
    received = wire.receive()
    assert isinstance(received.message, Painted)
    assert received.message.index == index
    assert bytes(received.payloads[0]) == picture(index)


def refused(wire: Wire, code: Code, **about: int | None) -> str:
    """The message of the error that comes next, which must have this code and be about this."""
    error = wire.expect(Error)
    assert (error.code, error.retry) == (code, RETRY[code])
    assert {name: getattr(error, name) for name in about} == about
    assert "Traceback" not in error.message
    return str(error.message)


# What is no message


def test_another_version_is_refused_by_its_number(wire: Wire) -> None:
    wire.send_header({"v": 2, "type": "ping"})
    text = refused(wire, Code.UNSUPPORTED_VERSION)
    assert "1" in text
    assert "2" in text


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([b""], Code.BAD_MESSAGE),
        ([b"\xc1"], Code.BAD_MESSAGE),
        ([bytes(range(256))], Code.BAD_MESSAGE),
        ([b"GET / HTTP/1.1\r\n\r\n"], Code.BAD_MESSAGE),
        ([b"\x93\x01\x02\x03"], Code.BAD_MESSAGE),
        ([b"\x91" * 5_000 + b"\x01"], Code.BAD_MESSAGE),
        ([b"\x85\xa1v\x01"], Code.BAD_MESSAGE),
        ([b"\x82\xa1v\x01\xa4type\xa3sud"], Code.UNKNOWN_TYPE),
        ([b"\x81\xa1v\x01"], Code.UNKNOWN_TYPE),
        ([b"\x82\xa1v\x01\xa4type\xa4ping", b"more"], Code.INVALID_FIELD),
        ([b"\x82\xa1v\x01\xa4type\xa4ping", *[b""] * 40], Code.TOO_LARGE),
        ([b"\x00" * 70_000], Code.TOO_LARGE),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}x{bytes(value[0][:12]).hex() or 'nothing'}",
)
def test_garbage_is_answered(wire: Wire, parts: list[bytes], code: Code) -> None:
    wire.send_parts(*parts)
    assert refused(wire, code)
    wire.send(Ping(nonce=7))
    assert wire.expect(Pong).nonce == 7


def test_garbage_that_names_a_session_is_answered_to_it_and_leaves_it_alone(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    wire.send_header({"v": 1, "type": "frame", "session": 0, "index": 3, "pts": "soon"}, picture())
    assert "pts" in refused(wire, Code.INVALID_FIELD, session=0, index=3)
    still_serves(wire, 0)


def test_an_update_that_is_no_update_is_answered_with_its_request(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    wire.send_header({"v": 1, "type": "update", "session": 0, "request": 5, "changes": {"strength": [1]}})
    assert "strength" in refused(wire, Code.INVALID_FIELD, session=0, request=5)
    still_serves(wire, 0)


# Sessions that are not there


def test_a_frame_before_open(wire: Wire) -> None:
    wire.frame(0, picture(), session=3)
    assert "3" in refused(wire, Code.NO_SESSION, session=3, index=0)
    wire.open(SMALL, session=3, **IDENTITY)
    still_serves(wire, 0, session=3)


@pytest.mark.parametrize(
    "message", [Update(session=8, request=4, changes={"seed": 1}), Rekey(session=8, request=4)], ids=["update", "rekey"]
)
def test_a_request_of_an_unknown_session_is_answered_with_its_number(wire: Wire, message: Update | Rekey) -> None:
    wire.send(message)
    assert "8" in refused(wire, Code.NO_SESSION, session=8, request=4)


def test_closing_an_unknown_session(wire: Wire) -> None:
    wire.send(Close(session=8))
    assert "8" in refused(wire, Code.NO_SESSION, session=8)


def test_a_closed_session_takes_nothing_and_its_number_may_be_used_again(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    wire.send(Close(session=0))
    wire.expect(Closed)
    wire.frame(0, picture())
    refused(wire, Code.NO_SESSION, session=0, index=0)
    wire.open(SMALL, **IDENTITY)
    still_serves(wire, 0)


def test_another_connection_cannot_reach_a_session(running: Daemon, wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    with Wire(running.address) as other:
        other.send(Close(session=0, discard=True))
        refused(other, Code.NO_SESSION, session=0)
    still_serves(wire, 0)


# Opening


def test_opening_twice_leaves_the_first(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    wire.send(Open(session=0, source=Source(width=64, height=64)))
    refused(wire, Code.SESSION_EXISTS, session=0)
    still_serves(wire, 0)


@pytest.mark.parametrize(
    ("fields", "code", "allowed"),
    [
        ({"painter": "monet"}, Code.UNKNOWN_ENGINE, ["monet", "filters", "identity"]),
        ({"flow": "raft"}, Code.UNKNOWN_ENGINE, ["raft", "dis", "none"]),
        ({"brief": Brief(look="sepia"), "painter": "filters"}, Code.BAD_BRIEF, ["sepia", "strokes", "poster"]),
        ({"brief": Brief(look="poster"), "painter": "identity"}, Code.BAD_BRIEF, ["poster", "identity"]),
        ({"pacing": "live", "flow": "none"}, Code.UNSUPPORTED, ["live", "flow"]),
    ],
    ids=["painter", "flow", "look", "look of another painter", "pacing"],
)
def test_what_the_daemon_lacks_is_refused_with_what_there_is(
    wire: Wire, fields: dict[str, Any], code: Code, allowed: list[str]
) -> None:
    wire.send(Open(session=0, source=SMALL, **fields))
    text = refused(wire, code, session=0, index=None)
    assert [word for word in allowed if word not in text] == []
    wire.open(SMALL, **IDENTITY)
    still_serves(wire, 0)


@pytest.mark.parametrize(
    ("brief", "named"),
    [
        ({"strength": 1.5}, ["brief.strength", "1.5", "less than or equal to 1"]),
        ({"strength": "very"}, ["brief.strength", "very"]),
        ({"strenght": 0.5}, ["brief.strenght"]),
        ({"keyframe_gap_min_s": 5.0, "keyframe_gap_max_s": 1.0}, ["keyframe_gap_min_s", "keyframe_gap_max_s"]),
    ],
    ids=["too large", "not a number", "unknown", "contrary"],
)
def test_a_brief_that_cannot_be_is_refused_in_open_and_in_update(
    wire: Wire, brief: dict[str, Any], named: list[str]
) -> None:
    source = {"width": SMALL.width, "height": SMALL.height}
    wire.send_header({"v": 1, "type": "open", "session": 0, "source": source, "brief": brief})
    text = refused(wire, Code.INVALID_FIELD, session=0)
    assert [word for word in named if word not in text] == []

    wire.open(SMALL, **IDENTITY)
    wire.send(Update(session=0, request=9, changes=brief))
    text = refused(wire, Code.BAD_BRIEF, session=0, request=9)
    assert [word for word in named if word not in text] == []
    still_serves(wire, 0)


def test_a_look_of_another_painter_is_refused_in_update(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    wire.send(Update(session=0, request=1, changes={"look": "poster"}))
    assert "identity" in refused(wire, Code.BAD_BRIEF, session=0, request=1)
    still_serves(wire, 0)


def test_a_refused_update_changes_nothing(wire: Wire) -> None:
    wire.open(SMALL, painter="filters", flow="none", brief=Brief(look="poster"))
    wire.frame(0, picture())
    before = wire.receive()
    wire.send(Update(session=0, request=1, changes={"look": "ink", "strength": 7}))
    refused(wire, Code.BAD_BRIEF, request=1)
    wire.frame(1, picture())
    after = wire.receive()
    assert bytes(after.payloads[0]) == bytes(before.payloads[0])
    assert after.message.epoch == before.message.epoch


def test_hold_is_not_offered(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    wire.send(Hold(session=0, request=2, on=True))
    refused(wire, Code.UNSUPPORTED, session=0, request=2)
    still_serves(wire, 0)


@pytest.mark.parametrize("size", [(17, 8), (16, 31)], ids=["width", "height"])
def test_h264_takes_no_odd_sizes_and_the_refusal_says_what_does(wire: Wire, size: tuple[int, int]) -> None:
    wire.send(Open(session=0, source=Source(width=size[0], height=size[1]), result=Result(encoding="h264")))
    text = refused(wire, Code.UNSUPPORTED, session=0)
    assert f"{size[0]}x{size[1]}" in text
    assert "raw" in text


@pytest.mark.parametrize("strides", [(47,), (48, 48)], ids=["too short", "too many"])
def test_strides_that_cannot_be(wire: Wire, strides: tuple[int, ...]) -> None:
    wire.send(Open(session=0, source=SMALL.model_copy(update={"strides": strides})))
    assert "strides" in refused(wire, Code.INVALID_FIELD, session=0)


def test_too_many_sessions_and_room_again_when_one_closes(tmp_path_factory: pytest.TempPathFactory) -> None:
    with daemon(tmp_path_factory.mktemp("full"), "--max-sessions", "2") as full, Wire(full.address) as wire:
        wire.open(SMALL, session=0, **IDENTITY)
        with Wire(full.address) as other:
            other.open(SMALL, **IDENTITY)
            wire.send(Open(session=1, source=SMALL))
            assert "2" in refused(wire, Code.TOO_MANY_SESSIONS, session=1)
            other.send(Close(session=0))
            other.expect(Closed)
        wire.open(SMALL, session=1, **IDENTITY)
        still_serves(wire, 0, session=1)
        wire.send(Open(session=2, source=SMALL))
        refused(wire, Code.TOO_MANY_SESSIONS, session=2)
        still_serves(wire, 0, session=0)


# Frames


@pytest.mark.parametrize("length", [0, 1, 16 * 8 * 3 - 1, 16 * 8 * 3 + 1, 16 * 8 * 4])
def test_a_payload_that_does_not_fit_fails_the_frame_alone(wire: Wire, length: int) -> None:
    wire.open(SMALL, **IDENTITY)
    wire.frame(0, bytes(length))
    text = refused(wire, Code.BAD_PAYLOAD, session=0, index=0)
    assert str(16 * 8 * 3) in text
    assert str(length) in text
    still_serves(wire, 1)


@pytest.mark.parametrize("count", [0, 2])
def test_a_frame_has_one_payload(wire: Wire, count: int) -> None:
    wire.open(SMALL, **IDENTITY)
    wire.send_header({"v": 1, "type": "frame", "session": 0, "index": 0, "pts": 0}, *[picture()] * count)
    refused(wire, Code.INVALID_FIELD, session=0, index=0)
    still_serves(wire, 0)


def test_frames_past_the_window_are_refused_and_the_others_painted(wire: Wire) -> None:
    count = 4 * WINDOW
    credit = wire.open(Source(width=64, height=64), painter="filters", flow="none").credit
    assert credit == WINDOW
    payload = noise(64, 64).tobytes()
    for index in range(count):
        wire.frame(index, payload)
    answers = [wire.receive().message for _ in range(count)]
    painted = [each.index for each in answers if isinstance(each, Painted)]
    overran = [each for each in answers if isinstance(each, Error)]
    assert painted[:WINDOW] == list(range(WINDOW))
    assert painted == sorted(painted)
    assert {each.code for each in overran} == {Code.WINDOW_OVERRUN}
    assert sorted(painted + [each.index for each in overran if each.index is not None]) == list(range(count))
    wire.send(Close(session=0))
    totals = wire.expect(Closed).totals
    assert (totals.received, totals.painted) == (len(painted), len(painted))


def test_frame_numbers_must_grow_and_may_jump(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    still_serves(wire, 5)
    for index in (5, 4, 0):
        wire.frame(index, picture())
        assert "5" in refused(wire, Code.BAD_INDEX, session=0, index=index)
    still_serves(wire, 1_000_000)


def test_more_requests_than_anybody_needs_are_refused_each_by_its_number(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    count = 200
    for request in range(count):
        wire.send(Rekey(session=0, request=request))
    answered = set()
    for _ in range(count):
        message = wire.receive(5.0).message
        assert isinstance(message, Updated) or message.code is Code.WINDOW_OVERRUN
        answered.add(message.request)
    assert answered == set(range(count))
    still_serves(wire, 0)


def test_a_client_with_too_many_requests_may_still_close(wire: Wire) -> None:
    """While the flow of large frames keeps the daemon busy, no request is answered."""
    wire.open(Source(width=640, height=480), painter="identity", flow="dis", max_pixels=640 * 480)
    for index in range(WINDOW):
        wire.frame(index, bytes(640 * 480 * 3))
    for request in range(70):
        wire.send(Rekey(session=0, request=request))
    wire.send(Close(session=0))
    assert wire.until(Closed, 10.0).totals.painted == WINDOW


def test_every_frame_is_answered_once_and_in_order(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    answered: list[tuple[int, str]] = []
    for start in range(0, 40, WINDOW):
        for index in range(start, start + WINDOW):
            wire.frame(index, b"bad" if index % 3 == 1 else picture(index))
        for _ in range(WINDOW):
            message = wire.receive().message
            answered.append((message.index, message.type))
    assert answered == [(index, "error" if index % 3 == 1 else "painted") for index in range(40)]
    wire.send(Close(session=0))
    totals = wire.expect(Closed).totals
    assert (totals.received, totals.painted, totals.failed, totals.dropped) == (40, 27, 13, 0)


def test_frames_sent_after_a_flush_are_painted(wire: Wire) -> None:
    """The first frame takes so long that the flush and the frames after it are waiting together."""
    wire.open(Source(width=320, height=240), painter="filters", flow="none", brief=Brief(look="strokes"))
    payload = noise(320, 240).tobytes()
    wire.frame(0, payload)
    wire.send(Flush(session=0, request=1))
    for index in (1, 2, 3):
        wire.frame(index, payload)
    kinds = [(received.message.type, getattr(received.message, "index", None)) for received in received_of(wire, 5)]
    assert kinds == [("painted", 0), ("flushed", None), ("painted", 1), ("painted", 2), ("painted", 3)]


def received_of(wire: Wire, count: int) -> list[Any]:
    return [wire.receive() for _ in range(count)]


def test_a_coded_stream_recovers_from_garbage_at_a_keyframe(wire: Wire) -> None:
    source = Source(width=32, height=32, encoding="h264")
    encoder = make_encoder(Result(encoding="h264"), source)
    packets = [bytes(encoder.encode(gentle(32, 32), index, key=index in (0, 5))[0].data) for index in range(8)]
    encoder.close()
    packets[2] = b"\x00\x00\x00\x01\x65" + bytes(range(1, 200))
    wire.open(source, result=Result(pixels="bgr24"), **IDENTITY)
    answers: list[Any] = []
    for index, packet in enumerate(packets):
        wire.frame(index, packet)
        answers.append(wire.receive())
    assert [each.message.index for each in answers] == list(range(8))
    assert [each.message.type for each in answers] == ["painted"] * 2 + ["error"] * 3 + ["painted"] * 3
    assert {each.message.code for each in answers[2:5]} == {Code.BAD_FRAME}
    shown = np.frombuffer(answers[7].payloads[0], np.uint8).reshape(32, 32, 3)
    assert np.abs(shown.astype(int) - gentle(32, 32)).mean() < 3


def test_a_coded_stream_that_begins_in_the_middle_waits_for_a_keyframe(wire: Wire) -> None:
    source = Source(width=32, height=32, encoding="h264")
    encoder = make_encoder(Result(encoding="h264"), source)
    packets = [bytes(encoder.encode(gentle(32, 32), index, key=index == 3)[0].data) for index in range(4)]
    encoder.close()
    wire.open(source, result=Result(), **IDENTITY)
    for index in (1, 2, 3):
        wire.frame(index, packets[index])
    assert [each.message.type for each in received_of(wire, 3)] == ["error", "error", "painted"]


def test_a_jpeg_that_is_cut_short_or_of_another_size_fails_the_frame_alone(wire: Wire) -> None:
    source = Source(width=48, height=32, encoding="jpeg")
    good = cv2.imencode(".jpg", gentle(48, 32))[1].tobytes()
    wire.open(source, result=Result(), **IDENTITY)
    bad = [good[: len(good) // 2], cv2.imencode(".jpg", gentle(32, 48))[1].tobytes(), b"\xff\xd8\xff\xd9"]
    for index, payload in enumerate(bad):
        wire.frame(index, payload)
        refused(wire, Code.BAD_FRAME, session=0, index=index)
    wire.frame(3, good)
    assert wire.expect(Painted).index == 3


# Sizes, formats and rotations, all of which are right and some of which are rare


def painted(
    wire: Wire, source: Source, payloads: list[bytes], result: Result, session: int = 0, **fields: Any
) -> list[Any]:
    """The payloads of what comes back."""
    wire.open(source, session=session, result=result, **{**IDENTITY, **fields})
    results = []
    for index, payload in enumerate(payloads):
        wire.frame(index, payload, session=session)
        received = wire.receive()
        assert isinstance(received.message, Painted), received.message
        assert received.message.index == index
        results.append(received.payloads[0])
    return results


@pytest.mark.parametrize("flow", ["none", "dis"])
@pytest.mark.parametrize("size", [(1, 1), (17, 31), (4097, 8), (8, 4097)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_odd_sizes_come_back_as_they_were(wire: Wire, size: tuple[int, int], flow: str) -> None:
    width, height = size
    frame = noise(width, height)
    exact = painted(wire, Source(width=width, height=height), [frame.tobytes()] * 3, Result(), flow=flow)
    assert bytes(exact[0]) == frame.tobytes()
    assert [len(bytes(each)) for each in exact] == [frame.size] * 3
    if flow == "none":
        assert {bytes(each) for each in exact} == {frame.tobytes()}

    coded = gentle(width, height)
    jpeg = cv2.imencode(".jpg", coded, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    source = Source(width=width, height=height, encoding="jpeg")
    back = painted(wire, source, [jpeg] * 2, Result(encoding="jpeg", quality=95), session=1, flow=flow)
    for each in back:
        shown = cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert shown.shape == coded.shape
        assert np.abs(shown.astype(int) - coded).mean() < 4


PLANES: dict[Pixels, int] = {"bgr24": 1, "rgb24": 1, "bgra": 1, "gray": 1, "yuv420p": 3, "nv12": 2}


def laid_out(pixels: Pixels, bgr: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The planes [rows, bytes] of a picture."""
    height, width = bgr.shape[:2]
    if pixels in ("yuv420p", "nv12"):
        y, u, v = bgr_to_yuv(bgr, space_of(Source(width=width, height=height).colour, height))
        return [y, u, v] if pixels == "yuv420p" else [y, np.stack([u, v], axis=-1).reshape(u.shape[0], -1)]
    codes = {"rgb24": cv2.COLOR_BGR2RGB, "bgra": cv2.COLOR_BGR2BGRA, "gray": cv2.COLOR_BGR2GRAY}
    samples = bgr if pixels == "bgr24" else cv2.cvtColor(bgr, codes[pixels])
    return [np.ascontiguousarray(samples, np.uint8).reshape(height, -1)]


@pytest.mark.parametrize("size", [(24, 16), (17, 31)], ids=["even", "odd"])
@pytest.mark.parametrize("pixels", list(PLANES))
def test_raw_formats_come_back_as_they_were_with_and_without_strides(
    wire: Wire, pixels: Pixels, size: tuple[int, int]
) -> None:
    width, height = size
    planes = laid_out(pixels, gentle(width, height))
    tight = b"".join(plane.tobytes() for plane in planes)
    strides = tuple(plane.shape[1] + 5 + number for number, plane in enumerate(planes))
    assert layout(pixels, width, height).total_bytes == len(tight)

    def loose(filling: int) -> bytes:
        rows = [
            np.pad(p, ((0, 0), (0, s - p.shape[1])), constant_values=filling)
            for p, s in zip(planes, strides, strict=True)
        ]
        return b"".join(each.tobytes() for each in rows)

    result = Result(pixels=pixels)
    source = Source(width=width, height=height, pixels=pixels)
    [from_tight] = painted(wire, source, [tight], result)
    padded = painted(wire, source.model_copy(update={"strides": strides}), [loose(0), loose(255)], result, session=1)
    assert bytes(padded[0]) == bytes(padded[1]) == bytes(from_tight)
    moved = np.abs(np.frombuffer(from_tight, np.uint8).astype(int) - np.frombuffer(tight, np.uint8))
    assert moved.max() <= (1 if pixels in ("yuv420p", "nv12") else 0)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_picture_is_painted_upright_and_comes_back_as_it_lay(wire: Wire, rotation: int) -> None:
    source = Source.model_validate({"width": 40, "height": 24, "rotation": rotation})
    frame = noise(40, 24)
    opened = wire.open(source, **IDENTITY)
    assert (opened.width, opened.height) == ((24, 40) if rotation != 180 else (40, 24))
    wire.frame(0, frame.tobytes())
    assert bytes(wire.receive().payloads[0]) == frame.tobytes()


def test_what_is_larger_than_the_canvas_is_painted_smaller_and_given_back_at_its_size(wire: Wire) -> None:
    width, height = 200, 120
    frame = gentle(width, height)
    opened = wire.open(
        Source(width=width, height=height), painter="identity", flow="none", max_pixels=MAX_PIXELS, maps=("hops",)
    )
    assert MAX_PIXELS / 2 < opened.width * opened.height <= MAX_PIXELS
    wire.frame(0, frame.tobytes())
    received = wire.receive()
    assert received.message.parts[1].shape == (opened.height, opened.width)
    shown = np.frombuffer(received.payloads[0], np.uint8).reshape(height, width, 3)
    assert np.abs(shown.astype(int) - frame).max() <= 4
    assert not np.array_equal(shown, frame)


def test_a_client_may_not_ask_for_a_larger_canvas_than_the_daemon_has(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        daemon(tmp_path_factory.mktemp("small"), "--max-pixels", str(MAX_PIXELS)) as small,
        Wire(small.address) as wire,
    ):
        opened = wire.open(Source(width=200, height=120), max_pixels=200 * 120)
        assert opened.width * opened.height <= MAX_PIXELS


def test_timestamps_may_stand_still_jump_or_run_backwards(wire: Wire) -> None:
    wire.open(Source(width=64, height=48), painter="filters", flow="dis", brief=Brief(look="poster"))
    pts = [0, 0, -5, 2**53 - 1, -(2**53) + 1, 40]
    payload = gentle(64, 48).tobytes()
    for index, at in enumerate(pts):
        wire.send_header({"v": 1, "type": "frame", "session": 0, "index": index, "pts": at}, payload)
        message = wire.expect(Painted)
        assert (message.index, message.pts) == (index, at)


def test_flushing_an_empty_session(wire: Wire) -> None:
    wire.open(SMALL, **IDENTITY)
    wire.send(Flush(session=0, request=3))
    assert wire.expect(Flushed).request == 3
    still_serves(wire, 0)
