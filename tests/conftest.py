"""Fixtures that several tests share."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import imageio_ffmpeg
import pytest

from support.daemon import Daemon, daemon

if TYPE_CHECKING:
    from support.tiny_sd import Tiny


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
