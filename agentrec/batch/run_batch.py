"""What processes that work on a batch share: nobody changes it while they do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from time import perf_counter

import portalocker
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from agentrec.app.cli.batch import shown_progress
from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.serving.serving import find_serving
from agentrec.assembly import embedded_model, know_catalog, open_embeddings
from agentrec.batch.budget_split import BatchEngine, OwnProcess, drive, share_of_limits
from agentrec.batch.input_fingerprint import begin_layout
from agentrec.batch.merge_results import Gathered, gather_parts
from agentrec.batch.partitions import BatchOptions, Partition
from agentrec.batch.progress import Standing
from agentrec.batch.worker import PartitionTask, PartitionWorker
from agentrec.data.session_row_count import count_session_rows
from agentrec.data.session_rows import read_session_rows
from agentrec.errors import StoreError
from agentrec.runs.open_run import ResolvedRun
from agentrec.runs.run_folder import write_json
from agentrec.runs.usage_report import UsageRow
from agentrec.settings.run_settings import RunSettings
from agentrec.stores.qdrant import QdrantHintStore

_FOLDER = "knowledge-base"


@asynccontextmanager
async def sole_driver(batch: Path) -> AsyncIterator[None]:
    """See that nobody else drives a batch as long as the block lasts.

    Args:
        batch: Its folder.

    Raises:
        StoreError: If somebody does.
    """
    file = await asyncio.to_thread((batch / ".driver.lock").open, "ab")
    try:
        flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
        try:
            portalocker.lock(file, flags)
        except portalocker.exceptions.LockException as error:
            raise StoreError(f"{batch}: another process is at work on this batch") from error
        yield
    finally:
        file.close()


async def copy_of_knowledge(place: ResolvedRun, batch: Path, console: Console) -> Path:
    """Copy the run's hints into a batch's folder, and see that workers find all else made.

    A knowledge base in a folder is for one process at a time.

    Args:
        place: The run.
        batch: The batch's folder.
        console: Where progress is shown.

    Returns:
        The copy's folder.

    Raises:
        StoreError: If another process has the knowledge base open.
    """
    display = ConsoleProgress(console)
    settings = place.settings
    knowledge = await know_catalog(
        place.dataset, open_embeddings(settings.embeddings), settings.embeddings, display
    )
    if place.named is None:
        # Trained once, here, and not by each of them.
        await embedded_model(place.dataset, knowledge, display, settings.lm_steps)
    source, copy = place.folder.knowledge_base, (batch / _FOLDER).absolute()
    dimension = knowledge.text_vectors.shape[1]
    async with await QdrantHintStore.open(source, dimension, embedding_model=settings.embeddings):
        # While it is open here nobody else writes to it.
        await asyncio.to_thread(_copy, source, copy)
    return copy


def _copy(source: Path, copy: Path) -> None:
    try:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)
    except (OSError, shutil.Error) as error:
        raise StoreError(f"{copy}: the knowledge base cannot be copied here ({error})") from error


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
    place = await find_serving(settings, console)
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
        from agentrec.batch.ray_engine import RayActors

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
