"""`python -m warpaint.engines.flow.export`: PDCNet+ as ONNX graphs, checked against torch on the spot."""

import argparse
import sys
from collections.abc import Sequence

from .pdcnet.commands import failing_in_words, fill, wanted_of
from .pdcnet.making import make_graphs
from .pdcnet.shelf import said


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the graphs of each size. Exits with 2 for arguments that cannot be meant, with 1 for what fails."""
    own = argparse.ArgumentParser(
        prog="python -m warpaint.engines.flow.export",
        description="Writes PDCNet+ as ONNX graphs, for each size of picture, and compares them with torch.",
    )
    fill(own)
    with failing_in_words("export"):
        wanted = wanted_of(own, arguments)
        for size in wanted.sizes:
            difference = make_graphs(wanted.weights, wanted.shelf, size)
            sys.stdout.write(f"{said(size)}: {wanted.shelf.graph(size, 'match').parent}\n  {difference}\n")


if __name__ == "__main__":
    main()
