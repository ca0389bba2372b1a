"""Telling from one process to another how far a part is, by a file that both can reach."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar, cast

from agentrec.batch.budget_split import TO_END, PartitionEnd
from agentrec.batch.partitions import Partition
from agentrec.batch.progress import Standing
from agentrec.batch.worker import PartitionTask, PartitionWorker
from agentrec.errors import InputError

if TYPE_CHECKING:
    import numpy as np


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


Made = TypeVar("Made")

_STOP = "stop"
_LOOK = 0.2
"""Seconds between two looks whether to stop."""


class PartitionActor:
    """Works on parts that Ray Data hands to it, one at a time, and stays open between them.

    Args:
        stop: A file that is there when it is to stop; where all machines see it.
    """

    def __init__(self, stop: Path) -> None:
        self._stop = stop
        self._worker = PartitionWorker()

    async def __call__(
        self, batch: Mapping[str, np.ndarray[Any, Any]]
    ) -> AsyncGenerator[dict[str, list[str]], None]:
        """Work on the parts of a block, and say how that ended."""
        for told in batch["task"]:
            end = await self._work_on(PartitionTask.model_validate_json(told))
            yield {"end": [end.model_dump_json()]}

    async def _work_on(self, task: PartitionTask) -> PartitionEnd:
        stop = asyncio.create_task(self._stopped())
        try:
            return await work_until(self._worker, task, stop)
        finally:
            stop.cancel()

    async def _stopped(self) -> None:
        # No event reaches from one machine to another.
        while True:
            if await asyncio.to_thread(self._stop.exists):
                return
            await asyncio.sleep(_LOOK)


class RayActors:
    """Works on parts of a batch by Ray actors.

    The cluster is the one that this process is connected to, or that of ``RAY_ADDRESS``, or one of
    this machine that ends with the batch. All machines see the batch's folder, the run and the file
    of sessions under the same paths. A part whose actor dies is given to another one, however often
    that happens.

    Args:
        workers: How many actors, at least 1.
        batch: The batch's folder.

    Raises:
        InputError: If Ray is not installed.
    """

    def __init__(self, workers: int, batch: Path) -> None:
        if find_spec("ray") is None:
            raise InputError("ray is not installed; `pip install 'agentrec[ray]'`", field="engine")
        self._workers = workers
        self._stop = batch / _STOP
        self._follower = Follower()
        self._is_ours = False

    async def run(self, tasks: Sequence[PartitionTask]) -> list[Partition]:
        """Work on parts, so many at a time; see ``BatchEngine.run``."""
        await self._follower.begin(tasks)
        await asyncio.to_thread(lambda: self._stop.unlink(missing_ok=True))
        working = _in_thread(lambda: self._run(tasks))
        try:
            ends = await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.to_thread(self._stop.touch)
            await asyncio.wait({working}, timeout=_LOOK + TO_END)
            raise
        finally:
            if self._is_ours:
                with suppress(TimeoutError):
                    async with asyncio.timeout(TO_END):
                        await _in_thread(_shutdown)
            await asyncio.to_thread(lambda: self._stop.unlink(missing_ok=True))
        if failed := next(filter(_is_failure, ends), None):
            raise failed.error()
        return [end.partition for end in ends if end.is_out_of_money]

    async def standing(self) -> Standing:
        """What this attempt came to up to now."""
        return await self._follower.standing()

    def _run(self, tasks: Sequence[PartitionTask]) -> list[PartitionEnd]:
        """Have Ray do it; blocks."""
        _set_up()
        import ray
        import ray.data

        workers = min(self._workers, len(tasks))
        if not ray.is_initialized():
            self._is_ours = True
            ray.init(
                num_cpus=None if "RAY_ADDRESS" in os.environ else workers + 1,
                include_dashboard=False if "RAY_ADDRESS" not in os.environ else None,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # It sets its own level when it is imported.
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        told = [{"task": task.model_dump_json()} for task in tasks]
        rows = ray.data.from_items(told, override_num_blocks=len(told)).map_batches(
            PartitionActor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            fn_constructor_args=(self._stop,),
            num_cpus=1,
        )
        ends = []
        for row in rows.iter_rows():
            ends.append(PartitionEnd.model_validate_json(row["end"]))
            if _is_failure(ends[-1]):
                self._stop.touch()
        return ends


def _is_failure(end: PartitionEnd) -> bool:
    return end.kind not in ("done", "stopped") and not end.is_out_of_money


def _in_thread(do: Callable[[], Made]) -> asyncio.Future[Made]:
    """Do something that blocks in a thread that nobody has to wait for: Ray's calls may hang."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Made] = loop.create_future()

    def settle(result: Made | None, error: Exception | None) -> None:
        if made.done():
            return
        if error is not None:
            made.set_exception(error)
        else:
            made.set_result(cast("Made", result))

    def run() -> None:
        result, failure = None, None
        try:
            result = do()
        except Exception as error:
            failure = error
        # The loop is closed where nobody waited.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    Thread(target=run, name="ray", daemon=True).start()
    return made


def _set_up() -> None:
    """Have Ray say what went wrong and nothing else, and end soon; before it is imported."""
    # Nothing is sent to Ray's makers that nobody asked for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # At its end it tries for five seconds to tell what was done to a service that has ended.
    os.environ.setdefault("RAY_task_events_shutdown_flush_timeout_ms", "200")
    logging.getLogger("ray").setLevel(logging.ERROR)


def _shutdown() -> None:
    import ray

    ray.shutdown()
