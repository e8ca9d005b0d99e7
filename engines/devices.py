"""Which device models compute on. torch is imported when it is asked for."""

from ..proto.errors import Code, RefusedError


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
