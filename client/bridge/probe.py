"""What comes in at a URL, in words."""

import threading
import time

from ..errors import MediaError
from .inbox import Inbox
from .parts import Picture
from .sources import Incoming, Reader
from .timeline import TICKS
from .transports import transport_for

# A sender that is there has been understood by then, seconds: a keyframe comes within two with what most senders do.
PROBED_WITHIN_S = 5.0
# The rate is counted over so long, seconds, from the first picture on.
COUNTED_S = 1.0
STOP_S = 1.0


def probe(incoming: Incoming) -> str:
    """What comes in, a line a stream. Raises MediaError, which says why that cannot be told."""
    stopping = threading.Event()
    inbox = Inbox()
    transport = transport_for(incoming.checked().url, stopping, inbox.say, incoming.ffmpeg)
    reader = Reader(incoming, transport, inbox, stopping)
    reader.start()
    try:
        pictures, said = _watch(inbox, incoming)
    finally:
        reader.stop(STOP_S)
    if not pictures:
        if reader.described:
            said.append(f"{reader.described}\nbut no picture could be decoded in {PROBED_WITHIN_S:g} s")
        raise MediaError("; ".join(said) or f"{incoming.url}: nothing came in {PROBED_WITHIN_S:g} s")
    source = pictures[-1].shape.source
    lines = [reader.described or f"messages of {incoming.form}", f"picture: {source.width}x{source.height}"]
    return "\n".join([*lines, _rate(pictures), *said])


def _watch(inbox: Inbox, incoming: Incoming) -> tuple[list[Picture], list[str]]:
    """The pictures of about a second, and what was said meanwhile."""
    pictures: list[Picture] = []
    said: list[str] = []
    ends = time.monotonic() + PROBED_WITHIN_S
    while time.monotonic() < ends and not inbox.over:
        items, sentences = inbox.take()
        said += sentences
        found = [item for item in items if isinstance(item, Picture)]
        if found and not pictures:
            ends = time.monotonic() + COUNTED_S
        pictures += found
        time.sleep(0.02)
    return pictures, said


def _rate(pictures: list[Picture]) -> str:
    """The measured rate: by the pictures' times, or by when they came where they have none."""
    times = [each.at_s if each.pts is None else each.pts / TICKS for each in pictures]
    span = max(times) - min(times)
    return f"rate: {(len(times) - 1) / span:.1f} a second" if span > 0 else "rate: not known yet"
