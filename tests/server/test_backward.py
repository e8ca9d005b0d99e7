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
from warpaint.engines.blend import cross_faded
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

    def whole_from(self, frames: Sequence[Frame]) -> list[Output]:
        return [output for some in self.show(frames) for output in some] + self.rest()

    def whole(self, frames: Sequence[Frame]) -> list[Output]:
        outputs = self.whole_from(frames)
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


@pytest.mark.parametrize("first", [6, 7], ids=["its first frame", "its second"])
def test_it_has_none_of_the_colours_of_the_next_shots_still(cutting: list[Frame], first: int) -> None:
    outputs = Showing().whole(marked(cutting, first))
    assert all(map(is_raw, outputs[:6]))
    assert not any(map(is_raw, outputs[6:]))


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


def test_what_comes_in_does_so_in_its_own_frames_when_time_goes_back(moving: list[Frame]) -> None:
    """And when it stands still."""
    ticks = (0, 1, 2, 3, 2, 3, 3, 4, 5, 6, 7, 8)
    frames = [replace(each, pts=Fraction(tick, 25)) for each, tick in zip(moving, ticks, strict=True)]
    late = BRIEF.changed({"lookahead_s": 0.08})
    hard = Showing(late).whole(marked(frames, 11))
    soft = Showing(late.changed({"fade_s": 0.1})).whole(marked(frames, 11))
    since = max((each for each in hard if is_raw(each)), key=lambda each: each.index).pts
    faded = 0
    for one, other in zip(hard, soft, strict=True):
        come = float(one.pts - since) / 0.1
        if not is_raw(one) and 0 < come < 1:
            faded += 1
            np.testing.assert_array_equal(other.picture, cross_faded(one.raw, one.picture, come))
        else:
            np.testing.assert_array_equal(other.picture, one.picture)
    assert faded > 1


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
    """Fails from some call on."""

    def __init__(self, fail_from: int) -> None:
        self.left = fail_from

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        self.left -= 1
        if self.left < 0:
            return [PaintDone(job.id, job.epoch, None, error=Code.PAINTER_FAILED, why="out of ink") for job in jobs]
        return super().paint(jobs, cancelled)


def test_when_the_painter_fails_with_frames_that_waited_in_vain_they_are_held(moving: list[Frame]) -> None:
    outputs = Showing(painter=Forgetful(3)).whole(moving)
    assert [output.provenance for output in outputs] == [Provenance.PAINTED] * 3 + [Provenance.HELD] * 9
    assert all(map(is_raw, outputs))
    assert [output.painted_pixels for output in outputs[3:]] == [0] * 9


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


@pytest.mark.parametrize("engines", [{"flow": Dark(3)}, {"painter": Forgetful(3)}], ids=["flow", "painter"])
def test_a_failure_on_the_way_back_is_the_keyframes(moving: list[Frame], engines: dict[str, Any]) -> None:
    showing = Showing(**engines)
    showing.show(moving[:11])
    with pytest.raises(RefusedError, match=r"dark|ink"):
        showing.show(marked(moving, 11)[11:])
    assert showing.session.waiting == tuple(range(11))
    assert [output.index for output in showing.rest()] == list(range(11))


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
        for one, other in zip([*before, *after.whole_from(frames[len(before) :])], uncut, strict=True):
            assert (one.index, one.epoch, one.provenance) == (other.index, other.epoch, other.provenance)
            np.testing.assert_array_equal(one.picture, other.picture)


def test_a_film_cut_in_a_shot_that_turns_into_an_earlier_one_equals_the_film_uncut(moving: list[Frame]) -> None:
    """Only the first frame of a shot is sought in stills of earlier ones."""
    other = film(two_layers(SIZE, seed=40), 6, SIZE)
    mixed = [cv2.addWeighted(each.bgr, i / 5, other[i], 1 - i / 5, 0) for i, each in enumerate(moving[:6])]
    back = [np.asarray(each, np.uint8) for each in mixed]
    frames = marked(as_frames([*(each.bgr for each in moving[:4]), *back, *(each.bgr for each in moving[5:9])]), 0)
    brief = BRIEF.changed({"lookahead_s": 0.12})
    uncut = Showing(brief).whole(frames)
    assert {output.epoch for output in uncut} == {0, 1}
    for cut in range(6, 13):
        showing = Showing(brief)
        before = [output for some in showing.show(frames[:cut]) for output in some]
        after = Showing(Brief(look="stills"))
        after.session.restore(showing.session.snapshot())
        for one, two in zip([*before, *after.whole_from(frames[len(before) :])], uncut, strict=True):
            assert (one.index, one.provenance) == (two.index, two.provenance)
            np.testing.assert_array_equal(one.picture, two.picture)


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
