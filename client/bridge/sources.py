"""Reads a bridge's input in a thread of its own: one sender after another, decoded whole, whatever comes.

Pictures that are not taken in time are dropped after decoding, as the next one may need them.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.stream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from ...proto.messages import Colour, Source
from ..errors import MediaError
from ..film.deinterlacer import Deinterlacer
from ..film.media import ColourTags, colour_components, conformed, reason, tight_buffer
from ..film.packets import Packet
from ..film.reader import DEINTERLACED, video_stream
from ..film.traits import notices_of, rotation_of, tags_of
from ..leaving import HELD
from . import rtsp
from .early import TICK, EarlyPictures
from .inbox import Inbox
from .parts import Picture, Shape, Sound, Tracks, ticks
from .patience import pause_s
from .pieces import Pieces
from .timeline import TICKS
from .transports import FileReader, Transport, ZmqReader
from .urls import Url

# Probing: no further than this into a stream, bytes and microseconds. What was probed is kept, and comes first. A
# second is what it takes for a keyframe to come, and a packet of sound.
PROBE_BYTES, PROBE_US = 65_536, 1_000_000
# Containers that may come from a network: nothing that names other files, and no text.
CONTAINERS = "mpegts,nut,matroska,webm,flv,mov,mp4,avi,ogg"
# And the container of a stream that has no beginning, where probing may meet it in the middle.
STREAMED = {"zmq": "mpegts", "udp": "mpegts", "srt": "mpegts"}
# What we or FFmpeg open by themselves, and cameras, come in one form alone, as FFmpeg calls it.
ONLY = {"rtmp": "flv", "rtsp": "rtsp", "v4l2": "nut"}

# FFmpeg's decoders for formats that are pictures alone.
DECODERS = {"h264": "h264", "mjpeg": "mjpeg"}

# A film's usual step, where nothing says it, ticks.
USUAL_STEP = TICKS // 25
MATRICES = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709, "bt2020": Colorspace.BT2020}


@dataclass(frozen=True, slots=True)
class Incoming:
    """What is to come in. form: None: looks itself. size, pixels, rate: of rawvideo, and for formats without times.

    ffmpeg: the program beside us, where one is needed; None: that of the PATH.
    """

    url: Url
    form: str | None = None
    size: tuple[int, int] | None = None
    pixels: str = "yuv420p"
    rate: Fraction | None = None
    ffmpeg: str | None = None

    def checked(self) -> "Incoming":
        """This. Raises MediaError where something is missing."""
        if self.form == "rawvideo" and self.size is None:
            raise MediaError("rawvideo does not say its size: give --size WIDTHxHEIGHT")
        only = ONLY.get(self.url.scheme)
        if only is not None and self.form not in (None, only):
            raise MediaError(f"{self.url.scheme} carries {only}, not {self.form}")
        return self


class Reader:
    """Fills an inbox. `stop` ends the thread, unless FFmpeg or the system holds it: it does not keep the process."""

    def __init__(
        self, incoming: Incoming, transport: Transport | None, inbox: Inbox, stopping: threading.Event
    ) -> None:
        self.damaged = 0  # packets or frames that could not be decoded
        self.streams = 0  # that were opened
        self.described: str | None = None  # the last one, in words
        self._incoming = incoming
        self._transport = transport
        self._inbox = inbox
        self._stopping = stopping
        self._pictures = 0
        self._shape: Shape | None = None
        self._sound_ends: dict[int, int] = {}  # when the next packet of a track begins, ticks
        self._deinterlacer: Deinterlacer | None = None
        self._bytes: _Bytes | None = None  # of the stream that is read, unless FFmpeg opens it by itself
        self._began: tuple[float, int] | None = None  # on the wall and in the film, of a file that is to be paced
        self._said = ""
        self._thread = threading.Thread(target=self._run, name=HELD, daemon=True)

    def start(self) -> None:
        """Begins to read, the first time that it is called."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, within_s: float) -> None:
        """Waits for the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(within_s)
        if self._transport is not None and not self._thread.is_alive():
            self._transport.close()

    # Senders

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            before = self._pictures
            self._one_stream()
            if self._transport is not None and not self._transport.endless:
                break
            if self._pictures > before:
                failures, self._said = 0, ""  # the next loss is news
            else:
                failures += 1
                self._stopping.wait(pause_s(failures))
        self._inbox.end()

    def _one_stream(self) -> None:
        """Takes what one sender sends, to its end. What is wrong with it is said, once."""
        try:
            if self._transport is None or self._transport.begin():
                self._take_stream()
        except MediaError as error:
            self._say(str(error))
        except (EOFError, av.InvalidDataError):
            self._say(f"{self._name}: what comes in is no {self._incoming.form or 'film'} that can be read")
        except (OSError, ValueError, av.FFmpegError) as error:
            self._say(f"{self._name}: {reason(error)}")
        finally:
            self._began = self._bytes = None

    @property
    def _name(self) -> str:
        return self._transport.name if self._transport else str(self._incoming.url)

    def _say(self, sentence: str) -> None:
        """Says something that is not what was said last."""
        if sentence != self._said and not self._stopping.is_set():
            self._said = sentence
            self._inbox.say(sentence)

    def _take_stream(self) -> None:
        if isinstance(self._transport, ZmqReader) and self._incoming.form in ("h264", "mjpeg", "rawvideo"):
            self._take_messages(self._transport)
            return
        with contextlib.closing(self._opened()) as container:
            self._take_container(container)

    # Frames that are messages

    def _take_messages(self, transport: ZmqReader) -> None:
        form, size = self._incoming.form, self._incoming.size
        raw = form == "rawvideo" and size is not None
        pieces = Pieces(_raw_bytes(self._incoming.pixels, *size) if raw and size else None)
        decoder = None if raw else _decoder(form or "")
        self._inbox.put(Tracks())
        while message := transport.receive():
            whole = pieces.push(message)
            if whole is None:
                continue
            for frame in _raw_frame(whole, self._incoming) if decoder is None else self._decoded(decoder, whole):
                self._put_picture(frame, None, decoder.sample_aspect_ratio if decoder else None)
        self.damaged += pieces.damaged

    def _decoded(self, decoder: VideoCodecContext, data: bytes) -> list[VideoFrame]:
        try:
            return decoder.decode(av.Packet(data))
        except av.FFmpegError:
            self.damaged += 1
            return []

    # Containers

    def _opened(self) -> InputContainer:
        url, form = self._incoming.url, self._incoming.form
        probing = {"probesize": str(PROBE_BYTES), "analyzeduration": str(PROBE_US), "fpsprobesize": "0"}
        if url.scheme == "rtsp":
            return rtsp.opened(url, probing)
        if self._transport is None:
            raise MediaError(f"{url} has no transport")
        options = probing | {"format_whitelist": CONTAINERS + ",h264,mjpeg,rawvideo"}
        if form == "rawvideo" and self._incoming.size:
            width, height = self._incoming.size
            options |= {"video_size": f"{width}x{height}", "pixel_format": self._incoming.pixels}
        chosen = form or STREAMED.get(url.scheme) or ONLY.get(url.scheme)
        self._bytes = _Bytes(self._transport)
        return av.open(self._bytes, "r", format=chosen, options=options, metadata_errors="replace")

    def _take_container(self, container: InputContainer) -> None:
        stream = video_stream(container, self._name)
        stream.codec_context.thread_type = "SLICE"  # frame threads hold frames back
        self._deinterlacer = None
        self._sound_ends.clear()
        tracks = Tracks(container)
        self.streams += 1
        self.described = describe(container)
        self._inbox.put(tracks)
        timed = self._incoming.form not in ("h264", "mjpeg", "rawvideo")
        wanted = [each for each in container.streams if each is stream or each.index in tracks.numbers]
        early = self._early(stream)
        for packet in container.demux(*wanted):
            if self._stopping.is_set():
                return
            if packet.stream_index != stream.index:
                self._put_sound(packet, tracks)
            elif early is None:
                for frame in self._whole(self._frames(stream, packet)):
                    self._put_picture(frame, frame.time_base if timed else None, stream.sample_aspect_ratio)
        if early is not None:
            self._put_early(early, early.end())

    def _early(self, stream: Any) -> EarlyPictures | None:
        """What takes a stream's pictures as its bytes come, from the first one on; None: the demuxer gives them."""
        if self._bytes is None:
            return None
        if not EarlyPictures.can(stream):
            self._bytes.tell(None)
            return None
        early = EarlyPictures(stream)
        self._bytes.tell(lambda data: self._put_early(early, early.feed(data)))
        return early

    def _put_early(self, early: EarlyPictures, frames: list[VideoFrame]) -> None:
        self.damaged, early.damaged = self.damaged + early.damaged, 0
        for frame in self._whole(frames):
            self._put_picture(frame, TICK, early.aspect)

    def _frames(self, stream: Any, packet: Packet) -> list[VideoFrame]:
        try:
            frames: list[VideoFrame] = stream.decode(packet)
        except av.EOFError:
            return []
        except av.FFmpegError:
            self.damaged += 1
            return []
        return frames

    def _whole(self, frames: list[VideoFrame]) -> Iterator[VideoFrame]:
        """The frames; from the first interlaced one on they pass a deinterlacer, which holds one back."""
        for frame in frames:
            if self._deinterlacer is not None and not self._deinterlacer.takes(frame):
                yield from self._deinterlacer.flush()
                self._deinterlacer = None
            if self._deinterlacer is None and frame.interlaced_frame and Deinterlacer.can(frame):
                self._say(DEINTERLACED)
                self._deinterlacer = Deinterlacer(frame, frame.time_base or Fraction(1, TICKS))
            if self._deinterlacer is None:
                yield frame
            else:
                yield from self._deinterlacer.push(frame)

    def _put_sound(self, packet: Packet, tracks: Tracks) -> None:
        if not packet.size:
            return
        at = ticks(packet.pts if packet.pts is not None else packet.dts, packet.time_base)
        step = ticks(packet.duration, packet.time_base) or _frame_step(packet.stream)
        track = tracks.numbers[packet.stream_index]
        if at is None:  # not the first of several in one packet of the container: FFmpeg may leave their times out
            at = self._sound_ends.get(track)
        if at is not None:
            self._sound_ends[track] = at + step
        self._inbox.put(Sound(track, at, step, time.monotonic(), bytes(packet)))

    # Pictures

    def _put_picture(self, frame: VideoFrame, time_base: Fraction | None, aspect: Fraction | None) -> None:
        """time_base: None where the times are the demuxer's invention."""
        if frame.is_corrupt:
            self.damaged += 1
        pts = ticks(frame.pts, time_base)
        step = (ticks(frame.duration, time_base) if time_base else None) or self._usual_step
        self._pace(pts)
        whole, shape = as_yuv420p(frame, aspect or Fraction(1))
        if shape != self._shape:
            self._shape = shape
            for sentence in notices_of(frame, shape.tags, shape.source.rotation):
                self._say(sentence)
        buffer = tight_buffer(whole, "yuv420p")
        self._pictures += 1
        self._inbox.put(Picture(pts, step, time.monotonic(), shape, buffer))

    @property
    def _usual_step(self) -> int:
        return round(TICKS / self._incoming.rate) if self._incoming.rate else USUAL_STEP

    def _pace(self, pts: int | None) -> None:
        """Waits until a picture of a stored film is due: a file does not say when it is `now`."""
        if not isinstance(self._transport, FileReader) or not self._transport.stored or pts is None:
            return
        now = time.monotonic()
        if self._began is None:
            self._began = now, pts
        self._stopping.wait(max(0.0, self._began[0] + (pts - self._began[1]) / TICKS - now))


class _Bytes:
    """A transport as a file object for FFmpeg, of which somebody else may be told too."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._kept: list[bytes] | None = []  # until it is known who else wants them
        self._told: Callable[[bytes], None] | None = None

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self._transport.read(size)
        if self._told is not None:
            self._told(data)
        elif self._kept is not None:
            self._kept.append(data)
        return data

    def tell(self, told: Callable[[bytes], None] | None) -> None:
        """Has somebody told all bytes, from the first one on; None: nobody wants them."""
        kept, self._kept, self._told = self._kept or [], None, told
        if told is not None:
            for data in kept:
                told(data)


def as_yuv420p(frame: VideoFrame, aspect: Fraction) -> tuple[VideoFrame, Shape]:
    """The picture as planes of 8 bits, 4:2:0, and what it is. RGB gets the matrix that players take for its size."""
    tags = tags_of(frame)
    if frame.format.is_rgb or frame.format.has_palette:
        matrix = MATRICES[Colour().matrix_for(frame.height)]
        tags = ColourTags(int(matrix), tags.primaries, tags.transfer, int(ColorRange.MPEG))
        frame = frame.reformat(
            format="yuv420p", dst_colorspace=matrix, src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG
        )
    elif colour_components(frame.format) == 1:
        samples = ColorRange.JPEG if tags.full_range else ColorRange.MPEG
        frame = frame.reformat(format="yuv420p", src_color_range=samples, dst_color_range=samples)
    source = Source(
        width=frame.width,
        height=frame.height,
        pixels="yuv420p",
        colour=tags.on_wire(),
        time_base=(1, TICKS),
        sample_aspect=aspect.as_integer_ratio(),
        rotation=rotation_of(frame),
    )
    return conformed(frame, source), Shape(source, tags)


def describe(container: InputContainer) -> str:
    """What a container holds, in a line a stream."""
    return "\n".join([f"container: {container.format.name}", *map(_described, container.streams)])


def _described(stream: av.stream.Stream) -> str:
    context: Any = stream.codec_context
    if context is None:
        return f"stream {stream.index}: {stream.type}"
    said = [f"stream {stream.index}: {stream.type} {context.name}"]
    if stream.type == "video":
        rate = getattr(stream, "average_rate", None)
        said += [f"{context.width}x{context.height}", f"{float(rate):.5g} a second" if rate else "rate not said"]
    elif stream.type == "audio":
        said += [f"{context.sample_rate} Hz", str(context.layout.name)]
    return ", ".join(said)


def _frame_step(stream: av.stream.Stream) -> int:
    """How long a packet of sound lasts, by what its codec says, ticks; 0 where it does not."""
    context: Any = stream.codec_context
    rate, samples = getattr(context, "sample_rate", 0), getattr(context, "frame_size", 0)
    return round(TICKS * samples / rate) if rate and samples else 0


def _decoder(form: str) -> VideoCodecContext:
    context = CodecContext.create(DECODERS[form], "r")
    if not isinstance(context, VideoCodecContext):
        raise MediaError(f"this FFmpeg does not decode {form}")
    context.thread_type = "SLICE"
    return context


def _raw_bytes(pixels: str, width: int, height: int) -> int:
    """The bytes of a raw picture, in one of RAW_PIXELS."""
    return sum(each.width * each.height for each in VideoFormat(pixels, width, height).components)


def _raw_frame(data: bytes, incoming: Incoming) -> Iterator[VideoFrame]:
    """The picture that these bytes are."""
    context = CodecContext.create("rawvideo", "r")
    if not isinstance(context, VideoCodecContext) or incoming.size is None:
        raise MediaError("this FFmpeg does not read rawvideo")
    context.width, context.height = incoming.size
    context.pix_fmt = incoming.pixels
    yield from context.decode(av.Packet(data))
