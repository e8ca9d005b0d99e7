"""The client for asyncio: against a real daemon, and against a scripted router that is lost and comes back."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.daemon import Daemon
from support.proxy import Proxy
from support.router import Router
from support.scenes import film, two_layers
from warpaint.client.aio import AsyncClient, AsyncSession
from warpaint.client.errors import DaemonGone, FrameFailed
from warpaint.client.painting import Client
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.messages import Provenance, Source

SIZE = (64, 48)
HAPPENED_WITHIN_S = 20.0
CUTS = 25


def in_loop(work: Coroutine[Any, Any, None]) -> None:
    """Runs a test's coroutine, in time."""
    asyncio.run(asyncio.wait_for(work, 60.0))


async def happens(condition: Callable[[], bool]) -> bool:
    """Whether something happens in time."""
    for _ in range(int(HAPPENED_WITHIN_S / 0.01)):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return condition()


@pytest.fixture(scope="module")
def frames() -> list[NDArray[np.uint8]]:
    """Ten frames [48, 64, 3] of things that move."""
    return film(two_layers(SIZE), 10, SIZE)


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    with Router(f"ipc://{tmp_path}/router.sock") as running:
        yield running


def picture(number: int) -> NDArray[np.uint8]:
    made = np.zeros((4, 6, 3), np.uint8)
    made.reshape(-1)[:4] = np.frombuffer(number.to_bytes(4, "little"), np.uint8)
    return made


async def indices(session: AsyncSession) -> list[int]:
    return [each.index async for each in session.results()]


# A real daemon


def test_paints_as_the_other_client_does(shared_daemon: Daemon, frames: list[NDArray[np.uint8]]) -> None:
    with Client(shared_daemon.address) as client, client.session(look="poster") as session:
        expected = list(session.paint(frames))

    async def paint() -> None:
        async with AsyncClient(shared_daemon.address) as client, client.session(look="poster") as session:
            painted = [each async for each in session.paint(frames)]
        assert [each.index for each in painted] == list(range(10))
        assert [each.pts for each in painted] == [Fraction(number, 25) for number in range(10)]
        assert painted[0].info.provenance is Provenance.PAINTED
        for each, other in zip(painted, expected, strict=True):
            np.testing.assert_array_equal(each.image, other.image)
        assert session.totals is not None
        assert session.totals.painted == 10

    in_loop(paint())


def test_frames_may_come_one_by_one_and_be_left(shared_daemon: Daemon, frames: list[NDArray[np.uint8]]) -> None:
    async def endless() -> AsyncIterator[NDArray[np.uint8]]:
        number = 0
        while True:
            yield frames[number % 10]
            await asyncio.sleep(0)
            number += 1

    async def paint() -> None:
        async with (
            AsyncClient(shared_daemon.address) as client,
            client.session(painter="identity", flow="none") as session,
        ):
            async for painted in session.paint(endless(), rate=50):
                np.testing.assert_array_equal(painted.image, frames[painted.index % 10])
                if painted.index == 30:
                    break
        assert session.totals is not None
        assert 31 <= session.totals.painted < 100

    in_loop(paint())


def test_update_rekey_flush_status_and_ping(shared_daemon: Daemon, frames: list[NDArray[np.uint8]]) -> None:
    async def talk() -> None:
        async with AsyncClient(shared_daemon.address) as client, client.session(look="poster") as session:
            await client.ping()
            await session.push(frames[0], 0)
            request = await session.update(look="ink")
            await session.push(frames[1], 40)
            await session.flush()
            assert session.shown_at(request) == 1
            rekeyed = await session.rekey()
            await session.push(frames[2], 80)
            assert [each.index async for each in session.results()] == [0, 1, 2]
            await session.flush()
            assert session.shown_at(rekeyed) == 2
            assert len((await client.status()).sessions) >= 1
            with pytest.raises(RefusedError, match="poster"):
                await session.update(look="nonsense")
            with pytest.raises(RefusedError) as caught:
                await session.hold(True)
            assert caught.value.code is Code.UNSUPPORTED
            await session.request_keyframe()

    in_loop(talk())


def test_sessions_in_tasks_of_their_own(shared_daemon: Daemon, frames: list[NDArray[np.uint8]]) -> None:
    async def one(client: AsyncClient, shade: int) -> None:
        own = np.full_like(frames[0], shade)
        async with client.session(painter="identity", flow="none") as session:
            count = 0
            async for painted in session.paint(own for _ in range(40)):
                assert (painted.image == shade).all()
                count += 1
        assert count == 40

    async def all_of_them() -> None:
        async with AsyncClient(shared_daemon.address) as client:
            await asyncio.gather(*(one(client, shade) for shade in (10, 60, 110, 160)), client.status(), client.ping())

    in_loop(all_of_them())


# A router that does what it is told


def test_whoever_waits_may_be_cancelled(router: Router) -> None:
    router.paints = False

    async def cancel() -> None:
        async with AsyncClient(router.address) as client, client.session() as session:
            for number in range(8):
                await session.push(picture(number), number)
            waits = [asyncio.create_task(session.push(picture(8), 8)), asyncio.create_task(indices(session))]
            assert await happens(lambda: len(router.taken) == 8)
            for each in waits:
                each.cancel()
            assert all(isinstance(each, asyncio.CancelledError) for each in await gathered(waits))
            router.paint(8)
            assert await indices(session) == list(range(8))
            router.paints = True
            assert await session.push(picture(8), 8) == 8
            assert await indices(session) == [8]
        assert not client._sleepers

    in_loop(cancel())


async def gathered(tasks: list["asyncio.Task[Any]"]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_an_opening_that_is_cancelled_leaves_no_session(router: Router) -> None:
    async def cancel() -> None:
        async with AsyncClient(router.address) as client:
            await client.ping()
            router.mute = True
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.session().open(Source(width=6, height=4)), 0.1)
            router.mute = False
            assert not client._connection._conversations
            async with client.session() as session:
                await session.push(picture(0), 0)
                assert await indices(session) == [0]

    in_loop(cancel())


def test_results_that_nobody_takes_hold_up_who_pushes(router: Router) -> None:
    async def push_on() -> None:
        async with AsyncClient(router.address) as client, client.session() as session:
            pushing = asyncio.create_task(push_many(session, 50))
            await asyncio.sleep(0.3)
            assert not pushing.done()
            assert len(router.taken) <= 2 * router.window + 1
            came: list[int] = []
            while len(came) < 50:
                came += await indices(session)
                await asyncio.sleep(0)
            await pushing
        assert came == list(range(50))

    in_loop(push_on())


async def push_many(session: AsyncSession, frames: int) -> None:
    for number in range(frames):
        await session.push(picture(number), number)


def test_a_frame_that_was_not_painted(router: Router) -> None:
    router.paints = False

    async def fail() -> None:
        async with AsyncClient(router.address) as client, client.session() as session:
            await push_many(session, 2)
            assert await happens(lambda: len(router.taken) == 2)
            router.drop(Code.BAD_FRAME, "decode")
            router.paint()
            with pytest.raises(FrameFailed, match="frame 0 was dropped at decode"):
                await indices(session)
            assert await indices(session) == [1]

    in_loop(fail())


def test_control_images_go_with_a_frame(router: Router) -> None:
    router.paints = False

    async def push_one() -> None:
        async with AsyncClient(router.address) as client, client.session() as session:
            with pytest.raises(ValueError, match="'depth' must be uint8"):
                await session.push(picture(0), 0, {"depth": picture(0)[1:]})
            await session.push(picture(0), 0, controls={"depth": picture(0)[..., 0], "pose": picture(1)})
            assert await happens(lambda: router.taken == [0])
            [sitting] = router.sittings.values()
            assert [frame.controls for frame, _ in sitting.pending] == [("depth", "pose")]
            router.paint()
            assert await indices(session) == [0]

    in_loop(push_one())


def test_frames_are_marked_by_their_number(router: Router) -> None:
    """A still marks its frame."""
    router.paints = False

    async def paint() -> None:
        async with AsyncClient(router.address) as client, client.session() as session:
            await session.push(picture(0), 0, keyframe=True)
            pushing = asyncio.create_task(session._push_all([picture(1), picture(2)], 25, {0}, {1: picture(9)}))
            assert await happens(lambda: router.taken == [0, 1, 2])
            [sitting] = router.sittings.values()
            sent = [(frame.keyframe, frame.controls) for frame, _ in sitting.pending]
            assert sent == [(True, ()), (True, ()), (True, ("still",))]
            router.paint()
            await pushing

    in_loop(paint())


def test_paint_says_what_the_frames_raise(router: Router) -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield picture(0)
        raise KeyError("no more")

    async def paint() -> None:
        async with AsyncClient(router.address) as client, client.session() as session:
            with pytest.raises(KeyError, match="no more"):
                _ = [each async for each in session.paint(broken())]

    in_loop(paint())


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_each_frame_once_and_in_order_in_each_session_whatever_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    limits = [chance.randrange(*chance.choice(((1, 400), (400, 60_000)))) for _ in range(CUTS)]

    async def one(client: AsyncClient, proxy: Proxy) -> list[int]:
        async with client.session() as session:
            return [painted.index async for painted in session.paint(until_cut(proxy))]

    async def paint(address: str, proxy: Proxy) -> None:
        async with AsyncClient(address, reconnect_s=60) as client:
            for came in await asyncio.gather(*(one(client, proxy) for _ in range(3))):
                assert came == list(range(len(came)))
                assert len(came) > 20

    with Router("tcp://127.0.0.1:*") as router, Proxy(int(router.address.rpartition(":")[2]), limits) as proxy:
        in_loop(paint(proxy.address, proxy))
    assert proxy.cuts > CUTS / 2  # the client may have given some of the connections up itself


async def until_cut(proxy: Proxy) -> AsyncIterator[NDArray[np.uint8]]:
    while not proxy.leads_on:
        yield picture(0)
        await asyncio.sleep(0)
    for _ in range(20):
        yield picture(0)


def test_all_who_wait_are_told_that_the_daemon_is_gone(router: Router) -> None:
    router.paints = False

    async def lose() -> None:
        async with AsyncClient(router.address, reconnect_s=0.2) as client:
            sessions = [client.session() for _ in range(3)]
            for each in sessions:
                await each.push(picture(0), 0)
            waits = [asyncio.create_task(indices(each)) for each in sessions]
            waits_for_status = asyncio.create_task(client.status())
            await asyncio.sleep(0)
            router.vanish()
            told = await gathered([*waits, waits_for_status])
            assert [type(each) for each in told[:3]] == [DaemonGone] * 3

    in_loop(lose())


def test_live(router: Router) -> None:
    router.paints = False

    async def live() -> None:
        async with AsyncClient(router.address) as client, client.session(pacing="live", rate=30) as session:
            await push_many(session, 10)
            assert session.dropped == {("client", Code.WINDOW_OVERRUN): 2}
            assert await happens(lambda: len(router.taken) == 8)
            router.paint(8)
            assert await indices(session) == list(range(8))
            await session.hold(True)

    in_loop(live())


def test_whoever_waits_is_told_that_the_client_closes(router: Router) -> None:
    router.paints = False

    async def close() -> None:
        client = AsyncClient(router.address)
        session = client.session()
        await session.push(picture(0), 0)
        waiting = asyncio.create_task(indices(session))
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises(DaemonGone, match="the client is closed"):
            await waiting

    in_loop(close())


def test_two_tasks_may_push_the_first_frames(router: Router) -> None:
    async def push() -> None:
        async with AsyncClient(router.address) as client, client.session() as session:
            assert sorted(await asyncio.gather(*(session.push(picture(0), 0) for _ in range(4)))) == [0, 1, 2, 3]
            assert await indices(session) == [0, 1, 2, 3]
        assert len(router.sittings) == 1

    in_loop(push())


async def until(true: Callable[[], bool]) -> None:
    """Returns when this is so. Raises TimeoutError if it is not soon."""
    async with asyncio.timeout(10.0):
        while not true():
            await asyncio.sleep(0.01)


def test_paint_that_is_cancelled_ends_its_task(router: Router) -> None:
    async def forever() -> AsyncIterator[NDArray[np.uint8]]:
        while True:
            yield picture(0)
            await asyncio.sleep(0)

    async def use_up(session: AsyncSession) -> None:
        async for _ in session.paint(forever()):
            pass

    async def cancel() -> None:
        async with AsyncClient(router.address) as client, client.session() as session:
            before = asyncio.all_tasks()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(use_up(session), 0.2)
            await until(lambda: asyncio.all_tasks() == before)  # the loop closes generators that nobody holds
            await indices(session)
            assert await session.push(picture(0), 0) > 0

    in_loop(cancel())


def test_a_closed_client_says_so(router: Router) -> None:
    async def close() -> None:
        async with AsyncClient(router.address) as client:
            await client.ping()
        with pytest.raises(DaemonGone, match="closed"):
            await client.ping()

    in_loop(close())


@pytest.mark.parametrize("address", ["here", "ipc://"])
def test_no_address(address: str) -> None:
    with pytest.raises(DaemonGone, match="no address"):
        AsyncClient(address)


def test_no_daemon(tmp_path: Path) -> None:
    async def ask() -> None:
        async with AsyncClient(f"ipc://{tmp_path}/none.sock") as client:
            with pytest.raises(DaemonGone, match="no daemon answers"):
                await client.ping()
            with pytest.raises(DaemonGone, match="no daemon answers"):
                await client.ping(0.1, may_be_starting=True)

    in_loop(ask())
