"""A connection that is lost comes back by itself: against a scripted router, over real sockets."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.proxy import Proxy
from support.router import Router
from warpaint.client import connection, link
from warpaint.client.conversation import Drop
from warpaint.client.errors import DaemonGone, FrameFailed
from warpaint.client.painting import Client, PaintedImage, Session
from warpaint.proto.errors import Code
from warpaint.proto.messages import Close, Hold, Opened, Resume, Source, Update

HAPPENED_WITHIN_S = 20.0
CUTS = 50


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    with Router(f"ipc://{tmp_path}/router.sock") as running:
        yield running


@pytest.fixture
def client(router: Router) -> Iterator[Client]:
    with Client(router.address) as connected:
        yield connected


def picture(number: int) -> NDArray[np.uint8]:
    """A picture [4, 6, 3] that tells its number."""
    made = np.zeros((4, 6, 3), np.uint8)
    made.reshape(-1)[:4] = np.frombuffer(number.to_bytes(4, "little"), np.uint8)
    return made


def number_in(painted: PaintedImage) -> int:
    return int.from_bytes(painted.image.reshape(-1)[:4].tobytes(), "little")


def pushed(session: Session, frames: int) -> None:
    for _ in range(frames):
        number = session.push(picture(0), 0)
        assert number >= 0


def happens(client: Client, condition: Callable[[], bool]) -> bool:
    """Whether something happens in time, while the client takes what comes."""
    deadline = time.monotonic() + HAPPENED_WITHIN_S
    while not condition() and time.monotonic() < deadline:
        client.wait(timeout_s=0.02)
    return condition()


# Losses, in pacing `every`


def test_frames_that_did_not_arrive_are_sent_again(router: Router, client: Client) -> None:
    with client.session() as session:
        pushed(session, 3)
        assert [each.index for each in session.results()] == [0, 1, 2]
        router.vanish()
        pushed(session, 5)
        router.come_back()
        assert [each.index for each in session.results()] == [3, 4, 5, 6, 7]
    assert router.taken == list(range(8))


def test_answers_that_were_missed_come_once(router: Router, client: Client) -> None:
    """The connection goes with answers on their way."""
    with client.session() as session:
        pushed(session, 6)
        happens_elsewhere(lambda: router.sittings["token-1"].seq == 6)
        router.vanish()
        router.come_back()
        assert [each.index for each in session.results()] == [0, 1, 2, 3, 4, 5]
    assert router.taken == list(range(6))


def test_frames_in_hand_are_waited_for(router: Router, client: Client) -> None:
    router.paints = False
    with client.session() as session:
        pushed(session, 4)
        assert happens(client, lambda: len(router.taken) == 4)
        router.vanish()
        router.paint(2)
        router.come_back()
        assert happens(client, lambda: session.unanswered == 2)
        router.paint(2)
        assert [each.index for each in session.results()] == [0, 1, 2, 3]


def test_a_frame_that_nobody_has_is_told_in_its_turn(router: Router, client: Client) -> None:
    """In hand are 0 and 2, 1 is lost, 3 did not arrive: reported in order of index."""
    router.paints = False
    with client.session() as session:
        pushed(session, 3)
        assert happens(client, lambda: len(router.taken) == 3)
        router.vanish()
        session.push(picture(3), 3)
        [sitting] = router.sittings.values()
        router.do(lambda: sitting.pending.remove(sitting.pending[1]))
        router.come_back()
        assert happens(client, lambda: len(router.taken) == 4)
        router.paint(4)
        told = list(outcome(session))
    assert told == [0, (1, Code.LOST), 2, 3]
    assert list(session.drops) == [Drop(1, Fraction(0), "connection", Code.LOST)]


def outcome(session: Session) -> Iterator[int | tuple[int, Code]]:
    """The index of each frame, with the reason of those that were not painted."""
    while True:
        try:
            for each in session.results():
                yield each.index
        except FrameFailed as error:
            yield error.index, error.code
        else:
            return


def test_updates_keep_their_place_among_the_frames(router: Router, client: Client) -> None:
    with client.session() as session:
        pushed(session, 1)
        list(session.results())
        router.vanish()
        pushed(session, 2)
        threading.Timer(0.1, router.come_back).start()
        request = session.update(strength=0.5)
        pushed(session, 1)
        list(session.results())
        assert session.shown_at(request) is None
    [update] = [each for each in router.received if isinstance(each, Update)]
    assert (update.request, update.changes) == (request, {"strength": 0.5})
    assert router.taken == [0, 1, 2, 3]


def test_a_daemon_that_goes_on_from_an_older_state(router: Router, client: Client) -> None:
    """It has forgotten frames that were answered, and some that were not: those are sent again."""
    with client.session() as session:
        pushed(session, 2)
        list(session.results())
        older = router.written_down()
        pushed(session, 2)
        list(session.results())
        router.do(lambda: setattr(router, "paints", False))
        pushed(session, 3)
        assert happens(client, lambda: len(router.taken) == 7)
        router.restart(older)
        assert happens(client, lambda: len(router.taken) == 10)
        router.paint(3)
        assert [each.index for each in session.results()] == [4, 5, 6]
        router.paints = True
        pushed(session, 1)
        assert [each.index for each in session.results()] == [7]
    assert router.taken == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7]


def test_a_daemon_that_does_not_know_the_session_on_a_connection_that_stands(router: Router, client: Client) -> None:
    with client.session() as session:
        pushed(session, 2)
        list(session.results())
        [sitting] = router.sittings.values()
        router.do(lambda: setattr(sitting, "identity", None))
        pushed(session, 3)
        assert [each.index for each in session.results()] == [2, 3, 4]
    assert Code.NO_SESSION in router.refused


def test_sessions_come_back_together(router: Router, client: Client) -> None:
    with client.session() as one, client.session() as other:
        for session in (one, other):
            pushed(session, 2)
        router.vanish()
        for session in (one, other):
            pushed(session, 2)
        router.come_back()
        assert [[each.index for each in session.results()] for session in (one, other)] == [[0, 1, 2, 3]] * 2


def test_what_belongs_to_no_session_is_asked_again(router: Router, client: Client) -> None:
    client.ping()
    router.vanish()
    threading.Timer(0.1, router.come_back).start()
    assert client.status().server == "router under test"
    router.vanish()
    threading.Timer(0.1, router.come_back).start()
    client.ping(may_be_starting=True)


def test_a_session_that_is_being_opened(router: Router, client: Client) -> None:
    client.ping()
    router.vanish()
    threading.Timer(0.1, router.come_back).start()
    with client.session() as session:
        pushed(session, 1)
        assert [each.index for each in session.results()] == [0]


def test_a_loss_while_closing(router: Router, client: Client) -> None:
    session = client.session()
    pushed(session, 2)
    list(session.results())
    router.vanish()
    threading.Timer(0.1, router.come_back).start()
    totals = session.close()
    assert totals is not None
    assert totals.painted == 2
    assert sum(isinstance(each, Close) for each in router.received) == 1


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_each_frame_once_and_in_order_whatever_is_cut(seed: int) -> None:
    """Cut after some bytes, in the middle of greetings, headers and pictures, in both directions."""
    chance = random.Random(seed)
    limits = [chance.randrange(*chance.choice(((1, 400), (400, 4_000), (400, 60_000)))) for _ in range(CUTS)]
    with (
        Router("tcp://127.0.0.1:*") as router,
        Proxy(int(router.address.rpartition(":")[2]), limits) as proxy,
        Client(proxy.address, reconnect_s=60) as client,
        client.session() as session,
    ):
        frames = iter_until(lambda: proxy.leads_on)
        came = [(each.index, number_in(each)) for each in session.paint(frames)]
        session.flush()
    assert proxy.cuts > CUTS / 2  # the client may have given some of the connections up itself
    assert came == [(number, number) for number in range(len(came))]
    assert router.taken == list(range(len(came)))
    assert not session.drops


def test_a_connection_that_carries_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a cable is pulled: neither end is told."""
    monkeypatch.setattr(link, "HEARTBEAT_MS", 50)
    monkeypatch.setattr(link, "HEARTBEAT_TIMEOUT_MS", 200)
    with (
        Router("tcp://127.0.0.1:*") as router,
        Proxy(int(router.address.rpartition(":")[2])) as proxy,
        Client(proxy.address) as client,
        client.session() as session,
    ):
        pushed(session, 1)
        assert [each.index for each in session.results()] == [0]
        proxy.stall()
        pushed(session, 3)
        assert [each.index for each in session.results()] == [1, 2, 3]
    assert router.taken == [0, 1, 2, 3]


def iter_until(over: Callable[[], bool]) -> Iterator[NDArray[np.uint8]]:
    """Pictures, each with its number, until it is over, and some more."""
    number = 0
    while not over():
        yield picture(number)
        number += 1
    for more in range(number, number + 20):
        yield picture(more)


# What cannot come back


def test_a_daemon_that_has_forgotten(router: Router, client: Client) -> None:
    router.paints = False
    session = client.session()
    pushed(session, 1)
    router.vanish()
    router.forget()
    router.paints = True
    router.come_back()
    with pytest.raises(DaemonGone, match="did not outlive the loss of its connection"):
        list(session.results())
    with pytest.raises(DaemonGone, match="did not outlive"):
        session.push(picture(1), 1)
    with client.session() as another:
        pushed(another, 1)
        assert len(list(another.results())) == 1


@pytest.mark.parametrize("reconnect_s", [0, 0.3])
def test_a_daemon_that_does_not_come_back(router: Router, reconnect_s: float) -> None:
    with Client(router.address, reconnect_s=reconnect_s) as client:
        session = client.session()
        pushed(session, 1)
        router.vanish()
        begun = time.monotonic()
        with pytest.raises(DaemonGone, match="was lost, and it has not answered"):
            list(outcome_of_more(session))
        assert reconnect_s <= time.monotonic() - begun < reconnect_s + 5
        router.come_back()
        with pytest.raises(DaemonGone, match="was lost"):
            session.update(strength=0.1)


def outcome_of_more(session: Session) -> Iterator[int | tuple[int, Code]]:
    pushed(session, 1)
    yield from outcome(session)


def test_without_coming_back_a_loss_is_the_end(router: Router) -> None:
    """Also where the connection has come back before anybody looked."""
    with Client(router.address, reconnect_s=0) as client:
        session = client.session()
        pushed(session, 1)
        list(session.results())
        router.vanish()
        router.come_back()
        time.sleep(0.3)
        with pytest.raises(DaemonGone, match="was lost"):
            list(outcome_of_more(session))
    assert not any(isinstance(each, Resume) for each in router.received)


def test_the_patience_is_that_of_the_session(tmp_path: Path) -> None:
    with Router(f"ipc://{tmp_path}/router.sock", linger_s=0.2) as router, Client(router.address) as client:
        router.paints = False
        session = client.session(linger_s=0.2)
        pushed(session, 1)
        router.vanish()
        with pytest.raises(DaemonGone, match="was lost"):
            list(outcome(session))


def test_a_daemon_that_says_nothing_more(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stands: none will take its place."""
    monkeypatch.setattr(connection, "SILENCE_S", 0.1)
    monkeypatch.setattr(connection, "PATIENCE_S", 0.3)
    with Client(router.address) as client:
        session = client.session()
        pushed(session, 1)
        list(session.results())
        router.mute = True
        pushed(session, 1)
        with pytest.raises(DaemonGone, match="has not answered for"):
            list(session.results())


def test_an_error_inside_while_the_connection_is_lost_ends_the_session_later(router: Router, client: Client) -> None:
    session = client.session()
    pushed(session, 1)
    router.vanish()
    assert happens(client, lambda: not client._connection.up)
    with pytest.raises(KeyError), session:
        raise KeyError
    router.come_back()
    assert happens(client, lambda: any(isinstance(each, Close) and each.discard for each in router.received))


def test_a_client_that_closes_ends_its_sessions(router: Router) -> None:
    """Else they would wait for it: the words leave before the connection does."""
    with pytest.raises(KeyError), Client(router.address) as client, client.session() as session:
        push_and_raise(session)
    with Client(router.address) as client:
        for _ in range(2):
            pushed(client.session(), 1)
    happens_elsewhere(lambda: sum(isinstance(each, Close) and each.discard for each in router.received) == 3)


def push_and_raise(session: Session) -> None:
    pushed(session, 1)
    raise KeyError


# Acknowledging


def test_many_answers_are_acknowledged_at_once(router: Router, client: Client) -> None:
    with client.session() as session:
        pushed(session, 1)
        with router.busy():
            pushed(session, 7)
        happens_elsewhere(lambda: router.sittings["token-1"].seq == 8)
        time.sleep(0.1)
        list(session.results())
        assert happens(client, lambda: 8 in router.acks)
        assert len(router.acks) < 8
        assert not router.sittings["token-1"].kept


def happens_elsewhere(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HAPPENED_WITHIN_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


# Live


def live(client: Client, linger_s: float | None = None) -> Session:
    return client.session(pacing="live", rate=30, max_delay_ms=80, linger_s=linger_s)


def test_a_live_session_says_what_it_wants(router: Router, client: Client) -> None:
    with live(client, linger_s=5) as session:
        pushed(session, 1)
        assert isinstance(session.opened, Opened)
    [opening] = [each.opening for each in router.sittings.values()]
    assert (opening.pacing, opening.source.rate, opening.max_delay_ms, opening.linger_s) == ("live", 30, 80, 5)


def test_a_source_of_ones_own_has_a_rate_too(router: Router, client: Client) -> None:
    source = Source(width=6, height=4, time_base=(1, 90_000))
    with client.session(source=source, pacing="live", rate=24):
        [opening] = [each.opening for each in router.sittings.values()]
    assert (opening.source.rate, opening.source.time_base) == (24, (1, 90_000))


def test_without_credit_a_live_frame_is_dropped_at_once(router: Router, client: Client) -> None:
    router.paints = False
    with live(client) as session:
        pushed(session, 11)
        assert [(each.index, each.stage, each.reason) for each in session.drops] == [
            (number, "client", Code.WINDOW_OVERRUN) for number in (8, 9, 10)
        ]
        assert happens(client, lambda: len(router.taken) == 8)
        router.paint(8)
        assert [each.index for each in session.results()] == list(range(8))
    assert session.dropped == {("client", Code.WINDOW_OVERRUN): 3}


def test_what_the_daemon_drops_is_told_and_no_error(router: Router, client: Client) -> None:
    router.paints = False
    with live(client) as session:
        session.push(picture(0), 100)
        session.push(picture(0), 140)
        assert happens(client, lambda: len(router.taken) == 2)
        router.drop(Code.SUPERSEDED)
        router.paint()
        assert [each.index for each in session.results()] == [1]
        [drop] = session.drops
    assert drop == Drop(0, Fraction(1, 10), "queue", Code.SUPERSEDED)


def test_live_frames_are_lost_with_the_connection(router: Router, client: Client) -> None:
    router.paints = False
    with live(client) as session:
        pushed(session, 2)
        assert happens(client, lambda: len(router.taken) == 2)
        router.do(lambda: setattr(router, "mute", True))
        pushed(session, 2)
        client.take_all()
        router.vanish()
        assert happens(client, lambda: not client._connection.up)
        pushed(session, 1)
        assert session.dropped == {("client", Code.LOST): 1}
        router.mute = False
        router.come_back()
        assert happens(client, lambda: session.unanswered == 2)
        router.paint(2)
        assert [each.index for each in session.results()] == [0, 1]
        assert session.dropped == {("client", Code.LOST): 1, ("connection", Code.LOST): 2}
        router.paints = True
        pushed(session, 1)
        assert [each.index for each in session.results()] == [5]
    assert router.taken == [0, 1, 5]


def test_live_results_that_nobody_takes_make_room_for_newer_ones(router: Router, client: Client) -> None:
    with live(client) as session:
        for _ in range(20):
            pushed(session, 1)
            assert happens(client, lambda: session.unanswered == 0)
        assert [each.index for each in session.results()] == list(range(12, 20))
    assert session.dropped == {("client", Code.SLOW_READER): 12}


def test_hold_and_notices(router: Router, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with live(client) as session:
        pushed(session, 1)
        session.hold(True)
        session.hold(False)
        router.notice(Code.PAINTER_FAILED, "out of paint")
        assert happens(client, lambda: bool(session.notices))
    assert [each.on for each in router.received if isinstance(each, Hold)] == [True, False]
    assert [(each.code, each.message) for each in session.notices] == [(Code.PAINTER_FAILED, "out of paint")]
    assert "out of paint" in caplog.text
