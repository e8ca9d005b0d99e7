"""Where a daemon is found: ZeroMQ addresses."""

import re
from collections.abc import Mapping

_LOCAL_TCP = re.compile(r"tcp://(127(?:\.\d{1,3}){3}|\[::1\]):(\d{1,5}|\*)")
_IPC = re.compile(r"ipc://(?:/|@).{1,104}")  # a socket's path has room for 107 bytes
_HIGHEST_PORT = 65_535


def is_local(address: str) -> bool:
    """Whether this is an address that only this machine can reach: ipc with a full path, or tcp on loopback."""
    tcp = _LOCAL_TCP.fullmatch(address)
    if tcp:
        return tcp[2] == "*" or 0 < int(tcp[2]) <= _HIGHEST_PORT
    return _IPC.fullmatch(address) is not None


def default_address(environment: Mapping[str, str], user: int) -> str:
    """The address of this user's daemon, unless another is named: a socket in the user's own runtime folder.

    environment: the process's; user: the numeric user id.
    """
    runtime = environment.get("XDG_RUNTIME_DIR")
    folder = f"{runtime}/warpaint" if runtime else f"/tmp/warpaint-{user}"
    return f"ipc://{folder}/warpaint.sock"
