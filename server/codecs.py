"""The codecs of the wire: payloads to BGR pictures and back, a decoder and an encoder for each session.

Every picture travels under the `tag` that it was handed in with, the frame's index, so that what comes out can be
paired with what went in. No codec here holds a frame back; none may be used by two threads at once. Source.rotation
and sample aspect are not applied: pictures come out as they are stored.
"""

from typing import Protocol

from ..engines.base import Picture
from ..proto.messages import Result, Source
from .coded import CodedDecoder, CodedEncoder
from .raw import Encoded, JpegDecoder, JpegEncoder, Payload, RawDecoder, RawEncoder

__all__ = ["Decoder", "Encoded", "Encoder", "Payload", "make_decoder", "make_encoder"]


class Decoder(Protocol):
    """Turns the payloads of one session into pictures: BGR uint8 [H, W, 3], fresh or read-only."""

    def decode(self, payload: Payload, tag: int) -> list[tuple[int, Picture]]:
        """The pictures that this payload completes, each with its tag: one, or for coded streams sometimes none.

        Raises RefusedError: BAD_PAYLOAD for a length that cannot be, BAD_FRAME for a picture that cannot be decoded or
        is not of the announced size. The next payload may be decoded all the same.
        """

    def flush(self) -> list[tuple[int, Picture]]:
        """The pictures still held back. The next payload begins a new stream. Raises RefusedError: BAD_FRAME."""

    def close(self) -> None:
        """Frees what is held. The decoder is of no use afterwards; closing twice does no harm."""


class Encoder(Protocol):
    """Turns the pictures of one session into payloads."""

    def encode(self, bgr: Picture, tag: int, key: bool = False) -> list[Encoded]:
        """The payloads that this picture completes; `key` asks for one that needs no earlier one.

        Raises RefusedError: ENCODER_FAILED, also for a picture that is not uint8 [H, W, 3] of the source's size.
        """

    def flush(self) -> list[Encoded]:
        """The payloads still held back. Nothing may be encoded afterwards. Raises RefusedError: ENCODER_FAILED."""

    def close(self) -> None:
        """Frees what is held. The encoder is of no use afterwards; closing twice does no harm."""


def make_decoder(source: Source) -> Decoder:
    """A decoder of what the source announces. Raises InvalidMessage or TooLarge for strides that do not fit."""
    if source.encoding == "raw":
        return RawDecoder(source)
    if source.encoding in ("jpeg", "mjpeg"):  # one JPEG a message, either way
        return JpegDecoder(source)
    return CodedDecoder(source)


def make_encoder(result: Result, source: Source) -> Encoder:
    """An encoder of pictures of the source's size and colour. Raises RefusedError: UNSUPPORTED for a size it lacks."""
    if result.encoding == "raw":
        return RawEncoder(result, source)
    if result.encoding in ("jpeg", "mjpeg"):
        return JpegEncoder(result, source)
    return CodedEncoder(result, source)
