"""The client's core without sockets: bytes in, messages out, and time as it is told."""

from typing import Any, TypeVar

import pytest

from warpaint.client.connection import LONGEST_WAIT_S, PATIENCE_S, SILENCE_S, Connection, Steps
from warpaint.client.conversation import MAX_DROPS, MAX_REMEMBERED, Conversation, PaintedFrame
from warpaint.client.errors import DaemonGone
from warpaint.proto.errors import RETRY, Code, RefusedError
from warpaint.proto.messages import (
    Ack,
    AskStatus,
    Close,
    Closed,
    Credit,
    Dropped,
    Error,
    Flush,
    FrameIn,
    Message,
    Open,
    Opened,
    Painted,
    Part,
    Ping,
    Pong,
    Provenance,
    Rekey,
    Resume,
    Resumed,
    Source,
    Status,
    Totals,
    Update,
    Updated,
)
from warpaint.proto.wire import pack, to_server

T = TypeVar("T")
SOURCE = Source(width=2, height=1, pixels="gray")
PICTURE = b"\x01\x02"


class Talk:
    """A connection, and a daemon's words to it."""

    def __init__(self, *, reconnect_s: float | None = None, up: bool = True) -> None:
        self.connection = Connection("ipc:///nowhere", 0.0, reconnect_s=reconnect_s)
        self.now = 0.0
        if up:
            self.connection.connected(0.0)

    def said(self) -> list[Message]:
        """What the client has said since it was last asked."""
        self.connection.settle()
        outbox = self.connection.outbox
        said = [to_server([each.header, *each.payloads]).message for each in outbox]
        outbox.clear()
        return list(said)

    def hear(self, message: Message, *payloads: bytes) -> None:
        self.connection.receive([pack(message), *payloads], self.now)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.connection.tick(self.now)

    def lose(self) -> None:
        self.connection.lost(self.now)

    def come_back(self) -> list[Message]:
        """What the client says first."""
        self.connection.connected(self.now)
        return self.said()

    def opened(self, *, linger_s: float = 30.0, credit: int = 4, **fields: Any) -> Conversation:
        """A session that is open."""
        steps = self.connection.begin({"source": SOURCE, **fields})
        next(steps)
        [opening] = self.said()
        assert isinstance(opening, Open)
        self.hear(opened(opening.session, linger_s=linger_s, credit=credit))
        return finished(steps)


def opened(session: int, *, linger_s: float = 30.0, credit: int = 4) -> Opened:
    shape: dict[str, Any] = {"painter": "identity", "flow": "none", "looks": ("plain",), "width": 8, "height": 8}
    return Opened(session=session, token="token", credit=credit, epoch=0, server="nobody", linger_s=linger_s, **shape)


def finished(steps: Steps[T]) -> T:
    """What the steps come to, which have nothing to wait for any more."""
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("they wait")


def painted(index: int, seq: int | None, session: int = 0) -> Painted:
    return Painted(
        session=session,
        seq=seq,
        index=index,
        pts=index,
        epoch=0,
        provenance=Provenance.PAINTED,
        parts=(Part(name="picture"),),
    )


def resumed(**fields: Any) -> Resumed:
    told: dict[str, Any] = {"credit": 4, "epoch": 0, "server": "nobody", **fields}
    return Resumed(session=0, **told)


def error(code: Code, *, session: int | None = 0, **about: int) -> Error:
    return Error(session=session, code=code, retry=RETRY[code], message=f"{code}!", **about)  # type: ignore[arg-type]


def indices(conversation: Conversation) -> list[int]:
    """The frames among the results, which are taken."""
    taken = [each.message.index for each in conversation.results if isinstance(each, PaintedFrame)]
    conversation.results.clear()
    return taken


def test_frames_go_out_and_results_come_in() -> None:
    talk = Talk()
    session = talk.opened()
    assert [session.frame(pts, PICTURE) for pts in (0, 40)] == [0, 1]
    assert [(each.index, each.pts) for each in talk.said() if isinstance(each, FrameIn)] == [(0, 0), (1, 40)]
    talk.hear(painted(0, 1), PICTURE)
    assert indices(session) == [0]
    assert session.unanswered == 1


# Acknowledging


def test_one_ack_for_many_answers_and_none_for_none() -> None:
    talk = Talk()
    session = talk.opened()
    for number in range(3):
        session.frame(number, PICTURE)
    talk.said()
    for number in range(3):
        talk.hear(painted(number, number + 1), PICTURE)
    assert talk.said() == [Ack(session=0, seq=3)]
    assert talk.said() == []


def test_a_daemon_that_does_not_number_its_answers_is_not_acknowledged() -> None:
    talk = Talk()
    session = talk.opened()
    session.frame(0, PICTURE)
    talk.said()
    talk.hear(painted(0, None), PICTURE)
    assert indices(session) == [0]
    assert talk.said() == []


def test_the_last_word_is_acknowledged_too() -> None:
    talk = Talk()
    session = talk.opened()
    session.close()
    talk.said()
    talk.hear(Closed(session=0, seq=1, reason="asked", totals=Totals()))
    assert talk.said() == [Ack(session=0, seq=1)]
    talk.lose()
    assert talk.come_back() == []


# Losses


def test_a_loss_and_the_return() -> None:
    """0 was answered, 1 is pending, 2 did not arrive; so with the requests, in their places."""
    talk = Talk()
    session = talk.opened()
    session.frame(0, PICTURE)
    session.rekey()
    session.frame(1, PICTURE)
    session.update({"strength": 0.5})
    session.frame(2, PICTURE)
    talk.said()
    talk.hear(painted(0, 1), PICTURE)
    talk.lose()
    session.flush()
    assert talk.said() == []
    assert talk.come_back() == [Resume(session=0, token="token", seq=1)]
    talk.hear(resumed(last_index=1, last_request=1, pending=(1,)))
    again = talk.said()
    assert [type(each) for each in again] == [Update, FrameIn, Flush]
    assert isinstance(again[1], FrameIn)
    assert again[1].index == 2


def test_frames_that_are_sent_again_keep_their_control_images() -> None:
    talk = Talk()
    session = talk.opened()
    images = {"depth": b"\x01\x02\x03" * 2, "pose": b"\x04\x05\x06" * 2}
    session.frame(0, PICTURE, images)
    session.frame(1, PICTURE)
    before = [(each.header, tuple(each.payloads)) for each in talk.connection.outbox]
    assert [payloads for _, payloads in before] == [(PICTURE, *images.values()), (PICTURE,)]
    [first, second] = talk.said()
    assert isinstance(first, FrameIn)
    assert isinstance(second, FrameIn)
    assert (first.controls, second.controls) == (("depth", "pose"), ())
    talk.lose()
    talk.come_back()
    talk.hear(resumed())
    assert [(each.header, tuple(each.payloads)) for each in talk.connection.outbox] == before


def test_a_loss_before_any_frame_was_taken() -> None:
    talk = Talk()
    session = talk.opened()
    session.frame(0, PICTURE)
    talk.lose()
    talk.come_back()
    talk.hear(resumed())
    assert [each.type for each in talk.said() if isinstance(each, FrameIn)] == ["frame"]


def test_answers_that_come_again_are_passed_over() -> None:
    talk = Talk()
    session = talk.opened()
    session.frame(0, PICTURE)
    request = session.rekey()
    talk.said()
    for _ in range(2):
        talk.hear(painted(0, 1), PICTURE)
        talk.hear(Updated(session=0, seq=2, request=request))
        talk.hear(Updated(session=0, seq=3, request=request, epoch=1, shown_at=0))
    talk.hear(Updated(session=0, seq=2, request=request))
    assert indices(session) == [0]
    assert session.updated[request].shown_at == 0


def test_what_the_old_connection_still_brings_is_taken() -> None:
    """And is not taken again when it comes again on the new one."""
    talk = Talk()
    session = talk.opened()
    session.frame(0, PICTURE)
    session.frame(1, PICTURE)
    talk.lose()
    talk.hear(painted(0, 1), PICTURE)
    assert talk.come_back() == [Resume(session=0, token="token", seq=1)]
    talk.hear(painted(1, 2), PICTURE)
    talk.hear(resumed(last_index=1, pending=(1,)))
    talk.hear(painted(1, 2), PICTURE)
    assert indices(session) == [0, 1]
    assert session.unanswered == 0
    assert not session.drops


def test_refusals_of_what_the_connection_carried_are_stale() -> None:
    talk = Talk()
    session = talk.opened()
    session.frame(0, PICTURE)
    request = session.rekey()
    talk.lose()
    talk.come_back()
    for stale in (
        error(Code.NO_SESSION, index=0),
        error(Code.NO_SESSION, request=request),
        error(Code.NO_SESSION),
        error(Code.SESSION_EXISTS),
        Closed(session=0, reason="moved", totals=Totals()),
    ):
        talk.hear(stale)
    assert not session.over
    talk.hear(resumed())
    assert [type(each) for each in talk.said()] == [FrameIn, Rekey]
    talk.hear(resumed())
    assert talk.said() == []


def test_no_session_is_word_of_a_loss() -> None:
    talk = Talk()
    session = talk.opened()
    session.frame(0, PICTURE)
    session.frame(1, PICTURE)
    talk.said()
    talk.hear(error(Code.NO_SESSION, index=0))
    talk.hear(error(Code.NO_SESSION, index=1))
    assert talk.said() == [Resume(session=0, token="token", seq=0)]
    talk.hear(resumed())
    assert [type(each) for each in talk.said()] == [FrameIn, FrameIn]
    assert not session.results


def test_a_session_that_somebody_else_took_over_has_ended() -> None:
    talk = Talk()
    session = talk.opened()
    talk.hear(Closed(session=0, reason="moved", totals=Totals()))
    with pytest.raises(DaemonGone, match="has ended: moved"):
        session.check()


def test_a_daemon_that_cannot_take_the_session_up_again() -> None:
    talk = Talk()
    session = talk.opened()
    talk.lose()
    talk.come_back()
    talk.hear(error(Code.OVERLOADED))
    with pytest.raises(RefusedError) as caught:
        session.check()
    assert caught.value.code is Code.OVERLOADED


def test_a_token_that_is_not_known_any_more() -> None:
    talk = Talk()
    session = talk.opened()
    talk.lose()
    talk.come_back()
    talk.hear(error(Code.UNKNOWN_TOKEN))
    with pytest.raises(DaemonGone, match="did not outlive the loss of its connection: unknown_token!"):
        session.check()


def test_a_close_that_was_lost_is_said_again() -> None:
    talk = Talk()
    session = talk.opened()
    session.close()
    talk.lose()
    talk.come_back()
    talk.hear(resumed())
    assert talk.said() == [Close(session=0)]
    talk.hear(error(Code.NO_SESSION))  # it had arrived
    assert not session.over
    talk.hear(Closed(session=0, seq=1, reason="asked", totals=Totals()))
    assert session.totals == Totals()


def test_live_frames_are_not_sent_again() -> None:
    talk = Talk()
    session = talk.opened(pacing="live")
    for number in range(3):
        session.frame(number, PICTURE)
    talk.lose()
    session.frame(3, PICTURE)
    talk.come_back()
    session.frame(4, PICTURE)
    talk.hear(resumed(last_index=1, pending=(1,)))
    assert talk.said() == []
    told = [(each.index, each.stage) for each in session.drops]
    assert told == [(3, "client"), (4, "client"), (0, "connection"), (2, "connection")]
    assert {each.reason for each in session.drops} == {Code.LOST}
    assert session.unanswered == 1


def test_what_is_asked_of_no_session_is_asked_again() -> None:
    talk = Talk()
    steps = talk.connection.status()
    pinging = talk.connection.pinged(5.0)
    next(steps)
    next(pinging)
    assert [type(each) for each in talk.said()] == [AskStatus, Ping]
    talk.lose()
    assert [type(each) for each in talk.come_back()] == [Ping, AskStatus]
    talk.hear(Pong(nonce=1))
    assert finished(pinging) is None
    status = Status(server="nobody", pid=1, uptime_s=0.0, resident_bytes=0, engines=(), sessions=())
    talk.hear(status)
    assert finished(steps) == status


def test_an_opening_is_said_again() -> None:
    talk = Talk(up=False)
    steps = talk.connection.begin({"source": SOURCE})
    next(steps)
    assert talk.said() == []
    assert [type(each) for each in talk.come_back()] == [Open]
    talk.lose()
    assert [type(each) for each in talk.come_back()] == [Open]
    talk.hear(error(Code.SESSION_EXISTS))  # the first had arrived
    talk.hear(opened(0))
    assert finished(steps).opened is not None


def test_an_opening_that_nobody_waits_for_is_closed() -> None:
    talk = Talk()
    steps = talk.connection.begin({"source": SOURCE})
    next(steps)
    steps.close()
    assert [type(each) for each in talk.said()] == [Open, Close]
    talk.hear(opened(0))
    talk.lose()
    assert talk.come_back() == []


# Time


def test_a_silent_daemon_is_asked_and_then_given_up() -> None:
    talk = Talk()
    talk.later(SILENCE_S - 0.1)
    assert talk.said() == []
    talk.later(0.1)
    assert [type(each) for each in talk.said()] == [Ping]
    talk.later(PATIENCE_S - 0.1)
    talk.connection.check_alive()
    talk.later(0.1)
    with pytest.raises(DaemonGone, match="has not answered for 12 s"):
        talk.connection.check_alive()
    talk.hear(Pong(nonce=1))
    talk.connection.check_alive()


@pytest.mark.parametrize(
    ("reconnect_s", "linger_s", "patience_s"),
    [(None, 30.0, 30.0), (None, 3600.0, LONGEST_WAIT_S), (5.0, 30.0, 5.0), (120.0, 30.0, 120.0)],
)
def test_how_long_a_lost_session_is_waited_for(reconnect_s: float | None, linger_s: float, patience_s: float) -> None:
    talk = Talk(reconnect_s=reconnect_s)
    session = talk.opened(linger_s=linger_s)
    talk.lose()
    talk.later(patience_s - 0.1)
    assert not session.over
    talk.later(0.1)
    with pytest.raises(DaemonGone, match=f"was lost, and it has not answered for {patience_s:.0f} s"):
        session.check()
    assert talk.come_back() == []


@pytest.mark.parametrize(("reconnect_s", "linger_s"), [(0, 30.0), (None, 0.0)])
def test_a_session_that_cannot_come_back_ends_at_once(reconnect_s: float | None, linger_s: float) -> None:
    talk = Talk(reconnect_s=reconnect_s)
    session = talk.opened(linger_s=linger_s)
    talk.lose()
    assert session.over
    assert talk.come_back() == []


def test_a_resume_that_is_not_answered_is_not_waited_for_for_ever() -> None:
    talk = Talk()
    session = talk.opened(linger_s=20.0)
    talk.lose()
    talk.later(1.0)
    talk.come_back()
    for _ in range(19):
        assert not session.over
        talk.later(1.0)
        talk.hear(Pong())
    assert session.over


def test_the_deadline_is_always_to_come() -> None:
    """Whatever is over by then: else who waits for it would never sleep."""
    talk = Talk(up=False)
    for step in range(40):
        assert talk.now < talk.connection.deadline <= talk.now + SILENCE_S, step
        if step == 10:
            talk.come_back()
            talk.opened(linger_s=15.0)
        elif step == 20:
            talk.lose()
        talk.later(1.0)


# Bounds


def test_what_is_remembered_is_bounded() -> None:
    talk = Talk()
    session = talk.opened(pacing="live", credit=1)
    for number in range(MAX_DROPS + 10):
        session.frame(number, PICTURE)
        talk.hear(Updated(session=0, request=session.rekey()))
    assert len(session.drops) == MAX_DROPS
    assert session.dropped == {("client", Code.WINDOW_OVERRUN): MAX_DROPS + 9}
    assert len(session.updated) == MAX_REMEMBERED


def test_without_credit_nothing_is_sent_in_every() -> None:
    talk = Talk()
    session = talk.opened(credit=1)
    session.frame(0, PICTURE)
    with pytest.raises(RefusedError, match="1 frames are unanswered"):
        session.frame(1, PICTURE)
    talk.hear(Credit(session=0, frames=2))
    assert session.frame(1, PICTURE) == 1


def test_what_was_not_painted_is_a_result_in_every_and_none_in_live() -> None:
    for pacing, results in (("every", 2), ("live", 0)):
        talk = Talk()
        session = talk.opened(pacing=pacing)
        session.frame(0, PICTURE)
        session.frame(1, PICTURE)
        talk.hear(Dropped(session=0, seq=1, index=0, pts=0, stage="queue", reason=Code.LATE))
        talk.hear(error(Code.BAD_FRAME, index=1, seq=2))
        assert len(session.results) == results
        assert session.dropped == {("queue", Code.LATE): 1, ("failed", Code.BAD_FRAME): 1}


def test_a_message_of_a_newer_daemon_is_ignored_and_nonsense_is_not() -> None:
    talk = Talk()
    talk.connection.receive([b"\x82\xa1v\x01\xa4type\xa6newest"], 0.0)
    talk.connection.check()
    talk.connection.receive([b"hello"], 0.0)
    with pytest.raises(DaemonGone, match="no daemon of this version"):
        talk.connection.check()


def test_a_refusal_that_belongs_to_no_session_is_told_to_who_asked() -> None:
    talk = Talk()
    steps = talk.connection.status()
    next(steps)
    talk.hear(error(Code.WINDOW_OVERRUN, session=None))
    with pytest.raises(RefusedError, match="window_overrun!"):
        next(steps)
    talk.lose()
    assert talk.come_back() == []


def test_a_ping_is_answered() -> None:
    talk = Talk()
    talk.hear(Ping(nonce=7))
    assert talk.said() == [Pong(nonce=7)]
