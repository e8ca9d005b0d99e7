"""The budget of cores, for machines of several sizes, and as it is set in real processes."""

import subprocess
import sys

import pytest

from warpaint.server.cores import Cores, available, budget


@pytest.mark.parametrize(
    ("cores", "expected"),
    [(1, Cores(1, 1)), (2, Cores(2, 1)), (3, Cores(3, 1)), (8, Cores(8, 4)), (64, Cores(8, 32))],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_the_defaults_follow_the_machine(cores: int, expected: Cores) -> None:
    assert budget(cores) == expected


def test_settings_count_before_the_machine() -> None:
    assert budget(8, flow_threads=3) == Cores(3, 4)
    assert budget(8, painter_threads=12) == Cores(8, 12)


def test_only_cores_that_the_process_may_run_on_are_counted() -> None:
    code = """
import os
from warpaint.server.cores import available
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(available())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"1\n"
    assert available() >= 1


def test_threads_are_limited_in_those_libraries_alone_that_are_loaded() -> None:
    code = """
import sys, types
from warpaint.server.cores import limit_threads
limit_threads(opencv=3, torch=5)
assert not {"cv2", "torch"} & set(sys.modules)
import cv2
sys.modules["torch"] = torch = types.ModuleType("torch")
torch.set_num_threads = lambda number: print("torch", number)
limit_threads(opencv=3, torch=5)
print("cv2", cv2.getNumThreads())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"torch 5\ncv2 3\n"
