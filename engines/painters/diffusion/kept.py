"""What is kept between paintings on the device, within a budget of bytes: the least recently used goes first."""

from collections.abc import Hashable
from typing import Any

from cachetools import LRUCache


class Kept:
    """A cache of tensors. What is larger than the whole budget is not kept, and nothing is lost but time."""

    def __init__(self, most_bytes: int) -> None:
        self._cache: LRUCache[Hashable, tuple[Any, int]] = LRUCache(most_bytes, getsizeof=lambda entry: entry[1])

    @property
    def most_bytes(self) -> int:
        """The budget."""
        return int(self._cache.maxsize)

    @property
    def nbytes(self) -> int:
        """What is kept now, bytes."""
        return int(self._cache.currsize)

    def get(self, key: Hashable) -> Any:
        """What was kept under the key; None: nothing, or no more."""
        return self._cache.get(key, (None, 0))[0]

    def put(self, key: Hashable, value: Any, nbytes: int) -> None:
        """Keeps a value of so many bytes, if there is room for it at all."""
        if nbytes <= self._cache.maxsize:
            self._cache[key] = (value, nbytes)

    def clear(self) -> None:
        """Lets go of everything: the device is short of memory."""
        self._cache.clear()
