"""Frames that wait for what comes after them, without a daemon: when they come out, and what their holes show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain
from typing import Any

import cv2
import numpy as np
import pytest

from support.scenes import film, noise_texture, two_layers
from support.studio import Grain, answered, as_frames, drive, paint
from warpaint.engines.base import Features, FlowEngine, Frame, Habits, Mask, Match, MatchRequest, Painter, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.engines.painters.identity import Identity
from warpaint.engines.painters.stills import Stills
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.messages import Provenance
from warpaint.server import lookahead
from warpaint.server.asks import Output
from warpaint.server.session import Session

SIZE = (160, 112)
RED = (0, 0, 255)
# One keyframe, holes painted every fifth frame, and a wait that only that ends.
BRIEF = Brief(
    look="grain",
    keyframe_threshold=255.0,
    keyframe_gap_max_s=1000.0,
    hole_limit=1.0,
    repaint_gap_s=0.18,
    lookahead_s=10.0,
)
AT_ONCE = BRIEF.changed({"lookahead_s": 0.0})


@pytest.fixture(scope="module")
def leaving() -> list[Frame]:
    """An ellipse passes in front of a wall that stands still: each frame uncovers some of it."""
    return as_frames(film(two_layers(SIZE, background=(0.0, 0.0), foreground=(-4.0, 1.0)), 14, SIZE))


@pytest.fixture(scope="module")
def eventful(leaving: list[Frame]) -> list[Frame]:
    """The same with a cut, and with marked frames."""
    other = film(two_layers(SIZE, background=(0.7, 0.2), foreground=(3.0, 1.0), seed=40), 9, SIZE)
    frames = as_frames([*(frame.bgr for frame in leaving[:9]), *other])
    return [replace(frame, keyframe=frame.index in (6, 14)) for frame in frames]


@dataclass
class Showing:
    """A film being painted: what came out after each frame, and at the end."""

    session: Session
    flow: FlowEngine = field(default_factory=Dis)
    painter: Painter = field(default_factory=Grain)

    def show(self, frames: Sequence[Frame]) -> list[list[Output]]:
        """What came out after each."""
        return [drive(self.session, frame, self.flow, self.painter) for frame in frames]

    def shown(self, frames: Sequence[Frame]) -> list[Output]:
        """What came out after all of them."""
        return list(chain.from_iterable(self.show(frames)))

    def rest(self) -> list[Output]:
        return answered(self.session.finish(), self.flow, self.painter)

    def whole(self, frames: Sequence[Frame]) -> list[Output]:
        return self.shown(frames) + self.rest()


def whole(frames: Sequence[Frame], brief: Brief = BRIEF, **session: Any) -> list[Output]:
    return Showing(Session(brief, SIZE, **session)).whole(frames)


def indices(outputs: Sequence[Output]) -> list[int]:
    return [output.index for output in outputs]


def assert_same(outputs: Sequence[Output], others: Sequence[Output]) -> None:
    """They are the same frames to the bit."""
    for one, other in zip(outputs, others, strict=True):
        told = [(each.index, each.pts, each.epoch, each.provenance, each.keyframe) for each in (one, other)]
        assert told[0] == told[1]
        np.testing.assert_array_equal(one.picture, other.picture, err_msg=f"frame {one.index}")
        np.testing.assert_array_equal(one.holes, other.holes)
        np.testing.assert_array_equal(one.hops, other.hops)
        np.testing.assert_array_equal(one.raw, other.raw)


def assert_same_outside_holes(outputs: Sequence[Output], plain: Sequence[Output]) -> None:
    """They are those of a film that does not look ahead, but in its holes."""
    for one, other in zip(outputs, plain, strict=True):
        assert (one.index, one.epoch, one.keyframe) == (other.index, other.epoch, other.keyframe)
        np.testing.assert_array_equal(one.picture[~other.holes], other.picture[~other.holes])
        assert not (one.holes & ~other.holes).any()
        assert one.painted_pixels == other.painted_pixels


# When frames come out


@pytest.mark.parametrize("lookahead_s", [0.0, 0.04, 0.1, 1.0, 60.0])
def test_each_frame_comes_out_once_in_order_and_in_time(eventful: list[Frame], lookahead_s: float) -> None:
    brief = BRIEF.changed({"lookahead_s": lookahead_s, "keyframe_gap_max_s": 0.4, "keyframe_threshold": 20.0})
    showing = Showing(Session(brief, SIZE))
    out = 0
    for frame in eventful:
        outputs = showing.shown([frame])
        assert indices(outputs) == list(range(out, out + len(outputs)))
        out += len(outputs)
        assert showing.session.waiting == tuple(range(out, frame.index + 1))
        assert all(float(frame.pts - eventful[index].pts) < lookahead_s for index in showing.session.waiting)
        if not lookahead_s:
            assert indices(outputs) == [frame.index]
    rest = showing.rest()
    assert indices(rest) == list(range(out, len(eventful)))
    assert showing.session.waiting == ()
    assert showing.rest() == []


def test_frames_do_wait_and_what_ends_it(leaving: list[Frame]) -> None:
    """Painted holes do, marked frames do, and cuts."""
    other = as_frames(film(two_layers(SIZE, seed=40), 2, SIZE))
    frames = [*leaving[:12], *(replace(each, index=12 + i, pts=Fraction(12 + i, 25)) for i, each in enumerate(other))]
    frames[7] = replace(frames[7], keyframe=True)
    showing = Showing(Session(BRIEF, SIZE))
    counts = [len(outputs) for outputs in showing.show(frames)]
    #                 keyframe, four wait for paint; one waits for the mark; four wait for the cut
    assert counts == [1, 0, 0, 0, 0, 5, 0, 2, 0, 0, 0, 0, 5, 1]
    assert showing.session.epoch == 1


def test_frames_without_holes_wait_for_nothing(leaving: list[Frame]) -> None:
    still = [replace(frame, bgr=leaving[0].bgr) for frame in leaving[:8]]
    assert [len(outputs) for outputs in Showing(Session(BRIEF, SIZE)).show(still)] == [1] * 8


def test_without_flow_nothing_waits(leaving: list[Frame]) -> None:
    assert [len(each) for each in Showing(Session(BRIEF, SIZE, flow=False)).show(leaving[:4])] == [1] * 4


def test_time_that_jumps_back_ends_the_wait(leaving: list[Frame]) -> None:
    times = [Fraction(each, 25) for each in (250, 251, 252, 253, 10, 11, 12, 900)]
    frames = [replace(frame, pts=pts) for frame, pts in zip(leaving, times, strict=False)]
    showing = Showing(Session(BRIEF.changed({"repaint_gap_s": 2.0}), SIZE))
    outputs = showing.show(frames)
    assert [len(each) for each in outputs[:5]] == [1, 0, 0, 0, 4]
    assert indices([*chain.from_iterable(outputs), *showing.rest()]) == list(range(8))


def test_no_more_frames_wait_than_there_is_credit_for(leaving: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookahead, "MAX_WAITING", 3)
    brief = BRIEF.changed({"repaint_gap_s": 1000.0})
    assert [len(each) for each in Showing(Session(brief, SIZE)).show(leaving[:8])] == [1, 0, 0, 3, 0, 0, 3, 0]


def test_no_more_bytes_wait_than_there_is_room_for(leaving: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    brief, showing = BRIEF.changed({"repaint_gap_s": 1000.0}), Showing(Session(BRIEF, SIZE))
    showing.show(leaving[:2])
    one = showing.session._waiting[0].nbytes
    monkeypatch.setattr(lookahead, "MAX_WAITING_BYTES", 2 * one - 1)
    assert [len(each) for each in Showing(Session(brief, SIZE)).show(leaving[:6])] == [1, 0, 2, 0, 2, 0]


def test_what_waits_is_counted(leaving: list[Frame]) -> None:
    showing = Showing(Session(BRIEF, SIZE))
    showing.show(leaving[:2])
    one = showing.session.nbytes
    showing.show(leaving[2:5])
    several = showing.session.nbytes
    showing.rest()
    resting = showing.session.nbytes
    picture = leaving[0].bgr.nbytes
    assert resting < one < several
    assert several - one > 3 * 2 * picture  # raw and painted at least
    assert several - resting == pytest.approx(4 * (several - one) / 3, rel=0.05)


# What they show


def test_holes_show_what_is_painted_there_later(leaving: list[Frame]) -> None:
    """The wall stands still: what is painted of it later is what a painting of the frame itself would show."""
    waited, plain = whole(leaving), whole(leaving, AT_ONCE)
    assert indices(waited) == indices(plain) == list(range(len(leaving)))
    errors, fills, left = [], [], []
    for one, other in zip(waited, plain, strict=True):
        if other.provenance is not Provenance.FILLED or other.index > 10:  # nothing is painted after frame 10
            continue
        truth = whole([replace(leaving[other.index], index=0, pts=Fraction(0))])[0].picture.astype(int)
        errors.append(np.abs(one.picture - truth)[other.holes].mean())
        fills.append(np.abs(other.picture - truth)[other.holes].mean())
        left.append(one.holes.sum() / other.holes.sum())
    assert len(errors) == 8
    assert (np.array(errors) < np.array(fills)).all()
    assert np.mean(errors) < 0.7 * np.mean(fills)
    assert np.mean(left) < 0.5


def test_what_is_brought_back_is_the_painters(leaving: list[Frame]) -> None:
    """Holes are painted red: so are those that show what was painted later."""
    outputs = Showing(Session(BRIEF, SIZE), painter=Grain(holes_colour=RED)).whole(leaving[:6])
    plain = Showing(Session(AT_ONCE, SIZE), painter=Grain(holes_colour=RED)).whole(leaving[:6])
    for one, other in zip(outputs[1:5], plain[1:5], strict=True):
        brought = _inside(other.holes & ~one.holes, BRIEF.feather)
        far, fill = (np.abs(each.picture.astype(int) - RED)[brought].mean() for each in (one, other))
        assert brought.sum() > 50
        assert far < 0.1 * fill  # at the rim of what was painted it is mixed with what was there
        assert (one.hops[brought] <= BRIEF.max_hops).all()


def _inside(holes: Mask, depth: int) -> Mask:
    """The holes without a rim."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * depth + 1, 2 * depth + 1))
    return cv2.erode(holes.view(np.uint8), disc).view(np.bool_)


@pytest.mark.parametrize("lookahead_s", [0.08, 0.3, 10.0])
def test_outside_holes_it_is_the_film_that_does_not_look_ahead(eventful: list[Frame], lookahead_s: float) -> None:
    """But where a keyframe fades in."""
    waited = whole(eventful, BRIEF.changed({"lookahead_s": lookahead_s, "fade_s": 0.0}))
    assert_same_outside_holes(waited, whole(eventful, AT_ONCE.changed({"fade_s": 0.0})))


def test_a_flush_changes_nothing_but_holes(leaving: list[Frame]) -> None:
    showing = Showing(Session(BRIEF, SIZE))
    outputs: list[Output] = []
    for frame in leaving:
        outputs += showing.shown([frame])
        outputs += showing.rest() if frame.index in (2, 3, 9) else []
    assert_same_outside_holes([*outputs, *showing.rest()], whole(leaving, AT_ONCE))


def test_without_lookahead_a_frame_says_what_it_said(leaving: list[Frame]) -> None:
    for output in whole(leaving, AT_ONCE):
        filled = output.holes.any() and not output.painted_pixels
        assert output.provenance is not Provenance.FILLED or filled


def test_a_quick_painter_paints_in_each_frame_what_is_left(leaving: list[Frame]) -> None:
    session = Session(BRIEF, SIZE, habits=Habits(at_once=True))
    frames = [replace(frame, keyframe=frame.index == 8) for frame in leaving[:9]]
    showing = Showing(session, painter=Grain(holes_colour=RED))
    assert [len(outputs) for outputs in showing.show(frames[:8])] == [1, *[0] * 7]
    outputs = showing.shown(frames[8:])
    painted = 0
    for output in outputs[:-1]:
        assert output.provenance is Provenance.WARPED
        left = _inside(output.holes, BRIEF.feather)
        assert (output.picture[left] == RED).all()
        assert bool(output.painted_pixels) == bool(output.holes.any())
        painted += int(left.sum())
    assert painted > 100


def test_the_identity_shows_each_frame_itself_in_its_holes(leaving: list[Frame]) -> None:
    session = Session(BRIEF, SIZE, habits=Identity.habits)
    for output in Showing(session, painter=Identity()).whole(leaving[:8]):
        left = _inside(output.holes, BRIEF.feather)
        np.testing.assert_array_equal(output.picture[left], output.raw[left])
        assert output.provenance is not Provenance.FILLED


# What comes and goes while frames wait

SEEN_S = lookahead.LASTING_S
NEVER_PAINTED = BRIEF.changed({"repaint_gap_s": 1000.0})


def visited(frames: int, first: int, last: int) -> list[Frame]:
    """A wall that stands still, and something before it from one frame to another, that moves by 2 pixels a frame."""
    wall, thing = noise_texture(SIZE, 3), noise_texture((48, 48), 9, base=(60, 60, 200))
    pictures = [wall.copy() for _ in range(frames)]
    for i in range(first, last + 1):
        pictures[i][30:78, 40 + 2 * i : 88 + 2 * i] = thing
    return as_frames(pictures)


def there(index: int) -> tuple[slice, slice]:
    """Where it is in a frame, without a rim: holes, and so paint, grow over its outline and are softened there."""
    return slice(38, 70), slice(48 + 2 * index, 80 + 2 * index)


def test_what_comes_and_goes_is_painted_once_and_seen_in_all() -> None:
    painter = Grain(holes_colour=RED)
    outputs = Showing(Session(NEVER_PAINTED, SIZE), painter=painter).whole(visited(14, 3, 9))
    assert indices(outputs) == list(range(14))
    assert painter.calls == 2
    painted = [output.index for output in outputs if output.painted_pixels]
    assert painted[0] == 0
    assert 3 <= painted[1] <= 9
    for index in range(3, 10):
        red = np.abs(outputs[index].picture[there(index)].astype(int) - RED).max(axis=2) < 8
        assert red.mean() > 0.95, index
    assert len({job.id for job in painter.jobs}) == len(painter.jobs)


def test_what_is_seen_too_shortly_to_be_painted_is_filled() -> None:
    """It would flash."""
    frames = visited(10, 5, 4 + int(SEEN_S * 25) - 1)
    outputs = Showing(Session(NEVER_PAINTED, SIZE), painter=Grain(holes_colour=RED)).whole(frames)
    assert [output.index for output in outputs if output.painted_pixels] == [0]
    assert outputs[6].provenance is Provenance.FILLED
    assert (np.abs(outputs[6].picture[there(6)].astype(int) - frames[6].bgr[there(6)]) < 60).mean() > 0.9


def test_what_was_painted_between_changes_nothing_but_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = visited(14, 3, 9)
    outputs = whole(frames, NEVER_PAINTED)
    monkeypatch.setattr(lookahead, "MOST_PAINTINGS", 0)
    plain = whole(frames, NEVER_PAINTED)
    for one, other in zip(outputs, plain, strict=True):
        np.testing.assert_array_equal(one.picture[~other.holes], other.picture[~other.holes])
        assert not (one.holes & ~other.holes).any()
    assert [output.index for output in plain if output.provenance is Provenance.FILLED] == list(range(3, 10))
    assert [output.index for output in outputs if output.painted_pixels][1:] != []


def test_frames_come_filled_when_what_came_and_went_cannot_be_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = visited(14, 3, 9)
    outputs = Showing(Session(NEVER_PAINTED, SIZE), painter=Grain(fail_at=1)).whole(frames)
    monkeypatch.setattr(lookahead, "MOST_PAINTINGS", 0)
    assert_same(outputs, whole(frames, NEVER_PAINTED))


def test_what_was_painted_is_seen_though_the_painter_fails_then(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = visited(30, 3, 9)
    other = visited(30, 18, 24)
    frames[15:] = other[15:]
    outputs = Showing(Session(NEVER_PAINTED, SIZE), painter=Grain(holes_colour=RED, fail_at=2)).whole(frames)
    assert indices(outputs) == list(range(30))
    painted = [output.index for output in outputs if output.painted_pixels][1:]
    assert len(painted) == 1
    red = np.abs(outputs[painted[0]].picture[there(painted[0])].astype(int) - RED).max(axis=2) < 8
    assert red.mean() > 0.95


def test_a_painter_for_whom_it_is_too_small_is_not_asked() -> None:
    session = Session(NEVER_PAINTED, SIZE, habits=Habits(least_hole=80 * 80))
    painter = Grain()
    outputs = Showing(session, painter=painter).whole(visited(14, 3, 9))
    assert painter.calls == 1
    assert indices(outputs) == list(range(14))


# Keyframes that come in over the frames that wait for them

FADE_S = 0.16
MARKED = BRIEF.changed({"look": "stills", "keyframes": "marked", "fade_s": FADE_S})
DARK, LIGHT = 60, 160


def standing(frames: int, **stills: int) -> list[Frame]:
    """A wall that stands still, marked where it is painted in one level: `at_4=60`."""
    levels = {int(name.removeprefix("at_")): level for name, level in stills.items()}
    wall = noise_texture(SIZE, 3)
    return [
        replace(frame, keyframe=True, controls={"still": np.full_like(wall, levels[frame.index])})
        if frame.index in levels
        else frame
        for frame in as_frames([wall] * frames)
    ]


def by_hand(brief: Brief = MARKED, flow: FlowEngine | None = None) -> Showing:
    return Showing(Session(brief, SIZE, habits=Stills.habits), flow=flow or Dis(), painter=Stills())


def levels(outputs: Sequence[Output]) -> list[float]:
    """The level of each picture's middle."""
    return [float(output.picture[20:-20, 20:-20].mean()) for output in outputs]


def test_a_keyframe_comes_in_over_the_frames_that_wait_for_it_and_is_whole_in_its_own() -> None:
    showing = by_hand()
    outputs = showing.whole(standing(14, at_0=DARK, at_10=LIGHT))
    shares = [(level - DARK) / (LIGHT - DARK) for level in levels(outputs)]
    assert shares == pytest.approx([0] * 7 + [0.25, 0.5, 0.75] + [1] * 4, abs=0.01)
    assert (outputs[10].picture == LIGHT).all()
    assert (outputs[13].picture == LIGHT).all()
    assert [output.index for output in outputs if output.keyframe] == [0, 10]


def test_a_keyframe_comes_in_within_the_frames_that_there_are() -> None:
    outputs = by_hand().whole(standing(5, at_0=DARK, at_3=LIGHT))
    shares = [(level - DARK) / (LIGHT - DARK) for level in levels(outputs)]
    assert shares == pytest.approx([0, 1 / 3, 2 / 3, 1, 1], abs=0.01)


def test_a_still_after_a_still_is_whole_in_its_own_frame() -> None:
    """Nothing waits that it could come in over."""
    frames = standing(8, at_0=60, at_1=90, at_2=120, at_3=150, at_6=180)
    outputs = by_hand().whole(frames)
    assert [levels(outputs)[i] for i in (0, 1, 2, 3, 6, 7)] == [60, 90, 120, 150, 180, 180]


def test_a_keyframe_comes_in_before_its_frame_whatever_painter_it_is_of() -> None:
    """Also if holes may be painted again, and if there were holes."""
    brief = MARKED.changed({"repaint_gap_s": 0.3})
    showing = Showing(Session(brief, SIZE), painter=Stills())
    outputs = showing.whole(standing(30, at_0=DARK, at_10=LIGHT, at_25=DARK))
    shares = [(level - DARK) / (LIGHT - DARK) for level in levels(outputs)]
    fade = [0.25, 0.5, 0.75]
    assert shares == pytest.approx([0] * 7 + fade + [1] * 12 + fade[::-1] + [0] * 5, abs=0.01)


@pytest.mark.parametrize("times", [(0, 1, 2, 5, 5, 5), (5, 6, 7, 8, 2, 1), (3, 3, 3, 3, 3, 3)])
def test_time_that_stands_still_or_begins_anew_at_a_keyframe_is_no_error(times: tuple[int, ...]) -> None:
    frames = standing(6, at_0=DARK, at_5=LIGHT)
    frames = [replace(frame, pts=Fraction(time, 25)) for frame, time in zip(frames, times, strict=True)]
    outputs = by_hand().whole(frames)
    assert indices(outputs) == list(range(6))
    assert levels(outputs)[0] == DARK
    assert levels(outputs)[5] == LIGHT


def test_frames_of_a_quick_painter_go_one_by_one(leaving: list[Frame]) -> None:
    """So that what comes reaches back as far as they may wait. They have holes."""
    still = np.full_like(leaving[0].bgr, DARK)
    frames = [replace(leaving[0], keyframe=True, controls={"still": still}), *leaving[1:14]]
    frames[13] = replace(frames[13], keyframe=True, controls={"still": np.full_like(still, LIGHT)})
    showing = by_hand(MARKED.changed({"lookahead_s": 0.4}))
    counts = [len(outputs) for outputs in showing.show(frames)]
    assert counts == [1, *[0] * 10, 1, 1, 11]


def test_for_want_of_room_they_go_one_by_one_too(leaving: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    still = np.full_like(leaving[0].bgr, DARK)
    frames = [replace(leaving[0], keyframe=True, controls={"still": still}), *leaving[1:14]]
    monkeypatch.setattr(lookahead, "MAX_WAITING", 5)
    assert [len(outputs) for outputs in by_hand().show(frames)] == [1, *[0] * 4, *[1] * 9]
    monkeypatch.setattr(lookahead, "MAX_WAITING", 512)
    showing = by_hand()
    showing.show(frames[:4])
    each = showing.session._waiting[0].nbytes
    monkeypatch.setattr(lookahead, "MAX_WAITING_BYTES", 5 * each - each // 2)
    assert [len(outputs) for outputs in by_hand().show(frames)] == [1, *[0] * 4, *[1] * 9]


def test_frames_wait_as_long_as_a_keyframe_takes_to_come_in() -> None:
    assert [len(outputs) for outputs in by_hand().show(standing(10, at_0=DARK))] == [1, 0, 0, 0, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "changes", [{"fade_s": 0.0}, {"keyframes": "auto", "repaint_gap_s": 0.0}], ids=["no fade", "they are let in lazily"]
)
def test_frames_do_not_wait_for_keyframes_that_do_not_come_in_over_them(changes: dict[str, Any]) -> None:
    showing = by_hand(MARKED.changed(changes))
    assert [len(outputs) for outputs in showing.show(standing(6, at_0=DARK))] == [1] * 6


def test_without_a_fade_a_keyframe_is_there_at_once() -> None:
    outputs = by_hand(MARKED.changed({"fade_s": 0.0})).whole(standing(12, at_0=DARK, at_10=LIGHT))
    assert levels(outputs) == [DARK] * 10 + [LIGHT] * 2


def test_nothing_comes_in_over_a_cut() -> None:
    other = film(two_layers(SIZE, seed=40), 1, SIZE)[0]
    frames = standing(9, at_0=DARK, at_8=LIGHT)
    frames[8:] = [replace(frames[8], bgr=other)]
    outputs = by_hand().whole(frames)
    assert levels(outputs) == [DARK] * 8 + [LIGHT]


def test_a_keyframe_comes_in_along_the_motion_of_the_film() -> None:
    """Over what is seen in it alone: that which hides the wall in the frames before is not."""
    wall = film(two_layers(SIZE, background=(-2.0, 0.0), foreground=(0.0, 0.0))[:1], 7, SIZE)
    last = wall[6].copy()
    last[:, 80:] = LIGHT
    frames = [
        replace(frame, controls={"still": still}, keyframe=mark)
        for frame, still, mark in (
            (each, {0: wall[0], 6: last}.get(each.index, wall[0]), each.index in (0, 6)) for each in as_frames(wall)
        )
    ]
    shown = by_hand().whole(frames)[4].picture.astype(int)  # half of it has come
    off = np.abs(shown - wall[4])[10:-10].mean(axis=(0, 2))
    assert off[20:78].mean() < 3
    assert np.abs(shown - (wall[4].astype(int) + LIGHT) / 2)[10:-10, 90:140].mean() < 8


def test_frames_come_as_they_are_when_flow_fails_while_a_keyframe_comes_in() -> None:
    blind = BlindBack(0)
    outputs = by_hand(flow=blind).whole(standing(12, at_0=DARK, at_10=LIGHT))
    assert blind.failures == 1
    assert levels(outputs) == [DARK] * 10 + [LIGHT] * 2


# Changes, failures, snapshots


def test_a_change_comes_when_nothing_waits(leaving: list[Frame]) -> None:
    showing = Showing(Session(BRIEF, SIZE))
    showing.show(leaving[:3])
    session, darker = showing.session, BRIEF.changed({"seed": 5})
    changes: list[Callable[[], int]] = [lambda: session.update(darker), session.rekey]
    for change in changes:
        with pytest.raises(ValueError, match=r"frames \(1, 2\) wait"):
            change()
        assert (session.epoch, session.brief, session.waiting) == (0, BRIEF, (1, 2))
    assert {output.epoch for output in showing.rest()} == {0}
    assert session.update(darker) == 1
    assert [each.epoch for each in showing.shown(leaving[3:4])] == [1]
    showing.show(leaving[4:6])
    showing.rest()
    assert session.rekey() == 2
    assert [(each.epoch, each.keyframe) for each in showing.shown(leaving[6:7])] == [(2, True)]


def test_frames_wait_on_when_a_painter_fails(leaving: list[Frame]) -> None:
    """The frame is tried once more: the film is as if nothing had happened. It is left out: the others come."""
    for again in (True, False):
        showing = Showing(Session(BRIEF, SIZE), painter=Grain(fail_at=1))
        outputs = showing.shown(leaving[:5])
        state = showing.session.snapshot()
        with pytest.raises(RefusedError, match="out of paint"):
            showing.show(leaving[5:6])
        assert showing.session.waiting == (1, 2, 3, 4)
        assert showing.session.snapshot() == state
        outputs += showing.whole(leaving[5 if again else 6 :])
        if again:
            assert_same(outputs, whole(leaving))
        else:
            assert indices(outputs) == [*range(5), *range(6, len(leaving))]


def test_frames_wait_on_when_the_keyframe_after_a_cut_fails(eventful: list[Frame]) -> None:
    marked = next(i for i in range(9, 18) if eventful[i].keyframe)
    assert marked > 9  # so that the keyframe of frame 9 is the cut's
    calls = Grain()
    Showing(Session(BRIEF, SIZE), painter=calls).show(eventful[:9])
    showing = Showing(Session(BRIEF, SIZE), painter=Grain(fail_at=calls.calls))
    outputs = showing.shown(eventful[:9])
    with pytest.raises(RefusedError, match="out of paint"):
        showing.show(eventful[9:10])
    assert showing.session.epoch == 0
    outputs += showing.whole(eventful[9:])
    assert_same(outputs, whole(eventful))


class BlindBack(Dis):
    """A flow engine that finds nothing in a frame that is not the newest, as often as it may."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after
        self._newest: Features | None = None
        self.failures = 0

    def encode(self, pictures: Sequence[Picture]) -> list[Features]:
        features = super().encode(pictures)
        self._newest = features[0]
        return features

    def match(self, requests: Sequence[MatchRequest]) -> list[list[Match]]:
        if any(each.target is not self._newest for each in requests):
            self._left -= 1
            if self._left < 0:
                self.failures += 1
                raise RefusedError(Code.FLOW_FAILED, "it went dark")
        return super().match(requests)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_frames_come_filled_when_flow_fails_while_looking_back(leaving: list[Frame], after: int) -> None:
    blind = BlindBack(after)
    outputs = Showing(Session(BRIEF, SIZE), flow=blind).whole(leaving[:6])
    assert blind.failures == 1
    assert_same(outputs, whole(leaving[:6], AT_ONCE))
    assert [output.provenance for output in outputs[1:5]] == [Provenance.FILLED] * 4


def test_frames_come_filled_when_a_quick_painter_fails_in_the_end(leaving: list[Frame]) -> None:
    session = Session(BRIEF, SIZE, habits=Habits(at_once=True))
    showing = Showing(session, painter=Grain(fail_at=2))
    showing.show(leaving[:4])
    outputs = showing.rest()
    assert indices(outputs) == [1, 2, 3]
    kinds = [output.provenance for output in outputs]
    assert kinds == [Provenance.WARPED, Provenance.FILLED, Provenance.WARPED]


@pytest.mark.parametrize("keyframes", ["auto", "marked"])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_film_cut_while_frames_wait_equals_the_film_uncut(
    eventful: list[Frame], at_once: bool, keyframes: str
) -> None:
    """The snapshot is that before the first frame that waits, from which on they come again."""
    brief, habits = BRIEF.changed({"fade_s": 0.12, "max_hops": 3, "keyframes": keyframes}), Habits(at_once=at_once)
    uncut = whole(eventful, brief, habits=habits)
    assert indices(uncut) == list(range(len(eventful)))
    waited = 0
    showing = Showing(Session(brief, SIZE, habits=habits))
    before: list[Output] = []
    for cut, frame in enumerate(eventful):
        before += showing.shown([frame])
        if cut % 3 != 1:
            continue
        waited += len(showing.session.waiting)
        after = Showing(Session(Brief(look="other"), SIZE, habits=habits))
        after.session.restore(showing.session.snapshot())
        assert after.session.waiting == ()
        assert_same([*before, *after.whole(eventful[len(before) :])], uncut)
    assert waited > 6


def test_a_session_that_is_restored_forgets_what_waits(leaving: list[Frame]) -> None:
    showing = Showing(Session(BRIEF, SIZE))
    outputs = showing.shown(leaving[:4])
    showing.session.restore(showing.session.snapshot())
    assert showing.session.waiting == ()
    assert_same([*outputs, *showing.whole(leaving[1:])], whole(leaving))


def test_a_film_painted_frame_by_frame_is_the_same_each_time(leaving: list[Frame]) -> None:
    assert_same(whole(leaving), whole(leaving))
    session = Session(BRIEF, SIZE)
    outputs = paint(leaving, Grain(), session=session) + answered(session.finish(), Dis(), Grain())
    assert_same(outputs, whole(leaving))
