"""A batch from its start to its end: what `agentrec batch` does."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from time import perf_counter

import portalocker
from pydantic import BaseModel, ConfigDict

from agentrec.assembly import know_catalog, teach_embedded_model
from agentrec.batch.budget_split import (
    BatchEngine,
    InProcessEngine,
    schedule_partitions,
    split_limits,
)
from agentrec.batch.input_fingerprint import start_or_resume
from agentrec.batch.merge_results import MergedResults, merge_results
from agentrec.batch.partitions import BatchOptions, Partition
from agentrec.batch.progress import BatchProgress
from agentrec.batch.worker import PartitionTask, PartitionWorker
from agentrec.data.session_rows import count_session_rows, read_session_rows
from agentrec.errors import InputError, StoreError
from agentrec.named_components import NamedEmbeddings, open_embeddings, open_hint_store
from agentrec.progress import ProgressDisplay
from agentrec.runs.open_run import ResolvedRun, resolve_run
from agentrec.runs.run_folder import write_json
from agentrec.runs.usage_report import UsageRow
from agentrec.settings.run_settings import RunSettings

ShowProgress = Callable[[BatchEngine, int | None], AbstractAsyncContextManager[None]]
"""Shows an engine's progress during a block; called with the number of rows, if known."""


class BatchSummary(BaseModel):
    """What a batch came to in all its attempts; ``summary.json`` beside the results.

    Attributes:
        done: Sessions with a result.
        failed: Failed sessions, by kind of failure.
        rejected: Rows that are not usable sessions, by reason.
        attempted: Sessions that this attempt worked on.
        seconds: How long this attempt took; in one process without the opening of the run.
        latency: Seconds per session with a result of this attempt, waiting for a call included,
            by quantile: p50, p90, p99; empty if there is none.
        usage: Calls to the model, their tokens and cost, over all attempts.
        currency: Currency of the cost.
    """

    model_config = ConfigDict(frozen=True)

    done: int
    failed: dict[str, int]
    rejected: dict[str, int]
    attempted: int
    seconds: float
    latency: dict[str, float]
    usage: UsageRow
    currency: str

    @property
    def is_complete(self) -> bool:
        """Whether every row of the input has a result."""
        return not self.failed and not self.rejected


@asynccontextmanager
async def no_progress(engine: BatchEngine, rows: int | None) -> AsyncIterator[None]:
    """Show nothing."""
    yield


async def run_batch(
    settings: RunSettings,
    options: BatchOptions,
    display: ProgressDisplay | None = None,
    show_progress: ShowProgress = no_progress,
) -> BatchSummary:
    """Recommend for a file of sessions, or resume a batch.

    Args:
        settings: Settings of the run whose model, hints and policy are used.
        options: What to do.
        display: Where notes and the opening of the run are shown; nowhere by default.
        show_progress: How the progress of the batch is shown; not by default.

    Raises:
        InputError: If a file or a setting cannot be used, or the folder holds another batch.
        ModelCallError: If the budget is spent; with a larger one the same call resumes.
        StoreError: If another process has the folder or the knowledge base open.
        WorkerError: If a worker failed.
    """
    engine = _ray_engine(options)
    display = display or ProgressDisplay()
    run = await resolve_run(settings, display)
    await run.begin()
    rows = await asyncio.to_thread(_count_rows, options.sessions, run)
    partitions = await start_or_resume(run, options)
    if options.workers > len(partitions):
        display.say(_idle_workers(options.workers, len(partitions)))
    async with AsyncExitStack() as stack:
        if engine is None:
            engine = InProcessEngine(PartitionWorker(display, run))
            tasks = [
                PartitionTask(settings=settings, options=options, partition=partition)
                for partition in partitions
            ]
        else:
            await stack.enter_async_context(_lock(options.out))
            tasks = await _shared_tasks(run, options, partitions, display)
        start = perf_counter()
        try:
            async with show_progress(engine, rows):
                await schedule_partitions(engine, tasks, settings)
        finally:
            # Also when the batch is stopped: what is done belongs in the result files.
            seconds = perf_counter() - start
            merged = await merge_results(options, partitions, settings)
            summary = _summary(merged, await engine.progress(), seconds)
            content = summary.model_dump(mode="json")
            await asyncio.to_thread(write_json, options.out / "summary.json", content)
    return summary


def _ray_engine(options: BatchOptions) -> BatchEngine | None:
    if options.engine == "local" and options.workers > 1:
        raise InputError(
            f"'local' is one worker, not {options.workers}; leave --engine out to use Ray",
            field="engine",
        )
    if options.engine == "local" or (options.engine is None and options.workers == 1):
        return None
    from agentrec.batch.ray_engine import RayEngine

    return RayEngine(options.workers)


def _count_rows(sessions: Path, run: ResolvedRun) -> int | None:
    """Return about how many rows there are; raise if the file cannot be read. Blocks."""
    with closing(read_session_rows(sessions, run.dataset.catalog)) as rows:
        next(rows, None)
    return count_session_rows(sessions)


def _idle_workers(workers: int, partitions: int) -> str:
    return (
        f"note: this batch was started with {partitions} partition{'s' * (partitions > 1)}, so only"
        f" {partitions} of {workers} workers can be used; a new batch can have more (--partitions)"
    )


@asynccontextmanager
async def _lock(batch: Path) -> AsyncIterator[None]:
    """Keep other processes from running the same batch during the block."""
    file = await asyncio.to_thread((batch / ".driver.lock").open, "ab")
    try:
        flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
        try:
            portalocker.lock(file, flags)
        except portalocker.exceptions.LockException as error:
            raise StoreError(f"{batch}: another process is working on this batch") from error
        yield
    finally:
        file.close()


async def _shared_tasks(
    run: ResolvedRun,
    options: BatchOptions,
    partitions: Sequence[Partition],
    display: ProgressDisplay,
) -> list[PartitionTask]:
    """Return the partitions as tasks for workers in other processes and working directories."""
    settings = split_limits(run.settings, min(options.workers, len(partitions)))
    knowledge_base = await _prepare_knowledge(run, options.out.absolute(), display)
    paths = {"run": settings.run, "data": settings.data, "prompts": settings.prompts}
    settings = settings.model_copy(
        update={name: path and path.absolute() for name, path in paths.items()}
    )
    options = options.model_copy(
        update={"sessions": options.sessions.absolute(), "out": options.out.absolute()}
    )
    return [
        PartitionTask(
            settings=settings,
            options=options,
            partition=partition,
            knowledge_base=knowledge_base,
        )
        for partition in partitions
    ]


async def _prepare_knowledge(
    run: ResolvedRun, batch: Path, display: ProgressDisplay
) -> Path | None:
    """Make once what all workers need, and copy the run's hints to the batch's folder.

    Args:
        run: The run.
        batch: The batch's folder.
        display: Where progress is shown.

    Returns:
        The copy's folder; ``None`` if the hints are not in a folder, but on a server.

    Raises:
        StoreError: If another process has the knowledge base open.
    """
    settings, dataset = run.settings, run.dataset
    embeddings = NamedEmbeddings(open_embeddings(settings.embeddings), settings.embeddings)
    knowledge = await know_catalog(dataset.catalog, dataset.train, embeddings, display)
    if run.named is None:
        await teach_embedded_model(dataset.catalog, knowledge, display, settings.lm_steps)
    source, copy = Path(settings.hints or run.folder.knowledge_base), batch / "knowledge-base"
    if not await asyncio.to_thread(source.is_dir):
        return None

    def copy_folder() -> None:
        try:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(source, copy)
        except (OSError, shutil.Error) as error:
            raise StoreError(f"{copy}: cannot copy the knowledge base here ({error})") from error

    dimension = knowledge.text_vectors.shape[1]
    async with open_hint_store(source, dimension, settings.embeddings):
        # While it is open here nobody else writes to it.
        await asyncio.to_thread(copy_folder)
    return copy


def _summary(merged: MergedResults, progress: BatchProgress, seconds: float) -> BatchSummary:
    counts, usage, latencies = merged.counts, merged.usage, progress.latencies
    return BatchSummary(
        done=counts.done,
        failed=dict(counts.failed),
        rejected=dict(counts.rejected),
        attempted=progress.attempted,
        seconds=round(seconds, 3),
        latency={
            f"p{q}": round(latencies.quantile(q / 100), 4) for q in (50, 90, 99) if latencies.counts
        },
        usage=usage.total,
        currency=usage.currency,
    )
