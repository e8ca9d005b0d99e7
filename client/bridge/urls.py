"""The URLs that a bridge reads from and writes to: parsed and checked, with nothing opened."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from ..errors import MediaError
from .options import checked_options

HIGHEST_PORT = 65_535

IN_URLS = (
    "zmq:tcp://HOST:PORT, tcp://HOST:PORT, tcp://HOST:PORT?listen=1, udp://HOST:PORT, srt://HOST:PORT, "
    "srt://HOST:PORT?mode=listener, rtmp://HOST:PORT/APP/KEY, rtsp://HOST:PORT/PATH, rtsp://HOST:PORT/PATH?listen=1, "
    "v4l2:/dev/videoN, a path, or - for standard input"
)
OUT_URLS = (
    "zmq:tcp://HOST:PORT, tcp://HOST:PORT?listen=1, http://HOST:PORT/PATH?listen=1, udp://HOST:PORT, srt://HOST:PORT, "
    "srt://HOST:PORT?mode=listener, rtmp://HOST:PORT/APP/KEY, v4l2:/dev/videoN, a path, or - for standard output"
)

# Told when an address is not of this machine alone and nobody said that this is meant.
EXPOSED = (
    "{url}: others than this machine could reach {host}, and nothing asks them who they are; use 127.0.0.1, or say "
    "--expose if that is meant"
)

_KEY = re.compile(r"(rtmps?://[^/]*/[^/]*/).+", re.IGNORECASE | re.DOTALL)
# Of an application and a stream key: nothing that programs write in different ways, or cut off.
_RTMP_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
# What is told to nobody: a password, and the values of options that let somebody in.
_USER = re.compile(r"(?<=://)[^/?#]*@")
_SECRET = re.compile(r"(?<=[?&])(passphrase|streamid)=[^&]*", re.IGNORECASE)

Scheme = Literal["zmq", "tcp", "udp", "srt", "rtmp", "rtsp", "http", "v4l2", "file", "standard"]
_ADDRESSES: dict[str, Scheme] = {
    "tcp": "tcp",
    "udp": "udp",
    "srt": "srt",
    "rtmp": "rtmp",
    "rtsp": "rtsp",
    "http": "http",
}
# The ports that all programs take where none is said.
_USUAL_PORTS = {"rtmp": 1935, "rtsp": 554}
# A camera's URL, or that of a server that is published to, is the business of the other side.
_FOREIGN = ("rtmp", "rtsp")


@dataclass(frozen=True, slots=True)
class Url:
    """An end of a bridge. `listens`: we bind there; else we connect, or send."""

    text: str  # as it was given, without what is secret
    scheme: Scheme
    host: str = ""
    port: int = 0
    path: str = ""  # of a file or a device; of rtmp, application and key: that come, with no slash in it, any key
    listens: bool = False
    address: str = field(default="", repr=False)  # for FFmpeg, where it opens it: with what is secret
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return {"standard": "standard input or output"}.get(self.scheme, self.text)

    @property
    def endpoint(self) -> str:
        """Host and port, as ZeroMQ and messages spell them."""
        return f"tcp://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def without_secrets(self, text: str) -> str:
        """What an ffmpeg says of this URL, as it may be shown."""
        secrets = [self.options[name] for name in ("passphrase", "streamid") if name in self.options]
        if self.scheme == "rtmp":  # what follows the application
            secrets.append(self.address.partition(self.path.partition("/")[0] + "/")[2])
        text = text.replace(self.address, str(self)) if self.address else text
        for secret in filter(None, secrets):
            text = text.replace(secret, "...")
        return text


def input_url(text: str, *, expose: bool = False) -> Url:
    """Where a bridge reads. expose: a listener may be reached from other machines. Raises MediaError."""
    url = _parsed(text, "input", IN_URLS)
    if url.scheme == "http":
        raise MediaError(f"{url}: a bridge does not read from http; an input is {IN_URLS}")
    if url.scheme == "rtmp":
        url = _published_to(url)
    elif url.scheme == "udp":
        url = replace(url, listens=True)
    elif url.scheme == "zmq" and url.listens:
        raise MediaError(f"{url}: an ffmpeg that writes to zmq: binds, so the bridge connects; leave ?listen=1 out")
    return _guarded(url, expose)


def output_url(text: str, *, expose: bool = False) -> Url:
    """Where a bridge writes. expose: a listener may be reached from other machines. Raises MediaError."""
    url = _parsed(text, "output", OUT_URLS)
    if url.scheme == "rtsp":
        raise MediaError(f"{url}: a bridge does not write to rtsp; an output is {OUT_URLS}")
    if url.scheme == "rtmp":
        url = _publishing(url)
    if url.scheme in ("tcp", "http") and not url.listens:
        raise MediaError(f"{url}: readers come to the bridge; write {url}?listen=1")
    if url.scheme == "zmq":
        url = replace(url, listens=True)
    return _guarded(url, expose)


def without_secrets(text: str) -> str:
    """A URL as it may be shown: without names, passwords, passphrases, and stream keys of RTMP."""
    return _KEY.sub(r"\1***", _SECRET.sub(r"\1=...", _USER.sub("...@", text)))


def _parsed(text: str, role: Literal["input", "output"], forms: str) -> Url:
    shown = without_secrets(text)
    if text == "-":
        return Url(text, "standard")
    scheme = _SCHEME.match(text)
    if text.startswith("file:"):
        return Url(text, "file", path=text.removeprefix("file:"))
    if scheme is None or text.startswith(("/", "./", "../")):
        if not text:
            raise MediaError(f"an {role} of a bridge is {forms}")
        return Url(text, "file", path=text)
    name = scheme[1].lower()
    if name == "zmq":
        inner = text[len("zmq:") :]
        if not inner.startswith("tcp://"):
            raise MediaError(f"{shown}: after zmq: comes tcp://HOST:PORT")
        return _address(text, "zmq", inner)
    if name == "v4l2":
        return _device(text, role)
    if name in _ADDRESSES:
        return _address(text, _ADDRESSES[name], text)
    raise MediaError(f"{shown}: {name}: is not spoken here; an {role} of a bridge is {forms}")


def _address(text: str, scheme: Scheme, address: str) -> Url:
    shown = without_secrets(text)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise MediaError(f"{shown}: a port is a number from 1 to {HIGHEST_PORT}") from None
    port = _USUAL_PORTS.get(scheme) if port is None else port
    if not host or not port:
        raise MediaError(f"{shown}: host and port are missing, as in {scheme}://127.0.0.1:9000")
    if "@" in parts.netloc and scheme != "rtsp":
        raise MediaError(f"{shown}: names and passwords are not checked, so leave them out")
    if scheme not in (*_FOREIGN, "http") and parts.path not in ("", "/"):
        raise MediaError(f"{shown}: nothing may follow the port but ?listen=1")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    foreign = scheme in _FOREIGN and "listen" not in options
    options = {} if foreign else checked_options(shown, scheme, options)
    listens = options.get("listen") == "1" or options.get("mode") == "listener"
    if not foreign and scheme in _FOREIGN:
        address = address.partition("?")[0]
    return Url(shown, scheme, host, port, parts.path.strip("/"), listens, address, options)


def _device(text: str, role: Literal["input", "output"]) -> Url:
    """A camera, or a virtual one."""
    path, _, query = text[len("v4l2:") :].partition("?")
    if not path.startswith("/dev/"):
        raise MediaError(f"{text}: after v4l2: comes a device, as in v4l2:/dev/video0")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if options and role == "output":
        raise MediaError(f"{text}: a virtual camera takes the pictures as they are; leave ?{query} out")
    return Url(text, "v4l2", path=path, options=checked_options(text, "v4l2", options))


def _published_to(url: Url) -> Url:
    """A listener for those who have its key."""
    parts = urlsplit(url.address)
    if parts.fragment or not _RTMP_PATH.fullmatch(parts.path):
        raise MediaError(f"{url}: an application and a stream key are letters, digits and -._~!$&'()*+,;=:@")
    checked_options(str(url), "rtmp", dict(parse_qsl(parts.query, keep_blank_values=True)))
    return replace(url, listens=True)


def _publishing(url: Url) -> Url:
    """A server that is published to: its key is told to nobody."""
    application, _, key = url.path.partition("/")
    shown = f"rtmp://{url.authority}/{application}"
    if url.listens:
        raise MediaError(f"{shown}: a bridge publishes rtmp to a server, and is none; leave ?listen=1 out")
    if not application:
        raise MediaError(f"{shown}: application and key are missing, as in rtmp://{url.authority}/live/key")
    return replace(url, text=f"{shown}/***" if key else shown)


def _guarded(url: Url, expose: bool) -> Url:
    """The URL. Raises MediaError for a listener that others can reach, and that asks them nothing."""
    if url.listens and not expose and not is_loopback(url.host) and "passphrase" not in url.options:
        raise MediaError(EXPOSED.format(url=url, host=url.host))
    return url


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener there. No name is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
