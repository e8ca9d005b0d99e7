"""What a session has sent, or is to send once there is a connection, and has no answer to yet."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..proto.limits import MAX_REQUESTS
from ..proto.messages import Flush, FrameIn, Hold, Rekey, Resumed, Update

Request = Update | Rekey | Hold | Flush


@dataclass(slots=True)
class Owed:
    """A message that is to be answered, and its payloads. lost: no answer will come; done: there is one."""

    message: FrameIn | Request
    payloads: tuple[Any, ...] = ()
    lost: bool = False
    done: bool = False


class Ledger:
    """The messages in the order of sending, each until it is answered. The credit bounds it, and with it what it holds.

    Of a request, the first answer counts. One that was done is remembered for a while: a daemon that was killed, and
    went on with what it had written down before, has forgotten it.
    """

    def __init__(self) -> None:
        self._frames = 0
        self._owed: dict[tuple[str, int], Owed] = {}

    @property
    def frames(self) -> int:
        """How many frames are not answered."""
        return self._frames

    def add(self, owed: Owed) -> None:
        """Something is sent."""
        if isinstance(owed.message, FrameIn):
            self._frames += 1
            self._owed["frame", owed.message.index] = owed
        else:
            self._owed["request", owed.message.request] = owed

    def frame(self, index: int) -> FrameIn | None:
        """The frame that is answered now; None: it was answered before, or counted as lost."""
        owed = self._owed.pop(("frame", index), None)
        if owed is None or not isinstance(owed.message, FrameIn):
            return None
        self._frames -= 1
        return owed.message

    def request(self, request: int) -> None:
        """A request is answered, and nothing will be left of it: it was refused, or is over."""
        self._owed.pop(("request", request), None)

    def done(self, request: int) -> None:
        """A request is answered, and changes the session."""
        owed = self._owed.get(("request", request))
        if owed is None:
            return
        owed.done = True
        done = [key for key, each in self._owed.items() if each.done]
        for key in done[: len(done) - MAX_REQUESTS]:
            del self._owed[key]

    def to_send_again(self, resumed: Resumed, *, frames: bool) -> Iterator[Owed]:
        """What did not arrive, in its order. Frames that are neither that nor still to be answered are marked as lost.

        frames: False: those are not sent again, but lost.
        """
        last_index = -1 if resumed.last_index is None else resumed.last_index
        last_request = -1 if resumed.last_request is None else resumed.last_request
        pending = set(resumed.pending)
        for owed in self._owed.values():
            message = owed.message
            if not isinstance(message, FrameIn):
                again = message.request > last_request
            else:
                again = frames and message.index > last_index
                owed.lost = not again and message.index not in pending
            if again:
                yield owed

    def take_lost(self, *, in_order: bool) -> list[FrameIn]:
        """Frames that are lost, no longer owed. in_order: none while one before it is still to be answered."""
        lost: list[FrameIn] = []
        for owed in self._owed.values():
            if not isinstance(owed.message, FrameIn):
                continue
            if owed.lost:
                lost.append(owed.message)
            elif in_order:
                break
        for frame in lost:
            self.frame(frame.index)
        return lost
