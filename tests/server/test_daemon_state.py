"""Sessions on disk: a daemon that was killed, or ended, goes on with them when it starts again; so do its clients."""

import resource
import signal
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from support.camera import Camera
from support.clips import frames
from support.daemon import ENDED_WITHIN_S, Daemon, Wire, daemon, ended, eventually
from warpaint.client.painting import Client, Session
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.messages import (
    Ack,
    Close,
    Closed,
    Credit,
    Error,
    Hold,
    Open,
    Painted,
    Provenance,
    Resume,
    Resumed,
    Source,
    Update,
    Updated,
)
from warpaint.server.driver import LOOK_AFTER_S

SIZE = (192, 112)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
TINY = Source(width=32, height=16)
PATIENT_MS = 10_000.0
# One keyframe, and no other unless it is asked for.
STEADY: dict[str, Any] = {
    "keyframe_gap_min_s": 1000.0,
    "keyframe_gap_max_s": 2000.0,
    "cut_detection": False,
    "hole_limit": 1.0,
    "fade_s": 0.0,
    "repaint_gap_s": 0.0,
}
OFTEN = ("--snapshot-s", "0.01")
ONCE = ("--snapshot-s", "3000")
GATED = "painters_under_test:Gated"
LIVE: dict[str, Any] = {"pacing": "live", "max_delay_ms": PATIENT_MS}

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def clip() -> list[Picture]:
    return list(frames("bikes", SIZE, stop=24))


@contextmanager
def keeping(tmp_path: Path, *flags: str) -> Iterator[Daemon]:
    """A daemon that writes its sessions down in the folder `state`. Each one goes on where the last one was."""
    env = {"WARPAINT_TEST_GATE": str(tmp_path / "gate")}
    state = ("--state-dir", str(tmp_path / "state"), "--probe-s", "0.2")
    with daemon(tmp_path, *state, *flags, env=env) as running:
        yield running


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "state").iterdir())


def written(tmp_path: Path) -> bool:
    """Whether one session is on disk, whole."""
    return eventually(lambda: [each.suffix for each in files(tmp_path)] == [".session"])


def resumed(wire: Wire, token: str, seq: int = 0, session: int = 0) -> Any:
    wire.send(Resume(session=session, token=token, seq=seq))
    return wire.expect(Resumed)


def shown(answer: Any) -> Picture:
    return np.frombuffer(answer.payloads[0], np.uint8).reshape(SIZE[1], SIZE[0], 3)


# A client that goes on by itself


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory, clip: list[Picture]) -> list[Picture]:
    """The clip by a daemon that nobody ends."""
    with (
        keeping(tmp_path_factory.mktemp("uncut")) as running,
        Client(running.address) as client,
        client.session(look="strokes", **STEADY) as session,
    ):
        return [np.array(each.image) for each in session.paint(clip)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_film_goes_on_from_the_same_keyframe_by_the_daemon_that_starts_next(
    tmp_path: Path, clip: list[Picture], uncut: list[Picture], number: signal.Signals
) -> None:
    results = []
    with (
        keeping(tmp_path, *OFTEN) as first,
        Client(first.address) as client,
        client.session(look="strokes", **STEADY) as session,
    ):
        painting = session.paint(clip)
        results += [next(painting) for _ in range(10)]
        assert written(tmp_path)
        ended(first, number)
        with keeping(tmp_path, *OFTEN) as second:
            results += list(painting)
            totals = session.close()
            assert "Traceback" not in second.log.read_text()
    assert [each.info.index for each in results] == list(range(len(clip)))
    assert [each.info.keyframe for each in results] == [True] + [False] * (len(clip) - 1)
    assert {each.info.provenance for each in results[1:]} == {Provenance.WARPED}
    assert totals is not None
    assert totals.keyframes == 0  # of the second daemon's frames
    differences = [np.abs(each.image.astype(int) - there).mean() for each, there in zip(results, uncut, strict=True)]
    between = [np.abs(one.astype(int) - other).mean() for one, other in zip(uncut[10:], uncut[:-10], strict=True)]
    assert max(differences if number is signal.SIGTERM else differences[:10]) == 0
    assert max(differences) < np.median(between) / 2
    assert files(tmp_path) == []


def test_frames_on_their_way_to_a_daemon_that_ends_are_not_refused(tmp_path: Path) -> None:
    """What comes while it finishes those in hand is for the next one, to which it is sent again."""
    flags = (*OFTEN, "--painters", GATED, "--flows", "none")
    payload = bytes(32 * 16 * 3)
    with keeping(tmp_path, *flags) as first, Wire(first.address) as wire:
        (tmp_path / "gate").touch()
        token = wire.open(TINY).token
        wire.frame(0, payload)
        wire.expect(Painted)
        (tmp_path / "gate").unlink()
        wire.frame(1, payload)
        assert eventually(lambda: wire.status().sessions[0].totals.received == 2)
        first.process.send_signal(signal.SIGTERM)
        wire.expect(Credit)
        for index in range(2, 5):
            wire.frame(index, payload)
        wire.send(Update(session=0, request=1, changes={"look": "green"}))
        wire.send(Open(session=1, source=TINY))
        refusal = wire.expect(Error)  # the first word after all these
        assert (refusal.session, refusal.code) == (1, Code.SHUTTING_DOWN)
        (tmp_path / "gate").touch()
        assert wire.expect(Painted).index == 1
        first.process.wait(ENDED_WITHIN_S)
    with keeping(tmp_path, *flags) as second, Wire(second.address) as wire:
        said = resumed(wire, token, 2)
        assert (said.last_index, said.last_request, said.pending) == (1, None, ())
        wire.frame(2, payload)
        assert wire.expect(Painted).index == 2


def test_frames_that_there_was_no_time_for_are_painted_by_the_next_daemon(tmp_path: Path) -> None:
    flags = (*OFTEN, "--painters", f"identity,{GATED}", "--drain-s", "0.2")
    with (
        keeping(tmp_path, *flags) as first,
        Client(first.address) as client,
        client.session(source=TINY, painter=GATED, flow="none") as session,
    ):
        (tmp_path / "gate").touch()
        session.push(bytes(32 * 16 * 3), 0)
        assert [each.info.index for each in session.results()] == [0]
        (tmp_path / "gate").unlink()
        assert written(tmp_path)
        for index in range(1, 5):
            session.push(bytes(32 * 16 * 3), 40 * index)
        with Wire(first.address) as other:
            assert eventually(lambda: other.status().sessions[0].totals.received == 5)
        ended(first, signal.SIGTERM)
        (tmp_path / "gate").touch()
        with keeping(tmp_path, *flags):
            assert [each.info.index for each in session.results()] == [1, 2, 3, 4]
            session.close()


# What a killed daemon had written down

# Paint that is followed and found again, holes that are painted, and keyframes now and then.
LIVELY = Brief(look="strokes", repaint_gap_s=0.0, keyframe_gap_min_s=0.2, keyframe_gap_max_s=0.4)


def filmed(wire: Wire, clip: list[Picture], indices: Iterable[int]) -> list[bytes]:
    """These frames of the clip, painted one after the other."""
    pictures = []
    for index in indices:
        wire.frame(index, clip[index].tobytes())
        answer = wire.receive()
        assert (answer.message.type, answer.message.index) == ("painted", index)
        pictures.append(bytes(answer.payloads[0]))
    return pictures


def last_written(tmp_path: Path) -> list[Any]:
    """The last frames that the sessions on disk go on from."""
    return [msgpack.unpackb(each.read_bytes())["last_index"] for each in (tmp_path / "state").glob("*.session")]


@pytest.mark.parametrize(("flags", "known"), [(OFTEN, 9), (ONCE, 0)], ids=["the last frame", "the first frame"])
def test_a_film_goes_on_to_the_bit_from_what_was_written_last(
    shared_daemon: Daemon, tmp_path: Path, clip: list[Picture], flags: Sequence[str], known: int
) -> None:
    """As if the frames that were answered later had not been: those are not known to the daemon that starts next."""
    with Wire(shared_daemon.address) as wire:
        wire.open(SOURCE, brief=LIVELY)
        *_, expected = (filmed(wire, clip, each) for each in (range(known + 1), range(10, len(clip))))
    with keeping(tmp_path, *flags) as first, Wire(first.address) as wire:
        token = wire.open(SOURCE, brief=LIVELY).token
        filmed(wire, clip, range(1))
        assert eventually(lambda: last_written(tmp_path) == [0])
        filmed(wire, clip, range(1, 10))
        assert eventually(lambda: last_written(tmp_path) == [known])
        ended(first, signal.SIGKILL)
    with keeping(tmp_path, *flags) as second, Wire(second.address) as wire:
        assert resumed(wire, token, 10).last_index == known
        assert filmed(wire, clip, range(10, len(clip))) == expected


def test_an_answer_that_is_lost_with_a_killed_daemon_is_given_by_the_next(tmp_path: Path, clip: list[Picture]) -> None:
    """A state in which a frame is done is not written before the client has said that it has the answer."""
    with keeping(tmp_path, *OFTEN) as first, Wire(first.address) as wire:
        token = wire.open(SOURCE, brief=LIVELY).token
        expected = filmed(wire, clip, range(2))
        wire.send(Ack(session=0, seq=2))
        assert eventually(lambda: last_written(tmp_path) == [1])
        expected += filmed(wire, clip, range(2, 6))
        wire.send(Update(session=0, request=1, changes={"look": "poster"}))
        wire.expect(Updated)
        time.sleep(3 * LOOK_AFTER_S)  # time enough to write more
        ended(first, signal.SIGKILL)
    with keeping(tmp_path, *OFTEN) as second, Wire(second.address) as wire:
        said = resumed(wire, token, 2)
        assert (said.last_index, said.last_request, said.pending) == (1, None, ())
        assert filmed(wire, clip, range(2, 6)) == expected[2:]


# A live film


def test_a_live_film_goes_on_with_what_was_painted(tmp_path: Path, clip: list[Picture]) -> None:
    """Nothing is painted after the start: all that is seen, and for long, comes from disk."""
    gate = tmp_path / "gate"
    gate.touch()
    flags = (*OFTEN, "--painters", GATED)
    still = clip[0].tobytes()
    with keeping(tmp_path, *flags) as first, Wire(first.address) as wire:
        token = wire.open(SOURCE, brief=Brief(**STEADY), **LIVE).token
        camera = Camera(wire)
        camera.film_until(lambda each: each.message.provenance is not Provenance.HELD, [still])
        [last] = camera.film([still])
        assert eventually(lambda: bool(files(tmp_path)))
        ended(first, signal.SIGTERM)
    gate.unlink()
    with keeping(tmp_path, *flags) as second, Wire(second.address) as wire:
        said = resumed(wire, token, last.message.seq)
        assert (said.last_index, said.epoch) == (last.message.index, last.message.epoch)
        camera = Camera(wire, next_index=said.last_index + 1, pts=last.message.pts + 40)
        answers = camera.film([still] * 12)
        assert {each.message.type for each in answers} == {"painted"}
        assert {each.message.provenance for each in answers} == {last.message.provenance}
        assert {bytes(each.payloads[0]) for each in answers} == {bytes(last.payloads[0])}
        assert [each.message.seq for each in answers] == [last.message.seq + number for number in range(1, 13)]
        status = wire.status()
        assert [each.pacing for each in status.sessions] == ["live"]


def test_a_live_film_is_on_hold_still_and_what_was_asked_for_is_painted(tmp_path: Path, clip: list[Picture]) -> None:
    gate = tmp_path / "gate"
    flags = (*OFTEN, "--painters", GATED)
    with keeping(tmp_path, *flags) as first, Wire(first.address) as wire:
        token = wire.open(SOURCE, brief=Brief(**STEADY), **LIVE).token
        camera = Camera(wire)
        camera.film([each.tobytes() for each in clip[:2]])
        wire.send(Hold(session=0, request=1, on=True))
        wire.send(Update(session=0, request=2, changes={"look": "green"}))
        [last] = camera.film([clip[2].tobytes()])
        assert bytes(last.payloads[0]) == clip[1].tobytes()
        assert [each.request for each in camera.said if isinstance(each, Updated)] == [1, 2]
        assert eventually(lambda: bool(files(tmp_path)))
        ended(first, signal.SIGTERM)
    with keeping(tmp_path, *flags) as second, Wire(second.address) as wire:
        said = resumed(wire, token, last.message.seq)
        assert said.last_request == 2
        camera = Camera(wire, next_index=3, pts=120)
        answers = camera.film([each.tobytes() for each in clip[3:6]])
        assert {bytes(each.payloads[0]) for each in answers} == {clip[1].tobytes()}
        gate.touch()
        green = (0, 255, 0)
        [*_, painted] = camera.film_until(lambda each: tuple(shown(each)[0, 0]) == green, [clip[6].tobytes()])
        camera.film([clip[6].tobytes()])
        seen = [each for each in camera.said if isinstance(each, Updated)]
        assert [(each.request, each.shown_at) for each in seen] == [(2, painted.message.index)]


@pytest.mark.parametrize("pacing", ["every", "live"])
def test_what_was_changed_after_the_last_writing_is_changed_again(
    tmp_path: Path, clip: list[Picture], pacing: str
) -> None:
    """The daemon has acknowledged it, and has shown it; then it was killed, and knows nothing of it."""
    (tmp_path / "gate").touch()
    flags = (*ONCE, "--painters", GATED)
    wishes: dict[str, Any] = {"pacing": pacing, "max_delay_ms": PATIENT_MS, "look": "red", **STEADY}

    def is_green(session: Session) -> bool:
        session.push(clip[0], 40 * session._active.next_index)
        return any((each.image[0, 0] == (0, 255, 0)).all() for each in session.results())

    with (
        keeping(tmp_path, *flags) as first,
        Client(first.address) as client,
        client.session(source=SOURCE, **wishes) as session,
    ):
        assert not is_green(session)
        assert written(tmp_path)
        session.update(look="green")
        assert eventually(lambda: is_green(session))
        ended(first, signal.SIGKILL)
        with keeping(tmp_path, *flags):
            assert pacing == "live" or is_green(session)
            assert eventually(lambda: is_green(session))
            session.close()


# The folder


def test_the_folder_is_this_users_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    with keeping(tmp_path):
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(RuntimeError, match=r"state directory .* cannot be used"), keeping(tmp_path):
        pass


def test_a_session_in_which_nothing_happens_is_not_written_again(tmp_path: Path) -> None:
    with keeping(tmp_path, *OFTEN) as running, Wire(running.address) as idle, Wire(running.address) as other:
        idle.open(TINY, painter="identity")
        idle.frame(0, bytes(32 * 16 * 3))
        idle.expect(Painted)
        assert written(tmp_path)
        [file] = files(tmp_path)
        other.open(TINY, painter="identity")
        time.sleep(0.1)
        before = file.stat().st_mtime_ns
        for index in range(20):
            other.frame(index, bytes(32 * 16 * 3))
            other.expect(Painted)
            time.sleep(0.02)
        assert eventually(lambda: len(files(tmp_path)) == 2)
        assert file.stat().st_mtime_ns == before
        idle.frame(1, bytes(32 * 16 * 3))
        idle.expect(Painted)
        assert eventually(lambda: file.stat().st_mtime_ns > before)


def test_sessions_that_ended_leave_no_file(tmp_path: Path) -> None:
    with keeping(tmp_path, *OFTEN) as running, Wire(running.address) as wire:
        for number, linger_s in enumerate((5.0, 0.3)):
            wire.open(TINY, session=number, painter="identity", linger_s=linger_s)
            wire.frame(0, bytes(32 * 16 * 3), session=number)
            wire.expect(Painted)
        assert eventually(lambda: len(files(tmp_path)) == 2)
        wire.send(Close(session=0))
        wire.expect(Closed)
        assert written(tmp_path)
        wire.__exit__()  # and does not come back
        assert eventually(lambda: files(tmp_path) == [])


def test_a_session_that_nobody_comes_back_to_ends_after_a_start_too(tmp_path: Path) -> None:
    with keeping(tmp_path, *OFTEN) as first, Wire(first.address) as wire:
        wire.open(TINY, painter="identity", linger_s=0.3)
        wire.frame(0, bytes(32 * 16 * 3))
        wire.expect(Painted)
        assert written(tmp_path)
        ended(first, signal.SIGKILL)
    with keeping(tmp_path, *OFTEN):
        assert eventually(lambda: files(tmp_path) == [])


def test_files_that_are_no_sessions_are_left_out_and_left_alone(tmp_path: Path, clip: list[Picture]) -> None:
    with keeping(tmp_path, *OFTEN) as first, Wire(first.address) as wire:
        token = wire.open(SOURCE, painter="identity", brief=Brief(repaint_gap_s=0.0)).token
        for index in range(3):
            wire.frame(index, clip[index].tobytes())
            wire.expect(Painted)
        assert written(tmp_path)
        ended(first, signal.SIGTERM)
    [whole] = files(tmp_path)
    data = whole.read_bytes()
    rng = np.random.default_rng(3)
    bad = {
        "empty": b"",
        "garbage": rng.bytes(1_000),
        "cut": data[: len(data) // 2],
        "longer": data + b"\0",
        "a map": b"\x80",
        "a number": b"\x01",
        "another version": data.replace(b"\xa7version\x01", b"\xa7version\x02", 1),
        "no time": data.replace(b"\xa3pts\x92", b"\xa3pts\x91", 1),
        "time without end": _with_no_end(data),
    }
    for name, contents in bad.items():
        assert contents != data
        (tmp_path / "state" / f"{name}.session").write_bytes(contents)
    (tmp_path / "state" / "folder.session").mkdir()
    (tmp_path / "state" / "notes.txt").write_text("not a session")
    with keeping(tmp_path) as second, Wire(second.address) as wire:
        log = second.log.read_text()
        for name in [*list(bad)[:-2], "folder"]:
            assert log.count(f"{name}.session is left out") == 1, name
        assert log.count("session 0 is not taken up again: these bytes are no snapshot") == 2
        assert "Traceback" not in log
        assert [each.width for each in wire.status().sessions] == [SIZE[0]]
        assert resumed(wire, token, 3).last_index == 2
        wire.frame(3, clip[3].tobytes())
        assert wire.expect(Painted).provenance is Provenance.WARPED
    assert {each.name for each in files(tmp_path)} >= {f"{name}.session" for name in bad} | {"notes.txt"}


def _with_no_end(data: bytes) -> bytes:
    """The same, with a reference's time as something divided by 0."""
    start = data.index(b"\xa3pts\x92") + 5
    for length in range(2, 12):  # the pair of integers: up to the next key
        if data[start + length : start + length + 6] == b"\xa5frame":
            return data[:start] + b"\x01\x00" + data[start + length :]
    raise ValueError("no time was found")


def test_whatever_is_in_a_file_the_daemon_starts(tmp_path: Path, clip: list[Picture]) -> None:
    """A byte here and there is another one, in the parts that are not pictures."""
    with keeping(tmp_path, *OFTEN) as first, Wire(first.address) as wire:
        wire.open(TINY, painter="identity", pacing="live", max_delay_ms=PATIENT_MS)
        for index in range(3):
            wire.frame(index, clip[index][:16, :32].tobytes())
            wire.receive()
        assert written(tmp_path)
        ended(first, signal.SIGTERM)
    [whole] = files(tmp_path)
    data = whole.read_bytes()
    rng = np.random.default_rng(4)
    for number in range(150):
        changed = bytearray(data)
        for place in rng.integers(0, len(data) if number % 3 else 1_000, 3):
            changed[place] = rng.integers(0, 256)
        (tmp_path / "state" / f"{number}.session").write_bytes(changed)
    with keeping(tmp_path, "--max-sessions", "200") as second, Wire(second.address) as wire:
        wire.open(TINY, painter="identity")
        wire.frame(0, bytes(32 * 16 * 3))
        assert wire.expect(Painted).index == 0
        assert "Traceback" not in second.log.read_text()


def test_a_full_disk_is_told_once_and_costs_no_frame(tmp_path: Path, clip: list[Picture]) -> None:
    with keeping(tmp_path, *OFTEN, "--painters", "identity") as running, Wire(running.address) as wire:
        token = wire.open(SOURCE).token
        pictures = chain.from_iterable(repeat(clip))

        def painted(index: int) -> None:
            wire.frame(index, next(pictures).tobytes())
            assert wire.expect(Painted).index == index

        painted(0)
        assert written(tmp_path)
        [file] = files(tmp_path)
        size = 30_000  # bytes: the log is smaller, a session is larger
        assert file.stat().st_size > size > running.log.stat().st_size
        before = file.read_bytes()
        psutil.Process(running.process.pid).rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        for index in range(1, 20):
            painted(index)
            time.sleep(0.01)
        assert eventually(lambda: "cannot be written down" in running.log.read_text())
        held = file.read_bytes()
        for index in range(20, 40):
            painted(index)
            time.sleep(0.01)
        assert file.read_bytes() == held
        assert len(held) == pytest.approx(len(before), rel=1.0)
        assert running.log.read_text().count("cannot be written down") == 1
        assert files(tmp_path) == [file]
        psutil.Process(running.process.pid).rlimit(
            psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        painted(40)
        assert eventually(lambda: last_written(tmp_path) == [40])
        ended(running, signal.SIGKILL)
    with keeping(tmp_path, "--painters", "identity") as second, Wire(second.address) as wire:
        assert resumed(wire, token, 41).last_index == 40
