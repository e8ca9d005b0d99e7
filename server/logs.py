"""How the daemon and the processes of its painters log."""

import logging


def log_to_stderr(level: int | str) -> None:
    """Sends what is logged from this level on to stderr."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
