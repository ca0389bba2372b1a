"""A batch on several workers: Ray actors take partitions, and one that dies is replaced.

Source: https://docs.ray.io/en/latest/ray-core/actors/async_api.html (async actors).
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Event, Thread
from typing import Any

from agentrec.assembly import PATIENCE
from agentrec.batch.partitions import Partition
from agentrec.batch.progress import BatchProgress
from agentrec.batch.worker import PartitionTask, PartitionWorker
from agentrec.errors import AgentRecError, InputError, ModelCallError

_PROGRESS_SECONDS = 0.5
_STOP_SECONDS = PATIENCE + 0.5
"""Seconds that actors, and then Ray, have to stop."""
_EXPORT_SECONDS = 10.0
"""Seconds that an actor has to end after its work: it may have telemetry to export."""
_MAX_DEATHS = 3
"""How often in a row an actor may die on a partition without finishing a session."""


class WorkerError(AgentRecError):
    """A worker failed for a reason that is not in the input."""


@dataclass(frozen=True)
class PartitionOutcome:
    """How the work on a partition ended, sent from an actor to the engine.

    Attributes:
        progress: What the actor did.
        error: What it failed with; ``None`` if it did not.
    """

    progress: BatchProgress
    error: AgentRecError | None = None

    @property
    def is_out_of_budget(self) -> bool:
        """Whether it ended because its budget was spent."""
        return isinstance(self.error, ModelCallError) and self.error.kind == "budget_spent"


class PartitionActor:
    """Works on one partition after the other, in a process of Ray's.

    Args:
        worker: Works on the partitions; by default one that opens the run.
    """

    def __init__(self, worker: PartitionWorker | None = None) -> None:
        self._worker = worker or PartitionWorker()
        self._work: asyncio.Task[None] | None = None

    async def work(self, task: PartitionTask) -> PartitionOutcome:
        """Work on a partition, and return how that ended."""
        self._work = asyncio.create_task(self._worker.work(task))
        await asyncio.wait({self._work})
        raised = None if self._work.cancelled() else self._work.exception()
        if raised is None:
            return PartitionOutcome(self._worker.progress())
        if isinstance(raised, AgentRecError):
            error = raised
        else:
            error = WorkerError(f"{type(raised).__name__}: {raised}")
        trace = "".join(traceback.format_exception(raised))
        error.add_note(f"In the worker of partition {task.partition.index}:\n{trace}")
        return PartitionOutcome(self._worker.progress(), error)

    async def progress(self) -> BatchProgress:
        """Return the progress of the current partition."""
        return self._worker.progress()

    async def stop(self) -> None:
        """Stop the work on the current partition."""
        if self._work is not None:
            self._work.cancel()


class RayEngine:
    """Works on the partitions of a batch with Ray actors.

    It uses the cluster that this process is connected to, or the one at ``RAY_ADDRESS``, or starts
    one on this machine that ends with the batch. All machines see the batch's folder, the run and
    the file of sessions under the same paths.

    Args:
        workers: Number of actors, at least 1.

    Raises:
        InputError: If Ray is not installed.
    """

    def __init__(self, workers: int) -> None:
        if find_spec("ray") is None:
            raise InputError(
                "several workers need Ray, which is not installed: pip install 'agentrec[ray]'",
                field="workers",
            )
        self._workers = workers
        self._progress: dict[Partition, BatchProgress] = {}

    async def run(self, tasks: Sequence[PartitionTask]) -> list[Partition]:
        """Work on partitions; see ``BatchEngine.run``.

        Raises:
            WorkerError: Also if actors died several times on a partition without any progress.
        """
        workers = min(self._workers, len(tasks))
        waiting, out_of_budget = deque(tasks), list[Partition]()
        try:
            async with _connection(workers), asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work_through(waiting, out_of_budget))
        except BaseExceptionGroup as failures:
            # The first one stopped the others.
            raise failures.exceptions[0] from None
        return out_of_budget

    async def progress(self) -> BatchProgress:
        """Return what this attempt has done so far."""
        return sum(self._progress.values(), BatchProgress())

    async def _work_through(
        self, waiting: deque[PartitionTask], out_of_budget: list[Partition]
    ) -> None:
        """Take partitions until none is left."""
        actor = _Actor()
        try:
            while waiting:
                task = waiting.popleft()
                outcome = await self._work_on(actor, task)
                if outcome.is_out_of_budget:
                    out_of_budget.append(task.partition)
                elif outcome.error is not None:
                    raise outcome.error
        except BaseException:
            await actor.stop()
            raise
        await actor.end()

    async def _work_on(self, actor: _Actor, task: PartitionTask) -> PartitionOutcome:
        before = self._progress.get(task.partition, BatchProgress())
        deaths = 0

        def report(progress: BatchProgress) -> None:
            self._progress[task.partition] = before.then(progress)

        while True:
            try:
                outcome = await actor.work(task, report)
            except _ActorDiedError as death:
                after = self._progress.get(task.partition, BatchProgress())
                deaths = 1 if after.attempted > before.attempted else deaths + 1
                before = after
                if deaths == _MAX_DEATHS:
                    raise WorkerError(
                        f"workers of partition {task.partition.index} died {deaths} times without"
                        f" finishing a session, last with: {death}"
                    ) from death
            else:
                report(outcome.progress)
                return outcome


class _ActorDiedError(Exception):
    """The process of an actor died."""


class _Actor:
    """A Ray actor that is started when it is needed, also after it died."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._working: Any = None

    async def work(
        self, task: PartitionTask, report: Callable[[BatchProgress], None]
    ) -> PartitionOutcome:
        """Work on a partition, and report its progress meanwhile.

        Raises:
            _ActorDiedError: If the process died.
        """
        import ray
        from ray.exceptions import RayActorError

        if self._handle is None:
            self._handle = ray.remote(num_cpus=1)(PartitionActor).remote()
        handle = self._handle

        async def keep_reporting() -> None:
            while True:
                await asyncio.sleep(_PROGRESS_SECONDS)
                report(await handle.progress.remote())

        self._working = handle.work.remote(task)
        reporting = asyncio.create_task(keep_reporting())
        try:
            outcome: PartitionOutcome = await self._working
        except RayActorError as error:
            self._handle = None
            raise _ActorDiedError(str(error).partition("\n")[0]) from error
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
        return outcome

    async def stop(self) -> None:
        """Stop the work, and end the process; it is killed if it does not stop."""
        if self._handle is not None:
            self._handle.stop.remote()
            await _wait(self._working, _STOP_SECONDS)
            await self.end(0.0)

    async def end(self, seconds: float = _EXPORT_SECONDS) -> None:
        """End the process; it is killed if it does not end in time."""
        import ray

        if self._handle is not None:
            await _wait(self._handle.__ray_terminate__.remote(), seconds)
            ray.kill(self._handle)
            self._handle = None


async def _wait(reference: Any, seconds: float) -> None:
    """Wait for a Ray task, whether it succeeds or not."""
    with suppress(Exception):
        async with asyncio.timeout(seconds):
            await reference


@asynccontextmanager
async def _connection(workers: int) -> AsyncIterator[None]:
    """Be connected to Ray during the block; a cluster started here ends with it.

    A daemon thread holds the connection. Ray ends a cluster with the thread that started it, and
    its calls may hang, so nobody must have to wait for them.
    """
    connected, disconnected, leave = Future[None](), Future[None](), Event()
    # Nobody can cancel these any more.
    connected.set_running_or_notify_cancel()
    disconnected.set_running_or_notify_cancel()

    def hold() -> None:
        try:
            owns_cluster = _connect(workers)
        except BaseException as error:
            connected.set_exception(error)
        else:
            connected.set_result(None)
            leave.wait()
            if owns_cluster:
                _disconnect()
        disconnected.set_result(None)

    Thread(target=hold, name="ray", daemon=True).start()
    try:
        await asyncio.wrap_future(connected)
        yield
    finally:
        leave.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.wrap_future(disconnected)


def _connect(workers: int) -> bool:
    """Connect to Ray unless this process is connected; return whether it was not. Blocks."""
    # Before Ray is imported: report errors only, and send nothing home.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Otherwise it tries at its end, for five seconds, to reach a service that has ended.
    os.environ.setdefault("RAY_task_events_shutdown_flush_timeout_ms", "200")
    logging.getLogger("ray").setLevel(logging.ERROR)
    import ray

    if ray.is_initialized():
        return False
    is_local = "RAY_ADDRESS" not in os.environ
    ray.init(
        num_cpus=workers if is_local else None,
        include_dashboard=False if is_local else None,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    return True


def _disconnect() -> None:
    import ray

    ray.shutdown()
