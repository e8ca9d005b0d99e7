"""One picture of all that is seen of a frame, and how it is coded."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from warpaint.client.page.coding import H264Encoder, JpegEncoder, config_of
from warpaint.client.page.controls import controls
from warpaint.client.page.tiles import Stacker, TileName
from warpaint.client.viewer import SeenImage
from warpaint.proto.brief import Brief
from warpaint.proto.messages import Provenance, Seen, SeenPart

SIZE = 45, 31


def seen(maps: dict[str, NDArray[Any]] | None = None, *, raw: int | None = 90, painted: int | None = 200) -> SeenImage:
    flat = [None if level is None else np.full((SIZE[1], SIZE[0], 3), level, np.uint8) for level in (raw, painted)]
    part = SeenPart(name="painted", dtype="uint8", shape=(SIZE[1], SIZE[0], 3))
    info = Seen(session=0, seq=1, index=4, pts=0, epoch=0, provenance=Provenance.WARPED, parts=(part,))
    return SeenImage(flat[0], flat[1], 4, Fraction(0), maps or {}, info)


def test_tiles_lie_one_under_the_other_on_even_rows() -> None:
    stack = Stacker().stack(seen(), ("raw", "painted"), 1_000)
    assert stack.image.shape == (64, 46, 3)
    raw, painted = stack.tiles
    assert (raw.name, raw.x, raw.y, raw.width, raw.height) == ("raw", 0, 0, *SIZE)
    assert (painted.name, painted.x, painted.y, painted.width, painted.height) == ("painted", 0, 32, *SIZE)
    assert (stack.image[:31, :45] == 90).all()
    assert (stack.image[32:63, :45] == 200).all()


def test_wide_tiles_are_made_narrower() -> None:
    [tile] = Stacker().stack(seen(), ("painted",), 20).tiles
    assert (tile.width, tile.height) == (20, 14)


def test_maps_are_drawn_as_pictures_and_what_did_not_come_is_left_out() -> None:
    shape = SIZE[::-1]
    flow = np.zeros((*shape, 2), np.float32)
    flow[..., 0] = 4
    holes = np.zeros(shape, np.uint8)
    holes[:10] = 1
    maps: dict[str, NDArray[Any]] = {
        "flow": flow,
        "confidence": np.ones(shape, np.float32),
        "hops": np.full(shape, 3, np.uint8),
        "holes": holes,
    }
    names: tuple[TileName, ...] = ("raw", "flow", "confidence", "hops", "holes")
    stack = Stacker().stack(seen(maps, painted=None), names, 1_000)
    assert [each.name for each in stack.tiles] == list(names)
    b, g, r = stack.image[stack.tiles[1].y, 0]
    assert r > 200 > max(b, g)  # rightwards is red
    assert not (stack.image[stack.tiles[4].y] == stack.image[stack.tiles[4].y + 20]).all()
    assert [each.name for each in Stacker().stack(seen(raw=None), names, 100).tiles] == []


@pytest.mark.parametrize("side", [(64, 48), (1_280, 1_440)])
def test_h264_is_decoded_at_once_and_says_what_it_is(side: tuple[int, int]) -> None:
    encoder = H264Encoder(side)
    decoder = av.CodecContext.create("h264", "r")
    for number in range(3):
        image = np.full((side[1], side[0], 3), 60 * number + 40, np.uint8)
        coded = encoder.encode(image, key=number == 2)
        assert coded.keyframe == (number != 1)
        assert coded.config.startswith("avc1.42")
        [frame] = decoder.decode(av.Packet(coded.data))
        assert abs(frame.to_ndarray(format="bgr24").astype(int) - image).max() <= 3


def test_a_level_is_one_that_holds_the_picture() -> None:
    small, large = (
        H264Encoder(side).encode(np.zeros((side[1], side[0], 3), np.uint8), key=True)
        for side in ((64, 48), (1_280, 1_440))
    )
    assert int(small.config[-2:], 16) < 0x1F <= int(large.config[-2:], 16)


def test_what_has_no_parameters_has_no_name() -> None:
    assert config_of(b"") == config_of(b"\0\0\0\1\x65" + bytes(40)) == ""


def test_each_jpeg_stands_alone() -> None:
    coded = JpegEncoder().encode(np.zeros((8, 8, 3), np.uint8), key=False)
    assert coded.keyframe
    assert coded.data[:2] == b"\xff\xd8"


def test_there_is_a_control_for_each_field_of_the_brief() -> None:
    found = {each["name"]: each for each in controls()}
    assert list(found) == list(Brief.model_fields)
    assert found["look"]["kind"] == "choice"
    assert found["strength"] | {"min": 0.0, "max": 1.0, "default": 0.75, "kind": "number"} == found["strength"]
    assert found["keyframe_gap_max_s"]["exclusive_min"] == 0
    assert found["scheduler"]["choices"][0] == "ddim"
    assert found["loras"]["kind"] == "list"
    assert {each["group"] for each in controls()} == {"What to paint", "Diffusion", "Keyframes and holes"}
