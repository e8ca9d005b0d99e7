"""Records of live sessions: played again, they give what was sent, bit for bit."""

import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from support.camera import Camera
from support.clips import frames
from support.daemon import Wire, daemon, not_started
from warpaint.engines.flow.dis import Dis
from warpaint.proto.brief import Brief
from warpaint.proto.messages import Close, Closed, Hold, Provenance, Rekey, Resume, Resumed, Source, Update
from warpaint.server.recording import Record, RecordError, replay

SIZE = (192, 112)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
LIVE: dict[str, Any] = {"pacing": "live", "painter": "filters", "max_delay_ms": 10_000.0}

Picture = NDArray[np.uint8]


def clip(count: int, start: int = 0) -> list[bytes]:
    return [picture.tobytes() for picture in frames("bikes", SIZE, start=start, stop=start + count)]


def painted(answers: Sequence[Any]) -> dict[int, bytes]:
    """The pictures that were sent, by index."""
    return {each.message.index: bytes(each.payloads[0]) for each in answers if each.message.type == "painted"}


def played(path: Path) -> dict[int, bytes]:
    return {output.index: output.picture.tobytes() for output in replay(path, Dis())}


def test_a_record_gives_the_same_pictures(tmp_path: Path) -> None:
    """With updates, rekeys, a still, a cut, and whatever was painted whenever it was."""
    with daemon(tmp_path, "--record-dir", str(tmp_path)) as running, Wire(running.address) as wire:
        wire.open(SOURCE, brief=Brief(look="poster", fade_s=0.3), **LIVE)
        camera, bikes = Camera(wire), clip(40)
        answers = camera.film_until(lambda each: each.message.provenance is not Provenance.HELD, bikes)
        answers += camera.film(bikes[:10])
        wire.send(Update(session=0, request=1, changes={"look": "ink", "feather": 1}))
        answers += camera.film(bikes[10:20])
        wire.send(Rekey(session=0, request=2))
        answers += camera.film_until(lambda each: each.message.keyframe, bikes[20:25])
        wire.send(Hold(session=0, request=3, on=True))
        answers += camera.film(bikes[25:30])
        wire.send(Hold(session=0, request=4, on=False))
        answers += camera.film([picture.tobytes() for picture in frames("bigbuckbunny", SIZE, start=100, stop=110)])
        answers += camera.film_until(lambda each: each.message.keyframe, bikes[30:35])
        for payload in bikes:  # too fast
            camera.send(payload)
        answers += [wire.receive() for _ in bikes]
        wire.send(Close(session=0))
        wire.until(Closed)
    [path] = tmp_path.glob("*.events")
    sent, again = painted(answers), played(path)
    assert len(sent) > 35
    assert len({each.message.epoch for each in answers if each.message.type == "painted"}) > 3
    assert [index for index in sent if again[index] != sent[index]] == []
    assert len(set(sent.values())) > 25


def test_a_record_of_a_session_that_was_taken_up_again_begins_where_it_was(tmp_path: Path) -> None:
    flags = ("--record-dir", str(tmp_path), "--state-dir", str(tmp_path / "state"))
    with daemon(tmp_path, *flags) as first, Wire(first.address) as wire:
        token = wire.open(SOURCE, brief=Brief(look="poster"), **LIVE).token
        camera = Camera(wire)
        camera.film_until(lambda each: each.message.provenance is not Provenance.HELD, clip(10))
        first.stop()
    [before] = tmp_path.glob("*.events")
    with daemon(tmp_path, *flags) as second, Wire(second.address) as wire:
        wire.send(Resume(session=0, token=token, seq=1_000))
        said = wire.expect(Resumed)
        camera = Camera(wire, next_index=said.last_index + 1, pts=camera.pts)
        answers = camera.film(clip(8, start=10))
        wire.send(Close(session=0))
        wire.until(Closed)
    [path] = {*tmp_path.glob("*.events")} - {before}
    sent = painted(answers)
    assert len(sent) == 8
    assert played(path) == sent
    assert Provenance.HELD not in {each.message.provenance for each in answers}


def test_a_disk_that_is_full_ends_the_record_and_not_the_session(tmp_path: Path) -> None:
    with daemon(tmp_path, "--record-dir", str(tmp_path)) as running, Wire(running.address) as wire:
        wire.open(SOURCE, **LIVE | {"painter": "identity"})
        camera = Camera(wire)
        limit = (200_000, resource.RLIM_INFINITY)
        psutil.Process(running.process.pid).rlimit(psutil.RLIMIT_FSIZE, limit)
        assert {each.message.type for each in camera.film(clip(10))} == {"painted"}
        wire.send(Close(session=0))
        assert wire.until(Closed).reason == "asked"
        log = running.log.read_text()
        assert log.count("is not written further") == 1
        assert "Traceback" not in log
    [path] = tmp_path.glob("*.events")
    outputs = replay(path, Dis())
    assert next(outputs).index == 0


def test_a_record_whose_last_words_find_no_room_is_closed_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    record = Record(Path("/dev/full"), Brief(), SIZE)
    record.close()
    record.close()
    assert caplog.text.count("/dev/full is not whole") == 1


def test_a_folder_that_is_not_there_is_made_and_one_that_cannot_be_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    with daemon(tmp_path, "--record-dir", str(folder)) as running, Wire(running.address) as wire:
        wire.open(SOURCE, **LIVE | {"painter": "identity"})
        assert Camera(wire).shoot(clip(1)[0]).message.type == "painted"
        assert len([*folder.iterdir()]) == 1
    (tmp_path / "file").write_text("")
    code, said = not_started(tmp_path, "--record-dir", str(tmp_path / "file"))
    assert code == 1
    assert str(tmp_path / "file") in said
    assert "Traceback" not in said


def test_a_record_that_cannot_be_begun_costs_the_record_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = Record(tmp_path / "no" / "it.events", Brief(), SIZE)
    record.add("rekey")
    record.close()
    assert caplog.text.count("cannot be written") == 1


def test_what_is_no_record_is_not_played(tmp_path: Path) -> None:
    path = tmp_path / "it.events"
    for contents in (b"", b"\x80", b"\x01", b"\x81\xa7version\x07", b"garbage"):
        path.write_bytes(contents)
        with pytest.raises(RecordError):
            list(replay(path, Dis()))


def test_a_record_that_is_cut_short_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    """As that of a daemon that was killed."""
    with daemon(tmp_path, "--record-dir", str(tmp_path)) as running, Wire(running.address) as wire:
        wire.open(SOURCE, **LIVE | {"painter": "identity"})
        answers = Camera(wire).film(clip(6))
    [path] = tmp_path.glob("*.events")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    again = played(path)
    assert 2 <= len(again) < 6
    assert again.items() <= painted(answers).items()
