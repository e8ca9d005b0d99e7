"""Which device models compute on. torch is imported when it is asked for."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..proto.errors import Code, RefusedError

# There while the kernel has NVIDIA's driver loaded.
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def device_of(name: str) -> str:
    """What torch calls the device of this name; `auto`: a GPU if there is one. Raises RefusedError if it is absent."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(each for each in ("cuda", "mps", "cpu") if there[each])
    if not there[name]:
        here = ", ".join(each for each, is_there in there.items() if is_there)
        raise RefusedError(
            Code.UNKNOWN_ENGINE, f"there is no device {name!r} here, or torch cannot use it; there is {here}"
        )
    return name


@dataclass(frozen=True, slots=True)
class Seen:
    """What torch and ONNX Runtime see of a machine."""

    torch: str  # its version
    cuda: str | None  # the version of CUDA that torch was built for; None: for none
    devices: tuple[str, ...]  # that it can compute on, but the CPU
    names: tuple[str, ...]  # of the GPUs, with their memory
    onnxruntime: str  # its version and what it can run on; empty: it is not installed
    driver: bool  # whether a driver of NVIDIA's is loaded


def seen() -> Seen | None:
    """What is there to compute on; None: torch is not installed."""
    if find_spec("torch") is None:
        return None
    import torch

    devices = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())]
    each = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    properties = [torch.cuda.get_device_properties(number) for number in each]
    return Seen(
        torch=torch.__version__,
        cuda=torch.version.cuda,
        devices=tuple(name for name, is_there in devices if is_there),
        names=tuple(f"{gpu.name} ({gpu.total_memory / 1e9:.0f} GB)" for gpu in properties),
        onnxruntime=_onnxruntime(),
        driver=NVIDIA_DRIVER.exists(),
    )


def _onnxruntime() -> str:
    if find_spec("onnxruntime") is None:
        return ""
    import onnxruntime

    providers = ", ".join(each.removesuffix("ExecutionProvider") for each in onnxruntime.get_available_providers())
    return f"{onnxruntime.__version__} runs on {providers}"


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a GPU, bytes: what this process's torch has for tensors, what all processes take, and all of it."""

    device: str
    tensors: int
    taken: int
    total: int


def memory() -> list[Memory]:
    """Of each GPU, if torch computes on any in this process. It neither loads torch nor begins to use a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        found.append(Memory(f"cuda:{number}", torch.cuda.memory_allocated(number), total - free, total))
    return found
