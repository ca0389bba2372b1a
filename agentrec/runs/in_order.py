"""Doing the same for many, and taking the results in order while others are being worked on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

Piece = TypeVar("Piece")
Made = TypeVar("Made")

_AHEAD = 4
"""How many times as many pieces are begun or done beyond the last result taken, as may be worked
on at a time: a slow one holds nobody up, and memory holds no more."""


async def in_order(
    pieces: Iterable[Piece], do: Callable[[Piece], Awaitable[Made]], concurrency: int
) -> AsyncGenerator[Made, None]:
    """Results in the order of the pieces, a bounded number of which is being worked on.

    Whoever may stop before the end closes it (``contextlib.aclosing``), for the work that is under
    way to end.

    Args:
        pieces: The pieces.
        do: What to do with one.
        concurrency: Most pieces at a time, at least 1.

    Raises:
        Exception: The first failure in the order of the pieces; the others are cancelled and
            awaited first.
    """
    places = asyncio.Semaphore(max(1, concurrency))

    async def work(piece: Piece) -> Made:
        async with places:
            return await do(piece)

    window = _AHEAD * max(1, concurrency)
    upcoming = iter(pieces)
    tasks: deque[asyncio.Task[Made]] = deque()
    try:
        while True:
            for piece in islice(upcoming, window - len(tasks)):
                tasks.append(asyncio.create_task(work(piece)))
            if not tasks:
                return
            # It leaves only when it is done: until then it is to be cancelled with the others.
            await asyncio.wait([tasks[0]])
            yield tasks.popleft().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
