"""What is said of a flow engine when the daemon starts, and the pictures that it is tried on."""

import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from warpaint.engines.base import Features, Match, MatchRequest, Picture
from warpaint.engines.flow.dis import Dis
from warpaint.proto.errors import Code, RefusedError
from warpaint.server import trial
from warpaint.server.engine_room import FlowRunner
from warpaint.server.trial import frame, ground, introduce

SAID = re.compile(
    r"flow (.*): (.*); a frame of (\d+x\d+) takes ([\d.e-]+) s with one reference, ([\d.e-]+) s more with each .*"
)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


class Described:
    """A third-party engine that says what it runs on, and notes the pictures that it is given and matches."""

    description = "Stillness by hand"

    def __init__(self, sizes: Sequence[tuple[int, int]] = ()) -> None:
        self.sizes = sizes
        self.seen: list[Picture] = []
        self.matches: list[tuple[Features, Features]] = []

    def encode(self, pictures: Sequence[Picture]) -> list[Any]:
        self.seen += pictures
        return list(pictures)

    def match(self, requests: Sequence[MatchRequest]) -> list[list[Match]]:
        self.matches += [(each.target, source) for each in requests for source in each.sources]
        return [[Match.identity(as_picture(each.target).shape[:2]) for _ in each.sources] for each in requests]


def as_picture(features: object) -> Picture:
    assert isinstance(features, np.ndarray)
    return features


def test_an_engine_that_says_nothing_is_not_introduced(logged: pytest.LogCaptureFixture) -> None:
    runner = FlowRunner("dis", Dis())
    introduce(runner)
    assert (logged.records, runner.usage.calls) == ([], 0)


def test_a_new_frame_is_matched_with_one_that_is_known(logged: pytest.LogCaptureFixture) -> None:
    """Twice, as the first time other things start; and each frame moves on, so that nothing is at hand."""
    flow = Described()
    introduce(FlowRunner("still", flow))
    reference, first, second = flow.seen
    assert {each.shape for each in flow.seen} == {(256, 256, 3)}
    asked = [(id(target), id(source)) for target, source in flow.matches]
    assert asked == [(id(target), id(reference)) for target in (first, first, second, second)]
    assert not np.array_equal(first, second)
    [record] = logged.records
    found = SAID.fullmatch(record.getMessage())
    assert found
    assert found.groups()[:3] == ("still", "Stillness by hand", "256x256")
    assert all(0 <= float(seconds) < 1 for seconds in found.groups()[3:])


def test_a_slow_match_is_believed_at_once(logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "BELIEVED_S", 0.0)
    flow = Described()
    introduce(FlowRunner("still", flow))
    assert len(flow.seen) == 2
    assert len(logged.records) == 1


def test_each_size_that_an_engine_is_for_is_tried(logged: pytest.LogCaptureFixture) -> None:
    flow = Described([(96, 64), (301, 250)])
    introduce(FlowRunner("still", flow))
    assert [SAID.fullmatch(each.getMessage())[3] for each in logged.records] == ["96x64", "301x250"]  # type: ignore[index]
    assert {each.shape for each in flow.seen} == {(64, 96, 3), (250, 301, 3)}


def test_an_engine_that_fails_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails(Described):
        def match(self, requests: Sequence[MatchRequest]) -> list[list[Match]]:
            raise RuntimeError("out of memory")

    with pytest.raises(RefusedError, match="'still' failed: RuntimeError: out of memory") as caught:
        introduce(FlowRunner("still", Fails()))
    assert caught.value.code is Code.FLOW_FAILED


@pytest.mark.parametrize("size", [(8, 8), (96, 64), (301, 250)])
def test_its_pictures_are_a_film_that_moves(size: tuple[int, int]) -> None:
    width, height = size
    film = ground(size)
    for index in (0, 1, 31):
        picture = frame(film, size, index)
        assert (picture.shape, picture.dtype) == ((height, width, 3), np.dtype(np.uint8))
        assert picture.flags.c_contiguous
        np.testing.assert_array_equal(picture, film[2 * index : 2 * index + height, index : index + width])
    np.testing.assert_array_equal(ground(size), film)
