"""What is installed: the package whole, and nothing beside it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from warpaint import __version__

ROOT = Path(__file__).parents[1]
FOLDERS = ("client", "engines", "proto", "server")
DIST_INFO = f"warpaint-{__version__}.dist-info"
SD1 = ROOT / "engines" / "painters" / "diffusion" / "weights" / "sd1"
BUILT_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy of what git would hold, since a build leaves files in its source."""
    copy, built = tmp_path_factory.mktemp("copy") / "any-name", tmp_path_factory.mktemp("built")
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", *(each.rstrip("/") for each in ignored)))
    pip("wheel", str(copy), "--no-build-isolation", "--wheel-dir", str(built))
    (found,) = built.iterdir()
    return found


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh folder with the wheel in it."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", str(wheel), "--target", str(folder))
    return folder


def pip(command: str, *arguments: str) -> None:
    """Runs pip, which needs no network for this."""
    offline = ("--quiet", "--no-deps", "--no-index", "--no-cache-dir", "--disable-pip-version-check")
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *offline, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILT_WITHIN_S,
    )
    assert done.returncode == 0, done.stdout


def python_files() -> set[str]:
    """The package's sources, by path from the root."""
    below = {file.relative_to(ROOT).as_posix() for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")}
    return {"__init__.py", *below}


# pyproject.toml


def test_the_list_of_packages_is_whole(project: dict[str, Any]) -> None:
    folders = {Path(file).parent for file in python_files()}
    names = {".".join(["warpaint", *folder.parts]) for folder in folders}
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(names)
    assert [folder for folder in folders if not (ROOT / folder / "__init__.py").is_file()] == []


def test_the_root_holds_no_other_python() -> None:
    assert [file.name for file in ROOT.glob("*.py")] == ["__init__.py"]
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages == set(FOLDERS)


def test_each_pattern_of_data_matches(project: dict[str, Any]) -> None:
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        folder = ROOT.joinpath(*package.split(".")[1:])
        assert [pattern for pattern in patterns if not list(folder.glob(pattern))] == [], package


# The wheel


def test_the_wheel_holds_the_package_and_nothing_else(contents: set[str]) -> None:
    assert {name.partition("/")[0] for name in contents} == {"warpaint", DIST_INFO}
    sources = {name.removeprefix("warpaint/") for name in contents if name.endswith(".py")}
    assert sources == python_files()


def test_the_wheel_holds_types_and_data(contents: set[str]) -> None:
    vectors = {f"proto/vectors/{file.name}" for file in (ROOT / "proto" / "vectors").glob("*.json")}
    sd1 = {each.relative_to(ROOT).as_posix() for each in SD1.rglob("*") if each.is_file()}
    data = {name.removeprefix("warpaint/") for name in contents if name[-3:] != ".py" and DIST_INFO not in name}
    page = {f"client/page/static/{file.name}" for file in (ROOT / "client" / "page" / "static").iterdir()}
    alone = {"py.typed", "client/compare/page.html", "proto/SPEC.md", "proto/schema.json"}
    assert data == {*alone, *vectors, *sd1, *page}
    assert {f"client/page/static/{name}" for name in ("index.html", "app.js", "style.css", "icons.svg")} <= page
    assert len(vectors) >= 2
    assert {SD1 / "NOTICE", SD1 / "tokenizer" / "merges.txt.gz"} <= set(SD1.rglob("*"))


def test_the_wheel_says_what_it_is(wheel: Path, project: dict[str, Any]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        scripts, top, licence, metadata = (
            archive.read(f"{DIST_INFO}/{name}").decode()
            for name in ("entry_points.txt", "top_level.txt", "licenses/LICENSE", "METADATA")
        )
    parsed = ConfigParser()
    parsed.read_string(scripts)
    assert dict(parsed["console_scripts"]) == project["project"]["scripts"]
    assert top.split() == ["warpaint"]
    assert licence == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert (ROOT / "README.md").read_text(encoding="utf-8").strip() in metadata


# Installed


def test_the_version_is_found_without_any_other_package(installed: Path) -> None:
    # -S and -I: neither site-packages, where the checkout may be installed, nor the folder that we are in.
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); import warpaint; print(warpaint.__version__)"
    done = subprocess.run([sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{__version__}\n", "")


@pytest.mark.parametrize("command", ["warpaint", "warpaintd"])
def test_a_command_starts_where_it_is_installed(installed: Path, tmp_path: Path, command: str) -> None:
    script, environment = installed / "bin" / command, os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [script, "--version"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (f"{command} {__version__}\n", "")


# The change log


def test_the_newest_heading_of_the_change_log_is_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", text, re.MULTILINE)
    assert newest, "CHANGELOG.md has no heading"
    assert newest[1] == __version__
