"""What the settings name of PDCNet+, looked at before torch is imported: a wrong path is told at once."""

import shlex
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ....proto.errors import Code, RefusedError

CONVERT = "python -m warpaint.engines.flow.convert"
# What the converter writes into the metadata as `format`.
FORMAT = "warpaint-pdcnet"
# Tensors of the network, by which its files are told from others'.
TOLD_BY = "local_corr.filter_initializer.scaling"


def inspected(weights: Path | None) -> Path:
    """The file of weights, which is one, as far as its header tells. Raises RefusedError: UNKNOWN_ENGINE."""
    if weights is None:
        raise _refused(
            "the flow 'pdcnet' needs weights: --pdcnet-weights FILE.safetensors, "
            f"made once from the published checkpoint by `{CONVERT} PDCNet_plus_m.pth.tar FILE.safetensors`"
        )
    try:
        with weights.open("rb") as file:
            start = file.read(9)
        if start[8:9] != b"{":  # after the length of the header, the header, which is JSON
            raise _refused(_what_else(weights, start))
        with safe_open(weights, "np") as header:
            names = set(header.keys())
    except OSError as error:
        raise _refused(f"{str(weights)!r} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise _refused(f"{str(weights)!r} is cut short or damaged ({error})") from error
    if TOLD_BY not in names:
        raise _refused(f"{str(weights)!r} holds other weights than PDCNet+'s: it has no tensor {TOLD_BY!r}")
    return weights


def _what_else(path: Path, start: bytes) -> str:
    """What a file is that is not safetensors, and what to do with it."""
    if start.startswith((b"PK\x03\x04", b"\x80")):  # torch's zip archives, and its older pickles
        out = path.with_name(path.name.partition(".")[0] + ".safetensors")
        return (
            f"{str(path)!r} is a torch file, which could run code when it is read: "
            f"convert it once with `{CONVERT} {shlex.join((str(path), str(out)))}`, and name that"
        )
    return f"{str(path)!r} is not a safetensors file"


def _refused(why: str) -> RefusedError:
    return RefusedError(Code.UNKNOWN_ENGINE, why)
