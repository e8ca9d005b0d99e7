"""What a stream is given to do, in the order in which it came."""

from dataclasses import dataclass
from typing import Literal

from ..proto.messages import Flush, FrameIn, Hold, Rekey, RequestKeyframe, Update
from ..proto.wire import Payload
from .views import View

Reason = Literal["asked", "shutting_down", "client_gone", "failed"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame as it came: `at` is time.monotonic() of its arrival; images are its control images, as `message` says."""

    message: FrameIn
    payload: Payload
    at: float
    images: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """The session is to end, for this reason, when what came before is done."""

    reason: Reason
    may_return: bool = False  # the session is written down, and its client is not told


# What those who watch may ask for as well.
Steering = Update | Rekey | Hold


@dataclass(frozen=True, slots=True)
class Steered:
    """A request of somebody who watches."""

    view: View
    request: Steering


Item = Arrival | Steering | Steered | RequestKeyframe | Flush | Ending
