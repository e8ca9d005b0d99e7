"""Who may ask the page for something. Pure: headers in, a refusal or none out.

Browsers run what other web pages tell them to. So a request must be for a name that is ours (else a foreign name that
was pointed here, DNS rebinding, would do), and must come from our own page, as far as the browser says where it comes
from. Off this machine a token is asked for besides.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

TOKEN = "token"  # the name of the cookie and of the parameter


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a request. headers: by lower-case name."""

    headers: Mapping[str, str]
    offered: tuple[str, ...] = ()  # tokens: of the cookie, the parameter, the Authorization header
    scheme: str = "http"


@dataclass(frozen=True, slots=True)
class Guard:
    """names: host names, besides localhost and addresses, that the page is reached by. token: None: none needed."""

    names: frozenset[str] = frozenset()
    token: str | None = None

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """The status and the sentence that a request is refused with; None: it may pass."""
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            return 421, f"{host[:100]!r} is no name of this page; --allow-host makes it one"
        origin = request.headers.get("origin")
        if origin is not None and not _same_origin(origin, host):
            return 403, f"this page takes nothing from {origin[:100]!r}"
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_visit(request.headers):
            return 403, "this page takes nothing from another one"
        if self.token is not None and not any(_equal(each, self.token) for each in request.offered):
            return 401, "open the address that `warpaint page` has printed: it holds a token"
        return None

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        if name is None:
            return False
        return name == "localhost" or name in self.names or _is_address(name)


def _name(host: str) -> str | None:
    """The name or address in a Host header, in lower case; None if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname


def _is_address(name: str) -> bool:
    """Whether it is an address and no name: nobody can point one of these elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(origin: str, host: str) -> bool:
    """Whether an Origin is the page itself. The scheme is not looked at: a proxy may speak TLS for us."""
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _is_visit(headers: Mapping[str, str]) -> bool:
    """Whether somebody follows a link: that shows a page, and does nothing."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _equal(offered: str, token: str) -> bool:
    return hmac.compare_digest(offered.encode(errors="surrogateescape"), token.encode())
