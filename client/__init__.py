"""Everything that talks to the daemon: the Python client, files and streams, the `warpaint` command."""

from .errors import DaemonGone, FrameFailed, MediaError
from .painting import Client, PaintedImage, Session

__all__ = ["Client", "DaemonGone", "FrameFailed", "MediaError", "PaintedImage", "Session"]
