"""Threads of this process that share work on one frame: OpenCV lets go of the interpreter's lock while it computes.

Work is cut where its parts do not touch, so the result is the same bits with any number of threads. That is better
than OpenCV's own threads for the small grids of live flow, which it cuts too fine: it is then to use one.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

_pool: ThreadPoolExecutor | None = None
_threads = 1


def use(threads: int) -> None:
    """Works with so many threads from now on, the caller's among them."""
    global _pool, _threads
    if _pool is not None:
        _pool.shutdown()
    _threads = threads
    _pool = ThreadPoolExecutor(threads - 1, "worker") if threads > 1 else None


def count() -> int:
    """How many parts of work are worth making: one a thread."""
    return _threads


def begin(function: Callable[[A], B], item: A) -> Callable[[], B]:
    """Has the function computed meanwhile, if a thread is free; what is given waits for its result."""
    pool = _pool
    if pool is None:
        return lambda: function(item)
    begun = pool.submit(function, item)
    return lambda: function(item) if begun.cancel() else begun.result()


def each(function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """The function's results for the items, in order. The caller takes its part, or all if no thread is free."""
    pool = _pool
    if pool is None or len(items) < 2:
        return [function(item) for item in items]
    results: dict[int, B] = {}
    left = iter(range(len(items)))  # taking the next one is a single step of the interpreter

    def work() -> None:
        for number in left:
            results[number] = function(items[number])

    helpers = [pool.submit(work) for _ in range(min(_threads, len(items)) - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():  # it has begun, so it is not waiting for a thread that waits for us
            helper.result()
    return [results[number] for number in range(len(items))]
