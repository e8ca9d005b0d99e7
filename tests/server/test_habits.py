"""Sessions whose painter has habits: its crops have its sides, and holes too small for it are filled."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.daemon import Wire, daemon
from support.scenes import film, two_layers
from support.studio import Grain, as_frames, drive, paint
from warpaint.engines.base import Frame, Habits
from warpaint.engines.compose import MOST_HOPS
from warpaint.engines.crops import tiny
from warpaint.engines.flow.dis import Dis
from warpaint.proto.brief import Brief
from warpaint.proto.messages import Painted, Provenance, Source
from warpaint.server.asks import Output
from warpaint.server.live import LiveSession
from warpaint.server.recording import Record, RecordError, replay
from warpaint.server.session import Session

SIZE = (192, 128)
NEVER_REKEY: dict[str, Any] = {
    "keyframe_threshold": 255.0,
    "keyframe_gap_max_s": 1000.0,
    "hole_limit": 1.0,
    "repaint_gap_s": 0.0,
}
BRIEF = Brief(look="grain", **NEVER_REKEY)
SIDED = Habits(crop_sides=(32, 64, 96), crop_context=4, least_hole=400)
FILLS_ALL = Habits(least_hole=10**6)
KINDS = ["every", "live"]


@pytest.fixture(scope="module")
def moving() -> list[Frame]:
    return as_frames(film(two_layers(SIZE, background=(0.6, 0.3), foreground=(-4.0, 1.0)), 14, SIZE))


def painted(frames: list[Frame], kind: str, habits: Habits, record: Record | None = None) -> tuple[list[Output], Grain]:
    """The outputs of a film, and the painter that knows its jobs. If it is live, what is wanted is there at once."""
    painter, flow = Grain(holes_colour=(0, 0, 255)), Dis()
    size = (frames[0].bgr.shape[1], frames[0].bgr.shape[0])
    if kind == "every":
        return paint(frames, painter, session=Session(BRIEF, size, habits=habits)), painter
    session, outputs = LiveSession(BRIEF.changed({"fade_s": 0.0}), size, habits=habits), []
    for frame in frames:
        outputs += drive(session, frame, flow, painter)
        if record is not None:
            record.add("step", frame)
        for ask in session.take_jobs():
            done = painter.paint(ask.jobs, lambda: False)
            session.adopt(done)
            if record is not None:
                record.add("adopt", done)
    return outputs, painter


@pytest.mark.parametrize("kind", KINDS)
def test_crops_have_the_painters_sides(kind: str) -> None:
    size, habits = (384, 256), Habits(crop_sides=(64, 96, 128), crop_context=8)
    frames = as_frames(film(two_layers(size, background=(0.6, 0.3), foreground=(-4.0, 1.0)), 8, size))
    _, painter = painted(frames, kind, habits)
    crops = [job for job in painter.jobs if job.holes is not None]
    shapes = {job.frame.bgr.shape[1::-1] for job in crops}
    assert shapes - {size}
    assert shapes <= {(w, h) for w in (*habits.crop_sides, size[0]) for h in (*habits.crop_sides, size[1])}
    for job in crops:
        assert job.holes is not None
        assert job.holes.any()
        assert job.canvas is not None
        assert job.holes.shape == job.canvas.shape[:2] == job.frame.bgr.shape[:2]


@pytest.mark.parametrize("kind", KINDS)
def test_holes_that_are_too_small_are_filled_and_make_no_job(moving: list[Frame], kind: str) -> None:
    outputs, painter = painted(moving, kind, FILLS_ALL)
    assert [job.holes for job in painter.jobs] == [None]  # the keyframe alone
    begun = outputs[1:]
    assert any(each.holes.any() for each in begun)
    for each in begun:
        assert each.provenance is (Provenance.FILLED if each.holes.any() else Provenance.WARPED)
        assert each.painted_pixels == 0
        if kind == "every":
            assert (each.hops[each.holes] == MOST_HOPS).all()  # nothing trusts what is filled
        raw = moving[each.index].bgr.astype(int)
        assert np.abs(each.picture.astype(int) - raw)[each.holes].mean() < 40


def test_of_many_holes_the_small_ones_alone_are_filled(moving: list[Frame]) -> None:
    outputs, painter = painted(moving, "every", SIDED)
    both = 0
    for each in outputs[1:]:
        small = tiny(each.holes, SIDED.least_hole)
        jobs = [job for job in painter.jobs if job.frame.index == each.index and job.holes is not None]
        assert bool(jobs) == bool((each.holes & ~small).any())
        assert (each.provenance is Provenance.FILLED) == bool(small.any())
        assert (each.hops[small] == MOST_HOPS).all()
        for job in jobs:
            (x, y), (h, w) = job.origin, job.frame.bgr.shape[:2]
            inside = slice(y, y + h), slice(x, x + w)
            np.testing.assert_array_equal(job.holes, (each.holes & ~small)[inside])
        both += bool(jobs) and bool(small.any())
    assert both


@pytest.mark.parametrize("habits", [SIDED, FILLS_ALL], ids=["sides", "fills"])
def test_outside_the_holes_not_a_bit_changes(moving: list[Frame], habits: Habits) -> None:
    usual, others = (painted(moving, "every", each)[0] for each in (Habits(), habits))
    first = next(each for each in usual[1:] if each.holes.any())
    other = others[first.index]
    np.testing.assert_array_equal(first.holes, other.holes)
    np.testing.assert_array_equal(first.picture[~first.holes], other.picture[~first.holes])
    assert (first.picture[first.holes] != other.picture[first.holes]).any() or habits is SIDED


def test_a_frame_with_a_fresh_keyframe_says_so_whatever_is_filled(moving: list[Frame]) -> None:
    brief = Brief(look="grain", keyframe_threshold=0.0, keyframe_gap_min_s=0.1, fade_s=0.08)
    outputs = paint(moving, Grain(), session=Session(brief, SIZE, habits=FILLS_ALL))
    fresh = [each for each in outputs if each.keyframe]
    assert len(fresh) > 2
    assert Provenance.FILLED not in {each.provenance for each in fresh}


@pytest.mark.parametrize("habits", [SIDED, FILLS_ALL], ids=["sides", "fills"])
def test_a_stream_cut_anywhere_and_joined_equals_the_stream_uncut(moving: list[Frame], habits: Habits) -> None:
    brief = Brief(look="grain", keyframe_threshold=0.0, keyframe_gap_min_s=0.24, fade_s=0.12, max_hops=3)
    whole = paint(moving, Grain(), session=Session(brief, SIZE, habits=habits))
    for cut in (1, 2, 5, 8, 13):
        before, after = Session(brief, SIZE, habits=habits), Session(Brief(look="other"), SIZE, habits=habits)
        outputs = paint(moving[:cut], Grain(), session=before)
        after.restore(before.snapshot())
        outputs += paint(moving[cut:], Grain(), session=after)
        for a, b in zip(outputs, whole, strict=True):
            np.testing.assert_array_equal(a.picture, b.picture, err_msg=f"cut at {cut}, frame {a.index}")
            np.testing.assert_array_equal(a.hops, b.hops)
            assert (a.provenance, a.painted_pixels) == (b.provenance, b.painted_pixels)


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_daemon_knows_the_habits_of_its_painters(tmp_path: Path, isolation: str) -> None:
    size, name = (384, 256), "painters_under_test:InSquares"
    motion = two_layers(size, background=(0.6, 0.3), foreground=(-4.0, 1.0))
    with daemon(tmp_path, "--painters", name, "--isolation", isolation) as running, Wire(running.address) as wire:
        wire.open(Source(width=size[0], height=size[1]), brief=Brief(**NEVER_REKEY))
        painted_pixels = []
        for index, picture in enumerate(film(motion, 6, size)):
            wire.frame(index, picture.tobytes())
            painted_pixels.append(wire.expect(Painted).painted_pixels)
    assert painted_pixels[0] == size[0] * size[1]
    crops = [each for each in painted_pixels[1:] if 0 < each < size[0] * size[1]]
    assert crops
    assert all(each % 64**2 == 0 for each in crops)


def test_a_record_is_played_again_with_the_painters_habits(moving: list[Frame], tmp_path: Path) -> None:
    path = tmp_path / "live.events"
    record = Record(path, BRIEF.changed({"fade_s": 0.0}), SIZE, SIDED)
    outputs, painter = painted(moving, "live", SIDED, record)
    record.close()
    assert any(job.holes is not None for job in painter.jobs)
    for a, b in zip(outputs, replay(path, Dis()), strict=True):
        np.testing.assert_array_equal(a.picture, b.picture)


def test_a_record_with_habits_that_cannot_be_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "live.events"
    Record(path, BRIEF, SIZE).close()
    path.write_bytes(path.read_bytes().replace(b"\xaccrop_context\x08", b"\xaccrop_context\xff"))
    with pytest.raises(RecordError, match="context"):
        list(replay(path, Dis()))
