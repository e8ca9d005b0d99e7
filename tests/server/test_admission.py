"""Who is let in to a live daemon. What a frame takes is measured here as there, so nothing depends on a clock."""

import re
import time
from collections.abc import Sequence
from typing import Any

import pytest

from warpaint.engines.base import Features, Match, MatchRequest, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.messages import Open, Source
from warpaint.server import admission as admission_module
from warpaint.server.admission import BELIEVED_FRAMES, TRIAL_FRAMES, TRIAL_SIZES, TRIAL_WARM_UP, Admission
from warpaint.server.engine_room import EngineRoom

pytestmark = pytest.mark.timing

PIXELS = 640 * 384
NEVER_S = 60_000.0


@pytest.fixture(scope="module")
def room() -> EngineRoom:
    return EngineRoom({}, {"dis": Dis()}, paint_timeout_s=1.0)


def opening(rate: float | None = None, max_delay_ms: float = NEVER_S) -> Open:
    return Open(session=0, source=Source(width=640, height=384, rate=rate), pacing="live", max_delay_ms=max_delay_ms)


def refusal(admission: Admission, pixels: int = PIXELS, **wishes: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        admission.admit("new", opening(**wishes), pixels, "dis")
    assert caught.value.code is Code.OVERLOADED
    return str(caught.value)


def test_a_rate_that_cannot_be_is_refused_and_what_would_fit_fits(room: EngineRoom) -> None:
    admission = Admission(room)
    said = refusal(admission, rate=1000.0)
    found = re.search(r"max_pixels (\d+)|([\d.]+) frames a second would fit", said)
    assert found, said
    rates = re.findall(r"([\d.]+) frames a second would fit", said)
    assert rates, said
    admission.admit("fits", opening(rate=float(rates[0]) - 0.1), PIXELS, "dis")


def test_a_frame_that_takes_longer_than_the_delay_is_refused(room: EngineRoom) -> None:
    assert "max_delay_ms 1" in refusal(Admission(room), max_delay_ms=1.0)


def test_without_a_rate_sessions_are_let_in_as_long_as_a_frame_of_each_fits_the_delay(room: EngineRoom) -> None:
    admission = Admission(room)
    for number in range(1000):
        try:
            admission.admit(str(number), opening(max_delay_ms=1000.0), PIXELS, "dis")
        except RefusedError:
            break
    assert 0 < number < 999
    admission.ended("0")
    admission.admit("again", opening(max_delay_ms=1000.0), PIXELS, "dis")


def test_a_session_that_takes_more_than_was_thought_leaves_less_for_others(room: EngineRoom) -> None:
    admission = Admission(room)
    admission.admit("first", opening(rate=1.0), PIXELS, "dis")
    admission.count("first", 0.5 * BELIEVED_FRAMES, BELIEVED_FRAMES)  # half a second a frame
    assert "15 % are free" in refusal(admission, rate=1.0)
    admission.ended("first")
    admission.admit("new", opening(rate=1.0), PIXELS, "dis")


def test_a_measurement_that_was_disturbed_is_taken_again(room: EngineRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([(0.5, 0.0), (0.4, 0.0), (0.001, 0.0), (0.6, 0.0)])
    monkeypatch.setattr("warpaint.server.admission._tried", lambda _: next(found))
    monkeypatch.setattr("warpaint.server.admission.TRIAL_AGAIN_S", 0.0)
    admission = Admission(room)
    assert "10 frames a second would take" in refusal(admission, rate=10.0)  # found to take 0.4 s at the second time
    admission.admit("a", opening(rate=10.0), PIXELS, "dis")
    refusal(admission, rate=900.0)  # not while somebody is served
    admission.ended("a")
    refusal(admission, rate=950.0)  # no quicker this time: what was found before is kept
    admission.admit("b", opening(rate=800.0), PIXELS, "dis")


def test_where_nothing_fits_that_is_said(room: EngineRoom) -> None:
    admission = Admission(room)
    admission.admit("first", opening(rate=1.0), PIXELS, "dis")
    admission.count("first", 0.95 * BELIEVED_FRAMES, BELIEVED_FRAMES)
    assert "nothing fits" in refusal(admission, rate=1.0)


class Slow(Dis):
    """Takes its time for each picture."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.pictures = self.matches = 0

    def encode(self, pictures: Sequence[Picture]) -> list[Features]:
        self.pictures += len(pictures)
        time.sleep(self.seconds * len(pictures))
        return super().encode(pictures)

    def match(self, requests: Sequence[MatchRequest]) -> list[list[Match]]:
        self.matches += len(requests)
        return super().match(requests)


def test_a_slow_engine_is_tried_with_one_frame_past_the_warm_up_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other sessions wait meanwhile."""
    monkeypatch.setattr(admission_module, "HOPELESS_S", 0.1)
    slow = Slow(0.2)
    admission = Admission(EngineRoom({}, {"dis": slow}, paint_timeout_s=1.0))
    said = refusal(admission, max_delay_ms=100.0)
    tried = TRIAL_WARM_UP + 1
    assert slow.pictures == tried * len(TRIAL_SIZES)
    assert slow.matches == (tried - 1) * len(TRIAL_SIZES)
    found = re.fullmatch(r"a frame would take (\d+) ms .*, of max_delay_ms 100: max_delay_ms (\d+) would fit", said)
    assert found, said
    assert all(1e3 * slow.seconds <= float(each) < 3e3 * slow.seconds for each in found.groups())
    refusal(admission, max_delay_ms=100.0)
    assert slow.pictures == tried * len(TRIAL_SIZES)  # what is known is not tried again
    admission.admit("patient", opening(), PIXELS, "dis")


def test_an_engine_that_is_quick_enough_is_tried_with_all_frames() -> None:
    quick = Slow(0.0)
    Admission(EngineRoom({}, {"dis": quick}, paint_timeout_s=1.0)).admit("new", opening(), PIXELS, "dis")
    assert quick.pictures == TRIAL_FRAMES * len(TRIAL_SIZES)
