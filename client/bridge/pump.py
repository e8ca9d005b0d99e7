"""A bridge: what comes in at one URL is painted by a session of pacing `live` and goes out at another, for ever."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ...proto.brief import Brief
from ...proto.errors import Code, RefusedError
from ...proto.limits import MAX_RATE
from ...proto.messages import Result, Source
from ..errors import DaemonGone, MediaError
from ..film.formats import codec_named
from ..local_daemon import connected
from ..painting import Client, Session
from .cadence import HIGHEST_RATE
from .fitting import LEAST_PIXELS, Effort, fitted
from .inbox import Inbox
from .output import Output, form_of
from .parts import Form, Picture, Placed, Shape, Sound, Tracks
from .patience import pause_s
from .sources import Incoming, Reader
from .timeline import TICKS, Delay, Timeline
from .transports import transport_for
from .urls import Url

# How often it looks what is to be done when nothing comes, seconds: sound that waits for no picture is late by that.
LOOK_S = 0.1
# How long threads that end may take, seconds.
STOP_S = 2.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bridge:
    """What is to be bridged, and how."""

    incoming: Incoming
    target: Url
    brief: dict[str, Any]
    form: Form | None = None
    crf: int | None = None
    daemon: str | None = None
    painter: str | None = None
    flow: str | None = None
    max_pixels: int | None = None
    max_delay_ms: float | None = None
    linger_s: float | None = None
    out_rate: Fraction | None = None  # pictures a second, evenly; None: as they come

    def checked(self) -> "Bridge":
        """This. Raises WarpaintError for what is wrong before anything is opened."""
        Brief().changed(self.brief)
        codec_named("h264", self.crf)
        self.incoming.checked()
        if self.out_rate is not None and self.out_rate > HIGHEST_RATE:
            raise MediaError(f"--out-rate goes up to {HIGHEST_RATE} pictures a second, and is {float(self.out_rate):g}")
        return self


@dataclass(slots=True)
class Tally:
    """What became of the pictures."""

    received: int = 0
    sent: int = 0
    repeated: int = 0  # of those sent
    dropped: dict[str, int] = field(default_factory=dict)  # by what dropped them

    def add(self, what: str, count: int) -> None:
        """Counts some that were dropped."""
        if count:
            self.dropped[what] = self.dropped.get(what, 0) + count


def run(bridge: Bridge, *, say: Say, stopping: threading.Event) -> Tally:
    """Bridges until `stopping` is set, or the input is a file or standard input and at its end.

    say: told, in sentences, what is amiss, each thing once. Raises WarpaintError for what cannot be begun.
    """
    incoming = bridge.checked().incoming
    inbox = Inbox()
    with ExitStack() as stack:
        stack.callback(inbox.close)
        transport = transport_for(incoming.url, stopping, inbox.say, incoming.ffmpeg)
        reader = Reader(incoming, transport, inbox, stopping)
        stack.callback(reader.stop, STOP_S)
        output = Output(
            bridge.target,
            form_of(bridge.target, bridge.form),
            bridge.crf,
            inbox.say,
            ffmpeg=incoming.ffmpeg,
            rate=bridge.out_rate,
        )
        stack.callback(output.close)
        stack.callback(stopping.set)
        pump = Pump(bridge, inbox, output, say)
        if incoming.url.scheme == "rtmp" and "/" not in incoming.url.path:
            say("whoever reaches the rtmp port may publish: the address has no stream key, so any is taken")
        if incoming.url.scheme == "rtsp" and incoming.url.listens:
            say("whoever reaches the rtsp port may publish: the path is not checked")
        say(f"bridging {incoming.url} to {bridge.target}")
        _keep_connected(bridge, pump, reader, stopping, say)
        pump.conclude(reader)
        if not inbox.received and not stopping.is_set():
            raise MediaError(f"{incoming.url} has ended without a picture")
    return pump.tally


def _keep_connected(bridge: Bridge, pump: "Pump", reader: Reader, stopping: threading.Event, say: Say) -> None:
    """Pumps, with one daemon after another. Raises DaemonGone or RefusedError while nothing was painted yet."""
    failures = 0
    while not stopping.is_set() and not pump.over:
        before = pump.painted
        try:
            with connected(bridge.daemon, say=say) as client:
                reader.start()  # not before: a file would be half over when a daemon has started
                pump.run(client, stopping)
        except (DaemonGone, RefusedError) as error:
            if not pump.painted:
                raise
            failures = failures + 1 if pump.painted == before else 1
            say(f"{error}; trying again")
            stopping.wait(pause_s(failures))


class Pump:
    """The loop: pictures in, painted pictures out, sound beside them. Owner of the session and of the clock."""

    def __init__(self, bridge: Bridge, inbox: Inbox, output: Output, say: Say) -> None:
        self.tally = Tally()
        self.painted = 0  # pictures
        self._bridge = bridge
        self._inbox = inbox
        self._output = output
        self._say = say
        self._timeline = Timeline()
        self._delay: Delay[Placed] = Delay()
        self._mended: set[str] = set()
        self._steps: dict[int, int] = {}  # of frames that are being painted, by their time
        self._shown: int | None = None  # the time of the last picture that was sent
        self._session: Session | None = None
        self._shape: Shape | None = None
        self._pixels: int | None = None  # of a canvas that the daemon can paint in time; None: as large as it likes
        self._told_pixels: int | None = None
        self._effort = Effort(time.monotonic())
        self._refused_until_s = 0.0
        self._refusals = 0

    @property
    def over(self) -> bool:
        """Whether nothing more will come, and all is done."""
        return self._inbox.over and not (self._session and self._session.unanswered)

    def run(self, client: Client, stopping: threading.Event) -> None:
        """Pumps until it is to end. Raises DaemonGone, MediaError when nobody can read, and RefusedError at first."""
        try:
            while not stopping.is_set():
                client.wait(self._inbox, timeout_s=min(LOOK_S, self._output.fill_in_s))
                items, sentences = self._inbox.take()
                for sentence in sentences:
                    self._say(sentence)
                for item in items:
                    self._take(client, item)
                self._send()
                if self.over and not items:
                    break
            self._end_session()
        finally:
            self._leave_session()

    def conclude(self, reader: Reader) -> None:
        """Sums up, and says what was not said yet."""
        for sentence in self._inbox.take()[1]:
            self._say(sentence)
        self.tally.add("packets of the input that could not be decoded", reader.damaged)
        self.tally.received = self._inbox.received
        self.tally.sent = self._output.pictures
        self.tally.repeated = self._output.repeated
        self.tally.add("painted pictures to keep the rate", self._output.left_out)
        self.tally.add("pictures as newer ones came", self._inbox.dropped)
        self.tally.add("packets of sound as too much waited", self._delay.dropped + self._inbox.sounds_dropped)
        self.tally.add("packets as a reader was too slow", self._output.dropped)

    # What comes in

    def _take(self, client: Client, item: Picture | Sound | Tracks) -> None:
        if isinstance(item, Tracks):
            self._output.take_tracks(item)
        elif isinstance(item, Sound):
            pts = self._placed(item.track, item)
            self._delay.put(Placed(item.track, pts, item.step, item.at_s, item.data))
        else:
            self._push(client, item)

    def _placed(self, track: int, item: Picture | Sound) -> int:
        pts = self._timeline.place(track, item.pts, item.at_s, item.step)
        for what in self._timeline.mended.keys() - self._mended:
            self._mended.add(what)
            self._say(f"the input has {what}: they are mended")
        return pts

    def _push(self, client: Client, picture: Picture) -> None:
        pts = self._placed(0, picture)
        session = self._session_for(client, picture.shape, picture.step)
        if session is not None:
            self._steps[pts] = picture.step
            self._effort.came()
            session.push(picture.buffer, pts)

    # The session

    def _session_for(self, client: Client, shape: Shape, step: int) -> Session | None:
        """The session for pictures like this; a new one where they have changed. None: it was refused just now."""
        if self._session is not None and shape == self._shape and not self._is_too_large(self._session):
            return self._session
        self._end_session()
        if time.monotonic() < self._refused_until_s:
            self.tally.add("pictures as the daemon refused them", 1)
            return None
        try:
            session = self._opened(client, shape.source, step)
        except RefusedError as error:
            self._refused(client, error)
            return None
        if shape != self._shape and (self.painted or self._shape is not None):
            self._say(f"the input is {shape.source.width}x{shape.source.height} from here on")
        self._session, self._shape, self._refusals = session, shape, 0
        self._effort = Effort(time.monotonic())
        return session

    def _opened(self, client: Client, source: Source, step: int) -> Session:
        """A session for pictures like this. Raises RefusedError."""
        bridge = self._bridge
        rate = bridge.incoming.rate or min(Fraction(TICKS, step), Fraction(MAX_RATE))

        whole = source.width * source.height

        def begun(pixels: int, rate: Fraction | None) -> Session:
            session = client.session(
                source=source,
                result=Result(pixels="yuv420p"),
                pacing="live",
                painter=bridge.painter,
                flow=bridge.flow,
                max_pixels=None if pixels == whole else pixels,
                max_delay_ms=bridge.max_delay_ms,
                linger_s=bridge.linger_s,
                name=f"bridge {bridge.incoming.url} to {bridge.target}",
                rate=rate,
                **bridge.brief,
            )
            session.open(source)
            return session

        if bridge.max_pixels is not None:
            return begun(bridge.max_pixels, rate)
        largest = min(self._pixels or whole, whole)
        session, pixels = fitted(begun, largest, rate, asked=bridge.incoming.rate is not None)
        if pixels < whole and pixels != self._told_pixels and session.opened is not None:
            self._told_pixels = pixels
            self._say(
                f"{source.width}x{source.height} cannot be painted in time here: it is painted at "
                f"{session.opened.width}x{session.opened.height}, and enlarged; --max-pixels says another size"
            )
        self._pixels = pixels if pixels < whole else self._pixels
        return session

    def _is_too_large(self, session: Session) -> bool:
        """Whether the session does not keep up, and a smaller canvas would: that is tried then."""
        share = self._effort.too_large(time.monotonic())
        if share is None or self._bridge.max_pixels is not None or session.opened is None:
            return False
        pixels = int(share * session.opened.width * session.opened.height)
        if pixels < LEAST_PIXELS:
            return False
        self._pixels = pixels
        return True

    def _refused(self, client: Client, error: RefusedError) -> None:
        """A sender that cannot be served ends nothing: the next one may be. At first it is the user who is to know.

        Raises the error then, unless the daemon is but busy.
        """
        busy = _is_busy(client, error.code)
        if not self.painted and not busy:
            raise error
        self._refusals += 1
        self._refused_until_s = time.monotonic() + pause_s(self._refusals)
        if self._refusals == 1:
            self._say(f"the daemon refuses this input: {error}{'; trying again' if busy else ''}")

    def _end_session(self) -> None:
        """Ends the session when what is in hand is painted, and sends that."""
        if self._session is not None:
            self._session.close()
            self._send()
        self._leave_session()

    def _leave_session(self) -> None:
        """Counts what the session dropped, and lets go of it."""
        if self._session is None:
            return
        for (stage, code), count in self._session.dropped.items():
            self.tally.add(f"pictures at {stage}: {code}", count)
        self._session = None  # one that was not closed ends with its client

    # What goes out

    def _send(self) -> None:
        """Sends what is painted, and the sound up to there."""
        if self._session is not None and self._shape is not None:
            for painted in self._session.results(wait=False):
                ticks = painted.info.pts
                self._sound(ticks)
                step = self._steps.pop(ticks, 0)
                self._output.picture(ticks, step, painted.image, self._shape)
                self._effort.took(sum(ms for name, ms in painted.info.stages_ms.items() if name != "wait") / 1e3)
                self._shown = ticks
                self.painted += 1
            self._forget()
        if (filled := self._output.fill()) is not None:
            self._shown = filled
        self._sound(self._shown)

    def _sound(self, shown: int | None) -> None:
        for packet in self._delay.due(shown, time.monotonic()):
            self._output.sound(packet)

    def _forget(self) -> None:
        """The steps of pictures that were dropped: those before the last one that was sent."""
        if self._shown is not None:
            self._steps = {pts: step for pts, step in self._steps.items() if pts > self._shown}


def _is_busy(client: Client, code: Code) -> bool:
    """Whether what was refused may be taken later: others are served, who will leave, or it is a daemon that leaves."""
    if code is Code.OVERLOADED:
        return any(each.pacing == "live" for each in client.status().sessions)
    return code in (Code.TOO_MANY_SESSIONS, Code.SHUTTING_DOWN)
