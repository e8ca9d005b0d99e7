"""Pixel layouts and pipes, by themselves."""

import io

import numpy as np
import pytest
from av.video.format import VideoFormat
from hypothesis import given
from hypothesis import strategies as st

from warpaint.client.errors import MediaError
from warpaint.client.film.media import ColourTags, Pipe, buffer_bytes, frame_of, pixels_of, tight_buffer
from warpaint.proto.messages import Colour, Pixels

LAYOUTS: tuple[Pixels, ...] = ("yuv420p", "gray", "bgr24")


@given(width=st.integers(1, 70), height=st.integers(1, 40), pixels=st.sampled_from(LAYOUTS))
def test_a_frame_gives_back_its_samples(width: int, height: int, pixels: Pixels) -> None:
    buffer = np.random.default_rng(0).integers(0, 256, buffer_bytes(pixels, width, height), np.uint8)
    np.testing.assert_array_equal(tight_buffer(frame_of(buffer, pixels, width, height), pixels), buffer)


def test_a_buffer_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(MediaError, match="a 4x2 picture of yuv420p has 12 bytes, not 11"):
        frame_of(np.zeros(11, np.uint8), "yuv420p", 4, 2)


@pytest.mark.parametrize(
    ("stored", "pixels"),
    [
        ("nv12", "yuv420p"),
        ("yuvj422p", "yuv420p"),
        ("yuva444p12le", "yuv420p"),
        ("p010le", "yuv420p"),
        ("gray16le", "gray"),
        ("ya8", "gray"),
        ("monob", "gray"),
        ("pal8", "bgr24"),
        ("gbrp10le", "bgr24"),
        ("rgba", "bgr24"),
        ("rgb565le", "bgr24"),
    ],
)
def test_each_stored_layout_has_one_on_the_wire(stored: str, pixels: Pixels) -> None:
    assert pixels_of(VideoFormat(stored)) == pixels


@pytest.mark.parametrize(
    ("tags", "colour"),
    [
        (ColourTags(), Colour()),
        (ColourTags(matrix=1, range=1), Colour(matrix="bt709")),
        (ColourTags(matrix=5, range=2), Colour(matrix="bt601", full_range=True)),
        (ColourTags(matrix=6), Colour(matrix="bt601")),
        (ColourTags(matrix=9), Colour(matrix="bt2020")),
        (ColourTags(matrix=8), Colour()),  # YCgCo
    ],
)
def test_tags_on_the_wire(tags: ColourTags, colour: Colour) -> None:
    assert tags.on_wire() == colour


def test_a_pipe_writes_all_of_it() -> None:
    class Narrow(io.RawIOBase):
        """Takes three bytes at a time, as a raw pipe may."""

        taken = b""

        def write(self, data: object) -> int:
            self.taken += bytes(memoryview(data)[:3])  # type: ignore[arg-type]
            return min(3, len(memoryview(data)))  # type: ignore[arg-type]

    narrow = Narrow()
    assert Pipe(narrow).write(b"0123456789") == 10  # type: ignore[arg-type]
    assert narrow.taken == b"0123456789"
