"""A live source that waits for the answer to each frame, so that a test says what happens between two of them."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from warpaint.proto.messages import Dropped, Error, FrameIn, Painted

from .daemon import ANSWERED_WITHIN_S, Wire

FRAME_MS = 40


@dataclass
class Camera:
    """Sends frames to an open session. What the daemon says besides answering them is kept in `said`."""

    wire: Wire
    session: int = 0
    next_index: int = 0
    pts: int = 0  # of the next frame
    said: list[Any] = field(default_factory=list)

    def send(self, payload: bytes) -> int:
        """Sends a frame; its index."""
        index = self.next_index
        self.wire.send(FrameIn(session=self.session, index=index, pts=self.pts), payload)
        self.next_index, self.pts = index + 1, self.pts + FRAME_MS
        return index

    def shoot(self, payload: bytes) -> Any:
        """The answer to one frame, with its payloads."""
        index = self.send(payload)
        while True:
            received = self.wire.receive()
            if isinstance(received.message, Painted | Dropped | Error) and received.message.index == index:
                return received
            self.said.append(received.message)

    def film(self, payloads: Iterable[bytes]) -> list[Any]:
        """The answers to some frames, each sent when the one before it is answered."""
        return [self.shoot(payload) for payload in payloads]

    def film_until(self, condition: Callable[[Any], bool], payloads: Iterable[bytes]) -> list[Any]:
        """The answers up to the first that meets the condition, frames taken round and round. Raises TimeoutError."""
        answers = []
        for payload in _in_time(payloads):
            answers.append(self.shoot(payload))
            if condition(answers[-1]):
                return answers
        raise TimeoutError("no frame was answered as it should be")


def _in_time(payloads: Iterable[bytes]) -> Iterator[bytes]:
    """The payloads again and again, some milliseconds apart, until somebody has waited for too long."""
    deadline = time.monotonic() + ANSWERED_WITHIN_S
    for payload in cycle(payloads):
        if time.monotonic() > deadline:
            return
        yield payload
        time.sleep(0.01)
