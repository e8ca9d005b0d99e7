"""Whether the daemon is well: its loops turn; and whether it takes work."""

import time
from dataclasses import dataclass, field
from typing import Literal

# A loop that has nothing to do turns so often, seconds, to show that it could: that costs some microseconds each.
TURN_S = 1.0

Phase = Literal["starting", "serving", "draining"]


@dataclass(slots=True)
class Pulse:
    """When a loop has turned last. Written by its thread, read by any."""

    at: float | None = None  # time.monotonic(); None: it has not begun

    def turned(self) -> None:
        """It has turned."""
        self.at = time.monotonic()


@dataclass(slots=True)
class Health:
    """stalled_s: a loop that has not turned for so long hangs."""

    stalled_s: float
    phase: Phase = "starting"
    gateway: Pulse = field(default_factory=Pulse)
    driver: Pulse = field(default_factory=Pulse)

    def unwell(self) -> str:
        """Why the daemon is not well, in a sentence; empty: it is. Engines that are still loaded are no illness."""
        now = time.monotonic()
        silent = {"gateway": self.gateway.at, "driver": self.driver.at}
        hanging = [
            f"the {name}'s loop has not turned for {now - at:.1f} s"
            for name, at in silent.items()
            if at is not None and now - at > self.stalled_s
        ]
        return f"{' and '.join(hanging)}; stalled_s is {self.stalled_s:g}" if hanging else ""

    def not_ready(self) -> str:
        """Why no session can be opened, in a sentence; empty: some can."""
        if self.phase == "starting":
            return "the engines are being loaded"
        return "the daemon is stopping: it finishes the frames in hand" if self.phase == "draining" else ""
