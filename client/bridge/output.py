"""From painted pictures to coded packets: owner of the encoder, and of what the outlet is told that it holds."""

import threading
from collections.abc import Callable

from ..film.media import Buffer
from .encoders import Encoder, encoder_for
from .outlets import Outlet, outlet_for
from .parts import CONTAINERS, Coded, Form, Layout, Placed, Shape, Tracks
from .urls import Url

# Forms of a path, by its extension; all else is NUT, which no reader has to wait for.
EXTENSIONS: dict[str, Form] = {
    ".ts": "mpegts",
    ".mts": "mpegts",
    ".h264": "h264",
    ".mjpeg": "mjpeg",
    ".yuv": "rawvideo",
}


class Output:
    """The way out of a bridge. Raises MediaError when nobody can read any more."""

    def __init__(self, url: Url, form: Form, crf: int | None, say: Callable[[str], None]) -> None:
        self.pictures = 0  # that were sent
        self._form = form
        self._crf = crf
        self._say = say
        self._key_wanted = threading.Event()
        self._outlet: Outlet = outlet_for(url, form, wants_key=self._key_wanted.set, say=say)
        self._tracks = Tracks()
        self._shape: Shape | None = None
        self._encoder: Encoder | None = None
        self._layout: Layout | None = None
        self._last_pts: int | None = None

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
        self._outlet.check()
        if self._last_pts is not None and pts <= self._last_pts:
            return
        self._last_pts = pts
        encoder = self._encoder_of(shape)
        wanted = self._key_wanted.is_set()
        self._key_wanted.clear()
        data, key = encoder.encode(buffer, pts, key=wanted)
        if self._layout is None:
            self._layout = Layout(self._form, (shape.source.width, shape.source.height), self._tracks)
        self._outlet.put(Coded(0, pts, step, key, data, self._layout))
        self.pictures += 1

    def sound(self, packet: Placed) -> None:
        """Sends a packet of sound or subtitles, once there is a picture."""
        if self._layout is not None and self._form in CONTAINERS:
            self._outlet.put(Coded(packet.track, packet.pts, packet.step, True, packet.data, self._layout))

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
            self._shape = shape
        return self._encoder


def form_of(url: Url, wish: Form | None) -> Form:
    """What an output is written as."""
    if wish is not None:
        return wish
    if url.scheme in ("file", "standard"):
        name = url.path.rpartition(".")
        return EXTENSIONS.get(f".{name[2].lower()}", "nut")
    return "mpegts"
