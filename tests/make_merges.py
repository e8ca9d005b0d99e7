"""Makes engines/painters/diffusion/weights/sd1/tokenizer/merges.txt.gz: the merges of CLIP's tokenizer.

    python tests/make_merges.py open_clip_torch-3.3.0-py3-none-any.whl

OpenAI publishes a list of 262,145 lines, of which CLIP uses the first 48,894 after the heading. It lies in the wheel of
open_clip_torch, which is fetched with `pip download --no-deps open_clip_torch==3.3.0`.
"""

import gzip
import sys
import zipfile
from pathlib import Path

DATA = (
    Path(__file__).parents[1] / "engines" / "painters" / "diffusion" / "weights" / "sd1" / "tokenizer" / "merges.txt.gz"
)
IN_THE_WHEEL = "open_clip/bpe_simple_vocab_16e6.txt.gz"
# The 49,408 tokens of CLIP are 256 bytes, the same that end a word, what the merges make, and two special ones.
MERGES = 49408 - 2 * 256 - 2
HEADING = "#version: 0.2"


def main(wheel: Path) -> None:
    """Takes the merges out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        published = gzip.decompress(archive.read(IN_THE_WHEEL)).decode("utf-8").split("\n")
    lines = [HEADING, *published[1 : 1 + MERGES], ""]
    # Without a time in it, the file is the same whenever it is made.
    DATA.write_bytes(gzip.compress("\n".join(lines).encode("utf-8"), mtime=0))


main(Path(sys.argv[1]))
