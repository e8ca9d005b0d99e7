"""Shows by HTTP how the daemon does: /metrics for Prometheus, /healthz, /readyz. In a thread of its own.

It takes one request at a time and rests after each, and what it has made it shows again for a while: Python that runs
beside the driver holds up frames, so that whoever asks without end must not have it run without end.
"""

import logging
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from .. import __version__
from .health import Health
from .metrics import Collected

log = logging.getLogger(__name__)

# How long a page of metrics is shown again, seconds. Prometheus asks every 15 to 60 s; a page takes milliseconds.
FRESH_S = 0.5
# How long it rests after a request, seconds: twenty are answered a second at most. With eight clients that ask without
# end frames take 1.1 times as long then, on two cores that the clients use too; without a rest 2.6 times.
REST_S = 0.05
# How long a client may take to say what it wants, seconds; the others wait meanwhile.
PATIENCE_S = 2.0
# Clients that wait for their turn: several Prometheus and a few probes at once.
WAITING = 32
# How often it is looked whether the daemon ends, seconds.
LOOK_S = 0.2
PLAIN = "text/plain; charset=utf-8"


class Monitor:
    """Listens from the start. `collected` is to be told of the gateway and of the engines when there are any."""

    def __init__(self, address: str, health: Health) -> None:
        """Address: HOST:PORT, or HOST:* for any port. Raises OSError with a sentence that names it."""
        host, _, port = address.rpartition(":")
        self.collected = Collected(health)
        try:
            self._server = _Server((host.strip("[]"), 0 if port == "*" else int(port)), health, self.collected)
        except OSError as error:
            raise OSError(
                f"cannot show metrics on {address}: {error.strerror or error}; is another daemon running? "
                "Another port: --metrics-bind"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(LOOK_S,), name="monitor", daemon=True)
        self._thread.start()
        self.url = f"http://{host}:{self._server.server_address[1]}"
        log.info("metrics are on %s/metrics", self.url)

    def close(self) -> None:
        """Shows nothing any more."""
        self._server.resting.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.TCPServer):
    """Answers one request after another."""

    allow_reuse_address = True
    request_queue_size = WAITING

    def __init__(self, address: tuple[str, int], health: Health, collected: Collected) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.resting = threading.Event()
        self.health = health
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collected)
        ProcessCollector(registry=self._registry)
        self._pages: dict[str, tuple[float, bytes]] = {}  # by kind: when it was made, and the page
        super().__init__(address, _Handler)

    def finish_request(self, request: object, client_address: object) -> None:
        """Answers it, then rests."""
        super().finish_request(request, client_address)  # type: ignore[arg-type]
        self.resting.wait(REST_S)

    def handle_error(self, request: object, client_address: object) -> None:
        """Logs what went wrong with a request: a client that is gone, mostly."""
        log.debug("a request for metrics failed", exc_info=True)

    def metrics(self, accepted: str) -> tuple[str, bytes]:
        """The kind of page that is accepted, and the page."""
        encode, kind = choose_encoder(accepted)
        made_at, page = self._pages.get(kind, (0.0, b""))
        if not page or time.monotonic() - made_at > FRESH_S:
            page = encode(self._registry)
            if len(self._pages) > WAITING:  # kinds are few, but it is the client that names them
                self._pages.clear()
            self._pages[kind] = time.monotonic(), page
        return kind, page


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        """Answers a page, or that there is none."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._metrics()
        elif path == "/healthz":
            self._said(self.server.health.unwell())
        elif path == "/readyz":
            self._said(self.server.health.not_ready())
        else:
            self._answer(404, PLAIN, b"there are /metrics, /healthz and /readyz\n")

    def _metrics(self) -> None:
        try:
            kind, page = self.server.metrics(self.headers.get("Accept", ""))
        except Exception:
            log.exception("metrics cannot be gathered")
            self._answer(500, PLAIN, b"a defect of the daemon; its log has more\n")
        else:
            self._answer(200, kind, page)

    def _said(self, trouble: str) -> None:
        self._answer(503 if trouble else 200, PLAIN, f"{trouble or 'ok'}\n".encode())

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """What this server calls itself."""
        return f"warpaintd/{__version__}"

    def log_message(self, *words: object) -> None:
        """Requests are of no interest, unless somebody looks closely."""
        log.debug(*words)
