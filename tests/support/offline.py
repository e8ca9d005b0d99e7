"""Programs in a network of their own: they reach nobody but each other, and nobody reaches them."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
from functools import cache

# Of linux/sockios.h and linux/if.h: getting and setting the flags of an interface, and the flag that says it is up.
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 0x1
REQUEST = "16sH22x"  # struct ifreq: the name, the flags


@cache
def offline() -> tuple[str, ...]:
    """What goes before a command, so that it has a network of its own; nothing where this machine does not allow it."""
    unshare = shutil.which("unshare")
    own_user = () if os.geteuid() == 0 else ("--map-root-user",)
    if (
        unshare
        and subprocess.run([unshare, *own_user, "--net", "true"], capture_output=True, check=False).returncode == 0
    ):
        return unshare, *own_user, "--net", "--"
    return ()


def loopback_up() -> None:
    """Lets the processes of this network reach each other; it begins with an interface that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        _, flags = struct.unpack(REQUEST, fcntl.ioctl(any_socket, GET_FLAGS, struct.pack(REQUEST, b"lo", 0)))
        if not flags & UP:
            fcntl.ioctl(any_socket, SET_FLAGS, struct.pack(REQUEST, b"lo", flags | UP))
