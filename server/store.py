"""Sessions on disk: written down from time to time in a thread of their own, and read again when the daemon starts.

One file a session, in a folder that is this user's alone: the file holds the token, whose holder has the session.
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
from pydantic import ValidationError

from ..proto.errors import WarpaintError
from ..proto.limits import MAX_NAME
from ..proto.messages import Open, wire_form
from . import snapshot
from .line import Line, Outlet, Requests
from .state import State

log = logging.getLogger(__name__)

VERSION = 1
SUFFIX = ".session"
# A file may be larger than a snapshot by its other fields: texts of a Brief, mostly.
HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A session as it is written down. `snapshot` is made of `state` in the writer's thread."""

    opening: Open
    linger_s: float
    window: int
    last_index: int | None
    last_request: int | None
    epoch: int
    holding: bool = False
    unshown: Sequence[tuple[int, int]] = ()  # requests, and the epochs that show them
    snapshot: bytes = b""
    state: State | None = None
    outlet: Outlet = field(default_factory=Outlet)  # of the session that is taken up again

    def line(self, key: str, now: float) -> Line:
        """The session as the gateway knows it: waiting for its client, from now (time.monotonic()) on."""
        return Line(
            key,
            self.opening.session,
            None,
            linger_s=self.linger_s,
            outlet=self.outlet,
            window=self.window,
            last_index=self.last_index,
            requests=Requests(last=self.last_request),
            lost_at=now,
            epoch=self.epoch,
        )


class Store:
    """The folder of sessions. Raises OSError with a sentence if it cannot be used.

    `save` and `forget` return at once; what was said last of a session is what will be on disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        except OSError as error:
            raise OSError(f"the state directory {str(folder)!r} cannot be used: {error.strerror or error}") from error
        self._changed = threading.Condition()
        self._waiting: dict[str, Stored | None] = {}  # by key; None: to be forgotten
        self._ended = False
        self._failed = False
        self._thread = threading.Thread(target=self._write, name="store", daemon=True)
        self._thread.start()

    def save(self, key: str, stored: Stored) -> None:
        """Writes a session down, in place of what was there of it."""
        self._say(key, stored)

    def forget(self, key: str) -> None:
        """Takes a session away."""
        self._say(key, None)

    def close(self, timeout_s: float) -> None:
        """Returns when all that was said is on disk, or after this long."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def load(self) -> Iterator[tuple[str, Stored]]:
        """The sessions on disk, with their keys. A file that cannot be read is left alone, and that is logged."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                yield _read(path.read_bytes())
            except (OSError, WarpaintError) as error:
                log.warning("%s is left out: %s", path, error)

    def _say(self, key: str, stored: Stored | None) -> None:
        with self._changed:
            self._waiting[key] = stored
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                key = next(iter(self._waiting))
                stored = self._waiting.pop(key)
            try:
                self._write_one(key, stored)
                self._failed = False
            except (OSError, WarpaintError) as error:
                if not self._failed:  # once, not every few seconds
                    log.warning("sessions cannot be written down: %s; they go on, with what was written before", error)
                self._failed = True

    def _write_one(self, key: str, stored: Stored | None) -> None:
        """Writes beside the file and moves it into place, so that there is always a whole one."""
        path = self._path(key)
        if stored is None:
            path.unlink(missing_ok=True)
            return
        beside = path.with_suffix(".new")
        try:
            with beside.open("wb") as file:
                file.write(_written(key, stored))
            beside.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self._folder / (hashlib.sha256(key.encode()).hexdigest()[:32] + SUFFIX)


def _written(key: str, stored: Stored) -> bytes:
    held = stored.snapshot if stored.state is None else snapshot.dump(stored.state)
    data: bytes = msgpack.packb(
        {
            "version": VERSION,
            "key": key,
            "open": wire_form(stored.opening),
            "linger_s": stored.linger_s,
            "window": stored.window,
            "last_index": stored.last_index,
            "last_request": stored.last_request,
            "epoch": stored.epoch,
            "holding": stored.holding,
            "unshown": stored.unshown,
            "snapshot": held,
        }
    )
    return data


def _read(data: bytes) -> tuple[str, Stored]:
    """A session's key and the session. Raises SnapshotError for whatever is none."""
    try:
        plain: dict[str, Any] = msgpack.unpackb(data, use_list=False, max_bin_len=2 * snapshot.MAX_BYTES + HEAD_BYTES)
        if plain["version"] != VERSION:
            raise ValueError(f"it has version {plain['version']!r}; this is version {VERSION}")
        key = plain["key"]
        if not isinstance(key, str) or not 0 < len(key) <= MAX_NAME:
            raise ValueError("its key is no token")
        return key, Stored(
            Open.model_validate(plain["open"]),
            float(plain["linger_s"]),
            int(plain["window"]),
            _number(plain["last_index"]),
            _number(plain["last_request"]),
            int(plain["epoch"]),
            bool(plain["holding"]),
            tuple((int(request), int(epoch)) for request, epoch in plain["unshown"]),
            bytes(plain["snapshot"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, ValidationError) as error:
        raise snapshot.SnapshotError(f"it is no session: {type(error).__name__}: {error}") from None


def _number(plain: Any) -> int | None:
    return None if plain is None else int(plain)
