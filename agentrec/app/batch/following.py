"""Telling from one process to another how far a part is, by a file that both can reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from agentrec.app.batch.partition_work import PartitionTask, PartitionWorker
from agentrec.app.batch.standing import Standing

_EVERY = 0.5
"""Seconds between two of its messages."""


@asynccontextmanager
async def telling(worker: PartitionWorker, task: PartitionTask) -> AsyncIterator[None]:
    """Tell how far a worker is, as long as the block lasts and at its end.

    Args:
        worker: Who works on the part.
        task: The part.
    """
    before = await asyncio.to_thread(Standing.load, task.standing)

    async def save() -> None:
        standing = before.then(worker.standing())
        # A disk that is full is told by the log, which matters more.
        with suppress(OSError):
            await asyncio.to_thread(standing.save, task.standing)

    async def tell() -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await save()

    teller = asyncio.create_task(tell())
    try:
        yield
    finally:
        teller.cancel()
        await asyncio.gather(teller, return_exceptions=True)
        await save()


async def begin_to_follow(tasks: Sequence[PartitionTask]) -> None:
    """Forget what an earlier attempt told."""

    def forget() -> None:
        for task in tasks:
            task.standing.unlink(missing_ok=True)

    await asyncio.to_thread(forget)


async def followed(tasks: Sequence[PartitionTask]) -> Standing:
    """How far parts are all together."""

    def load() -> Standing:
        return sum((Standing.load(task.standing) for task in tasks), Standing())

    return await asyncio.to_thread(load)
