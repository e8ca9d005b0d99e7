"""What the commands that make graphs and plans have in common: their arguments, and how they fail."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ....proto.errors import RefusedError
from ...settings import size_of
from .files import inspected
from .network import rounded
from .presets import PRESETS
from .shelf import Shelf, Size, default_folder
from .tensorrt import BuildError
from .unavailable import UnavailableError
from .weights import Weights

FAILED = 1


@dataclass(frozen=True)
class Wanted:
    """What a command was asked for. sizes: rounded."""

    arguments: argparse.Namespace
    weights: Weights
    shelf: Shelf
    sizes: Sequence[Size]


def fill(own: argparse.ArgumentParser) -> None:
    """Adds the arguments that these commands share."""
    own.add_argument("--weights", type=Path, required=True, metavar="FILE", help="the weights, as convert wrote them")
    own.add_argument(
        "--size",
        type=_size,
        action="append",
        required=True,
        metavar="WxH",
        help="size of the pictures: the canvas; may be given more than once. Live sessions need 256x256 as a rule",
    )
    own.add_argument("--preset", choices=list(PRESETS), default="paper", help="how often filters are refined [paper]")
    own.add_argument(
        "--precision",
        choices=("fp32", "mixed"),
        default="fp32",
        help="mixed: features and decoders in half precision, for GPUs [fp32]",
    )
    own.add_argument("--cache", type=Path, metavar="FOLDER", help="where they are kept [this user's cache]")


def _size(text: str) -> tuple[int, int]:
    try:
        return size_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def wanted_of(own: argparse.ArgumentParser, arguments: Sequence[str] | None) -> Wanted:
    """What these arguments ask for. Raises RefusedError."""
    found = own.parse_args(arguments)
    weights = Weights(inspected(found.weights))
    shelf = Shelf(found.cache or default_folder(), weights.digest, found.preset, found.precision)
    return Wanted(found, weights, shelf, sorted({rounded(each) for each in found.size}))


@contextmanager
def failing_in_words(name: str) -> Iterator[None]:
    """Ends the command with a sentence where something is wrong with what it was given, or with this machine."""
    try:
        yield
    except (RefusedError, BuildError, UnavailableError) as error:
        why = str(error)
    except OSError as error:
        why = f"{str(error.filename)!r}: {error.strerror}" if error.filename else str(error)
    else:
        return
    sys.stderr.write(f"{name}: {why}\n")
    raise SystemExit(FAILED)
