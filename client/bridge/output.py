"""From painted pictures to coded packets: owner of the encoder, and of what the outlet is told that it holds."""

import math
import threading
import time
from collections.abc import Callable
from fractions import Fraction

from ..film.media import Buffer
from .cadence import Cadence
from .encoders import Encoder, encoder_for
from .outlets import ONLY, Outlet, outlet_for
from .parts import CONTAINERS, Coded, Form, Layout, Placed, Shape, Tracks
from .timeline import TICKS
from .urls import Url

# Forms of a path, by its extension; all else is NUT, which no reader has to wait for.
EXTENSIONS: dict[str, Form] = {
    ".ts": "mpegts",
    ".mts": "mpegts",
    ".flv": "flv",
    ".h264": "h264",
    ".mjpeg": "mjpeg",
    ".yuv": "rawvideo",
    ".y4m": "yuv4mpegpipe",
}


class Output:
    """The way out of a bridge. Raises MediaError when nobody can read any more."""

    def __init__(
        self,
        url: Url,
        form: Form,
        crf: int | None,
        say: Callable[[str], None],
        *,
        ffmpeg: str | None = None,
        rate: Fraction | None = None,
    ) -> None:
        """ffmpeg: to be used beside us, where one is needed. rate: of pictures that are sent at an even rate."""
        self.pictures = 0  # that were sent
        self._form = form
        self._crf = crf
        self._say = say
        self._key_wanted = threading.Event()
        self._outlet: Outlet = outlet_for(url, form, ffmpeg, wants_key=self._key_wanted.set, say=say)
        self._tracks = Tracks()
        self._shape: Shape | None = None
        self._encoder: Encoder | None = None
        self._layout: Layout | None = None
        self._head = b""  # the first picture of the encoder, of flv
        self._last_pts: int | None = None
        self._cadence = None if rate is None else Cadence(rate)
        self._shown: tuple[Buffer, Shape] | None = None  # last, if it may be shown again

    @property
    def repeated(self) -> int:
        """Pictures that were sent again."""
        return self._cadence.repeated if self._cadence else 0

    @property
    def left_out(self) -> int:
        """Pictures that an even rate had no room for."""
        return self._cadence.left_out if self._cadence else 0

    @property
    def dropped(self) -> int:
        """Packets that readers were too slow for."""
        return self._outlet.dropped

    def take_tracks(self, tracks: Tracks) -> None:
        """From here on these are the streams of sound and subtitles."""
        if tracks.key == self._tracks.key:
            return
        self._tracks, self._layout = tracks, None
        for sentence in tracks.left_out(self._form):
            self._say(sentence)

    def picture(self, pts: int, step: int, buffer: Buffer, shape: Shape) -> None:
        """Sends a painted picture; one that is not later than the last is left out."""
        if self._cadence is None:
            self._send(pts, step, buffer, shape)
            return
        again, at = self._cadence.show(pts, time.monotonic())
        self._repeat(again)
        if at is not None:
            self._shown = buffer, shape
            self._send(at, self._cadence.step, buffer, shape)

    def fill(self) -> int | None:
        """Repeats the last picture where an even rate needs that; up to when it is shown then, in the input's times."""
        again = [] if self._cadence is None else self._cadence.fill(time.monotonic())
        self._repeat(again)
        return again[-1] - self._cadence.offset if self._cadence is not None and again else None

    @property
    def fill_in_s(self) -> float:
        """How long it is until `fill` has something to do, seconds; infinite where it never has."""
        return math.inf if self._cadence is None else self._cadence.next_s(time.monotonic())

    def sound(self, packet: Placed) -> None:
        """Sends a packet of sound or subtitles, once there is a picture."""
        if self._layout is not None and self._form in CONTAINERS:
            pts = packet.pts + (self._cadence.offset if self._cadence else 0)
            self._outlet.put(Coded(packet.track, pts, packet.step, True, packet.data, self._layout))

    def _repeat(self, times: list[int]) -> None:
        if self._cadence is not None and self._shown is not None:
            for at in times:
                self._send(at, self._cadence.step, *self._shown)

    def _send(self, pts: int, step: int, buffer: Buffer, shape: Shape) -> None:
        self._outlet.check()
        if self._last_pts is not None and pts <= self._last_pts:
            return
        self._last_pts = pts
        encoder = self._encoder_of(shape)
        wanted = self._key_wanted.is_set()
        self._key_wanted.clear()
        data, key = encoder.encode(buffer, pts, key=wanted)
        if self._form == "flv" and not self._head:
            self._head, self._layout = data, None
        if self._layout is None:
            size = encoder.size or (shape.source.width, shape.source.height)
            rate = self._cadence.rate if self._cadence else Fraction(TICKS, step) if step else None
            self._layout = Layout(self._form, size, self._tracks, self._head, rate)
        self._outlet.put(Coded(0, pts, step, key, data, self._layout))
        self.pictures += 1

    def close(self) -> None:
        """Writes what waits, for a moment, and ends."""
        self._outlet.close()

    def _encoder_of(self, shape: Shape) -> Encoder:
        if self._encoder is None or shape != self._shape:
            size = self._encoder.size if self._encoder else None
            self._encoder = encoder_for(self._form, shape, self._crf, size)
            if self._encoder.size not in (None, (shape.source.width, shape.source.height)):
                self._say(
                    f"raw pictures stay {size[0]}x{size[1]} though the input's are of another size" if size else ""
                )
            self._shape, self._head = shape, b""
        return self._encoder


def form_of(url: Url, wish: Form | None) -> Form:
    """What an output is written as."""
    if wish is not None:
        return wish
    if url.scheme in ("file", "standard"):
        name = url.path.rpartition(".")
        return EXTENSIONS.get(f".{name[2].lower()}", "nut")
    return ONLY.get(url.scheme, "mpegts")
