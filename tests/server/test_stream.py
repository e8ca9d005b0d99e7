"""A stream without a daemon: an encoder that fails and a frame that waits, which no real one does when it is wanted."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from warpaint.engines.base import PaintDone, PaintJob, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.engines.painters.identity import Identity
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.limits import MAX_TEXT, MAX_WINDOW
from warpaint.proto.messages import (
    Credit,
    Dropped,
    Error,
    FrameIn,
    Message,
    Open,
    Painted,
    Result,
    Source,
    Update,
    Updated,
)
from warpaint.server.asks import Encode, MatchAsk
from warpaint.server.codecs import Encoded, make_encoder
from warpaint.server.config import Settings
from warpaint.server.driver import Driver, Opening
from warpaint.server.engine_room import EngineRoom
from warpaint.server.items import Arrival, Ending
from warpaint.server.line import Outlet
from warpaint.server.stream import Stream

SIZE = (64, 48)


class FailsAt:
    """An encoder that cannot encode one of its pictures."""

    def __init__(self, index: int, error: Exception) -> None:
        self._encoder = make_encoder(Result(), Source(width=SIZE[0], height=SIZE[1]))
        self._index, self._error = index, error

    def encode(self, bgr: Picture, tag: int, key: bool = False) -> list[Encoded]:
        if tag == self._index:
            raise self._error
        return self._encoder.encode(bgr, tag, key)

    def flush(self) -> list[Encoded]:
        return []

    def close(self) -> None:
        self._encoder.close()


def served(stream: Stream, index: int, waited_s: float = 0.0, payload: bytes = b"", *, fails: bool = False) -> None:
    """Does one frame that has waited for so long; its painter paints the frame itself, or fails at a marked one."""
    flow, payload = Dis(), payload or np.full((SIZE[1], SIZE[0], 3), 10 * index, np.uint8).tobytes()
    message = FrameIn(session=0, index=index, pts=40 * index, keyframe=fails)
    stream.put(Arrival(message, payload, time.monotonic() - waited_s))
    arrival = next(each for each in stream.inbox if isinstance(each, Arrival))
    stream.inbox.remove(arrival)
    serving = stream.serve(arrival)
    answer: Any = None
    while True:
        try:
            ask = serving.send(answer)
        except StopIteration:
            return
        if isinstance(ask, Encode):
            answer = flow.encode(ask.pictures)
        elif isinstance(ask, MatchAsk):
            [answer] = flow.match([ask.request])
        else:
            answer = [_failed(job) if fails else _done(job) for job in ask.jobs]


def _failed(job: PaintJob) -> PaintDone:
    return PaintDone(job.id, job.epoch, None, error=Code.PAINTER_FAILED, why="out of paint")


def _done(job: PaintJob) -> PaintDone:
    return PaintDone(job.id, job.epoch, job.frame.bgr)


@pytest.mark.parametrize("pacing", ["every", "live"])
@pytest.mark.parametrize(
    "error",
    [RefusedError(Code.ENCODER_FAILED, "no ink"), ValueError("not enough values to unpack")],
    ids=["says so", "gives none"],
)
def test_a_picture_that_cannot_be_encoded_fails_its_frame_alone(
    monkeypatch: pytest.MonkeyPatch, pacing: Any, error: Exception
) -> None:
    said: list[Message] = []

    def send(message: Message, _payloads: Sequence[Any]) -> None:
        said.append(message)

    monkeypatch.setattr("warpaint.server.stream.make_encoder", lambda *_: FailsAt(1, error))
    opening = Open(session=0, source=Source(width=SIZE[0], height=SIZE[1]), pacing=pacing, max_delay_ms=60_000.0)
    stream = Stream(opening, Settings(), ["plain"], "dis", send, Outlet())
    for index in range(3):
        stream.outlet.taken = stream.outlet.given
        served_at = len(said)
        served(stream, index)
        [answer] = said[served_at:]
        assert isinstance(answer, Error if index == 1 else Painted)
        if isinstance(answer, Error):
            assert (answer.code, answer.index) == (Code.ENCODER_FAILED, 1)
    totals = stream.status("it").totals
    assert (totals.received, totals.painted, totals.failed, totals.dropped) == (3, 2, 1, 0)


@pytest.mark.parametrize("pacing", ["every", "live"])
def test_a_live_frame_that_has_waited_too_long_is_late(pacing: Any) -> None:
    said: list[Message] = []

    def send(message: Message, _payloads: Sequence[Any]) -> None:
        said.append(message)

    opening = Open(session=0, source=Source(width=SIZE[0], height=SIZE[1]), pacing=pacing, max_delay_ms=60_000.0)
    stream = Stream(opening, Settings(), ["plain"], "dis", send, Outlet())
    for index, waited_s in enumerate((0.0, 61.0, 0.0)):
        served(stream, index, waited_s)
    kinds = [type(each) for each in said]
    if pacing == "every":
        assert kinds == [Painted] * 3
        return
    assert kinds == [Painted, Dropped, Painted]
    dropped = said[1]
    assert isinstance(dropped, Dropped)
    assert (dropped.index, dropped.stage, dropped.reason) == (1, "queue", Code.LATE)


# Credit for frames that wait

AHEAD = Brief(lookahead_s=10.0, repaint_gap_s=1000.0, keyframes="marked", cut_detection=False)


def ahead(said: list[Message], window: int) -> Stream:
    """A stream of noise, in which nothing is found again: all but the first frame wait."""

    def send(message: Message, _payloads: Sequence[Any]) -> None:
        said.append(message)

    opening = Open(session=0, source=Source(width=SIZE[0], height=SIZE[1]), brief=AHEAD)
    return Stream(opening, Settings(window=window), ["plain"], "dis", send, Outlet())


def noise(index: int) -> bytes:
    return np.random.default_rng(index).bytes(SIZE[0] * SIZE[1] * 3)


def credits_given(said: Sequence[Message]) -> list[int]:
    return [each.frames for each in said if isinstance(each, Credit)]


def test_credit_is_given_for_frames_that_wait_and_grows_in_leaps() -> None:
    said: list[Message] = []
    stream = ahead(said, window=2)
    for index in range(10):
        served(stream, index, payload=noise(index))
        assert stream.credit >= 2 + index
    assert credits_given(said) == [4, 8, 16]
    assert sum(isinstance(each, Painted) for each in said) == 1


def test_no_more_credit_is_told_than_there_is() -> None:
    said: list[Message] = []
    stream = ahead(said, window=MAX_WINDOW - 3)
    for index in range(6):
        served(stream, index, payload=noise(index))
    assert credits_given(said) == [MAX_WINDOW - 1, MAX_WINDOW]


def test_at_its_end_no_credit_is_given() -> None:
    """A daemon that stops has said that it takes no more frames."""
    said: list[Message] = []
    stream = ahead(said, window=1)
    served(stream, 0, payload=noise(0))
    stream.inbox.append(Ending("shutting_down", may_return=True))
    served(stream, 1, payload=noise(1))
    assert credits_given(said) == []
    serving = stream.serve(stream.inbox.popleft())
    assert list(serving) == []
    assert [each.index for each in said if isinstance(each, Painted | Dropped | Error)] == [0]
    assert stream.last_done == 0
    assert stream.state().progress.next_job == 1  # as it was before the frame that waits


def test_a_frame_that_fails_is_answered_after_those_that_wait() -> None:
    """By its payload, and by its painter."""
    said: list[Message] = []
    stream = ahead(said, window=8)
    for index in range(7):
        served(stream, index, payload=noise(index) if index != 3 else b"short", fails=index == 6)
    answers = [each for each in said if isinstance(each, Painted | Error)]
    assert [each.index for each in answers] == list(range(7))
    failed = [(each.index, each.code) for each in answers if isinstance(each, Error)]
    assert failed == [(3, Code.BAD_PAYLOAD), (6, Code.PAINTER_FAILED)]


def no_lora(brief: Brief) -> str:
    return f"brief.loras: no LoRA {brief.loras[0]!r} here" if brief.loras else ""


def no_send(_message: Message, _payloads: Sequence[Any]) -> None:
    pass


@pytest.mark.parametrize("pacing", ["every", "live"])
def test_a_brief_that_the_painter_cannot_follow_is_refused_at_open(pacing: Any) -> None:
    opening = Open(session=0, source=Source(width=64, height=48), pacing=pacing, brief=Brief(loras=("ink:0.5",)))
    with pytest.raises(RefusedError, match=r"^brief\.loras: no LoRA 'ink:0\.5' here$") as caught:
        Stream(opening, Settings(), ["plain"], "dis", no_send, Outlet(), rule=no_lora)
    assert caught.value.code is Code.BAD_BRIEF
    assert Stream(opening, Settings(), ["plain"], "dis", no_send, Outlet())


def test_a_brief_that_the_painter_cannot_follow_is_refused_at_update_and_nothing_changes() -> None:
    said: list[Message] = []

    def send(message: Message, _payloads: Sequence[Any]) -> None:
        said.append(message)

    opening = Open(session=0, source=Source(width=SIZE[0], height=SIZE[1]))
    stream = Stream(opening, Settings(), ["plain"], "dis", send, Outlet(), rule=no_lora)
    stream.put(Update(session=0, request=1, changes={"loras": ("ink",), "seed": 7}))
    [error] = said
    assert isinstance(error, Error)
    assert (error.request, error.code, error.message) == (1, Code.BAD_BRIEF, "brief.loras: no LoRA 'ink' here")
    assert not stream.inbox
    stream.put(Update(session=0, request=2, changes={"strength": 0.5}))
    assert isinstance(said[-1], Updated)
    assert list(stream.serve(stream.inbox.popleft())) == []
    brief = stream.state().brief
    assert (brief.seed, brief.strength, brief.loras) == (0, 0.5, ())


def test_a_complaint_that_is_too_long_for_a_message_is_cut() -> None:
    with pytest.raises(RefusedError) as caught:
        Stream(
            Open(session=0, source=Source(width=64, height=48)),
            Settings(),
            ["plain"],
            "dis",
            no_send,
            Outlet(),
            rule=long,
        )
    assert len(str(caught.value)) == MAX_TEXT


def long(_brief: Brief) -> str:
    return "no " * MAX_TEXT


def test_the_driver_gives_a_stream_the_rule_of_its_painter() -> None:
    """That of `diffusion` needs no models."""
    room = EngineRoom({"diffusion": Identity(), "identity": Identity()}, {}, paint_timeout_s=1.0)
    try:
        driver = Driver(Settings(painters=("diffusion", "identity")), room, lambda _: None, lambda: None)
        opening = Open(session=0, source=Source(width=64, height=48), brief=Brief(prompt="snow", loras=("ink",)))
        with pytest.raises(RefusedError, match="holds no LoRA 'ink'; it holds none") as caught:
            driver._made("key", Opening(opening, 0.0, Outlet()))
        assert caught.value.code is Code.BAD_BRIEF
        assert driver._made("key", Opening(opening.model_copy(update={"painter": "identity"}), 0.0, Outlet()))
    finally:
        room.close()
