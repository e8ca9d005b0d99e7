"""Pictures inside a page: coded, no larger than they are shown, with words under them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import cv2

from .reading import Picture

# Colours that the page has for films; of more films they begin anew.
COLOURS = 6
# A picture of a strip is shown on at most so many pixels across, or on its share of the page, and coded for twice as
# sharp a screen.
PAGE_PX = 1112
SHARPER = 1.5
# Slices are enlarged by whole numbers, to no more than this across and down: each line must be seen as it is.
SLICE_PX = 540
SLICE_HIGH_PX = 360
QUALITY = 88
SLICE_QUALITY = 92


def figure(picture: Picture, caption: str, *, scale: bool = False) -> str:
    """A picture with its caption. scale: as a slice, enlarged by whole numbers."""
    h, w = picture.shape[:2]
    across, down = (max(1, SLICE_PX // w), max(1, SLICE_HIGH_PX // h)) if scale else (1, 1)
    uri = data_uri(picture, SLICE_QUALITY if scale else QUALITY)
    words = escape(caption)
    size = f'width="{w * across}" height="{h * down}"'
    return f'<figure><img src="{uri}" {size} alt="{words}"><figcaption>{words}</figcaption></figure>'


@dataclass(frozen=True, slots=True)
class Tiles:
    """A row of a strip: what it shows, and pictures with captions."""

    title: str
    pictures: Sequence[tuple[Picture, str]]


def strip(rows: Sequence[Tiles]) -> str:
    """Rows of pictures, all of as many, under each other."""
    columns = max(len(row.pictures) for row in rows)
    parts = []
    for row in rows:
        parts.append(f'<p class="moment">{escape(row.title)}</p>')
        parts += [figure(_fitted(picture, PAGE_PX // columns), caption) for picture, caption in row.pictures]
    style = f"grid-template-columns: repeat({columns}, minmax(0, 1fr))"
    return f'<div class="scroll"><div class="strip" style="{style}">{"".join(parts)}</div></div>'


def data_uri(picture: Picture, quality: int) -> str:
    """The picture, coded as JPEG, as an address that holds it."""
    _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return f"data:image/jpeg;base64,{base64.b64encode(coded).decode('ascii')}"


def _fitted(picture: Picture, shown: int) -> Picture:
    """The picture made small enough for what is shown of it; never larger."""
    h, w = picture.shape[:2]
    share = min(1.0, SHARPER * shown / w)
    if share == 1.0:
        return picture
    return cv2.resize(picture, (max(1, round(w * share)), max(1, round(h * share))), interpolation=cv2.INTER_AREA)
