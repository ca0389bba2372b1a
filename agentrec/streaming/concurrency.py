"""Doing the same for many, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


async def map_concurrently(
    work: Iterable[Work],
    do: Callable[[Work], Awaitable[Result]],
    concurrency: int,
    on_done: Callable[[], None] | None = None,
) -> list[Result]:
    """Await ``do`` for every piece of work.

    Pieces are taken up in order, so with an iterator that decides late what comes next, what
    was not needed is never started.

    Args:
        work: The pieces.
        do: What to do with one.
        concurrency: Most pieces at a time, at least 1.
        on_done: Called after each piece.

    Returns:
        The results in the order of the pieces.

    Raises:
        Exception: The first failure; the other pieces are cancelled and awaited first.
    """
    pieces = iter(enumerate(work))
    results: dict[int, Result] = {}

    async def worker() -> None:
        for place, piece in pieces:
            results[place] = await do(piece)
            if on_done is not None:
                on_done()

    tasks = [asyncio.create_task(worker()) for _ in range(max(1, concurrency))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[place] for place in sorted(results)]
