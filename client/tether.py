"""Ends this process with the one that has started it, however that ends."""

import os
import signal
import sys
import threading
import time

# How long it may take to end as on SIGTERM, seconds, before it ends at once. A bridge takes four at most.
GRACE_S = 10.0
FAILED = 1


def end_with_stdin() -> None:
    """From now on SIGTERM comes when standard input closes. What is written there is not read by anybody else."""
    threading.Thread(target=_watch, name="tether", daemon=True).start()


def _watch() -> None:
    while _open():
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(FAILED)


def _open() -> bool:
    """Whether standard input has not closed yet. No buffer: one that a thread waits in aborts the exit."""
    if sys.stdin is None:
        return False
    try:
        return bool(os.read(sys.stdin.fileno(), 4096))
    except OSError:
        return False
