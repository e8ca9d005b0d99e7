"""The listener, with real sockets."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from support.bridge import COMES_WITHIN_S, free_port
from support.rtmp import HELLO, Publisher, asking, command, message
from warpaint.client.bridge.rtmp import listener
from warpaint.client.bridge.rtmp.chunks import Kind
from warpaint.client.bridge.rtmp.listener import MOST_STRANGERS, RtmpReader
from warpaint.client.bridge.urls import input_url
from warpaint.client.errors import MediaError

FRAME = message(Kind.VIDEO, b"\x17\x01" + b"v" * 100)
END = command("FCUnpublish", 6, None, "secret") + command("deleteStream", 7, None, 1)
TAKEN = "Somebody publishes here already."


class Listening:
    """A listener in a thread, as a bridge has it, and the films that came."""

    def __init__(self, path: str, patience_bytes: float = float("inf")) -> None:
        """patience_bytes: after so many of one film, it is not read on."""
        self.port = free_port()
        self.said: list[str] = []
        self.films: list[bytes] = []
        self.ended = 0
        self._patience = patience_bytes
        self._stopping = threading.Event()
        self._reader = RtmpReader(input_url(f"rtmp://127.0.0.1:{self.port}/{path}"), self._stopping, self.said.append)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while self._reader.begin():
            self.films.append(b"")
            while len(self.films[-1]) < self._patience and (data := self._reader.read(32_768)):
                self.films[-1] += data
            self.ended += 1

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(COMES_WITHIN_S)
        assert not self._thread.is_alive()
        self._reader.close()

    def buffers_little(self) -> None:
        """The kernel takes few answers that are not read, of connections to come."""
        self._reader._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def publisher(self, key: str = "secret") -> Publisher:
        """One that is let in."""
        made = Publisher(self.port, asking(key))
        made.hears("NetStream.Publish.Start")
        return made

    @property
    def frames(self) -> int:
        """That have arrived, of all films."""
        return sum(film.count(FRAME[-100:]) for film in self.films)

    def says(self, words: str) -> None:
        come(lambda: any(words in each for each in self.said), f"{words!r}, but {self.said}")


def come(true: Callable[[], bool], what: str) -> None:
    """Waits until it is. Raises TimeoutError."""
    ends = time.monotonic() + COMES_WITHIN_S
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError(f"this does not come: {what}")
        time.sleep(0.01)


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening("live/secret")
    yield made
    made.stop()


def sends(publisher: Publisher, here: Listening) -> None:
    """A publisher's next frame arrives."""
    before = here.frames
    publisher.send(FRAME)
    come(lambda: here.frames > before, "a frame")


@pytest.mark.parametrize("how", ["properly", "closed", "reset"])
def test_publishers_come_and_go(listening: Listening, how: str) -> None:
    for count in (1, 2):
        with listening.publisher() as publisher:
            publisher.send(FRAME)
            come(lambda count=count: len(listening.films) == count, "a film")  # type: ignore[misc]
            if how == "properly":
                publisher.send(END)
            elif how == "reset":
                publisher.reset()
        come(lambda count=count: listening.ended == count, "its end")  # type: ignore[misc]
        assert listening.films[-1].startswith(b"FLV")
    assert listening.said == []


def test_two_publishers_on_one_key(listening: Listening) -> None:
    with listening.publisher() as first:
        sends(first, listening)
        with Publisher(listening.port, asking("secret")) as second:
            assert second.hears("NetStream.Publish.BadName") == TAKEN
            assert second.is_closed()
        sends(first, listening)
    assert len(listening.films) == 1
    listening.says("while another one does")


def test_a_publisher_that_is_silent_gives_way(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SILENT_S", 0.2)
    with listening.publisher() as first:
        sends(first, listening)
        time.sleep(0.3)  # what is tested
        with listening.publisher() as second:
            sends(second, listening)
            assert first.is_closed()
            sends(second, listening)
    assert len(listening.films) == 2
    listening.says("was silent for 0 s, and gives way")


def test_what_has_no_key_or_another_application(listening: Listening) -> None:
    for key, app, code in (
        ("wrong-key", "live", "NetStream.Publish.BadName"),
        ("secret", "other-app", "NetConnection.Connect.Rejected"),
    ):
        with Publisher(listening.port, asking(key, app)) as stranger:
            stranger.hears(code)
            assert stranger.is_closed()
    with listening.publisher() as publisher:
        sends(publisher, listening)
    listening.says("gave a wrong stream key")
    listening.says("asked for another application")
    assert not any(word in each for word in ("secret", "wrong-key", "other-app") for each in listening.said)


def test_without_a_key_any_is_taken() -> None:
    here = Listening("live")
    try:
        for key in ("one", "two"):
            with here.publisher(key) as publisher:
                sends(publisher, here)
    finally:
        here.stop()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.random.default_rng(1).bytes(100_000), "sent no RTMP"),
        (HELLO + np.random.default_rng(2).bytes(100_000), "somebody at 127.0.0.1"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "asked for a web page"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "RTMPS is not spoken here"),
    ],
)
def test_garbage_does_not_disturb_who_publishes(listening: Listening, data: bytes, words: str) -> None:
    with listening.publisher() as publisher:
        sends(publisher, listening)
        for _ in range(3):
            with Publisher(listening.port, data) as stranger:
                assert stranger.is_closed()
        sends(publisher, listening)
    listening.says(words)
    assert len(listening.said) == 1  # not again and again
    assert len(listening.films) == 1


@pytest.mark.parametrize("data", [b"", b"\x03", asking("secret").partition(command("createStream", 4, None))[0]])
def test_who_asks_for_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(listener, "ASKS_WITHIN_S", 0.3)
    here = Listening("live/secret")
    try:
        with Publisher(here.port, data) as stranger:
            assert stranger.is_closed()
        here.says("asked for nothing for 0.3 s" if data else "sent nothing for 0.3 s")
    finally:
        here.stop()


def test_many_who_are_idle_keep_nobody_out(listening: Listening) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(listening.publisher())
        sends(first, listening)
        idle = [stack.enter_context(Publisher(listening.port)) for _ in range(3 * MOST_STRANGERS)]
        assert idle[0].is_closed()
        sends(first, listening)
        first.send(END)
        come(lambda: listening.ended == 1, "the end of the first film")
        second = stack.enter_context(listening.publisher())
        sends(second, listening)
    listening.says(f"more than {MOST_STRANGERS} connections")


def test_who_does_not_read_the_answers_is_cut_off(listening: Listening) -> None:
    listening.buffers_little()
    ping = message(Kind.USER_CONTROL, struct.pack(">HI", 6, 0), number=2)
    with listening.publisher() as deaf:
        for _ in range(100):
            deaf.send(ping * 5000)
            if listening.said:
                break
    listening.says("does not read what it is answered")


def test_a_film_that_is_not_read_on_ends_its_connection() -> None:
    here = Listening("live/secret", patience_bytes=100)
    try:
        for _ in range(2):
            with here.publisher() as publisher:
                publisher.send(FRAME)
                assert publisher.is_closed()
    finally:
        here.stop()
    assert len(here.films) == 2


def test_what_comes_in_small_pieces() -> None:
    here = Listening("live/secret")
    try:
        with Publisher(here.port) as slow:
            data = asking("secret") + FRAME
            for at in range(0, len(data), 7):
                slow.send(data[at : at + 7])
            come(lambda: bool(here.films) and FRAME[-100:] in here.films[0], "a frame")
    finally:
        here.stop()


def test_a_port_in_use_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        url = input_url(f"rtmp://127.0.0.1:{other.getsockname()[1]}/live/secret")
        with pytest.raises(MediaError, match="live/\\*\\*\\* cannot be listened to: Address already in use"):
            RtmpReader(url, threading.Event(), lambda _: None)
