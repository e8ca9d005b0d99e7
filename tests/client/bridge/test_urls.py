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
        ("srt://camera:9000", "srt", "tcp://camera:9000", False),
        ("srt://[::1]:9000?mode=listener&latency=0", "srt", "tcp://[::1]:9000", True),
        ("srt://0.0.0.0:9000?mode=listener&passphrase=0123456789", "srt", "tcp://0.0.0.0:9000", True),
        ("rtsp://camera/stream?channel=1", "rtsp", "tcp://camera:554", False),
        ("rtsp://me:secret@camera:8554/stream", "rtsp", "tcp://camera:8554", False),
        ("rtsp://127.0.0.1:8554/x?listen=1", "rtsp", "tcp://127.0.0.1:8554", True),
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
        ("http://127.0.0.1:9001/x?listen=1", "http", True),
        ("http://127.0.0.1:9001?listen=1", "http", True),
        ("srt://player:9001?streamid=publish/x", "srt", False),
        ("srt://0.0.0.0:9001?mode=listener&passphrase=0123456789", "srt", True),
        ("rtmp://server/live/key?token=x", "rtmp", False),
        ("v4l2:/dev/video2", "v4l2", False),
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
        ("", "an input of a bridge is"),
        ("http://127.0.0.1:80", "does not read from http"),
        ("gopher://127.0.0.1:80", "gopher: is not spoken here; an input of a bridge is zmq:"),
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
        ("rtsp://0.0.0.0:8554/x?listen=1", "--expose"),
        ("rtsp://127.0.0.1:8554/x?listen=2", "the only option of an address is listen=1: listen is 0 or 1"),
        ("srt://0.0.0.0:9000?mode=listener", "--expose"),
        ("srt://0.0.0.0:9000?mode=rendezvous", "mode is caller or listener"),
        ("srt://127.0.0.1:9000?listen=1", "no option listen of srt; there are mode, latency, passphrase, streamid"),
        ("srt://127.0.0.1:9000?latency=fast", "latency is a number of milliseconds from 0 to 60000"),
        ("srt://127.0.0.1:9000?passphrase=short", "passphrase=...: passphrase has 10 to 79 characters"),
        (f"srt://127.0.0.1:9000?passphrase={80 * 'x'}", "passphrase has 10 to 79 characters"),
        ("srt://127.0.0.1:9000?streamid=", "streamid has 1 to 512 characters"),
        ("srt://me:secret@127.0.0.1:9000", "srt://...@127.0.0.1:9000: names and passwords are not checked"),
        ("srt://127.0.0.1", "host and port are missing"),
        ("v4l2:video0", "after v4l2: comes a device, as in v4l2:/dev/video0"),
        ("v4l2:/dev/video0?size=large", "size is WIDTHxHEIGHT"),
        ("v4l2:/dev/video0?rate=0", "rate is a number of pictures a second"),
        ("v4l2:/dev/video0?format=-y", "format is one that ffmpeg names"),
        ("v4l2:/dev/video0?gain=1", "no option gain of v4l2; there are size, rate, format"),
    ],
)
def test_what_is_no_input(text: str, complaint: str) -> None:
    with pytest.raises(MediaError, match=complaint):
        input_url(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tcp://127.0.0.1:9000", "readers come to the bridge"),
        ("http://127.0.0.1:9000/x", "readers come to the bridge; write http://127.0.0.1:9000/x\\?listen=1"),
        ("http://0.0.0.0:9000/x?listen=1", "--expose"),
        ("rtsp://127.0.0.1/x", "does not write to rtsp"),
        ("rtmp://127.0.0.1", "application and key are missing"),
        ("rtmp://127.0.0.1/live/key?listen=1", "publishes rtmp to a server, and is none"),
        ("srt://0.0.0.0:9000?mode=listener", "--expose"),
        ("v4l2:/dev/video0?size=1x1", "takes the pictures as they are; leave \\?size=1x1 out"),
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "srt://h:9?mode=listener&passphrase=open+sesame!&latency=9",
            "srt://h:9?mode=listener&passphrase=...&latency=9",
        ),
        ("srt://h:9?streamid=open+sesame!&passphrase=open+sesame!", "srt://h:9?streamid=...&passphrase=..."),
        ("rtsp://open:open+sesame!@h/x?channel=1", "rtsp://...@h/x?channel=1"),
    ],
)
def test_what_is_secret_is_not_shown(text: str, shown: str) -> None:
    url = input_url(text, expose=True)
    assert str(url) == shown
    assert "sesame" not in f"{url}{url!r}"
    assert "sesame" in url.address


def test_the_key_that_is_published_with_is_not_shown() -> None:
    url = output_url("rtmp://server/live/open_sesame?token=sesame")
    assert str(url) == "rtmp://server:1935/live/***"
    assert "sesame" not in str(url)
    assert url.address == "rtmp://server/live/open_sesame?token=sesame"


@pytest.mark.parametrize(
    "text", ["srt://sesame:1@h:9", "srt://h:9?passphrase=sesame", "srt://h:x?passphrase=sesame", "tcp://me:sesame@h:9"]
)
def test_what_is_secret_is_not_complained_of_aloud(text: str) -> None:
    with pytest.raises(MediaError) as caught:
        input_url(text)
    assert "sesame" not in str(caught.value)
