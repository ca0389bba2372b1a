import asyncio
from collections.abc import Iterator

import pytest

from agentrec.streaming.stream import map_concurrently


async def test_results_come_in_the_order_of_the_work() -> None:
    async def slow_first(number: int) -> int:
        await asyncio.sleep(0.02 / (number + 1))
        return number * number

    assert await map_concurrently(range(9), slow_first, 4) == [n * n for n in range(9)]


@pytest.mark.parametrize("concurrency", [1, 3, 50])
async def test_no_more_run_at_a_time_than_allowed(concurrency: int) -> None:
    running, most = 0, 0

    async def watched(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1

    await map_concurrently(range(20), watched, concurrency)
    assert most == min(concurrency, 20)


async def test_the_first_failure_ends_the_rest_and_is_raised() -> None:
    begun, ended = [], []

    async def fails_at_two(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.sleep(0.001 if number == 2 else 60)
            raise LookupError(f"number {number}")
        finally:
            ended.append(number)

    with pytest.raises(LookupError, match="number 2"):
        await asyncio.wait_for(map_concurrently(range(100), fails_at_two, 4), 20)
    # All that was begun was ended before the failure was raised, and nothing else was begun.
    assert sorted(begun) == sorted(ended) == [0, 1, 2, 3]


async def test_what_comes_next_is_decided_late() -> None:
    enough = False
    begun = []

    def until_enough() -> Iterator[int]:
        for number in range(1000):
            if enough:
                return
            yield number

    async def work(number: int) -> int:
        nonlocal enough
        begun.append(number)
        await asyncio.sleep(0)
        enough = number >= 5
        return number

    assert await map_concurrently(until_enough(), work, 2) == begun
    assert len(begun) < 10


async def test_cancelling_ends_every_piece_before_it_returns() -> None:
    ended = []

    async def endless(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.001)
            ended.append(number)

    task = asyncio.create_task(map_concurrently(range(10), endless, 3))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2]


async def test_each_piece_is_reported_once_it_is_done() -> None:
    reported = 0

    def report() -> None:
        nonlocal reported
        reported += 1

    async def work(number: int) -> int:
        assert reported <= number
        return number

    await map_concurrently(range(5), work, 1, report)
    assert reported == 5


async def test_no_work_is_no_result() -> None:
    async def never(_: int) -> None:
        raise AssertionError

    assert await map_concurrently([], never, 4) == []
