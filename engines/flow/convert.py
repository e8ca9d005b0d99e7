"""`python -m warpaint.engines.flow.convert CHECKPOINT OUT.safetensors`: the published PDC-Net+ weights, made safe.

The daemon reads safetensors alone, which cannot hold code. This is run once, by hand.
"""

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save

from ... import __version__
from ...proto.errors import RefusedError
from .pdcnet.checkpoint import check_state, read_checkpoint, weights_sha256
from .pdcnet.files import FORMAT
from .pdcnet.weights import expected_state

FAILED = 1  # the file was refused, or cannot be read or written; argparse exits with 2 for what cannot be meant


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts a checkpoint. Exits with 2 for arguments that cannot be meant, with 1 for all else that fails."""
    own = parser()
    wanted = own.parse_args(arguments)
    checkpoint, out = wanted.checkpoint, wanted.out
    try:
        mistake = _mistake(checkpoint, out)
        if mistake:
            own.error(mistake)
        count, digest = convert(checkpoint, out)
    except RefusedError as error:
        _fail(str(error))
    except OSError as error:  # of reading, RefusedError tells
        _fail(f"{str(out)!r} cannot be written: {error.strerror or error}")
    else:
        sys.stdout.write(f"wrote {str(out)!r}: {count} tensors, SHA-256 {digest}, also in {str(_sum_of(out))!r}\n")


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    own = argparse.ArgumentParser(
        prog="python -m warpaint.engines.flow.convert",
        description="Converts the published PDC-Net+ checkpoint to safetensors. Nothing in it is run.",
    )
    own.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the torch file that was published")
    own.add_argument("out", type=Path, metavar="OUT.safetensors", help="the file to write, with its SHA-256 beside it")
    return own


def _mistake(checkpoint: Path, out: Path) -> str | None:
    """What is wrong with the arguments themselves."""
    if out.suffix != ".safetensors":
        return f"{str(out)!r} does not end in .safetensors"
    for written in (out, _sum_of(out)):
        if written.exists() and checkpoint.exists() and written.samefile(checkpoint):
            return f"{str(written)!r} would be written over the checkpoint"
    return None


def _sum_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.sha256")


def _fail(message: str) -> None:
    sys.stderr.write(f"convert: {message}\n")
    raise SystemExit(FAILED)


def convert(checkpoint: Path, out: Path) -> tuple[int, str]:
    """The number of tensors that were written, and the SHA-256 of the new file. Raises RefusedError and OSError."""
    state = read_checkpoint(checkpoint)
    check_state(state, expected_state())
    # Copies, each with its own memory: safetensors takes no others, and takes bits that torch keeps aside for none.
    tensors = {name: torch.empty(each.shape, dtype=each.dtype).copy_(each) for name, each in state.items()}
    metadata = {
        "format": FORMAT,
        "origin": _printable(checkpoint.name),
        "origin_sha256": _sha256(checkpoint),
        "weights_sha256": weights_sha256(tensors),
        "converter": __version__,
    }
    content = save(tensors, metadata)
    digest = hashlib.sha256(content).hexdigest()
    _write(content, digest, out)
    return len(tensors), digest


def _write(content: bytes, digest: str, out: Path) -> None:
    """Writes the file and the one with its sum. Each appears whole, or not at all."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".convert-") as folder:
        whole, checksum = Path(folder) / "whole", Path(folder) / "sum"
        whole.write_bytes(content)  # safetensors itself writes files that nobody else may read, such as the daemon
        checksum.write_bytes(_sum_line(digest, out.name))
        whole.replace(out)
        checksum.replace(_sum_of(out))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sum_line(digest: str, name: str) -> bytes:
    r"""A line that `sha256sum -c` reads: in names, it wants \ and line ends escaped, and a \ in front to say so."""
    escaped = name.replace("\\", r"\\").replace("\n", r"\n")
    mark = "" if escaped == name else "\\"
    return f"{mark}{digest}  {escaped}\n".encode(errors="surrogateescape")


def _printable(name: str) -> str:
    """The name of a file, with what is no UTF-8 made visible: metadata are texts."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


if __name__ == "__main__":
    main()
