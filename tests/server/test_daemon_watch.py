"""Watching sessions of a real daemon: what is seen, who may turn the knobs, and that nobody is held up."""

import asyncio
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.daemon import Daemon, Wire, daemon
from warpaint.client.aio import AsyncClient
from warpaint.client.errors import DaemonGone
from warpaint.client.images import Image
from warpaint.client.painting import Client, Session, Viewer
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.messages import (
    Ack,
    Close,
    Closed,
    Error,
    Flush,
    FrameIn,
    Hold,
    MapName,
    Rekey,
    Result,
    Seen,
    Source,
    Update,
    Updated,
    Watch,
    Watching,
)

# Not a multiple of 8: the canvas is padded, and what is seen is not.
SIZE = 44, 30
FRAMES = 6
# Frames are pushed at this pace while somebody waits to see them, seconds.
GAP_S = 0.02
SEEN_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("watched"), "--painters", "identity,filters", "--isolation", "thread") as made:
        yield made


@pytest.fixture
def client(running: Daemon) -> Iterator[Client]:
    with Client(running.address) as made:
        yield made


@pytest.fixture
def other(running: Daemon) -> Iterator[Client]:
    with Client(running.address) as made:
        yield made


def picture(number: int) -> Image:
    """A picture that tells its number, and which way is up."""
    made = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    made[: SIZE[1] // 2] = 200
    made[..., 0] += np.uint8(number)
    return made


def newest_session(client: Client) -> str:
    session = client.status().sessions[-1]
    return session.id


def pushed_until(session: Session, viewer: Viewer, wanted: Any, *, first: int = 0) -> Any:
    """What `wanted` finds in a frame that is seen, while frames are pushed; None is nothing. Raises TimeoutError."""
    deadline = time.monotonic() + SEEN_WITHIN_S
    for number in range(first, 100_000):
        session.push(picture(number % 50), 20 * number)
        list(session.results(wait=False))
        time.sleep(GAP_S)
        for seen in viewer.seen(wait=False):
            if (found := wanted(seen)) is not None:
                return found
        if time.monotonic() > deadline:
            break
    raise TimeoutError("not seen in time")


@pytest.mark.parametrize("pacing", ["every", "live"])
def test_what_is_painted_is_seen_with_the_raw_frame_and_maps(client: Client, other: Client, pacing: Any) -> None:
    with client.session(painter="identity", pacing=pacing, prompt="a harbour") as session:
        session.push(picture(0), 0)
        session.flush()
        maps: tuple[MapName, ...] = ("flow", "confidence", "hops", "holes")
        with other.watch(newest_session(other), maps=maps, window=16) as viewer:
            watching = viewer.watching
            assert (watching.width, watching.height) == SIZE
            assert (watching.painter, watching.flow, watching.pacing) == ("identity", "dis", pacing)
            assert watching.brief.prompt == "a harbour"
            assert watching.client.startswith("warpaint python")
            assert watching.may_steer
            for number in range(1, FRAMES):
                session.push(picture(number), 40 * number)
                session.flush()
                seen = next(viewer.seen())
                assert (seen.index, seen.pts) == (number, Fraction(40 * number, 1000))
                assert seen.raw is not None
                assert seen.painted is not None
                assert np.array_equal(seen.raw, picture(number))
                assert seen.painted.shape == seen.raw.shape
                assert {name: array.shape[:2] for name, array in seen.maps.items()} == dict.fromkeys(maps, SIZE[::-1])
                assert seen.maps["flow"].dtype == np.float32
                assert seen.info.delay_ms > 0
                assert "encode" in seen.info.stages_ms


def test_pictures_are_seen_upright(client: Client, other: Client) -> None:
    source = Source(width=SIZE[1], height=SIZE[0], rotation=90, sample_aspect=(4, 3))
    with client.session(painter="identity", source=source) as session:
        with other.watch(newest_session(other)) as viewer:
            assert (viewer.watching.width, viewer.watching.height) == SIZE
            assert viewer.watching.sample_aspect == (3, 4)
            session.push(np.ascontiguousarray(np.rot90(picture(3))), 0)
            session.flush()
            seen = next(viewer.seen())
        assert seen.raw is not None
        assert seen.painted is not None
        assert np.array_equal(seen.raw, picture(3))
        assert np.array_equal(seen.painted, picture(3))
        [result] = session.results()
        assert np.array_equal(np.rot90(result.image, -1), picture(3))


def test_what_is_wanted_can_change_while_it_is_watched(client: Client, other: Client) -> None:
    with client.session(painter="identity", pacing="live") as session:
        session.push(picture(0), 0)
        with other.watch(newest_session(other), pictures=("painted",)) as viewer:
            first = pushed_until(session, viewer, lambda seen: seen, first=1)
            assert (first.raw, first.maps) == (None, {})
            viewer.want(pictures=("raw", "painted"), maps=("holes",))
            later = pushed_until(session, viewer, lambda seen: seen if seen.maps else None, first=1_000)
            assert later.raw is not None
            assert list(later.maps) == ["holes"]


def test_a_watcher_turns_the_knobs_and_is_told_when_it_shows(client: Client, other: Client) -> None:
    with client.session(painter="filters", pacing="live", look="strokes") as session:
        session.push(picture(0), 0)
        with other.watch(newest_session(other)) as viewer:
            request = viewer.update(look="pencil", seed=7)
            index = pushed_until(session, viewer, lambda _: viewer.shown_at(request), first=1)
            assert index > 0
            assert (viewer.watching.brief.look, viewer.watching.brief.seed) == ("pencil", 7)
            viewer.rekey()
            with pytest.raises(RefusedError, match=r"brief\.look: this painter has no look 'nothing'"):
                viewer.update(look="nothing")
            viewer.hold(True)
            pushed_until(session, viewer, lambda _: viewer.watching.holding or None, first=1_000)
            viewer.hold(False)
            # The client's own requests are counted apart from those of others.
            assert session.update(seed=8) == 1
            pushed_until(session, viewer, lambda _: viewer.watching.brief.seed == 8 or None, first=2_000)
            assert viewer.watching.brief.look == "pencil"
            assert not viewer.watching.holding


def test_the_client_does_not_hear_the_answers_to_others(running: Daemon, other: Client) -> None:
    with Wire(running.address) as wire:
        wire.open(Source(width=8, height=8), painter="identity", flow="none")
        with other.watch(newest_session(other)) as viewer:
            viewer.update(seed=7)
            assert wire.quiet(0.2)
        wire.send(Close(session=0))
        assert isinstance(wire.receive().message, Closed)


def test_two_watch_the_same_and_one_who_reads_nothing_holds_up_nobody(running: Daemon, client: Client) -> None:
    with (
        Wire(running.address) as deaf,
        Client(running.address) as seeing,
        client.session(painter="identity", pacing="every", flow="none") as session,
    ):
        session.push(picture(0), 0)
        session.flush()
        name = newest_session(client)
        deaf.send(Watch(session=0, id=name, window=2))
        assert deaf.expect(Watching).id == name
        with seeing.watch(name, window=2) as viewer:
            for number in range(1, 20):
                session.push(picture(number), 40 * number)
                session.flush()
                assert next(viewer.seen()).index == number
        for _ in range(2):
            assert deaf.expect(Seen).seq > 0
        assert deaf.quiet(0.2)
        deaf.send(Ack(session=0, seq=2))
        session.push(picture(30), 4_000)
        session.flush()
        assert (seen := deaf.expect(Seen)).seq == 3
        assert seen.index == 20


def test_the_end_of_the_session_ends_the_watching(client: Client, other: Client) -> None:
    with client.session(painter="identity") as session:
        session.push(picture(0), 0)
        session.flush()
        viewer = other.watch(newest_session(other))
        with viewer:
            session.push(picture(1), 40)
            session.close()
            assert [seen.index for seen in viewer.seen()] == [1]
            with pytest.raises(DaemonGone, match="the session that was watched has ended: asked"):
                viewer.rekey()


def test_a_watcher_that_leaves_ends_nothing(client: Client, running: Daemon) -> None:
    with client.session(painter="identity") as session:
        session.push(picture(0), 0)
        name = newest_session(client)
        with Wire(running.address) as wire:
            wire.send(Watch(session=4, id=name))
            wire.expect(Watching)
            wire.send(Close(session=4))
            assert wire.until(Closed).reason == "asked"
            wire.send(Watch(session=4, id=name))  # the number is free again
            wire.expect(Watching)
        session.push(picture(1), 40)
        session.flush()
        assert [painted.index for painted in session.results()] == [0, 1]


def test_what_cannot_be_watched_is_refused(running: Daemon, client: Client) -> None:
    with pytest.raises(RefusedError, match="there is no session 'nobody'") as caught, client.watch("nobody"):
        pass
    assert caught.value.code is Code.NO_SESSION
    with Wire(running.address) as wire:
        opened = wire.open(Source(width=8, height=8), session=1, painter="identity", flow="none")
        session = client.status().sessions[-1]
        assert session.id not in opened.token
        assert opened.token not in session.id
        wire.send(Watch(session=1, id=session.id))
        assert wire.expect(Error).code is Code.SESSION_EXISTS
        wire.send(Watch(session=2, id=session.id))
        assert wire.expect(Watching).session == 2
        wire.send(Watch(session=2, id="another"))
        assert wire.expect(Error).code is Code.SESSION_EXISTS
        wire.send(Flush(session=2, request=9))
        assert wire.expect(Error).code is Code.UNSUPPORTED
        wire.send(FrameIn(session=2, index=0, pts=0), bytes(8 * 8 * 3))
        error = wire.expect(Error)
        assert (error.code, error.index) == (Code.UNSUPPORTED, 0)
        assert "is watched here" in error.message
        wire.send(Hold(session=2, request=1, on=True))
        assert "`hold` stops a live film" in wire.expect(Error).message
        wire.send(Rekey(session=2, request=1))
        assert wire.expect(Error).code is Code.BAD_INDEX
        wire.send(Update(session=2, request=2, changes={"look": "nothing"}))
        assert wire.expect(Error).request == 2
        wire.send(Update(session=2, request=3, changes={"seed": 3}))
        assert wire.expect(Updated).request == 3


def test_watchings_have_a_bound(tmp_path: Path) -> None:
    with daemon(tmp_path, "--painters", "identity", "--isolation", "thread") as made, Wire(made.address) as wire:
        wire.open(Source(width=8, height=8), session=1_000, painter="identity", flow="none")
        session = wire.status().sessions[-1]
        for number in range(64):
            wire.send(Watch(session=number, id=session.id))
            wire.expect(Watching)
        wire.send(Watch(session=64, id=session.id))
        assert wire.expect(Error).code is Code.TOO_MANY_SESSIONS
        wire.send(Close(session=3))
        wire.expect(Closed)
        wire.send(Watch(session=64, id=session.id))
        wire.expect(Watching)


@pytest.mark.parametrize(("watching", "sees"), [("off", False), ("see", True)])
def test_the_daemon_may_let_nobody_watch_or_steer(tmp_path: Path, watching: str, sees: bool) -> None:
    flags = ("--painters", "identity", "--isolation", "thread", "--watching", watching)
    with daemon(tmp_path, *flags) as made, Client(made.address) as client, client.session(flow="none") as session:
        session.push(picture(0), 0)
        name = newest_session(client)
        if not sees:
            with pytest.raises(RefusedError, match="lets nobody watch"), client.watch(name):
                pass
            return
        with client.watch(name) as viewer:
            assert not viewer.watching.may_steer
            with pytest.raises(RefusedError, match="lets those who watch change nothing"):
                viewer.update(seed=4)
            session.push(picture(1), 40)
            session.flush()
            assert next(viewer.seen()).painted is not None


def test_the_asyncio_client_watches_too(running: Daemon) -> None:
    asyncio.run(asyncio.wait_for(_watched(running), SEEN_WITHIN_S))


async def _watched(running: Daemon) -> None:
    async with AsyncClient(running.address) as client:
        source = Source(width=SIZE[0], height=SIZE[1])
        async with client.session(painter="identity", source=source, result=Result()) as session:
            status = (await client.status()).sessions[-1]
            async with client.watch(status.id) as viewer:
                await session.push(picture(1), 0)
                async for seen in viewer.seen():
                    assert seen.painted is not None
                    assert np.array_equal(seen.painted, picture(1))
                    break
                await viewer.update(seed=5)
