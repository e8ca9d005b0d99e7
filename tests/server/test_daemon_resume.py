"""A session outlives its connection: what a client that comes back is told, and that each frame is answered once."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.camera import Camera
from support.clips import frames
from support.daemon import Daemon, Wire, daemon, eventually
from support.proxy import Proxy
from warpaint.client.aio import AsyncClient
from warpaint.client.painting import Client
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.limits import MAX_INTEGER
from warpaint.proto.messages import (
    Ack,
    Close,
    Closed,
    Error,
    Flush,
    Flushed,
    Open,
    Opened,
    Painted,
    Rekey,
    Resume,
    Resumed,
    Source,
    Update,
    Updated,
)

SIZE = (192, 112)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
TINY = Source(width=16, height=8)
WINDOW = 8
PATIENT_MS = 10_000.0
CUTS = 8
GATED = "painters_under_test:Gated"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file without which `Gated` does not paint."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    flags = ["--painters", f"identity,filters,{GATED}", "--flows", "dis,none", "--probe-s", "0.2"]
    binds = [f"ipc://{folder}/warpaint.sock", "tcp://127.0.0.1:*"]
    with daemon(folder, *flags, binds=binds, env={"WARPAINT_TEST_GATE": str(gate)}) as made:
        yield made


@pytest.fixture(scope="module")
def clip() -> list[Any]:
    return list(frames("bikes", SIZE, stop=40))


def port(running: Daemon) -> int:
    return int(running.addresses[1].rpartition(":")[2])


def payload(number: int) -> bytes:
    """A picture [8, 16, 3] that tells its number."""
    return bytes([number]) * (16 * 8 * 3)


def painted(running: Daemon, *, session: int) -> int:
    with Wire(running.address) as wire:
        return next((each.totals.painted for each in wire.status().sessions if each.session == session), -1)


def resumed(wire: Wire, token: str, seq: int = 0, session: int = 0) -> Any:
    wire.send(Resume(session=session, token=token, seq=seq))
    return wire.expect(Resumed)


def refused(wire: Wire, token: str, session: int = 0) -> Code:
    wire.send(Resume(session=session, token=token))
    error = wire.expect(Error)
    assert error.session == session
    return Code(error.code)


def ended(wire: Wire, session: int = 0) -> Any:
    wire.send(Close(session=session))
    return wire.until(Closed).totals


# What is sent again


def test_answers_that_nobody_took_come_again_under_their_numbers(running: Daemon) -> None:
    with Wire(running.address) as first:
        token = first.open(TINY, session=11, painter="identity", flow="none").token
        for index in range(WINDOW):
            first.frame(index, payload(index), session=11)
        assert eventually(lambda: painted(running, session=11) == WINDOW)
    for seq in (0, 3):  # a second time, with those that were received
        with Wire(running.address) as second:
            said = resumed(second, token, seq, session=11)
            assert (said.last_index, said.last_request, said.credit) == (WINDOW - 1, None, WINDOW)
            assert said.pending == tuple(range(seq, WINDOW))
            for number in range(seq, WINDOW):
                again = second.receive()
                assert (again.message.index, again.message.seq) == (number, number + 1)
                assert bytes(again.payloads[0]) == payload(number)
            assert second.quiet(0.05)
    with Wire(running.address) as last:
        resumed(last, token, WINDOW, session=11)
        last.frame(WINDOW, payload(9), session=11)
        assert last.expect(Painted).seq == WINDOW + 1
        assert ended(last, session=11).painted == WINDOW + 1


def test_acknowledged_answers_do_not_come_again(running: Daemon) -> None:
    with Wire(running.address) as first:
        token = first.open(TINY, session=12, painter="identity", flow="none").token
        for index in range(6):
            first.frame(index, payload(index), session=12)
        seqs = [first.expect(Painted).seq for _ in range(6)]
        assert seqs == [1, 2, 3, 4, 5, 6]
        first.send(Ack(session=12, seq=4))
        first.send(Ack(session=12, seq=2))  # late, and of no harm
    with Wire(running.address) as second:
        assert resumed(second, token, session=12).pending == (4, 5)
        assert [second.expect(Painted).seq for _ in range(2)] == [5, 6]
        assert second.quiet(0.05)
        ended(second, session=12)


def test_no_more_pictures_are_kept_than_the_credit(running: Daemon) -> None:
    with Wire(running.address) as first:
        token = first.open(TINY, session=13, painter="identity", flow="none").token
        for index in range(3 * WINDOW):
            first.frame(index, payload(index), session=13)
            first.expect(Painted)
    with Wire(running.address) as second:
        last = tuple(range(2 * WINDOW, 3 * WINDOW))
        assert resumed(second, token, session=13).pending == last
        assert tuple(second.expect(Painted).index for _ in last) == last
        assert second.quiet(0.05)
        ended(second, session=13)


def test_frames_in_hand_are_painted_while_the_client_is_gone(running: Daemon, gate: Path) -> None:
    gate.unlink(missing_ok=True)
    with Wire(running.address) as first:
        token = first.open(TINY, session=14, painter=GATED, flow="none").token
        for index in range(4):
            first.frame(index, payload(index), session=14)
    with Wire(running.address) as second:
        said = resumed(second, token, session=14)
        assert (said.pending, said.last_index) == ((0, 1, 2, 3), 3)
        second.frame(3, payload(3), session=14)
        assert second.expect(Error).code is Code.BAD_INDEX
        gate.touch()
        assert [second.expect(Painted).index for _ in range(4)] == [0, 1, 2, 3]
        totals = ended(second, session=14)
        assert (totals.received, totals.painted) == (4, 4)


def test_what_is_sent_twice_is_done_once(running: Daemon) -> None:
    with Wire(running.address) as first:
        token = first.open(TINY, session=15, painter="filters", flow="none", brief=Brief(look="poster")).token
        first.frame(0, payload(0), session=15)
        first.expect(Painted)
        for request, message in enumerate(
            (Update(session=15, request=0, changes={"seed": 9}), Rekey(session=15, request=1))
        ):
            first.send(message)
            assert first.expect(Updated).request == request
    with Wire(running.address) as second:
        said = resumed(second, token, 1, session=15)
        assert (said.last_index, said.last_request, said.pending) == (0, 1, ())
        assert [second.expect(Updated).request for _ in range(2)] == [0, 1]
        second.frame(0, payload(0), session=15)
        second.send(Update(session=15, request=0, changes={"seed": 9}))
        second.send(Rekey(session=15, request=1))
        second.send(Flush(session=15, request=2))
        answers = [second.receive().message for _ in range(4)]
        assert [each.code for each in answers[:3]] == [Code.BAD_INDEX] * 3
        assert [(each.index, each.request, each.seq) for each in answers[:3]] == [
            *[(0, None, None), (None, 0, None), (None, 1, None)]
        ]
        assert isinstance(answers[3], Flushed)
        second.frame(1, payload(1), session=15)
        assert second.expect(Painted).epoch == 2
        totals = ended(second, session=15)
        assert (totals.received, totals.painted, totals.failed) == (2, 2, 0)


def test_a_session_that_ended_while_its_client_was_gone_has_its_last_answers_still(running: Daemon, gate: Path) -> None:
    """The connection is lost after `close` was sent, and before `closed` has come."""
    gate.unlink(missing_ok=True)
    with Proxy(port(running)) as proxy, Wire(proxy.address) as first:
        token = first.open(TINY, session=16, painter=GATED, flow="none").token
        for index in range(3):
            first.frame(index, payload(index), session=16)
        first.send(Close(session=16))
        first.send(Flush(session=16, request=0))
        assert first.expect(Error).code is Code.NO_SESSION  # so `close` has come before it
        proxy.stall()
        gate.touch()
        assert eventually(lambda: painted(running, session=16) == -1)
        with Wire(running.address) as second:
            assert resumed(second, token, session=16).pending == (0, 1, 2)
            assert [second.expect(Painted).index for _ in range(3)] == [0, 1, 2]
            closed = second.expect(Closed)
            assert (closed.reason, closed.totals.painted) == ("asked", 3)
            second.send(Ack(session=16, seq=closed.seq))
            assert refused(second, token, session=16) is Code.UNKNOWN_TOKEN


# Whose session it is


@pytest.mark.parametrize("pacing", ["every", "live"])
def test_whoever_has_the_token_has_the_session_and_the_old_connection_is_told(running: Daemon, pacing: str) -> None:
    fields: dict[str, Any] = {"pacing": pacing, "painter": "identity", "flow": "dis", "max_delay_ms": PATIENT_MS}
    with Wire(running.address) as first, Wire(running.address) as second:
        token = first.open(TINY, session=17, **fields).token
        assert Camera(first, session=17).shoot(payload(0)).message.index == 0
        resumed(second, token, 1, session=17)
        moved = first.expect(Closed)
        assert (moved.session, moved.reason, moved.seq) == (17, "moved", None)
        first.frame(1, payload(1), session=17)
        assert first.expect(Error).code is Code.NO_SESSION
        camera = Camera(second, session=17, next_index=1)
        assert camera.shoot(payload(1)).message.type == "painted"
        assert first.quiet(0.05)
        assert isinstance(first.open(TINY, session=17, painter="identity"), Opened)  # the number is free there
        ended(first, session=17)
        assert ended(second, session=17).painted == 2


def test_a_session_may_go_on_under_another_number(running: Daemon) -> None:
    with Wire(running.address) as first:
        token = first.open(TINY, session=18, painter="identity", flow="none").token
        for index in range(2):
            first.frame(index, payload(index), session=18)
        assert eventually(lambda: painted(running, session=18) == 2)
    with Wire(running.address) as second:
        second.open(TINY, session=18, painter="identity", flow="none")
        assert refused(second, token, session=18) is Code.SESSION_EXISTS
        assert resumed(second, token, session=19).session == 19
        assert [(each.session, each.index) for each in (second.expect(Painted) for _ in range(2))] == [(19, 0), (19, 1)]
        second.frame(2, payload(2), session=19)
        assert second.expect(Painted).session == 19
        second.frame(0, payload(0), session=18)
        assert second.expect(Painted).session == 18
        assert ended(second, session=19).painted == 3
        assert ended(second, session=18).painted == 1


def test_a_session_may_be_resumed_on_its_own_connection(running: Daemon) -> None:
    with Wire(running.address) as wire:
        token = wire.open(TINY, session=20, painter="identity", flow="none").token
        wire.frame(0, payload(0), session=20)
        wire.expect(Painted)
        assert resumed(wire, token, 0, session=21).pending == (0,)
        assert wire.expect(Painted).session == 21
        wire.frame(1, payload(1), session=20)
        assert wire.expect(Error).code is Code.NO_SESSION
        assert ended(wire, session=21).painted == 1


def test_a_token_that_nobody_has_is_refused(running: Daemon) -> None:
    with Wire(running.address) as wire:
        token = wire.open(TINY, session=22, painter="identity").token
        assert refused(wire, "open sesame", session=1) is Code.UNKNOWN_TOKEN
        assert refused(wire, token.swapcase(), session=1) is Code.UNKNOWN_TOKEN
        ended(wire, session=22)


def test_answers_that_there_cannot_be_are_not_counted_on_from(running: Daemon) -> None:
    with Wire(running.address) as wire:
        token = wire.open(TINY, session=25, painter="identity", flow="none").token
        wire.send(Resume(session=25, token=token, seq=MAX_INTEGER))
        assert wire.expect(Error).code is Code.INVALID_FIELD
        wire.frame(0, payload(0), session=25)
        assert wire.expect(Painted).seq == 1
        ended(wire, session=25)


def test_a_session_with_more_unacknowledged_than_can_be_told_is_resumed(tmp_path: Path) -> None:
    """As many frames in hand as a window may ever have, after as many that failed."""
    window = 1_024
    flags = ("--window", str(window), "--painters", GATED, "--flows", "none")
    with daemon(tmp_path, *flags, env={"WARPAINT_TEST_GATE": str(tmp_path / "gate")}) as wide:
        with Wire(wide.address, keeps_messages=4 * window) as first:
            token = first.open(TINY).token
            for index in range(window + 100):
                first.frame(index, b"no picture")
                if index >= window - 1:
                    first.expect(Error)
            for _ in range(window - 1):
                first.expect(Error)
            for index in range(2_000, 2_000 + window):
                first.frame(index, payload(1))
            with Wire(wide.address) as other:
                assert eventually(lambda: other.status().sessions[0].totals.received == 2 * window + 100)
        with Wire(wide.address, keeps_messages=4 * window) as second:
            said = resumed(second, token)
            assert said.last_index == 2_000 + window - 1
            assert len(said.pending) == 2 * window
            answers = [second.expect(Error).index for _ in range(window)]
            assert answers == list(said.pending[:window])
            second.send(Close(session=0, discard=True))
            assert second.until(Closed).totals.dropped == window
        assert wide.alive


# How long it waits


@pytest.mark.parametrize("linger_s", [0.0, 0.3])
def test_a_session_ends_when_nobody_has_come_back_in_time(running: Daemon, linger_s: float) -> None:
    with Wire(running.address) as first:
        opened = first.open(TINY, session=23, painter="identity", linger_s=linger_s)
        assert opened.linger_s == linger_s
    assert eventually(lambda: painted(running, session=23) == -1)
    with Wire(running.address) as second:
        assert refused(second, opened.token, session=23) is Code.UNKNOWN_TOKEN


def test_a_session_waits_no_longer_than_the_daemon_lets_it(tmp_path: Path) -> None:
    with daemon(tmp_path, "--probe-s", "0.2", "--linger-s", "0.3") as brief_one:
        with Wire(brief_one.address) as first:
            assert first.open(TINY, linger_s=1000.0).linger_s == pytest.approx(0.3)
        assert eventually(lambda: painted(brief_one, session=0) == -1)


def test_when_all_places_are_taken_the_one_that_waited_longest_ends(tmp_path: Path) -> None:
    with daemon(tmp_path, "--probe-s", "0.1", "--max-sessions", "3") as full, Wire(full.address) as here:

        def gone() -> int:
            return sum(not each.connected for each in here.status().sessions)

        tokens = []
        for number in range(2):
            with Wire(full.address) as leaving:
                tokens.append(leaving.open(TINY, session=number + 1).token)
            assert eventually(lambda: gone() == number + 1)  # noqa: B023
        here.open(TINY, session=3)
        here.open(TINY, session=4)
        assert eventually(lambda: {each.session for each in here.status().sessions} == {2, 3, 4})
        assert refused(here, tokens[0], session=1) is Code.UNKNOWN_TOKEN
        assert resumed(here, tokens[1], session=2).session == 2
        here.send(Open(session=5, source=TINY))
        assert here.expect(Error).code is Code.TOO_MANY_SESSIONS


# The clients, through connections that break


def cuts(seed: int) -> list[int]:
    """After how many bytes each connection ends: of frames, results, or in the midst of a greeting."""
    rng = random.Random(seed)
    return [rng.choice((rng.randint(1, 2_000), rng.randint(100_000, 900_000))) for _ in range(CUTS)]


@pytest.fixture(scope="module")
def uncut(running: Daemon, clip: list[Any]) -> list[bytes]:
    with Client(running.address) as client, client.session(look="poster", painter="filters") as session:
        return [each.image.tobytes() for each in session.paint(clip)]


@pytest.mark.parametrize("seed", range(2))
def test_a_film_through_a_connection_that_breaks_is_the_same_to_the_bit(
    running: Daemon, clip: list[Any], uncut: list[bytes], seed: int
) -> None:
    with Proxy(port(running), cuts(seed)) as proxy, Client(proxy.address) as client:
        with client.session(look="poster", painter="filters") as session:
            results = list(session.paint(clip))
        assert proxy.cuts >= CUTS / 2
    assert [each.info.index for each in results] == list(range(len(clip)))
    assert [each.image.tobytes() for each in results] == uncut
    totals = session.totals
    assert totals is not None
    assert (totals.received, totals.painted) == (len(clip), len(clip))


def test_asyncio_films_through_a_connection_that_breaks_are_the_same_to_the_bit(
    running: Daemon, clip: list[Any], uncut: list[bytes]
) -> None:
    async def painting(client: AsyncClient) -> list[bytes]:
        async with client.session(look="poster", painter="filters") as session:
            return [each.image.tobytes() async for each in session.paint(clip)]

    async def both() -> list[list[bytes]]:
        async with AsyncClient(proxy.address) as client:
            return list(await asyncio.gather(painting(client), painting(client)))

    with Proxy(port(running), cuts(7)) as proxy:
        assert asyncio.run(both()) == [uncut, uncut]
        assert proxy.cuts >= CUTS / 2


@pytest.mark.parametrize("lost", ["close", "closed"])
def test_a_client_that_lost_the_end_is_told_the_totals_all_the_same(running: Daemon, gate: Path, lost: str) -> None:
    gate.unlink(missing_ok=True)
    with Proxy(port(running)) as proxy, Client(proxy.address) as client, Wire(running.address) as other:

        def waiting() -> list[int]:
            return [each.waiting for each in other.status().sessions if each.session == 0]

        with client.session(source=TINY, painter=GATED, flow="none") as session:
            session.push(payload(0), 0)
            assert eventually(lambda: painted(running, session=0) == 0 and waiting() == [0])
            if lost == "close":
                proxy.stall()
            session._active.close()
            client.take_all()
            assert lost == "close" or eventually(lambda: waiting() == [1])
            proxy.stall()
            gate.touch()
            assert eventually(lambda: painted(running, session=0) == (1 if lost == "close" else -1))
            proxy.cut()
            assert [each.info.index for each in session.results()] == [0]
        assert session.totals is not None
        assert session.totals.painted == 1


def test_each_frame_of_a_live_film_through_a_connection_that_breaks_is_accounted_for(
    running: Daemon, clip: list[Any]
) -> None:
    fields: dict[str, Any] = {"pacing": "live", "look": "poster", "painter": "filters", "rate": 15.0}
    seen: list[int] = []
    pushed = 0
    with Proxy(port(running)) as proxy, Client(proxy.address) as client:
        with client.session(max_delay_ms=PATIENT_MS, **fields) as session:
            for _ in range(5):
                proxy.cut()
                wanted, deadline = len(seen) + 2 * WINDOW, time.monotonic() + 20.0
                while len(seen) < wanted and time.monotonic() < deadline:
                    session.push(clip[pushed % len(clip)], 66 * pushed)
                    pushed += 1
                    client.wait(timeout_s=0.02)
                    seen += [each.info.index for each in session.results(wait=False)]
                assert len(seen) >= wanted
            seen += [each.info.index for each in session.results()]
        assert sum(session.dropped.values()) == len(session.drops)
        drops = [each.index for each in session.drops]
    assert sorted(seen + drops) == list(range(pushed))
    assert {each.stage for each in session.drops} <= {"client", "connection", "queue", "send"}
    totals = session.totals
    assert totals is not None
    assert totals.received == totals.painted + totals.dropped + totals.failed
    assert totals.painted >= len(seen)


def test_a_live_session_goes_on_from_what_it_had_painted(running: Daemon, gate: Path, clip: list[Any]) -> None:
    steady = Brief(keyframe_gap_min_s=1000.0, keyframe_gap_max_s=2000.0, fade_s=0.0, hole_limit=1.0)
    fields: dict[str, Any] = {"pacing": "live", "painter": GATED, "brief": steady, "max_delay_ms": PATIENT_MS}
    gate.touch()
    with Wire(running.address) as first:
        token = first.open(SOURCE, session=24, **fields).token
        still = [clip[0].tobytes()]
        camera = Camera(first, session=24)
        [*_, last] = camera.film_until(lambda each: each.message.provenance.value != "held", still)
    gate.unlink()
    with Wire(running.address) as second:
        said = resumed(second, token, last.message.seq, session=24)
        assert said.epoch == last.message.epoch
        camera = Camera(second, session=24, next_index=said.last_index + 1, pts=40 * said.last_index + 40)
        answers = camera.film(still * 10)
        assert {each.message.type for each in answers} == {"painted"}
        assert not any(each.message.keyframe for each in answers)
        assert bytes(answers[0].payloads[0]) == bytes(last.payloads[0])
        assert ended(second, session=24).keyframes == 1
