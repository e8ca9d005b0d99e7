"""A session's accounts at the gateway, without sockets."""

from typing import Any

import pytest

from warpaint.proto.errors import Code, RefusedError, Retry
from warpaint.proto.limits import MAX_REQUESTS
from warpaint.proto.messages import (
    Closed,
    Credit,
    Dropped,
    Error,
    FrameIn,
    Message,
    Notice,
    Opened,
    Painted,
    Part,
    Provenance,
    Resume,
    Totals,
    Updated,
)
from warpaint.server.line import Line, Outgoing

WINDOW = 3


def opened(window: int = WINDOW) -> Line:
    """A line whose session stands."""
    line = Line("token", 1, b"peer")
    message = Opened(
        session=1,
        token="token",
        credit=window,
        epoch=0,
        painter="filters",
        flow="dis",
        looks=("strokes",),
        width=8,
        height=8,
        server="",
    )
    assert not line.sent(line.outgoing(message, ()))
    return line


def frame(index: int) -> FrameIn:
    return FrameIn(session=1, index=index, pts=index)


def painted(index: int, epoch: int = 0) -> Painted:
    return Painted(
        session=1, index=index, pts=0, epoch=epoch, provenance=Provenance.WARPED, parts=(Part(name="picture"),)
    )


def dropped(index: int) -> Dropped:
    return Dropped(session=1, index=index, pts=0, stage="queue", reason=Code.SUPERSEDED)


def failed(**about: Any) -> Error:
    return Error(session=1, code=Code.BAD_FRAME, retry=Retry.CHANGED, message="", **about)


def seq(outgoing: Outgoing) -> int | None:
    return getattr(outgoing.message, "seq", None)


def answered(line: Line, index: int) -> Outgoing:
    """Takes a frame and has it painted; the answer, not yet sent."""
    line.take_frame(frame(index))
    return line.outgoing(painted(index), [b"picture"])


def refused(line: Line, index: int) -> Code:
    with pytest.raises(RefusedError) as caught:
        line.take_frame(frame(index))
    return caught.value.code


def test_answers_are_numbered_from_one_on_and_what_answers_nothing_is_not() -> None:
    line = opened()
    for index in range(2):
        line.take_frame(frame(index))
    messages: list[Message] = [
        painted(0),
        failed(index=1),
        failed(request=4),
        Updated(session=1, request=5),
        Notice(session=1, code=Code.PAINTER_FAILED, message=""),
        Closed(session=1, reason="asked", totals=Totals()),
    ]
    assert [seq(line.outgoing(message, ())) for message in messages] == [1, 2, 3, 4, None, 5]


def test_credit_is_for_frames_whose_answers_are_not_sent() -> None:
    line = opened()
    answers = [answered(line, index) for index in range(WINDOW)]
    assert refused(line, 3) is Code.WINDOW_OVERRUN
    line.sent(answers[0])
    line.take_frame(frame(3))
    assert refused(line, 4) is Code.WINDOW_OVERRUN


def test_more_credit_counts_from_when_it_is_given() -> None:
    """If the connection is lost before it is sent, the client is told when it is back: it is not given again."""
    line = opened()
    for index in range(WINDOW):
        line.take_frame(frame(index))
    line.peer = None
    more = line.outgoing(Credit(session=1, frames=2 * WINDOW), ())
    assert seq(more) is None
    assert line.resumed(Resume(session=1, token="token"), b"new", "").credit == 2 * WINDOW
    for index in range(WINDOW, 2 * WINDOW):
        line.take_frame(frame(index))
    assert refused(line, 2 * WINDOW) is Code.WINDOW_OVERRUN


def test_a_daemon_that_takes_no_more_frames_keeps_as_many_answers() -> None:
    line = opened()
    assert not line.sent(line.outgoing(Credit(session=1, frames=0), ()))
    assert line.window == WINDOW


def test_a_frame_that_is_sent_twice_is_taken_once() -> None:
    line = opened()
    line.sent(answered(line, 5))
    assert refused(line, 5) is Code.BAD_INDEX
    assert refused(line, 4) is Code.BAD_INDEX
    line.take_frame(frame(6))


def test_requests_are_taken_once_and_not_without_bound() -> None:
    line = opened()
    line.requests.take(0)
    with pytest.raises(RefusedError) as again:
        line.requests.take(0)
    assert again.value.code is Code.BAD_INDEX
    for request in range(1, MAX_REQUESTS):
        line.requests.take(request)
    with pytest.raises(RefusedError) as more:
        line.requests.take(MAX_REQUESTS)
    assert more.value.code is Code.WINDOW_OVERRUN
    line.sent(line.outgoing(Updated(session=1, request=0), ()))
    line.requests.take(MAX_REQUESTS)


def test_the_answers_that_were_missed_come_again_with_the_same_numbers() -> None:
    line = opened()
    answers = [answered(line, index) for index in range(3)]
    line.sent(answers[0])
    line.sent(answers[1])
    line.peer = None
    resumed = line.resumed(Resume(session=1, token="token", seq=1), b"new", "")
    assert line.peer == b"new"
    assert list(line.kept) == answers[1:]
    assert [seq(each) for each in line.kept] == [2, 3]
    assert (resumed.last_index, resumed.pending) == (2, (1, 2))


def test_sending_an_answer_again_makes_no_more_room() -> None:
    line = opened()
    answers = [answered(line, index) for index in range(3)]
    for answer in answers:
        line.sent(answer)
    line.resumed(Resume(session=1, token="token"), b"new", "")
    for answer in line.kept:
        line.sent(answer)
    assert line.unanswered == 0


def test_frames_that_are_still_being_painted_are_pending() -> None:
    line = opened()
    line.sent(answered(line, 0))
    line.take_frame(frame(1))
    line.take_frame(frame(2))
    line.outgoing(dropped(2), ())
    resumed = line.resumed(Resume(session=1, token="token", seq=1), b"new", "")
    assert resumed.pending == (2, 1)  # the answer to 2 is there already, that to 1 is not
    assert line.unanswered == 2


def test_what_is_acknowledged_is_let_go() -> None:
    line = opened()
    for index in range(3):
        line.sent(answered(line, index))
    line.acknowledge(2)
    assert [seq(each) for each in line.kept] == [3]
    line.acknowledge(1)
    assert [seq(each) for each in line.kept] == [3]


def test_pictures_are_kept_up_to_the_credit_by_a_client_that_acknowledges_nothing() -> None:
    line = opened()
    for index in range(10):
        line.sent(answered(line, index))
    assert [seq(each) for each in line.kept] == [8, 9, 10]
    for index in range(10, 1000):
        line.take_frame(frame(index))
        line.sent(line.outgoing(dropped(index), ()))
    assert len(line.kept) <= WINDOW + 2 * MAX_REQUESTS


def test_the_outlet_counts_what_a_client_does_not_have_yet() -> None:
    line = opened(window=8)
    answers = [answered(line, index) for index in range(4)]
    line.outlet.given = 4
    line.sent(answers[0])
    assert line.outlet.waiting == 3  # sent to one that has acknowledged nothing so far
    line.acknowledge(1)
    line.sent(answers[1])
    assert line.outlet.waiting == 3  # sent, but not acknowledged by one that does
    line.acknowledge(4)
    assert line.outlet.waiting == 0


def test_the_outlet_says_up_to_where_a_client_has_every_answer() -> None:
    line = opened(window=8)
    before = line.outlet.heard
    answers = [answered(line, index) for index in range(2)]
    told = line.outgoing(Notice(session=0, code=Code.PAINTER_FAILED, message="no answer"), ())
    assert line.outlet.heard == before
    line.sent(answers[0])
    assert line.outlet.heard == before + 1  # sent to one that has acknowledged nothing so far
    line.acknowledge(1)
    line.sent(answers[1])
    line.sent(told)
    assert line.outlet.heard == before + 1
    line.acknowledge(2)
    assert line.outlet.heard == before + 3


def test_a_session_goes_on_under_another_number() -> None:
    line = opened()
    line.take_frame(frame(0))
    assert line.resumed(Resume(session=7, token="token"), b"new", "").session == 7
    assert line.outgoing(painted(0), ()).message.session == 7  # type: ignore[attr-defined]


def test_a_daemon_that_started_anew_counts_on_from_what_the_client_has() -> None:
    line = Line("token", 1, None, window=WINDOW, last_index=41)
    resumed = line.resumed(Resume(session=1, token="token", seq=99), b"new", "")
    assert (resumed.last_index, resumed.pending) == (41, ())
    assert seq(answered(line, 42)) == 100


def test_a_session_ends_when_that_is_sent() -> None:
    line = opened()
    assert line.sent(line.outgoing(Closed(session=1, reason="asked", totals=Totals()), ()))
    assert Line("token", 1, b"peer").sent(Outgoing(failed()))  # it was refused
