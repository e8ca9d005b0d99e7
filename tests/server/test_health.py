"""Whether loops turn, and how histograms and GPUs are counted: without a daemon."""

import math
import sys
import time
from types import SimpleNamespace

import pytest

from warpaint.engines import devices
from warpaint.proto.errors import Code
from warpaint.proto.messages import Provenance
from warpaint.server.accounts import Accounts, Stages
from warpaint.server.health import Health
from warpaint.server.tallies import Histogram, Tallies


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.0, 0.1, 0.2, 1.0, 1.1, 50.0):
        histogram.add(value)
    assert histogram.buckets() == [(0.1, 2), (1.0, 4), (math.inf, 6)]
    assert histogram.sum == pytest.approx(52.4)


def test_streams_share_their_tallies() -> None:
    tallies = Tallies()
    first, second = Accounts(tallies), Accounts(tallies)
    for accounts in (first, second, second):
        accounts.received()
        accounts.painted((16, 8), Provenance.WARPED, 0.25, Stages({"match": 20.0}), 40.0)
    first.dropped("queue", Code.LATE)
    second.failed(Code.FLOW_FAILED)
    second.paint(keyframes=1, pixels=64)
    assert (first.totals.painted, second.totals.painted) == (1, 2)
    assert tallies.counts == {
        "received": 3,
        "canvas_pixels": 384,
        "hole_pixels": 96,
        "keyframes": 1,
        "painted_pixels": 64,
    }
    assert tallies.painted == {"warped": 3}
    assert tallies.dropped == {("queue", "late"): 1}
    assert tallies.failed == {"flow_failed": 1}
    assert tallies.delay.sum == pytest.approx(0.12)
    assert tallies.stages["match"].buckets()[5] == (0.025, 3)


def test_loops_that_have_not_begun_are_well() -> None:
    health = Health(2.0)
    assert (health.unwell(), health.not_ready()) == ("", "the engines are being loaded")


def test_what_hangs_is_named() -> None:
    health = Health(2.0, phase="serving")
    health.gateway.turned()
    health.driver.at = time.monotonic() - 5.0
    assert health.unwell() == "the driver's loop has not turned for 5.0 s; stalled_s is 2"
    health.gateway.at = time.monotonic() - 6.0
    both = "the gateway's loop has not turned for 6.0 s and the driver's loop has not turned for 5.0 s; stalled_s is 2"
    assert health.unwell() == both
    assert health.not_ready() == ""


def test_memory_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU to try it on: torch is played."""
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 1,
        mem_get_info=lambda number: (6, 24),
        memory_allocated=lambda number: 10,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert devices.memory() == [devices.Memory("cuda:0", tensors=10, taken=18, total=24)]
    cuda.is_initialized = lambda: False
    assert devices.memory() == []
