from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from agentrec.runs.in_order import in_order


async def test_results_come_in_order_and_no_more_are_begun_than_fit() -> None:
    begun: list[int] = []
    most = running = 0

    async def work(piece: int) -> int:
        nonlocal most, running
        begun.append(piece)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002 if piece % 3 == 0 else 0)
        running -= 1
        return piece

    seen = []
    async for made in in_order(range(40), work, 3):
        seen.append(made)
        assert len(begun) <= made + 12
    assert seen == list(range(40))
    assert most == 3


async def test_a_failure_ends_the_work_that_is_under_way() -> None:
    cancelled: list[int] = []

    async def work(piece: int) -> int:
        if piece == 2:
            raise ValueError("two")
        try:
            await asyncio.sleep(0 if piece < 2 else 60)
        except asyncio.CancelledError:
            cancelled.append(piece)
            raise
        return piece

    seen = []

    async def gather() -> None:
        async for made in in_order(range(8), work, 4):
            seen.append(made)

    with pytest.raises(ValueError, match="two"):
        await gather()
    assert seen == [0, 1]
    assert cancelled


async def test_who_stops_early_leaves_no_work_behind() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def work(piece: int) -> int:
        begun.append(piece)
        try:
            await asyncio.sleep(0 if piece < 2 else 60)
        finally:
            ended.append(piece)
        return piece

    async with aclosing(in_order(range(8), work, 4)) as results:
        async for made in results:
            if made == 1:
                break
    assert sorted(ended) == sorted(begun)
    assert len(begun) > 2


async def test_results_that_were_taken_are_let_go_and_pieces_taken_up_late() -> None:
    class Large:
        """Something that can be watched."""

    taken = 0
    alive: set[weakref.ref[Large]] = set()

    def pieces() -> Iterator[int]:
        nonlocal taken
        for piece in range(100):
            taken += 1
            yield piece

    async def work(_: int) -> Large:
        made = Large()
        alive.add(weakref.ref(made, alive.discard))
        return made

    most = count = 0
    async for _made in in_order(pieces(), work, 2):
        count += 1
        most = max(most, len(alive))
        assert taken <= count + 7
    assert count == 100
    # Twice four are begun, and one is in the hands of who asked.
    assert most <= 9


@pytest.mark.parametrize("concurrency", [0, 1, 5])
async def test_there_may_be_nothing_to_do(concurrency: int) -> None:
    async def work(piece: int) -> int:
        return piece

    assert [made async for made in in_order([], work, concurrency)] == []
    assert [made async for made in in_order([3], work, concurrency)] == [3]
