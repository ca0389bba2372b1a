from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from agentrec.streaming.stream import Outcome, UnfinishedError, stream


async def doubled(piece: int) -> int:
    await asyncio.sleep(0)
    return 2 * piece


async def counted(number: int) -> AsyncIterator[int]:
    for piece in range(number):
        await asyncio.sleep(0)
        yield piece


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("concurrency", [1, 3, 50])
async def test_every_piece_comes_out_once(asynchronous: bool, concurrency: int) -> None:
    pieces = counted(40) if asynchronous else range(40)
    found = [one async for one in stream(pieces, doubled, concurrency)]
    assert sorted((one.position, one.task, one.result) for one in found) == [
        (number, number, 2 * number) for number in range(40)
    ]
    assert all(one.seconds >= 0 for one in found)


async def test_nothing_comes_of_nothing() -> None:
    assert [one async for one in stream([], doubled, 3)] == []


async def test_so_many_are_worked_on_at_a_time_and_no_more() -> None:
    running = most = 0

    async def work(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    async for _ in stream(range(60), work, 7):
        pass
    assert most == 7


async def test_in_order_whichever_is_done_first() -> None:
    draw = random.Random(0)

    async def work(piece: int) -> int:
        for _ in range(draw.randrange(20)):
            await asyncio.sleep(0)
        return piece

    assert [one.result async for one in stream(range(100), work, 8, ordered=True)] == list(
        range(100)
    )


async def test_as_they_finish_a_slow_one_holds_nobody_up() -> None:
    gate = asyncio.Event()

    async def work(piece: int) -> int:
        if piece == 0:
            await gate.wait()
        return piece

    seen = []
    async for one in stream(range(8), work, 2):
        seen.append(one.position)
        if len(seen) == 7:
            gate.set()
    assert seen[-1] == 0
    assert sorted(seen) == list(range(8))


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_failure_stands_beside_the_others(ordered: bool) -> None:
    async def work(piece: int) -> int:
        await asyncio.sleep(0)
        if piece % 3 == 0:
            raise ValueError(f"piece {piece}")
        return piece

    found = [one async for one in stream(range(9), work, 4, ordered=ordered)]
    assert sorted(one.position for one in found if one.failure is not None) == [0, 3, 6]
    assert sorted(one.result for one in found if one.failure is None) == [1, 2, 4, 5, 7, 8]
    failed = next(one for one in found if one.position == 3)
    with pytest.raises(ValueError, match="piece 3"):
        _ = failed.result


async def test_what_is_not_taken_makes_no_room() -> None:
    taken = 0
    alive: set[weakref.ref[Large]] = set()

    class Large:
        """Something that can be watched."""

    def pieces() -> Iterator[int]:
        nonlocal taken
        for piece in range(1000):
            taken += 1
            yield piece

    async def work(_: int) -> Large:
        made = Large()
        alive.add(weakref.ref(made, alive.discard))
        return made

    count = most = 0
    async with aclosing(stream(pieces(), work, 2)) as outcomes:
        async for _outcome in outcomes:
            count += 1
            # The user is slow: all that may be done is done meanwhile.
            for _ in range(20):
                await asyncio.sleep(0)
            assert taken <= count + 2 * 4
            most = max(most, len(alive))
            if count == 100:
                break
    del _outcome
    gc.collect()
    # Twice four, and one in the hands of who asked.
    assert most <= 9


async def test_in_order_a_slow_first_one_bounds_what_is_begun() -> None:
    gate = asyncio.Event()
    begun: list[int] = []

    async def work(piece: int) -> int:
        begun.append(piece)
        if piece == 0:
            await gate.wait()
        return piece

    outcomes = stream(range(1000), work, 3, ordered=True)
    async with aclosing(outcomes):
        first = asyncio.create_task(anext(outcomes))
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(begun) == 3 * 4
        gate.set()
        assert (await first).position == 0


@pytest.mark.parametrize("ordered", [False, True])
async def test_who_stops_early_leaves_no_work_behind(ordered: bool) -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def work(piece: int) -> int:
        begun.append(piece)
        try:
            await asyncio.sleep(0 if piece < 2 else 60)
        finally:
            # Also what takes a moment to end has ended.
            await asyncio.shield(asyncio.sleep(0))
            ended.append(piece)
        return piece

    async with aclosing(stream(range(8), work, 4, ordered=ordered)) as outcomes:
        async for one in outcomes:
            if one.position == 1:
                break
    assert sorted(ended) == sorted(begun)
    assert len(begun) > 2


async def test_a_cancelled_caller_leaves_no_work_behind() -> None:
    ended = 0

    async def work(_: int) -> None:
        nonlocal ended
        try:
            await asyncio.sleep(60)
        finally:
            ended += 1

    async def caller() -> None:
        async with aclosing(stream(range(8), work, 4)) as outcomes:
            async for _ in outcomes:
                pass

    task = asyncio.create_task(caller())
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == 4


async def test_what_the_source_raises_comes_after_what_was_begun() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 0
        yield 1
        raise OSError("the disk is gone")

    seen: list[Outcome[int, int]] = []

    async def gather() -> None:
        async for one in stream(broken(), doubled, 3):
            seen.append(one)

    with pytest.raises(OSError, match="the disk is gone"):
        await gather()
    assert sorted(one.result for one in seen) == [0, 2]


async def test_a_piece_that_takes_too_long_fails_alone() -> None:
    async def work(piece: int) -> int:
        await asyncio.sleep(60 if piece == 2 else 0)
        return piece

    found = [one async for one in stream(range(5), work, 2, time_limit=0.05)]
    failures = {one.position: one.failure for one in found if one.failure is not None}
    assert list(failures) == [2]
    assert isinstance(failures[2], UnfinishedError)


async def test_a_timeout_of_the_work_itself_is_its_own_failure() -> None:
    async def work(_: int) -> None:
        raise TimeoutError("the endpoint is asleep")

    (one,) = [one async for one in stream([0], work, 1, time_limit=60)]
    assert str(one.failure) == "the endpoint is asleep"


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_after_the_deadline_nothing_is_begun(asynchronous: bool) -> None:
    async def work(piece: int) -> int:
        await asyncio.sleep(0 if piece < 3 else 60)
        return piece

    async def endless() -> AsyncIterator[int]:
        for piece in range(5):
            yield piece
        # As of a source that waits for its users.
        await asyncio.sleep(60)

    pieces = endless() if asynchronous else range(1000)
    found = [one async for one in stream(pieces, work, 4, deadline=0.1)]
    assert {one.position for one in found if one.failure is None} == {0, 1, 2}
    assert all(isinstance(one.failure, UnfinishedError) for one in found if one.position > 2)
    assert len(found) == (5 if asynchronous else 7)


async def test_what_was_cancelled_from_inside_is_a_failure_and_loses_nothing() -> None:
    async def work(piece: int) -> int:
        if piece == 1:
            inner = asyncio.create_task(asyncio.sleep(60))
            asyncio.get_running_loop().call_soon(inner.cancel)
            await inner
        return piece

    found = [one async for one in stream(range(4), work, 1, ordered=True)]
    assert [one.position for one in found] == [0, 1, 2, 3]
    assert isinstance(found[1].failure, UnfinishedError)


@pytest.mark.parametrize(
    ("concurrency", "options"),
    [(0, {}), (1, {"time_limit": 0.0}), (1, {"deadline": -1.0}), (1, {"time_limit": float("nan")})],
)
async def test_numbers_out_of_range(concurrency: int, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least|above"):
        await anext(stream([0], doubled, concurrency, **options))  # type: ignore[arg-type]
