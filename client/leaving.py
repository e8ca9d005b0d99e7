"""The end of a command."""

import os
import sys
import threading

# Threads that FFmpeg may hold, waiting for a sender or a camera, when all else has ended, have this name.
HELD = "bridge-reader"


def leave(code: int) -> None:
    """Ends the process with this code, or returns if that is 0 and it can end by itself.

    A thread that FFmpeg holds goes on while the interpreter is taken down, with what it looks at: that ends in a crash.
    So the process ends at once then. Nothing is lost: all else is closed, and what was said is written.
    """
    if any(each.is_alive() and each.name == HELD for each in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    if code:
        raise SystemExit(code)
