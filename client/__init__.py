"""Everything that talks to the daemon: the Python client, files and streams, the `warpaint` command."""

from .conversation import Drop
from .errors import DaemonGone, FrameFailed, MediaError
from .painting import Client, PaintedImage, Session

__all__ = ["Client", "DaemonGone", "Drop", "FrameFailed", "MediaError", "PaintedImage", "Session"]
