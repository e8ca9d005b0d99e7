"""Keyframes that follow from the last one: where they start, what they look back at, their words and their colours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from support.scenes import film, noise_texture, two_layers
from support.studio import RATE, Grain, as_frames, drive
from warpaint.engines.base import Frame, PaintDone, PaintJob, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.messages import Provenance
from warpaint.server.asks import Output
from warpaint.server.live import LiveSession
from warpaint.server.session import Session

SIZE = (192, 128)
PACINGS = pytest.mark.parametrize("kind", [Session, LiveSession])
# A keyframe every fifth frame.
EVERY_FIFTH: dict[str, Any] = {
    "keyframe_threshold": 0.0,
    "keyframe_gap_min_s": 5 / RATE,
    "fade_s": 0.0,
    "repaint_gap_s": 0.0,
}


@dataclass
class Chained(Grain):
    """Gives each painting a memory, and lets the colours of keyframes wander: `drift` levels of blue more each time."""

    drift: float = 0.0
    tint: int = 0  # of blue, levels; with one there is no grain

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        done = super().paint(jobs, cancelled)
        return [replace(each, memory=f"of {job.id}".encode()) for each, job in zip(done, jobs, strict=True)]

    def _picture(self, job: PaintJob) -> Picture:
        picture = (job.frame.bgr if self.tint else super()._picture(job)).astype(np.float64)
        picture[..., 0] += self.tint
        picture[..., 0] += self.drift * len(self.keyframes)
        return np.clip(picture, 0, 255).astype(np.uint8)

    @property
    def keyframes(self) -> list[PaintJob]:
        return [job for job in self.jobs if job.holes is None]


@dataclass
class Filmed:
    """A session of either pacing; live, what is asked for is painted before the next frame."""

    session: Session | LiveSession
    painter: Chained = field(default_factory=Chained)

    def show(self, frames: Sequence[Frame]) -> list[Output]:
        return [output for frame in frames for output in self._show(frame)]

    def _show(self, frame: Frame) -> list[Output]:
        outputs = drive(self.session, frame, Dis(), self.painter)
        if isinstance(self.session, LiveSession):
            for ask in self.session.take_jobs():
                self.session.adopt(self.painter.paint(ask.jobs, lambda: False))
        return outputs


def filmed(kind: type[Session | LiveSession], painter: Chained | None = None, **brief: Any) -> Filmed:
    return Filmed(kind(Brief(look="grain", **{**EVERY_FIFTH, **brief}), SIZE), painter or Chained())


@pytest.fixture(scope="module")
def moving() -> list[Frame]:
    return as_frames(film(two_layers(SIZE, background=(0.6, 0.3), foreground=(-4.0, 1.0)), 16, SIZE))


@pytest.fixture(scope="module")
def still() -> list[Frame]:
    return as_frames([noise_texture(SIZE, 5) // 2 + 64] * 60)


# Where they start


@PACINGS
def test_a_keyframe_starts_from_the_raw_frame_unless_the_brief_says_otherwise(
    kind: type[Session | LiveSession], moving: list[Frame]
) -> None:
    film = filmed(kind)
    film.show(moving)
    assert len(film.painter.keyframes) > 2
    assert all(job.canvas is None for job in film.painter.keyframes)


@PACINGS
def test_it_may_start_from_the_last_one_warped_to_it_with_the_raw_frame_in_the_holes(
    kind: type[Session | LiveSession], moving: list[Frame]
) -> None:
    film = filmed(kind, Chained(tint=60), keyframe_start="warped")
    film.show([replace(frame, bgr=frame.bgr // 2) for frame in moving])
    first, *others = film.painter.keyframes
    assert first.canvas is None
    assert len(others) > 1
    for job in others:
        assert job.canvas is not None
        raw, start = job.frame.bgr.astype(int), job.canvas.astype(int)
        tint = (start - raw)[..., 0]
        bare = (start == raw).all(axis=2)
        assert np.median(tint) == pytest.approx(60, abs=8)  # the keyframe before, carried along
        assert 0.001 < bare.mean() < 0.4


@PACINGS
def test_one_that_was_asked_for_begins_the_chain_anew(kind: type[Session | LiveSession], moving: list[Frame]) -> None:
    film = filmed(kind, keyframe_start="warped", attend_last=True, keyframe_threshold=255.0)
    film.show(moving[:3])
    film.session.rekey()
    film.show(moving[3:])
    assert [(job.canvas, job.memory) for job in film.painter.keyframes] == [(None, None)] * 2


@PACINGS
def test_past_a_cut_a_keyframe_starts_from_the_raw_frame(kind: type[Session | LiveSession], still: list[Frame]) -> None:
    other = [replace(frame, bgr=255 - noise_texture(SIZE, 9)) for frame in still[3:8]]
    film = filmed(kind, keyframe_start="warped", keyframe_threshold=255.0, attend_last=True)
    film.show([*still[:3], *other])
    jobs = film.painter.keyframes
    assert [job.frame.index for job in jobs] == [0, 3]
    assert jobs[1].canvas is None
    assert jobs[1].memory is None


# What they look back at


@PACINGS
def test_a_keyframe_is_given_what_the_painter_said_with_the_last_one(
    kind: type[Session | LiveSession], moving: list[Frame]
) -> None:
    film = filmed(kind)
    film.show(moving)
    jobs = film.painter.keyframes
    assert [job.memory for job in jobs] == [None, *(f"of {job.id}".encode() for job in jobs[:-1])]


@PACINGS
def test_with_holes_it_is_given_what_it_said_with_their_keyframe(
    kind: type[Session | LiveSession], moving: list[Frame]
) -> None:
    film = filmed(kind)
    film.show(moving)
    keyframe: PaintJob | None = None
    holes = 0
    for job in film.painter.jobs:
        if job.holes is None:
            keyframe = job
        elif keyframe is not None:
            holes += 1
            assert job.memory == f"of {keyframe.id}".encode()
    assert holes > 3


# Their words


@PACINGS
def test_a_changed_prompt_comes_in_over_the_keyframes(kind: type[Session | LiveSession], still: list[Frame]) -> None:
    film = filmed(kind, prompt="a wood", negative_prompt="people", prompt_fade_s=1.0, keyframe_threshold=255.0)
    film.show(still[:10])
    film.session.update(film.session.brief.changed({"prompt": "a reef"}))
    outputs = film.show(still[10:45])
    assert all(output.provenance.value != "held" for output in outputs)  # nothing is begun anew
    later = [job for job in film.painter.keyframes if job.frame.index >= 10]
    assert {job.brief.prompt for job in later} == {"a reef"}
    earlier = [job.earlier for job in later]
    assert [each and (each.prompt, each.negative_prompt) for each in earlier[:-1]] == [("a wood", "people")] * 5
    assert [each.share for each in earlier if each] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2], abs=0.05)
    assert earlier[-1] is None
    assert later[-1].frame.index <= 36  # and then none is due


@PACINGS
def test_other_changes_come_at_once(kind: type[Session | LiveSession], still: list[Frame]) -> None:
    for changes in ({"strength": 0.3}, {"prompt": "a reef", "seed": 3}):
        film = filmed(kind, prompt="a wood", prompt_fade_s=1.0, keyframe_threshold=255.0)
        film.show(still[:5])
        film.session.update(film.session.brief.changed(changes))
        film.show(still[5:20])
        assert [job.earlier for job in film.painter.keyframes] == [None, None]


# Their colours


def blue(outputs: Sequence[Output]) -> float:
    return float(outputs[-1].picture[..., 0].mean())


@PACINGS
def test_the_colours_of_keyframes_wander_unless_they_are_locked(
    kind: type[Session | LiveSession], still: list[Frame]
) -> None:
    off = {}
    for lock_s in (0.0, 3600.0):
        film = filmed(kind, Chained(drift=4.0), colour_lock_s=lock_s)
        before = film.show(still[:5])
        for start in range(5, 60, 5):
            film.session.rekey()
            after = film.show(still[start : start + 5])
        assert len(film.painter.keyframes) == 12
        off[lock_s] = abs(blue(after) - blue(before))
    assert off[0.0] > 30
    assert off[3600.0] < 4


@PACINGS
def test_the_lock_begins_anew_past_a_cut(kind: type[Session | LiveSession], still: list[Frame]) -> None:
    other = [replace(frame, bgr=255 - noise_texture(SIZE, 9)) for frame in still[5:]]
    film = filmed(kind, Chained(drift=20.0), colour_lock_s=3600.0, keyframe_threshold=255.0)
    film.show(still[:5])
    outputs = film.show(other[:5])
    [_, job] = film.painter.keyframes
    shift = outputs[-1].picture.astype(float)[..., 0].mean() - Grain()._picture(job)[..., 0].mean()
    assert shift > 10  # the drift of that keyframe is left: it is the first of its scene


# Cut in two


@PACINGS
def test_a_stream_cut_in_two_equals_the_stream_uncut(kind: type[Session | LiveSession], still: list[Frame]) -> None:
    brief: dict[str, Any] = {
        "prompt": "a wood",
        "prompt_fade_s": 1.0,
        "colour_lock_s": 2.0,
        "attend_last": True,
        "keyframe_start": "warped",
    }

    def begun() -> Filmed:
        film = filmed(kind, Chained(drift=4.0), **brief)
        film.show(still[:8])
        film.session.update(film.session.brief.changed({"prompt": "a reef"}))
        film.show(still[8:16])
        return film

    whole, first = begun(), begun()
    second = Filmed(kind(Brief(), SIZE), first.painter)
    second.session.restore(first.session.snapshot())
    for one, other in zip(whole.show(still[16:40]), second.show(still[16:40]), strict=True):
        np.testing.assert_array_equal(one.picture, other.picture)
    assert [job.earlier for job in whole.painter.jobs] == [job.earlier for job in first.painter.jobs]
    assert [job.memory for job in whole.painter.jobs] == [job.memory for job in first.painter.jobs]


def test_a_frame_before_the_change_of_prompts_is_no_reason_to_fade_for_ever(still: list[Frame]) -> None:
    film = filmed(Session, prompt="a wood", prompt_fade_s=1.0)
    film.show(still[:3])
    film.session.update(film.session.brief.changed({"prompt": "a reef"}))
    film.show(still[3:8])
    begun_anew = [replace(frame, pts=Fraction(frame.index - 8, RATE)) for frame in still[8:40]]
    film.show(begun_anew)
    assert film.painter.keyframes[-1].earlier is None


# How often holes are painted


def test_holes_are_painted_so_often_and_filled_in_between(moving: list[Frame]) -> None:
    never_due: dict[str, Any] = {"keyframe_threshold": 255.0, "hole_limit": 1.0}
    often, seldom = (filmed(Session, repaint_gap_s=gap_s, **never_due) for gap_s in (0.0, 0.199))
    often.show(moving)
    outputs = seldom.show(moving)
    painted = [sorted({job.frame.index for job in film.painter.jobs}) for film in (often, seldom)]
    assert painted[0] == list(range(len(moving)))
    assert painted[1] == [0, 5, 10, 15]
    for output in outputs[1:]:
        filled = output.index not in painted[1]
        assert (output.provenance is Provenance.FILLED) == (filled and bool(output.holes.any()))
        assert bool(output.painted_pixels) == (not filled)


def test_where_time_goes_back_holes_are_painted_again(moving: list[Frame]) -> None:
    film = filmed(Session, repaint_gap_s=100.0, keyframe_threshold=255.0, hole_limit=1.0)
    film.show(moving[:3])
    film.show([replace(frame, pts=frame.pts - 1000) for frame in moving[3:6]])
    assert {job.frame.index for job in film.painter.jobs} == {0, 3}


@PACINGS
def test_holes_are_painted_in_the_words_of_their_keyframe(
    kind: type[Session | LiveSession], moving: list[Frame]
) -> None:
    film = filmed(kind, prompt="a wood", prompt_fade_s=1.0, keyframe_threshold=255.0)
    film.show(moving[:3])
    film.session.update(film.session.brief.changed({"prompt": "a reef"}))
    film.show(moving[3:])
    shares: dict[int, float] = {}
    keyframe: PaintJob | None = None
    for job in film.painter.jobs:
        if job.holes is None:
            keyframe = job
        elif keyframe is not None and job.brief.prompt == "a reef":
            shares[job.frame.index] = job.earlier.share if job.earlier else 0.0
            assert shares[job.frame.index] == (keyframe.earlier.share if keyframe.earlier else 1.0)
    assert len(shares) > 3


def test_a_keyframe_that_failed_or_was_cut_off_is_asked_for_again_in_the_same_chain(moving: list[Frame]) -> None:
    film = filmed(LiveSession, keyframe_start="warped")
    film.show(moving[:5])
    session = film.session
    assert isinstance(session, LiveSession)
    asked: list[PaintJob] = []
    for frame in moving[5:8]:
        drive(session, frame, Dis(), film.painter)
        for ask in session.take_jobs():
            if ask.jobs[0].holes is None:
                asked.append(ask.jobs[0])
                job = ask.jobs[0]
                session.adopt([PaintDone(job.id, job.epoch, None, error=Code.PAINTER_FAILED)])
    assert len(asked) == 2
    assert all(job.canvas is not None and job.memory is not None for job in asked)
    second = LiveSession(Brief(), SIZE)
    drive(session, moving[8], Dis(), film.painter)
    second.restore(session.snapshot())
    drive(second, moving[9], Dis(), film.painter)
    again = [ask.jobs[0] for ask in second.take_jobs() if ask.jobs[0].holes is None]
    assert all(job.canvas is not None for job in again)


@PACINGS
def test_one_that_was_asked_for_while_prompts_fade_begins_anew_too(
    kind: type[Session | LiveSession], moving: list[Frame]
) -> None:
    film = filmed(kind, prompt="a wood", prompt_fade_s=1.0, keyframe_start="warped", keyframe_threshold=255.0)
    film.show(moving[:3])
    film.session.update(film.session.brief.changed({"prompt": "a reef"}))
    film.session.rekey()
    film.show(moving[3:5])
    job = film.painter.keyframes[-1]
    assert (job.frame.index, job.canvas) == (3, None)
    assert job.earlier is not None
