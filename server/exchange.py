"""What the daemon and a painter's process say to each other. No pickle: MessagePack maps, and raw bytes beside them.

A message is a small map on a socket that keeps message boundaries. What has no bound of its own (texts, pictures) is
laid into a file in memory that both hold, the tray, from its beginning; the message says where its body lies. Whoever
sends may write, and each call has one answer, so that nobody writes while the other reads. Both read into arrays of
their own: an engine may keep what it was given for as long as it likes.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from ..engines.base import Frame, PaintDone, PaintJob, Wording
from ..proto.brief import Brief
from ..proto.errors import Code

# A message is a kind and three integers.
MAX_MESSAGE_BYTES = 256
# What an exception says may hold half a surrogate pair, which is no UTF-8 and must not be an error of its own.
UNICODE_ERRORS = "surrogatepass"

# What is said. The daemon: PAINT, CANCEL. The painter's process: READY or FAILED once, then PAINTED for each PAINT.
PAINT, CANCEL, READY, FAILED, PAINTED = "paint", "cancel", "ready", "failed", "painted"


@dataclass(frozen=True, slots=True)
class Message:
    """What is said, in which call, and where in the tray its body lies. A size of 0: it has none."""

    kind: str
    call: int
    at: int = 0
    size: int = 0


class Tray:
    """A file in memory. It grows by being written to, and keeps the size of the largest call.

    It is read and written, not mapped: a mapped file that somebody cuts short ends whoever looks at it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.end = 0

    def clear(self) -> None:
        """Begins anew at the beginning."""
        self.end = 0

    def lay(self, data: bytes | memoryview) -> int:
        """Where these bytes now lie."""
        at, rest = self.end, memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, self.end)
            self.end, rest = self.end + written, rest[written:]
        return at

    def read_into(self, array: NDArray[Any], at: int) -> None:
        """Fills a contiguous array. Raises ValueError if the file ends before."""
        rest = _as_bytes(array)
        while rest:
            count = os.preadv(self._descriptor, [rest], at)
            if not count:
                raise ValueError(f"the file ends at {at}, with {len(rest)} bytes to come")
            at, rest = at + count, rest[count:]

    def read(self, at: int, size: int) -> bytes:
        """These bytes. Raises ValueError if the file ends before."""
        if at < 0 or size < 0 or at + size > os.fstat(self._descriptor).st_size:
            raise ValueError(f"{size} bytes at {at} are not in the file")
        return os.pread(self._descriptor, size, at)


class Channel:
    """One end of the conversation. One thread may receive while another one sends."""

    def __init__(self, connection: socket.socket, tray: Tray) -> None:
        self._connection = connection
        self.tray = tray

    def say(self, kind: str, call: int, body: dict[str, Any] | None = None) -> None:
        """Sends a message; its body goes behind what was laid into the tray. Raises OSError if nobody is there."""
        packed = b"" if body is None else msgpack.packb(body, unicode_errors=UNICODE_ERRORS)
        at = self.tray.lay(packed) if packed else 0
        self._connection.send(msgpack.packb({"kind": kind, "call": call, "at": at, "size": len(packed)}))

    def hear(self) -> Message:
        """The next message. Raises EOFError if the other side is gone; TimeoutError; ValueError for no message."""
        try:
            data = self._connection.recv(MAX_MESSAGE_BYTES)
        except ConnectionError:
            raise EOFError from None
        if not data:
            raise EOFError
        try:
            return Message(**msgpack.unpackb(data))
        except TypeError as error:
            raise ValueError(f"no message: {error}") from None

    def body(self, message: Message) -> dict[str, Any]:
        """The body of a message. Raises ValueError if it is none."""
        body = msgpack.unpackb(self.tray.read(message.at, message.size), unicode_errors=UNICODE_ERRORS)
        if not isinstance(body, dict):
            raise ValueError(f"a body must be a map, not {type(body).__name__}")
        return body


def laid_jobs(tray: Tray, jobs: Sequence[PaintJob]) -> list[dict[str, Any]]:
    """The jobs as plain maps, their arrays laid into the tray."""
    return [_laid_job(tray, job) for job in jobs]


def _laid_job(tray: Tray, job: PaintJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "epoch": job.epoch,
        "index": job.frame.index,
        "pts": str(job.frame.pts),  # MessagePack's integers end at 64 bits
        "marked": job.frame.keyframe,
        "brief": job.brief.model_dump(),
        "seed": job.seed,
        "origin": job.origin,
        "size": job.size,
        "bgr": _laid_array(tray, job.frame.bgr),
        "controls": {kind: _laid_array(tray, image) for kind, image in job.frame.controls.items()},
        "canvas": None if job.canvas is None else _laid_array(tray, job.canvas),
        "holes": None if job.holes is None else _laid_array(tray, job.holes),
        "memory": _laid_bytes(tray, job.memory),
        "earlier": None if job.earlier is None else asdict(job.earlier),
    }


def taken_jobs(tray: Tray, plain: Sequence[dict[str, Any]]) -> list[PaintJob]:
    """The jobs that were laid down."""
    return [_taken_job(tray, each) for each in plain]


def _taken_job(tray: Tray, plain: dict[str, Any]) -> PaintJob:
    controls = {kind: _taken_array(tray, image, np.uint8) for kind, image in plain["controls"].items()}
    return PaintJob(
        id=plain["id"],
        epoch=plain["epoch"],
        frame=Frame(
            plain["index"],
            Fraction(plain["pts"]),
            _taken_array(tray, plain["bgr"], np.uint8),
            controls,
            plain["marked"],
        ),
        brief=Brief.model_validate(plain["brief"]),
        seed=plain["seed"],
        origin=tuple(plain["origin"]),
        size=tuple(plain["size"]),
        canvas=None if plain["canvas"] is None else _taken_array(tray, plain["canvas"], np.uint8),
        holes=None if plain["holes"] is None else _taken_array(tray, plain["holes"], np.bool_),
        memory=_taken_bytes(tray, plain["memory"]),
        earlier=None if plain["earlier"] is None else Wording(**plain["earlier"]),
    )


def laid_done(tray: Tray, done: Sequence[PaintDone]) -> list[dict[str, Any]]:
    """Results as plain maps, their pictures laid into the tray. They are checked: the pictures fit their jobs."""
    return [
        {
            "image": None if each.error is not None or each.image is None else _laid_array(tray, each.image)["at"],
            "memory": _laid_bytes(tray, each.memory),
            "error": None if each.error is None else str(each.error),
            "why": each.why,
            "tags": each.tags,
            "note": each.note,
        }
        for each in done
    ]


def taken_done(tray: Tray, jobs: Sequence[PaintJob], plain: Sequence[dict[str, Any]]) -> list[PaintDone]:
    """The results of these jobs. Raises ValueError, TypeError or KeyError for what was not laid down by `laid_done`."""
    return [_taken_done(tray, job, each) for job, each in zip(jobs, plain, strict=True)]


def _taken_done(tray: Tray, job: PaintJob, plain: dict[str, Any]) -> PaintDone:
    memory = _taken_bytes(tray, plain["memory"])
    tags, note = tuple(plain["tags"]), None if plain["note"] is None else (Code(plain["note"][0]), plain["note"][1])
    if plain["error"] is not None:
        return PaintDone(job.id, job.epoch, None, memory, Code(plain["error"]), plain["why"], tags, note)
    image = np.empty(job.frame.bgr.shape, np.uint8)
    tray.read_into(image, plain["image"])
    return PaintDone(job.id, job.epoch, image, memory, tags=tags, note=note)


def _laid_array(tray: Tray, array: NDArray[Any]) -> dict[str, Any]:
    return {"at": tray.lay(_as_bytes(np.ascontiguousarray(array))), "shape": array.shape}


def _taken_array(tray: Tray, plain: dict[str, Any], dtype: type[Any]) -> NDArray[Any]:
    array = np.empty(plain["shape"], dtype)
    tray.read_into(array, plain["at"])
    return array


def _as_bytes(array: NDArray[Any]) -> memoryview:
    """A contiguous array's own bytes; it may be empty."""
    return array.reshape(-1).view(np.uint8).data


def _laid_bytes(tray: Tray, data: bytes | None) -> list[int] | None:
    return None if data is None else [tray.lay(data), len(data)]


def _taken_bytes(tray: Tray, place: list[int] | None) -> bytes | None:
    return None if place is None else tray.read(*place)
