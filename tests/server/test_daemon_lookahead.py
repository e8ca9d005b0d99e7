"""Frames that wait in a real daemon: the credit for them, what brings them out, and that each comes once."""

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.clips import coded
from support.daemon import Daemon, Wire, daemon, ended, eventually
from support.proxy import Proxy
from support.scenes import film, two_layers
from support.studio import answered, as_frames, drive
from warpaint.client.aio import AsyncClient
from warpaint.client.painting import Client, PaintedImage
from warpaint.engines.flow.dis import Dis
from warpaint.engines.painters.filters import Filters
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.messages import (
    Ack,
    Close,
    Closed,
    Credit,
    Dropped,
    Flush,
    Flushed,
    FrameIn,
    Painted,
    Provenance,
    Resume,
    Resumed,
    Source,
    Update,
    Updated,
)
from warpaint.server.asks import Output
from warpaint.server.codecs import make_decoder
from warpaint.server.session import Session

SIZE = (96, 64)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
FRAMES = 30
WINDOW = 2
# Holes are painted every tenth frame, for which those before it wait.
BRIEF: dict[str, Any] = {
    "look": "ink",
    "keyframe_threshold": 255.0,
    "keyframe_gap_max_s": 1000.0,
    "hole_limit": 1.0,
    "repaint_gap_s": 0.38,
    "lookahead_s": 10.0,
}
WAITING = range(1, 6)  # of the first six frames
FLAGS = ("--painters", "filters", "--isolation", "thread", "--probe-s", "0.2")
HAPPENED_WITHIN_S = 20.0

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    binds = [f"ipc://{folder}/warpaint.sock", "tcp://127.0.0.1:*"]
    with daemon(folder, *FLAGS, "--window", str(WINDOW), binds=binds) as made:
        yield made


@pytest.fixture
def wire(running: Daemon) -> Iterator[Wire]:
    with Wire(running.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def clip() -> list[Picture]:
    """An ellipse passes in front of a wall: each frame uncovers some of it."""
    return film(two_layers(SIZE, background=(0.4, 0.2), foreground=(-4.0, 1.0)), FRAMES, SIZE)


@pytest.fixture(scope="module")
def uncut(clip: list[Picture]) -> list[Output]:
    """The film by a session alone."""
    return by_session(clip)


def by_session(pictures: Sequence[Picture]) -> list[Output]:
    session, flow, painter = Session(Brief(**BRIEF), SIZE), Dis(), Filters()
    outputs = [output for frame in as_frames(pictures) for output in drive(session, frame, flow, painter)]
    waited = session.waiting
    assert len(waited) > 4  # at the end as well
    outputs += answered(session.finish(), flow, painter)
    assert [output.index for output in outputs] == list(range(len(pictures)))
    return outputs


@dataclass
class Talk:
    """A film over a bare connection, by the credit that there is. credits: all that was given, in order."""

    wire: Wire
    credit: int
    answers: list[tuple[Painted, Picture]] = field(default_factory=list)
    credits: list[int] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)
    pushed: int = 0
    first: int = 0  # answers that came on another connection

    def push(self, payloads: Sequence[bytes]) -> None:
        """Sends the frames, each as soon as there is credit for it."""
        for payload in payloads:
            while self.pushed - self.first - len(self.answers) >= self.credit:
                self.take()
            self.wire.frame(self.pushed, payload)
            self.pushed += 1

    def take(self) -> Any:
        """The next message."""
        received = self.wire.receive()
        message = received.message
        if isinstance(message, Painted):
            self.answers.append((message, shown(received.payloads[0])))
        elif isinstance(message, Credit):
            self.credits.append(message.frames)
            self.credit = message.frames
        else:
            self.others.append(message)
        return message

    def until(self, kind: type[Any]) -> Any:
        """The next message of this kind; what comes before it is kept."""
        while not isinstance(message := self.take(), kind):
            pass
        return message

    @property
    def indices(self) -> list[int]:
        return [message.index for message, _ in self.answers]


def shown(payload: Any) -> Picture:
    return np.frombuffer(payload, np.uint8).reshape(SIZE[1], SIZE[0], 3)


def payloads_of(pictures: Sequence[Picture]) -> list[bytes]:
    return [picture.tobytes() for picture in pictures]


def opened(wire: Wire, **fields: Any) -> Talk:
    return Talk(wire, wire.open(fields.pop("source", SOURCE), brief=Brief(**BRIEF), **fields).credit)


def assert_same(pictures: Sequence[Any], outputs: Sequence[Output]) -> None:
    for picture, output in zip(pictures, outputs, strict=True):
        np.testing.assert_array_equal(picture, output.picture, err_msg=f"frame {output.index}")


# Credit, and what brings frames out


def test_more_frames_wait_than_the_window_has_and_the_film_goes_on(
    wire: Wire, clip: list[Picture], uncut: list[Output]
) -> None:
    began = time.monotonic()
    talk = opened(wire)
    assert talk.credit == WINDOW
    talk.push(payloads_of(clip))
    wire.send(Flush(session=0, request=1))
    talk.until(Flushed)
    took_ms = (time.monotonic() - began) * 1e3
    assert talk.indices == list(range(FRAMES))
    assert_same([picture for _, picture in talk.answers], uncut)
    assert [message.provenance for message, _ in talk.answers] == [output.provenance for output in uncut]
    assert talk.credits == sorted(set(talk.credits))
    assert talk.credits[0] > WINDOW
    assert 9 + WINDOW <= talk.credits[-1] <= 2 * 10 + WINDOW
    assert_stages_are_told_once([message for message, _ in talk.answers], took_ms, wire)
    wire.send(Close(session=0))
    assert talk.until(Closed).totals.painted == FRAMES


def assert_stages_are_told_once(messages: Sequence[Painted], took_ms: float, wire: Wire) -> None:
    """What each frame tells is its own: together they take no longer than the film did."""
    sums: dict[str, float] = {}
    for message in messages:
        assert {"wait", "decode", "canvas", "compose", "encode_features", "encode"} <= message.stages_ms.keys()
        assert message.delay_ms >= message.stages_ms["compose"]
        for name, ms in message.stages_ms.items():
            sums[name] = sums.get(name, 0.0) + ms
    assert sum(ms for name, ms in sums.items() if name != "wait") < took_ms
    [session] = wire.status().sessions
    assert {name: ms * len(messages) for name, ms in session.stages_ms.items()} == pytest.approx(sums, rel=0.01, abs=1)


def test_a_flush_brings_what_waits_and_the_film_goes_on(wire: Wire, clip: list[Picture]) -> None:
    talk = opened(wire)
    talk.push(payloads_of(clip[:6]))
    wire.send(Flush(session=0, request=1))
    talk.until(Flushed)
    assert talk.indices == list(range(6))
    talk.push(payloads_of(clip[6:9]))
    wire.send(Flush(session=0, request=2))
    talk.until(Flushed)
    assert talk.indices == list(range(9))
    wire.send(Close(session=0))
    assert wire.expect(Closed).totals.painted == 9


def test_an_update_brings_what_waits_and_shows_in_the_next_frame(wire: Wire, clip: list[Picture]) -> None:
    talk = opened(wire)
    talk.push(payloads_of(clip[:6]))
    wire.send(Update(session=0, request=1, changes={"look": "poster"}))
    while len(talk.answers) < 6:  # no frame comes after it
        talk.take()
    assert talk.indices == list(range(6))
    assert {message.epoch for message, _ in talk.answers} == {0}
    [taken] = talk.others
    assert isinstance(taken, Updated)
    assert taken.shown_at is None
    talk.push(payloads_of(clip[6:9]))
    told = talk.until(Updated)
    assert (told.request, told.shown_at) == (1, 6)
    wire.send(Close(session=0))
    talk.until(Closed)
    assert talk.indices == list(range(9))
    assert [message.epoch for message, _ in talk.answers] == [0] * 6 + [1] * 3
    assert talk.answers[6][0].keyframe


def test_a_close_brings_what_waits(wire: Wire, clip: list[Picture]) -> None:
    talk = opened(wire)
    talk.push(payloads_of(clip[:8]))
    wire.send(Close(session=0))
    closed = talk.until(Closed)
    assert talk.indices == list(range(8))
    assert (closed.reason, closed.totals.painted, closed.totals.dropped) == ("asked", 8, 0)


def test_a_close_that_discards_drops_what_waits(wire: Wire, clip: list[Picture]) -> None:
    talk = opened(wire)
    talk.push(payloads_of(clip[:4]))
    while len(talk.credits) < 2:  # one for frame 1, and one for frame 3
        talk.take()
    wire.send(Close(session=0, discard=True))
    closed = talk.until(Closed)
    dropped = [each.index for each in talk.others if isinstance(each, Dropped)]
    assert (talk.indices, dropped) == ([0], [1, 2, 3])
    assert {each.reason for each in talk.others if isinstance(each, Dropped)} == {Code.CANCELLED}
    assert (closed.reason, closed.totals.painted, closed.totals.dropped) == ("asked", 1, 3)


def test_the_python_client_paints_a_film_that_waits(running: Daemon, clip: list[Picture], uncut: list[Output]) -> None:
    with Client(running.address) as client, client.session(**BRIEF) as session:
        results = list(session.paint(clip))
        assert session.opened is not None
        assert session.opened.credit == WINDOW
    assert [each.index for each in results] == list(range(FRAMES))
    assert_same([each.image for each in results], uncut)


def test_the_asyncio_client_paints_a_film_that_waits(running: Daemon, clip: list[Picture], uncut: list[Output]) -> None:
    async def paint() -> list[PaintedImage]:
        async with AsyncClient(running.address) as client, client.session(**BRIEF) as session:
            return [each async for each in session.paint(clip)]

    results = asyncio.run(paint())
    assert [each.index for each in results] == list(range(FRAMES))
    assert_same([each.image for each in results], uncut)


def test_who_waits_for_results_gets_them_all(running: Daemon, clip: list[Picture]) -> None:
    """Also where frames wait by an update alone."""
    with Client(running.address) as client, client.session(**BRIEF | {"lookahead_s": 0.0}) as session:
        for first, last in ((0, 4), (4, 8)):
            for number in range(first, last):
                session.push(clip[number], 40 * number)
            assert [each.index for each in session.results()] == list(range(first, last))
            session.update(lookahead_s=10.0)


def test_who_waits_for_results_gets_those_that_somebody_else_has_waiting(running: Daemon, clip: list[Picture]) -> None:
    """Somebody who watches has turned look-ahead on, which the session's own client was not told."""
    with (
        Client(running.address) as client,
        Client(running.address) as other,
        client.session(**BRIEF | {"lookahead_s": 0.0}) as session,
    ):
        session.push(clip[0], 0)
        assert [each.index for each in session.results()] == [0]
        with other.watch(other.status().sessions[-1].id) as viewer:
            viewer.update(lookahead_s=10.0)
        for number in range(1, 8):
            session.push(clip[number], 40 * number)
        assert [each.index for each in session.results()] == list(range(1, 8))


def test_coded_frames_wait_too(wire: Wire, clip: list[Picture]) -> None:
    payloads = coded(clip)
    source = SOURCE.model_copy(update={"encoding": "h264"})
    decoder = make_decoder(source)
    pictures = [picture for number, each in enumerate(payloads) for _, picture in decoder.decode(each, number)]
    decoder.close()
    assert len(pictures) == FRAMES
    talk = opened(wire, source=source)
    talk.push(payloads)
    wire.send(Close(session=0))
    closed = talk.until(Closed)
    assert (closed.totals.painted, closed.totals.dropped, closed.totals.failed) == (FRAMES, 0, 0)
    assert talk.indices == list(range(FRAMES))
    assert talk.credits
    assert_same([picture for _, picture in talk.answers], by_session(pictures))


def test_who_watches_sees_frames_that_waited_with_their_raw_frames(running: Daemon, clip: list[Picture]) -> None:
    with (
        Client(running.address) as client,
        Client(running.address) as other,
        client.session(**BRIEF) as session,
    ):
        session.push(clip[0], 0)
        session.flush()
        with other.watch(other.status().sessions[-1].id, maps=("holes",), window=16) as viewer:
            for number in range(1, 8):
                session.push(clip[number], 40 * number)
            session.flush()
            results = {each.index: each for each in session.results(wait=False)}
            for number in range(1, 8):
                seen = next(viewer.seen())
                assert (seen.index, seen.pts) == (number, Fraction(number, 25))
                np.testing.assert_array_equal(seen.raw, clip[number])
                np.testing.assert_array_equal(seen.painted, results[number].image)
                assert seen.info.provenance in (Provenance.FILLED, Provenance.WARPED)


# Connections that are lost, and daemons that end


def test_credit_that_was_given_while_the_client_was_away_is_told_when_it_is_back(
    running: Daemon, clip: list[Picture], uncut: list[Output]
) -> None:
    with Wire(running.address) as first:
        said = first.open(SOURCE, session=7, brief=Brief(**BRIEF))
        first.send(FrameIn(session=7, index=0, pts=0), clip[0].tobytes())
        first.expect(Painted)
        first.send(Ack(session=7, seq=1))
        for index in (1, 2):
            first.send(FrameIn(session=7, index=index, pts=40 * index), clip[index].tobytes())
    with Wire(running.address) as second:
        assert eventually(
            lambda: not _session(second, 7).connected and not _session(second, 7).waiting, HAPPENED_WITHIN_S
        )
        second.send(Resume(session=0, token=said.token, seq=1))
        resumed = second.expect(Resumed)
        arrived = resumed.last_index + 1  # before the connection was gone
        assert resumed.pending == tuple(range(1, arrived))
        talk = Talk(second, resumed.credit, pushed=arrived, first=1)
        talk.push(payloads_of(clip[arrived:]))
        second.send(Close(session=0))
        talk.until(Closed)
    assert talk.indices == list(range(1, FRAMES))
    assert_same([picture for _, picture in talk.answers], uncut[1:])


def _session(wire: Wire, number: int) -> Any:
    return next(each for each in wire.status().sessions if each.session == number)


def test_each_frame_comes_once_whatever_the_connection_does(
    running: Daemon, clip: list[Picture], uncut: list[Output]
) -> None:
    raw = SIZE[0] * SIZE[1] * 3
    cuts = [5 * raw + 777, 9 * raw + 11, 4 * raw, 14 * raw + 5]
    with (
        Proxy(int(running.addresses[1].rpartition(":")[2]), cuts) as proxy,
        Client(proxy.address) as client,
        client.session(**BRIEF) as session,
    ):
        results = list(session.paint(clip))
        assert proxy.cuts > 1
    assert [each.index for each in results] == list(range(FRAMES))
    assert_same([each.image for each in results], uncut)


def test_a_daemon_that_ends_leaves_what_waits_to_the_next_one(
    tmp_path: Path, clip: list[Picture], uncut: list[Output]
) -> None:
    state = ("--state-dir", str(tmp_path / "state"), "--snapshot-s", "0.01")
    with (
        daemon(tmp_path, *FLAGS, *state) as first,
        Client(first.address) as client,
        client.session(**BRIEF) as session,
    ):
        painting = session.paint(clip)
        results = [next(painting) for _ in range(6)]
        first.stop()
        with daemon(tmp_path, *FLAGS, *state) as second:
            results += list(painting)
            session.close()
            assert "Traceback" not in second.log.read_text()
    assert [each.index for each in results] == list(range(FRAMES))
    assert_same([each.image for each in results], uncut)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_what_waits_is_sent_again_to_the_daemon_that_starts_next(
    tmp_path: Path, clip: list[Picture], uncut: list[Output], number: signal.Signals
) -> None:
    """It was written down how the session stood before the first frame that waits."""
    state = tmp_path / "state"
    flags = (*FLAGS, "--state-dir", str(state), "--snapshot-s", "0.01")
    with daemon(tmp_path, *flags) as first, Wire(first.address) as wire:
        token = wire.open(SOURCE, brief=Brief(**BRIEF)).token
        wire.frame(0, clip[0].tobytes())
        wire.expect(Painted)
        wire.send(Ack(session=0, seq=1))
        for index in WAITING:
            wire.frame(index, clip[index].tobytes())
        assert eventually(lambda: wire.status().sessions[0].totals.received == 6, HAPPENED_WITHIN_S)
        assert eventually(lambda: [each.suffix for each in state.glob("*")] == [".session"], HAPPENED_WITHIN_S)
        ended(first, number)
        assert first.process.returncode == 0
    with daemon(tmp_path, *flags) as second, Wire(second.address) as wire:
        wire.send(Resume(session=0, token=token, seq=1))
        resumed = wire.expect(Resumed)
        assert (resumed.last_index, resumed.pending) == (0, ())
        talk = Talk(wire, resumed.credit, pushed=1, first=1)
        talk.push(payloads_of(clip[1:]))
        wire.send(Close(session=0))
        talk.until(Closed)
        assert talk.indices == list(range(1, FRAMES))
        assert_same([picture for _, picture in talk.answers], uncut[1:])


def test_a_session_that_rested_is_written_down_with_its_last_frame(tmp_path: Path, clip: list[Picture]) -> None:
    """A change brought out what waited: what was answered is not asked for again."""
    state = ("--state-dir", str(tmp_path / "state"), "--snapshot-s", "3000")
    with daemon(tmp_path, *FLAGS, *state) as first, Wire(first.address) as wire:
        said = wire.open(SOURCE, brief=Brief(**BRIEF))
        talk = Talk(wire, said.credit)
        talk.push(payloads_of(clip[:6]))
        wire.send(Update(session=0, request=1, changes={"max_hops": 12}))
        while len(talk.answers) < 6:
            talk.take()
        first.stop()
    with daemon(tmp_path, *FLAGS, *state) as second, Wire(second.address) as wire:
        wire.send(Resume(session=0, token=said.token, seq=7))
        resumed = wire.expect(Resumed)
        assert (resumed.last_index, resumed.last_request, resumed.epoch) == (5, 1, 1)
