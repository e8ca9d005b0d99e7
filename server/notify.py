"""Tells a service manager how the daemon does, as sd_notify(3) has it: datagrams of lines NAME=VALUE.

Few lines of our own: the package sdnotify is no more than that, and no release of it has come for years.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping

from .health import Health

log = logging.getLogger(__name__)

# The part of the watchdog's time after which it is fed again: the half, as sd_watchdog_enabled(3) recommends.
FED_EACH = 0.5


class Notifier:
    """Without an address it says nothing. watchdog_s: within so long the manager wants to hear of us again."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        self._fed = 0.0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Notifier":
        """As the environment of this process says. A watchdog that waits for another process is none of ours."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(microseconds) / 1e6 if ours and microseconds.isascii() and microseconds.isdigit() else None
        return cls(environment.get("NOTIFY_SOCKET") or None, watchdog_s or None)

    def say(self, *lines: str) -> None:
        """Sends these lines. A manager that cannot be told is logged, and does not stop the daemon."""
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
                sending.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("the service manager cannot be told %s: %s", lines[0], error.strerror or error)

    def feed(self, health: Health) -> None:
        """Feeds the watchdog when it is time, if all is well. Otherwise it bites."""
        now = time.monotonic()
        if self._watchdog_s is None or now - self._fed < FED_EACH * self._watchdog_s:
            return
        self._fed = now
        if why := health.unwell():
            log.error("the watchdog is not fed: %s", why)
        else:
            self.say("WATCHDOG=1")
