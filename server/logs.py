"""How the daemon and the processes of its painters log."""

import logging
import os


def log_to_stderr(level: int | str) -> None:
    """Sends what is logged from this level on to stderr."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def fill_standard_descriptors() -> None:
    """Opens /dev/null for those of stdin, stdout and stderr that are closed.

    Otherwise the next file or socket would take their place, and get what a library or a child process writes there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
