"""What is said between a client that behaves and the daemon, message by message."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from support.clips import frames
from support.daemon import Daemon, Wire, daemon
from support.scenes import film, two_layers
from warpaint import __version__
from warpaint.engines.painters.filters import Filters
from warpaint.proto.brief import Brief
from warpaint.proto.messages import (
    Close,
    Closed,
    Dropped,
    Flush,
    Painted,
    Ping,
    Pong,
    Provenance,
    Rekey,
    RequestKeyframe,
    Result,
    Source,
    Totals,
    Update,
    Updated,
)

SIZE = (64, 48)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
POSTER = Brief(look="poster")
# One keyframe, and no other unless it is asked for.
STILL = POSTER.changed({"keyframe_gap_min_s": 100.0, "keyframe_gap_max_s": 1000.0, "cut_detection": False})

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("daemon"), "--max-sessions", "100") as made:
        yield made


@pytest.fixture
def wire(running: Daemon) -> Iterator[Wire]:
    with Wire(running.address) as made:
        yield made


@pytest.fixture(scope="module")
def clip() -> list[Picture]:
    return film(two_layers(SIZE), 8, SIZE)


def sent(wire: Wire, pictures: Sequence[Picture], *, start: int = 0, session: int = 0) -> None:
    for index, picture in enumerate(pictures, start):
        wire.frame(index, picture.tobytes(), session=session)


def received(wire: Wire, count: int) -> list[Any]:
    return [wire.receive() for _ in range(count)]


def shown(answer: Any, size: tuple[int, int] = SIZE) -> Picture:
    return np.frombuffer(answer.payloads[0], np.uint8).reshape(size[1], size[0], 3)


def said(answers: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The messages in short."""
    return [
        (each.message.type, each.message.request, each.message.shown_at)
        if isinstance(each.message, Updated)
        else (each.message.type, getattr(each.message, "index", getattr(each.message, "request", None)))
        for each in answers
    ]


# Opening


def test_opened_says_all_that_a_client_must_know(wire: Wire) -> None:
    opened = wire.open(Source(width=61, height=35), session=7, client="a test")
    assert opened.session == 7
    assert (opened.painter, opened.flow) == ("filters", "dis")
    assert opened.looks == tuple(Filters().looks)
    assert opened.credit == 8
    assert opened.epoch == 0
    assert opened.server == f"warpaint {__version__}"
    assert (opened.width, opened.height) == (64, 40)
    other = wire.open(Source(width=61, height=35), session=8)
    assert len(opened.token) >= 16
    assert opened.token != other.token


def test_a_painted_frame_says_where_it_comes_from(wire: Wire, clip: list[Picture]) -> None:
    wire.open(SOURCE, brief=STILL.changed({"repaint_gap_s": 0.0}))
    sent(wire, clip)
    answers = [each.message for each in received(wire, len(clip))]
    assert [each.index for each in answers] == list(range(len(clip)))
    assert [each.pts for each in answers] == [40 * index for index in range(len(clip))]
    assert [each.provenance for each in answers] == [Provenance.PAINTED] + [Provenance.WARPED] * (len(clip) - 1)
    assert [each.keyframe for each in answers] == [True] + [False] * (len(clip) - 1)
    assert [part.name for part in answers[0].parts] == ["picture"]
    assert answers[0].painted_pixels >= SIZE[0] * SIZE[1]
    for each in answers:
        assert each.coded_keyframe
        assert each.delay_ms >= sum(each.stages_ms.values()) - each.stages_ms["encode"] - 1
        assert {"wait", "decode", "canvas", "compose", "encode"} <= set(each.stages_ms)
        assert 0.3 < each.confidence <= 1.0


# Changing one's mind


def test_an_update_is_acknowledged_and_shown_by_the_next_frame(wire: Wire, clip: list[Picture]) -> None:
    wire.open(SOURCE, brief=POSTER)
    sent(wire, clip[:1])
    before = wire.receive()
    wire.send(Update(session=0, request=11, changes={"look": "ink"}))
    acknowledged = wire.expect(Updated)
    assert (acknowledged.request, acknowledged.epoch, acknowledged.shown_at) == (11, None, None)
    assert wire.quiet(0.2)
    sent(wire, clip[:1], start=1)
    after = wire.receive()
    seen = wire.expect(Updated)
    assert (seen.request, seen.shown_at) == (11, 1)
    assert seen.epoch == after.message.epoch == before.message.epoch + 1
    assert np.abs(shown(after).astype(int) - shown(before)).mean() > 3


def test_an_update_takes_effect_where_it_stands_among_the_frames(wire: Wire, clip: list[Picture]) -> None:
    """However fast it all comes in, and each time alike."""
    runs = []
    for session in range(3):
        wire.open(SOURCE, session=session, brief=POSTER)
        sent(wire, clip[:3], session=session)
        wire.send(Update(session=session, request=1, changes={"look": "ink"}))
        sent(wire, clip[3:5], start=3, session=session)
        wire.send(Update(session=session, request=2, changes={"look": "poster"}))
        sent(wire, clip[5:7], start=5, session=session)
        answers = received(wire, 7 + 2 + 2)
        runs.append([shown(each).tobytes() for each in answers if isinstance(each.message, Painted)])
        ordered = [each for each in said(answers) if each[0] == "painted" or each[2] is not None]
        assert ordered == [
            *[("painted", 0), ("painted", 1), ("painted", 2), ("painted", 3), ("updated", 1, 3)],
            *[("painted", 4), ("painted", 5), ("updated", 2, 5), ("painted", 6)],
        ]
    assert runs[0] == runs[1] == runs[2]


def test_a_change_of_how_it_moves_paints_nothing_anew(wire: Wire, clip: list[Picture]) -> None:
    wire.open(SOURCE, brief=STILL)
    sent(wire, clip[:2])
    received(wire, 2)
    wire.send(Update(session=0, request=1, changes={"fade_s": 0.0, "hole_limit": 1.0}))
    wire.expect(Updated)
    sent(wire, clip[2:3], start=2)
    assert not wire.expect(Painted).keyframe
    assert wire.expect(Updated).shown_at == 2


def test_rekey_paints_the_next_frame_whole(wire: Wire, clip: list[Picture]) -> None:
    wire.open(SOURCE, brief=STILL)
    sent(wire, clip[:2])
    received(wire, 2)
    wire.send(Rekey(session=0, request=4))
    assert wire.expect(Updated).shown_at is None
    sent(wire, clip[2:4], start=2)
    answers = received(wire, 3)
    assert said(answers) == [("painted", 2), ("updated", 4, 2), ("painted", 3)]
    assert answers[0].message.keyframe
    assert answers[0].message.painted_pixels >= SIZE[0] * SIZE[1]
    assert answers[0].message.epoch == answers[1].message.epoch == 1
    assert not answers[2].message.keyframe


# Waiting for the end


def test_flushed_comes_after_every_answer_before_it(wire: Wire, clip: list[Picture]) -> None:
    wire.open(SOURCE, brief=POSTER)
    sent(wire, clip[:4])
    wire.send(Flush(session=0, request=6))
    assert said(received(wire, 5)) == [*[("painted", index) for index in range(4)], ("flushed", 6)]
    sent(wire, clip[4:5], start=4)
    assert not wire.expect(Painted).keyframe


def test_closing_finishes_what_is_in_hand_and_the_totals_add_up(wire: Wire, clip: list[Picture]) -> None:
    wire.open(SOURCE, brief=STILL)
    sent(wire, clip[:3])
    wire.frame(3, b"too short")
    sent(wire, clip[4:6], start=4)
    wire.send(Close(session=0))
    answers = [each.message for each in received(wire, 7)]
    assert [each.type for each in answers] == [*["painted"] * 3, "error", *["painted"] * 2, "closed"]
    assert answers[-1].reason == "asked"
    totals: Totals = answers[-1].totals
    assert totals.received == totals.painted + totals.dropped + totals.failed == 6
    assert (totals.painted, totals.failed, totals.keyframes) == (5, 1, 1)
    assert totals.canvas_pixels == 5 * SIZE[0] * SIZE[1]
    assert totals.painted_pixels == sum(each.painted_pixels for each in answers if isinstance(each, Painted))


def test_closing_at_once_drops_what_is_in_hand_and_says_so(wire: Wire) -> None:
    size = (320, 240)
    pictures = film(two_layers(size), 8, size)
    wire.open(Source(width=size[0], height=size[1]), brief=Brief(look="strokes"))
    sent(wire, pictures)
    wire.send(Close(session=0, discard=True))
    answers = [each.message for each in received(wire, 9)]
    assert [each.index for each in answers[:-1]] == list(range(8))
    dropped = [each for each in answers if isinstance(each, Dropped)]
    assert dropped
    assert {(each.stage, each.reason.value, each.pts == 40 * each.index) for each in dropped} == {
        ("queue", "cancelled", True)
    }
    closed = answers[-1]
    assert isinstance(closed, Closed)
    assert (closed.totals.received, closed.totals.dropped) == (8, len(dropped))
    assert closed.totals.painted == 8 - len(dropped)


# Asking how it does


def test_ping_is_answered_with_its_nonce(wire: Wire) -> None:
    for nonce in (0, 1, 2**53 - 1):
        wire.send(Ping(nonce=nonce))
        assert wire.expect(Pong).nonce == nonce


def test_status_tells_of_the_daemon_its_engines_and_its_sessions(running: Daemon, clip: list[Picture]) -> None:
    with Wire(running.address) as wire:
        wire.open(SOURCE, session=77, brief=STILL)
        sent(wire, clip, session=77)
        received(wire, len(clip))
        status = wire.status()
        assert status.server == f"warpaint {__version__}"
        assert status.pid == running.process.pid != os.getpid()
        assert status.uptime_s > 0
        assert 2**24 < status.resident_bytes < 2**31
        engines = {(each.kind, each.name): each for each in status.engines}
        assert set(engines) == {("painter", "filters"), ("painter", "identity"), ("painter", "stills"), ("flow", "dis")}
        assert engines[("painter", "filters")].calls > 0
        assert 0 < engines[("flow", "dis")].mean_ms < 1e3
        [session] = [each for each in status.sessions if each.session == 77]
        assert (session.painter, session.flow, session.pacing) == ("filters", "dis", "every")
        assert (session.width, session.height) == SIZE
        assert (session.waiting, session.unsent, session.dropped_at) == (0, 0, {})
        assert session.references_bytes > 2 * SIZE[0] * SIZE[1] * 3
        assert (session.totals.received, session.totals.painted) == (len(clip), len(clip))
        assert {"match", "paint", "compose"} <= set(session.stages_ms)
        wire.send(Close(session=77))
        wire.expect(Closed)
        assert 77 not in [each.session for each in wire.status().sessions]


# Maps


def test_maps_come_with_the_picture_in_the_order_asked_for(wire: Wire, clip: list[Picture]) -> None:
    opened = wire.open(
        Source(width=61, height=45), brief=STILL, painter="filters", maps=("hops", "flow", "holes", "confidence")
    )
    shape = (opened.height, opened.width)
    maps: list[dict[str, NDArray[Any]]] = []
    for index, picture in enumerate(clip[:3]):
        wire.frame(index, np.ascontiguousarray(picture[:45, :61]).tobytes())
        answer = wire.receive()
        parts = answer.message.parts
        assert [part.name for part in parts] == ["picture", "hops", "flow", "holes", "confidence"]
        assert [part.dtype for part in parts] == [None, "uint8", "float32", "uint8", "float32"]
        assert [part.shape for part in parts] == [None, shape, (*shape, 2), shape, shape]
        maps.append(
            {
                part.name: np.frombuffer(payload, part.dtype).reshape(part.shape)
                for part, payload in zip(parts[1:], answer.payloads[1:], strict=True)
            }
        )
        assert np.isfinite(maps[-1]["flow"]).all()
        assert maps[-1]["confidence"].min() >= 0
        assert maps[-1]["confidence"].max() <= 1
        assert np.isin(maps[-1]["holes"], (0, 1)).all()
        assert answer.message.holes == pytest.approx(maps[-1]["holes"].mean())
        assert answer.message.confidence == pytest.approx(maps[-1]["confidence"].mean(), abs=1e-6)
    assert not maps[0]["flow"].any()
    assert not maps[0]["hops"].any()
    assert maps[0]["confidence"].min() == 1
    assert maps[2]["flow"].any()
    assert np.median(maps[2]["hops"]) == 1


# Coded results


def decoded(payloads: Sequence[bytes]) -> list[Picture]:
    """The pictures of an h264 stream, by another decoder than the daemon's: each payload must give one at once."""
    context: Any = av.CodecContext.create("h264", "r")
    context.thread_type, context.flags = "SLICE", context.flags | av.codec.context.Flags.low_delay
    pictures = []
    for payload in payloads:
        [frame] = context.decode(av.Packet(payload))
        pictures.append(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
    return pictures


def test_an_h264_result_decodes_to_what_was_painted(wire: Wire, clip: list[Picture]) -> None:
    wire.open(SOURCE, session=0, brief=POSTER, result=Result())
    wire.open(SOURCE, session=1, brief=POSTER, result=Result(encoding="h264", crf=1))
    raw: list[Any] = []
    coded: list[Any] = []
    for session, answers in ((0, raw), (1, coded)):
        sent(wire, clip, session=session)
        answers += received(wire, len(clip))
    assert [each.message.coded_keyframe for each in coded] == [True] + [False] * (len(clip) - 1)
    pictures = decoded([bytes(each.payloads[0]) for each in coded])
    for picture, answer in zip(pictures, raw, strict=True):
        assert picture.shape == (SIZE[1], SIZE[0], 3)
        # Half the chroma is not coded, and posters have hard edges: compare the light.
        assert np.abs(picture.mean(axis=2) - shown(answer).mean(axis=2)).mean() < 4


def test_a_coded_keyframe_comes_when_it_is_asked_for_and_every_gop(wire: Wire, clip: list[Picture]) -> None:
    wire.open(SOURCE, painter="identity", flow="none", result=Result(encoding="h264", gop_frames=6))
    answers = []
    for index, picture in enumerate([*clip, *clip]):
        if index == 3:
            wire.send(RequestKeyframe(session=0))
        sent(wire, [picture], start=index)
        answers.append(wire.receive())
    keyframes = [each.message.index for each in answers if each.message.coded_keyframe]
    assert keyframes == [0, 3, 9, 15]
    assert len(decoded([bytes(each.payloads[0]) for each in answers[3:]])) == 13


# Beside one another


def test_two_sessions_of_one_connection_do_not_meet(wire: Wire, clip: list[Picture]) -> None:
    wire.open(SOURCE, session=0, painter="identity", flow="none")
    wire.open(Source(width=16, height=8), session=5, painter="identity", flow="none")
    small = [np.full((8, 16, 3), 10 * index, np.uint8) for index in range(6)]
    for index in range(6):
        wire.frame(index, clip[index].tobytes(), session=0)
        wire.frame(index, small[index].tobytes(), session=5)
    answers = received(wire, 12)
    for session, pictures in ((0, clip), (5, small)):
        own = [each for each in answers if each.message.session == session]
        assert [each.message.index for each in own] == list(range(6))
        assert [bytes(each.payloads[0]) for each in own] == [picture.tobytes() for picture in pictures[:6]]
    wire.send(Close(session=5))
    assert wire.expect(Closed).session == 5
    sent(wire, clip[:1], start=6)
    assert wire.expect(Painted).index == 6


def painted(wire: Wire, pictures: Sequence[Picture], size: tuple[int, int]) -> list[bytes]:
    """Each painted frame; as many at once as there is credit for, so that timing differs from run to run."""
    brief = Brief(look="strokes", seed=3, vary_seed=True, keyframe_gap_min_s=0.3, keyframe_gap_max_s=0.4)
    credit = wire.open(Source(width=size[0], height=size[1]), brief=brief).credit
    results = []
    for index, picture in enumerate(pictures):
        wire.frame(index, picture.tobytes())
        if index >= credit - 1:
            results.append(wire.receive())
    results += received(wire, len(pictures) - len(results))
    assert [each.message.index for each in results] == list(range(len(pictures)))
    wire.send(Close(session=0))
    totals = wire.expect(Closed).totals
    assert totals.painted == len(pictures)
    assert totals.keyframes >= 2
    return [bytes(each.payloads[0]) for each in results]


def test_the_same_film_gives_the_same_bytes_alone_and_in_company(running: Daemon) -> None:
    size = (320, 180)
    pictures = list(frames("carphone_pristine", size, stop=20))
    assert len(pictures) == 20
    with Wire(running.address) as wire, Wire(running.address) as other:
        alone = painted(wire, pictures, size)
        assert len(set(alone)) > 10
        assert painted(wire, pictures, size) == alone
        # Another film, with the same engines, at every turn.
        other.open(Source(width=size[0], height=size[1]), brief=POSTER)
        for index in range(8):
            other.frame(index, pictures[-1 - index].tobytes())
        assert painted(wire, pictures, size) == alone
        assert said(received(other, 8)) == [("painted", index) for index in range(8)]
