"""Telling from one process to another how far a part is, by a file that both can reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from agentrec.app.batch.engine import PartitionEnd
from agentrec.app.batch.partition_work import PartitionTask, PartitionWorker
from agentrec.app.batch.standing import Standing

_EVERY = 0.5
"""Seconds between two of its messages."""


async def work_until(
    worker: PartitionWorker, task: PartitionTask, stop: asyncio.Task[Any]
) -> PartitionEnd:
    """Work on a part, tell how far that is, and say how it ended whatever happens.

    Args:
        worker: Who works on it.
        task: The part.
        stop: The work is stopped when this is done.
    """
    async with _telling(worker, task):
        work = asyncio.create_task(_end_of(worker, task))
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        await asyncio.wait({work})
    if work.cancelled():
        return PartitionEnd(partition=task.partition, kind="stopped")
    return work.result()


class Follower:
    """Adds up what processes tell of the parts that they work on."""

    def __init__(self) -> None:
        self._tasks: Sequence[PartitionTask] = ()

    async def begin(self, tasks: Sequence[PartitionTask]) -> None:
        """Follow these parts; only the first call does something, and forgets earlier attempts."""
        if self._tasks:
            return

        def forget() -> None:
            for task in tasks:
                task.standing.unlink(missing_ok=True)

        await asyncio.to_thread(forget)
        self._tasks = tasks

    async def standing(self) -> Standing:
        """How far all of them are."""

        def load() -> Standing:
            return sum((Standing.load(task.standing) for task in self._tasks), Standing())

        return await asyncio.to_thread(load)


async def _end_of(worker: PartitionWorker, task: PartitionTask) -> PartitionEnd:
    try:
        await worker.work(task)
    except Exception as error:
        return PartitionEnd.failed(task.partition, error)
    return PartitionEnd(partition=task.partition)


@asynccontextmanager
async def _telling(worker: PartitionWorker, task: PartitionTask) -> AsyncIterator[None]:
    """Tell how far a worker is, as long as the block lasts and at its end."""
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
