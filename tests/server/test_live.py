"""Live sessions without a daemon: what is seen while the painter works, and what becomes of its work."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest

from support.clips import frames as clip_frames
from support.scenes import film, noise_texture, two_layers
from support.studio import Grain, as_frames, drive
from warpaint.engines.base import Frame, PaintDone, PaintJob, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.messages import Provenance
from warpaint.server.asks import Output, PaintAsk
from warpaint.server.live import RETRY_GAP_S, LiveSession
from warpaint.server.snapshot import SnapshotError

SIZE = (192, 128)
NEVER_REKEY: dict[str, Any] = {
    "keyframe_threshold": 255.0,
    "keyframe_gap_max_s": 1000.0,
    "hole_limit": 1.0,
    "repaint_gap_s": 0.0,
}
FOREVER = 10**6


@dataclass
class Studio:
    """A live session, its flow, and a painter that takes so many frames over each call."""

    session: LiveSession
    takes: int = 0
    painter: Grain = field(default_factory=Grain)
    flow: Dis = field(default_factory=Dis)
    under_way: list[tuple[int, PaintAsk]] = field(default_factory=list)
    adopted: list[bool] = field(default_factory=list)

    def show(self, frame: Frame) -> Output:
        """The output for a frame, after what is painted by now was brought back."""
        for painted_at, ask in [each for each in self.under_way if each[0] <= frame.index]:
            self.under_way.remove((painted_at, ask))
            self.adopted.append(self.session.adopt(self.painter.paint(ask.jobs, lambda: False)))
        [output] = drive(self.session, frame, self.flow, self.painter)
        self.under_way += [(frame.index + 1 + self.takes, ask) for ask in self.session.take_jobs()]
        return output

    def show_all(self, frames: Sequence[Frame]) -> list[Output]:
        """The outputs for a film."""
        return [self.show(frame) for frame in frames]


def studio(takes: int = 0, **brief: Any) -> Studio:
    return Studio(LiveSession(Brief(look="grain", **brief), SIZE), takes)


@pytest.fixture(scope="module")
def moving() -> list[Frame]:
    return as_frames(film(two_layers(SIZE, background=(0.6, 0.3), foreground=(-4.0, 1.0)), 16, SIZE))


@pytest.fixture(scope="module")
def still() -> list[Frame]:
    return as_frames([noise_texture(SIZE, 5)] * 40)


def provenances(outputs: Sequence[Output]) -> list[str]:
    return [output.provenance.value for output in outputs]


# At the start


def test_the_raw_frame_is_seen_until_the_keyframe_is_painted(moving: list[Frame]) -> None:
    outputs = studio(takes=4, fade_s=0.0, **NEVER_REKEY).show_all(moving)
    assert provenances(outputs)[:5] == ["held"] * 5
    assert "held" not in provenances(outputs)[5:]
    for frame, output in zip(moving[:5], outputs, strict=False):
        np.testing.assert_array_equal(output.picture, frame.bgr)
        assert output.holes.all()
    assert [output.keyframe for output in outputs] == [number == 5 for number in range(16)]


def test_the_first_keyframe_comes_in_over_the_raw_frame(still: list[Frame]) -> None:
    outputs = studio(takes=2, fade_s=0.16).show_all(still[:8])
    off = [float(np.abs(output.picture.astype(int) - still[0].bgr).mean()) for output in outputs]
    assert off[:3] == [0, 0, 0]
    whole = off[-1]
    assert [each / whole for each in off[3:7]] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.05)


def test_a_fade_that_is_over_does_not_come_back_when_time_jitters(still: list[Frame]) -> None:
    made = studio(takes=0, fade_s=0.2)
    outputs = made.show_all(still[:8])
    frames = [replace(frame, pts=still[5].pts) for frame in still[8:14]]  # time stands still
    for output in made.show_all(frames):
        np.testing.assert_array_equal(output.picture, outputs[-1].picture)


def test_one_keyframe_is_in_flight_and_then_the_next(moving: list[Frame]) -> None:
    brief: dict[str, Any] = {"keyframe_threshold": 0.0, "keyframe_gap_min_s": 0.0}
    made = studio(takes=3, **brief)
    for frame in moving:
        made.show(frame)
        keyframes = [ask for _, ask in made.under_way if ask.jobs[0].holes is None]
        assert len(keyframes) <= 1
    assert [job.frame.index for job in made.painter.jobs if job.holes is None] == [0, 4, 8]


# Holes


def test_holes_are_filled_at_once_and_painted_when_the_painter_gets_to_them(moving: list[Frame]) -> None:
    slow, quick = studio(takes=FOREVER, **NEVER_REKEY), studio(takes=0, **NEVER_REKEY)
    for made in (slow, quick):
        made.show(moving[0])
        made.under_way = [(0, ask) for _, ask in made.under_way]  # both have the keyframe at once
    unpainted, painted = slow.show_all(moving[1:]), quick.show_all(moving[1:])
    assert provenances(unpainted)[-1] == "filled"
    assert unpainted[-1].holes.mean() > painted[-1].holes.mean()
    assert any(job.holes is not None for job in quick.painter.jobs)


def test_a_filling_joins_the_paint_and_looks_like_what_is_there(moving: list[Frame]) -> None:
    made = studio(takes=FOREVER, **NEVER_REKEY)
    made.show(moving[0])
    made.under_way = [(0, ask) for _, ask in made.under_way]
    output = made.show_all(moving[1:8])[-1]
    raw = moving[7].bgr.astype(int)
    assert output.holes.any()
    off = np.abs(output.picture.astype(int) - raw).mean(axis=2)
    assert off[output.holes].mean() < 25  # the grain is 20 at the mean, and a wrong filling 50


def test_no_later_frame_trusts_a_filling(moving: list[Frame]) -> None:
    made = studio(takes=FOREVER, **NEVER_REKEY)
    made.show(moving[0])
    made.under_way = [(0, ask) for _, ask in made.under_way]
    outputs = made.show_all(moving[1:])
    growing = [int(output.holes.sum()) for output in outputs]
    assert growing[-1] > growing[0] > 0


def test_painted_holes_reach_no_pixel_outside_of_them(moving: list[Frame]) -> None:
    red, green = (
        Studio(LiveSession(Brief(look="grain", **NEVER_REKEY), SIZE), painter=Grain(holes_colour=colour))
        for colour in ((0, 0, 255), (0, 255, 0))
    )
    first, second = red.show_all(moving[:4]), green.show_all(moving[:4])
    asked = first[1].holes  # the first holes that were painted, of frame 1, are seen in frame 2
    changed = (first[2].picture != second[2].picture).any(axis=2)
    changed &= ~first[2].holes  # which are filled in the colours of what is around them
    assert changed.any()
    assert changed.mean() <= 1.5 * asked.mean()


# Keyframes, epochs, cuts


def test_a_keyframe_is_adopted_from_where_it_was_seen(moving: list[Frame]) -> None:
    """Twelve frames later the paint lies where its pixels have gone to."""
    made = studio(takes=11, fade_s=0.0, **NEVER_REKEY)
    output = made.show_all(moving[:13])[-1]
    assert output.match is not None
    wall = np.median(output.match.flow[: output.match.flow.shape[0] // 8], axis=(0, 1))
    np.testing.assert_allclose(wall * SIZE[0] / output.match.flow.shape[1], (-12 * 0.6, -12 * 0.3), atol=0.6)


def test_the_old_keyframe_goes_on_until_the_new_one_is_painted(still: list[Frame]) -> None:
    made = studio(takes=3, fade_s=0.0)
    made.show_all(still[:6])
    epoch = made.session.update(made.session.brief.changed({"seed": 3}))
    outputs = made.show_all(still[6:14])
    assert [output.epoch for output in outputs] == [0] * 4 + [epoch] * 4
    assert {output.provenance for output in outputs} == {Provenance.WARPED}
    assert not np.array_equal(outputs[3].picture, outputs[4].picture)
    assert [job.seed for job in made.painter.jobs] == [0, 3]


def test_of_a_look_that_was_changed_nothing_stays(moving: list[Frame]) -> None:
    """Not even where the new keyframe explains nothing: there the old paint would be carried along."""

    class Dyes(Grain):
        def _picture(self, job: PaintJob) -> Picture:
            return np.full_like(job.frame.bgr, (255, 0, 0) if job.seed else (0, 0, 255))

    made = Studio(LiveSession(Brief(look="grain", fade_s=0.08, **NEVER_REKEY), SIZE), takes=1, painter=Dyes())
    red = made.show_all(moving[:6])[-1]
    assert (red.picture[..., 2] > 200).mean() > 0.9
    made.session.update(made.session.brief.changed({"seed": 1}))
    for output in made.show_all(moving[6:])[6:]:
        assert output.picture[..., 2].max() < 60
        assert (output.picture[..., 0] > 200).mean() > 0.9


def test_the_latest_wish_wins_and_older_paintings_are_of_no_use(still: list[Frame]) -> None:
    made = studio(takes=4, fade_s=0.0)
    made.show_all(still[:6])
    made.session.update(made.session.brief.changed({"seed": 1}))
    made.show_all(still[6:8])
    last = made.session.update(made.session.brief.changed({"seed": 2}))
    assert made.session.asked_epoch == last
    outputs = made.show_all(still[8:16])
    assert made.adopted == [True, False, True]
    assert outputs[-1].epoch == last
    assert 1 not in {output.epoch for output in outputs}


def test_a_change_of_how_it_moves_shows_at_once_and_cancels_nothing(still: list[Frame]) -> None:
    made = studio(takes=3, fade_s=0.0)
    made.show_all(still[:6])
    look = made.session.update(made.session.brief.changed({"seed": 3}))
    made.show(still[6])
    moved = made.session.update(made.session.brief.changed({"max_hops": 5}))
    outputs = made.show_all(still[7:13])
    assert made.adopted == [True, True]
    assert (look, [output.epoch for output in outputs]) == (1, [0] * 3 + [moved] * 3)
    alone = made.session.update(made.session.brief.changed({"max_hops": 6}))
    assert made.show(still[13]).epoch == alone


@pytest.mark.parametrize("when", ["raw", "held"])
def test_after_a_cut_the_raw_frame_is_seen_or_the_last_output_held(when: Literal["raw", "held"]) -> None:
    frames = as_frames(clip_frames("bikes", (320, 136), start=24, stop=36))  # the film cuts at frame 30
    made = Studio(LiveSession(Brief(look="grain", when_unpainted=when, fade_s=0.0, **NEVER_REKEY), (320, 136)), takes=2)
    outputs = made.show_all(frames)
    assert provenances(outputs)[6:9] == ["held"] * 3
    assert provenances(outputs)[9] in ("warped", "filled")
    before = outputs[5].picture
    for frame, output in zip(frames[6:9], outputs[6:9], strict=True):
        np.testing.assert_array_equal(output.picture, frame.bgr if when == "raw" else before)
    assert [output.epoch for output in outputs] == [0] * 9 + [1] * 3


def test_time_that_begins_anew_brings_a_keyframe_and_no_storm_of_them(still: list[Frame]) -> None:
    made = studio(takes=0)
    frames = [replace(frame, pts=frame.pts + (1000 if frame.index < 10 else 0)) for frame in still]
    outputs = made.show_all(frames)
    assert [job.frame.index for job in made.painter.jobs] == [0, 10]
    assert provenances(outputs)[1:] == ["warped"] * 39
    np.testing.assert_array_equal(outputs[-1].picture, outputs[9].picture)


# Failures


def test_a_painting_that_failed_is_asked_for_once_more_at_once_and_then_after_a_while(still: list[Frame]) -> None:
    class Broken(Grain):
        def paint(self, jobs: Any, cancelled: Any) -> list[PaintDone]:
            self.jobs += jobs
            return [PaintDone(job.id, job.epoch, None, error=Code.PAINTER_FAILED, why="out of paint") for job in jobs]

    made = Studio(LiveSession(Brief(look="grain"), SIZE), painter=Broken())
    frames = [replace(frame, pts=Fraction(frame.index, 10)) for frame in still]
    outputs = made.show_all(frames)
    assert set(provenances(outputs)) == {"held"}
    asked = [job.frame.index for job in made.painter.jobs]
    assert asked[:2] == [0, 1]
    assert min(np.diff(asked[1:])) >= 10 * RETRY_GAP_S
    assert len(asked) > 2


def test_a_cancelled_painting_is_no_failure(still: list[Frame]) -> None:
    made = studio(takes=FOREVER)
    made.show(still[0])
    [(_, ask)] = made.under_way
    job = ask.jobs[0]
    for _ in range(3):
        assert not made.session.adopt([PaintDone(job.id, job.epoch, None, error=Code.CANCELLED)])
    made.under_way.clear()
    made.show(still[1])
    assert len(made.under_way) == 1


def test_a_frame_that_fails_leaves_the_session_as_it_was(moving: list[Frame]) -> None:
    made = studio(takes=1, **NEVER_REKEY)
    made.show_all(moving[:5])
    before = made.session.snapshot()
    step = made.session.step(moving[5])
    next(step)
    with pytest.raises(RuntimeError, match="the current"):
        step.throw(RuntimeError("the current is too strong"))
    assert made.session.snapshot() == before
    passed = made.session.passed(moving[5])
    assert passed.provenance is Provenance.HELD
    assert made.session.snapshot() == before


def test_what_it_never_asked_for_is_not_adopted(still: list[Frame]) -> None:
    made = studio(takes=FOREVER)
    made.show(still[0])
    assert not made.session.adopt([PaintDone(77, 0, still[0].bgr)])


# The same events, the same bits


def events(cut: int | None = None) -> list[Picture]:
    """A film with everything in it; cut in two by a snapshot after so many frames."""
    frames = as_frames(film(two_layers(SIZE, background=(0.6, 0.3), foreground=(-4.0, 1.0)), 16, SIZE))
    brief = Brief(look="grain", keyframe_threshold=0.0, keyframe_gap_min_s=0.2, fade_s=0.12, max_hops=3)
    made = Studio(LiveSession(brief, SIZE), takes=2)
    pictures = []
    for frame in frames:
        if frame.index == 8:
            made.session.update(made.session.brief.changed({"seed": 9}))
        if frame.index == cut:
            data = made.session.snapshot()
            made.session = LiveSession(Brief(look="other"), SIZE)
            made.session.restore(data)
            made.under_way.clear()
        pictures.append(made.show(frame).picture)
    return pictures


def test_the_same_events_give_the_same_bits() -> None:
    for a, b in zip(events(), events(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cut", [0, 1, 5, 9, 15])
def test_a_session_goes_on_from_a_snapshot_and_asks_anew_for_what_was_being_painted(cut: int) -> None:
    whole, joined = events(), events(cut)
    for a, b in zip(whole[:cut], joined, strict=False):
        np.testing.assert_array_equal(a, b)
    off = np.abs(whole[cut].astype(int) - joined[cut]).mean()
    assert off < 6  # the same paint; at most a keyframe that is painted anew comes a little later


def test_a_snapshot_of_the_other_pacing_is_refused(still: list[Frame]) -> None:
    from warpaint.server.session import Session

    live, every = studio(), Session(Brief(look="grain"), SIZE)
    live.show(still[0])
    with pytest.raises(SnapshotError, match="every"):
        live.session.restore(every.snapshot())
    with pytest.raises(SnapshotError, match="live"):
        every.restore(live.session.snapshot())
