"""`warpaint --dry-run`: what is wrong with a command line, with nothing opened."""

import sys

import pytest

from warpaint.client import cli

ENDS = ("udp://127.0.0.1:1", "udp://127.0.0.1:2")


def code_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["warpaint", *arguments])
    try:
        cli.main()
    except SystemExit as error:
        return int(error.code or 0)
    return 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("bridge", "--look=ink", "--out-format=mpegts", "--no-expose", "--daemon=ipc:///none", "--", *ENDS),
        ("bridge", "--loras=a:0.5", "--loras=b", "/no/such/folder/in", "/no/such/folder/out"),
        ("run", "no-such-film.mp4", "out.mp4"),
        ("status",),
    ],
    ids=["addresses", "paths", "run", "status"],
)
def test_what_is_right_is_not_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert code_of(monkeypatch, "--dry-run", *arguments) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("code", "said", "arguments"),
    [
        (2, "unrecognized arguments: --lok=ink", ("--lok=ink", *ENDS)),
        (2, "unrecognized arguments: --loo=ink", ("--loo=ink", *ENDS)),
        (2, "argument --crf: invalid int value", ("--crf=x", *ENDS)),
        (1, "brief.strength", ("--strength=7", *ENDS)),
        (1, "the crf of h264", ("--crf=99", *ENDS)),
        (1, "rawvideo does not say its size", ("--in-format=rawvideo", *ENDS)),
        (1, "others than this machine could reach", ("udp://0.0.0.0:1", ENDS[1])),
        (1, "a bridge leads from IN to OUT", (ENDS[0],)),
    ],
    ids=["unknown", "begun", "type", "brief", "crf", "size", "exposed", "no end"],
)
def test_what_is_wrong_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    said: str,
    arguments: tuple[str, ...],
) -> None:
    assert code_of(monkeypatch, "--dry-run", "bridge", *arguments) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert said in last
