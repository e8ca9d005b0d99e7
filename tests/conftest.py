"""Fixtures that several tests share."""

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import imageio_ffmpeg
import pytest

from support.daemon import Daemon, daemon

if TYPE_CHECKING:
    from support.pdc_exported import Exported
    from support.tiny_sd import Tiny


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was captured is made such that one process of pytest-xdist can tell it to another: half letters are not."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def _one_opencv_thread() -> None:
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with defaults for all tests that do it no harm."""
    with daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.fixture
def quick_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of the test's own, which drops silent clients soon."""
    with daemon(tmp_path, "--probe-s", "0.2", "--linger-s", "0") as running:
        yield running


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """The path of an ffmpeg program: the system's, or else the one that comes with imageio-ffmpeg."""
    return shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> "Tiny":
    """Tiny models of Stable Diffusion. Whoever does not ask for them does not wait for torch."""
    import torch

    from support.tiny_sd import tiny_models

    torch.set_num_threads(1)
    return tiny_models(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tagger that knows red from blue."""
    from support.tiny_tagger import write_tagger

    return write_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="session")
def pdc_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of made weights of PDCNet+. Torch is on one thread from here on, as with the tiny models."""
    import torch

    from support.pdc_weights import save_weights

    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("pdcnet") / "weights.safetensors"
    save_weights(path)
    return path


@pytest.fixture(scope="session")
def pdc_exported(pdc_file: Path, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> "Exported":
    """The graphs of those weights for pictures up to 256x256. They are shared: copy them before you change them.

    They take half a minute, and are kept beside what pytest keeps: graphs of another network are not found there.
    """
    from support.pdc_exported import export

    kept = export(pdc_file, pytestconfig.cache.mkdir("pdcnet"))
    return kept.copied(tmp_path_factory.mktemp("graphs") / "cache")


@pytest.fixture(scope="session")
def pdc_planned(pdc_exported: "Exported", tmp_path_factory: pytest.TempPathFactory) -> "Exported":
    """Those graphs, with plans for TensorRT for RTX."""
    from support.pdc_exported import planned

    return planned(pdc_exported.copied(tmp_path_factory.mktemp("plans") / "cache"))
