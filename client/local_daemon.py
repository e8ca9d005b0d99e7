"""Finds the user's daemon, or starts one for as long as it is needed."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..proto.address import default_address
from .connection import PATIENCE_S
from .errors import DaemonGone
from .painting import Client

# A daemon that is there answers within this; one may be there but stopped, seconds.
FOUND_WITHIN_S = 2.0
# A daemon of our own has started within this, or has failed, seconds: imports alone take one or two.
STARTED_WITHIN_S = 60.0
ENDED_WITHIN_S = 15.0


@contextmanager
def connected(address: str | None, *, say: Callable[[str], None]) -> Iterator[Client]:
    """A client of the daemon at this address; without one, of the user's daemon, or of one started for the purpose.

    say: told, in a sentence, when a daemon is started. Raises DaemonGone.
    """
    with address_of(address, say=say) as found:
        own = found != address
        with Client(found, reconnect_s=0 if own else None) as client:  # our own nobody would start again
            client.ping(STARTED_WITHIN_S if own else PATIENCE_S)
            yield client


@contextmanager
def address_of(address: str | None, *, say: Callable[[str], None]) -> Iterator[str | None]:
    """The address that `connected` would connect to; None: that of the user's daemon. Raises DaemonGone."""
    if address is None and not _default_is_there():
        with _started(say) as own:
            yield own
    else:
        yield address


def _default_is_there() -> bool:
    address = default_address(os.environ, os.getuid())
    if not Path(address.removeprefix("ipc://")).is_socket():
        return False
    try:
        with Client(address) as client:
            client.ping(FOUND_WITHIN_S)
    except DaemonGone:
        return False
    return True


@contextmanager
def _started(say: Callable[[str], None]) -> Iterator[str]:
    """The address of a daemon that ends with this block, or with this process, however that ends."""
    with tempfile.TemporaryDirectory(prefix="warpaint-") as folder:
        address = f"ipc://{folder}/warpaint.sock"
        log = Path(folder, "log")
        with log.open("wb") as errors:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "warpaint.server", "--until-stdin-closes", "--bind", address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for us: the daemon is to finish what is in hand
            )
        try:
            if daemon.stdout is None or not daemon.stdout.readline():
                raise DaemonGone(f"a daemon could not be started: {log.read_text().strip()[-500:]}")
            say(f"no daemon is running: started one for this, process {daemon.pid}")
            yield address
        finally:
            _end(daemon)


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.terminate()
    try:
        daemon.communicate(timeout=ENDED_WITHIN_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.communicate()
