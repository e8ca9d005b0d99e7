"""The queues of a bridge: bounded, and what is dropped begins and ends at a keyframe."""

import select
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from warpaint.client.bridge.inbox import PICTURES, Inbox
from warpaint.client.bridge.lane import WAITING_PACKETS, Lane
from warpaint.client.bridge.parts import Coded, Layout, Picture, Shape, Sound, Tracks
from warpaint.client.film.media import ColourTags
from warpaint.proto.messages import Source

ENDS_WITHIN_S = 5.0
LAYOUT = Layout("h264", (64, 48), Tracks())


class Gate:
    """A reader that reads when the gate is open. `fails`: and then goes away."""

    name = "a reader"
    calls = False

    def __init__(self, *, fails: bool = False, comes_back: bool = False) -> None:
        self.comes_back = comes_back
        self.tries = 0
        self.taken: list[bytes] = []
        self.opened = threading.Event()
        self.reached = threading.Event()
        self._fails = fails

    def open(self) -> None:
        self.tries += 1
        if self.comes_back and self.tries <= 3:
            raise ConnectionRefusedError("nobody is there")

    def write(self, data: bytes) -> int:
        self.reached.set()
        self.opened.wait(ENDS_WITHIN_S)
        if self._fails:
            raise BrokenPipeError("gone")
        self.taken.append(data)
        return len(data)

    def flush(self) -> None:
        pass

    def interrupt(self) -> None:
        self.opened.set()

    def close(self) -> None:
        pass


class Bench:
    """A lane, its reader, and what was heard of it."""

    def __init__(self, *, fails: bool = False, comes_back: bool = False) -> None:
        self.gate = Gate(fails=fails, comes_back=comes_back)
        self.said: list[str] = []
        self.wanted = 0
        self.begun = threading.Event()
        self.lane = Lane(self.gate, wants_key=self._wants, say=self.said.append)
        self.number = 0

    def _wants(self) -> None:
        self.wanted += 1
        self.begun.set()

    def put(self, *, key: bool = False, track: int = 0) -> None:
        self.lane.put(Coded(track, self.number, 1, key, str(self.number).encode(), LAYOUT))
        self.number += 1


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.lane.close(ENDS_WITHIN_S)


def started(bench: Bench) -> None:
    """Puts a keyframe, which the reader is then about to take."""
    while not bench.gate.reached.wait(0.01):
        bench.put(key=True)
    bench.number = 1000


def test_a_lane_begins_at_a_keyframe_of_the_picture(bench: Bench) -> None:
    bench.gate.opened.set()
    assert bench.begun.wait(ENDS_WITHIN_S)
    for key, track in ((False, 0), (True, 1), (True, 0), (False, 0)):
        bench.put(key=key, track=track)
    bench.lane.close(ENDS_WITHIN_S)
    assert bench.gate.taken == [b"2", b"3"]


def test_a_slow_reader_loses_what_waits_up_to_a_keyframe(bench: Bench) -> None:
    started(bench)
    asked = bench.wanted
    while not bench.lane.dropped:
        bench.put()
    dropped = bench.lane.dropped
    assert dropped > WAITING_PACKETS
    assert bench.wanted == asked + 1
    bench.put()
    bench.put(key=True)
    last = bench.number - 1
    bench.gate.opened.set()
    bench.lane.close(ENDS_WITHIN_S)
    assert bench.gate.taken[-1] == str(last).encode()
    assert len(bench.said) == 1


def test_a_reader_that_is_gone_ends_the_lane() -> None:
    bench = Bench(fails=True)
    bench.gate.opened.set()
    started(bench)
    bench.lane.close(ENDS_WITHIN_S)
    assert bench.lane.over
    assert bench.lane.broken == "gone"
    bench.put(key=True)  # does no harm


def test_a_reader_that_is_not_there_yet_is_looked_for_again_and_nothing_waits_meanwhile() -> None:
    bench = Bench(comes_back=True)
    for _ in range(2 * WAITING_PACKETS):
        bench.put(key=True)
    assert bench.lane.dropped == 0
    bench.gate.opened.set()
    assert bench.begun.wait(ENDS_WITHIN_S)
    started(bench)
    bench.lane.close(ENDS_WITHIN_S)
    assert bench.gate.tries == 4
    assert bench.said == ["a reader: nobody is there; trying again"]


def test_a_lane_whose_reader_is_not_there_ends_at_once() -> None:
    bench = Bench(comes_back=True)
    bench.gate.tries = -1_000
    bench.lane.close(ENDS_WITHIN_S)
    assert bench.lane.over


# The inbox


def picture(number: int) -> Picture:
    shape = Shape(Source(width=4, height=2, pixels="yuv420p"), ColourTags())
    return Picture(number, 1, 0.0, shape, np.zeros(12, np.uint8))


def test_the_newest_pictures_are_kept_and_the_sound_between_them() -> None:
    inbox = Inbox()
    for number in range(PICTURES + 2):
        inbox.put(picture(number))
        inbox.put(Sound(1, number, 1, 0.0, b""))
    items, _ = inbox.take()
    assert [item.pts for item in items if isinstance(item, Picture)] == [2, 3, 4]
    assert [item.pts for item in items if isinstance(item, Sound)] == [0, 1, 2, 3, 4]
    assert (inbox.received, inbox.dropped) == (PICTURES + 2, 2)
    inbox.close()


def test_whoever_waits_is_woken_and_only_then() -> None:
    inbox = Inbox()
    assert select.select([inbox], [], [], 0)[0] == []
    inbox.say("a word")
    assert select.select([inbox], [], [], 0)[0] == [inbox]
    assert inbox.take() == ([], ["a word"])
    assert select.select([inbox], [], [], 0)[0] == []
    inbox.close()
    inbox.put(picture(0))  # nobody takes it any more
