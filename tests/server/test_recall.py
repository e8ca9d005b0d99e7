"""What is seen again, after a cut or a pan, is painted as it was: sessions without a daemon."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.scenes import noise_texture
from support.studio import Grain, answered, as_frames, drive, paint
from warpaint.engines.base import NO_HABITS, Frame, Habits, Match, PaintJob, Picture
from warpaint.engines.detect import glance, is_cut
from warpaint.engines.flow.dis import Dis
from warpaint.engines.painters.stills import Stills
from warpaint.proto.brief import Brief
from warpaint.server import recall
from warpaint.server.asks import MatchAsk, Output
from warpaint.server.rolling import Matches, Scale
from warpaint.server.session import Session
from warpaint.server.state import Reference, References

SIZE = (192, 128)
W, H = SIZE
# Each painting has its own grain, so that it is seen which one a picture is of.
BRIEF = Brief(look="grain", vary_seed=True, keyframe_threshold=255.0, keyframe_gap_max_s=1000.0)
FORGETFUL = BRIEF.changed({"idle_keyframes": 0})


def wall(seed: int, width: int = W) -> NDArray[np.uint8]:
    """A wall of its own colours and edges."""
    base = np.random.default_rng(seed).integers(50, 200, 3).tolist()
    return noise_texture((width, H), seed, base=base)


ONE, OTHER, THIRD = wall(1), wall(2), wall(3)


def shots(*walls: NDArray[np.uint8], length: int = 4) -> list[Frame]:
    frames = as_frames([each for each in walls for _ in range(length)])
    ends = frames[length - 1 :: length]
    for end in ends[:-1]:
        assert is_cut(glance(end.bgr), glance(frames[end.index + 1].bgr))
    return frames


def whole(
    frames: Sequence[Frame], brief: Brief = BRIEF, painter: Any = None, habits: Habits = NO_HABITS
) -> list[Output]:
    session, painter = Session(brief, SIZE, habits=habits), painter or Grain()
    outputs = [output for frame in frames for output in drive(session, frame, Dis(), painter)]
    return outputs + answered(session.finish(), Dis(), painter)


def keyframes(outputs: Sequence[Output]) -> list[int]:
    return [output.index for output in outputs if output.keyframe]


def off(one: Output, other: Output) -> float:
    """The mean difference of two pictures, levels; of two grains it is some 27."""
    return float(np.abs(one.picture.astype(int) - other.picture).mean())


def test_a_shot_that_goes_on_after_a_cut_is_painted_as_it_was() -> None:
    outputs = whole(shots(ONE, OTHER, ONE, OTHER))
    assert keyframes(outputs) == [0, 4]
    assert [output.epoch for output in outputs[::4]] == [0, 1, 2, 3]
    for again, before in ((8, 0), (11, 3), (12, 4), (15, 7)):
        np.testing.assert_array_equal(outputs[again].picture, outputs[before].picture)
    assert sum(output.painted_pixels for output in outputs) == 2 * W * H


def test_a_session_that_keeps_none_paints_each_shot_anew() -> None:
    outputs = whole(shots(ONE, OTHER, ONE), FORGETFUL)
    assert keyframes(outputs) == [0, 4, 8]
    assert off(outputs[8], outputs[0]) > 20


def test_a_shot_of_something_else_is_painted() -> None:
    assert keyframes(whole(shots(ONE, OTHER, THIRD, ONE))) == [0, 4, 8]


def test_what_is_new_in_a_shot_that_goes_on_is_painted_at_once() -> None:
    changed = ONE.copy()
    changed[20:70, 30:100] = OTHER[20:70, 30:100]
    outputs = whole(shots(ONE, OTHER, changed))
    assert keyframes(outputs) == [0, 4]
    assert 0 < outputs[8].painted_pixels < 0.6 * W * H
    new = np.zeros((H, W), np.bool_)
    new[20:70, 30:100] = True
    assert outputs[8].holes[new].mean() > 0.95
    np.testing.assert_array_equal(outputs[8].picture[:, 130:], outputs[0].picture[:, 130:])


def test_a_shot_of_which_too_little_is_known_is_painted() -> None:
    changed = ONE.copy()
    changed[20:70, 30:100] = OTHER[20:70, 30:100]
    assert keyframes(whole(shots(ONE, OTHER, changed), BRIEF.changed({"hole_limit": 0.05}))) == [0, 4, 8]


def test_a_marked_frame_is_painted_though_it_is_known() -> None:
    frames = [replace(frame, keyframe=frame.index == 8) for frame in shots(ONE, OTHER, ONE)]
    assert keyframes(whole(frames)) == [0, 4, 8]


def test_of_many_shots_as_many_are_known_again_as_are_kept() -> None:
    outputs = whole(shots(ONE, OTHER, THIRD, ONE), BRIEF.changed({"idle_keyframes": 1}))
    assert keyframes(outputs) == [0, 4, 8, 12]


def hidden_for_a_while() -> list[Frame]:
    """Something large goes by in front of a wall, of which nothing is seen in some frames; one of them is marked."""
    bus, step = wall(6, W + 64), 16
    pictures = [ONE.copy() for _ in range(2 + (2 * W + 64) // step + 3)]
    for number, picture in enumerate(pictures[2:], 1):
        left = min(W, number * step - (W + 64))  # of the bus
        first, last = max(0, left), max(0, min(W, left + W + 64))
        picture[:, first:last] = bus[:, first - left : last - left]
    frames = [replace(frame, keyframe=frame.index == 16) for frame in as_frames(pictures)]
    assert not any(is_cut(glance(one.bgr), glance(other.bgr)) for one, other in pairwise(frames))
    return frames


def test_what_comes_back_from_behind_something_is_painted_as_it_was() -> None:
    frames = hidden_for_a_while()
    again, anew = (whole(frames, BRIEF.changed({"idle_keyframes": n, "lookahead_s": 1.0})) for n in (4, 0))
    assert off(again[-1], again[0]) < 5
    assert off(anew[-1], anew[0]) > 20
    painted = [sum(output.painted_pixels for output in outputs) for outputs in (again, anew)]
    assert painted[0] < 0.9 * painted[1]


# What ends it


@pytest.mark.parametrize("change", ["rekey", "look", "prompt that fades"])
def test_what_was_painted_otherwise_is_not_seen_again(change: str) -> None:
    brief = BRIEF.changed({"prompt_fade_s": 1.0 if change == "prompt that fades" else 0.0})
    frames, session, painter = shots(ONE, OTHER, ONE), Session(brief, SIZE), Grain()
    before = [drive(session, frame, Dis(), painter)[0] for frame in frames[:6]]
    assert session.state().references.idle
    if change == "rekey":
        session.rekey()
    else:
        session.update(brief.changed({"strength": 0.5} if change == "look" else {"prompt": "a wood"}))
    after = [drive(session, frame, Dis(), painter)[0] for frame in frames[6:]]
    assert 8 in keyframes(after)
    assert off(after[2], before[0]) > 20


@pytest.mark.parametrize("change", ["rekey", "prompt that fades"])
def test_nor_if_another_keyframe_comes_before_it_is_gone(change: str) -> None:
    """What was asked for is still coming in over it."""
    brief = BRIEF.changed({"prompt_fade_s": 0.1, "fade_s": 1.0})
    frames, session, painter = shots(ONE, OTHER, ONE, length=8), Session(brief, SIZE), Grain()
    frames = [replace(frame, keyframe=frame.index in (4, 6)) for frame in frames]
    before = [drive(session, frame, Dis(), painter)[0] for frame in frames[:3]]
    if change == "rekey":
        session.rekey()
    else:
        session.update(brief.changed({"prompt": "a wood"}))
    after = [drive(session, frame, Dis(), painter)[0] for frame in frames[3:]]
    assert off(after[-1], before[0]) > 20
    idle = [each.frame.index for each in session.state().references.idle]
    assert 0 not in idle
    assert len(set(idle)) == len(idle)


def test_an_update_to_fewer_lets_the_oldest_go() -> None:
    session = Session(BRIEF, SIZE)
    paint(shots(ONE, OTHER, THIRD), Grain(), session=session)
    assert [each.frame.index for each in session.state().references.idle] == [0, 4]
    held = session.nbytes
    session.update(BRIEF.changed({"idle_keyframes": 1}))
    assert [each.frame.index for each in session.state().references.idle] == [4]
    assert session.nbytes < held


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("lookahead_s", [0.0, 1.0])
def test_a_film_cut_in_two_anywhere_equals_the_film_uncut(lookahead_s: float, at_once: bool) -> None:
    brief, habits = BRIEF.changed({"lookahead_s": lookahead_s, "max_hops": 3}), Habits(at_once=at_once)
    changed = ONE.copy()
    changed[20:70, 30:100] = OTHER[20:70, 30:100]
    frames = [*shots(ONE, OTHER, changed, OTHER, length=3)]
    uncut = whole(frames, brief, habits=habits)
    for cut in range(len(frames)):
        before, after = Session(brief, SIZE, habits=habits), Session(Brief(look="other"), SIZE, habits=habits)
        painter = Grain()
        outputs = [output for frame in frames[:cut] for output in drive(before, frame, Dis(), painter)]
        after.restore(before.snapshot())
        rest = frames[len(outputs) :]
        outputs += [output for frame in rest for output in drive(after, frame, Dis(), painter)]
        outputs += answered(after.finish(), Dis(), painter)
        for one, other in zip(outputs, uncut, strict=True):
            np.testing.assert_array_equal(one.picture, other.picture, err_msg=f"cut at {cut}, frame {one.index}")
            assert (one.epoch, one.keyframe, one.painted_pixels) == (other.epoch, other.keyframe, other.painted_pixels)


def test_a_shot_that_goes_on_follows_its_still() -> None:
    """Though it has none after the cut."""
    frames = shots(ONE, OTHER, ONE)
    frames[0] = replace(frames[0], keyframe=True, controls={"still": 255 - ONE})
    brief = Brief(look="stills", keyframes="marked", fade_s=0.0)
    outputs = whole(frames, brief, Stills())
    np.testing.assert_array_equal(outputs[8].picture, 255 - ONE)
    assert np.abs(whole(frames, brief.changed({"idle_keyframes": 0}), Stills())[8].picture - (255 - ONE)).mean() > 5


class Brighter(Grain):
    """Paints each keyframe lighter than the one before."""

    def _picture(self, job: PaintJob) -> Picture:
        return np.full_like(job.frame.bgr, 60 + 40 * (self.calls - 1)) // 2 + job.frame.bgr // 2


def test_colours_are_held_in_a_shot_that_goes_on() -> None:
    """As if there had been no cut: to those of its first keyframe."""
    frames = [replace(frame, keyframe=frame.index == 10) for frame in shots(ONE, OTHER, ONE)]
    brief = BRIEF.changed({"colour_lock_s": 100.0, "fade_s": 0.0})
    held, free = (whole(frames, brief.changed({"colour_lock_s": s}), Brighter()) for s in (100.0, 0.0))
    assert off(held[-1], held[0]) < 3
    assert off(free[-1], free[0]) > 20


def test_what_the_most_alike_does_not_show_may_be_seen_in_the_next() -> None:
    """Of two idle keyframes the one that shows what comes back is less like the frame in all."""
    now = glance(ONE)
    nearly = np.roll(ONE, 2, axis=0)
    nearly[40:90, 60:140] = OTHER[40:90, 60:140]  # what is to be seen is hidden here
    other = ONE.copy()
    other[:, :50] = THIRD[:, :50]
    idle = recall.set_aside([], [reference(0, other), reference(1, nearly)], 4)
    features, *known = Dis().encode([ONE, other, nearly])
    idle = tuple(replace(each, features=seen) for each, seen in zip(idle, known, strict=True))
    holes = np.zeros((H, W), np.bool_)
    holes[50:80, 70:130] = True
    last = reference(2, ONE, features=features)
    matches = Matches(Match.identity((H, W)), {3: Match.identity((H, W))})
    references = References(None, {3: replace(last, number=3)}, idle, numbered=3)
    scale = Scale(SIZE, SIZE)
    step = recall.for_holes(features, now, holes, references, matches, scale, BRIEF.changed({"confidence": 0.5}))
    ask = next(step)
    while True:
        assert isinstance(ask, MatchAsk)
        try:
            ask = step.send(Dis().match([ask.request])[0])
        except StopIteration as end:
            found = end.value
            break
    assert found is not None
    again, _ = found
    assert [each.frame.index for each in again.kept.values()] == [0, 2]
    assert [each.frame.index for each in again.idle] == [1]


# What is set aside


def reference(index: int, picture: NDArray[np.uint8], **fields: Any) -> Reference:
    return Reference(index + 1, replace(as_frames([picture])[0], index=index), picture, **fields)


def test_of_more_keyframes_than_are_kept_the_older_of_two_that_are_alike_goes() -> None:
    nearly = np.roll(ONE, 1, axis=1)
    held = [reference(0, OTHER), reference(1, ONE), reference(2, THIRD)]
    kept = recall.set_aside(held, [reference(3, nearly)], 3)
    assert [each.frame.index for each in kept] == [0, 2, 3]
    assert recall.set_aside(held, [reference(3, nearly)], 4)[-1].frame.index == 3
    assert [each.frame.index for each in recall.set_aside([], [reference(0, ONE)], 1)] == [0]
    assert recall.set_aside([], [reference(0, ONE)], 0) == ()


def test_a_number_is_not_given_again_soon() -> None:
    """Frames that wait may still name a reference that is gone."""
    references = References().plus(reference(0, ONE)).plus(reference(1, OTHER))
    assert references.free_number == 3
    assert references.of([1]).free_number == 3
    last = replace(references, numbered=255)
    assert last.free_number == 3


def test_patches_are_not_set_aside() -> None:
    patch = reference(0, ONE, own=np.ones((H, W), np.bool_))
    assert recall.set_aside([], [patch], 4) == ()
