"""Makes the README's picture, docs/bigbuckbunny.jpg, from the first two seconds of Big Buck Bunny."""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from support.clips import frames
from support.daemon import daemon
from warpaint.client import Client
from warpaint.client.maps import ALL
from warpaint.client.sheet import Column, SheetRow, contact_sheet

PICTURE = Path(__file__).parents[1] / "docs" / "bigbuckbunny.jpg"
SIZE = (960, 540)
MOMENTS = (12, 44)  # frames
COLUMNS: tuple[Column, ...] = ("raw", "painted", "confidence", "holes")
WIDTH, QUALITY = 1400, 82


def main() -> None:
    """Paints, and writes the sheet of the moments."""
    raw = list(frames("bigbuckbunny", SIZE, stop=max(MOMENTS) + 1))
    with tempfile.TemporaryDirectory() as folder, daemon(Path(folder)) as running, Client(running.address) as client:
        with client.session(maps=ALL) as session:
            results = list(session.paint(raw))
        rows = [
            SheetRow(
                pts=float(each.pts),
                raw=raw[each.index],
                painted=each.image,
                flow=each.maps["flow"],
                confidence=each.maps["confidence"],
                hops=each.maps["hops"],
                holes=each.maps["holes"].astype(np.bool_),
            )
            for each in results
            if each.index in MOMENTS
        ]
    cv2.imwrite(str(PICTURE), contact_sheet(rows, COLUMNS, width=WIDTH), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


main()
