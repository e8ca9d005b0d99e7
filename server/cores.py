"""The budget of cores: how many threads each part of the daemon computes with. Decided here, and set here alone.

The parts may overlap: in pacing `every` a session's flow waits while its keyframe is painted, and a painter's process
has a lower priority, so that it takes what the flow leaves.
"""

import os
import sys
from dataclasses import dataclass

# Most threads that share a frame's flow and warping. They take milliseconds, most of it memory traffic: past eight
# threads, waking them and waiting for the last one costs more than another one saves.
MOST_FLOW_THREADS = 8
# Of all cores, the share that a painter computes with: one in two. Two painters fill the machine; where a core runs two
# threads, half of them are as many as there are units that compute; and on two cores one is left to the flow.
CORES_A_PAINTER_THREAD = 2


@dataclass(frozen=True, slots=True)
class Cores:
    """Threads that share a frame's work in the daemon itself, and threads of each painter."""

    daemon: int
    painter: int

    def torch(self, *, isolated: bool) -> int:
        """Threads of torch in the daemon itself: there it is a flow's, unless painters paint there too."""
        return self.daemon if isolated else self.painter


def available() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def budget(cores: int, *, flow_threads: int = 0, painter_threads: int = 0) -> Cores:
    """The threads of each part on so many cores; the settings count where they are not 0."""
    return Cores(
        daemon=flow_threads or min(cores, MOST_FLOW_THREADS),
        painter=painter_threads or max(1, cores // CORES_A_PAINTER_THREAD),
    )


def limit_threads(*, opencv: int, torch: int) -> None:
    """Sets this process's threads a call, of those libraries that are loaded: an engine may need neither."""
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(opencv)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(torch)
