from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from support.clips import frames as clip_frames
from support.scenes import film, noise_texture, two_layers
from support.studio import Grain, as_frames, drive, paint
from warpaint.engines.base import Frame, PaintDone, PaintJob, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.messages import Provenance
from warpaint.server.asks import Output
from warpaint.server.session import Session
from warpaint.server.snapshot import SnapshotError

SIZE = (192, 128)
NEVER_REKEY: dict[str, Any] = {
    "keyframe_threshold": 255.0,
    "keyframe_gap_max_s": 1000.0,
    "hole_limit": 1.0,
    "repaint_gap_s": 0.0,
}


@pytest.fixture(scope="module")
def moving() -> list[Frame]:
    """A textured ellipse passing in front of a wall that drifts slowly: occlusions in each frame."""
    return as_frames(film(two_layers(SIZE, background=(0.6, 0.3), foreground=(-4.0, 1.0)), 14, SIZE))


@pytest.fixture(scope="module")
def still() -> list[Frame]:
    picture = noise_texture(SIZE, 5)
    return as_frames([picture] * 5)


def test_the_first_frame_is_a_keyframe_and_the_others_are_warped(moving: list[Frame]) -> None:
    outputs = paint(moving, Grain(), **NEVER_REKEY)
    assert [output.provenance for output in outputs] == [Provenance.PAINTED] + [Provenance.WARPED] * 13
    assert [output.index for output in outputs] == list(range(14))
    assert [output.pts for output in outputs] == [frame.pts for frame in moving]


def test_the_paint_of_a_still_film_stays_to_the_bit(still: list[Frame]) -> None:
    outputs = paint(still, Grain())
    for output in outputs[1:]:
        np.testing.assert_array_equal(output.picture, outputs[0].picture)
        assert output.painted_pixels == 0
        assert not output.hops.any()


def test_paint_reaches_no_pixel_outside_holes(moving: list[Frame]) -> None:
    red, green = (paint(moving, Grain(holes_colour=colour), **NEVER_REKEY) for colour in ((0, 0, 255), (0, 255, 0)))
    fresh = red[1].holes  # the first repaint: nothing red has been carried along yet
    assert 0 < fresh.sum() < fresh.size / 2
    np.testing.assert_array_equal(red[1].picture[~fresh], green[1].picture[~fresh])
    assert np.abs(red[1].picture[fresh].astype(int) - green[1].picture[fresh]).max() > 200


def test_without_repaint_references_hops_grow_by_one_and_end_at_the_limit(moving: list[Frame]) -> None:
    outputs = paint(moving, Grain(), max_hops=3, **NEVER_REKEY)
    assert outputs[0].hops.max() == 0
    assert outputs[1].hops.max() == 1
    assert max(output.hops[~output.holes].max() for output in outputs) <= 3
    assert max(output.hops.max() for output in outputs) > 1


def test_pixels_from_the_keyframe_have_one_hop_however_long_ago_it_was(moving: list[Frame]) -> None:
    last = paint(moving, Grain(), **NEVER_REKEY)[-1]
    assert last.match is not None
    sure = last.match.confidence > 0.9
    assert sure.mean() > 0.2
    assert (last.hops[sure] <= 1).mean() > 0.95  # others were hidden in between, and keep what was painted then


def test_the_cost_of_repainting_follows_the_holes(moving: list[Frame]) -> None:
    for output in paint(moving, Grain(), **NEVER_REKEY)[1:]:
        if output.holes.any():
            assert output.holes.sum() <= output.painted_pixels <= 12 * output.holes.sum() + 64 * 64
        else:
            assert output.painted_pixels == 0


def test_jobs_of_holes_are_crops_that_say_where_they_lie(moving: list[Frame]) -> None:
    painter = Grain()
    paint(moving, painter, **NEVER_REKEY)
    crops = [job for job in painter.jobs if job.holes is not None]
    assert crops
    for job in crops:
        (x, y), (h, w) = job.origin, job.frame.bgr.shape[:2]
        assert job.holes is not None
        assert job.canvas is not None
        assert job.holes.shape == (h, w)
        assert job.canvas.shape == (h, w, 3)
        np.testing.assert_array_equal(job.frame.bgr, moving[job.frame.index].bgr[y : y + h, x : x + w])
    assert len({job.id for job in painter.jobs}) == len(painter.jobs)


def test_same_input_gives_same_bits(moving: list[Frame]) -> None:
    once, again = paint(moving, Grain()), paint(moving, Grain())
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a.picture, b.picture)
        np.testing.assert_array_equal(a.hops, b.hops)


def test_the_seed_varies_only_if_the_brief_says_so(moving: list[Frame]) -> None:
    for vary, seeds in ((False, {7}), (True, {7, 8, 9})):
        painter = Grain()
        paint(moving[:3], painter, flow=False, seed=7, vary_seed=vary)
        assert {job.seed for job in painter.jobs} == seeds


def test_without_flow_each_frame_is_painted_alone(moving: list[Frame]) -> None:
    painter = Grain()
    outputs = paint(moving[:4], painter, flow=False)
    assert {output.provenance for output in outputs} == {Provenance.PAINTED}
    assert [job.frame.index for job in painter.jobs] == [0, 1, 2, 3]


# Keyframes


def keyframes(outputs: list[Output]) -> list[int]:
    return [output.index for output in outputs if output.keyframe]


def test_the_shortest_gap_is_honoured(moving: list[Frame]) -> None:
    outputs = paint(moving, Grain(), keyframe_threshold=0.0, keyframe_gap_min_s=0.2)
    assert keyframes(outputs) == [0, 5, 10]  # 25 frames a second


def test_the_longest_gap_brings_a_keyframe(moving: list[Frame]) -> None:
    outputs = paint(moving, Grain(), keyframe_threshold=255.0, keyframe_gap_max_s=0.4, keyframe_gap_min_s=0.1)
    assert len(keyframes(outputs)) - 1 > 0
    assert max(np.diff([*keyframes(outputs), len(moving)])) <= 10


def test_too_many_holes_for_too_long_bring_a_keyframe(moving: list[Frame]) -> None:
    brief: dict[str, Any] = {"keyframe_threshold": 255.0, "keyframe_gap_max_s": 1000.0, "keyframe_gap_min_s": 0.0}
    assert keyframes(paint(moving, Grain(), hole_limit=1.0, **brief)) == [0]
    assert keyframes(paint(moving, Grain(), hole_limit=0.0, hole_limit_s=0.12, **brief))[:2] == [0, 4]


def test_cuts_drop_all_references() -> None:
    frames = as_frames(clip_frames("bikes", (320, 136), start=27, stop=33))  # the film cuts at frame 30
    outputs = paint(frames, Grain(), **NEVER_REKEY, fade_s=1.0)
    assert keyframes(outputs) == [0, 3]
    assert [output.epoch for output in outputs] == [0, 0, 0, 1, 1, 1]
    alone = paint(frames[3:], Grain(), **NEVER_REKEY, fade_s=1.0)
    for after, fresh in zip(outputs[3:], alone, strict=True):
        np.testing.assert_array_equal(after.picture, fresh.picture)


def test_cut_detection_can_be_switched_off() -> None:
    frames = as_frames(clip_frames("bikes", (320, 136), start=29, stop=32))
    assert keyframes(paint(frames, Grain(), cut_detection=False, **NEVER_REKEY)) == [0]


def test_a_keyframe_fades_in(still: list[Frame]) -> None:
    session = Session(Brief(look="grain", fade_s=0.16), SIZE)
    flow, painter = Dis(), Grain()
    first = drive(session, still[0], flow, painter)[0].picture.astype(float)
    session.rekey()
    new = Grain()
    outputs = [drive(session, frame, flow, _Darker(new)) for frame in still[1:]]
    shares = [float((first - output[0].picture).mean()) for output in outputs]
    assert shares == pytest.approx([10, 20, 30, 40], abs=1.5)  # a quarter of 40 levels a frame


class _Darker:
    """The grain, 40 levels darker."""

    looks = ("grain",)

    def __init__(self, grain: Grain) -> None:
        self._grain = grain

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        done = self._grain.paint(jobs, cancelled)
        return [replace(each, image=cv2.subtract(each.image, (40, 40, 40, 0))) for each in done]


# Changes while it runs


def test_a_change_of_what_is_painted_shows_in_the_next_frame(moving: list[Frame]) -> None:
    session = Session(Brief(look="grain"), SIZE)
    flow, painter = Dis(), Grain()
    drive(session, moving[0], flow, painter)
    epoch = session.update(session.brief.changed({"seed": 3}))
    [output] = drive(session, moving[1], flow, painter)
    assert (output.epoch, output.provenance) == (epoch, Provenance.PAINTED)
    assert painter.jobs[-1].seed == 3


def test_a_change_of_how_it_moves_paints_nothing_anew(moving: list[Frame]) -> None:
    session = Session(Brief(look="grain", repaint_gap_s=0.0), SIZE)
    flow, painter = Dis(), Grain()
    drive(session, moving[0], flow, painter)
    epoch = session.update(session.brief.changed({"max_hops": 3}))
    [output] = drive(session, moving[1], flow, painter)
    assert (output.epoch, output.provenance) == (epoch, Provenance.WARPED)


def test_rekey_brings_a_keyframe_at_once(moving: list[Frame]) -> None:
    session = Session(Brief(look="grain", **NEVER_REKEY), SIZE)
    flow, painter = Dis(), Grain()
    drive(session, moving[0], flow, painter)
    session.rekey()
    outputs = [drive(session, frame, flow, painter)[0] for frame in moving[1:3]]
    assert [output.keyframe for output in outputs] == [True, False]
    assert {output.provenance for output in outputs} == {Provenance.WARPED}  # it fades in


@pytest.mark.parametrize("fail_at", [0, 1, 2])
def test_a_frame_that_fails_leaves_the_session_as_it_was(moving: list[Frame], fail_at: int) -> None:
    session, flow = Session(Brief(look="grain"), SIZE), Dis()
    painter = Grain(fail_at=fail_at)
    outputs = []
    for frame in moving:
        try:
            outputs += drive(session, frame, flow, painter)
        except RefusedError:
            outputs += drive(session, frame, flow, painter)
    assert painter.calls > fail_at
    for a, b in zip(outputs, paint(moving, Grain()), strict=True):
        np.testing.assert_array_equal(a.picture, b.picture)


def test_the_painters_error_is_the_frames_error(moving: list[Frame]) -> None:
    with pytest.raises(RefusedError, match="out of paint") as caught:
        drive(Session(Brief(look="grain"), SIZE), moving[0], Dis(), Grain(fail_at=0))
    assert caught.value.code is Code.PAINTER_FAILED


def test_time_that_jumps_back_or_stands_still_is_no_error(moving: list[Frame]) -> None:
    times = [Fraction(5), Fraction(1), Fraction(1), Fraction(-3), Fraction(100)]
    frames = [Frame(i, pts, moving[i].bgr) for i, pts in enumerate(times)]
    assert len(paint(frames, Grain())) == 5


# Snapshots


def test_a_stream_cut_anywhere_and_joined_equals_the_stream_uncut(moving: list[Frame]) -> None:
    brief = Brief(look="grain", keyframe_threshold=0.0, keyframe_gap_min_s=0.16, fade_s=0.12, max_hops=3)
    whole = paint(moving, Grain(), session=Session(brief, SIZE))
    assert len(keyframes(whole)) > 2
    for cut in range(len(moving) + 1):
        before, after = Session(brief, SIZE), Session(Brief(look="other"), SIZE)
        outputs = paint(moving[:cut], Grain(), session=before) if cut else []
        after.restore(before.snapshot())
        outputs += paint(moving[cut:], Grain(), session=after) if cut < len(moving) else []
        assert after.epoch == whole[-1].epoch
        for a, b in zip(outputs, whole, strict=True):
            np.testing.assert_array_equal(a.picture, b.picture, err_msg=f"cut at {cut}, frame {a.index}")
            np.testing.assert_array_equal(a.hops, b.hops)
            assert a.painted_pixels == b.painted_pixels


def test_an_update_before_the_cut_is_kept(moving: list[Frame]) -> None:
    def updated(cut: bool) -> list[Picture]:
        session, flow, painter = Session(Brief(look="grain"), SIZE), Dis(), Grain()
        pictures = [drive(session, frame, flow, painter)[0].picture for frame in moving[:3]]
        session.update(session.brief.changed({"seed": 9}))
        session.rekey()
        if cut:
            fresh = Session(Brief(look="grain"), SIZE)
            fresh.restore(session.snapshot())
            session = fresh
        return pictures + [drive(session, frame, flow, painter)[0].picture for frame in moving[3:6]]

    for a, b in zip(updated(False), updated(True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bytes_that_are_no_snapshot_are_refused_and_change_nothing(moving: list[Frame]) -> None:
    session, flow, painter = Session(Brief(look="grain"), SIZE), Dis(), Grain()
    drive(session, moving[0], flow, painter)
    good = session.snapshot()
    other = Session(Brief(look="grain"), (64, 64))
    for data in (b"", b"\x80", good[:-100], good[:50], b"\xc1" * 100, good.replace(b"version", b"versiom")):
        with pytest.raises(SnapshotError):
            session.restore(data)
    with pytest.raises(SnapshotError, match=r"canvas is \(192, 128\)"):
        other.restore(good)
    assert session.snapshot() == good


def test_a_snapshot_of_another_version_is_refused_by_name(moving: list[Frame]) -> None:
    session = Session(Brief(look="grain"), SIZE)
    data = session.snapshot().replace(b"\xa7version\x05", b"\xa7version\x09")
    with pytest.raises(SnapshotError, match="version 9"):
        session.restore(data)
