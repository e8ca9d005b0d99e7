"""What films are written as: codecs, containers, and which of them go together."""

import io
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.stream
from av.container import OutputContainer

from ..errors import MediaError
from .media import FileLike, name_of


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoder and how it is used."""

    encoder: str
    crf: int | None  # the default: lower is better and larger; None: lossless
    max_crf: int = 51
    options: dict[str, str] = field(default_factory=dict)
    live_options: dict[str, str] = field(default_factory=dict)  # no frame held back
    odd_sizes: bool = True  # as yuv420p
    says_shape: bool = False  # of its pixels, in the coded pictures


# Presets are the fastest ones before pictures grow visibly worse or much larger: painting is the slow part, but the
# encoder shares its processor. Each default crf is one at which x264's 18 is hard to tell from it.
CODECS = {
    "h264": Codec(
        "libx264",
        18,
        options={"preset": "veryfast"},
        live_options={"tune": "zerolatency"},
        odd_sizes=False,
        says_shape=True,
    ),
    "hevc": Codec(
        "libx265",
        20,
        options={"preset": "veryfast", "x265-params": "log-level=none"},
        live_options={"tune": "zerolatency"},
        odd_sizes=False,
        says_shape=True,
    ),
    "vp9": Codec(
        "libvpx-vp9",
        24,
        max_crf=63,
        options={"deadline": "good", "cpu-used": "5", "row-mt": "1", "b": "0"},
        live_options={"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    ),
    "av1": Codec("libsvtav1", 28, max_crf=63, options={"preset": "8"}),
    "ffv1": Codec("ffv1", None, options={"level": "3", "slicecrc": "1"}),
}

# What each container is for: FFmpeg muxes more, but players do not find it there.
CONTAINERS = {
    "mp4": {"h264", "hevc", "vp9", "av1"},
    "mov": {"h264", "hevc"},
    "matroska": set(CODECS),
    "webm": {"vp9", "av1"},
    "nut": {"h264", "hevc", "vp9", "ffv1"},
    "mpegts": {"h264", "hevc"},
}
EXTENSIONS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".nut": "nut",
    ".ts": "mpegts",
    ".m2ts": "mpegts",
}
# Frames that refer to later ones make decoding begin before 0, and these containers would move all times to avoid it.
NO_NEGATIVE_TIMES = {"nut", "mpegts"}

HOLD_ROTATION = {"mp4", "mov", "matroska", "webm"}
# That pixels are no squares FFmpeg says in mp4 and mov, and pixel_shape.py in these. The others leave it to the
# codec.
SHAPED_BY_US = {"matroska", "webm"}
HOLD_SHAPE = {"mp4", "mov"} | SHAPED_BY_US

# MPEG-TS carries any stream as private data, which nobody can read; these have numbers of their own.
MPEGTS_COPIES = {"aac", "ac3", "eac3", "mp2", "mp3", "mp3float", "opus", "libopus", "dca", "dvbsub", "libdvbsub"}

# Keys that describe how a stream was stored.
STREAM_METADATA = {"encoder", "duration", "vendor_id", "creation_time"}

# For file objects: it holds any codec, any time base, and neither reader nor writer keeps a frame back.
DEFAULT_FORMAT = "nut"


def codec_named(name: str, crf: int | None) -> Codec:
    """The codec of that name. Raises MediaError where there is none, or crf is out of its range."""
    if name not in CODECS:
        raise MediaError(f"there is no codec {name!r} to write with; there are {', '.join(CODECS)}")
    codec = CODECS[name]
    if crf is not None and codec.crf is None:
        raise MediaError(f"{name} is lossless and takes no crf")
    if crf is not None and not 0 <= crf <= codec.max_crf:
        raise MediaError(f"the crf of {name} goes from 0 to {codec.max_crf}, and is {crf}")
    return codec


def holds_shape(container: str, codec: Codec) -> bool:
    """Whether a film says how wide its pixels are."""
    return container in HOLD_SHAPE or codec.says_shape


def container_of(file: FileLike, codec: str, format: str | None) -> str:  # noqa: A002
    """FFmpeg's name of the container to write. Raises MediaError where it is unknown or cannot hold the codec."""
    if format is None and isinstance(file, str | Path):
        format = EXTENSIONS.get(Path(file).suffix.lower())  # noqa: A001
        if format is None:
            raise MediaError(f"{name_of(file)}: films are written as {', '.join(EXTENSIONS)}")
    chosen = format or DEFAULT_FORMAT
    if chosen not in CONTAINERS:
        raise MediaError(f"there is no container {chosen!r} to write; there are {', '.join(CONTAINERS)}")
    if codec not in CONTAINERS[chosen]:
        allowed = ", ".join(name for name in CODECS if name in CONTAINERS[chosen])
        raise MediaError(f"{name_of(file)}: {chosen} does not hold {codec}, only {allowed}")
    return chosen


def coding_of(stream: av.stream.Stream) -> str:
    """The name of a stream's codec, for messages and tables."""
    return stream.codec_context.name if stream.codec_context is not None else "of an unknown codec"


def can_hold(container: str, stream: av.stream.Stream) -> bool:
    """Whether a stream can be copied into a container. Tried on a file in memory, as FFmpeg's tables are not whole."""
    if stream.codec_context is None or (container == "mpegts" and coding_of(stream) not in MPEGTS_COPIES):
        return False
    trial = av.open(io.BytesIO(), "w", format=container)
    try:
        add_copy(trial, stream)
        trial.start_encoding()
        trial.close()
    except (OSError, ValueError, av.FFmpegError):
        return False
    return True


def add_copy(container: OutputContainer, stream: av.stream.Stream) -> av.stream.Stream:
    """A new stream of the container that takes the packets of the given one, with its language and its like."""
    copy = container.add_stream_from_template(stream, opaque=True)
    copy.metadata.update({key: value for key, value in stream.metadata.items() if key.lower() not in STREAM_METADATA})
    copy.disposition = stream.disposition
    return copy
