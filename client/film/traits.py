"""What a decoded frame tells about its film: colour tags, how it is turned, and what painting will make of it."""

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from .media import ColourTags, pixels_of


def tags_of(frame: VideoFrame) -> ColourTags:
    """The colour tags of a decoded frame. The layouts called yuvj mean full range whatever the tags say."""
    full = frame.format.name.startswith("yuvj")
    return ColourTags(
        matrix=int(frame.colorspace),
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        range=int(ColorRange.JPEG) if full else int(frame.color_range),
    )


def display_matrix_of(frame: VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers that turn and mirror the stored picture for showing, where the film has them."""
    # The library's stubs call the list of side data a dict of one other kind.
    for side_data in cast(Sequence[SideData], frame.side_data):
        if side_data.type == SideDataType.DISPLAYMATRIX:
            return tuple(int(value) for value in np.frombuffer(bytes(side_data), np.int32))
    return None


def rotation_of(frame: VideoFrame) -> Literal[0, 90, 180, 270]:
    """Degrees clockwise to show the frame upright, to the nearest quarter. FFmpeg counts the other way round."""
    quarters: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)
    return quarters[round(-frame.rotation / 90) % 4]


def notices_of(frame: VideoFrame, tags: ColourTags, rotation: int) -> list[str]:
    """What painting does to such a picture, and what it leaves."""
    stored = frame.format
    bits = max(component.bits for component in stored.components)
    notices = []
    if tags.high_dynamic_range:
        notices.append("HDR is painted as if it were standard range, in 8 bits; its colour tags are kept.")
    if bits > 8:
        notices.append(f"The picture has {bits} bits a sample and is reduced to 8.")
    if any(component.is_alpha for component in stored.components):
        notices.append("The picture's transparency is dropped.")
    if pixels_of(stored) == "yuv420p" and (stored.chroma_width(2), stored.chroma_height(2)) != (1, 1):
        notices.append(f"The picture's finer or coarser chroma ({stored.name}) becomes 4:2:0.")
    if rotation:
        notices.append(
            f"The picture is stored turned, {rotation} degrees clockwise from upright; that is kept as a tag."
        )
    return notices
