"""OBS Studio sends to a bridge, and shows in the same picture what it draws and what comes back painted."""

import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from support import screen, stamps
from support.daemon import daemon
from support.obs import FFMPEG_VIDEO, INSTALL, MEDIA_SOURCE, STREAM_ENCODER
from support.programs import program
from support.round_trip import NEGATIVE, Take, filmed

LOOKS = 10
# OBS counts what it gives to its sender, which ends a moment after it was told to, whatever waits there: frames.
UNSENT_AT_THE_END = 10
# A busy machine is slow, but what comes back is never of another round of the film.
LATEST = stamps.AROUND // 2  # frames
WAYS = ("rtmp", "udp", "zmq")

pytestmark = [pytest.mark.programs, pytest.mark.timeout(400)]  # three ways in turn, in the fixture


@dataclass
class Session:
    """What was seen of each way, and what the daemon counted in all."""

    takes: dict[str, Take]
    counted: dict[str, int]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    program("obs", INSTALL)
    program("Xvfb", screen.INSTALL)
    folder = tmp_path_factory.mktemp("obs")
    with daemon(folder, "--painters", NEGATIVE, "--metrics-bind", "127.0.0.1:*") as running:
        takes = {take.way: take for take in filmed(folder, running.address, WAYS, LOOKS)}
        page = re.findall(r"http://\S+/metrics", running.log.read_text())[0]
        with urllib.request.urlopen(page, timeout=10) as answer:
            return Session(takes, dict(counted(answer.read().decode())))


def counted(page: str) -> Iterator[tuple[str, int]]:
    """The frames that the daemon received, painted and dropped, summed over their labels."""
    for what in ("received", "painted", "dropped", "failed"):
        values = re.findall(rf"^warpaint_frames_{what}_total(?:{{.*}})? (\S+)$", page, re.MULTILINE)
        yield what, int(sum(map(float, values)))


@pytest.mark.parametrize("way", WAYS)
def test_the_painted_film_comes_back(session: Session, way: str) -> None:
    take = session.takes[way]
    assert take.code == 0, take.said
    assert "Traceback" not in take.said
    assert len(take.came_back) == LOOKS
    steps = np.diff(take.came_back) % stamps.AROUND
    assert ((steps > 0) & (steps < LATEST)).all()  # it goes on
    assert min(take.delays) > 0
    assert max(take.delays) < LATEST


def test_each_frame_of_the_stream_is_sent_or_told_as_dropped(session: Session) -> None:
    take = session.takes["rtmp"]
    came, sent, dropped = tally(take.said)
    assert came == sent + dropped
    assert LOOKS < came <= take.frames
    assert came >= take.frames - take.skipped - UNSENT_AT_THE_END


def test_the_bridges_and_the_daemon_count_alike(session: Session) -> None:
    tallies = [tally(take.said) for take in session.takes.values()]
    _, sent, _ = map(sum, zip(*tallies, strict=True))
    assert session.counted["painted"] == sent
    assert session.counted["failed"] == 0
    assert session.counted["received"] == sent + session.counted["dropped"]


def test_the_docs_say_the_same_settings() -> None:
    text = (Path(__file__).parents[2] / "docs" / "obs.md").read_text(encoding="utf-8")
    said = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", text, re.MULTILINE)
    for field, value in (
        ("Network Buffering", f"{MEDIA_SOURCE['buffering_mb']} MB"),
        ("Input Format", f"`{MEDIA_SOURCE['input_format']}`"),
        ("Reconnect Delay", f"{MEDIA_SOURCE['reconnect_delay_sec']} s"),
        ("Show nothing when playback ends", "not ticked"),
        ("Restart playback when source becomes active", "not ticked"),
        ("FFmpeg Options", f"`{MEDIA_SOURCE['ffmpeg_options']}`"),
        ("CPU Usage Preset", f"`{STREAM_ENCODER['preset']}`"),
        ("Tune", f"`{STREAM_ENCODER['tune']}`"),
        ("Video Encoder, its settings", f"`libx264`, `{FFMPEG_VIDEO}`"),
    ):
        assert any(name == field and words.startswith(value) for name, words in said), field
    assert not MEDIA_SOURCE["clear_on_media_end"]
    assert not MEDIA_SOURCE["restart_on_activate"]


def tally(said: str) -> tuple[int, int, int]:
    """How many pictures came to a bridge, were sent, and were dropped."""
    found = re.search(r"(\d+) pictures came, (\d+) were sent(.*)", said)
    assert found, said
    dropped = re.findall(r"dropped (\d+) pictures", found[3])
    return int(found[1]), int(found[2]), sum(map(int, dropped))
