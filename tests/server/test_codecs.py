from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from typing import get_args

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warpaint.engines.base import Picture
from warpaint.proto.errors import Code, InvalidMessage, RefusedError
from warpaint.proto.messages import Colour, Encoding, Matrix, Pixels, Result, Source
from warpaint.proto.pixels import layout
from warpaint.server.codecs import Decoder, Encoded, Encoder, make_decoder, make_encoder

SIZE = (96, 64)
STREAMS: tuple[Encoding, ...] = ("h264", "hevc", "vp8", "vp9", "av1")
STILLS: tuple[Encoding, ...] = ("jpeg", "mjpeg")
PIXELS: tuple[Pixels, ...] = get_args(Pixels)

every_stream = pytest.mark.parametrize("encoding", STREAMS)
every_still = pytest.mark.parametrize("encoding", STILLS)
every_pixels = pytest.mark.parametrize("pixels", PIXELS)


def smooth(width: int, height: int, seed: int = 0) -> Picture:
    """Soft blobs of colour well inside what 4:2:0 in limited range can hold."""
    noise = np.random.default_rng(seed).integers(60, 196, (height // 16 + 3, width // 16 + 3, 3), np.uint8)
    large = cv2.resize(noise, (width + 32, height + 32), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(large[16 : height + 16, 16 : width + 16], np.uint8)


def film(frames: int, size: tuple[int, int] = SIZE) -> list[Picture]:
    """Pictures of a pan, two pixels a frame."""
    width, height = size
    wide = smooth(width + 2 * frames, height)
    return [np.ascontiguousarray(wide[:, 2 * i : 2 * i + width]) for i in range(frames)]


def source_of(encoding: Encoding, size: tuple[int, int] = SIZE, pixels: Pixels = "bgr24") -> Source:
    return Source(width=size[0], height=size[1], encoding=encoding, pixels=pixels)


@contextmanager
def codecs(source: Source, result: Result) -> Iterator[tuple[Encoder, Decoder]]:
    with closing(make_encoder(result, source)) as encoder, closing(make_decoder(source)) as decoder:
        yield encoder, decoder


def encode_all(
    encoding: Encoding, pictures: list[Picture], *, crf: int = 20, keys: tuple[int, ...] = ()
) -> list[Encoded]:
    """The payloads of a film, tagged from 100 on."""
    result = Result(encoding=encoding, crf=crf)
    height, width = pictures[0].shape[:2]
    with closing(make_encoder(result, source_of(encoding, (width, height)))) as encoder:
        return [one for i, bgr in enumerate(pictures) for one in encoder.encode(bgr, 100 + i, i in keys)]


def payload_of(encoded: Encoded) -> bytes:
    return encoded.data if isinstance(encoded.data, bytes) else encoded.data.tobytes()


def psnr(one: Picture, other: Picture) -> float:
    return float(cv2.PSNR(one, other))


@contextmanager
def refused(code: Code, match: str | None = None) -> Iterator[None]:
    with pytest.raises(RefusedError, match=match) as caught:
        yield
    assert caught.value.code is code


# Raw


@every_pixels
@pytest.mark.parametrize("size", [SIZE, (17, 31), (1, 1), (3, 1), (1, 4)])
def test_raw_round_trip(pixels: Pixels, size: tuple[int, int]) -> None:
    source = source_of("raw", size, pixels)
    bgr = (
        np.full((size[1], size[0], 3), (90, 120, 150), np.uint8) if pixels != "gray" else np.full((*size[::-1], 3), 77)
    )
    bgr = bgr.astype(np.uint8)
    with codecs(source, Result(encoding="raw", pixels=pixels)) as (encoder, decoder):
        [encoded] = encoder.encode(bgr, 5)
        assert (encoded.tag, encoded.keyframe) == (5, True)
        payload = payload_of(encoded)
        assert len(payload) == layout(pixels, *size).total_bytes
        [(tag, picture)] = decoder.decode(payload, 5)
        assert tag == 5
        assert picture.dtype == np.uint8
        assert picture.shape == bgr.shape
        limit = 2 if pixels in ("yuv420p", "nv12") else 0  # Y'CbCr in limited range is coarser than BGR
        assert np.abs(picture.astype(int) - bgr).max() <= limit
        assert encoder.flush() == []
        assert decoder.flush() == []


@pytest.mark.parametrize("pixels", ["yuv420p", "nv12"])
@pytest.mark.parametrize("size", [SIZE, (17, 31), (1, 1), (3, 1)])
@pytest.mark.parametrize("full_range", [False, True])
def test_raw_yuv_passes_within_one_level(pixels: Pixels, size: tuple[int, int], full_range: bool) -> None:
    source = Source(width=size[0], height=size[1], pixels=pixels, colour=Colour(matrix="bt709", full_range=full_range))
    total = layout(pixels, *size).total_bytes
    payload = np.random.default_rng(6).integers(115, 142, total, np.uint8).tobytes()  # near gray: within BGR
    with codecs(source, Result(encoding="raw", pixels=pixels)) as (encoder, decoder):
        [(_, picture)] = decoder.decode(payload, 0)
        again = payload_of(encoder.encode(picture, 0)[0])
    difference = np.frombuffer(payload, np.uint8).astype(int) - np.frombuffer(again, np.uint8)
    assert np.abs(difference).max() <= 1


@every_pixels
@pytest.mark.parametrize("size", [(17, 31), (3, 1)])
def test_strides_change_nothing_but_the_payload(pixels: Pixels, size: tuple[int, int]) -> None:
    tight = layout(pixels, *size)
    rng = np.random.default_rng(7)
    strides = tuple(plane.row_bytes + 5 * i + 3 for i, plane in enumerate(tight.planes))
    padded = layout(pixels, *size, strides)
    payload, wide = (
        rng.integers(0, 256, tight.total_bytes, np.uint8),
        rng.integers(0, 256, padded.total_bytes, np.uint8),
    )
    for a, b in zip(tight.planes, padded.planes, strict=True):
        for row in range(a.rows):
            start = b.offset + row * b.stride
            wide[start : start + a.row_bytes] = payload[a.offset + row * a.stride :][: a.row_bytes]
    source = source_of("raw", size, pixels)
    [(_, wanted)] = make_decoder(source).decode(payload.tobytes(), 0)
    [(_, picture)] = make_decoder(source.model_copy(update={"strides": strides})).decode(wide.tobytes(), 0)
    assert np.array_equal(picture, wanted)


def test_strides_shorter_than_a_row_are_refused() -> None:
    with pytest.raises(InvalidMessage, match="at least 12 bytes"):
        make_decoder(Source(width=4, height=4, strides=(11,)))


def test_tight_bgr24_is_not_copied() -> None:
    buffer = bytearray(smooth(*SIZE).tobytes())
    [(_, picture)] = make_decoder(source_of("raw")).decode(memoryview(buffer), 0)
    assert not picture.flags.writeable
    buffer[0] ^= 255
    assert picture[0, 0, 0] == buffer[0]
    [encoded] = make_encoder(Result(), source_of("raw")).encode(picture, 0)
    assert np.shares_memory(np.asarray(encoded.data), picture)


def test_a_picture_that_is_not_contiguous_is_copied() -> None:
    flipped = smooth(*SIZE)[:, ::-1]
    for pixels in PIXELS:
        source, result = source_of("raw", pixels=pixels), Result(encoding="raw", pixels=pixels)
        with closing(make_encoder(result, source)) as encoder:
            straight = encoder.encode(np.ascontiguousarray(flipped), 0)[0]
            assert payload_of(encoder.encode(flipped, 0)[0]) == payload_of(straight)


def test_channels_lie_as_their_names_say() -> None:
    bgr = np.array([[[10, 20, 30]]], np.uint8)
    wanted: dict[Pixels, bytes] = {"bgr24": b"\x0a\x14\x1e", "rgb24": b"\x1e\x14\x0a", "bgra": b"\x0a\x14\x1e\xff"}
    for pixels, payload in wanted.items():
        source = source_of("raw", (1, 1), pixels)
        with codecs(source, Result(encoding="raw", pixels=pixels)) as (encoder, decoder):
            assert payload_of(encoder.encode(bgr, 0)[0]) == payload
            assert decoder.decode(payload, 0)[0][1].tolist() == bgr.tolist()


def test_nv12_interleaves_the_chroma_of_yuv420p() -> None:
    bgr = smooth(6, 4)
    planar, packed = (
        payload_of(make_encoder(Result(pixels=pixels), source_of("raw", (6, 4))).encode(bgr, 0)[0])
        for pixels in ("yuv420p", "nv12")
    )
    assert packed[:24] == planar[:24]
    assert packed[24::2] == planar[24:30]
    assert packed[25::2] == planar[30:36]


@every_pixels
@pytest.mark.parametrize("missing", [1, -1, "all"])
def test_a_raw_payload_of_another_length_is_refused(pixels: Pixels, missing: int | str) -> None:
    total = layout(pixels, 17, 31).total_bytes
    length = 0 if missing == "all" else total - int(missing)
    decoder = make_decoder(source_of("raw", (17, 31), pixels))
    with refused(Code.BAD_PAYLOAD, rf"is {total} bytes; the payload has {length}"):
        decoder.decode(bytes(length), 0)
    assert len(decoder.decode(bytes(total), 1)) == 1


@pytest.mark.parametrize("bad", [np.zeros((64, 95, 3), np.uint8), np.zeros((64, 96), np.uint8), np.zeros((64, 96, 3))])
@pytest.mark.parametrize("encoding", ["raw", "jpeg", "h264"])
def test_an_encoder_takes_only_pictures_of_its_size(encoding: Encoding, bad: Picture) -> None:
    with closing(make_encoder(Result(encoding=encoding), source_of(encoding))) as encoder:
        with refused(Code.ENCODER_FAILED, r"takes uint8 \[64, 96, 3\]"):
            encoder.encode(bad, 0)
        assert encoder.encode(smooth(*SIZE), 1)[0].tag == 1


# JPEG


@every_still
@pytest.mark.parametrize("size", [SIZE, (17, 31), (1, 1), (3, 1)])
def test_jpeg_round_trip(encoding: Encoding, size: tuple[int, int]) -> None:
    bgr = smooth(*size)
    with codecs(source_of(encoding, size), Result(encoding=encoding, quality=95)) as (encoder, decoder):
        [encoded] = encoder.encode(bgr, 9)
        assert (encoded.tag, encoded.keyframe) == (9, True)
        [(tag, picture)] = decoder.decode(memoryview(payload_of(encoded)), 9)
        assert tag == 9
        assert psnr(picture, bgr) > 34


def test_jpeg_quality_is_honoured() -> None:
    low, high = (
        payload_of(make_encoder(Result(encoding="jpeg", quality=q), source_of("jpeg")).encode(smooth(*SIZE), 0)[0])
        for q in (20, 95)
    )
    assert len(low) < len(high)


@every_still
def test_a_jpeg_of_another_size_is_refused(encoding: Encoding) -> None:
    payload = payload_of(encode_all(encoding, [smooth(32, 16)])[0])
    with refused(Code.BAD_FRAME, "32x16; the session was opened for 96x64"):
        make_decoder(source_of(encoding)).decode(payload, 0)


def test_half_a_jpeg_is_refused() -> None:
    payload = payload_of(encode_all("jpeg", [smooth(*SIZE)])[0])
    with refused(Code.BAD_FRAME, "frame 3"):
        make_decoder(source_of("jpeg")).decode(payload[: len(payload) // 2], 3)


# Coded streams


@every_stream
def test_every_picture_comes_out_at_once_under_its_tag(encoding: Encoding) -> None:
    first = 2**53 - 50  # the largest indices
    with codecs(source_of(encoding), Result(encoding=encoding, crf=10, gop_frames=5)) as (encoder, decoder):
        keyframes = []
        for i, bgr in enumerate(film(12)):
            [encoded] = encoder.encode(bgr, first + 3 * i)  # frames in between were dropped
            assert encoded.tag == first + 3 * i
            [(tag, picture)] = decoder.decode(memoryview(payload_of(encoded)), encoded.tag)
            assert tag == first + 3 * i
            assert psnr(picture, bgr) > 34
            keyframes += [i] * encoded.keyframe
        assert keyframes == [0, 5, 10]
        assert encoder.flush() == []
        assert decoder.flush() == []


@every_stream
def test_a_forced_keyframe_can_be_decoded_alone(encoding: Encoding) -> None:
    pictures = film(6)
    encoded = encode_all(encoding, pictures, keys=(3,))
    assert [one.keyframe for one in encoded] == [True, False, False, True, False, False]
    decoder = make_decoder(source_of(encoding))
    for i in (3, 4, 5):
        [(tag, picture)] = decoder.decode(payload_of(encoded[i]), encoded[i].tag)
        assert tag == 100 + i
        assert psnr(picture, pictures[i]) > 30


@every_stream
def test_crf_is_honoured(encoding: Encoding) -> None:
    sizes = [sum(len(payload_of(one)) for one in encode_all(encoding, film(3), crf=crf)) for crf in (0, 20, 51)]
    assert sizes[0] > 1.2 * sizes[1] > 2 * sizes[2]


@every_stream
def test_a_stream_that_begins_in_the_middle_waits_for_a_keyframe(encoding: Encoding) -> None:
    encoded = encode_all(encoding, film(6), keys=(3,))
    decoder = make_decoder(source_of(encoding))
    for one in encoded[1:3]:
        with refused(Code.BAD_FRAME, f"frame {one.tag}"):
            decoder.decode(payload_of(one), one.tag)
    assert [decoder.decode(payload_of(one), one.tag)[0][0] for one in encoded[3:]] == [103, 104, 105]


@every_stream
def test_a_decoder_goes_on_at_the_next_keyframe(encoding: Encoding) -> None:
    pictures = film(6)
    encoded = encode_all(encoding, pictures, keys=(3,))
    decoder = make_decoder(source_of(encoding))
    assert len(decoder.decode(payload_of(encoded[0]), 100)) == 1
    with refused(Code.BAD_FRAME, "frame 101"):
        decoder.decode(damaged(encoding, encoded[1]), 101)
    with refused(Code.BAD_FRAME, "frame 102"):
        decoder.decode(payload_of(encoded[2]), 102)
    for i in (3, 4, 5):
        [(tag, picture)] = decoder.decode(payload_of(encoded[i]), 100 + i)
        assert tag == 100 + i
        assert psnr(picture, pictures[i]) > 30


def damaged(encoding: Encoding, encoded: Encoded) -> bytes:
    """A payload whose damage its decoder notices. Not all of them notice all: VP8 reads on in zeros past the end."""
    payload = payload_of(encoded)
    if encoding == "hevc":
        return payload[:8] + b"\xff" * len(payload)
    return payload[: 3 if encoding in ("vp8", "vp9") else len(payload) // 2]


@every_stream
def test_an_empty_access_unit_is_refused(encoding: Encoding) -> None:
    encoded = encode_all(encoding, film(2))
    decoder = make_decoder(source_of(encoding))
    decoder.decode(payload_of(encoded[0]), 100)
    with refused(Code.BAD_PAYLOAD, "frame 7 has 0 bytes"):
        decoder.decode(b"", 7)
    assert len(decoder.decode(payload_of(encoded[1]), 101)) == 1  # it did not end the stream


@every_stream
def test_a_stream_of_another_size_is_refused(encoding: Encoding) -> None:
    [encoded] = encode_all(encoding, [smooth(32, 32)])
    decoder = make_decoder(source_of(encoding))
    with refused(Code.BAD_FRAME, "32x32; the session was opened for 96x64"):
        decoder.decode(payload_of(encoded), 0)
    [right] = encode_all(encoding, [smooth(*SIZE)])
    assert len(decoder.decode(payload_of(right), 1)) == 1


@every_stream
def test_a_stream_far_larger_than_announced_is_not_decoded(encoding: Encoding) -> None:
    [encoded] = encode_all(encoding, [smooth(512, 256)])
    with refused(Code.BAD_FRAME, f"cannot be decoded as {encoding}"):
        make_decoder(source_of(encoding)).decode(payload_of(encoded), 0)


@every_stream
def test_a_flushed_decoder_begins_again(encoding: Encoding) -> None:
    encoded = encode_all(encoding, film(3), keys=(2,))
    decoder = make_decoder(source_of(encoding))
    decoder.decode(payload_of(encoded[0]), 100)
    assert decoder.flush() == []
    with refused(Code.BAD_FRAME):
        decoder.decode(payload_of(encoded[1]), 101)
    assert len(decoder.decode(payload_of(encoded[2]), 102)) == 1


@pytest.mark.parametrize("encoding", ["raw", *STILLS, *STREAMS])
def test_closing_at_any_time_and_twice(encoding: Encoding) -> None:
    for pictures in (0, 1):
        encoder, decoder = (
            make_encoder(Result(encoding=encoding), source_of(encoding)),
            make_decoder(source_of(encoding)),
        )
        for bgr in film(pictures):
            decoder.decode(payload_of(encoder.encode(bgr, 0)[0]), 0)
            assert encoder.flush() == []
        for _ in range(2):
            encoder.close()
            decoder.close()


@pytest.mark.parametrize("encoding", ["vp8", "vp9", "av1"])
def test_odd_sizes_where_the_codec_has_them(encoding: Encoding) -> None:
    bgr = smooth(17, 31)
    with codecs(source_of(encoding, (17, 31)), Result(encoding=encoding, crf=5)) as (encoder, decoder):
        [(_, picture)] = decoder.decode(payload_of(encoder.encode(bgr, 0)[0]), 0)
        assert psnr(picture, bgr) > 30


@pytest.mark.parametrize("encoding", ["h264", "hevc"])
@pytest.mark.parametrize("size", [(17, 32), (32, 31)])
def test_odd_sizes_are_refused_where_the_codec_lacks_them(encoding: Encoding, size: tuple[int, int]) -> None:
    with refused(Code.UNSUPPORTED, "takes no odd sizes .* raw, jpeg"):
        make_encoder(Result(encoding=encoding), source_of(encoding, size))


def test_a_size_that_the_encoder_library_refuses() -> None:
    with refused(Code.UNSUPPORTED, "hevc cannot encode 2x2"):
        make_encoder(Result(encoding="hevc"), source_of("hevc", (2, 2)))


@pytest.mark.parametrize("encoding", ["h264", "hevc", "vp9", "av1"])
@pytest.mark.parametrize(
    ("matrix", "full_range", "tags"), [("bt709", False, (1, 1)), ("bt601", True, (5, 2)), ("bt2020", False, (9, 1))]
)
def test_colour_is_written_into_the_stream(
    encoding: Encoding, matrix: Matrix, full_range: bool, tags: tuple[int, int]
) -> None:
    colour = Colour(matrix=matrix, full_range=full_range)
    source = source_of(encoding).model_copy(update={"colour": colour})
    with closing(make_encoder(Result(encoding=encoding), source)) as encoder:
        payload = payload_of(encoder.encode(smooth(*SIZE), 0)[0])
    reader = av.CodecContext.create("libdav1d" if encoding == "av1" else encoding, "r")
    assert isinstance(reader, av.VideoCodecContext)
    [frame] = [*reader.decode(av.Packet(payload)), *reader.decode(None)]
    assert (int(frame.colorspace), int(frame.color_range)) == tags


def test_pictures_of_a_stream_with_b_frames_come_late_but_under_their_tags() -> None:
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.time_base, context.pix_fmt = *SIZE, Fraction(1, 30), "yuv420p"
    context.options = {"preset": "veryfast", "bf": "3", "b-pyramid": "none", "crf": "10"}
    pictures = film(12)
    packets = []
    for i, bgr in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(bgr, "bgr24").reformat(format="yuv420p", dst_colorspace="ITU601")
        frame.pts = i
        packets += context.encode(frame)
    packets += context.encode(None)
    assert [packet.pts for packet in packets] != list(range(12))
    decoder = make_decoder(source_of("h264"))
    decoded = [one for packet in packets for one in decoder.decode(bytes(packet), packet.pts or 0)] + decoder.flush()
    assert [tag for tag, _ in decoded] == list(range(12))
    assert all(psnr(picture, pictures[tag]) > 30 for tag, picture in decoded)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray", "gbrp"])
def test_streams_that_are_not_420_keep_their_colours(pix_fmt: str, full_range: bool) -> None:
    library = "libx264rgb" if pix_fmt == "gbrp" else "libx264"
    context = av.CodecContext.create(library, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.time_base = *SIZE, Fraction(1, 30)
    context.pix_fmt = "bgr24" if pix_fmt == "gbrp" else pix_fmt
    context.options = {"tune": "zerolatency", "preset": "ultrafast", "crf": "1"}
    context.color_range = 2 if full_range else 1
    colour = Colour(matrix="bt709", full_range=full_range)
    bgr = np.full((SIZE[1], SIZE[0], 3), 120 if pix_fmt == "gray" else (90, 120, 150), np.uint8)
    frame = av.VideoFrame.from_ndarray(bgr, "bgr24").reformat(
        format=context.pix_fmt, dst_colorspace="ITU709", dst_color_range="JPEG" if full_range else "MPEG"
    )
    payload = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    decoder = make_decoder(source_of("h264").model_copy(update={"colour": colour}))
    [(_, picture)] = decoder.decode(payload, 0)
    assert np.abs(picture.astype(int) - bgr).max() <= 4


# Whatever comes


@pytest.mark.parametrize("encoding", [*STREAMS, *STILLS])
@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_garbage_is_refused_and_nothing_else(encoding: Encoding, data: st.DataObject) -> None:
    valid = GARBAGE_ROOTS[encoding]
    with closing(make_decoder(source_of(encoding))) as decoder:
        for tag in range(3):
            payload = data.draw(st.binary(max_size=200) | broken(valid))
            with suppress(RefusedError):
                assert all(picture.shape == (*SIZE[::-1], 3) for _, picture in decoder.decode(payload, tag))
        assert len(decoder.decode(valid, 3)) == 1


def broken(valid: bytes) -> st.SearchStrategy[bytes]:
    """The payload cut somewhere, or with one byte changed."""
    at = st.integers(0, len(valid) - 1)
    cut = at.map(lambda end: valid[:end])
    changed = st.tuples(at, st.integers(0, 255)).map(lambda p: valid[: p[0]] + bytes([p[1]]) + valid[p[0] + 1 :])
    return cut | changed


GARBAGE_ROOTS = {encoding: payload_of(encode_all(encoding, [smooth(*SIZE)])[0]) for encoding in (*STREAMS, *STILLS)}
