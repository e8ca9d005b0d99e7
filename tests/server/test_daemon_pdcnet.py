"""PDCNet+ in a real daemon, with made weights: what it says at the start, both pacings, sizes, and what it refuses."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from support.clips import frames
from support.daemon import Daemon, Wire, daemon, not_started
from support.pdc_exported import Exported
from warpaint.client.painting import Client
from warpaint.proto.errors import RETRY, Code
from warpaint.proto.messages import Error, Open, Painted, Source

SIZE = (96, 64)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
LARGE = Source(width=768, height=512)
FLAGS = ("--pdcnet-preset", "fast", "--device", "cpu")
INTRODUCED = re.compile(
    r"flow pdcnet: PDCNet\+ by (.+) on cpu, fp32, preset fast \(3 local and 3 global iterations\), "
    r"weights [0-9a-f]{12} of weights.safetensors; a frame of 256x256 takes ([\d.]+) s with one reference, "
    r"([\d.]+) s more with each further one"
)


@pytest.fixture(scope="module")
def running(pdc_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """On torch, beside DIS."""
    flags = [*("--flows", "pdcnet,dis"), *("--pdcnet-weights", str(pdc_file)), *FLAGS]
    with daemon(tmp_path_factory.mktemp("daemon"), *flags) as made:
        yield made


@pytest.fixture(scope="module")
def with_graphs(pdc_exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """On ONNX Runtime, with the graphs of 256x256 alone."""
    flags = [*("--flows", "pdcnet"), *("--pdcnet-weights", str(pdc_exported.file)), *FLAGS]
    flags += ["--pdcnet-runtime", "onnx", "--pdcnet-cache", str(pdc_exported.cache)]
    with daemon(tmp_path_factory.mktemp("daemon"), *flags) as made:
        yield made


@pytest.fixture(scope="module")
def clip() -> list[NDArray[np.uint8]]:
    return list(frames("bikes", SIZE, stop=4))


def introduced(running: Daemon) -> tuple[str, float, float]:
    """The runtime that the log tells of, and the seconds of a match with a new target, and with a known one."""
    found = INTRODUCED.search(running.log.read_text())
    assert found, running.log.read_text()
    return found[1], float(found[2]), float(found[3])


def painted(running: Daemon, clip: list[NDArray[np.uint8]], **wishes: Any) -> list[Any]:
    with (
        Client(running.address) as client,
        client.session(painter="filters", look="poster", repaint_gap_s=0.0, **wishes) as session,
    ):
        return list(session.paint(clip))


def test_at_the_start_it_says_what_it_runs_on_and_what_a_frame_takes(running: Daemon) -> None:
    runtime, first, further = introduced(running)
    assert runtime == f"torch {torch.__version__}"
    assert 0 < further < first
    assert "flow dis" not in running.log.read_text()


@pytest.fixture(scope="module")
def by_torch(running: Daemon, clip: list[NDArray[np.uint8]]) -> list[Any]:
    return painted(running, clip, flow="pdcnet")


def test_a_film_is_painted_along_its_flow_and_along_that_of_dis(
    running: Daemon, clip: list[NDArray[np.uint8]], by_torch: list[Any]
) -> None:
    """Made weights find motion that is not there, so that their film is another one."""
    by_dis = painted(running, clip, flow="dis")
    for results in (by_torch, by_dis):
        assert [each.index for each in results] == list(range(len(clip)))
        assert [each.image.shape for each in results] == [each.shape for each in clip]
        assert [each.info.provenance for each in results] == ["painted", *["warped"] * (len(clip) - 1)]
    assert [off(*each) > 0.5 for each in zip(by_torch, by_dis, strict=True)] == [False, True, True, True]


def off(one: Any, other: Any) -> float:
    """The share of bytes that differ in two results."""
    return float(np.mean(one.image != other.image))


def test_status_shows_what_it_holds_and_how_often_it_was_asked(running: Daemon, by_torch: list[Any]) -> None:
    with Client(running.address) as client:
        [engine] = [each for each in client.status().engines if each.name == "pdcnet"]
    assert engine.kind == "flow"
    assert engine.memory_bytes is not None
    assert engine.memory_bytes > 70_000_000
    assert engine.calls >= 2 * len(by_torch) - 1


def test_live_it_is_refused_with_what_would_fit(running: Daemon) -> None:
    """On a CPU; and meanwhile nothing hangs."""
    with Wire(running.address) as wire:
        wire.send(Open(session=0, source=SOURCE, pacing="live", flow="pdcnet", max_delay_ms=50.0))
        error = wire.expect(Error)
        assert (error.code, error.retry) == (Code.OVERLOADED, RETRY[Code.OVERLOADED])
        fits = re.search(r"max_delay_ms 50: max_delay_ms (\d+) would fit", error.message)
        assert fits, error.message
        wire.open(SOURCE, pacing="live", flow="pdcnet", max_delay_ms=10.0 * float(fits[1]))
        wire.frame(0, bytes(SIZE[0] * SIZE[1] * 3))
        assert wire.expect(Painted).index == 0


def test_a_canvas_that_is_too_small_is_refused(running: Daemon) -> None:
    with Wire(running.address) as wire:
        narrow = Source(width=4096, height=8)
        wire.send(Open(session=0, source=narrow, pacing="live", flow="pdcnet", max_delay_ms=60_000.0))
        error = wire.expect(Error)
        assert error.code is Code.UNSUPPORTED
        assert "PDCNet+ takes pictures from 8x8 on, not 3547x7" in error.message


def test_with_graphs_the_film_is_the_same_but_for_rounding(
    with_graphs: Daemon, clip: list[NDArray[np.uint8]], by_torch: list[Any]
) -> None:
    assert introduced(with_graphs)[0] == f"ONNX Runtime {onnxruntime.__version__}"
    results = painted(with_graphs, clip[:2])
    assert [each.info.provenance for each in results] == ["painted", "warped"]
    assert all(off(*each) < 0.01 for each in zip(results, by_torch[:2], strict=True))


def test_a_size_without_graphs_is_refused_with_the_command_that_makes_them(with_graphs: Daemon) -> None:
    with Wire(with_graphs.address) as wire:
        wire.send(Open(session=0, source=LARGE, flow="pdcnet"))
        error = wire.expect(Error)
    assert (error.code, error.retry) == (Code.UNSUPPORTED, RETRY[Code.UNSUPPORTED])
    said, _, command = error.message.partition("; this makes them: ")
    assert said == "PDCNet+ has no graphs for pictures of 768x512"
    python, dash_m, module, *arguments = shlex.split(command)
    assert (python, dash_m, module) == ("python", "-m", "warpaint.engines.flow.export")
    assert arguments[arguments.index("--size") + 1] == "768x512"


# A daemon that cannot start says why


def test_of_the_published_file_the_command_that_converts_it_is_said(tmp_path: Path) -> None:
    published = tmp_path / "PDCNet_plus_m.pth.tar"
    published.write_bytes(b"PK\x03\x04 and so on")
    flags = ["--bind", f"ipc://{tmp_path}/s", "--flows", "pdcnet", "--pdcnet-weights", str(published)]
    code, said = not_started(tmp_path, *flags)
    assert code == 1
    assert "Traceback" not in said
    command = f"python -m warpaint.engines.flow.convert {published} {tmp_path}/PDCNet_plus_m.safetensors"
    assert f"`{command}`" in said
