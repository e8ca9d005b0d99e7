"""`python -m warpaint.engines.flow.build`: plans of PDCNet+ for TensorRT, of graphs that are exported if need be.

With the package tensorrt this needs the GPU that will run them; with tensorrt_rtx it needs none.
"""

import argparse
import sys
from collections.abc import Sequence

from .pdcnet import tensorrt
from .pdcnet.commands import Wanted, failing_in_words, fill, wanted_of
from .pdcnet.making import make_graphs, make_plans
from .pdcnet.shelf import said


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the plans of each size. Exits with 2 for arguments that cannot be meant, with 1 for what fails."""
    own = argparse.ArgumentParser(
        prog="python -m warpaint.engines.flow.build",
        description="Builds plans of PDCNet+ for TensorRT, for each size of picture.",
    )
    fill(own)
    own.add_argument(
        "--library",
        choices=("auto", *tensorrt.EXTRAS),
        default="auto",
        help="the package that builds them; auto: the one that is installed [auto]",
    )
    with failing_in_words("build"):
        wanted = wanted_of(own, arguments)
        _built(wanted, tensorrt.library(wanted.arguments.library))


def _built(wanted: Wanted, library: tensorrt.Library) -> None:
    sys.stdout.write(f"{library.name} {library.version}, for GPU: {tensorrt.gpu(library)}\n")
    for size in wanted.sizes:
        if not wanted.shelf.has(size):
            sys.stdout.write(
                f"{said(size)}: graphs are made first\n  {make_graphs(wanted.weights, wanted.shelf, size)}\n"
            )
        for path in make_plans(library, wanted.shelf, size):
            sys.stdout.write(f"{said(size)}: {path}, {path.stat().st_size / 2**20:.1f} MB\n")


if __name__ == "__main__":
    main()
