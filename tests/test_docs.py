"""What the docs say is so: links lead somewhere, examples run, tables are current."""

import argparse
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from support.clips import frames
from support.daemon import Daemon, daemon
from warpaint.client import Client
from warpaint.client.flags import add_brief_flags
from warpaint.proto.address import default_address
from warpaint.server.config import load_settings, parser
from warpaint.server.dry_run import troubles

ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PAGES = [
    *WITH_EXAMPLES,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "proto/SPEC.md", "client/node/README.md")),
]
MAKE_CONFIGURATION = ROOT / "tests" / "make_configuration.py"

# What a block may be. Those that are run, and those that are only read.
RUN, READ = {"sh", "python"}, {"text", "console", "toml", "json"}
# Lines of sh that are not run: they change the machine, or need a network. CI runs the targets of make.
NOT_RUN = ("apt-get ", "sudo apt-get ", "cd warpaint", "git clone ", "make ", "pip install ", ".venv/bin/pip install ")
RUN_WITHIN_S = 60.0
# A daemon that a block has told to end is gone within this.
GONE_WITHIN_S = 15.0

_FENCE = re.compile(r"^( *)```(.*?)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(\s*([^)\s]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)\"", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is, its text, and the file and line where it begins."""

    info: str
    text: str
    place: str

    def __str__(self) -> str:
        return self.place


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(found[2].strip(), textwrap.dedent(found[3]), f"{name}:{text.count(chr(10), 0, found.start()) + 1}")
        for found in _FENCE.finditer(text)
    ]


def examples(info: str) -> list[Block]:
    return [block for page in WITH_EXAMPLES if page.is_file() for block in blocks(page) if block.info == info]


def sh_lines(block: Block) -> list[str]:
    """The commands of a block; one that is continued on the next line is one."""
    return block.text.replace("\\\n", " ").splitlines()


def is_run(line: str) -> bool:
    return not f"{line.strip()} ".startswith(NOT_RUN)


# Links


def links(page: Path) -> Iterator[str]:
    """The relative links of a page; what stands in code is none."""
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))
    for found in _LINK.finditer(text):
        target = found[1] or found[2] or found[3]
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?) *$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words).lower().replace(" ", "-")
        again = sum(each == name or re.fullmatch(rf"{re.escape(name)}-\d+", each) is not None for each in found)
        found.add(f"{name}-{again}" if again else name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    ignored = [each.rstrip("/") for each in (ROOT / ".gitignore").read_text(encoding="utf-8").split()]
    for link in links(page):
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        parts = target.relative_to(ROOT).parts
        assert not any(fnmatch(part, pattern) for part in parts for pattern in ignored), f"{link} is not in git"
        assert not heading or (target.suffix == ".md" and heading in anchors(target)), link


def test_pages_that_are_spoken_of_exist() -> None:
    """In sources and docs, `docs/...md` without a link."""
    sources = [path for folder in ("client", "engines", "proto", "server") for path in (ROOT / folder).rglob("*.py")]
    for path in [*PAGES, *sources, ROOT / "__init__.py"]:
        for named in re.findall(r"\b(?:docs|proto)/[\w./-]+\.md\b", path.read_text(encoding="utf-8")):
            assert (ROOT / named).is_file(), f"{path.name} speaks of {named}"


# Examples


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_block_says_what_it_is(page: Path) -> None:
    """A block of another kind would pass by the tests below."""
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks(page)), "a fence that is not closed"
    assert {block.place: block.info for block in blocks(page) if block.info not in RUN | READ} == {}


@pytest.fixture(scope="module")
def example_film(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with sound."""
    film = tmp_path_factory.mktemp("film") / "in.mp4"
    picture, sound = ("-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=2"), ("-f", "lavfi", "-i", "sine=d=2")
    coded = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac")
    subprocess.run([ffmpeg, "-v", "error", "-nostdin", *picture, *sound, *coded, film], check=True, timeout=60)
    return film


@pytest.fixture
def runtime() -> Iterator[Path]:
    """The user's runtime folder, whose name leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="wp") as folder:
        yield Path(folder)


@pytest.fixture
def desk(example_film: Path, ffmpeg: str, runtime: Path, tmp_path: Path) -> "Desk":
    """A folder with in.mp4 and the examples, where `warpaint` is installed and ffmpeg is there."""
    folder, programs = tmp_path / "desk", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (folder / "in.mp4").write_bytes(example_film.read_bytes())
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "examples").symlink_to(ROOT / "examples")
    (programs / "ffmpeg").symlink_to(ffmpeg)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WARPAINT_")}
    return Desk(folder, plain | {"PATH": path, "XDG_RUNTIME_DIR": str(runtime), "TMPDIR": str(runtime)})


@dataclass(frozen=True)
class Desk:
    """Where an example is run."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> None:
        """Runs a command, which must succeed and leave no process behind."""
        said = self.folder.with_name("said.txt")
        with said.open("w") as out:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(RUN_WITHIN_S)
                left = not gone(process.pid)
            finally:
                end(process.pid)
                process.wait()
        assert code == 0, said.read_text()
        assert not left, "it leaves a process behind"


def gone(group: int) -> bool:
    """Whether no process of the group is left; those that were told to end have some time to."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.mark.parametrize("block", [each for each in examples("sh") if any(map(is_run, sh_lines(each)))], ids=str)
def test_sh_runs(block: Block, desk: Desk) -> None:
    script = "\n".join(line for line in sh_lines(block) if is_run(line))
    desk.run("bash", "-e", "-u", "-o", "pipefail", "-c", script)


@pytest.mark.parametrize("block", examples("python"), ids=str)
def test_python_runs(block: Block, desk: Desk, shared_daemon: Daemon) -> None:
    """With a daemon where the client looks for one."""
    socket = Path(default_address(desk.environment, os.getuid()).removeprefix("ipc://"))
    socket.parent.mkdir()
    socket.symlink_to(shared_daemon.address.removeprefix("ipc://"))
    example = desk.folder / "example.py"
    example.write_text(block.text, encoding="utf-8")
    desk.run(sys.executable, "-W", "error", str(example))


def test_the_engines_of_the_docs_paint_real_footage_in_a_real_daemon(tmp_path: Path) -> None:
    """The painter of docs/painters.md, with the flow engine of docs/engines.md."""
    shown = {block.place.partition(":")[0]: block.text for block in examples("python")}
    (tmp_path / "mine.py").write_text(shown["docs/painters.md"], encoding="utf-8")
    (tmp_path / "still.py").write_text(shown["docs/engines.md"], encoding="utf-8")
    raw = list(frames("bikes", (320, 136), stop=6))
    flags = ("--painters", "mine:Negative", "--flows", "still:StandsStill")
    with (
        daemon(tmp_path, *flags, env={"PYTHONPATH": str(tmp_path)}) as running,
        Client(running.address) as client,
        client.session(look="negative", repaint_gap_s=0.0, hole_limit=1.0) as session,
    ):
        painted = list(session.paint(raw))
    np.testing.assert_array_equal(painted[0].image, 255 - raw[0])
    assert [each.info.keyframe for each in painted] == [True, *[False] * 5]
    for each, frame in zip(painted[1:], raw[1:], strict=True):
        assert 0.01 < each.info.holes < 1.0
        assert np.abs(each.image.astype(int) - (255 - frame)).mean() < 4  # half of what it takes for standing still


def test_targets_of_make_are_those_that_ci_runs() -> None:
    """Or `demo`, which stands for the commands that are run above."""
    in_ci = set(re.findall(r"^make (\S+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE))
    shown = [*examples("sh"), *examples("console")]
    lines = [line.split("#")[0].split() for block in shown for line in sh_lines(block)]
    assert {target for words in lines if words[:1] == ["make"] for target in words[1:]} <= in_ci | {"demo"}


# docs/configuration.md


def test_the_tables_of_the_configuration_are_current() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert text == runpy.run_path(str(MAKE_CONFIGURATION))["written"](), "run python tests/make_configuration.py"


def test_the_flags_of_the_settings_are_those_of_the_daemon() -> None:
    own = parser()
    general = flags(own)
    load_settings([], own)  # adds the rest
    assert told_flags("settings_table") == flags(own) - general


def test_the_flags_of_the_brief_are_those_of_warpaint_run() -> None:
    own = argparse.ArgumentParser()
    general = flags(own)
    add_brief_flags(own)
    assert told_flags("brief_table") == flags(own) - general


def is_settings(block: Block) -> bool:
    return block.place.startswith(("docs/configuration.md", "docs/operations.md"))


def flags(own: argparse.ArgumentParser) -> set[str]:
    return set(re.findall(r"(?<!\S)--[a-z-]+", own.format_help().replace("[", " ")))


def told_flags(table: str) -> set[str]:
    return set(re.findall(r"`(--[a-z-]+)`", runpy.run_path(str(MAKE_CONFIGURATION))[table]()))


@pytest.mark.parametrize("block", [each for each in examples("toml") if is_settings(each)], ids=str)
def test_settings_files_can_be_read(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "warpaint.toml"
    file.write_text(block.text, encoding="utf-8")
    settings = load_settings(["--config", str(file)], parser())
    assert troubles(settings.programs) == {}
