"""Third-party flow engines that inherit nothing of ours: one behaves, the others do not, two trust too much."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from warpaint.engines.base import Features, Flow, Match, MatchRequest, Picture
from warpaint.engines.flow.dis import Dis


@dataclass(frozen=True)
class _Features:
    picture: Picture

    key = "still"
    nbytes = 0


@dataclass(frozen=True)
class _Match:
    flow: Any
    confidence: Any


def _picture(features: Features) -> Picture:
    if not isinstance(features, _Features):
        raise TypeError("features of another engine")
    return features.picture


class Still:
    """Behaves: nothing ever moves."""

    def encode(self, pictures: Sequence[Picture]) -> list[Any]:
        return [_Features(picture) for picture in pictures]

    def match(self, requests: Sequence[MatchRequest]) -> list[list[Any]]:
        return [[self.still(_picture(each.target).shape[:2]) for _ in each.sources] for each in requests]

    def still(self, shape: tuple[int, ...]) -> Any:
        return _Match(np.zeros((*shape, 2), np.float32), np.ones(shape, np.float32))


class Hangs(Still):
    """Does not come back from a match until a file is there."""

    def match(self, requests: Sequence[MatchRequest]) -> list[list[Any]]:
        while not Path(os.environ["WARPAINT_TEST_GATE"]).exists():
            time.sleep(0.05)
        return super().match(requests)


class RaisesInEncode(Still):
    def encode(self, pictures: Sequence[Picture]) -> list[Any]:
        raise RuntimeError("the current is too strong")


class RaisesNowAndThen(Still):
    """Fails at every third match."""

    count = 0

    def still(self, shape: tuple[int, ...]) -> Any:
        self.count += 1
        if self.count % 3 == 0:
            raise RuntimeError("the current is too strong")
        return super().still(shape)


class TooFew(Still):
    def match(self, requests: Sequence[MatchRequest]) -> list[list[Any]]:
        return [[] for _ in requests]


class WrongShape(Still):
    def still(self, shape: tuple[int, ...]) -> Any:
        return super().still((3, 5))


class NoMatch(Still):
    def still(self, shape: tuple[int, ...]) -> Any:
        return "it flows"


class NotNumbers(Still):
    def still(self, shape: tuple[int, ...]) -> Any:
        return _Match(np.full((*shape, 2), np.nan, np.float32), np.full(shape, np.nan, np.float32))


class NoFlow:
    pass


class Trusting:
    """DIS that is sure of whatever it finds, occluded or not."""

    def __init__(self) -> None:
        self._dis = Dis()

    def encode(self, pictures: Sequence[Picture]) -> list[Any]:
        return self._dis.encode(pictures)

    def match(self, requests: Sequence[MatchRequest]) -> list[list[Any]]:
        found = self._dis.match(requests)
        return [
            [self.trusted(match, guess) for match, guess in zip(matches, request.guesses, strict=True)]
            for request, matches in zip(requests, found, strict=True)
        ]

    def trusted(self, match: Match, guess: Flow | None) -> Match:
        return Match(match.flow, np.ones_like(match.confidence))


class TrustingLast(Trusting):
    """And trusts nothing but the last output, which is matched first and without a guess: so paint is chained on."""

    def trusted(self, match: Match, guess: Flow | None) -> Match:
        sure = np.ones_like if guess is None else np.zeros_like
        return Match(match.flow, sure(match.confidence))
