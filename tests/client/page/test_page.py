"""A real page before a real daemon, talked to as a browser's scripts would, and as they would not."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import av
import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from support.daemon import Daemon, daemon
from support.page import PageServer, page, start
from warpaint.client.aio import AsyncClient
from warpaint.client.images import Image

SIZE = 64, 48
# Everything that is waited for has come within this, seconds; it takes milliseconds, but machines are busy.
PATIENCE_S = 30.0
GAP_S = 0.02
WANT = {"type": "want", "codec": "jpeg", "pictures": ["raw", "painted"], "maps": []}
SOURCE = {"type": "open", "width": SIZE[0], "height": SIZE[1], "codec": "jpeg", "painter": "identity"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("d"), "--painters", "identity,filters", "--isolation", "thread") as made:
        yield made


@pytest.fixture(scope="module")
def served(running: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with page(tmp_path_factory.mktemp("p"), running.address) as made:
        yield made


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, PATIENCE_S))


def picture(level: int) -> Image:
    return np.full((SIZE[1], SIZE[0], 3), level, np.uint8)


def jpeg(level: int) -> bytes:
    done, coded = cv2.imencode(".jpg", picture(level))
    assert done
    return coded.tobytes()


@dataclass
class Film:
    """A live session that a program paints, and whose frames others see. level: what its pictures are filled with."""

    id: str
    level: int = 100


@asynccontextmanager
async def film(running: Daemon, painter: str = "identity", **brief: Any) -> AsyncIterator[Film]:
    async with AsyncClient(running.address) as client:
        session = client.session(painter=painter, pacing="live", **brief)
        await session.push(picture(100), 0)
        assert session.opened is not None
        made = Film(session.opened.id)

        async def push() -> None:
            for number in range(1, 100_000):
                await session.push(picture(made.level), 20 * number)
                async for _ in session.results(wait=False):
                    pass
                await asyncio.sleep(GAP_S)

        pushing = asyncio.create_task(push())
        try:
            yield made
        finally:
            pushing.cancel()
            await asyncio.wait([pushing])
            await session.close()


@dataclass
class Viewer:
    """A browser's side of a view."""

    socket: ClientWebSocketResponse
    texts: list[dict[str, Any]] = field(default_factory=list)
    acks: bool = True

    async def receive(self) -> "Shown | dict[str, Any]":
        message = await self.socket.receive()
        if message.type is WSMsgType.BINARY:
            shown = Shown.of(message.data)
            if self.acks:
                await self.socket.send_json({"type": "ack", "seq": shown.header["seq"]})
            return shown
        if message.type is not WSMsgType.TEXT:
            raise ConnectionError(f"{message.type.name} {self.socket.close_code} {message.extra}")
        text: dict[str, Any] = json.loads(message.data)
        self.texts.append(text)
        return text

    async def frame(self, wanted: Callable[["Shown"], bool] = lambda _: True) -> "Shown":
        while True:
            found = await self.receive()
            if isinstance(found, Shown) and wanted(found):
                return found

    async def text(self, kind: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        while True:
            found = await self.receive()
            if isinstance(found, dict) and found["type"] == kind and wanted(found):
                return found


@dataclass
class Shown:
    header: dict[str, Any]
    data: bytes

    @classmethod
    def of(cls, message: bytes) -> "Shown":
        [size] = struct.unpack_from("<I", message)
        return cls(json.loads(message[4 : 4 + size]), message[4 + size :])

    def tile(self, name: str) -> Image:
        image = cv2.imdecode(np.frombuffer(self.data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        [tile] = [each for each in self.header["tiles"] if each["name"] == name]
        x, y, width, height = (tile[key] for key in ("x", "y", "width", "height"))
        return np.asarray(image[y : y + height, x : x + width], np.uint8)


@asynccontextmanager
async def view(
    http: ClientSession, served: PageServer, session: str, want: dict[str, Any] = WANT
) -> AsyncIterator[Viewer]:
    async with http.ws_connect(f"{served.base}/api/view?session={session}", max_msg_size=2**24) as socket:
        await socket.send_json(want)
        yield Viewer(socket)


async def until_closed(viewer: Viewer) -> None:
    """Raises ConnectionError when the socket is closed, with the code."""
    while True:
        await viewer.receive()


async def ended(socket: ClientWebSocketResponse) -> tuple[int | None, str]:
    """The code and the reason that a socket is closed with."""
    while not socket.closed:
        message = await socket.receive()
        if message.type is WSMsgType.CLOSE:
            return message.data, str(message.extra)
    return socket.close_code, ""


# Seeing


def test_raw_and_painted_are_seen_together(running: Daemon, served: PageServer) -> None:
    async def work() -> None:
        async with (
            film(running, prompt="a harbour") as made,
            ClientSession() as http,
            view(http, served, made.id) as viewer,
        ):
            watching = await viewer.text("watching")
            assert (watching["width"], watching["height"], watching["painter"]) == (*SIZE, "identity")
            assert watching["brief"]["prompt"] == "a harbour"
            assert len(watching["brief"]) > 30  # all fields, not only those that were set
            made.level = 200
            shown = await viewer.frame(lambda each: each.tile("raw").mean() > 195)
            assert [tile["name"] for tile in shown.header["tiles"]] == ["raw", "painted"]
            assert shown.tile("painted").shape == (SIZE[1], SIZE[0], 3)
            assert {"seq", "index", "pts", "provenance", "holes", "delay_ms", "stages_ms", "sent_ms"} <= set(
                shown.header
            )

    run(work())


def test_h264_is_what_webcodecs_reads(running: Daemon, served: PageServer) -> None:
    async def work() -> None:
        async with (
            film(running) as made,
            ClientSession() as http,
            view(http, served, made.id, WANT | {"codec": "h264"}) as viewer,
        ):
            decoder = av.CodecContext.create("h264", "r")
            for number in range(5):
                shown = await viewer.frame()
                assert shown.header["coded_keyframe"] == (number == 0)
                assert shown.header["config"].startswith("avc1.42")
                [decoded] = decoder.decode(av.Packet(shown.data))
                assert (decoded.width, decoded.height) == (shown.header["width"], shown.header["height"])
            await viewer.socket.send_json({"type": "keyframe"})
            await viewer.frame(lambda each: each.header["coded_keyframe"])

    run(work())


def test_what_is_wanted_may_change(running: Daemon, served: PageServer) -> None:
    async def work() -> None:
        async with film(running) as made, ClientSession() as http, view(http, served, made.id) as viewer:
            await viewer.frame()
            maps = ["flow", "confidence", "hops", "holes"]
            await viewer.socket.send_json(WANT | {"pictures": ["painted"], "maps": maps, "max_width": 32})
            shown = await viewer.frame(lambda each: len(each.header["tiles"]) == 5)
            assert [tile["name"] for tile in shown.header["tiles"]] == ["painted", *maps]
            assert {tile["width"] for tile in shown.header["tiles"]} == {32}

    run(work())


def test_a_page_opened_twice_shows_twice_and_one_that_is_slow_holds_up_nobody(
    running: Daemon, served: PageServer
) -> None:
    async def work() -> None:
        async with (
            film(running) as made,
            ClientSession() as http,
            view(http, served, made.id) as slow,
            view(http, served, made.id) as quick,
        ):
            slow.acks = False
            for _ in range(10):
                await quick.frame()
            seen = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    while True:
                        await slow.frame()
                        seen += 1
            assert seen == 3
            await slow.socket.send_json({"type": "ack", "seq": 3})
            await slow.frame()

    run(work())


def test_a_still_is_the_picture_to_the_bit(running: Daemon, served: PageServer) -> None:
    async def work() -> None:
        async with film(running) as made, ClientSession() as http:
            url = f"{served.base}/api/still?session={made.id}&picture="
            for name in ("raw", "painted"):
                async with http.get(url + name) as response:
                    assert response.status == 200
                    assert f"{name}-" in response.headers["Content-Disposition"]
                    image = cv2.imdecode(np.frombuffer(await response.read(), np.uint8), cv2.IMREAD_COLOR)
                    assert np.array_equal(image, picture(100))
            for bad, status in ((url + "flow", 400), (f"{served.base}/api/still?session=nobody", 404)):
                async with http.get(bad) as response:
                    assert response.status == status
                    assert (await response.json())["error"]

    run(work())


def test_mjpeg_follows_the_newest_session(running: Daemon, served: PageServer) -> None:
    async def work() -> None:
        async with ClientSession() as http, http.get(f"{served.base}/mjpeg/latest?picture=raw&width=32") as response:
            assert response.content_type == "multipart/x-mixed-replace"
            parts = aiohttp.MultipartReader.from_response(response)
            for level in (60, 180):
                async with film(running) as made:
                    made.level = level
                    while True:
                        part = await parts.next()
                        assert isinstance(part, aiohttp.BodyPartReader)
                        image = cv2.imdecode(np.frombuffer(await part.read(), np.uint8), cv2.IMREAD_COLOR)
                        assert image is not None
                        assert image.shape == (24, 32, 3)
                        if abs(int(image.mean()) - level) < 3:
                            break

    run(work())


# Turning the knobs


def test_the_knobs_are_turned_and_their_effect_is_told(running: Daemon, served: PageServer) -> None:
    async def work() -> None:
        async with (
            film(running, "filters", look="strokes") as made,
            ClientSession() as http,
            view(http, served, made.id) as viewer,
            view(http, served, made.id) as other,
        ):
            assert (await viewer.text("watching"))["looks"][0] == "strokes"
            await viewer.socket.send_json({"type": "update", "request": 1, "changes": {"look": "pencil"}})
            assert (await viewer.text("updated"))["request"] == 1
            assert (await viewer.text("shown"))["index"] > 0
            await other.text("watching", lambda each: each["brief"]["look"] == "pencil")
            for request, changes in enumerate(({"look": "nothing"}, {"strength": 4}, {"nothing": 1}, {"seed": {}}), 2):
                await viewer.socket.send_json({"type": "update", "request": request, "changes": changes})
                refused = await viewer.text("refused")
                assert refused["request"] == request
                assert refused["message"]
            await viewer.socket.send_json({"type": "hold", "request": 9, "on": True})
            await viewer.text("watching", lambda each: each["holding"])
            await viewer.socket.send_json({"type": "rekey", "request": 10})
            await viewer.text("shown", lambda each: each["request"] == 10)

    run(work())


def test_a_flood_of_wishes_is_answered_one_by_one(running: Daemon, served: PageServer) -> None:
    async def work() -> None:
        async with (
            film(running) as made,
            ClientSession() as http,
            view(http, served, made.id) as flooding,
            view(http, served, made.id) as other,
        ):

            async def flood() -> None:
                for request in range(1, 3_001):
                    await flooding.socket.send_json(
                        {"type": "update", "request": request, "changes": {"seed": request}}
                    )

            sending = asyncio.create_task(flood())
            answered: set[int] = set()
            while len(answered) < 3_000:
                answer = await flooding.text("updated")
                answered.add(answer["request"])
                if len(answered) % 500 == 0:
                    await other.frame()
            await sending

    run(work())


# Sources


def test_what_the_browser_sends_becomes_a_session(served: PageServer) -> None:
    async def work() -> None:
        async with ClientSession() as http, http.ws_connect(f"{served.base}/api/source") as socket:
            await socket.send_json(SOURCE | {"name": "webcam", "rate": 25, "brief": {"prompt": "a harbour"}})
            opened = await socket.receive_json()
            assert opened["type"] == "opened"
            assert opened["credit"] > 0
            async with view(http, served, opened["id"]) as viewer:
                for number in range(40):
                    await socket.send_bytes(struct.pack("<d", 40.0 * number) + jpeg(150))
                    while (await socket.receive_json())["count"] <= number:
                        pass
                assert abs((await viewer.frame()).tile("raw").mean() - 150) < 3
                await socket.send_json({"type": "close"})
                assert "has ended" in (await viewer.text("closed"))["message"]

    run(work())


def test_a_coded_source_is_told_when_a_keyframe_is_needed(served: PageServer) -> None:
    async def work() -> None:
        async with ClientSession() as http, http.ws_connect(f"{served.base}/api/source") as socket:
            await socket.send_json(SOURCE | {"codec": "h264"})
            assert (await socket.receive_json())["type"] == "opened"
            await socket.send_bytes(struct.pack("<d", 0.0) + b"\0\0\0\1\x41" + bytes(100))
            while (await socket.receive_json())["type"] != "keyframe":
                pass

    run(work())


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"painter": "nobody"}, "holds no painter 'nobody'"),
        ({"brief": {"nothing": 1}}, "nothing"),
        ({"brief": {"look": "nothing"}}, "has no look 'nothing'"),
        ({"flow": "none"}, "pacing 'live' needs a flow"),
        ({"width": 16_000, "height": 16_000}, "pixels"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_words(served: PageServer, wish: dict[str, Any], why: str) -> None:
    async def work() -> None:
        async with ClientSession() as http, http.ws_connect(f"{served.base}/api/source") as socket:
            await socket.send_json(SOURCE | wish)
            answer = await socket.receive_json()
            assert answer["type"] == "refused"
            assert why in answer["message"]

    run(work())


# What no browser of ours says


@pytest.mark.parametrize(
    "said",
    [
        *("", "{", "[]", '"want"', "[" * 10_000, '{"type": "paint"}', '{"type": "want", "codec": "gif"}'),
        *('{"type": "want", "maps": ["x"]}', '{"type": "want", "secret": 1}', '{"type": "ack", "seq": 1}', b"\0\1"),
    ],
    ids=lambda said: repr(said)[:30],
)
def test_what_is_no_wish_closes_the_socket_with_a_sentence(
    running: Daemon, served: PageServer, said: str | bytes
) -> None:
    async def work() -> None:
        async with ClientSession() as http, http.ws_connect(f"{served.base}/api/view?session=any") as socket:
            await (socket.send_bytes(said) if isinstance(said, bytes) else socket.send_str(said))
            code, why = await ended(socket)
            assert (code, bool(why)) == (1008, True)

    run(work())


@pytest.mark.parametrize("said", ['{"type": "want", "maps": 1}', "garbage", b"\0", '{"type": "update", "request": -1}'])
def test_neither_does_it_end_anything_else_later(running: Daemon, served: PageServer, said: str | bytes) -> None:
    async def work() -> None:
        async with (
            film(running) as made,
            ClientSession() as http,
            view(http, served, made.id) as bad,
            view(http, served, made.id) as good,
        ):
            await bad.frame()
            await (bad.socket.send_bytes(said) if isinstance(said, bytes) else bad.socket.send_str(said))
            with pytest.raises(ConnectionError, match="1008"):
                await until_closed(bad)
            await good.frame()

    run(work())


@pytest.mark.parametrize("said", [b"", bytes(8), struct.pack("<d", float("nan")) + b"x", struct.pack("<d", -1) + b"x"])
def test_a_frame_that_is_none_closes_the_source(served: PageServer, said: bytes) -> None:
    async def work() -> None:
        async with ClientSession() as http, http.ws_connect(f"{served.base}/api/source") as socket:
            await socket.send_json(SOURCE)
            await socket.receive_json()
            await socket.send_bytes(said)
            assert (await ended(socket))[0] == 1008

    run(work())


def test_a_text_that_is_too_long_closes_the_socket(running: Daemon, served: PageServer) -> None:
    async def work() -> None:
        async with film(running) as made, ClientSession() as http, view(http, served, made.id) as viewer:
            await viewer.socket.send_str("x" * 70_000)
            with pytest.raises(ConnectionError, match="1009"):
                await until_closed(viewer)

    run(work())


def test_a_picture_that_is_none_costs_its_frame(served: PageServer) -> None:
    async def work() -> None:
        async with ClientSession() as http, http.ws_connect(f"{served.base}/api/source") as socket:
            await socket.send_json(SOURCE)
            await socket.receive_json()
            for number, data in enumerate((b"no JPEG", jpeg(100))):
                await socket.send_bytes(struct.pack("<d", 40.0 * number) + data)
            while (await socket.receive_json()) != {"type": "answered", "count": 2}:
                pass

    run(work())


def test_a_session_that_there_is_not_is_told(served: PageServer) -> None:
    async def work() -> None:
        async with ClientSession() as http, view(http, served, "nobody") as viewer:
            assert "there is no session 'nobody'" in (await viewer.text("closed"))["message"]

    run(work())


def test_there_are_no_more_sockets_than_may_be(served: PageServer) -> None:
    async def work() -> None:
        async with ClientSession() as http:
            url = f"{served.base}/api/source"
            sockets = [await http.ws_connect(url) for _ in range(4)]
            async with http.get(url) as response:
                assert response.status == 503
                assert "4 are open" in (await response.json())["error"]
            for each in sockets:
                await each.close()
            await (await http.ws_connect(url)).close()

    run(work())


@pytest.mark.parametrize("path", ["/api/view?session=x", "/api/source", "/mjpeg/latest", "/api/status", "/"])
@pytest.mark.parametrize(
    "foreign", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}], ids=["origin", "host"]
)
def test_another_page_gets_nothing(served: PageServer, path: str, foreign: dict[str, str]) -> None:
    async def work() -> None:
        async with ClientSession() as http, http.get(served.base + path, headers=foreign) as response:
            assert response.status in (403, 421)
            assert (await response.json())["error"]

    run(work())


def test_each_answer_says_what_the_browser_may_do_with_it(served: PageServer) -> None:
    async def work() -> None:
        async with ClientSession() as http:
            for path in ("/", "/api/status", "/api/controls", "/static/nothing.js"):
                async with http.get(served.base + path) as response:
                    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
                    assert response.headers["X-Content-Type-Options"] == "nosniff"

    run(work())


# Its life


def test_a_token_is_asked_for_and_does_not_stay_in_the_address(running: Daemon, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-some-length\n")

    async def work() -> None:
        jar = aiohttp.CookieJar(unsafe=True)  # of addresses too
        async with ClientSession() as stranger, ClientSession(cookie_jar=jar) as http:
            for path in ("/", "/api/status", "/api/source", "/static/index.html"):
                async with stranger.get(made.base + path) as response:
                    assert response.status == 401
            async with stranger.get(f"{made.base}/?token=wrong") as response:
                assert response.status == 401
            async with http.get(made.url) as response:
                assert (response.status, response.url.query_string) == (200, "")
            async with http.get(f"{made.base}/api/status") as response:
                assert response.status == 200
            async with stranger.get(f"{made.base}/api/status?token=a-token-of-some-length") as response:
                assert response.status == 200  # a player or OBS has no cookies
            bearer = {"Authorization": "Bearer a-token-of-some-length"}
            async with stranger.get(f"{made.base}/api/status", headers=bearer) as response:
                assert response.status == 200

    with page(tmp_path, running.address, "--token-file", str(token)) as made:
        run(work())


def test_a_daemon_that_is_gone_is_told_and_found_again(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/warpaint.sock"

    async def problem(http: ClientSession, made: PageServer) -> str | None:
        async with http.get(f"{made.base}/api/status") as response:
            words: dict[str, Any] = await response.json()
            found: str | None = words["problem"]
            return found

    async def work(made: PageServer, there: bool) -> None:
        async with ClientSession() as http:
            while bool(await problem(http, made)) == there:
                await asyncio.sleep(0.1)

    with page(tmp_path, address) as made:
        for _ in range(2):
            run(work(made, there=False))
            with daemon(tmp_path, "--painters", "identity", "--isolation", "thread"):
                run(work(made, there=True))


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--host", "0.0.0.0"], "others than this machine could reach the page"),
        (["--host", "nowhere.invalid", "--expose"], "nowhere.invalid:7700: "),
        (["--token-file", "/nowhere/token"], "the token cannot be read"),
        (["--port", "70000"], "70000"),
    ],
)
def test_what_cannot_be_served_is_told_in_a_sentence(tmp_path: Path, flags: list[str], why: str) -> None:
    log = tmp_path / "log"
    process = start(["--daemon", f"ipc://{tmp_path}/none.sock", *flags], log)
    assert process.wait(PATIENCE_S) == 1
    assert why in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_port_in_use_is_told(served: PageServer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    port = served.base.rpartition(":")[2]
    assert start(["--daemon", f"ipc://{tmp_path}/none.sock", "--port", port], log).wait(PATIENCE_S) == 1
    assert f"127.0.0.1:{port} cannot be listened to: Address already in use; another port: --port" in log.read_text()
