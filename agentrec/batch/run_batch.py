"""A batch from its start to its end: what `agentrec batch` does."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
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
from agentrec.batch.partitions import BatchOptions
from agentrec.batch.progress import BatchProgress
from agentrec.batch.worker import PartitionTask, PartitionWorker
from agentrec.data.session_rows import count_session_rows, read_session_rows
from agentrec.errors import InputError, StoreError
from agentrec.named_components import NamedEmbeddings, open_embeddings
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
    async with _lock(options.out):
        hints = await asyncio.to_thread(_snapshot_hints, run, options.out)
        tasks = [
            PartitionTask(settings=settings, options=options, partition=partition, hints=hints)
            for partition in partitions
        ]
        if engine is None:
            engine = InProcessEngine(PartitionWorker(display, run))
        else:
            await _fill_caches(run, display)
            tasks = [_for_any_process(run, options, task) for task in tasks]
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
    file = await asyncio.to_thread((batch / ".batch.lock").open, "ab")
    try:
        flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
        try:
            portalocker.lock(file, flags)
        except portalocker.exceptions.LockException as error:
            raise StoreError(f"{batch}: another process is working on this batch") from error
        yield
    finally:
        file.close()


def _for_any_process(run: ResolvedRun, options: BatchOptions, task: PartitionTask) -> PartitionTask:
    """Return a task that workers in other processes and working directories can do."""
    settings = split_limits(run.settings, min(options.workers, task.partition.count))
    paths = {"run": settings.run, "data": settings.data, "prompts": settings.prompts}
    settings = settings.model_copy(
        update={name: path and path.absolute() for name, path in paths.items()}
    )
    options = options.model_copy(
        update={"sessions": options.sessions.absolute(), "out": options.out.absolute()}
    )
    return task.model_copy(update={"settings": settings, "options": options})


async def _fill_caches(run: ResolvedRun, display: ProgressDisplay) -> None:
    """Embed the items and teach the embedded model once, here, not in each worker."""
    settings, dataset = run.settings, run.dataset
    embeddings = NamedEmbeddings(open_embeddings(settings.embeddings), settings.embeddings)
    knowledge = await know_catalog(dataset.catalog, dataset.train, embeddings, display)
    if run.named is None:
        await teach_embedded_model(dataset.catalog, knowledge, display, settings.lm_steps)


def _snapshot_hints(run: ResolvedRun, batch: Path) -> Path | None:
    """Copy the run's hints to the batch's folder, so that all sessions see the same. Blocks.

    Returns:
        The copy; ``None`` if the hints are not in a folder, but on a server.

    Raises:
        StoreError: If they cannot be copied.
    """
    folder = Path(run.settings.hints or run.folder.knowledge_base)
    files, copy = list(folder.glob("*.sqlite")), batch.absolute() / "knowledge-base"
    if not files:
        return None
    try:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        for file in files:
            with (
                closing(sqlite3.connect(file)) as original,
                closing(sqlite3.connect(copy / file.name)) as copied,
            ):
                original.backup(copied)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{copy}: cannot copy the knowledge base here ({error})") from error
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
