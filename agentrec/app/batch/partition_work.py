"""Working on one part of a batch: what every process that takes part in one does."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, SerializeAsAny
from rich.console import Console

from agentrec.app.batch.options import BatchOptions
from agentrec.app.batch.origin import claim_input, claim_knowledge
from agentrec.app.batch.running import BatchRunner
from agentrec.app.batch.standing import Standing
from agentrec.app.cli.progress import ConsoleProgress
from agentrec.batch.fewer_collections import fewer_collections
from agentrec.batch.partitions import Partition
from agentrec.batch.result_format import ResultFormat
from agentrec.batch.session_log import SessionLog
from agentrec.data.session_rows import stream_session_rows
from agentrec.runs.open_run import OpenRun, ResolvedRun, open_run, resolve_run
from agentrec.runs.run_folder import RunFolder
from agentrec.settings.run_settings import RunSettings


class PartitionTask(BaseModel):
    """One part of a batch, for whoever works on it, in whichever process.

    Attributes:
        settings: Those of the run that is used, with the limits and the budget of this part.
        options: What the batch is about.
        partition: Which rows are meant.
        knowledge_base: A copy of the run's knowledge base, which is for one process at a time;
            ``None`` to open the run's own.
    """

    model_config = ConfigDict(frozen=True)

    settings: SerializeAsAny[RunSettings]
    options: BatchOptions
    partition: Partition = Partition()
    knowledge_base: Path | None = None

    @property
    def folder(self) -> Path:
        """Where its log and its journal lie."""
        return self.partition.folder(self.options.out)

    @property
    def standing(self) -> Path:
        """Where a process tells how far it is."""
        return self.folder / "standing.json"


class PartitionWorker:
    """Works on one part after the other; what a run is made of is loaded once.

    Args:
        console: Where is shown how it begins; nowhere by default.
        place: The run, if it is found already.
    """

    def __init__(self, console: Console | None = None, place: ResolvedRun | None = None) -> None:
        self._console = console or Console(quiet=True)
        self._place = place
        self._at_work: tuple[BatchRunner, OpenRun, int] | None = None

    def standing(self) -> Standing:
        """What the work on the part at hand, or the last one, came to up to now."""
        if self._at_work is None:
            return Standing()
        runner, parts, tokens = self._at_work
        tally = runner.tally
        return Standing(
            done=tally.done,
            failed=dict(tally.failed),
            rejected=dict(tally.rejected),
            skipped=tally.skipped,
            tokens=sum(parts.journal.tokens.values()) - tokens,
            money=parts.components.gateway.usage.total.money,
            latencies=tally.latencies.latencies(),
        )

    async def work(self, task: PartitionTask) -> None:
        """Work on a part, or go on with it; may be cancelled at any time, and done again.

        Args:
            task: The part.

        Raises:
            InputError: If a file or a setting cannot be used, or the folder holds another batch.
            ModelCallError: If the budget is spent; with a larger one the same again goes on.
            StoreError: If another process has the part or the knowledge base open.
        """
        self._at_work = None
        display = ConsoleProgress(self._console)
        place = self._place
        if place is None:
            place = await resolve_run(task.settings, display)
            await place.begin()
        # Limits and budget may be others than those of the part before; the run is the same.
        self._place = place = replace(place, settings=task.settings)
        options, partition = task.options, task.partition
        files = RunFolder(task.folder)
        # Made here: the journal wants a folder that is there.
        await asyncio.to_thread(lambda: task.folder.mkdir(parents=True, exist_ok=True))
        async with (
            _own_copy(task.knowledge_base) as knowledge_base,
            open_run(
                place,
                display,
                policy=await place.live_policy(),
                hints=knowledge_base,
                calls=files.calls,
                usage=files.usage,
            ) as parts,
            await open_log(options, partition) as log,
        ):
            await claim_input(log, options.sessions)
            await claim_knowledge(log, parts)
            runner = BatchRunner(
                parts.components,
                log,
                concurrency=_sessions_at_a_time(parts.concurrency, options.time_limit),
                retry_failed=options.retry_failed,
                time_limit=options.time_limit,
            )
            self._at_work = runner, parts, sum(parts.journal.tokens.values())
            rows = stream_session_rows(
                options.sessions, parts.dataset.catalog, wanted=partition.holds
            )
            async with aclosing(rows):
                with fewer_collections():
                    await runner.run(rows)


async def open_log(options: BatchOptions, partition: Partition) -> SessionLog:
    """Open what is known of a part's sessions; see ``SessionLog.open``."""
    return await SessionLog.open(
        partition.folder(options.out),
        ResultFormat(options.form),
        results=options.out,
        label=partition.label,
    )


def _sessions_at_a_time(calls: int, time_limit: float | None) -> int:
    """More than calls, so that when one ends there is a session that is ready for the next.

    Not where each has its time: waiting for a call would take from it.
    """
    return calls + (calls + 1) // 2 if time_limit is None else calls


@asynccontextmanager
async def _own_copy(knowledge_base: Path | None) -> AsyncIterator[Path | None]:
    if knowledge_base is None:
        yield None
        return
    # On a disk of this machine: a file system that many share may not lock files.
    with TemporaryDirectory(prefix="agentrec-") as folder:
        copy = Path(folder) / "knowledge-base"
        await asyncio.to_thread(shutil.copytree, knowledge_base, copy)
        yield copy
