"""Maps as files: what the painting rests on, to look at and to compute with."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..proto.messages import MapName
from .errors import MediaError
from .film.media import make_folder
from .painting import PaintedImage
from .sheet import confidence_picture, flow_colours, hops_picture

ALL: tuple[MapName, ...] = ("flow", "confidence", "hops", "holes")
HOLES_LEVEL = 255


class MapFolder:
    """Writes the maps of each frame: flow as .npy (float32, pixels) and in colours, the others as PNG.

    Raises MediaError where it cannot.
    """

    def __init__(self, folder: Path, *, max_hops: int) -> None:
        self._folder = folder
        self._max_hops = max_hops
        make_folder(folder)

    def write(self, painted: PaintedImage) -> None:
        """Writes the maps of one frame under its number."""
        stem, maps = f"{painted.index:06d}", painted.maps
        try:
            np.save(self._folder / f"{stem}-flow.npy", maps["flow"], allow_pickle=False)
        except OSError as error:
            raise MediaError(f"{self._folder} cannot be written: {error.strerror}") from None
        save_picture(self._folder / f"{stem}-flow.png", flow_colours(maps["flow"]))
        save_picture(self._folder / f"{stem}-confidence.png", confidence_picture(maps["confidence"]))
        save_picture(self._folder / f"{stem}-hops.png", hops_picture(maps["hops"], self._max_hops))
        save_picture(self._folder / f"{stem}-holes.png", maps["holes"] * np.uint8(HOLES_LEVEL))


def save_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Writes a picture, BGR or grey, as PNG. Raises MediaError where it cannot."""
    _, png = cv2.imencode(".png", picture)
    try:
        path.write_bytes(png)
    except OSError as error:
        raise MediaError(f"{path} cannot be written: {error.strerror}") from None
