"""What may be an end of a bridge."""

import pytest

from warpaint.client.bridge.urls import input_url, output_url
from warpaint.client.errors import MediaError


@pytest.mark.parametrize(
    ("text", "scheme", "endpoint", "listens"),
    [
        ("zmq:tcp://127.0.0.1:5555", "zmq", "tcp://127.0.0.1:5555", False),
        ("zmq:tcp://camera:5555", "zmq", "tcp://camera:5555", False),
        ("tcp://127.0.0.1:9000?listen=1", "tcp", "tcp://127.0.0.1:9000", True),
        ("tcp://[::1]:9000", "tcp", "tcp://[::1]:9000", False),
        ("udp://localhost:9001", "udp", "tcp://localhost:9001", True),
        ("rtmp://127.0.0.1/live/key", "rtmp", "tcp://127.0.0.1:1935", True),
    ],
)
def test_inputs(text: str, scheme: str, endpoint: str, listens: bool) -> None:
    url = input_url(text)
    assert (url.scheme, url.endpoint, url.listens) == (scheme, endpoint, listens)


@pytest.mark.parametrize(
    ("text", "scheme", "listens"),
    [
        ("zmq:tcp://127.0.0.1:5556", "zmq", True),
        ("tcp://127.0.0.1:9000?listen=1", "tcp", True),
        ("udp://player:9001", "udp", False),
        ("-", "standard", False),
        ("out.ts", "file", False),
        ("./odd:name.ts", "file", False),
        ("file:odd:name.ts", "file", False),
    ],
)
def test_outputs(text: str, scheme: str, listens: bool) -> None:
    url = output_url(text)
    assert (url.scheme, url.listens) == (scheme, listens)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "an end of a bridge is"),
        ("http://127.0.0.1:80", "http: is not spoken here"),
        ("srt://127.0.0.1:80", "srt: is not spoken here"),
        ("zmq:ipc:///tmp/x", "after zmq: comes tcp://"),
        ("zmq:tcp://127.0.0.1", "host and port are missing"),
        ("tcp://:9000", "host and port are missing"),
        ("tcp://127.0.0.1:0", "host and port are missing"),
        ("tcp://127.0.0.1:70000", "a port is a number from 1 to 65535"),
        ("tcp://127.0.0.1:x", "a port is a number from 1 to 65535"),
        ("tcp://127.0.0.1:9000/stream", "nothing may follow the port"),
        ("tcp://127.0.0.1:9000?listen=2", "the only option"),
        ("udp://127.0.0.1:9000?fifo_size=9", "the only option"),
        ("tcp://me:secret@127.0.0.1:9000", "are not checked"),
        ("zmq:tcp://127.0.0.1:9000?listen=1", "leave \\?listen=1 out"),
        ("udp://0.0.0.0:9000", "--expose"),
        ("tcp://10.0.0.1:9000?listen=1", "--expose"),
        ("rtmp://0.0.0.0:1935/live/key", "--expose"),
    ],
)
def test_what_is_no_input(text: str, complaint: str) -> None:
    with pytest.raises(MediaError, match=complaint):
        input_url(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tcp://127.0.0.1:9000", "readers come to the bridge"),
        ("rtmp://127.0.0.1/live/key", "does not write to rtmp"),
        ("zmq:tcp://0.0.0.0:9000", "--expose"),
        ("zmq:tcp://*:9000", "--expose"),
    ],
)
def test_what_is_no_output(text: str, complaint: str) -> None:
    with pytest.raises(MediaError, match=complaint):
        output_url(text)


def test_a_listener_may_be_exposed_if_that_is_said() -> None:
    assert input_url("udp://0.0.0.0:9000", expose=True).listens
    assert output_url("zmq:tcp://0.0.0.0:9000", expose=True).listens


@pytest.mark.parametrize(
    ("text", "path", "shown"),
    [
        ("rtmp://127.0.0.1:1935/live/s3cret", "live/s3cret", "rtmp://127.0.0.1:1935/live/***"),
        ("rtmp://127.0.0.1/live/room/s3cret/?listen=1", "live/room/s3cret", "rtmp://127.0.0.1/live/***"),
        ("rtmp://127.0.0.1/live/", "live", "rtmp://127.0.0.1/live/"),
        ("rtmp://127.0.0.1", "", "rtmp://127.0.0.1"),
    ],
)
def test_a_stream_key_is_not_shown(text: str, path: str, shown: str) -> None:
    url = input_url(text)
    assert (url.path, str(url)) == (path, shown)
    assert "s3cret" not in repr(url).replace(repr(path), "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rtmp://127.0.0.1/live/s3cret key", "are letters, digits"),
        ("rtmp://127.0.0.1//s3cret", "are letters, digits"),
        ("rtmp://127.0.0.1/live/s3cret#key", "are letters, digits"),
        ("rtmp://127.0.0.1/live/s3cret%20", "are letters, digits"),
        ("rtmp://127.0.0.1/live/s3cret?token=s3cret", "the only option"),
        ("rtmp://127.0.0.1:99999/live/s3cret", "a port is"),
        ("rtmp://0.0.0.0/live/s3cret", "--expose"),
        ("rtmps://127.0.0.1/live/s3cret", "rtmps: is not spoken here"),
    ],
)
def test_a_stream_key_is_not_in_a_complaint(text: str, complaint: str) -> None:
    with pytest.raises(MediaError, match=complaint) as caught:
        input_url(text)
    assert "s3cret" not in str(caught.value)
