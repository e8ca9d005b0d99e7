"""A session's state as bytes: enough to go on in another process as if nothing had happened.

One MessagePack map, with arrays as raw bytes beside their dtype and shape. Never pickle. Features are left out: they
are a cache, and are made again.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..engines.base import Frame
from ..engines.colour_lock import Tone
from ..engines.compose import MOST_NUMBER, Origins
from ..proto.brief import Brief
from ..proto.errors import WarpaintError
from .state import Last, Leaving, LiveProgress, Progress, Reference, References, State

VERSION = 5
# The references of a canvas of 8192 x 8192 pixels would be larger: such a session cannot be moved, which is said.
MAX_BYTES = 2**31


class SnapshotError(WarpaintError):
    """A state that cannot be written down, or bytes that are no snapshot of this version."""


def dump(state: State) -> bytes:
    """The state as bytes. Raises SnapshotError if it is too large."""
    held = state.references.nbytes
    if held > MAX_BYTES:
        raise SnapshotError(f"the session holds {held} bytes; a snapshot has at most {MAX_BYTES}")
    data: bytes = msgpack.packb(
        {
            "version": VERSION,
            "brief": state.brief.model_dump(),
            "size": state.size,
            "epoch": state.epoch,
            "progress": _progress(state.progress),
            "live": None if state.live is None else _live(state.live),
            "last": None if state.references.last is None else _last(state.references.last),
            "references": [_reference(each) for each in state.references.kept.values()],
            "idle": [_reference(each) for each in state.references.idle],
            "numbered": state.references.numbered,
        }
    )
    return data


def load(data: bytes) -> State:
    """The state that these bytes were made of. Raises SnapshotError, and nothing else."""
    if len(data) > 2 * MAX_BYTES:
        raise SnapshotError(f"the snapshot has {len(data)} bytes, of at most {2 * MAX_BYTES}")
    try:
        plain = msgpack.unpackb(data, max_bin_len=MAX_BYTES)
        if plain["version"] != VERSION:
            raise SnapshotError(f"the snapshot has version {plain['version']!r}; this is version {VERSION}")
        return _state(plain)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, ValidationError) as error:
        raise SnapshotError(f"these bytes are no snapshot: {type(error).__name__}: {error}") from None


def _state(plain: Mapping[str, Any]) -> State:
    width, height = plain["size"]
    read = [_read_reference(each, (height, width)) for each in plain["references"]]
    last = None if plain["last"] is None else _read_last(plain["last"], (height, width))
    idle = tuple(_read_reference(each, (height, width)) for each in plain["idle"])
    references = References(last, {each.number: each for each in read}, idle, int(plain["numbered"]))
    live = None if plain["live"] is None else _read_live(plain["live"])
    _check(references, len(read))
    return State(
        Brief.model_validate(plain["brief"]),
        (int(width), int(height)),
        int(plain["epoch"]),
        references,
        _read_progress(plain["progress"]),
        live,
    )


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "rekey": progress.rekey,
        "anew": progress.anew,
        "many_holes_since": _ratio(progress.many_holes_since),
        "repainted_at": _ratio(progress.repainted_at),
        "recalled_at": _ratio(progress.recalled_at),
        "next_job": progress.next_job,
        "leaving": None if progress.leaving is None else _leaving(progress.leaving),
        "tone": None if progress.tone is None else progress.tone.as_plain(),
        "memory": progress.memory,
    }


def _read_progress(plain: Mapping[str, Any]) -> Progress:
    return Progress(
        bool(plain["rekey"]),
        bool(plain["anew"]),
        _read_ratio(plain["many_holes_since"]),
        _read_ratio(plain["repainted_at"]),
        _read_ratio(plain["recalled_at"]),
        int(plain["next_job"]),
        None if plain["leaving"] is None else _read_leaving(plain["leaving"]),
        None if plain["tone"] is None else Tone.from_plain(plain["tone"]),
        None if plain["memory"] is None else bytes(plain["memory"]),
    )


def _leaving(leaving: Leaving) -> dict[str, Any]:
    return {
        "prompt": leaving.prompt,
        "negative_prompt": leaving.negative_prompt,
        "since": _ratio(leaving.since),
    }


def _read_leaving(plain: Mapping[str, Any]) -> Leaving:
    return Leaving(str(plain["prompt"]), str(plain["negative_prompt"]), _read_ratio(plain["since"]))


def _live(live: LiveProgress) -> dict[str, Any]:
    return {
        "epochs": (live.asked_epoch, live.keyframe_epoch, live.shown_epoch),
        "shown_since": _ratio(live.shown_since),
        "faded": live.faded,
        "failures": live.failures,
        "retry_at": _ratio(live.retry_at),
    }


def _read_live(plain: Mapping[str, Any]) -> LiveProgress:
    asked, keyframe, shown = (int(each) for each in plain["epochs"])
    since, retry_at = _read_ratio(plain["shown_since"]), _read_ratio(plain["retry_at"])
    return LiveProgress(asked, keyframe, shown, since, bool(plain["faded"]), int(plain["failures"]), retry_at)


def _ratio(time: Fraction | None) -> tuple[int, int] | None:
    return None if time is None else time.as_integer_ratio()


def _read_ratio(plain: tuple[int, int] | None) -> Fraction | None:
    return None if plain is None else Fraction(*plain)


def _check(references: References, count: int) -> None:
    """Raises ValueError for references that no session can have."""
    numbers = list(references.kept)
    if len(numbers) < count or not all(1 <= number <= MOST_NUMBER for number in numbers):
        raise ValueError(f"references must have numbers of their own, 1 to {MOST_NUMBER}, not {numbers}")
    if not all(each.keyframe for each in references.idle):
        raise ValueError("what is idle must be keyframes")
    last, keyframe = references.last, references.keyframe
    if numbers and (last is None or keyframe is None):
        raise ValueError(f"{count} references without a keyframe or a last output")
    if last is not None and not set(np.unique(last.origins.number).tolist()) <= {0, *numbers}:
        raise ValueError(f"the last output comes from references that are not among {numbers}")


def _last(last: Last) -> dict[str, Any]:
    return {
        "index": last.frame.index,
        "pts": last.frame.pts.as_integer_ratio(),
        "frame": _array(last.frame.bgr),
        "painted": _array(last.painted),
        "grid": last.origins.number.shape,
        "number": _array(last.origins.number),
        "offset": _array(last.origins.offset),
        "hops": _array(last.origins.hops),
    }


def _read_last(plain: Mapping[str, Any], shape: tuple[int, int]) -> Last:
    grid = tuple(plain["grid"])
    number, hops = (_read_array(plain[name], "uint8", grid) for name in ("number", "hops"))
    return Last(
        Frame(int(plain["index"]), Fraction(*plain["pts"]), _read_array(plain["frame"], "uint8", (*shape, 3))),
        _read_array(plain["painted"], "uint8", (*shape, 3)),
        Origins(number, _read_array(plain["offset"], "float32", (*grid, 2)), hops),
    )


def _reference(reference: Reference) -> dict[str, Any]:
    return {
        "number": reference.number,
        "index": reference.frame.index,
        "pts": reference.frame.pts.as_integer_ratio(),
        "frame": _array(reference.frame.bgr),
        "painted": _array(reference.painted),
        "own": None if reference.own is None else _array(reference.own.view(np.uint8)),
        "own_shape": None if reference.own is None else reference.own.shape,
        "replaces": reference.replaces,
        "found": reference.found,
        "flow": None if reference.flow is None else _array(reference.flow),
        "flow_shape": None if reference.flow is None else reference.flow.shape,
        "memory": reference.memory,
    }


def _read_reference(plain: Mapping[str, Any], shape: tuple[int, int]) -> Reference:
    flow, own = plain["flow"], plain["own"]
    return Reference(
        int(plain["number"]),
        Frame(int(plain["index"]), Fraction(*plain["pts"]), _read_array(plain["frame"], "uint8", (*shape, 3))),
        _read_array(plain["painted"], "uint8", (*shape, 3)),
        None if own is None else _read_array(own, "uint8", tuple(plain["own_shape"])).astype(np.bool_),
        replaces=bool(plain["replaces"]),
        found=bool(plain["found"]),
        flow=None if flow is None else _read_array(flow, "float32", tuple(plain["flow_shape"])),
        memory=None if plain["memory"] is None else bytes(plain["memory"]),
    )


def _array(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _read_array(data: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.frombuffer(data, dtype).reshape(shape)
