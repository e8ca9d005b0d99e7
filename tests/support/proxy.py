"""A tcp proxy that cuts connections: each after a given number of bytes."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

PIECE = 4_096


class Proxy:
    """Leads to a port of this machine. The first connections end after so many bytes in both directions together."""

    def __init__(self, port: int, cut_after: Sequence[int] = ()) -> None:
        self.cuts = 0
        self._port = port
        self._limits: Iterator[int] = iter(cut_after)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._lock = threading.Lock()
        self._pairs: list[Pair] = []

    def __enter__(self) -> "Proxy":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._threads[0].join()
        for each in self._threads:
            each.join()
        for pair in self._pairs:
            pair.close()

    @property
    def address(self) -> str:
        """For a ZeroMQ client."""
        return f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def leads_on(self) -> bool:
        """Whether all limits are used up, so that the newest connection is not to be cut any more."""
        with self._lock:
            return bool(self._pairs) and self._pairs[-1].is_free

    def cut(self) -> None:
        """Ends all connections."""
        with self._lock:
            for pair in self._pairs:
                pair.cut()

    def stall(self) -> None:
        """Has the connections there are carry nothing more, and tells nobody."""
        with self._lock:
            for pair in self._pairs:
                pair.stalled = True

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            with self._lock:
                pair = Pair(near, far, next(self._limits, None))
                self._pairs.append(pair)
            for ends in ((near, far), (far, near)):
                ends[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                thread = threading.Thread(target=self._carry, args=(*ends, pair))
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, target: socket.socket, pair: "Pair") -> None:
        try:
            while piece := source.recv(PIECE):
                if pair.stalled:
                    continue
                allowed = pair.allowed(len(piece))
                target.sendall(piece[:allowed])
                if allowed < len(piece):
                    with self._lock:
                        self.cuts += not pair.over
                    break
        except OSError:
            pass
        pair.leave()


class Pair:
    """The two ends of a connection, and how many bytes they may yet carry; None: any number."""

    def __init__(self, near: socket.socket, far: socket.socket, left: int | None) -> None:
        self.over = self.stalled = False
        self._ends = (near, far)
        self._carriers = len(self._ends)
        self._left = left
        self._lock = threading.Lock()

    @property
    def is_free(self) -> bool:
        """Whether it may carry any number of bytes."""
        return self._left is None

    def allowed(self, wanted: int) -> int:
        """How many of so many bytes may be carried."""
        with self._lock:
            if self._left is None:
                return wanted
            allowed = min(wanted, self._left)
            self._left -= allowed
            return allowed

    def cut(self) -> None:
        """Ends it."""
        with self._lock:
            self.over = True
            for end in self._ends:
                with suppress(OSError):  # the other side was first
                    end.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """One of its two ways ends, and with it the other; the last one lets go of the sockets."""
        self.cut()
        with self._lock:
            self._carriers -= 1
            last = not self._carriers
        if last:
            self.close()

    def close(self) -> None:
        """Lets go of the sockets, once nobody carries anything."""
        for end in self._ends:
            end.close()
