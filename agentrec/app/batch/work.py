"""Recommending for the sessions of a file: `agentrec batch`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from time import perf_counter

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from agentrec.app.batch.driving import drive
from agentrec.app.batch.engine import BatchEngine, OwnProcess
from agentrec.app.batch.gathering import Gathered, gather_parts
from agentrec.app.batch.layout import begin_layout
from agentrec.app.batch.options import BatchOptions
from agentrec.app.batch.partition_work import PartitionTask, PartitionWorker
from agentrec.app.batch.progress import shown_progress
from agentrec.app.batch.shared_knowledge import copy_of_knowledge, sole_driver
from agentrec.app.batch.shares import share_of_limits
from agentrec.app.batch.standing import Standing
from agentrec.app.cli.progress import ConsoleProgress
from agentrec.batch.partitions import Partition
from agentrec.data.session_rows import count_session_rows, read_session_rows
from agentrec.runs.open_run import ResolvedRun, resolve_run
from agentrec.runs.run_folder import write_json
from agentrec.runs.usage_report import UsageRow
from agentrec.settings.run_settings import RunSettings


class BatchSummary(BaseModel):
    """What came of a batch in all its attempts; ``summary.json`` beside the results.

    Attributes:
        done: Sessions with a result.
        failed: Sessions that failed, by kind.
        rejected: Rows that are no sessions, by reason.
        attempted: Sessions that this attempt worked on.
        seconds: How long this attempt worked; for one process the opening of the run not counted.
        latency: Seconds that a session of this attempt with a result took, waits for its turn to
            call counted, by quantile: p50, p90, p99; empty where there is none.
        usage: What calls to the model came to, over all attempts.
        currency: What money is counted in.
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
    def is_clean(self) -> bool:
        """Whether every row of the input has a result."""
        return not self.failed and not self.rejected


async def run_batch(settings: RunSettings, options: BatchOptions, console: Console) -> BatchSummary:
    """Work through a file of sessions, or go on with it.

    Args:
        settings: Those of the run whose model, hints and policy are used.
        options: What to do.
        console: Where to say how it goes.

    Raises:
        InputError: If a file or a setting cannot be used, or the folder holds another batch.
        ModelCallError: If the budget is spent; with a larger one the same again goes on.
        StoreError: If another process has the folder or the knowledge base open.
        WorkerError: If a process that worked on it failed.
    """
    place = await resolve_run(settings, ConsoleProgress(console))
    await place.begin()
    total = await asyncio.to_thread(_looked_at, options.sessions, place)
    parts = await begin_layout(place, options, console)
    async with AsyncExitStack() as open_until_the_end:
        engine: BatchEngine
        if min(options.workers, len(parts)) == 1 and options.engine == "local":
            engine = OwnProcess(PartitionWorker(console, place))
            tasks = [
                PartitionTask(settings=settings, options=options, partition=part) for part in parts
            ]
        else:
            await open_until_the_end.enter_async_context(sole_driver(options.out))
            engine = _engine(options)
            tasks = await _shared_tasks(place, options, parts, console)
        begun = perf_counter()
        try:
            async with shown_progress(engine, total, console, settings.prices.table()):
                await drive(engine, tasks, settings)
        finally:
            # Also of a batch that is stopped: what is done is to be found in the files.
            taken = perf_counter() - begun
            gathered = await gather_parts(options, parts, settings)
            summary = _summary(gathered, await engine.standing(), taken)
            told = summary.model_dump(mode="json")
            await asyncio.to_thread(write_json, options.out / "summary.json", told)
    return summary


async def _shared_tasks(
    place: ResolvedRun, options: BatchOptions, parts: Sequence[Partition], console: Console
) -> list[PartitionTask]:
    """The parts, as processes can take them that know neither this one nor its folder."""
    workers = min(options.workers, len(parts))
    settings = share_of_limits(place.settings, workers)
    knowledge_base = await copy_of_knowledge(place, options.out, console)
    paths = {
        name: None if path is None else path.absolute()
        for name, path in {
            "run": settings.run,
            "data": settings.data,
            "prompts": settings.prompts,
        }.items()
    }
    settings = settings.model_copy(update=paths)
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
        for partition in parts
    ]


def _engine(options: BatchOptions) -> BatchEngine:
    if options.engine == "ray":
        from agentrec.app.batch.ray_actors import RayActors

        return RayActors(options.workers, options.out.absolute())
    from agentrec.app.batch.processes import WorkerProcesses

    return WorkerProcesses(options.workers, options.out / "workers")


def _looked_at(sessions: Path, place: ResolvedRun) -> int | None:
    """About how many rows there are; raises if the file is none, before anything is made."""
    with closing(read_session_rows(sessions, place.dataset.catalog)) as rows:
        next(rows, None)
    return count_session_rows(sessions)


def _summary(gathered: Gathered, standing: Standing, seconds: float) -> BatchSummary:
    counts, usage = gathered.counts, gathered.usage
    latencies = standing.latencies
    return BatchSummary(
        done=counts.done,
        failed=dict(counts.failed),
        rejected=dict(counts.rejected),
        attempted=standing.attempted,
        seconds=round(seconds, 3),
        latency={
            f"p{q}": round(latencies.quantile(q / 100), 4) for q in (50, 90, 99) if latencies.counts
        },
        usage=usage.total,
        currency=usage.currency,
    )
