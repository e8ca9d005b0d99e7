"""RTSP in: a camera or server that is asked, or a sender that comes to us. FFmpeg does both."""

import math
from collections.abc import Mapping

import av
from av.container import InputContainer

from .urls import Url

# How long FFmpeg may wait for a sender before it listens anew, for a camera, and for the next packet, seconds.
LISTENS_FOR_S, ANSWERS_WITHIN_S, NEXT_WITHIN_S = 3600.0, 10.0, 10.0
# Over TCP, as nothing is lost there; what only knows UDP is heard over that, and nobody else but it.
ASKING = {"rtsp_flags": "prefer_tcp+filter_src"}
LISTENING = {"rtsp_flags": "listen", "listen_timeout": str(math.floor(LISTENS_FOR_S))}


def opened(url: Url, probing: Mapping[str, str]) -> InputContainer:
    """What comes from a camera, or the next sender. Raises OSError and FFmpegError."""
    options = dict(probing) | (LISTENING if url.listens else ASKING)
    waits_s = LISTENS_FOR_S if url.listens else ANSWERS_WITHIN_S
    return av.open(url.address, "r", format="rtsp", options=options, timeout=(waits_s, NEXT_WITHIN_S))
