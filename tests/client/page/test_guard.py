"""Who may ask the page for something."""

import pytest

from warpaint.client.page.guard import Guard, Request

HERE = {"host": "127.0.0.1:7700"}
TOKEN = "a-token-of-some-length"


OPEN = Guard()


def status(headers: dict[str, str], guard: Guard = OPEN, offered: tuple[str, ...] = ()) -> int:
    refusal = guard.refusal(Request(headers, offered))
    return 200 if refusal is None else refusal[0]


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7700", "localhost:7700", "LOCALHOST", "[::1]:7700", "192.168.1.4:7700", "[fe80::1]:80"]
)
def test_addresses_and_localhost_are_ours(host: str) -> None:
    assert status({"host": host}) == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:7700",
        "127.0.0.1.evil.example",
        "localhost.",
        "a@127.0.0.1",
        "127.0.0.1:x",
        "[::1",
    ],
)
def test_other_names_are_not(host: str) -> None:
    assert status({"host": host}) == 421


def test_a_name_can_be_allowed() -> None:
    guard = Guard(frozenset({"studio.lan"}))
    assert status({"host": "Studio.LAN:7700"}, guard) == 200
    assert status({"host": "evil.studio.lan:7700"}, guard) == 421


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:7700", 200),
        ("https://127.0.0.1:7700", 200),  # a proxy that speaks TLS
        ("http://127.0.0.1:7701", 403),
        ("http://localhost:7700", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("file://127.0.0.1:7700", 403),
    ],
)
def test_only_our_own_page_may_ask(origin: str, expected: int) -> None:
    assert status(HERE | {"origin": origin}) == expected


@pytest.mark.parametrize(
    ("fetch", "expected"),
    [
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "websocket"}, 403),
    ],
)
def test_another_page_may_only_lead_here(fetch: dict[str, str], expected: int) -> None:
    assert status(HERE | fetch) == expected


@pytest.mark.parametrize(
    ("offered", "expected"),
    [((), 401), (("",), 401), (("another",), 401), (("another", TOKEN), 200), ((TOKEN + "x",), 401)],
)
def test_off_this_machine_a_token_is_asked_for(offered: tuple[str, ...], expected: int) -> None:
    assert status(HERE, Guard(token=TOKEN), offered) == expected


def test_what_is_no_text_is_no_token() -> None:
    assert status(HERE, Guard(token=TOKEN), ("\udcff\u00fc",)) == 401
