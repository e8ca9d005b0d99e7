"""Painters in processes of their own: real processes, which paint as a thread does, die, hang, and leave nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from support.clips import frames
from support.daemon import PLUGINS, Wire, daemon
from warpaint.engines.base import Frame, Habits, PaintDone, Painter, PaintJob, Picture, Wording
from warpaint.engines.painters.identity import Identity
from warpaint.engines.registry import load_painter
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.limits import MAX_TAGS
from warpaint.proto.messages import Painted, Source
from warpaint.server import containment, isolation
from warpaint.server.asks import PaintAsk
from warpaint.server.engine_room import EngineRoom
from warpaint.server.isolation import IsolatedPainter, start_painters, wait_for
from warpaint.server.painter_process import NICE

# Waiting for what must come.
PACKAGE = "warpaint.server"
WITHIN_S = 30.0
# A painter that is told to stop has been told within this: fifty milliseconds, and as much again for a busy machine.
TOLD_WITHIN_S = 0.1


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.delitem(sys.modules, "painters_under_test", raising=False)


@contextmanager
def painter(name: str, threads: int = 1) -> Iterator[IsolatedPainter]:
    """A painter in a process, loaded; the plugins' by their class alone."""
    made = IsolatedPainter(name if name.islower() else f"painters_under_test:{name}", threads)
    try:
        made.wait()
        yield made
    finally:
        made.close()


def picture(seed: int = 0, size: tuple[int, int] = (32, 16)) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def job(bgr: Picture | None = None, number: int = 0, **fields: Any) -> PaintJob:
    bgr = picture(number) if bgr is None else bgr
    whole = {"brief": Brief(), "seed": 0, "origin": (0, 0), "size": (bgr.shape[1], bgr.shape[0])}
    return PaintJob(number, 1, Frame(number, Fraction(number, 25), bgr), **{**whole, **fields})


def never() -> bool:
    return False


def paint(painter: Painter, *jobs: PaintJob, cancelled: Callable[[], bool] = never) -> list[PaintDone]:
    """As the daemon paints."""
    return containment.paint("the painter", painter, jobs, cancelled)


def painted(painter: Painter, number: int = 0) -> PaintDone:
    """One job's result, the negative of its picture if it is one."""
    (done,) = paint(painter, job(number=number))
    if done.error is None:
        np.testing.assert_array_equal(done.image, 255 - picture(number))
    return done


def wait_until(true: Callable[[], bool]) -> float:
    """Waits, and says for how long, seconds."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > WITHIN_S:
            raise TimeoutError(f"not so within {WITHIN_S} s")
        time.sleep(0.002)
    return time.monotonic() - began


def descriptors() -> list[Path]:
    """What this process has open."""
    return [each for each in Path(f"/proc/{os.getpid()}/fd").iterdir() if each.is_symlink()]


def painters_alive() -> list[psutil.Process]:
    """The painters' processes that this one has started: other tests may keep a daemon."""
    return [each for each in psutil.Process().children() if f"{PACKAGE}.painter_process" in each.cmdline()]


def pid_of(made: IsolatedPainter) -> int:
    (pid,) = (child.pid for child in painters_alive() if made._name in child.cmdline())
    return pid


# The same as in a thread


@pytest.mark.parametrize("look", ["strokes", "watercolor", "ink", "oil", "pencil", "poster"])
def test_filters_paint_the_same_bits_as_in_a_thread(look: str) -> None:
    bgr = next(frames("bigbuckbunny", (320, 180), start=100))
    holes = np.zeros((60, 80), np.bool_)
    holes[10:50, 20:60] = True
    crop = bgr[40:100, 100:180]
    brief = Brief(look=look, seed=5)
    jobs = [
        job(bgr, 0, brief=brief, seed=5),
        job(crop, 1, brief=brief, seed=6, origin=(100, 40), size=(320, 180), canvas=255 - crop, holes=holes),
    ]
    here = paint(load_painter("filters"), *jobs)
    with painter("filters") as there:
        for one, other in zip(here, paint(there, *jobs), strict=True):
            assert (one.id, one.epoch, one.error) == (other.id, other.epoch, other.error)
            assert one.image is not None
            np.testing.assert_array_equal(one.image, other.image)
            assert not np.array_equal(one.image, bgr if one.id == 0 else crop)


@pytest.mark.parametrize(
    "name",
    [
        *("ShowsItsJob", "Raises", "WrongShape", "Floats", "NotNumbers", "Nothing", "WritesIntoInput", "SaysTooMuch"),
        *("MakesUpAnError", "OfAnotherJob", "Exits", "MemoryOfText", "SaysHalfALetter", "TagsInAList", "TagsOfNumbers"),
        *("TagTooLong", "TagOfHalfALetter", "NoteWithoutCode", "NoteOfAMadeUpCode"),
    ],
)
def test_what_goes_wrong_is_said_in_the_same_words_as_in_a_thread(name: str) -> None:
    fields: dict[str, Any] = {"origin": (3, 4), "size": (99, 98), "seed": 2**53 - 1, "memory": b"\x00\xff"}
    fields |= {"canvas": picture(8)[::-1], "holes": picture(9)[..., 0] > 99, "brief": Brief(prompt="ü" * 4096)}
    fields |= {"earlier": Wording("a harbour", "ü" * 4096, 0.1)}
    jobs = [job(picture(7, (64, 32))[::2, ::2], 3, **fields), job(number=4)]
    here = containment.paint(f"painters_under_test:{name}", load_painter(f"painters_under_test:{name}"), jobs, never)
    with painter(name) as there:
        assert paint(there, *jobs) == here
    assert {each.error for each in here} == {Code.PAINTER_FAILED}


@pytest.mark.parametrize("name", ["Remarks", "TellsOfItsFailure", "ManyTags", "LongTags"])
def test_what_a_painter_says_beside_its_pictures_is_the_same_as_in_a_thread(name: str) -> None:
    holes = np.ones((16, 32), np.bool_)
    jobs = [job(), job(number=1, brief=Brief(prompt="too long")), job(number=2, canvas=picture(2), holes=holes)]
    here = paint(load_painter(f"painters_under_test:{name}"), *jobs)
    with painter(name) as there:
        for one, other in zip(here, paint(there, *jobs), strict=True):
            assert (one.error, one.why, one.tags, one.note) == (other.error, other.why, other.tags, other.note)
            assert isinstance(other.tags, tuple)


def test_what_a_painter_says_beside_its_pictures() -> None:
    holes = np.ones((16, 32), np.bool_)
    jobs = [job(), job(number=1, brief=Brief(prompt="long")), job(number=2, canvas=picture(2), holes=holes)]
    plain, noted, crop = paint(load_painter("painters_under_test:Remarks"), *jobs)
    assert (plain.tags, plain.note) == (("keyframe", "frame 0"), None)
    assert noted.note == (Code.PROMPT_CUT, "'long' is too long")
    assert crop.tags == ("crop",)
    (failed,) = paint(load_painter("painters_under_test:TellsOfItsFailure"), job())
    assert (failed.error, failed.why) == (Code.RESOURCE_EXHAUSTED, r"\ud800 out of memory")
    assert failed.note == (Code.PROMPT_CUT, r"\ud800 cut")
    (many,) = paint(load_painter("painters_under_test:ManyTags"), job())
    assert many.tags == tuple(f"tag {number}" for number in range(MAX_TAGS))
    (long,) = paint(load_painter("painters_under_test:LongTags"), job())
    assert 0 < len(long.tags) < MAX_TAGS
    assert sum(len(tag.encode()) for tag in long.tags) <= containment.MAX_TAGS_BYTES


@pytest.mark.parametrize(
    ("name", "habits"),
    [
        ("Remarks", Habits(crop_sides=(64, 128), crop_context=16, least_hole=4, batches=True)),
        ("Negative", Habits()),
        ("HabitsOfItsOwn", Habits()),
    ],
)
def test_a_painter_has_its_habits_in_a_process_too(name: str, habits: Habits) -> None:
    assert containment.habits(load_painter(f"painters_under_test:{name}")) == habits
    with painter(name) as there:
        assert there.habits == habits


def test_a_painter_says_its_looks_and_its_memory_anew_after_each_call() -> None:
    with painter("Remembers") as there:
        assert (there.looks, there.nbytes) == (("plain",), 7)
        paint(there, job())
        assert there.nbytes == 8


def test_what_a_painter_keeps_of_its_jobs_stays_as_it_was() -> None:
    with painter("Remembers") as there:
        memory = None
        for number in range(4):
            (done,) = paint(there, job(number=number, memory=memory))
            np.testing.assert_array_equal(done.image, picture(0))
            memory = done.memory
        assert memory == b"...."


def test_many_jobs_in_one_call_of_any_size() -> None:
    jobs = [job(picture(number, (1 + 7 * number, 3)), number) for number in range(200)]
    with painter("Negative") as there:
        for done, each in zip(paint(there, *jobs), jobs, strict=True):
            np.testing.assert_array_equal(done.image, 255 - each.frame.bgr)
        assert paint(there) == []


def test_many_calls_need_no_more_memory_than_the_largest() -> None:
    def held() -> int:
        return sum(each.stat().st_size for each in descriptors() if "memfd:" in str(each.readlink()))

    with painter("Negative") as there:
        paint(there, *(job(picture(number, (200, 100)), number) for number in range(3)))
        most = held()
        assert 2 * 60_000 < most < 4 * 60_000
        for number in range(50):
            paint(there, job(picture(number, (200, 100)), number))
        assert held() == most


# The process itself


def test_the_process_gives_way_to_the_daemon_and_keeps_to_its_threads() -> None:
    with painter("ShowsItsProcess", threads=3) as there:
        why = painted(there).why
        assert "threads 3 " in why
        assert f"nice {os.nice(0) + NICE} " in why
        assert "['/dev/null', " in why
        pid = pid_of(there)
        assert f"pid {pid} " in why
        for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C, and a manager that ends a whole group
            os.kill(pid, number)
        assert f"pid {pid} " in painted(there).why


def test_what_a_painter_prints_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with painter("Prints") as there:
        assert painted(there).error is None
    out, err = capfd.readouterr()
    assert out == ""
    assert "printed by Python" in err
    assert "printed by a library" in err


def test_the_traceback_goes_to_stderr_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with painter("Raises") as there:
        assert "Traceback" not in painted(there).why
    assert "Traceback" in capfd.readouterr().err


# Loading


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("CannotBeMade", "RuntimeError: no weights"),
        ("NoPainter", "needs a method `paint`"),
        ("Absent", "AttributeError"),
        ("monet", "no painter 'monet' here; there are .*filters, identity"),
        ("DiesWhenLoaded", r"cannot be loaded: the process .* died \(exit code 3\)"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why) as caught, painter(name):
        pass
    assert caught.value.code is Code.UNKNOWN_ENGINE
    assert painters_alive() == []


def test_light_painters_need_no_process_and_the_others_load_side_by_side() -> None:
    with ExitStack() as held:
        made = start_painters(["identity", "filters", "filters"], held, isolated=True, threads=1)
        wait_for(made)
        assert [type(each) for each in made.values()] == [Identity, IsolatedPainter]
        assert len(painters_alive()) == 1
    assert painters_alive() == []
    with ExitStack() as held:
        made = start_painters(["filters"], held, isolated=False, threads=1)
        wait_for(made)
        assert painters_alive() == []


# Dying


@pytest.mark.parametrize(("name", "how"), [("ExitsAtOnce", "exit code 3"), ("KillsItself", "signal 9")])
def test_a_painter_that_dies_fails_the_jobs_in_hand_and_paints_the_next(name: str, how: str) -> None:
    with painter(name) as there:
        for number in range(9):
            done = painted(there, number)
            if number % 3 == 2:
                assert done.error is Code.PAINTER_FAILED
                assert done.why == f"the process of the painter 'painters_under_test:{name}' died ({how})"
            else:
                assert done.error is None, done.why


def test_a_process_that_is_killed_between_two_calls_costs_no_job() -> None:
    with painter("Negative") as there:
        for number in range(3):
            assert painted(there, number).error is None
            pid = pid_of(there)
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_painter_that_cannot_be_loaded_again_says_why_at_each_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARPAINT_TEST_MADE", str(tmp_path / "made"))
    with painter("CannotBeMadeAgain") as there:
        assert "exit code 3" in painted(there).why
        for _ in range(2):
            done = painted(there)
            assert done.error is Code.PAINTER_FAILED
            assert "RuntimeError: no weights any more" in done.why
        assert painters_alive() == []


@pytest.mark.timing
def test_a_death_is_seen_even_if_another_process_holds_the_conversation() -> None:
    with painter("LeavesAProcess") as there:
        began = time.monotonic()
        assert "exit code 3" in painted(there).why
        assert time.monotonic() - began < 2.0


def test_twenty_restarts_leave_nothing() -> None:
    with painter("KillsItself") as there:
        before = len(descriptors())
        deaths = 0
        for number in range(60):
            deaths += painted(there, number).error is Code.PAINTER_FAILED
        assert deaths == 20
        assert len(descriptors()) == before - 2  # the last job killed the process: its socket and file are gone too
        assert painters_alive() == []
    assert painters_alive() == []


# Cancelling


@pytest.mark.timing
def test_a_painter_is_told_promptly_that_it_is_cancelled() -> None:
    with painter("BusyInPython") as there:
        cancelled, results = threading.Event(), list[PaintDone]()
        thread = threading.Thread(target=lambda: results.extend(paint(there, job(), cancelled=cancelled.is_set)))
        thread.start()
        time.sleep(0.3)
        pid = pid_of(there)
        cancelled.set()
        assert wait_until(lambda: not thread.is_alive()) < TOLD_WITHIN_S
        assert [(done.error, done.why) for done in results] == [(Code.CANCELLED, "told to stop")]
        assert pid_of(there) == pid


@pytest.mark.timing
def test_a_painter_that_does_not_stop_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "CANCEL_GRACE_S", 0.3)
    with painter("DoesNotStop") as there:
        pid = pid_of(there)
        began = time.monotonic()
        (done,) = paint(there, job(), cancelled=lambda: time.monotonic() > began + 0.1)
        assert 0.4 < time.monotonic() - began < 2.0
        assert done.error is Code.CANCELLED
        assert not psutil.pid_exists(pid)


@pytest.mark.timing
def test_a_painter_that_is_interrupted_gets_no_time_to_stop() -> None:
    """Only if its call is cancelled: another call, which took its place meanwhile, goes on."""
    with painter("BusyInPython") as busy, painter("DoesNotStop") as there:
        threading.Timer(0.2, busy.interrupt).start()
        assert painted(busy).error is None
        began = time.monotonic()
        threading.Timer(0.2, there.interrupt).start()
        (done,) = paint(there, job(), cancelled=lambda: time.monotonic() > began + 0.1)
        assert time.monotonic() - began < 1.5
        assert done.error is Code.CANCELLED


def test_a_painter_that_runs_out_of_time_is_ended_and_the_next_job_painted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes to load again: what loads goes on, whatever job has given up waiting for it."""
    monkeypatch.setenv("WARPAINT_TEST_MADE", str(tmp_path / "made"))
    with painter("LoadsForLong") as there:
        room = EngineRoom({"slow": there}, {}, paint_timeout_s=0.5)
        errors = []
        for number in range(20):
            painting = room.paint("slow", PaintAsk([job(number=number)]), lambda: None)
            wait_until(lambda p=painting: p.finished.is_set() or room.overdue("slow", p))  # type: ignore[misc]
            errors.append(painting.done[0].error)
            if errors[-1] is None:
                break
        assert errors[:2] == [Code.PAINTER_FAILED, Code.PAINTER_TIMEOUT]
        assert errors[-1] is None
        assert len(painters_alive()) == 1
        room.close()
        assert painters_alive() == []


def test_a_late_answer_does_not_replace_the_timeouts() -> None:
    with painter("DoesNotStop") as there:
        room = EngineRoom({"it": there}, {}, paint_timeout_s=0.2)
        told = threading.Event()
        painting = room.paint("it", PaintAsk([job()]), told.set)
        wait_until(lambda: room.overdue("it", painting))
        assert told.wait(WITHIN_S)
        assert [done.error for done in painting.done] == [Code.PAINTER_TIMEOUT]
        room.close()


# The end


@pytest.mark.timing
def test_closing_ends_a_painter_that_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    with painter("DoesNotStop") as there:
        results: list[PaintDone] = []
        thread = threading.Thread(target=lambda: results.extend(paint(there, job())))
        thread.start()
        time.sleep(0.2)
        began = time.monotonic()
        there.close()
        assert time.monotonic() - began < 1.5
        thread.join(WITHIN_S)
        assert [done.error for done in results] == [Code.CANCELLED]
        assert [done.error for done in paint(there, job())] == [Code.CANCELLED]
    assert painters_alive() == []


BUSY = ("--painters", "painters_under_test:DoesNotStop")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.timing
def test_processes_end_with_the_daemon_even_while_they_paint(tmp_path: Path, number: signal.Signals) -> None:
    with daemon(tmp_path, *BUSY, "--drain-s", "0.1") as running, Wire(running.address) as wire:
        (child,) = psutil.Process(running.process.pid).children()
        wire.open(Source(width=32, height=16), flow="none")
        wire.frame(0, bytes(32 * 16 * 3))
        wait_until(lambda: child.cpu_times().user > 0.5)
        running.process.send_signal(number)
        running.process.wait(WITHIN_S)
        assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE) < 2.0
        running.process.returncode = 0  # killed on purpose


def test_a_daemon_stays_as_it_is_after_twenty_restarts(tmp_path: Path) -> None:
    def held(pid: int) -> tuple[int, int, int]:
        process = psutil.Process(pid)
        children = process.children()
        return process.num_fds(), len(children), sum(child.num_fds() for child in children)

    with daemon(tmp_path, "--painters", "painters_under_test:ExitsAtOnce") as running, Wire(running.address) as wire:
        wire.open(Source(width=32, height=16), flow="none")

        def answered(index: int) -> Any:
            wire.frame(index, picture(index).tobytes())
            return wire.receive().message

        kinds = [type(answered(index)) for index in range(4)]
        before = held(running.process.pid)
        kinds += [type(answered(index)) for index in range(4, 64)]
        assert kinds.count(Painted) == 43
        assert before[1] == 1
        assert held(running.process.pid) == before


def test_a_daemon_whose_stderr_is_closed_has_painters_all_the_same(tmp_path: Path) -> None:
    command = f"{sys.executable} -m warpaint.server --painters filters --bind ipc://{tmp_path}/warpaint.sock 2>&-"
    running = subprocess.Popen(["sh", "-c", f"exec {command}"], stdout=subprocess.PIPE, text=True)
    with running, Wire(f"ipc://{tmp_path}/warpaint.sock") as wire:
        assert running.stdout is not None
        assert "listens" in running.stdout.readline()
        wire.open(Source(width=32, height=16), flow="none")
        wire.frame(0, picture().tobytes())
        assert wire.expect(Painted).index == 0
        running.terminate()


def test_a_process_that_nobody_started_says_what_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "warpaint.server.painter_process", "filters"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--socket" in done.stderr
    assert "Traceback" not in done.stderr
