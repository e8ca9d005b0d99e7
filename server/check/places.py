"""Looks at the places that a daemon needs: its addresses and its folders. Nothing is made there, or taken away."""

import contextlib
import errno
import http.client
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import zmq

from ...proto.errors import ProtocolError
from ...proto.messages import AskStatus, Status
from ...proto.wire import pack, to_client
from ..config import Settings
from ..store import SUFFIX
from .findings import Finding, Step, ok, warning, wrong

# A daemon that is there says how it does within this, seconds; what does not is none, or hangs.
ANSWERS_WITHIN_S = 2.0
# Below so much room a folder is told of, bytes. A session takes tens of megabytes; this is half a minute of a record.
LITTLE_ROOM = 1 << 30


def steps(settings: Settings) -> Iterator[Step]:
    """A step a place."""
    for each in settings.bind:
        yield Step("address", lambda each=each: [_address(each)])  # type: ignore[misc]
    if settings.metrics_bind is not None:
        metrics_bind = settings.metrics_bind
        yield Step("metrics", lambda: [_metrics(metrics_bind)])
    if settings.state_dir is not None:
        state_dir = settings.state_dir
        yield Step("state folder", lambda: _folder("state folder", state_dir, ours=True))
    if settings.record_dir is not None:
        record_dir = settings.record_dir
        yield Step("record folder", lambda: _folder("record folder", record_dir))


# Addresses


def _address(address: str) -> Finding:
    what = "address"
    trouble = _ipc_trouble(address) if address.startswith("ipc://") else _tcp_trouble(address.removeprefix("tcp://"))
    if trouble is None:
        return ok(what, f"{address} can be listened on")
    if trouble == "" and (status := _status(address)) is not None:
        text = f"{status.server} listens on {address} already: process {status.pid}, {len(status.sessions)} sessions"
        return warning(what, text, f"before you start another one there, end it: kill {status.pid}")
    text = trouble or "somebody listens there already, and does not answer as a daemon does"
    return wrong(what, f"cannot listen on {address}: {text}", "another address: --bind")


def _ipc_trouble(address: str) -> str | None:
    """Why a socket cannot be bound there; empty: somebody listens there. None: it can."""
    name = address.removeprefix("ipc://")
    if name.startswith("@"):
        return "" if _connects("\0" + name[1:]) else None
    path = Path(name)
    if (trouble := _unwritable(path.parent)) is not None:
        return trouble
    if path.parent.exists() and path.parent.stat().st_uid not in (0, os.getuid()):
        return "the folder belongs to another user"
    if not os.path.lexists(path):
        return None
    if not path.is_socket():
        return "there is something there that is no socket"
    return "" if _connects(name) else None  # one that nobody listens on is taken away by the daemon


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _tcp_trouble(address: str) -> str | None:
    """Why HOST:PORT cannot be bound; empty: somebody listens there. None: it can."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as the daemon does, which waits for no old one
            probe.bind((host, 0 if port == "*" else int(port)))
    except OSError as error:
        return "" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return None


def _status(address: str) -> Status | None:
    """What a daemon at this address says of itself; None: there is none that answers."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
        asking.setsockopt(zmq.LINGER, 0)
        asking.connect(address)
        asking.send(pack(AskStatus()))
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while asking.poll(max(0, int(1000 * (deadline - time.monotonic())))):
            try:
                message = to_client([memoryview(each) for each in asking.recv_multipart()]).message
            except ProtocolError:
                return None
            if isinstance(message, Status):
                return message
    return None


def _metrics(address: str) -> Finding:
    trouble = _tcp_trouble(address)
    if trouble is None:
        return ok("metrics", f"http://{address}/metrics can be shown")
    if trouble == "" and (name := _server_at(address)).startswith("warpaintd/"):
        return warning("metrics", f"{name} shows its metrics on {address} already", "before you start another, end it")
    text = trouble or "somebody listens there already"
    return wrong("metrics", f"cannot listen on {address}: {text}", "another port: --metrics-bind")


def _server_at(address: str) -> str:
    """What the HTTP server at HOST:PORT calls itself; empty: there is none, or it does not say."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(address, timeout=ANSWERS_WITHIN_S)
        with contextlib.closing(connection):
            connection.request("GET", "/healthz")
            return connection.getresponse().getheader("Server") or ""
    return ""


# Folders


def _folder(what: str, folder: Path, *, ours: bool = False) -> Iterator[Finding]:
    """ours: it has to be this user's, as its sessions are."""
    if (trouble := _unwritable(folder)) is not None:
        yield wrong(what, trouble, f"another folder: --{what.replace(' folder', '-dir')}, or let this user write there")
        return
    there = folder.exists()
    if there and ours and os.getuid() not in (0, folder.stat().st_uid):
        yield wrong(what, f"{folder} belongs to another user", "another folder: --state-dir")
        return
    free = shutil.disk_usage(_nearest(folder)).free
    sessions = len(list(folder.glob(f"*{SUFFIX}"))) if there and ours else 0
    said = f"{folder} can be written to" if there else f"{folder} will be made"
    said += f"; {free / 1e9:.1f} GB are free"
    said += f"; {sessions} sessions in it will be taken up again" if sessions else ""
    yield warning(what, said, "make room there, or name another folder") if free < LITTLE_ROOM else ok(what, said)


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written in a folder, which may have to be made first. None: it can."""
    try:
        nearest = _nearest(folder)
        with tempfile.TemporaryFile(dir=nearest):  # without a name: nothing of it is left, however this ends
            return None
    except NotADirectoryError:
        return f"{_nearest(folder)} is no folder"
    except OSError as error:
        return f"nothing can be written in {_nearest(folder)}: {error.strerror or error}"


def _nearest(folder: Path) -> Path:
    """The folder, or the one above it that is there."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if os.path.lexists(each))
