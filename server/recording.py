"""The events of a live session, written down as they happen, and played again to the same output, bit for bit.

A file is a stream of MessagePack maps: what the session began with, then one map an event. Frames are kept as they
are, so a second of 768x512 at 30 frames a second is 35 MB: for finding a defect, not for keeping.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import numpy as np

from ..engines.base import NO_HABITS, FlowEngine, Frame, Habits, PaintDone
from ..proto.brief import Brief
from ..proto.errors import Code, WarpaintError
from .asks import Ask, Encode, Output, PaintAsk, run
from .live import LiveSession

log = logging.getLogger(__name__)

VERSION = 2  # 2: with the painter's habits, and memories


class RecordError(WarpaintError):
    """A file that is no record of this version."""


class Record:
    """A record being written. If it cannot be, that is logged once, and the session goes on without."""

    def __init__(self, path: Path, brief: Brief, size: tuple[int, int], habits: Habits = NO_HABITS) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        try:
            self._file = path.open("wb")
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error)
        self._write({"version": VERSION, "brief": brief.model_dump(), "size": size, "habits": asdict(habits)})

    def add(self, event: str, value: Any = None) -> None:
        """One more event.

        `step` with its Frame, `adopt` with its PaintDones, `update` with its Brief, `rekey`, `restore` with a snapshot.
        """
        self._write({"event": event, "value": _plain(value)})

    def close(self) -> None:
        """Ends the record."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            log.warning("%s is not whole: %s", self._path, error)

    def _write(self, plain: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(msgpack.packb(plain))
        except OSError as error:
            log.warning("%s is not written further: %s", self._path, error)
            file, self._file = self._file, None
            with suppress(OSError):  # what it still holds cannot be written either
                file.close()


def _plain(value: Any) -> Any:
    if isinstance(value, Frame):
        return _plain_frame(value)
    if isinstance(value, Brief):
        return value.model_dump()
    return value if value is None or isinstance(value, bytes) else [_plain_done(each) for each in value]


def _plain_frame(frame: Frame) -> dict[str, Any]:
    """Without the keys `controls` and `keyframe` where they say nothing, as older records have none."""
    controls = {"controls": {kind: _picture(image) for kind, image in frame.controls.items()}} if frame.controls else {}
    mark = {"keyframe": True} if frame.keyframe else {}
    return {"index": frame.index, "pts": frame.pts.as_integer_ratio(), "bgr": _picture(frame.bgr), **controls, **mark}


def _plain_done(done: PaintDone) -> dict[str, Any]:
    image = None if done.image is None else _picture(done.image)
    return {"id": done.id, "epoch": done.epoch, "image": image, "error": done.error, "memory": done.memory}


def _picture(picture: Any) -> dict[str, Any]:
    return {"shape": picture.shape, "data": np.ascontiguousarray(picture).tobytes()}


def replay(path: Path, flow: FlowEngine) -> Iterator[Output]:
    """The outputs of a recorded session, its flow found anew. Raises RecordError for a file that is no record."""
    with path.open("rb") as file:
        events = msgpack.Unpacker(file, max_buffer_size=0)
        try:
            head = next(events)
            if head["version"] != VERSION:
                raise RecordError(f"{path} has version {head['version']!r}; this is version {VERSION}")
            brief, habits = Brief.model_validate(head["brief"]), Habits(**head["habits"])
            session = LiveSession(brief, tuple(head["size"]), habits=habits)
            for each in events:
                yield from _played(session, each["event"], each["value"], flow)
        except (StopIteration, ValueError, TypeError, KeyError) as error:
            raise RecordError(f"{path} is no record of a session: {type(error).__name__}: {error}") from error


def _played(session: LiveSession, event: str, value: Any, flow: FlowEngine) -> Sequence[Output]:
    if event == "step":
        outputs = run(session.step(_read_frame(value)), lambda ask: _answer(ask, flow))
        session.take_jobs()
        return outputs
    if event == "adopt":
        session.adopt([_read_done(each) for each in value])
    elif event == "update":
        session.update(Brief.model_validate(value))
    elif event == "rekey":
        session.rekey()
    elif event == "restore":
        session.restore(value)
    else:
        raise ValueError(f"an event {event!r}")
    return ()


def _answer(ask: Ask, flow: FlowEngine) -> Any:
    if isinstance(ask, PaintAsk):
        raise ValueError("a live session does not wait for paint")
    return flow.encode(ask.pictures) if isinstance(ask, Encode) else flow.match([ask.request])[0]


def _read_frame(plain: Any) -> Frame:
    controls = {kind: _read_picture(image) for kind, image in plain.get("controls", {}).items()}
    mark = bool(plain.get("keyframe", False))
    return Frame(plain["index"], Fraction(*plain["pts"]), _read_picture(plain["bgr"]), controls, mark)


def _read_done(plain: Any) -> PaintDone:
    image = None if plain["image"] is None else _read_picture(plain["image"])
    error = None if plain["error"] is None else Code(plain["error"])
    return PaintDone(plain["id"], plain["epoch"], image, plain["memory"], error)


def _read_picture(plain: Any) -> Any:
    return np.frombuffer(plain["data"], np.uint8).reshape(plain["shape"])
