"""The codecs that remember: H.264, HEVC, VP8, VP9 and AV1, by FFmpeg, one access unit a payload, in-band headers.

None of them holds a frame back. Each works in one thread: frame threads cost a frame of delay each, slices cost bits,
and sessions run beside one another anyway.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

import av
import numpy as np
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from ..engines.base import Picture
from ..proto.errors import Code, RefusedError
from ..proto.messages import Encoding, Matrix, Result, Source
from .colour import Samples, Space, bgr_to_yuv, space_of, yuv_to_bgr
from .raw import Encoded, Payload, check_picture, check_size

# Codecs store whole blocks, of 128 pixels at most (AV1). Rounding up to them is all that a stream may ask for
# beyond the announced size, so that a small payload cannot claim the memory of a large picture.
_LARGEST_BLOCK = 128

# Result.crf is on the scale of x264 and x265, 0 to 51. Other scales are stretched to it.
_CRF_MAX = 51

# Ticks a second of the encoders' clock, one tick a picture. The true rate is not known; only rate control would ask.
_NOMINAL_RATE = 30

# libvpx's VP8 holds to a bit rate in any mode. One too high to bind, in bit/s, leaves the quantiser to qmin and qmax.
_UNBOUND_BITRATE = "1000000000"

_DECODERS: dict[Encoding, str] = {"h264": "h264", "hevc": "hevc", "vp8": "vp8", "vp9": "vp9", "av1": "libdav1d"}

_COLORSPACES: dict[Matrix, Colorspace] = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
}


@dataclass(frozen=True, slots=True)
class _Library:
    """An encoder in FFmpeg, with the options that make it quick and give one payload for each picture."""

    name: str
    options: dict[str, str]
    quality_options: tuple[str, ...] = ("crf",)
    quality_min: int = 0
    quality_max: int = _CRF_MAX
    needs_even: bool = False  # takes no odd width or height


_VPX_REALTIME = {"deadline": "realtime", "lag-in-frames": "0", "auto-alt-ref": "0"}

_ENCODERS: dict[Encoding, _Library] = {
    "h264": _Library("libx264", {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1"}, needs_even=True),
    "hevc": _Library(
        "libx265",
        {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "x265-params": "log-level=error:pools=none:frame-threads=1:info=0",
        },
        needs_even=True,
    ),
    "vp8": _Library(
        "libvpx",
        {**_VPX_REALTIME, "cpu-used": "8", "b": _UNBOUND_BITRATE},
        quality_options=("qmin", "qmax"),
        quality_max=63,
    ),
    "vp9": _Library("libvpx-vp9", {**_VPX_REALTIME, "cpu-used": "8", "b": "0"}, quality_max=63),
    # pred-struct=1 is low delay, lp=1 the fewest threads that it runs with; a crf of 0 it takes for its default.
    # Presets above 10 are quicker, but with rtc=1 and a crf below 3 SVT-AV1 4.1 ends the process (segmentation fault).
    "av1": _Library(
        "libsvtav1",
        {"preset": "10", "svtav1-params": "rtc=1:pred-struct=1:lookahead=0:lp=1"},
        quality_min=1,
        quality_max=63,
    ),
}


class CodedDecoder:
    """Pictures from a coded stream whose frames come in the order in which they are shown.

    Reordering is not supported. A stream with B-frames is decoded, but each picture comes some access units late, under
    its own tag, and what cannot be decoded before a keyframe is not always refused: it may just never come.
    Colours are read as the session's Colour says; what the stream says of itself is not asked. Streams that are not
    8-bit 4:2:0 are taken too.

    After a payload that cannot be decoded, frames that lean on it would be smeared. So each one is refused, as at
    the start of a stream, until a keyframe comes.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._space = space_of(source.colour, source.height)
        self._reformatter = VideoReformatter()
        self._context = _open_decoder(source)
        self._lost = True  # no keyframe since the start or the last damage

    def decode(self, payload: Payload, tag: int) -> list[tuple[int, Picture]]:
        """The pictures in this access unit with their tags: one, or none if it only prepares later ones.

        Raises RefusedError: BAD_PAYLOAD if it is empty; BAD_FRAME if it is damaged, of another size than announced, or
        comes before a keyframe.
        """
        size = memoryview(payload).nbytes
        if size == 0:  # for FFmpeg, the end of the stream
            raise RefusedError(Code.BAD_PAYLOAD, f"frame {tag} has 0 bytes; an access unit has at least 1")
        # Made first and filled then, the packet ends in the padding that FFmpeg's bit readers may run into.
        # A packet made from the payload would share its memory, and lack it.
        packet = av.Packet(size)
        packet.update(bytes(payload))
        packet.pts = tag
        with self._refusing(tag):
            frames = self._context.decode(packet)
            pictures = self._pictures(frames, tag)
        # With B-frames no picture may mean one that comes later, and no frame shall be both refused and shown.
        if self._lost and (frames or not self._context.reorder_depth):
            raise RefusedError(
                Code.BAD_FRAME, f"frame {tag} is damaged or leans on one that is missing: send a keyframe"
            )
        return pictures

    def flush(self) -> list[tuple[int, Picture]]:
        """The pictures that the decoder still holds. The next access unit must be a keyframe."""
        with self._refusing(None):
            pictures = self._pictures(self._context.decode(None), 0)
        self._forget()
        return pictures

    def close(self) -> None:
        """Frees the decoder, which is of no use afterwards; closing twice does no harm."""
        vars(self).pop("_context", None)

    def _pictures(self, frames: list[VideoFrame], tag: int) -> list[tuple[int, Picture]]:
        pictures = []
        for frame in frames:
            self._lost = (self._lost and not frame.key_frame) or frame.is_corrupt
            if self._lost:
                continue
            check_size(frame.width, frame.height, self._source)
            pictures.append((tag if frame.pts is None else frame.pts, self._to_bgr(frame)))
        return pictures

    def _to_bgr(self, frame: VideoFrame) -> Picture:
        if frame.format.is_rgb:
            return np.asarray(self._reformatter.reformat(frame, format="bgr24").to_ndarray(), np.uint8)
        if frame.format.name not in ("yuv420p", "yuvj420p"):
            # Full range on both sides means that swscale leaves the levels alone.
            full = ColorRange.JPEG
            frame = self._reformatter.reformat(frame, format="yuv444p", src_color_range=full, dst_color_range=full)
        y, u, v = _planes(frame)
        return yuv_to_bgr(y, u, v, self._space)

    @contextmanager
    def _refusing(self, tag: int | None) -> Iterator[None]:
        """Turns FFmpeg's errors into refusals, and forgets what later frames would have leaned on."""
        try:
            yield
        except av.FFmpegError as error:
            self._forget()
            what = "the end of the stream" if tag is None else f"frame {tag}"
            raise RefusedError(
                Code.BAD_FRAME, f"{what} cannot be decoded as {self._source.encoding}: {error.strerror}"
            ) from None
        except RefusedError:
            self._forget()
            raise

    def _forget(self) -> None:
        self._context.flush_buffers()
        self._lost = True


class CodedEncoder:
    """One coded payload for each picture, in 8-bit 4:2:0, with parameter sets in every keyframe.

    Matrix and range are written into the stream, but for VP8, which has no place for them. Primaries and transfer are
    not known here, and left open. H.264 and HEVC take no odd sizes.
    """

    def __init__(self, result: Result, source: Source) -> None:
        """Raises RefusedError, UNSUPPORTED, for a size that the encoder does not take."""
        self._source = source
        self._space = space_of(source.colour, source.height)
        self._context = _open_encoder(result, source, self._space)
        self._encoding = result.encoding
        self._tags: dict[int, int] = {}  # by tick, of the pictures that the encoder holds
        self._tick = 0

    def encode(self, bgr: Picture, tag: int, key: bool = False) -> list[Encoded]:
        """The payload of this picture; a keyframe every gop_frames pictures, and where `key` asks for one.

        Raises RefusedError: ENCODER_FAILED.
        """
        check_picture(bgr, self._source)
        frame = _frame_of(bgr, self._space)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        frame.pts = self._tick
        self._tags[self._tick] = tag
        self._tick += 1
        return self._send(frame)

    def flush(self) -> list[Encoded]:
        """The payloads that the encoder still holds. Nothing may be encoded afterwards. Raises as `encode` does."""
        return self._send(None)

    def close(self) -> None:
        """Frees the encoder, which is of no use afterwards; closing twice does no harm."""
        context = vars(self).pop("_context", None)
        if context is not None:
            with suppress(av.FFmpegError):  # EOFError, if it was flushed before
                context.encode(None)  # SVT-AV1 wants to be told of the end

    def _send(self, frame: VideoFrame | None) -> list[Encoded]:
        try:
            packets = self._context.encode(frame)
        except av.FFmpegError as error:
            raise RefusedError(
                Code.ENCODER_FAILED, f"the picture could not be encoded as {self._encoding}: {error.strerror}"
            ) from None
        return [Encoded(self._tags.pop(cast(int, one.pts)), bytes(one), one.is_keyframe) for one in packets]


def _open_decoder(source: Source) -> VideoCodecContext:
    context = cast(VideoCodecContext, av.CodecContext.create(_DECODERS[source.encoding], "r"))
    context.thread_type = "SLICE"
    context.thread_count = 1
    context.flags |= Flags.low_delay
    width, height = (-(-side // _LARGEST_BLOCK) * _LARGEST_BLOCK for side in (source.width, source.height))
    # Without `explode` damage is painted over with what lies near, and the result counts as a good frame.
    context.options = {"err_detect": "explode", "max_pixels": str(width * height)}
    context.open()
    return context


def _open_encoder(result: Result, source: Source, space: Space) -> VideoCodecContext:
    library = _ENCODERS[result.encoding]
    size = f"{source.width}x{source.height}"
    if library.needs_even and (source.width % 2 or source.height % 2):
        raise RefusedError(
            Code.UNSUPPORTED, f"{result.encoding} takes no odd sizes (got {size}); raw, jpeg, vp8, vp9 and av1 do"
        )
    context = cast(VideoCodecContext, av.CodecContext.create(library.name, "w"))
    context.width, context.height, context.pix_fmt = source.width, source.height, "yuv420p"
    context.colorspace, context.color_range = _COLORSPACES[space.matrix], _range(space)
    context.time_base, context.framerate = Fraction(1, _NOMINAL_RATE), Fraction(_NOMINAL_RATE)
    context.gop_size = result.gop_frames
    context.thread_count = 1
    quality = max(library.quality_min, round(result.crf * library.quality_max / _CRF_MAX))
    context.options = library.options | dict.fromkeys(library.quality_options, str(quality))
    try:
        context.open()
    except av.FFmpegError as error:
        raise RefusedError(
            Code.UNSUPPORTED, f"{result.encoding} cannot encode {size}: {error.strerror}; raw and jpeg take any size"
        ) from None
    return context


def _frame_of(bgr: Picture, space: Space) -> VideoFrame:
    frame = VideoFrame(bgr.shape[1], bgr.shape[0], "yuv420p")
    frame.colorspace, frame.color_range = _COLORSPACES[space.matrix], _range(space)
    for plane, samples in zip(_planes(frame), bgr_to_yuv(bgr, space), strict=True):
        plane[:] = samples
    return frame


def _planes(frame: VideoFrame) -> list[Samples]:
    """Views of the frame's planes [height, width], without the padding of their rows."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]


def _range(space: Space) -> ColorRange:
    return ColorRange.JPEG if space.full_range else ColorRange.MPEG


def missing_codecs() -> list[str]:
    """The names of decoders and encoders that FFmpeg, as it was built, lacks."""
    decoders = [name for name in _DECODERS.values() if not _is_there(name, "r")]
    return decoders + [each.name for each in _ENCODERS.values() if not _is_there(each.name, "w")]


def _is_there(name: str, mode: Literal["r", "w"]) -> bool:
    try:
        av.Codec(name, mode)
    except av.codec.codec.UnknownCodecError:
        return False
    return True
