"""`warpaint bridge` at an even rate, `--out-rate`."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import pytest

from support.bridge import AT_ONCE, COMES_WITHIN_S, LIVE, PATTERN, Programs, free_port, refused
from support.daemon import Daemon

TCP = "tcp://127.0.0.1:{}"
LISTEN = "?listen=1"
SINE = ("-f", "lavfi", "-i", "sine=r=48000")


@pytest.fixture
def programs(ffmpeg: str, shared_daemon: Daemon, tmp_path: Path) -> Iterator[Programs]:
    made = Programs(ffmpeg, shared_daemon.address, tmp_path)
    yield made
    made.end_all()


def times(film: Path, kind: str) -> list[float]:
    """When the packets of picture or sound are to be shown, seconds."""
    with av.open(str(film)) as container:
        return [float(each.pts * each.time_base) for each in container.demux(**{kind: 0}) if each.pts is not None]


def test_pictures_go_on_evenly_while_nothing_comes(programs: Programs, tmp_path: Path) -> None:
    """The sender is away for two seconds; MPEG-TS has the exact times."""
    source, out = TCP.format(free_port()), tmp_path / "out.ts"
    bridge = programs.standing(source + LISTEN, str(out), "--out-rate", "30")
    sent = ("-re", *PATTERN, "-re", *SINE, "-t", "2", *LIVE, "-c:a", "aac", "-f", "nut", *AT_ONCE)
    for _ in range(2):
        programs.start(*sent, source).wait(COMES_WITHIN_S)
        time.sleep(2.0)  # this is what is tested
    code, said = bridge.stop()
    assert code == 0, said
    assert "of them again" in said
    pictures, sound = times(out, "video"), times(out, "audio")
    steps = [30 * (later - earlier) for earlier, later in pairwise(pictures)]
    assert steps == pytest.approx([round(step) for step in steps], abs=1e-3)
    assert sum(round(step) == 1 for step in steps) > 0.95 * len(steps)  # all, unless the machine stood still
    assert pictures[-1] - pictures[0] > 6.0
    assert sound == sorted(sound)
    assert sound[-1] < pictures[-1]  # it ended when the sender did


def test_a_rate_that_is_none_is_told(programs: Programs) -> None:
    assert "--out-rate goes up to 240 pictures a second, and is 1000" in refused(
        programs, "-", "-", "--out-rate", "1000"
    )
