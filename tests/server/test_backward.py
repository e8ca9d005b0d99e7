"""Frames that come before the first keyframe of their shot, without a daemon: they wait for it, and follow it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from support.scenes import film, noise_texture, two_layers
from support.studio import Grain, answered, as_frames, drive
from warpaint.engines.base import FlowEngine, Frame, Habits, Match, MatchRequest, PaintDone, Painter, PaintJob, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.engines.painters.stills import Stills
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.messages import Provenance
from warpaint.server import backward
from warpaint.server.asks import Output
from warpaint.server.session import Session

SIZE = (160, 112)
BRIEF = Brief(look="stills", keyframes="marked", lookahead_s=10.0, fade_s=0.0)
STILL = noise_texture(SIZE, 9)


@pytest.fixture(scope="module")
def moving() -> list[Frame]:
    return as_frames(film(two_layers(SIZE, background=(0.6, 0.3), foreground=(-3.0, 1.0)), 12, SIZE))


@pytest.fixture(scope="module")
def cutting(moving: list[Frame]) -> list[Frame]:
    """A film that cuts after six frames."""
    other = film(two_layers(SIZE, background=(-0.5, 0.2), foreground=(2.0, 1.0), seed=40), 6, SIZE)
    return as_frames([*(frame.bgr for frame in moving[:6]), *other])


def marked(frames: Sequence[Frame], *indices: int) -> list[Frame]:
    """The film with a still at these frames: its negative."""
    return [
        replace(each, keyframe=True, controls={"still": 255 - each.bgr}) if each.index in indices else each
        for each in frames
    ]


@dataclass
class Showing:
    """A film being painted."""

    brief: Brief = BRIEF
    flow: FlowEngine = field(default_factory=Dis)
    painter: Painter = field(default_factory=Stills)
    habits: Habits = Stills.habits

    def __post_init__(self) -> None:
        self.session = Session(self.brief, SIZE, habits=self.habits)

    def show(self, frames: Sequence[Frame]) -> list[list[Output]]:
        """What came out after each frame."""
        return [drive(self.session, frame, self.flow, self.painter) for frame in frames]

    def rest(self) -> list[Output]:
        return answered(self.session.finish(), self.flow, self.painter)

    def whole(self, frames: Sequence[Frame]) -> list[Output]:
        outputs = [output for some in self.show(frames) for output in some] + self.rest()
        assert [(each.index, each.pts) for each in outputs] == [(each.index, each.pts) for each in frames]
        assert self.session.waiting == ()
        return outputs


def off_by(output: Output, picture: Picture) -> float:
    """Mean absolute difference of a frame from a picture, levels."""
    return float(np.abs(output.picture.astype(int) - picture).mean())


def is_raw(output: Output) -> bool:
    return bool((output.picture == output.raw).all())


# They follow the keyframe that comes


def test_frames_before_the_first_keyframe_follow_it(moving: list[Frame]) -> None:
    outputs = Showing().whole(marked(moving, 8))
    np.testing.assert_array_equal(outputs[8].picture, 255 - moving[8].bgr)
    for output in outputs:
        assert off_by(output, 255 - output.raw) < 8
        assert output.keyframe == (output.index == 8)
        assert output.epoch == 0
        if output.index < 8:
            assert output.provenance is Provenance.WARPED
            assert output.hops.min() <= 1


def test_they_are_that_keyframes_paint_moved_and_not_their_own(moving: list[Frame]) -> None:
    """What is painted on a still moves with what it is painted on."""
    frames = [replace(each, keyframe=True, controls={"still": STILL}) if each.index == 5 else each for each in moving]
    outputs = Showing().whole(frames)
    wall = np.s_[:20, 20:-20]  # behind what moves in front of it
    shift = np.array([[1, 0, -0.6 * 2], [0, 1, -0.3 * 2]])
    moved = cv2.warpAffine(STILL, shift, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    assert np.abs(outputs[3].picture[wall].astype(int) - moved[wall]).mean() < 6
    assert np.abs(outputs[3].picture[wall].astype(int) - STILL[wall]).mean() > 10


def test_the_film_is_as_if_it_were_shown_the_other_way(moving: list[Frame]) -> None:
    """The frames before a keyframe equal those after it, in a film that runs backward."""
    forth = Showing().whole(marked(moving, 11))
    reversed_film = as_frames([frame.bgr for frame in moving[::-1]])
    back = Showing(BRIEF.changed({"lookahead_s": 0.0})).whole(marked(reversed_film, 0))
    for one, other in zip(forth[::-1], back, strict=True):
        np.testing.assert_array_equal(one.picture, other.picture)
        np.testing.assert_array_equal(one.hops, other.hops)


def test_they_come_out_with_the_keyframe_and_not_before(moving: list[Frame]) -> None:
    showing = Showing()
    counts = [len(outputs) for outputs in showing.show(marked(moving, 8))]
    assert counts[:9] == [0] * 8 + [9]


def test_after_a_cut_the_next_shot_waits_for_its_own(cutting: list[Frame]) -> None:
    showing = Showing()
    counts = [len(outputs) for outputs in showing.show(marked(cutting, 2, 9))]
    assert counts[2] == 3
    assert counts[6:10] == [counts[6], 0, 0, 4]
    outputs = Showing().whole(marked(cutting, 2, 9))
    assert [output.epoch for output in outputs] == [0] * 6 + [1] * 6
    for output in outputs:
        assert off_by(output, 255 - output.raw) < 8


def test_a_rekey_is_a_first_keyframe_too(moving: list[Frame]) -> None:
    showing = Showing()
    showing.show(moving[:4])
    early = showing.rest()
    assert [is_raw(output) for output in early] == [True] * 4
    showing.session.rekey()
    [[output]] = showing.show(moving[4:5])
    assert output.keyframe


# None comes


def test_a_shot_without_a_keyframe_is_the_film_in_the_last_ones_colours(cutting: list[Frame]) -> None:
    outputs = Showing().whole(marked(cutting, 0))
    for output in outputs[6:]:
        assert output.provenance is Provenance.PAINTED
        assert not output.keyframe
        assert off_by(output, 255 - output.raw) < 12
        assert (output.hops == 0).all()


@pytest.mark.parametrize("end", ["cut", "finish"])
def test_without_any_it_is_the_film_itself(cutting: list[Frame], end: str) -> None:
    outputs = Showing().whole(cutting if end == "cut" else cutting[:6])
    assert all(map(is_raw, outputs))


def test_frames_that_have_waited_in_vain_go_out_one_by_one(moving: list[Frame]) -> None:
    showing = Showing(BRIEF.changed({"lookahead_s": 0.12}))
    counts = [len(outputs) for outputs in showing.show(marked(moving, 8))]
    assert counts[:9] == [0, 0, 0, 1, 1, 1, 1, 1, 4]
    outputs = Showing(BRIEF.changed({"lookahead_s": 0.12})).whole(marked(moving, 8))
    assert [is_raw(output) for output in outputs[:9]] == [True] * 5 + [False] * 4
    assert off_by(outputs[5], 255 - moving[5].bgr) < 8


def test_what_is_followed_comes_in_over_those(moving: list[Frame]) -> None:
    """Not in a jump."""
    late = BRIEF.changed({"lookahead_s": 0.2})
    hard = Showing(late).whole(marked(moving, 11))
    soft = Showing(late.changed({"fade_s": 0.12})).whole(marked(moving, 11))
    for one, other in zip(hard, soft, strict=True):
        if one.index not in (6, 7):  # a third, two thirds, and whole in the one after them
            np.testing.assert_array_equal(one.picture, other.picture)
    raws = [off_by(output, output.raw) for output in soft]
    assert raws[5] == 0
    assert 1.2 * raws[6] < raws[7] < 0.9 * raws[8]


def test_for_want_of_room_they_wait_no_longer(moving: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    room = 5 * backward.PAINTED_BYTES * SIZE[0] * SIZE[1]
    monkeypatch.setattr(backward, "MAX_WAITING_BYTES", room)
    showing = Showing()
    counts = [len(outputs) for outputs in showing.show(moving[:8])]
    assert counts == [0] * 5 + [1] * 3
    assert showing.session.nbytes < room / 2
    [outputs] = showing.show(marked(moving, 8)[8:9])
    assert len(outputs) == 6
    monkeypatch.undo()
    monkeypatch.setattr(backward, "MAX_WAITING", 3)
    counts = [len(outputs) for outputs in Showing().show(moving)]
    assert counts == [0] * 3 + [1] * 9


def test_when_time_begins_anew_they_wait_no_longer(moving: list[Frame]) -> None:
    again = [replace(each, pts=Fraction(i, 25)) for i, each in enumerate(moving[6:])]
    showing = Showing()
    counts = [len(outputs) for outputs in showing.show([*moving[:6], *marked(again, 9)])]
    assert counts[:10] == [0] * 6 + [6, 0, 0, 4]


def test_painters_that_take_their_time_begin_with_the_first_frame(moving: list[Frame]) -> None:
    """Or each frame that waits in vain would have to be painted in full."""
    painter = Grain()
    outputs = Showing(BRIEF, painter=painter, habits=Habits()).whole(marked(moving, 8))
    assert [output.index for output in outputs if output.keyframe] == [0, 8]


@pytest.mark.parametrize("fields", [{"keyframes": "auto"}, {"lookahead_s": 0.0}])
def test_else_the_first_frame_is_a_keyframe(moving: list[Frame], fields: dict[str, Any]) -> None:
    showing = Showing(BRIEF.changed(fields))
    [[output], *_] = showing.show(moving[:2])
    assert output.keyframe


# What fails


class Forgetful(Stills):
    """Fails with the hole, or the whole frame, of some call."""

    def __init__(self, fail_from: int) -> None:
        self.left = fail_from

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        self.left -= 1
        if self.left < 0:
            return [PaintDone(job.id, job.epoch, None, error=Code.PAINTER_FAILED, why="out of ink") for job in jobs]
        return super().paint(jobs, cancelled)


def test_when_the_painter_fails_on_the_way_back_the_rest_is_the_film_itself(moving: list[Frame]) -> None:
    outputs = Showing(painter=Forgetful(3)).whole(marked(moving, 11))
    kinds = [output.provenance for output in outputs]
    assert kinds[:9] == [Provenance.HELD] * 9
    assert kinds[9:] == [Provenance.WARPED] * 2 + [Provenance.PAINTED]
    assert all(map(is_raw, outputs[:9]))
    assert [output.painted_pixels for output in outputs[:9]] == [0] * 9


class Dark(Dis):
    """Gives no match after so many."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def match(self, requests: Sequence[MatchRequest]) -> list[list[Match]]:
        self.left -= 1
        if self.left < 0:
            raise RefusedError(Code.FLOW_FAILED, "it went dark")
        return super().match(requests)


def test_when_flow_fails_on_the_way_back_the_rest_is_painted_alone(moving: list[Frame]) -> None:
    outputs = Showing(flow=Dark(3)).whole(marked(moving, 11))
    kinds = [output.provenance for output in outputs]
    assert kinds[:9] == [Provenance.PAINTED] * 9
    assert kinds[9:] == [Provenance.WARPED] * 2 + [Provenance.PAINTED]


def test_a_keyframe_that_fails_leaves_them_waiting(moving: list[Frame]) -> None:
    showing = Showing(painter=Forgetful(0))
    showing.show(moving[:3])
    with pytest.raises(RefusedError, match="out of ink"):
        showing.show(marked(moving, 3)[3:4])
    assert showing.session.waiting == (0, 1, 2)
    showing.painter = Stills()
    [outputs] = showing.show(marked(moving, 4)[4:5])
    assert [output.index for output in outputs] == [0, 1, 2, 4]


# Changes, and other processes


def test_a_change_comes_when_none_waits(moving: list[Frame]) -> None:
    showing = Showing()
    showing.show(moving[:3])
    with pytest.raises(ValueError, match=r"frames \(0, 1, 2\) wait for what comes"):
        showing.session.update(BRIEF.changed({"fade_s": 0.2}))


@pytest.mark.parametrize("lookahead_s", [10.0, 0.12])
def test_a_film_cut_while_they_wait_equals_the_film_uncut(cutting: list[Frame], lookahead_s: float) -> None:
    frames, brief = marked(cutting, 5, 11), BRIEF.changed({"lookahead_s": lookahead_s, "fade_s": 0.1})
    uncut = Showing(brief).whole(frames)
    showing = Showing(brief)
    before: list[Output] = []
    for frame in frames[:-1]:
        before += drive(showing.session, frame, showing.flow, showing.painter)
        after = Showing(Brief(look="stills"))
        after.session.restore(showing.session.snapshot())
        rest = [output for some in after.show(frames[len(before) :]) for output in some] + after.rest()
        for one, other in zip([*before, *rest], uncut, strict=True):
            assert (one.index, one.epoch, one.provenance) == (other.index, other.epoch, other.provenance)
            np.testing.assert_array_equal(one.picture, other.picture)


def test_painters_are_told_the_time_as_it_is(moving: list[Frame]) -> None:
    """Though the film runs backward; and each job has a number of its own."""
    jobs: list[PaintJob] = []

    class Noting(Stills):
        def paint(self, asked: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
            jobs.extend(asked)
            return super().paint(asked, cancelled)

    Showing(painter=Noting()).whole(marked(moving, 11))
    assert len(jobs) > 3
    assert [job.frame.pts for job in jobs] == [Fraction(job.frame.index, 25) for job in jobs]
    assert [job.id for job in jobs] == list(range(len(jobs)))
