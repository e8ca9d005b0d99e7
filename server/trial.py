"""Generated pictures, to try a flow engine on before there is a film: what it takes on this machine."""

import logging
import time
from typing import cast

import cv2
import numpy as np

from ..engines.base import Features, Match, MatchRequest, Picture
from .asks import Encode, MatchAsk
from .engine_room import FlowRunner

log = logging.getLogger(__name__)

# Tried where an engine names no sizes: the least that PDCNet+ computes at.
USUAL_SIZE = (256, 256)
# Frames between the two of a known motion: 4 pixels to the right and 8 down, which every engine can follow.
MOVED_BY = 4
# A first match that takes longer than this, seconds, is believed, and no second one made: it would only keep the daemon
# from starting. What comes sooner may be what a GPU does once.
BELIEVED_S = 10.0


def ground(size: tuple[int, int]) -> Picture:
    """A soft picture with room around it, 64 pixels each way: windows of `size` into it are frames of a moving film."""
    width, height = size
    noise = np.random.default_rng(0).integers(0, 255, (-(-height // 8) + 8, -(-width // 8) + 8, 3), np.uint8)
    return cv2.resize(noise, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)


def frame(ground: Picture, size: tuple[int, int], index: int) -> Picture:
    """The frame of this index, 0 to 31."""
    width, height = size
    return np.ascontiguousarray(ground[2 * index : 2 * index + height, index : index + width])


def introduce(runner: FlowRunner) -> None:
    """Logs what an engine says of itself, with the seconds that a frame takes. Raises RefusedError if it fails."""
    description = getattr(runner.flow, "description", None)
    if description is None:
        return
    for size in getattr(runner.flow, "sizes", ()) or (USUAL_SIZE,):
        first, further = _match_s(runner, size)
        log.info(
            "flow %s: %s; a frame of %dx%d takes %.3g s with one reference, %.2g s more with each further one",
            *(runner.name, description, *size, first, further),
        )


def _match_s(runner: FlowRunner, size: tuple[int, int]) -> tuple[float, float]:
    """Seconds for a new frame with a reference that is known, and for one more reference."""
    film = ground(size)
    reference = _features(runner, frame(film, size, 0))
    first = further = 0.0
    for index in (1, 2):
        began = time.perf_counter()
        target = _features(runner, frame(film, size, index))
        ask = MatchAsk(MatchRequest(target, [reference], [None]), size)
        runner.answer([ask])
        matched = time.perf_counter()
        runner.answer([ask])  # what depends on the target alone is kept
        first, further = matched - began, time.perf_counter() - matched
        if first > BELIEVED_S:
            break
    return first, further


def known_motion(runner: FlowRunner, size: tuple[int, int]) -> tuple[float, float]:
    """Seconds of one match of pictures of this size, and by how many pixels it misses their motion, at the median.

    Raises RefusedError if the engine fails.
    """
    film = ground(size)
    began = time.perf_counter()
    target, source = (_features(runner, frame(film, size, index)) for index in (MOVED_BY, 0))
    [[match]] = runner.answer([MatchAsk(MatchRequest(target, [source], [None]), size)])
    seconds = time.perf_counter() - began
    motion = np.array((MOVED_BY, 2 * MOVED_BY), np.float32)  # as `frame` moves the window, to the right and down
    misses = np.linalg.norm(cast(Match, match).flow - motion, axis=2)
    return seconds, float(np.median(misses))


def _features(runner: FlowRunner, picture: Picture) -> Features:
    [[features]] = runner.answer([Encode([picture])])
    return cast(Features, features)
