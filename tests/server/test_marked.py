"""Frames that are marked as keyframes, and painted pictures that come with them: in both pacings, without a daemon."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from support.scenes import film, noise_texture, two_layers
from support.studio import Grain, as_frames, drive
from warpaint.engines.base import Frame, Painter, PaintJob, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.engines.painters.stills import Stills
from warpaint.proto.brief import Brief
from warpaint.server import recording, snapshot
from warpaint.server.asks import Output
from warpaint.server.exchange import Tray, laid_jobs, taken_jobs
from warpaint.server.live import LiveSession
from warpaint.server.recording import Record
from warpaint.server.session import Session

SIZE = (192, 128)
NEVER: dict[str, Any] = {"keyframe_threshold": 255.0, "keyframe_gap_max_s": 1000.0, "hole_limit": 1.0}
# As often as ever it can be.
ALWAYS: dict[str, Any] = {"keyframe_threshold": 0.0, "keyframe_gap_min_s": 0.0}


@pytest.fixture(scope="module")
def moving() -> list[Frame]:
    return as_frames(film(two_layers(SIZE, background=(0.6, 0.3), foreground=(-4.0, 1.0)), 8, SIZE))


@pytest.fixture(scope="module")
def cutting(moving: list[Frame]) -> list[Frame]:
    """A film that cuts after four frames, to a shot with other colours."""
    other = film(two_layers(SIZE, seed=7), 4, SIZE)
    return moving[:4] + as_frames([frame.bgr for frame in moving[:4]] + [255 - each for each in other])[4:]


class Watched(Stills):
    """Keeps the keyframes that it was asked for."""

    def __init__(self) -> None:
        self.keyframes: list[PaintJob] = []

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> Any:
        self.keyframes += [job for job in jobs if job.holes is None]
        return super().paint(jobs, cancelled)


def brief_of(fields: dict[str, Any]) -> Brief:
    return Brief(**{"look": "stills", **fields})


def every(frames: Sequence[Frame], painter: Painter, **fields: Any) -> list[Output]:
    session = Session(brief_of(fields), SIZE, habits=Stills.habits)
    return [output for frame in frames for output in drive(session, frame, Dis(), painter)]


def live(frames: Sequence[Frame], painter: Painter, **fields: Any) -> list[Output]:
    """Each painting is there before the next frame comes, which shows it."""
    session = LiveSession(brief_of(fields), SIZE, habits=Stills.habits)
    return [output for frame in frames for output in stepped(session, frame, painter)]


def stepped(session: LiveSession, frame: Frame, painter: Painter) -> list[Output]:
    outputs = drive(session, frame, Dis(), painter)
    for ask in session.take_jobs():
        session.adopt(painter.paint(ask.jobs, lambda: False))
    return outputs


each_pacing = pytest.mark.parametrize("paint", [every, live])
Paint = Callable[..., list[Output]]


def marked(frames: Sequence[Frame], *indices: int, still: Picture | None = None) -> list[Frame]:
    controls = {} if still is None else {"still": still}
    return [replace(each, keyframe=True, controls=controls) if each.index in indices else each for each in frames]


def asked(painter: Watched) -> list[int]:
    return [job.frame.index for job in painter.keyframes]


# Which frames are painted in full


@each_pacing
@pytest.mark.parametrize("fields", [NEVER, {"keyframe_gap_min_s": 5.0}], ids=["no reason", "too soon"])
def test_a_marked_frame_is_a_keyframe_whatever_the_gaps_say(
    moving: list[Frame], paint: Paint, fields: dict[str, Any]
) -> None:
    painter = Watched()
    paint(marked(moving, 2, 3, 6), painter, **fields)
    assert asked(painter) == [0, 2, 3, 6]
    assert [job.frame.keyframe for job in painter.keyframes] == [False, True, True, True]


@each_pacing
def test_only_marked_frames_are_keyframes_if_the_brief_says_so(moving: list[Frame], paint: Paint) -> None:
    painter = Watched()
    paint(marked(moving, 5), painter, keyframes="marked", **ALWAYS)
    assert asked(painter) == [0, 5]
    unasked = Watched()
    paint(moving, unasked, keyframes="auto", **ALWAYS)
    assert len(asked(unasked)) == len(moving)


@each_pacing
@pytest.mark.parametrize("indices", [(), (4,)], ids=["none", "the first of the shot"])
def test_the_first_frame_after_a_cut_is_a_keyframe_all_the_same(
    cutting: list[Frame], paint: Paint, indices: tuple[int, ...]
) -> None:
    painter = Watched()
    paint(marked(cutting, *indices), painter, keyframes="marked")
    assert asked(painter) == [0, 4]


@each_pacing
def test_a_rekey_is_still_heard(moving: list[Frame], paint: Paint) -> None:
    painter = Watched()
    session: Any = (Session if paint is every else LiveSession)(brief_of({"keyframes": "marked"}), SIZE)
    for frame in moving[:4]:
        if frame.index == 2:
            session.rekey()
        if isinstance(session, LiveSession):
            stepped(session, frame, painter)
        else:
            drive(session, frame, Dis(), painter)
    assert asked(painter) == [0, 2]


# What they show


def test_a_marked_frame_shows_its_still_to_the_bit_and_the_next_ones_follow(moving: list[Frame]) -> None:
    still = noise_texture(SIZE, 9)
    outputs = every(marked(moving, 3, still=still), Stills(), keyframes="marked", fade_s=0.0)
    np.testing.assert_array_equal(outputs[3].picture, still)
    assert outputs[3].keyframe
    assert np.abs(outputs[2].picture.astype(int) - still).mean() > 20
    seen = outputs[4].hops <= 1
    assert seen.mean() > 0.7
    assert np.abs(outputs[4].picture.astype(int) - still)[seen].mean() < 20  # moved by a pixel, and resampled


def test_live_shows_the_still_as_soon_as_it_is_painted(moving: list[Frame]) -> None:
    still = noise_texture(SIZE, 9)
    frozen = [replace(moving[0], index=each.index, pts=each.pts) for each in moving]
    outputs = live(marked(frozen, 3, still=still), Stills(), keyframes="marked", fade_s=0.0)
    assert np.abs(outputs[3].picture.astype(int) - still).mean() > 20
    assert np.abs(outputs[4].picture.astype(int) - still).mean() < 1


@each_pacing
def test_the_colours_of_the_last_still_outlive_a_cut(cutting: list[Frame], paint: Paint) -> None:
    negative = np.ascontiguousarray(255 - cutting[0].bgr)
    outputs = paint(marked(cutting, 0, still=negative), Stills(), keyframes="marked", fade_s=0.0)
    assert np.abs(outputs[-1].picture.astype(int) - (255 - cutting[-1].bgr)).mean() < 12


def test_a_painter_that_does_not_want_it_gets_no_memory_over_a_cut(cutting: list[Frame]) -> None:
    """Of another shot."""
    painter = Grain()
    session = Session(Brief(look="grain"), SIZE)
    for frame in cutting:
        drive(session, frame, Dis(), painter)
    assert session.state().progress.memory is None


# Beyond the session


@each_pacing
def test_a_session_that_is_cut_in_two_keeps_the_colours(cutting: list[Frame], paint: Paint) -> None:
    kind: Any = Session if paint is every else LiveSession
    painter, negative = Stills(), np.ascontiguousarray(255 - cutting[0].bgr)
    first = kind(brief_of({"keyframes": "marked"}), SIZE, habits=Stills.habits)
    go: Any = stepped if paint is live else lambda session, frame, painter: drive(session, frame, Dis(), painter)
    for frame in marked(cutting, 0, still=negative)[:3]:
        go(first, frame, painter)
    data = first.snapshot()
    assert snapshot.load(data).progress.memory == first.state().progress.memory is not None
    second = kind(brief_of({}), SIZE, habits=Stills.habits)
    second.restore(data)
    for frame in cutting[3:]:
        [a], [b] = go(first, frame, painter), go(second, frame, painter)
        np.testing.assert_array_equal(a.picture, b.picture)


def test_a_snapshot_says_also_that_there_is_no_memory(moving: list[Frame]) -> None:
    session = Session(Brief(look="stills"), SIZE, habits=Stills.habits)
    drive(session, moving[0], Dis(), Stills())
    plain = msgpack.unpackb(session.snapshot())
    assert snapshot.load(msgpack.packb(plain)).progress.memory is None
    del plain["progress"]["memory"]
    with pytest.raises(snapshot.SnapshotError, match="no snapshot: KeyError: 'memory'"):
        snapshot.load(msgpack.packb(plain))


def test_a_mark_is_not_remembered(moving: list[Frame]) -> None:
    session = Session(Brief(look="stills"), SIZE)
    drive(session, replace(moving[0], keyframe=True), Dis(), Stills())
    assert not any(each.frame.keyframe for each in session.state().references.kept.values())


def test_a_mark_is_recorded(tmp_path: Path, moving: list[Frame]) -> None:
    record = Record(tmp_path / "it.events", Brief(), SIZE)
    for frame in (replace(moving[0], keyframe=True), moving[1]):
        record.add("step", frame)
    record.close()
    with (tmp_path / "it.events").open("rb") as file:
        _, first, second = msgpack.Unpacker(file)
    assert recording._read_frame(first["value"]).keyframe
    assert "keyframe" not in second["value"]  # as older records have it
    assert not recording._read_frame(second["value"]).keyframe


def test_a_mark_reaches_the_process_of_a_painter(moving: list[Frame]) -> None:
    frame = Frame(5, Fraction(1, 5), moving[0].bgr, keyframe=True)
    job = PaintJob(0, 0, frame, Brief(), 0, (0, 0), SIZE)
    descriptor = os.memfd_create("tray")
    try:
        tray = Tray(descriptor)
        [taken] = taken_jobs(tray, msgpack.unpackb(msgpack.packb(laid_jobs(tray, [job]))))
    finally:
        os.close(descriptor)
    assert taken.frame.keyframe
