from fractions import Fraction

import numpy as np

from warpaint.engines.base import Frame, PaintDone, PaintJob
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.server.remarks import Note, Remarks

BGR = np.zeros((8, 8, 3), np.uint8)
KEYFRAME = PaintJob(0, 0, Frame(0, Fraction(0), BGR), Brief(), 0, (0, 0), (8, 8))
CROP = PaintJob(1, 0, Frame(0, Fraction(0), BGR), Brief(), 0, (0, 0), (8, 8), BGR, np.ones((8, 8), np.bool_))
CUT, SMALL = (Code.PROMPT_CUT, "cut"), (Code.RESOURCE_EXHAUSTED, "painted smaller")


def taken(remarks: Remarks, *notes: Note | None, job: PaintJob = KEYFRAME, tags: tuple[str, ...] = ()) -> list[Note]:
    """What is told of a painting with these notes."""
    done = [PaintDone(job.id, 0, BGR, tags=tags, note=note) for note in notes]
    return remarks.taken([job] * len(notes), done)


def test_a_note_is_told_once_until_it_changes() -> None:
    remarks = Remarks()
    assert taken(remarks, CUT) == [CUT]
    assert taken(remarks, CUT) == []
    assert taken(remarks, SMALL) == [SMALL]
    assert taken(remarks, CUT) == [CUT]


def test_a_note_that_a_keyframe_did_not_have_is_told_again() -> None:
    remarks = Remarks()
    assert taken(remarks, CUT) == [CUT]
    assert taken(remarks, None) == []
    assert taken(remarks, CUT) == [CUT]


def test_crops_without_a_note_say_nothing_of_the_prompt() -> None:
    remarks = Remarks()
    assert taken(remarks, CUT) == [CUT]
    assert taken(remarks, None, None, job=CROP) == []
    assert taken(remarks, CUT) == []


def test_several_notes_of_one_painting_are_told_once_each() -> None:
    remarks = Remarks()
    assert taken(remarks, CUT, None, SMALL, CUT, job=CROP) == [CUT, SMALL]
    assert taken(remarks, SMALL, CUT, job=CROP) == []


def test_tags_are_for_the_first_frame_that_shows_their_keyframe() -> None:
    remarks = Remarks()
    assert remarks.tags_shown() == ()
    taken(remarks, None, tags=("harbour",))
    assert remarks.tags_shown() == ()  # a frame without the keyframe
    remarks.shown()
    assert remarks.tags_shown() == ("harbour",)
    assert remarks.tags_shown() == ()


def test_tags_wait_for_a_frame_that_is_sent() -> None:
    remarks = Remarks()
    taken(remarks, None, tags=("harbour",))
    remarks.shown()
    taken(remarks, None, tags=("crop",), job=CROP)
    assert remarks.tags_shown() == ("harbour",)


def test_tags_of_a_keyframe_that_no_frame_showed_are_not_told() -> None:
    remarks = Remarks()
    taken(remarks, None, tags=("harbour",))
    taken(remarks, None, tags=("snow",))
    remarks.shown()
    assert remarks.tags_shown() == ("snow",)
    taken(remarks, None, tags=("ice",))
    remarks.shown()
    taken(remarks, None)
    remarks.shown()
    assert remarks.tags_shown() == ()
