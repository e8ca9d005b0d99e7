"""What files of tensors hold: names, shapes and types, from their headers. No tensor is read, and nothing is run."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from .....proto.errors import Code, RefusedError
from ....first_bytes import START, mishap

TORCH_TYPES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}  # to the names that safetensors uses
# `diffusion_pytorch_model` is of diffusers, the others of transformers; large ones come in shards.
WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|model|pytorch_model)(?P<variant>\.fp16)?(-\d+-of-\d+)?\.(?P<format>safetensors|bin)"
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of a tensor that was not read. dtype is as safetensors names it: F32, F16, BF16, I64."""

    shape: tuple[int, ...]
    dtype: str


Header = dict[str, Tensor]


def refused(path: Path | str, what: str) -> RefusedError:
    """The error that says what is wrong with this path; `what` goes on from its name."""
    return RefusedError(Code.UNKNOWN_ENGINE, f"{str(path)!r} {what}")


def read_header(path: Path) -> Header:
    """The tensors of a safetensors or a torch file, by name. Raises RefusedError for any other file."""
    try:
        if is_safetensors(path):
            return _safetensors_header(path)
        return {name: _described(tensor) for name, tensor in load_torch(path, "meta").items()}
    except OSError as error:
        raise refused(path, f"cannot be read: {error.strerror or error}") from error


def is_safetensors(path: Path) -> bool:
    """Whether it is a safetensors file, not a torch file: by content, since names mislead. Raises RefusedError."""
    with path.open("rb") as file:
        start = file.read(START)
    if start[8:9] == b"{":  # after the length of the header, the header, which is JSON
        return True
    if start.startswith(b"PK\x03\x04"):  # torch's files are zip archives
        return False
    raise refused(path, _why_neither(start))


def _why_neither(start: bytes) -> str:
    """What a file is that is neither safetensors nor torch, from its first bytes."""
    if (trouble := mishap(start)) is not None:
        return trouble
    if start.startswith(b"GGUF"):
        return "is a GGUF file: only safetensors and torch files can be read"
    if start[:1] == b"\x80":  # how a pickle starts
        return "is a torch file of before 2020, which is not read: save it anew, best as safetensors"
    return "is neither a safetensors nor a torch file"


def _safetensors_header(path: Path) -> Header:
    try:
        # "np" loads no library; a slice reads nothing until it is indexed.
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it cannot be iterated
            return {name: Tensor(tuple(each.get_shape()), each.get_dtype()) for name, each in slices.items()}
    except SafetensorError as error:
        raise refused(path, f"is a safetensors file that is cut short or damaged ({error})") from error


def load_torch(path: Path, device: str) -> dict[str, Any]:
    """The tensors of a torch file, by name, on this device; on `meta` none is read. Raises RefusedError."""
    import torch

    try:
        # weights_only: a torch file is a pickle, and whoever wrote it could have any code run otherwise.
        content = torch.load(path, map_location=device, weights_only=True, mmap=True)
    except OSError:
        raise
    except Exception as error:  # damaged files make it raise all kinds
        if "Unsupported" in str(error) or "Unsupported" in str(error.__cause__):
            raise refused(path, "wants code to be run when it is read, which is not done: use safetensors") from error
        raise refused(path, "is a torch file that is cut short or damaged") from error
    if not isinstance(content, Mapping):
        raise refused(path, f"holds no tensors by name: it is a {type(content).__name__}")
    return dict(_named(content))


def _named(content: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The tensors of nested mappings, their names joined by dots; what only wraps them, `state_dict`, has no name."""
    for name, value in content.items():
        if name == "state_dict" and isinstance(value, Mapping):
            yield from _named(value)
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", each) for inner, each in _named(value))
        elif hasattr(value, "dtype"):
            yield str(name), value


def _described(tensor: Any) -> Tensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Tensor(tuple(tensor.shape), TORCH_TYPES.get(dtype, dtype))


@dataclass(frozen=True, slots=True)
class Weights:
    """The files with the weights of one part of a model, all of one variant; "fp16", or None for the plain one."""

    files: tuple[Path, ...]
    variant: str | None


def find_weights(folder: Path, *, half: bool) -> Weights:
    """The weights in a folder of diffusers or transformers. Where there are two variants, `half` says which.

    Safetensors go before torch files. No files if there are none.
    """
    matches = [(file, WEIGHTS.fullmatch(file.name)) for file in sorted(folder.glob("*"))]
    found = [(file, match["variant"], match["format"]) for file, match in matches if match]
    for variant in (".fp16", None) if half else (None, ".fp16"):
        for kind in ("safetensors", "bin"):
            files = tuple(file for file, *has in found if has == [variant, kind])
            if files:
                return Weights(files, variant and variant.removeprefix("."))
    return Weights((), None)
