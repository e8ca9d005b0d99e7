"""The tables of the settings file that become command lines of clients."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from warpaint.server import tables
from warpaint.server.config import Settings, default_file, load_settings, parser

ENDS: dict[str, Any] = {"in": "udp://127.0.0.1:1", "out": "udp://127.0.0.1:2"}


def from_file(folder: Path, text: str, *flags: str) -> Settings:
    (file := folder / "warpaint.toml").write_text(text, encoding="utf-8")
    return load_settings(["--config", str(file), *flags], parser())


def test_tables_become_command_lines(tmp_path: Path) -> None:
    settings = from_file(
        tmp_path,
        'painters = ["identity"]\n'
        '[[bridge]]\nname = "camera"\nin = "--a"\nout = "b"\nlook = "ink"\nout_format = "nut"\nmax-delay-ms = 40.5\n'
        'crf = 20\nattend_last = false\nexpose = true\nloras = ["a:0.5", "b"]\nprompt = "- a, b"\n'
        '[[bridge]]\nin = "c"\nout = "d"\n'
        "[page]\nport = 7700\n",
    )
    camera, second, page = settings.programs
    flags = ["--look=ink", "--out-format=nut", "--max-delay-ms=40.5", "--crf=20", "--no-attend-last", "--expose"]
    flags += ["--loras=a:0.5", "--loras=b", "--prompt=- a, b"]
    assert camera.arguments("ipc:///run/w") == [
        "bridge",
        "--daemon=ipc:///run/w",
        "--linger-s=0",
        *flags,
        "--",
        "--a",
        "b",
    ]
    assert second.arguments() == ["bridge", "--linger-s=0", "--", "c", "d"]
    assert page.arguments() == ["page", "--port=7700"]
    assert [str(each) for each in settings.programs] == ["bridge camera", "bridge-2", "page"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"out": "a"}, "the bridge 'bridge-1' has no in: where it reads"),
        ({"in": "a", "name": "x"}, "the bridge 'x' has no out: where it writes"),
        ({**ENDS, "in": "-"}, "in cannot be -, as it has no standard input"),
        ({**ENDS, "out": 7}, "out is a URL or a path, not 7"),
        ({**ENDS, "out": ""}, "out is a URL or a path, not ''"),
        ({**ENDS, "name": 7}, "the name of a bridge is a text of 1 to 60 characters in one line, not 7"),
        ({**ENDS, "name": "a\nb"}, "in one line"),
        ({**ENDS, "name": "a" * 61}, "1 to 60 characters"),
        ({**ENDS, "daemon": "ipc:///x"}, "cannot have daemon: it is a client of this daemon"),
        ({**ENDS, "probe": True}, "cannot have probe: it would end at once"),
        ({**ENDS, "out_format": "nut", "out-format": "nut"}, "has out-format twice, once with - and once with _"),
        ({**ENDS, "look ink": 1}, "'look ink' is not the name of a flag"),
        ({**ENDS, "look": {"a": 1}}, "look is a text, a number, true, false or a list of texts, not {'a': 1}"),
        ({**ENDS, "loras": [True]}, "loras is a text"),
        ({**ENDS, "prompt": "a\0b"}, "prompt is a text"),
    ],
)
def test_what_cannot_be_is_one_sentence(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        tables.bridges([table])


@pytest.mark.parametrize("names", [("a", "a"), ("bridge-2", None)])
def test_no_two_bridges_have_one_name(names: tuple[str, str | None]) -> None:
    with pytest.raises(ValueError, match=f"2 bridges have the name '{names[0]}': each needs one of its own"):
        tables.bridges([ENDS if name is None else {**ENDS, "name": name} for name in names])


def test_a_setting_says_where_it_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="the bridge 'bridge-1' has no out"):
        from_file(tmp_path, '[[bridge]]\nin = "a"\n')
    with pytest.raises(ValidationError, match=r"bridges are tables \[\[bridge\]\] of the settings file"):
        from_file(tmp_path, '[bridge]\nin = "a"\n')
    with pytest.raises(ValidationError, match=r"the page is a table \[page\] of the settings file"):
        from_file(tmp_path, "page = 7700\n")
    with pytest.raises(ValidationError, match="the page cannot have daemon"):
        from_file(tmp_path, '[page]\ndaemon = "ipc:///x"\n')


def test_tables_are_in_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Settings().programs == ()
    with pytest.raises(SystemExit):
        load_settings(["--bridge", "x"], parser())
    assert "unrecognized arguments: --bridge" in capsys.readouterr().err
    monkeypatch.setenv("WARPAINT_BRIDGE", "x")
    with pytest.raises(ValidationError, match=r"tables \[\[bridge\]\] of the settings file"):
        load_settings([], parser())


def test_tables_can_be_added_to_the_printed_defaults(tmp_path: Path) -> None:
    text = default_file() + '[[bridge]]\nin = "a"\nout = "b"\n[page]\n'
    assert [str(each) for each in from_file(tmp_path, text).programs] == ["bridge-1", "page"]
