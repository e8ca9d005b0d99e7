"""`python tests/bench/watch.py FOLDER`: a live film to look at, with a change of look in the middle.

Leaves in the folder live.mp4, each result at its own time, and sheet.png, one of them each second.
"""

import argparse
import sys
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))  # for `support`

from bench.camera import TICKS_A_SECOND, Film, Footage, Take, film, filmed
from support.daemon import daemon
from warpaint.client.sheet import SheetRow, contact_sheet

RATE = 30
CRF = "16"  # of x264: flicker and seams are to be the daemon's, not the encoder's
SHEET_WIDTH = 960


def main() -> None:
    """Films, writes, and says what was seen of which kind."""
    parser = argparse.ArgumentParser(description="Records a live film.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--look", default="ink", help="from the middle on [ink]")
    flags = parser.parse_args()
    flags.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, daemon(Path(name), "--log-level", "warning") as running:
        keep, source = Path(name) / "kept", film(Path(name))
        changes = [(flags.seconds / 2, {"look": flags.look})]
        [footage] = filmed(
            [Take(running.address, source, flags.seconds, RATE, announced=False, changes=changes, keep=keep)]
        )
        pictures: Film = np.load(source, mmap_mode="r")
        kept: Film = np.memmap(keep, np.uint8).reshape(-1, *pictures.shape[1:])
        _write(flags.folder / "live.mp4", footage, kept)
        cv2.imwrite(str(flags.folder / "sheet.png"), _sheet(footage, kept, pictures))
    _tell(footage)


def _write(path: Path, footage: Footage, kept: Film) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": CRF})
        stream.height, stream.width = kept.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS_A_SECOND)
        for (_, info), picture in zip(footage.results, kept, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = info.pts, Fraction(1, TICKS_A_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _sheet(footage: Footage, kept: Film, pictures: Film) -> Film:
    """The first result of each second beside the frame that it was made of."""
    rows: dict[int, SheetRow] = {}
    for (_, info), painted in zip(footage.results, kept, strict=True):
        raw = pictures[footage.pictures[info.index] % len(pictures)]
        rows.setdefault(info.pts // TICKS_A_SECOND, SheetRow(info.pts / TICKS_A_SECOND, raw, painted))
    return contact_sheet(list(rows.values()), ("raw", "painted"), width=SHEET_WIDTH)


def _tell(footage: Footage) -> None:
    seen = Counter(info.provenance.value for _, info in footage.results)
    keyframes = [round(info.pts / TICKS_A_SECOND, 2) for _, info in footage.results if info.keyframe]
    print(f"{len(footage.results)} of {len(footage.pushed_at)} frames, {dict(seen)}, dropped {dict(footage.dropped)}")
    print(f"keyframes first seen at, s: {keyframes}")
    print(f"updates first shown by frames {[each.shown_at for each in footage.changes]}")


if __name__ == "__main__":
    main()
