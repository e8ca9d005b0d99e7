"""What may follow the question mark of a bridge's URL, for each of its schemes. Pure."""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from ..errors import MediaError

# As libsrt takes them, characters.
PASSPHRASE = range(10, 80)
# SRT: what is lost is asked for again within this, milliseconds; libsrt takes no more than a minute into its buffers.
LATENCY_MS = range(60_001)
STREAM_ID = range(1, 513)

Check = Callable[[str], str | None]  # what is wrong with a value


def _one_of(*words: str) -> Check:
    return lambda value: None if value in words else f"is {' or '.join(words)}"


def _passphrase(value: str) -> str | None:
    fits = len(value.encode()) in PASSPHRASE
    return None if fits else f"has {PASSPHRASE[0]} to {PASSPHRASE[-1]} characters"


def _latency(value: str) -> str | None:
    fits = value.isascii() and value.isdigit() and int(value) in LATENCY_MS
    return None if fits else f"is a number of milliseconds from 0 to {LATENCY_MS[-1]}"


def _stream_id(value: str) -> str | None:
    return None if len(value.encode()) in STREAM_ID else f"has {STREAM_ID[0]} to {STREAM_ID[-1]} characters"


def _size(value: str) -> str | None:
    return None if re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", value, re.ASCII) else "is WIDTHxHEIGHT, as in 1280x720"


def _rate(value: str) -> str | None:
    try:
        fits = Fraction(value) > 0
    except (ValueError, ZeroDivisionError):
        fits = False
    return None if fits else "is a number of pictures a second"


def _format(value: str) -> str | None:
    return None if re.fullmatch(r"[a-z0-9]+", value) else "is one that ffmpeg names, as mjpeg or yuyv422"


_LISTEN: Mapping[str, Check] = {"listen": _one_of("0", "1")}
OPTIONS: Mapping[str, Mapping[str, Check]] = {
    "srt": {
        "mode": _one_of("caller", "listener"),
        "latency": _latency,
        "passphrase": _passphrase,
        "streamid": _stream_id,
    },
    "v4l2": {"size": _size, "rate": _rate, "format": _format},
}


def checked_options(url: str, scheme: str, given: Mapping[str, str]) -> dict[str, str]:
    """The options of a URL. url: as it may be shown. Raises MediaError, without the value, as it may be secret."""
    known = OPTIONS.get(scheme, _LISTEN)
    for name, value in given.items():
        if name not in known and known is _LISTEN:
            raise MediaError(f"{url}: the only option of an address is listen=1")
        if name not in known:
            raise MediaError(f"{url}: there is no option {name} of {scheme}; there are {', '.join(known)}")
        if wrong := known[name](value):
            only = "the only option of an address is listen=1: " if known is _LISTEN else ""
            raise MediaError(f"{url}: {only}{name} {wrong}")
    return dict(given)
