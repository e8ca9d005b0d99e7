"""The weights in a torch checkpoint, read without running any of it.

A torch file is a pickle: a program for a small machine that may import and call anything. What the published trainer
wrote holds objects of its own classes beside the weights, so that torch's own safe reader refuses it. Here it is
read by a machine that calls four things, all of them ours or harmless, and nothing else.
"""

import hashlib
import json
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, ClassVar

import torch

from ....proto.errors import Code, RefusedError
from ...first_bytes import START, mishap

LISTED = 4  # tensors that an error names of each kind of fault; more would hide the sentence
NAME_SHOWN = 100  # characters of a name in an error: names are the file's, and may be of any length
DAMAGED = "is no torch file, or one that is cut short or damaged"


def refused(path: Path, what: str) -> RefusedError:
    """The error that says what is wrong with this file; `what` goes on from its name."""
    return RefusedError(Code.UNKNOWN_ENGINE, f"{str(path)!r} {what}")


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of a torch file, in torch's zip format or the one before: tensors on the CPU, by name.

    They may share memory and have any strides; none is larger than its memory. Where the file holds a dict with a
    `state_dict`, it is that; otherwise it is what the file holds. Raises RefusedError for any other file.
    """
    try:
        with path.open("rb") as file:
            _check_kind(path, file)
            content = _content(path, file)
    except OSError as error:
        raise refused(path, f"cannot be read: {error.strerror or error}") from error
    return _state_dict(path, content)


# What kind of file it is


def _check_kind(path: Path, file: BinaryIO) -> None:
    """Raises RefusedError if it does not begin as a torch file does."""
    start = file.read(START)
    if start.startswith(b"PK\x03\x04"):
        _check_archive(path, file)
    elif start[8:9] == b"{" or start[:1] != b"\x80":  # \x80 is how a pickle starts, and may be how a length does
        raise refused(path, _why_no_torch_file(start))


def _why_no_torch_file(start: bytes) -> str:
    """What a file is that is no torch file, from its first bytes."""
    if (trouble := mishap(start)) is not None:
        return trouble
    if start[8:9] == b"{":  # after the length of the header, the header, which is JSON
        return "is a safetensors file: what is read here is the torch file that was published"
    if start[257:262] == b"ustar":
        return "is a tar archive: the torch file that was published is none, although its name ends so"
    return "is no torch file"


def _check_archive(path: Path, file: BinaryIO) -> None:
    """Raises RefusedError for a zip archive that no `torch.save` writes."""
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
    except Exception as error:  # damaged archives make it raise all kinds
        raise refused(path, DAMAGED) from error
    if any(each.filename.rpartition("/")[2] == "constants.pkl" for each in records):
        raise refused(path, "is a TorchScript archive, a program: what is read here is what `torch.save` wrote")
    # torch does not compress, so that more than the file's size is a trap for the memory.
    if sum(each.file_size for each in records) > _size(file):
        raise refused(path, "is compressed, as no torch file is: unpacked it would be larger than it is")


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


# Reading it


def _content(path: Path, file: BinaryIO) -> Any:
    """The object in a torch file. Raises RefusedError if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what lies in the file: whoever converts it cannot change it
            return _loaded(file)
    except Exception as error:  # damaged files make it raise all kinds
        raise refused(path, DAMAGED) from error


def _loaded(file: BinaryIO) -> Any:
    """The object in a torch file: by torch's safe reader, or if it meets a class that it does not know, by ours."""
    size = _size(file)
    try:
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError:
        # No other error comes here. With other ones torch refuses programs in TorchScript and the tar archives of
        # before 2017, and those it would run, or unpack, when asked again without `weights_only`.
        file.seek(0)
        reader = _reader(size)
        return torch.load(file, map_location="cpu", weights_only=False, mmap=False, pickle_module=reader)


def _reader(size: int) -> SimpleNamespace:
    """What torch.load takes for the pickle module, for a file of this many bytes."""

    class Reader(InertUnpickler):
        room = size

    return SimpleNamespace(
        __name__="inert", Unpickler=Reader, load=lambda file, **options: Reader(file, **options).load()
    )


class Inert:
    """What stands for an object of a class that is not known: it takes any items, and does nothing."""

    __slots__ = ("origin",)

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def ignore(self, *_: Any) -> None:
        """Takes what the pickle would put into a list, a set or a dict."""

    append = extend = add = update = __setitem__ = ignore


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any = None, _hooks: Any = None, _bits: Any = None
) -> torch.Tensor:
    """A view of a storage, as `torch._utils._rebuild_tensor_v2` makes it.

    Raises UnpicklingError if it would reach past the storage: torch makes the storage larger then, to any size.
    """
    if not isinstance(storage, torch.storage.TypedStorage) or len(shape) != len(strides):
        raise pickle.UnpicklingError("a tensor of no storage, or of two minds about its dimensions")
    if any(type(each) is not int or each < 0 for each in (offset, *shape, *strides)):
        raise pickle.UnpicklingError("a tensor whose shape is none")
    reach = 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    memory = storage._untyped_storage  # untyped() warns that typed storages will go
    if offset + (0 if 0 in shape else reach) > memory.nbytes() // storage.dtype.itemsize:
        raise pickle.UnpicklingError("a tensor that reaches past its storage")
    return torch.empty(0, dtype=storage.dtype).set_(memory, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    """The tensor of a parameter, as far as `torch._utils._rebuild_parameter` is about weights."""
    return tensor


# All that a file may name. The classes of storages are not here: torch's own reader knows them by their names.
KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
}


def _made(maker: Any, arguments: Any) -> Any:
    """What a known maker makes of these; for anything else, what stands for it."""
    if any(maker is known for known in KNOWN.values()):
        return maker(*arguments)
    return maker if isinstance(maker, Inert) else Inert(type(maker).__name__)


class InertUnpickler(pickle._Unpickler):
    """Reads a pickle, and imports and calls nothing but what KNOWN holds.

    It is the one written in Python, for its instructions can be replaced: all that call, and the one that sets
    attributes. The one in C also makes room for as many objects as a file of ten bytes says.
    """

    room: int  # bytes of the file; no storage can be larger
    stack: list[Any]
    persistent_load: Any  # torch sets it: from the id of a storage to the storage

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for. It is never imported."""
        return KNOWN.get((module, name)) or Inert(f"{module}.{name}")

    def get_extension(self, code: int) -> None:
        """A class by its number in this process's registry, which is not asked."""
        self.stack.append(Inert(f"extension {code}"))

    def _instantiate(self, maker: Any, arguments: Any) -> None:
        self.stack.append(_made(maker, arguments))

    def load_reduce(self) -> None:
        """A call, as also load_newobj."""
        arguments = self.stack.pop()
        self.stack.append(_made(self.stack.pop(), arguments))

    def load_newobj_ex(self) -> None:
        """A call with keywords, which nothing known takes."""
        self.stack.pop()
        self.load_reduce()

    def load_build(self) -> None:
        """The attributes of an object: nothing that is read here has any that matter."""
        self.stack.pop()

    def load_binpersid(self) -> None:
        """A storage. Raises UnpicklingError for one that is larger than the file, and for what is none."""
        match self.stack.pop():
            case ("module", cls, *_):  # with its source, which torch would compare, and write a file where it differs
                self.stack.append(cls)
            case ("storage", kind, _, _, int(count), *_) as saved if 0 <= count * kind.dtype.itemsize <= self.room:
                self.stack.append(self.persistent_load(saved))
            case _:
                raise pickle.UnpicklingError("no storage, or one that is larger than the file")

    dispatch: ClassVar[dict[int, Any]] = pickle._Unpickler.dispatch | {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_reduce,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.BINPERSID[0]: load_binpersid,
    }
    del dispatch[pickle.BYTEARRAY8[0]]  # makes room for as many bytes as the file says; torch writes none


# What it holds


def _state_dict(path: Path, content: Any) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, or of the dict around it. Raises RefusedError if there is something else."""
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise refused(path, f"holds no state dict, but {_kind(state)}")
    if not state:
        raise refused(path, "holds a state dict without tensors")
    for name, value in state.items():
        if not isinstance(name, str):
            raise refused(path, f"holds no state dict: one of its names is {_kind(name)}")
        if not _is_plain(value):
            raise refused(path, f"holds no state dict: {_shown(name)} is {_kind(value)}, not a plain tensor")
    return {name: value.detach() for name, value in state.items()}


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor of numbers that are all there, not one number that is said to be many."""
    return (
        type(value) in (torch.Tensor, torch.nn.Parameter)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.nbytes <= value.untyped_storage().nbytes()
    )


def _kind(value: Any) -> str:
    """What a value is, in words."""
    return f"a {_shown(value.origin) if isinstance(value, Inert) else type(value).__name__}"


def _shown(text: str) -> str:
    """A text of the file, quoted, with what would move a terminal's cursor made visible."""
    return repr(text if len(text) <= NAME_SHOWN else f"{text[:NAME_SHOWN]}…")


def check_state(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Raises RefusedError unless names, shapes and types are as expected, and all numbers are finite.

    expected: tensors on any device, `meta` too. The error names the first of the tensors that are at fault.
    """
    unlike = [name for name in expected if name in state and _form(state[name]) != _form(expected[name])]
    faults = [
        ("lacks", [_shown(name) for name in expected if name not in state]),
        ("has too many", [_shown(name) for name in state if name not in expected]),
        ("has others", [f"{_shown(name)} {_form(state[name])}, not {_form(expected[name])}" for name in unlike]),
    ]
    if not any(names for _, names in faults):
        faults = [("has numbers that are not finite", [_shown(name) for name in state if not _is_finite(state[name])])]
    found = [f"it {what}: {_listed(names)}" for what, names in faults if names]
    if found:
        raise RefusedError(Code.UNKNOWN_ENGINE, f"the state dict is not that of the network: {'; '.join(found)}")


def _form(tensor: torch.Tensor) -> str:
    """Shape and type: `(16, 1, 3, 3) float32`."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _is_finite(tensor: torch.Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def weights_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """The SHA-256 of weights, whatever file they lie in: over all tensors, in the order of their names.

    For each, a line of JSON, `["corr.x", "float32", [16, 1, 3, 3]]`, and then its numbers as they lie in memory.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        form = [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        digest.update(json.dumps(form).encode() + b"\n")
        digest.update(tensor.contiguous().reshape(-1).numpy().data)
    return digest.hexdigest()
