import threading
import time
from collections.abc import Iterator

import pytest

from warpaint.engines import workers


@pytest.fixture(params=[1, 2, 4])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    workers.use(request.param)
    yield request.param
    workers.use(1)


def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert workers.each(slow_first, range(20)) == [number * number for number in range(20)]
    assert workers.each(slow_first, []) == []


def test_the_work_is_shared(threads: int) -> None:
    meeting = threading.Barrier(threads)
    workers.each(lambda _: meeting.wait(10), range(threads))  # passes only if all are there at once


def test_what_is_raised_reaches_the_caller(threads: int) -> None:
    def fails(number: int) -> None:
        if number == 5:
            raise ValueError("five")

    with pytest.raises(ValueError, match="five"):
        workers.each(fails, range(8))


def test_work_within_work_does_not_wait_for_itself(threads: int) -> None:
    def inner(number: int) -> int:
        return sum(workers.each(lambda each: each, range(number)))

    assert workers.each(inner, range(12)) == [sum(range(number)) for number in range(12)]


def test_what_is_begun_is_done_when_it_is_asked_for(threads: int) -> None:
    results = [workers.begin(lambda number: number * number, number) for number in range(5)]
    assert [result() for result in results] == [0, 1, 4, 9, 16]


def test_what_is_begun_while_all_are_busy_is_done_by_who_asks(threads: int) -> None:
    asked, release = threading.Event(), threading.Event()
    busy = [workers.begin(lambda _: asked.wait(10) and release.wait(10), number) for number in range(threads - 1)]
    waiting = workers.begin(lambda number: number + 1, 1)
    asked.set()
    assert waiting() == 2
    release.set()
    for result in busy:
        assert result()
