"""Painted pictures as they are sent: h264, JPEG or raw. No frame is held back."""

from fractions import Fraction
from typing import Protocol

import av
import cv2
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from ..errors import MediaError
from ..film.formats import CODECS, codec_named
from ..film.media import Buffer, conformed, frame_of, tight_buffer
from ..film.pictures import as_bgr
from .parts import Form, Shape
from .timeline import TICKS

# The quickest preset: the encoder shares its processors with the painting, and 1280x720 takes it 5 ms.
PRESET = "ultrafast"
# Whoever comes late sees something within this, ticks.
KEYFRAME_GAP = TICKS
JPEG_QUALITY = 90
INTRA = 1  # FFmpeg's number for a picture that is coded alone


class Encoder(Protocol):
    """Codes the pictures of one shape."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Of raw pictures, which do not say it."""

    def encode(self, buffer: Buffer, pts: int, *, key: bool) -> tuple[bytes, bool]:
        """The coded picture, and whether it needs no earlier one. Raises MediaError."""


def encoder_for(form: Form, shape: Shape, crf: int | None, size: tuple[int, int] | None) -> Encoder:
    """An encoder of pictures like this. size: that raw pictures are to have, as they had it until now."""
    if form in ("rawvideo", "yuv4mpegpipe"):
        return RawEncoder(shape, size)
    if form == "mjpeg":
        return JpegEncoder(shape)
    return H264Encoder(shape, crf)


class H264Encoder:
    """x264 without delay, its parameters with each keyframe, and one of these at least every second."""

    size: tuple[int, int] | None = None

    def __init__(self, shape: Shape, crf: int | None) -> None:
        source, tags = shape.source, shape.tags
        codec = codec_named("h264", crf)
        self._shape = shape
        even = source.width % 2 == 0 and source.height % 2 == 0
        self._pixels = "yuv420p" if even else "yuv444p"  # the only way to keep an odd size
        context = CodecContext.create(codec.encoder, "w")
        if not isinstance(context, VideoCodecContext):
            raise MediaError(f"{codec.encoder} is no encoder of pictures")
        context.width, context.height, context.pix_fmt = source.width, source.height, self._pixels
        context.time_base = Fraction(1, TICKS)
        context.sample_aspect_ratio = Fraction(*source.sample_aspect)
        context.colorspace, context.color_range = tags.matrix, tags.range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        context.options = {
            **CODECS["h264"].live_options,
            "preset": PRESET,
            "crf": str(codec.crf if crf is None else crf),
            "forced-idr": "1",
            "bf": "0",
            "g": "100000",  # keyframes come by the clock
        }
        self._context = context
        self._key_at: int | None = None

    def encode(self, buffer: Buffer, pts: int, *, key: bool) -> tuple[bytes, bool]:
        """The access unit, Annex B."""
        source, tags = self._shape.source, self._shape.tags
        frame = frame_of(buffer, "yuv420p", source.width, source.height)
        if self._pixels != "yuv420p":
            frame = frame.reformat(format=self._pixels)
        frame.colorspace, frame.color_range = tags.matrix, tags.range
        frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer
        frame.pts, frame.time_base = pts, Fraction(1, TICKS)
        if key or self._key_at is None or pts - self._key_at >= KEYFRAME_GAP:
            frame.pict_type, self._key_at = INTRA, pts
        try:
            packets = self._context.encode(frame)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise MediaError(f"a picture of {source.width}x{source.height} cannot be coded: {error}") from None
        return b"".join(map(bytes, packets)), any(packet.is_keyframe for packet in packets)


class JpegEncoder:
    """One JPEG a picture."""

    size: tuple[int, int] | None = None

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def encode(self, buffer: Buffer, pts: int, *, key: bool) -> tuple[bytes, bool]:
        """The JPEG: full range and BT.601, as all are."""
        bgr = as_bgr(buffer, self._shape.source, self._shape.tags)
        done, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not done:
            raise MediaError("a picture cannot be coded as JPEG")
        return bytes(jpeg), True


class RawEncoder:
    """Planes of yuv420p, all of one size, as the reader was told one."""

    def __init__(self, shape: Shape, size: tuple[int, int] | None) -> None:
        self._shape = shape
        self.size: tuple[int, int] = size or (shape.source.width, shape.source.height)

    def encode(self, buffer: Buffer, pts: int, *, key: bool) -> tuple[bytes, bool]:
        """The planes."""
        source = self._shape.source
        if self.size != (source.width, source.height):
            width, height = self.size
            scaled = source.model_copy(update={"width": width, "height": height})
            buffer = tight_buffer(conformed(self._frame(buffer), scaled), "yuv420p")
        return buffer.tobytes(), True

    def _frame(self, buffer: Buffer) -> VideoFrame:
        return frame_of(buffer, "yuv420p", self._shape.source.width, self._shape.source.height)
