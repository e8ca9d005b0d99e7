"""Pictures for the browser: H.264 that WebCodecs reads, without delay, or JPEG."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import av
import cv2
import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from ..errors import MediaError
from ..images import Image

# The quickest preset, which holds no frame back: 1280x1440 takes it some 10 ms.
OPTIONS = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23", "forced-idr": "1", "bf": "0"}
# A keyframe at least every so many frames, for a decoder that lost one and did not say so.
KEYFRAME_FRAMES = 300
# Players know what BT.601 in limited range means, and OpenCV converts to it quickest. FFmpeg's numbers.
SMPTE170M, LIMITED = 6, 1
INTRA = 1  # FFmpeg's number for a picture that is coded alone
JPEG_QUALITY = 85
_SEQUENCE_PARAMETERS = 7  # the kind of a NAL unit, H.264 7.4.1
_KIND = 0x1F


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded picture. config: of H.264, what WebCodecs calls it, once that is known."""

    data: bytes
    keyframe: bool
    config: str = ""


class Encoder(Protocol):
    """Codes pictures of one size."""

    codec: str

    def encode(self, image: Image, *, key: bool) -> Coded:
        """The coded picture. key: it must need no earlier one."""


def encoder_for(codec: str, size: tuple[int, int]) -> Encoder:
    """An encoder of pictures of this size (W, H), both even."""
    return H264Encoder(size) if codec == "h264" else JpegEncoder()


class H264Encoder:
    """x264; Annex B, with its parameters before each keyframe."""

    codec = "h264"

    def __init__(self, size: tuple[int, int]) -> None:
        context = CodecContext.create("libx264", "w")
        if not isinstance(context, VideoCodecContext):
            raise MediaError("libx264 is no encoder of pictures")
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, 1000)
        context.colorspace, context.color_range = SMPTE170M, LIMITED
        context.color_primaries, context.color_trc = SMPTE170M, SMPTE170M
        context.options = OPTIONS | {"g": str(KEYFRAME_FRAMES)}
        self._context = context
        self._count = 0
        self._config = ""

    def encode(self, image: Image, *, key: bool) -> Coded:
        """The access unit. Raises MediaError."""
        height, width = image.shape[:2]
        planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv420p")
        frame.colorspace, frame.color_range = SMPTE170M, LIMITED
        frame.pts, frame.time_base = self._count, Fraction(1, 1000)
        if key or not self._count:
            frame.pict_type = INTRA
        self._count += 1
        try:
            packets = self._context.encode(frame)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise MediaError(f"a picture of {width}x{height} cannot be coded: {error}") from None
        data, keyframe = b"".join(map(bytes, packets)), any(packet.is_keyframe for packet in packets)
        if keyframe:
            self._config = config_of(data) or self._config
        return Coded(data, keyframe, self._config)


class JpegEncoder:
    """One JPEG a picture."""

    codec = "jpeg"

    def __init__(self, quality: int = JPEG_QUALITY) -> None:
        self._quality = quality

    def encode(self, image: Image, *, key: bool) -> Coded:  # one of the Protocol's: each is a keyframe
        """The JPEG. Raises MediaError."""
        done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not done:
            raise MediaError("a picture cannot be coded as JPEG")
        return Coded(jpeg.tobytes(), keyframe=True)


def config_of(unit: bytes) -> str:
    """What WebCodecs calls the stream that an access unit with parameters begins: its profile and level in hex."""
    at = unit.find(b"\0\0\1")
    while 0 <= at < len(unit) - 6:
        if unit[at + 3] & _KIND == _SEQUENCE_PARAMETERS:
            return f"avc1.{unit[at + 4 : at + 7].hex().upper()}"
        at = unit.find(b"\0\0\1", at + 3)
    return ""
