"""Control images on their way from the wire to a painter: each with its frame, as large as it, and not kept."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from support.scenes import film, two_layers
from support.studio import Grain, as_frames, drive, paint
from warpaint.engines.base import Frame, PaintDone, Painter, PaintJob, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.engines.painters.identity import Identity
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.messages import Error, FrameIn, Hold, Message, Open, Painted, Result, Source
from warpaint.server import containment, recording, snapshot
from warpaint.server.asks import Encode, MatchAsk
from warpaint.server.codecs import Payload, make_decoder, make_encoder
from warpaint.server.config import Settings
from warpaint.server.exchange import Tray, laid_jobs, taken_jobs
from warpaint.server.items import Arrival
from warpaint.server.line import Outlet
from warpaint.server.live import LiveSession
from warpaint.server.recording import Record, replay
from warpaint.server.session import Session
from warpaint.server.stream import Stream

SIZE = (64, 48)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
NEVER_REKEY: dict[str, Any] = {"keyframe_threshold": 255.0, "keyframe_gap_max_s": 1000.0, "hole_limit": 1.0}
each_pacing = pytest.mark.parametrize("pacing", ["every", "live"])


def image(seed: int, size: tuple[int, int] = SIZE) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


PAYLOAD = image(0).tobytes()


class Easel:
    """A stream, what it says, and the keyframes that its painter, which paints nothing, is asked for."""

    def __init__(self, source: Source = SOURCE, pacing: Any = "every", **fields: Any) -> None:
        self.said: list[Message] = []
        opening = Open(session=0, source=source, pacing=pacing, max_delay_ms=60_000.0, **fields)
        self.outlet = Outlet()
        self.stream = Stream(
            opening, Settings(), ["plain"], "dis" if pacing == "live" else "none", self._send, self.outlet
        )

    def frame(self, index: int, images: Mapping[str, bytes], payload: bytes = PAYLOAD) -> list[PaintJob]:
        """The jobs of one frame."""
        message = FrameIn(session=0, index=index, pts=40 * index, controls=tuple(images))
        return self.item(Arrival(message, payload, time.monotonic(), tuple(images.values())))

    def item(self, item: Arrival | Hold) -> list[PaintJob]:
        """The jobs of whatever a client sends."""
        self.outlet.taken = self.outlet.given
        self.stream.put(item)
        serving, flow = self.stream.serve(self.stream.inbox.popleft()), Dis()
        jobs: list[PaintJob] = []
        answer: Any = None
        while True:
            try:
                ask = serving.send(answer)
            except StopIteration:
                return jobs + [job for ask in self.stream.take_jobs() for job in ask.jobs]
            if isinstance(ask, Encode):
                answer = flow.encode(ask.pictures)
            elif isinstance(ask, MatchAsk):
                [answer] = flow.match([ask.request])
            else:
                jobs += ask.jobs
                answer = [PaintDone(job.id, job.epoch, job.frame.bgr) for job in ask.jobs]

    def _send(self, message: Message, _payloads: Sequence[Any]) -> None:
        self.said.append(message)


# Into a session


@each_pacing
def test_images_come_to_the_painter_with_their_frame(pacing: Any) -> None:
    easel = Easel(pacing=pacing)
    [job] = easel.frame(0, {"depth": image(1).tobytes(), "pose": image(2).tobytes()})
    assert list(job.frame.controls) == ["depth", "pose"]
    np.testing.assert_array_equal(job.frame.controls["depth"], image(1))
    np.testing.assert_array_equal(job.frame.controls["pose"], image(2))
    assert Easel(pacing=pacing).frame(0, {})[0].frame.controls == {}


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_images_are_turned_and_scaled_as_their_frame(rotation: Any) -> None:
    source, picture = Source(width=100, height=66, rotation=rotation), image(3, (100, 66))
    [job] = Easel(source, max_pixels=4_096).frame(0, {"depth": picture.tobytes()}, picture.tobytes())
    assert job.frame.bgr.shape[0] * job.frame.bgr.shape[1] <= 4_096
    np.testing.assert_array_equal(job.frame.controls["depth"], job.frame.bgr)


@each_pacing
@pytest.mark.parametrize("encoding", ["raw", "jpeg", "h264"])
@pytest.mark.parametrize("wrong", [b"", image(1).tobytes()[:-1], image(1, (48, 65)).tobytes()], ids=len)
def test_an_image_of_another_length_fails_its_frame_alone(pacing: Any, encoding: Any, wrong: bytes) -> None:
    """A coded stream goes on: its picture was decoded all the same."""
    encoder = make_encoder(Result(encoding=encoding), SOURCE)
    payloads = [bytes(each.data) for seed in range(3) for each in encoder.encode(image(seed), seed)]
    easel = Easel(SOURCE.model_copy(update={"encoding": encoding}), pacing)
    right = image(4).tobytes()
    easel.frame(0, {"depth": right}, payloads[0])
    assert easel.frame(1, {"pose": right, "depth": wrong}, payloads[1]) == []
    easel.frame(2, {"depth": right}, payloads[2])
    before, error, after = easel.said
    assert isinstance(before, Painted)
    assert isinstance(error, Error)
    assert (error.code, error.index) == (Code.BAD_PAYLOAD, 1)
    assert error.message == f"the control image 'depth' has {len(wrong)} bytes; 64x48 as bgr24 has 9216"
    assert isinstance(after, Painted)
    totals = easel.stream.status("it").totals
    assert (totals.received, totals.painted, totals.failed) == (3, 2, 1)


class Late:
    """A decoder that gives each picture with the next payload."""

    def __init__(self, source: Source) -> None:
        self._decoder = make_decoder(source)
        self._held: list[tuple[int, Picture]] = []

    def decode(self, payload: Payload, tag: int) -> list[tuple[int, Picture]]:
        given, self._held = self._held, self._decoder.decode(payload, tag)
        return given

    def flush(self) -> list[tuple[int, Picture]]:
        return self._held

    def close(self) -> None:
        self._decoder.close()


def test_images_wait_for_a_picture_that_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warpaint.server.stream.make_decoder", Late)
    monkeypatch.setattr(Stream, "_drop", lambda *_: None)  # of a payload that completes no picture
    easel = Easel()
    jobs = [job for index in range(3) for job in easel.frame(index, {"depth": image(index).tobytes()})]
    assert [job.frame.index for job in jobs] == [0, 1]
    for job in jobs:
        np.testing.assert_array_equal(job.frame.controls["depth"], image(job.frame.index))


def test_while_a_film_is_held_its_images_are_those_of_the_picture_that_is_held() -> None:
    easel = Easel(pacing="live")
    easel.frame(0, {"depth": image(1).tobytes()})
    easel.item(Hold(session=0, request=1, on=True))
    easel.stream._session.rekey()
    [job] = easel.frame(1, {"depth": image(2).tobytes()}, image(3).tobytes())
    np.testing.assert_array_equal(job.frame.bgr, image(0))
    np.testing.assert_array_equal(job.frame.controls["depth"], image(1))
    easel.item(Hold(session=0, request=2, on=False))
    easel.stream._session.rekey()
    [job] = easel.frame(2, {"depth": image(2).tobytes()}, image(3).tobytes())
    np.testing.assert_array_equal(job.frame.controls["depth"], image(2))


def test_a_held_picture_that_had_no_images_takes_those_that_come() -> None:
    easel = Easel(pacing="live")
    easel.frame(0, {})
    easel.item(Hold(session=0, request=1, on=True))
    easel.stream._session.rekey()
    [job] = easel.frame(1, {"depth": image(2).tobytes()})
    np.testing.assert_array_equal(job.frame.controls["depth"], image(2))


# In a session


@pytest.fixture(scope="module")
def moving() -> list[Frame]:
    """A film with holes, and the frames themselves for control images."""
    frames = as_frames(film(two_layers((192, 128), background=(0.6, 0.3), foreground=(-4.0, 1.0)), 8, (192, 128)))
    return [replace(each, controls={"depth": each.bgr}) for each in frames]


def painted_live(frames: Sequence[Frame], painter: Painter) -> LiveSession:
    session = LiveSession(Brief(look="grain", **NEVER_REKEY), (192, 128))
    for frame in frames:
        drive(session, frame, Dis(), painter)
        for ask in session.take_jobs():
            session.adopt(painter.paint(ask.jobs, lambda: False))
    return session


def painted_each(frames: Sequence[Frame], painter: Painter) -> Session:
    session = Session(Brief(look="grain", **NEVER_REKEY), (192, 128))
    paint(frames, painter, session=session)
    return session


each_session = pytest.mark.parametrize("painted", [painted_each, painted_live])


@each_session
def test_images_are_cropped_as_the_holes_are(moving: list[Frame], painted: Callable[..., Any]) -> None:
    painter = Grain()
    painted(moving, painter)
    assert len([job for job in painter.jobs if job.holes is not None]) > 2
    for job in painter.jobs:
        np.testing.assert_array_equal(job.frame.controls["depth"], job.frame.bgr)


@each_session
def test_no_image_is_kept_or_written_down(moving: list[Frame], painted: Callable[..., Any]) -> None:
    session = painted(moving, Grain())
    references = session.state().references
    assert all(not each.frame.controls for each in (*references.kept.values(), references.last))
    alone = painted([frame.alone for frame in moving], Grain())
    assert session.nbytes == alone.nbytes
    assert session.snapshot() == alone.snapshot()
    last = snapshot.load(session.snapshot()).references.last
    assert last is not None
    assert last.frame.controls == {}


# Out of it


def job_of(frame: Frame) -> PaintJob:
    return PaintJob(0, 0, frame, Brief(), 0, (0, 0), SIZE)


def test_images_reach_the_process_of_a_painter() -> None:
    """Crops are not contiguous."""
    frame = Frame(
        5, Fraction(1, 5), image(1)[8:40, 8:40], {"depth": image(2)[8:40, 8:40], "pose": image(3)[8:40, 8:40]}
    )
    descriptor = os.memfd_create("tray")
    try:
        tray = Tray(descriptor)
        plain = msgpack.unpackb(msgpack.packb(laid_jobs(tray, [job_of(frame), job_of(frame.alone)])))
        whole, alone = taken_jobs(tray, plain)
    finally:
        os.close(descriptor)
    assert list(whole.frame.controls) == ["depth", "pose"]
    for kind in frame.controls:
        np.testing.assert_array_equal(whole.frame.controls[kind], frame.controls[kind])
    np.testing.assert_array_equal(whole.frame.bgr, frame.bgr)
    assert alone.frame.controls == {}


class Scribbles(Identity):
    """Writes into what it is given."""

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        jobs[0].frame.controls["depth"][0, 0] = 0
        return super().paint(jobs, cancelled)


def test_a_painter_cannot_write_into_images() -> None:
    given = image(2)
    [done] = containment.paint("it", Scribbles(), [job_of(Frame(0, Fraction(0), image(1), {"depth": given}))], bool)
    assert done.error is Code.PAINTER_FAILED
    assert "read-only" in done.why
    np.testing.assert_array_equal(given, image(2))


def test_images_are_recorded(tmp_path: Path) -> None:
    frame = Frame(0, Fraction(0), image(1), {"depth": image(2)})
    record = Record(tmp_path / "it.events", Brief(), SIZE)
    for each in (frame, replace(frame.alone, index=1, pts=Fraction(1, 25))):
        record.add("step", each)
    record.close()
    assert [output.index for output in replay(tmp_path / "it.events", Dis())] == [0, 1]
    with (tmp_path / "it.events").open("rb") as file:
        _, first, second = msgpack.Unpacker(file)
    np.testing.assert_array_equal(recording._read_frame(first["value"]).controls["depth"], image(2))
    assert "controls" not in second["value"]  # as older records have it
    assert recording._read_frame(second["value"]).controls == {}
