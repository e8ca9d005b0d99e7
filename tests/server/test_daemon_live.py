"""Pacing `live` in a real daemon: every frame is answered in time, whatever the painter does."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.camera import FRAME_MS, Camera
from support.clips import coded, frames
from support.daemon import Daemon, Wire, daemon
from support.scenes import film, two_layers
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.messages import (
    Ack,
    Close,
    Closed,
    Dropped,
    Error,
    Hold,
    Notice,
    Open,
    Opened,
    Painted,
    Provenance,
    Rekey,
    Source,
    Update,
    Updated,
)

pytestmark = pytest.mark.timing

SIZE = (192, 112)
RATE = 15
SOURCE = Source(width=SIZE[0], height=SIZE[1], rate=RATE)
TINY = Source(width=32, height=16, rate=RATE)
TINY_PAYLOAD = bytes(32 * 16 * 3)
BUSY_S = 1.0
PATIENT_MS = 10_000.0  # a max_delay_ms that nothing is late for
# One keyframe, and no other unless it is asked for; all that is explained at all is taken for sure.
# Its painters paint one colour, whatever the light.
STEADY = Brief(
    keyframe_gap_min_s=1000.0, keyframe_gap_max_s=2000.0, cut_detection=False, hole_limit=1.0, follow_light=False
)
COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}
PAINTERS = ["BusyInPython", "Gated", "Raises", "FailsNow", "Negative"]
MEBIBYTE = 2**20

Picture = NDArray[np.uint8]


def painter(name: str) -> str:
    return f"painters_under_test:{name}"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file without which `Gated` does not paint."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Daemon]:
    painters = ",".join([*map(painter, PAINTERS), "identity", "filters"])
    env = {"WARPAINT_TEST_BUSY_S": str(BUSY_S), "WARPAINT_TEST_GATE": str(gate)}
    flows = "dis,none,flows_under_test:Still"
    with daemon(tmp_path_factory.mktemp("daemon"), "--painters", painters, "--flows", flows, env=env) as made:
        yield made


@pytest.fixture
def wire(running: Daemon, gate: Path) -> Iterator[Wire]:
    gate.unlink(missing_ok=True)
    with Wire(running.address) as made:
        yield made
        made.send(Close(session=0, discard=True))


@pytest.fixture(scope="module")
def clip() -> list[bytes]:
    """A real clip, without a cut."""
    return [picture.tobytes() for picture in frames("bikes", SIZE, stop=45)]


def opened(wire: Wire, name: str = painter("Gated"), *, source: Source = SOURCE, **fields: Any) -> Camera:
    usual: dict[str, Any] = {"brief": STEADY, "max_delay_ms": PATIENT_MS, "flow": "flows_under_test:Still"}
    wire.open(source, painter=name, pacing="live", **(usual | fields))
    return Camera(wire)


def shown(answer: Any) -> Picture:
    return np.frombuffer(answer.payloads[0], np.uint8).reshape(SIZE[1], SIZE[0], 3)


def colour_of(answer: Any) -> tuple[int, int, int]:
    """The colour of a picture that has but one. Raises ValueError."""
    (colour,) = np.unique(shown(answer).reshape(-1, 3), axis=0)
    return tuple(colour.tolist())


def is_colour(answer: Any, name: str) -> bool:
    return bool((shown(answer) == COLOURS[name]).all())


def provenances(answers: Sequence[Any]) -> list[Provenance]:
    return [each.message.provenance for each in answers]


def closed(wire: Wire) -> Any:
    wire.send(Close(session=0))
    return wire.until(Closed).totals


# No frame waits for the painter


def test_frames_go_on_beside_a_painter_that_is_busy_in_python(wire: Wire, clip: list[bytes]) -> None:
    """At fifteen frames a second, while it takes a second for each keyframe."""
    camera = opened(wire, painter("BusyInPython"), flow="dis", brief=STEADY.changed({"fade_s": 0.0}))
    answers = []
    for payload in clip:
        answers.append(camera.shoot(payload))
        time.sleep(1 / RATE)
    assert [each.message.type for each in answers] == ["painted"] * len(clip)
    assert [each.message.pts for each in answers] == [FRAME_MS * index for index in range(len(clip))]
    kinds = provenances(answers)
    held = kinds.index(next(each for each in kinds if each is not Provenance.HELD))
    assert 1 <= held < len(clip)
    assert set(kinds[held:]) <= {Provenance.FILLED, Provenance.WARPED}
    for number, answer in enumerate(answers):
        assert (bytes(answer.payloads[0]) == clip[number]) == (number < held)
    assert [each.message.index for each in answers if each.message.keyframe][:1] == [held]
    assert sorted(each.message.delay_ms for each in answers)[-3] < 1e3 * BUSY_S / 4
    totals = closed(wire)
    assert (totals.received, totals.painted, totals.dropped, totals.failed) == (len(clip), len(clip), 0, 0)
    assert totals.keyframes == 1


def test_a_film_is_warped_from_what_was_painted_while_it_went_on(wire: Wire, clip: list[bytes], gate: Path) -> None:
    """The painter shows the first frame, long after; the paint is seen where that frame's pixels are by then."""
    camera = opened(wire, painter("Gated"), flow="dis", brief=STEADY.changed({"fade_s": 0.0}))
    before = camera.film(clip[:10])
    assert set(provenances(before)) == {Provenance.HELD}
    assert {each.message.epoch for each in before} == {0}
    gate.touch()
    after = camera.film_until(lambda each: each.message.provenance is not Provenance.HELD, clip[10:20])
    assert after[-1].message.keyframe
    assert after[-1].message.holes < 0.9
    painted = np.all(shown(after[-1]) == COLOURS["red"], axis=2)
    assert painted.mean() > 0.1


# While nothing is painted


def test_the_raw_frame_is_seen_while_nothing_is_painted(wire: Wire, clip: list[bytes]) -> None:
    camera = opened(wire)
    for payload in clip[:5]:
        answer = camera.shoot(payload)
        assert bytes(answer.payloads[0]) == payload
        assert answer.message.provenance is Provenance.HELD
        assert (answer.message.holes, answer.message.confidence, answer.message.painted_pixels) == (1.0, 0.0, 0)


def test_the_last_output_is_held_while_nothing_is_painted(wire: Wire, clip: list[bytes]) -> None:
    camera = opened(wire, brief=STEADY.changed({"when_unpainted": "held"}))
    answers = camera.film(clip[:5])
    assert {bytes(each.payloads[0]) for each in answers} == {clip[0]}
    assert [each.message.index for each in answers] == list(range(5))


@pytest.mark.parametrize("when_unpainted", ["raw", "held"])
def test_after_a_cut_what_was_painted_before_is_not_warped(
    wire: Wire, clip: list[bytes], gate: Path, when_unpainted: str
) -> None:
    brief = STEADY.changed({"when_unpainted": when_unpainted, "cut_detection": True, "fade_s": 0.0})
    camera = opened(wire, brief=brief)
    gate.touch()
    camera.film_until(lambda each: is_colour(each, "red"), clip[:1])
    gate.unlink()
    elsewhere = [picture.tobytes() for picture in frames("bigbuckbunny", SIZE, start=100, stop=104)]
    answers = camera.film(elsewhere)
    assert set(provenances(answers)) == {Provenance.HELD}
    for answer, payload in zip(answers, elsewhere, strict=True):
        assert is_colour(answer, "red") if when_unpainted == "held" else bytes(answer.payloads[0]) == payload
    gate.touch()
    [*_, last] = camera.film_until(lambda each: each.message.provenance is not Provenance.HELD, elsewhere[-1:])
    assert last.message.epoch == 1
    assert last.message.keyframe


# Changing one's mind


def test_the_old_painting_goes_on_until_an_update_is_painted(wire: Wire, clip: list[bytes], gate: Path) -> None:
    camera = opened(wire)
    gate.touch()
    camera.film_until(lambda each: is_colour(each, "red"), clip[:1])
    gate.unlink()
    wire.send(Update(session=0, request=5, changes={"look": "green"}))
    between = camera.film(clip[:10])
    assert [each for each in camera.said if isinstance(each, Updated)] == [
        Updated(session=0, request=5, seq=_any(camera))
    ]
    assert {each.message.epoch for each in between} == {0}
    assert all(is_colour(each, "red") for each in between)
    gate.touch()
    answers = camera.film_until(lambda each: is_colour(each, "green"), clip[:1])
    epochs = [each.message.epoch for each in answers]
    assert epochs == sorted(epochs)
    first = answers[epochs.index(1)]
    camera.film(clip[:1])
    seen = [each for each in camera.said if isinstance(each, Updated)][1:]
    assert [(each.request, each.epoch, each.shown_at) for each in seen] == [(5, 1, first.message.index)]
    assert first.message.keyframe
    assert not is_colour(answers[0], "green")  # it fades in


def _any(camera: Camera) -> int | None:
    """The seq of the first `updated`: what it is, is for other tests."""
    return next((each.seq for each in camera.said if isinstance(each, Updated)), None)


def test_of_two_updates_in_a_row_the_later_one_is_painted(wire: Wire, clip: list[bytes], gate: Path) -> None:
    camera = opened(wire, brief=STEADY.changed({"fade_s": 0.0}))
    gate.touch()
    camera.film_until(lambda each: is_colour(each, "red"), clip[:1])
    gate.unlink()
    for request, look in enumerate(("blue", "green")):
        wire.send(Update(session=0, request=request, changes={"look": look}))
        camera.film(clip[:2])
    gate.touch()
    answers = camera.film_until(lambda each: is_colour(each, "green"), clip[:1])
    assert not any(is_colour(each, "blue") for each in answers)
    camera.film(clip[:1])
    shown_at = {each.request: each.shown_at for each in camera.said if isinstance(each, Updated)}
    assert shown_at == dict.fromkeys((0, 1), answers[-1].message.index)


def test_a_change_of_how_it_moves_shows_at_once_and_paints_nothing(wire: Wire, clip: list[bytes], gate: Path) -> None:
    camera = opened(wire)
    gate.touch()
    camera.film_until(lambda each: is_colour(each, "red"), clip[:1])
    gate.unlink()
    wire.send(Update(session=0, request=1, changes={"feather": 0}))
    [answer] = camera.film(clip[:1])
    assert answer.message.epoch == 1
    camera.film(clip[:1])
    assert [each.shown_at for each in camera.said if isinstance(each, Updated)] == [None, answer.message.index]
    assert closed(wire).keyframes == 1


def test_rekey_paints_anew_and_the_old_painting_goes_on_meanwhile(wire: Wire, clip: list[bytes], gate: Path) -> None:
    camera = opened(wire, brief=STEADY.changed({"fade_s": 0.0}))
    gate.touch()
    camera.film_until(lambda each: is_colour(each, "red"), clip[:1])
    gate.unlink()
    wire.send(Rekey(session=0, request=3))
    between = camera.film(clip[:5])
    assert not any(each.message.keyframe for each in between)
    assert all(is_colour(each, "red") for each in between)
    gate.touch()
    [*_, last] = camera.film_until(lambda each: each.message.keyframe, clip[:1])
    camera.film(clip[:1])
    assert [each.shown_at for each in camera.said if isinstance(each, Updated)] == [None, last.message.index]
    assert last.message.epoch == 1
    assert closed(wire).keyframes == 2


# Holding


def test_a_film_on_hold_stands_on_its_last_frame_while_time_goes_on(wire: Wire, clip: list[bytes]) -> None:
    camera = opened(wire)
    camera.film(clip[:3])
    wire.send(Hold(session=0, request=1, on=True))
    answers = camera.film(clip[3:8])
    assert {bytes(each.payloads[0]) for each in answers} == {clip[2]}
    assert [each.message.pts for each in answers] == [FRAME_MS * index for index in range(3, 8)]
    wire.send(Hold(session=0, request=2, on=True))  # said twice
    assert bytes(camera.shoot(clip[8]).payloads[0]) == clip[2]
    wire.send(Hold(session=0, request=3, on=False))
    assert bytes(camera.shoot(clip[9]).payloads[0]) == clip[9]
    assert [each.request for each in camera.said if isinstance(each, Updated)] == [1, 2, 3]


def test_a_film_that_begins_on_hold_stands_on_its_first_frame(wire: Wire, clip: list[bytes]) -> None:
    camera = opened(wire)
    wire.send(Hold(session=0, request=1, on=True))
    assert {bytes(each.payloads[0]) for each in camera.film(clip[:3])} == {clip[0]}


def test_a_new_look_shows_on_the_still(wire: Wire, clip: list[bytes], gate: Path) -> None:
    camera = opened(wire)
    gate.touch()
    camera.film_until(lambda each: is_colour(each, "red"), clip[:1])
    wire.send(Hold(session=0, request=1, on=True))
    camera.film(clip[1:3])
    wire.send(Update(session=0, request=2, changes={"look": "blue"}))
    answers = camera.film_until(lambda each: is_colour(each, "blue"), clip[3:])
    camera.film(clip[:1])
    [seen] = [each for each in camera.said if isinstance(each, Updated) and each.shown_at is not None]
    assert seen.request == 2
    assert seen.shown_at <= answers[-1].message.index
    wire.send(Hold(session=0, request=3, on=False))
    assert is_colour(camera.shoot(clip[4]), "blue")


# What is dropped


def test_of_frames_that_come_too_fast_one_alone_waits(running: Daemon, wire: Wire, clip: list[bytes]) -> None:
    camera = opened(wire, flow="dis")
    answers = [camera.shoot(clip[0])]
    with Wire(running.address) as other:
        for burst in range(6):
            for number in range(8):
                camera.send(clip[number])
            [session] = [each for each in other.status().sessions if each.pacing == "live"]
            assert session.waiting <= 1
            answers += [wire.receive() for _ in range(8)]
            assert max(each.message.index for each in answers if isinstance(each.message, Painted)) == 8 * (burst + 1)
    dropped = [each.message for each in answers if isinstance(each.message, Dropped)]
    assert dropped
    assert {(each.stage, each.reason) for each in dropped} == {("queue", Code.SUPERSEDED)}
    assert sorted(each.message.index for each in answers) == list(range(49))
    painted = [each.message.index for each in answers if isinstance(each.message, Painted)]
    assert painted == sorted(painted)
    totals = closed(wire)
    assert (totals.received, totals.painted, totals.dropped) == (49, len(painted), len(dropped))


def test_who_acknowledges_and_does_not_read_sees_nothing_that_is_old(
    running: Daemon, wire: Wire, clip: list[bytes]
) -> None:
    camera = opened(wire)
    wire.send(Ack(session=0, seq=0))
    with Wire(running.address) as other:

        def answered() -> int:
            [totals] = [each.totals for each in other.status().sessions if each.pacing == "live"]
            return int(totals.painted + totals.dropped)

        for count in range(1, 13):
            camera.send(clip[count])
            deadline = time.monotonic() + 10.0
            while answered() < count and time.monotonic() < deadline:
                time.sleep(0.005)
    answers = [wire.receive() for _ in range(12)]
    kinds = [each.message.type for each in answers]
    assert kinds == ["painted"] * 4 + ["dropped"] * 8
    assert {(each.message.stage, each.message.reason) for each in answers[4:]} == {("send", Code.SLOW_READER)}
    wire.send(Ack(session=0, seq=answers[-1].message.seq))
    assert camera.shoot(clip[13]).message.type == "painted"


def test_a_reader_that_is_deaf_fills_no_memory_and_harms_no_neighbour(running: Daemon, clip: list[bytes]) -> None:
    """It sends 60 MB and takes nothing. Of what it missed, it is told in the end."""
    size = (320, 180)
    payload = bytes(size[0] * size[1] * 3)
    with Wire(running.address, keeps_messages=1) as deaf, Wire(running.address) as good:
        wide = Source(width=size[0], height=size[1], rate=RATE)
        deaf.open(wide, painter="identity", flow="flows_under_test:Still", pacing="live", max_delay_ms=PATIENT_MS)
        good.open(SOURCE, painter="identity", flow="dis", pacing="live", max_delay_ms=PATIENT_MS)
        camera = Camera(good)
        before = good.status().resident_bytes
        for index in range(350):
            deaf.frame(index, payload)
            if index % 10 == 0:
                assert camera.shoot(clip[index // 10]).message.type == "painted"
        status = good.status()
        assert status.resident_bytes - before < 60 * MEBIBYTE
        [session] = [each for each in status.sessions if each.width == wide.width]
        assert session.dropped_at.get("send", 0) + session.dropped_at.get("queue", 0) > 0
        assert closed(good).painted == camera.next_index
        deaf.send(Close(session=0, discard=True))


def test_coded_frames_are_decoded_before_they_are_dropped(running: Daemon, wire: Wire) -> None:
    """Each leans on the one before it: had one been dropped undecoded, none after it could be shown."""
    pictures = [np.ascontiguousarray(picture) for picture in frames("bikes", SIZE, stop=40)]
    source = SOURCE.model_copy(update={"encoding": "h264"})
    camera = opened(wire, source=source, flow="dis")
    answers = []
    payloads = coded(pictures)
    for start in range(0, 40, 8):
        for payload in payloads[start : start + 8]:
            camera.send(payload)
        answers += [wire.receive() for _ in range(8)]
    assert {each.message.type for each in answers} == {"painted", "dropped"}
    assert {each.message.reason for each in answers if isinstance(each.message, Dropped)} == {Code.SUPERSEDED}
    assert max(each.message.index for each in answers if isinstance(each.message, Painted)) == 39
    for each in answers:
        if isinstance(each.message, Painted):  # nothing is painted: the raw frame is seen
            assert np.abs(shown(each).astype(int) - pictures[each.message.index]).mean() < 8


# What is refused


def test_live_without_flow_is_refused(wire: Wire) -> None:
    wire.send(Open(session=0, source=SOURCE, pacing="live", flow="none"))
    error = wire.expect(Error)
    assert (error.session, error.code) == (0, Code.UNSUPPORTED)
    assert "flow" in error.message


def tried(wire: Wire, source: Source, **fields: Any) -> Any:
    """The answer to `open`; what is opened is closed again."""
    wire.send(Open(session=0, source=source, pacing="live", **fields))
    answer = wire.receive().message
    if isinstance(answer, Opened):
        closed(wire)
    return answer


def number_after(words: str, message: str) -> str:
    found = re.search(rf"{words} (\d+)", message)
    assert found is not None, message
    return found[1]


def test_a_rate_that_cannot_be_served_is_refused_and_what_would_fit_fits(wire: Wire) -> None:
    def source(rate: float) -> Source:
        return Source(width=1280, height=720, rate=rate)

    refusal = tried(wire, source(1000.0), max_delay_ms=PATIENT_MS)
    assert (refusal.code, refusal.retry) == (Code.OVERLOADED, "changed")
    found = re.search(r"([\d.]+) frames a second would fit", refusal.message)
    assert found is not None, refusal.message
    assert isinstance(tried(wire, source(float(found[1])), max_delay_ms=PATIENT_MS), Opened)
    faster = source(1.5 * float(found[1]))
    refusal = tried(wire, faster, max_delay_ms=PATIENT_MS)
    assert refusal.code is Code.OVERLOADED
    fewer_pixels = int(number_after("max_pixels", refusal.message))
    assert isinstance(tried(wire, faster, max_delay_ms=PATIENT_MS, max_pixels=fewer_pixels), Opened)


def test_a_frame_that_would_take_too_long_is_refused_and_what_would_fit_fits(wire: Wire) -> None:
    source = Source(width=1280, height=720)
    refusal = tried(wire, source, max_delay_ms=1.0)
    assert (refusal.code, refusal.retry) == (Code.OVERLOADED, "changed")
    enough_ms = shortest_delay(wire, source)
    assert isinstance(tried(wire, source, max_delay_ms=enough_ms), Opened)
    refusal = tried(wire, source, max_delay_ms=0.7 * enough_ms)
    assert refusal.code is Code.OVERLOADED
    fewer_pixels = int(number_after("max_pixels", refusal.message))
    assert isinstance(tried(wire, source, max_delay_ms=0.7 * enough_ms, max_pixels=fewer_pixels), Opened)


def shortest_delay(wire: Wire, source: Source, **fields: Any) -> float:
    """What a refusal says would be long enough, milliseconds."""
    found = re.search(r"max_delay_ms (\d+) would fit", tried(wire, source, max_delay_ms=1.0, **fields).message)
    assert found is not None
    return float(found[1])


# Painters that fail


def test_a_painting_that_fails_is_told_and_asked_for_again_once_at_once(wire: Wire, clip: list[bytes]) -> None:
    """The third time, it waits for two seconds of the film."""
    camera = opened(wire, painter("Raises"))
    told_at: list[int] = []

    def three(_answer: Any) -> bool:
        notices = sum(isinstance(each, Notice) for each in camera.said)
        told_at.extend([camera.pts] * (notices - len(told_at)))
        return notices == 3

    answers = camera.film_until(three, clip[:1])
    assert {each.message.type for each in answers} == {"painted"}
    assert {bytes(each.payloads[0]) for each in answers} == {clip[0]}
    notices = [each for each in camera.said if isinstance(each, Notice)]
    assert {each.code for each in notices} == {Code.PAINTER_FAILED}
    assert all("out of paint" in each.message and "Traceback" not in each.message for each in notices)
    assert told_at[2] - told_at[1] >= 2_000
    assert told_at[1] - told_at[0] < 2_000


def test_a_painter_that_fails_now_and_then_paints_in_the_end(wire: Wire, clip: list[bytes]) -> None:
    camera = opened(wire, painter("FailsNow"))
    for request in range(4):
        wire.send(Rekey(session=0, request=request))
        answers = camera.film_until(lambda each: each.message.keyframe, clip[:1])
        assert {each.message.type for each in answers} == {"painted"}
    assert any(isinstance(each, Notice) for each in camera.said)
    totals = closed(wire)
    assert (totals.failed, totals.dropped, totals.keyframes) == (0, 0, 4)


# Beside others


def test_a_session_that_was_idle_does_not_take_the_time_that_others_used_meanwhile(wire: Wire) -> None:
    """It slept while the live one worked. Now it has much to do, and the other one has its turns all the same."""
    size = (384, 256)
    picture = film(two_layers(size), 1, size)[0].tobytes()
    source = Source(width=size[0], height=size[1])
    camera = opened(wire, "identity", source=source, flow="dis")
    wire.open(source, session=1, painter="identity", brief=STEADY)
    wire.frame(0, picture, session=1)
    wire.expect(Painted)
    camera.film([picture] * 40)
    for index in range(1, 9):
        wire.frame(index, picture, session=1)
    camera.send(picture)
    order = [wire.expect(Painted).session for _ in range(9)]
    assert order.index(0) < 4
    wire.send(Close(session=1))
