"""The URLs that a bridge reads from and writes to: parsed and checked, with nothing opened."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from ..errors import MediaError

HIGHEST_PORT = 65_535

IN_URLS = (
    "zmq:tcp://HOST:PORT, tcp://HOST:PORT, tcp://HOST:PORT?listen=1, udp://HOST:PORT, rtmp://HOST:PORT/APP/KEY, "
    "a path, or - for standard input"
)
OUT_URLS = "zmq:tcp://HOST:PORT, tcp://HOST:PORT?listen=1, udp://HOST:PORT, a path, or - for standard output"

# Told when an address is not of this machine alone and nobody said that this is meant.
EXPOSED = (
    "{url}: others than this machine could reach {host}, and nothing asks them who they are; use 127.0.0.1, or say "
    "--expose if that is meant"
)

_KEY = re.compile(r"(rtmps?://[^/]*/[^/]*/).+", re.IGNORECASE | re.DOTALL)
# Of an application and a stream key: nothing that programs write in different ways, or cut off.
_RTMP_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)

Scheme = Literal["zmq", "tcp", "udp", "rtmp", "file", "standard"]


@dataclass(frozen=True, slots=True)
class Url:
    """An end of a bridge. `listens`: we bind there; else we connect, or send."""

    text: str  # without a stream key
    scheme: Scheme
    host: str = ""
    port: int = 0
    path: str = ""  # of a file; of rtmp, application and key: with no slash in it, any key
    listens: bool = False

    def __str__(self) -> str:
        return {"standard": "standard input or output"}.get(self.scheme, self.text)

    @property
    def endpoint(self) -> str:
        """Host and port, as ZeroMQ and messages spell them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def input_url(text: str, *, expose: bool = False) -> Url:
    """Where a bridge reads. expose: a listener may be reached from other machines. Raises MediaError."""
    url = _parsed(text, IN_URLS)
    if url.scheme in ("rtmp", "udp"):
        url = _replaced(url, listens=True)
    elif url.scheme == "zmq" and url.listens:
        raise MediaError(f"{text}: an ffmpeg that writes to zmq: binds, so the bridge connects; leave ?listen=1 out")
    return _guarded(url, expose)


def output_url(text: str, *, expose: bool = False) -> Url:
    """Where a bridge writes. expose: a listener may be reached from other machines. Raises MediaError."""
    url = _parsed(text, OUT_URLS)
    if url.scheme == "rtmp":
        raise MediaError(f"{url}: a bridge does not write to rtmp; it writes to {OUT_URLS}")
    if url.scheme == "tcp" and not url.listens:
        raise MediaError(f"{text}: readers come to the bridge; write {text}?listen=1")
    if url.scheme == "zmq":
        url = _replaced(url, listens=True)
    return _guarded(url, expose)


def without_key(text: str) -> str:
    """A URL for messages: of rtmp, what comes behind the application is a secret."""
    return _KEY.sub(r"\1***", text)


def _parsed(text: str, forms: str) -> Url:
    if text == "-":
        return Url(text, "standard")
    scheme = _SCHEME.match(text)
    if text.startswith("file:"):
        return Url(text, "file", path=text.removeprefix("file:"))
    if scheme is None or text.startswith(("/", "./", "../")):
        if not text:
            raise MediaError(f"an end of a bridge is {forms}")
        return Url(text, "file", path=text)
    name = scheme[1].lower()
    if name == "zmq":
        inner = text[len("zmq:") :]
        if not inner.startswith("tcp://"):
            raise MediaError(f"{text}: after zmq: comes tcp://HOST:PORT")
        return _address(text, "zmq", inner)
    if name in ("tcp", "udp", "rtmp"):
        return _address(text, name, text)  # type: ignore[arg-type]  # narrowed by the line above
    raise MediaError(f"{without_key(text)}: {name}: is not spoken here; an end of a bridge is {forms}")


def _address(text: str, scheme: Scheme, address: str) -> Url:
    text = without_key(text)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise MediaError(f"{text}: a port is a number from 1 to {HIGHEST_PORT}") from None
    port = 1935 if port is None and scheme == "rtmp" else port  # RTMP's own, as all programs take it
    if not host or not port:
        raise MediaError(f"{text}: host and port are missing, as in {scheme}://127.0.0.1:9000")
    if parts.username is not None or parts.password is not None:
        raise MediaError(f"{text}: names and passwords are not checked, so leave them out")
    if scheme != "rtmp" and parts.path not in ("", "/"):
        raise MediaError(f"{text}: nothing may follow the port but ?listen=1")
    if scheme == "rtmp" and (parts.fragment or not _RTMP_PATH.fullmatch(parts.path)):
        raise MediaError(f"{text}: an application and a stream key are letters, digits and -._~!$&'()*+,;=:@")
    return Url(text, scheme, host, port, parts.path.strip("/"), listens=_listens(text, parts.query))


def _listens(text: str, query: str) -> bool:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if set(options) - {"listen"} or options.get("listen", "1") not in ("0", "1"):
        raise MediaError(f"{text}: the only option of an address is listen=1")
    return options.get("listen") == "1"


def _replaced(url: Url, *, listens: bool) -> Url:
    return Url(url.text, url.scheme, url.host, url.port, url.path, listens)


def _guarded(url: Url, expose: bool) -> Url:
    """The URL. Raises MediaError for a listener that others can reach."""
    if url.listens and not expose and not is_loopback(url.host):
        raise MediaError(EXPOSED.format(url=url.text, host=url.host))
    return url


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener there. No name is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
