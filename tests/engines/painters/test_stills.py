from dataclasses import replace

import cv2
import numpy as np

from support.easel import hole, hole_job, keyframe, scene, with_controls
from warpaint.engines.base import PaintDone, PaintJob, Picture
from warpaint.engines.painters.stills import Stills
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code

BRIEF = Brief(look="stills")


def painting(raw: Picture) -> Picture:
    """By hand: smoother, and in other colours."""
    return np.ascontiguousarray(255 - cv2.GaussianBlur(raw, (0, 0), 2)[..., ::-1])


def paint(job: PaintJob) -> PaintDone:
    [done] = Stills().paint([job], lambda: False)
    return done


def after_a_still() -> bytes:
    """The memory of a keyframe with a still."""
    memory = paint(with_controls(keyframe(BRIEF), still=painting(scene()))).memory
    assert memory is not None
    return memory


def picture(done: PaintDone) -> Picture:
    assert done.image is not None
    return done.image


def test_a_keyframe_with_a_still_is_the_still_to_the_bit() -> None:
    still = scene(7)
    done = paint(with_controls(keyframe(BRIEF), still=still, depth=scene(8)))
    np.testing.assert_array_equal(picture(done), still)
    assert done.note is None


def test_a_keyframe_before_any_still_is_the_raw_frame_and_says_so() -> None:
    done = paint(keyframe(BRIEF))
    np.testing.assert_array_equal(picture(done), scene())
    assert done.memory is None
    assert done.note is not None
    assert done.note[0] is Code.NO_STILL
    assert "none before it" in done.note[1]


def test_a_keyframe_without_its_still_is_the_raw_frame_in_the_colours_of_the_last_one() -> None:
    memory, other = after_a_still(), scene(3)
    done = paint(keyframe(BRIEF, other, memory=memory))
    assert np.abs(picture(done).astype(int) - painting(other)).mean() < 8
    assert np.abs(other.astype(int) - painting(other)).mean() > 30
    assert done.memory == memory  # and so the next one
    assert done.note is not None
    assert done.note[0] is Code.NO_STILL


def test_holes_are_the_raw_picture_in_its_colours_joined_to_what_is_around() -> None:
    raw = scene(4)
    canvas = painting(raw)
    canvas[hole()] = 0
    brighter = np.clip(canvas.astype(int) + 12, 0, 255).astype(np.uint8)  # as no still is: the light has changed
    for painted, tone in ((canvas, 0), (brighter, 12)):
        done = paint(hole_job(BRIEF, raw, canvas=painted, memory=after_a_still()))
        np.testing.assert_array_equal(picture(done)[~hole()], painted[~hole()])
        wanted = np.clip(painting(raw).astype(int) + tone, 0, 255)
        assert np.abs(picture(done).astype(int) - wanted)[hole()].mean() < 10


def test_holes_before_any_still_have_the_colours_that_are_around() -> None:
    raw = scene(4)
    canvas = np.clip(raw.astype(int) // 2, 0, 255).astype(np.uint8)
    canvas[hole()] = 255
    done = paint(hole_job(BRIEF, raw, canvas=canvas))
    assert np.abs(picture(done).astype(int) - raw // 2)[hole()].mean() < 12


def test_holes_of_a_frame_that_has_a_still_are_it() -> None:
    still = scene(6)
    done = paint(with_controls(hole_job(BRIEF, memory=after_a_still()), still=still))
    np.testing.assert_array_equal(picture(done), still)


def test_memory_of_another_painter_is_none() -> None:
    done = paint(keyframe(BRIEF, memory=b"of another"))
    np.testing.assert_array_equal(picture(done), scene())


def test_same_job_same_bits_and_what_is_given_stays() -> None:
    job = hole_job(BRIEF, scene(4), memory=after_a_still())
    assert job.canvas is not None
    before = job.canvas.copy()
    once, again = paint(job), paint(replace(job, id=9))
    np.testing.assert_array_equal(picture(once), picture(again))
    np.testing.assert_array_equal(job.canvas, before)
    assert (once.id, again.id) == (0, 9)


def test_holes_without_a_canvas_are_an_error() -> None:
    done = paint(hole_job(BRIEF, canvas=None))
    assert done.error is Code.PAINTER_FAILED
