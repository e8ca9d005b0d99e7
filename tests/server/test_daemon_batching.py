"""A painter that batches, in a real daemon: live sessions that wait for it at the same moment share a call."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.camera import Camera
from support.daemon import Daemon, Wire, daemon
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.messages import Close, Closed, Error, FrameIn, Notice, Painted, Source, Update

SIZE = (32, 16)
SOURCE = Source(width=SIZE[0], height=SIZE[1], rate=5)
PICTURE = bytes(SIZE[0] * SIZE[1] * 3)
# One keyframe, and no other unless it is asked for; it is seen at once.
STEADY = Brief(keyframe_gap_min_s=1000.0, keyframe_gap_max_s=2000.0, cut_detection=False, hole_limit=1.0, fade_s=0.0)
PAINTER = "painters_under_test:Together"
EXHAUSTED = "painters_under_test:Exhausted"
TIMEOUT_S = 4.0
PATIENT_MS = 10_000.0


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file without which `Together` does not paint."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module", params=["thread", "process"])
def running(tmp_path_factory: pytest.TempPathFactory, gate: Path, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    flags = {
        "--isolation": request.param,
        "--painters": f"{PAINTER},{EXHAUSTED}",
        "--flows": "flows_under_test:Still,none",
        "--paint-timeout-s": str(TIMEOUT_S),
    }
    env = {"WARPAINT_TEST_GATE": str(gate)}
    with daemon(tmp_path_factory.mktemp("daemon"), *(part for pair in flags.items() for part in pair), env=env) as made:
        yield made


class Studio:
    """Several live sessions of one daemon, each over a connection of its own."""

    def __init__(self, running: Daemon) -> None:
        self._address = running.address
        self._calls = 0
        self.wires: list[Wire] = []
        self._calls = self.calls

    def __enter__(self) -> "Studio":
        return self

    def __exit__(self, *_: object) -> None:
        for wire in list(self.wires):
            self.end(wire)

    def end(self, wire: Wire) -> None:
        """Ends a session, and what it waits for."""
        self.wires.remove(wire)
        wire.send(Close(session=0, discard=True))
        wire.until(Closed)
        wire.__exit__()

    def live(self, look: str = "count") -> Camera:
        """A live session that waits for its keyframe."""
        camera = Camera(self._opened(look, "live", flow="flows_under_test:Still", max_delay_ms=PATIENT_MS))
        for answer in camera.film([PICTURE] * 3):  # after the second is answered, the keyframe is asked for
            assert answer.message.type == "painted"
        return camera

    def every(self) -> Camera:
        """A session of pacing `every` with a frame on its way."""
        camera = Camera(self._opened("count", "every", flow="none"))
        camera.send(PICTURE)
        return camera

    def _opened(self, look: str, pacing: str, **fields: Any) -> Wire:
        wire = Wire(self._address)
        wire.open(SOURCE, painter=PAINTER, pacing=pacing, brief=STEADY.changed({"look": look}), **fields)
        self.wires.append(wire)
        return wire

    @property
    def calls(self) -> int:
        """How many there have been since this began."""
        with Wire(self._address) as wire:
            [engine] = [each for each in wire.status().engines if each.name == PAINTER]
        return int(engine.calls) - self._calls


@pytest.fixture
def studio(running: Daemon, gate: Path) -> Iterator[Studio]:
    gate.unlink(missing_ok=True)
    with Studio(running) as made:
        yield made


def jobs_of(answer: Any) -> int:
    """How many jobs the call had that a picture was painted in; 0: it is not painted yet."""
    (level,) = np.unique(np.frombuffer(answer.payloads[0], np.uint8))
    return int(level) // 10


def shared(camera: Camera) -> int:
    """How many jobs the call had in which a live session's keyframe was painted."""
    return jobs_of(camera.film_until(lambda each: jobs_of(each) > 0, [PICTURE])[-1])


def test_three_live_sessions_that_wait_share_a_call(studio: Studio, gate: Path) -> None:
    first, *waiting = [studio.live() for _ in range(4)]
    gate.touch()
    assert [shared(each) for each in (first, *waiting)] == [1, 3, 3, 3]
    assert studio.calls == 2


def test_a_session_of_pacing_every_never_shares_a_call(studio: Studio, gate: Path) -> None:
    studio.live()
    alone, others = [studio.every(), studio.every()], [studio.live(), studio.live()]
    gate.touch()
    assert [jobs_of(each.wire.receive()) for each in alone] == [1, 1]
    assert [shared(each) for each in others] == [2, 2]
    assert studio.calls == 4


def test_what_is_out_of_date_or_over_before_it_starts_is_not_painted(studio: Studio, gate: Path) -> None:
    studio.live()
    ends, changes, stays = studio.live(), studio.live(), studio.live()
    studio.end(ends.wire)
    changes.wire.send(Update(session=0, request=0, changes={"seed": 5}))
    changes.film([PICTURE] * 3)
    gate.touch()
    assert [shared(each) for each in (changes, stays)] == [2, 2]
    assert studio.calls == 2


def test_those_that_share_a_call_run_out_of_time_together_and_are_painted_in_the_end(
    studio: Studio, gate: Path
) -> None:
    first, stuck, other = studio.live(), studio.live("stuck"), studio.live()
    gate.touch()
    assert shared(first) == 1
    assert [each.wire.until(Notice).code for each in (stuck, other)] == [Code.PAINTER_TIMEOUT] * 2
    stuck.wire.send(Update(session=0, request=0, changes={"look": "count"}))
    assert shared(stuck) >= 1
    assert shared(other) >= 1


def test_a_session_that_the_painter_fails_at_does_not_fail_the_others(studio: Studio, gate: Path) -> None:
    studio.live()
    broken, *others = studio.live("broken"), studio.live(), studio.live()
    gate.touch()
    assert [shared(each) for each in others] == [1, 1]
    assert broken.wire.until(Notice).code is Code.PAINTER_FAILED
    for each in others:
        assert not any(isinstance(said, Notice) for said in each.said)


@pytest.mark.parametrize("pacing", ["every", "live"])
def test_a_device_without_enough_memory_is_told_as_that(running: Daemon, pacing: str) -> None:
    """In `every` the frame fails; in `live` it is seen unpainted, and a notice says why."""
    with Wire(running.address) as wire:
        wire.open(SOURCE, painter=EXHAUSTED, pacing=pacing, flow="flows_under_test:Still")
        wire.send(FrameIn(session=0, index=0, pts=0), PICTURE)
        if pacing == "live":
            assert wire.until(Painted).provenance == "held"
        told = wire.expect(Notice if pacing == "live" else Error)
        assert (told.code, told.message) == (Code.RESOURCE_EXHAUSTED, "2 GB are needed, 1 GB is free")
