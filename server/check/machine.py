"""Looks at the machine: its cores, its GPUs as the libraries see them, and FFmpeg."""

import shutil
from collections.abc import Iterator

import av

from ...engines.devices import Seen, seen
from ..coded import missing_codecs
from ..config import Settings
from ..cores import available, budget
from .findings import Finding, ok, warning, wrong

# Engines that compute with models: what they take on a CPU is worth a word.
WITH_MODELS = {"diffusion", "pdcnet"}


def cores(settings: Settings) -> Iterator[Finding]:
    """How many there are, and who gets them."""
    there = available()
    parts = budget(there, flow_threads=settings.flow_threads, painter_threads=settings.painter_threads)
    said = f"{there}; {parts.daemon} threads for flow, {parts.painter} for each painter"
    if max(parts.daemon, parts.painter) > there:
        yield warning("cores", f"{said}: more than there are", "smaller --flow-threads and --painter-threads")
    else:
        yield ok("cores", said)


def gpus(settings: Settings) -> Iterator[Finding]:
    """What torch and ONNX Runtime see; whoever has neither needs none."""
    found = seen()
    if found is None:
        yield ok("gpu", "not looked for: torch is not installed, and the engines that compute with it are not held")
        return
    said = "; ".join((_torch(found), *([f"onnxruntime {found.onnxruntime}"] if found.onnxruntime else [])))
    models = WITH_MODELS.intersection((*settings.painters, *settings.flows))
    if settings.device not in ("auto", "cpu", *found.devices):
        yield wrong(
            "gpu",
            f"device = {settings.device}, but {said}",
            _mend(found) if settings.device == "cuda" else "--device auto",
        )
    elif found.driver and "cuda" not in found.devices:
        yield warning("gpu", f"there is a driver of NVIDIA's, but {said}", _mend(found))
    elif models and not found.names:
        yield warning(
            "gpu", f"{said}: {' and '.join(sorted(models))} will compute on the CPU, which takes seconds a call"
        )
    else:
        yield ok("gpu", said)


def _torch(found: Seen) -> str:
    names = ", ".join(found.names) or "no GPU"
    return f"torch {found.torch} sees {names}"


def _mend(found: Seen) -> str:
    if found.cuda is None:
        return "this torch was built without CUDA: install one with it, see https://pytorch.org/get-started/locally"
    return f"torch was built for CUDA {found.cuda}: the driver may be too old for it, or /dev/nvidia* not be allowed"


def ffmpeg() -> Iterator[Finding]:
    """The libraries, which are needed, and the program, which pipes are made of."""
    said = f"FFmpeg {av.ffmpeg_version_info}, by PyAV {av.__version__}"
    missing = missing_codecs()
    if missing:
        text = f"{said}, lacks {', '.join(missing)}: films of these kinds cannot be taken in or sent out"
        yield warning("ffmpeg", text, "pip install --force-reinstall av")
    program = shutil.which("ffmpeg")
    if program is None:
        yield ok("ffmpeg", f"{said}; there is no program `ffmpeg`, which only pipes need", "apt-get install ffmpeg")
    elif not missing:
        yield ok("ffmpeg", f"{said}; the program is {program}")
