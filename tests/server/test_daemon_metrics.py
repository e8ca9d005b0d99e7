"""What a real daemon shows by HTTP: its counts beside what the client saw, and whether it is well."""

import os
import re
import signal
import socket
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.camera import Camera
from support.clips import frames
from support.daemon import STARTED_WITHIN_S, Daemon, Wire, daemon, eventually, not_started, start
from support.metrics import ANYWHERE, base, get, scraped, total
from warpaint.proto.brief import Brief
from warpaint.proto.messages import Close, Closed, Dropped, Error, FrameIn, Painted, Source

pytestmark = pytest.mark.timing

SIZE = (192, 112)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
TINY = Source(width=32, height=16)
TINY_PAYLOAD = bytes(32 * 16 * 3)
WITHIN_S = 10.0


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that what hangs waits for."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Daemon]:
    engines = ("--painters", "filters,identity,painters_under_test:Raises", "--flows", "dis,flows_under_test:Hangs")
    env = {"WARPAINT_TEST_GATE": str(gate)}
    with daemon(tmp_path_factory.mktemp("daemon"), *ANYWHERE, *engines, "--stalled-s", "2", env=env) as made:
        yield made


@pytest.fixture(scope="module")
def url(running: Daemon) -> str:
    return base(running.log)


# Metrics


def test_a_film_is_counted_as_its_client_saw_it(running: Daemon, url: str) -> None:
    clip = [picture.tobytes() for picture in frames("bikes", SIZE, stop=24)]
    before = scraped(url)
    with Wire(running.address) as wire:
        wire.open(SOURCE, painter="filters", brief=Brief(look="poster"))
        painted: list[Painted] = [each.message for each in Camera(wire).film(clip)]
        meanwhile = scraped(url)
        wire.send(Close(session=0))
        totals = wire.until(Closed).totals
    after = scraped(url)

    def grown(name: str, **labels: str) -> float:
        return total(after, name, pacing="every", **labels) - total(before, name, pacing="every", **labels)

    assert grown("warpaint_frames_received_total") == len(clip) == totals.received
    for provenance, number in Counter(each.provenance for each in painted).items():
        assert grown("warpaint_frames_painted_total", provenance=provenance) == number
    assert grown("warpaint_frames_painted_total") == len(clip)
    assert grown("warpaint_frames_dropped_total") == grown("warpaint_frames_failed_total") == 0
    assert grown("warpaint_keyframes_total") == totals.keyframes == sum(each.keyframe for each in painted)
    assert grown("warpaint_canvas_pixels_total") == totals.canvas_pixels
    assert grown("warpaint_painted_pixels_total") == totals.painted_pixels
    holes = sum(round(each.holes * SIZE[0] * SIZE[1]) for each in painted)
    assert grown("warpaint_hole_pixels_total") == holes > 0
    assert grown("warpaint_frame_delay_seconds_count") == len(clip)
    assert grown("warpaint_frame_delay_seconds_sum") == pytest.approx(sum(each.delay_ms for each in painted) / 1e3)
    for stage in {name for each in painted for name in each.stages_ms}:
        told_s = [each.stages_ms[stage] / 1e3 for each in painted if stage in each.stages_ms]
        assert grown("warpaint_stage_seconds_count", stage=stage) == len(told_s)
        assert grown("warpaint_stage_seconds_sum", stage=stage) == pytest.approx(sum(told_s), rel=0.01, abs=1e-4)
        buckets = {"stage": stage, "le": "0.01"}
        assert grown("warpaint_stage_seconds_bucket", **buckets) == sum(each <= 0.01 for each in told_s)
    with Wire(running.address) as wire:
        for engine in wire.status().engines:
            calls = total(after, "warpaint_engine_calls_total", engine=engine.name)
            seconds = total(after, "warpaint_engine_seconds_total", engine=engine.name)
            assert calls == engine.calls
            assert seconds == pytest.approx(engine.calls * engine.mean_ms / 1e3)
    assert [total(each, "warpaint_sessions", pacing="every") for each in (before, meanwhile, after)] == [0, 1, 0]
    assert grown("warpaint_sessions_opened_total") == 1


def test_a_live_film_has_its_drops_counted_by_stage_and_reason(running: Daemon, url: str) -> None:
    """Frames that come all at once take each other's place."""
    before = scraped(url)
    with Wire(running.address) as wire:
        wire.open(SOURCE, painter="identity", pacing="live", max_delay_ms=10_000.0)
        for index in range(8):
            wire.frame(index, bytes(SIZE[0] * SIZE[1] * 3))
        answers = [wire.receive().message for _ in range(8)]
        wire.send(Close(session=0))
        wire.until(Closed)
    after = scraped(url)
    drops = Counter((each.stage, each.reason.value) for each in answers if isinstance(each, Dropped))
    assert drops, "nothing was dropped: this shows nothing"
    for (stage, reason), number in drops.items():
        labels = {"pacing": "live", "stage": stage, "reason": reason}
        assert total(after, "warpaint_frames_dropped_total", **labels) == number + total(
            before, "warpaint_frames_dropped_total", **labels
        )
    painted = sum(isinstance(each, Painted) for each in answers)
    assert total(after, "warpaint_frames_painted_total", pacing="live") == painted + total(
        before, "warpaint_frames_painted_total", pacing="live"
    )


def test_failures_are_counted_by_their_code(running: Daemon, url: str) -> None:
    before = total(scraped(url), "warpaint_frames_failed_total", pacing="every", code="painter_failed")
    with Wire(running.address) as wire:
        wire.open(TINY, painter="painters_under_test:Raises")
        wire.frame(0, TINY_PAYLOAD)
        assert isinstance(wire.receive().message, Error)
    assert total(scraped(url), "warpaint_frames_failed_total", pacing="every", code="painter_failed") == before + 1


def test_what_is_shown_besides(running: Daemon, url: str) -> None:
    page = scraped(url)
    assert total(page, "warpaint_build_info") == total(page, "warpaint_ready") == total(page, "warpaint_healthy") == 1
    assert total(page, "warpaint_resident_bytes", process="daemon") > 10e6
    assert total(page, "warpaint_resident_bytes", process="painter filters") > 10e6
    assert total(page, "process_cpu_seconds_total") > 0
    assert {dict(labels)["queue"] for labels in page["warpaint_queue_depth"]} == {
        *("commands", "frames", "replies", "unsent")
    }
    assert {dict(labels)["painter"] for labels in page["warpaint_painter_queue_depth"]} == {
        *("filters", "identity", "painters_under_test:Raises")
    }
    assert "warpaint_gpu_memory_bytes" not in page


def test_pages(url: str) -> None:
    code, kind, text = get(url, "/metrics")
    assert (code, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert not text.endswith("# EOF\n")
    code, kind, text = get(url, "/metrics?x=1", Accept="application/openmetrics-text; version=1.0.0")
    assert code == 200
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert get(url, "/healthz") == get(url, "/readyz") == (200, "text/plain; charset=utf-8", "ok\n")
    assert get(url, "/")[0] == get(url, "/metrics/x")[0] == 404


def test_the_names_are_those_of_the_docs(url: str) -> None:
    """Of our own metrics, with their kinds."""
    shown = set(re.findall(r"^# TYPE (warpaint_\w+) (\w+)", get(url, "/metrics")[2], re.MULTILINE))
    docs = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(warpaint_\w+)` \| (\w+) \|", docs, re.MULTILINE))
    assert told - {("warpaint_gpu_memory_bytes", "gauge")} == shown


def test_a_client_that_says_nothing_holds_the_others_up_for_a_moment(url: str) -> None:
    host, port = urlsplit(url).netloc.split(":")
    with socket.create_connection((host, int(port))):
        began = time.monotonic()
        assert get(url, "/healthz")[0] == 200
        assert time.monotonic() - began < 4.0


def test_a_storm_of_requests_does_not_slow_the_frames(running: Daemon, url: str) -> None:
    """Eight clients ask without end; rounds without them come in between, so that both see the same machine."""
    ended, storming, answered = threading.Event(), threading.Event(), Counter[int]()

    def ask() -> None:
        while not ended.is_set():
            if storming.wait(0.01):
                answered[get(url, "/metrics")[0]] += 1

    askers = [threading.Thread(target=ask) for _ in range(8)]
    clip = [picture.tobytes() for picture in frames("bikes", SIZE, stop=16)]
    took: dict[bool, list[float]] = {False: [], True: []}
    for each in askers:
        each.start()
    try:
        with Wire(running.address) as wire:
            wire.open(SOURCE, painter="identity", brief=Brief(cut_detection=False))
            camera = Camera(wire)
            camera.film(clip)
            for storm in (False, True) * 4:
                (storming.set if storm else storming.clear)()
                answers = camera.film(clip)
                took[storm] += [each.message.delay_ms for each in answers]
    finally:
        ended.set()
        for each in askers:
            each.join(WITHIN_S)
    assert set(answered) == {200}
    assert answered[200] > 10
    quiet, stormy = statistics.median(took[False]), statistics.median(took[True])
    assert stormy < 1.5 * quiet + 5.0, f"{stormy:.1f} ms a frame in a storm, {quiet:.1f} ms without"


# Whether it is well


def test_a_driver_that_hangs_is_told_and_one_that_goes_on_again(running: Daemon, url: str, gate: Path) -> None:
    gate.unlink(missing_ok=True)
    with Wire(running.address) as wire:
        wire.open(TINY, painter="identity", flow="flows_under_test:Hangs", brief=Brief(cut_detection=False))
        wire.send(FrameIn(session=0, index=0, pts=0), TINY_PAYLOAD)
        wire.until(Painted)
        wire.send(FrameIn(session=0, index=1, pts=40), TINY_PAYLOAD)
        assert get(url, "/healthz")[0] == 200
        assert eventually(lambda: get(url, "/healthz")[0] == 503, WITHIN_S)
        said = get(url, "/healthz")[2]
        assert re.fullmatch(r"the driver's loop has not turned for [\d.]+ s; stalled_s is 2\n", said), said
        assert total(scraped(url), "warpaint_healthy") == 0
        gate.touch()
        wire.until(Painted)
    assert eventually(lambda: get(url, "/healthz")[0] == 200, WITHIN_S)


def test_an_idle_daemon_stays_well(running: Daemon, url: str) -> None:
    time.sleep(2.5)
    assert get(url, "/healthz")[0] == 200


def test_it_is_not_ready_while_it_drains(tmp_path: Path) -> None:
    gate = tmp_path / "open"
    engines = ("--painters", "painters_under_test:Gated", "--flows", "none")
    env = {"WARPAINT_TEST_GATE": str(gate)}
    with daemon(tmp_path, *ANYWHERE, *engines, env=env) as draining, Wire(draining.address) as wire:
        url = base(draining.log)
        wire.open(TINY)
        wire.frame(0, TINY_PAYLOAD)
        assert get(url, "/readyz")[0] == 200
        assert eventually(lambda: total(scraped(url), "warpaint_painter_queue_depth") == 1, WITHIN_S)
        draining.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: get(url, "/readyz")[0] == 503, WITHIN_S)
        assert get(url, "/readyz")[2] == "the daemon is stopping: it finishes the frames in hand\n"
        assert get(url, "/healthz")[0] == 200
        gate.touch()
        wire.until(Painted)
        assert draining.process.wait(WITHIN_S) == 0


def test_it_is_not_ready_while_it_loads(tmp_path: Path) -> None:
    (tmp_path / "made").touch()  # so that it loads for a second
    flags = ("--bind", f"ipc://{tmp_path}/s", "--painters", "painters_under_test:LoadsForLong", *ANYWHERE)
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = start(flags, errors, env={"WARPAINT_TEST_MADE": str(tmp_path / "made")})
    try:
        assert eventually(lambda: "metrics are on" in log.read_text(), STARTED_WITHIN_S)
        url = base(log)
        assert get(url, "/readyz")[::2] == (503, "the engines are being loaded\n")
        assert get(url, "/healthz")[0] == 200
        assert "warpaint_ready 0.0" in get(url, "/metrics")[2]
        assert eventually(lambda: get(url, "/readyz")[0] == 200, STARTED_WITHIN_S)
        process.terminate()
        assert process.wait(WITHIN_S) == 0
    finally:
        process.kill()
        process.communicate()


# Where


def test_a_port_that_is_taken_is_told_at_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = not_started(tmp_path, "--bind", f"ipc://{tmp_path}/s", "--metrics-bind", address)
    assert code == 1
    assert said == (
        f"warpaintd: cannot show metrics on {address}: Address already in use; is another daemon running? "
        "Another port: --metrics-bind\n"
    )
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "9464", "localhost:9464", "127.0.0.1:0", "127.0.0.1:70000"])
def test_only_this_machine_is_shown_them(tmp_path: Path, address: str) -> None:
    code, said = not_started(tmp_path, "--metrics-bind", address)
    assert code == 2
    assert f"'{address}' is not allowed: only 127.0.0.1:PORT (or [::1]) may be bound" in said


def test_unless_it_is_told_to_it_shows_nothing(shared_daemon: Daemon) -> None:
    tcp = subprocess.run(
        ["cat", f"/proc/{shared_daemon.process.pid}/net/tcp"], capture_output=True, text=True, check=True, timeout=10
    )
    inodes = {os.readlink(each) for each in Path(f"/proc/{shared_daemon.process.pid}/fd").iterdir()}  # noqa: PTH115
    listening = [line.split()[9] for line in tcp.stdout.splitlines()[1:] if line.split()[3] == "0A"]
    assert not any(f"socket:[{inode}]" in inodes for inode in listening)
    assert "metrics" not in shared_daemon.log.read_text()
