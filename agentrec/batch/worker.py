"""What every worker of a batch does: open the run, and work through the rows of a partition."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from agentrec.batch.input_fingerprint import check_input, check_knowledge
from agentrec.batch.partitions import BatchOptions, Partition, ResultFormat
from agentrec.batch.progress import BatchProgress, ProgressCounter
from agentrec.batch.session_log import SessionLog
from agentrec.batch.session_log_file import FinishedSession, RejectedSession
from agentrec.components import Components
from agentrec.data.session_rows import RejectedRow, SessionRow, stream_session_rows
from agentrec.errors import ModelCallError
from agentrec.graphs.recommendation.recommend_many import SessionResult, recommend_many
from agentrec.progress import ProgressDisplay
from agentrec.runs.open_run import OpenRun, ResolvedRun, open_run, resolve_run
from agentrec.runs.run_folder import RunFolder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings

_CHUNK = 256
"""How many rows are looked up in the log at a time."""


class BatchRunner:
    """Passes rows of sessions through the recommendation graph and into a log.

    Args:
        components: Context of the graph.
        log: Where results go.
        concurrency: Most sessions at a time, at least 1.
        retry_failed: Whether sessions that failed before are tried again.
        time_limit: Seconds after which a session is given up; ``None`` for never.
    """

    def __init__(
        self,
        components: Components,
        log: SessionLog,
        *,
        concurrency: int,
        retry_failed: bool = False,
        time_limit: float | None = None,
    ) -> None:
        self._components = components
        self._log = log
        self._concurrency = concurrency
        self._retry_failed = retry_failed
        self._time_limit = time_limit
        self.counter = ProgressCounter()
        # Rows in progress by session id: two with the same id are not worked on side by side.
        self._active: dict[str, int] = {}

    async def run(self, rows: AsyncIterable[SessionRow | RejectedRow]) -> None:
        """Work through rows; may be cancelled at any time, and run again.

        Args:
            rows: The rows, in the order of the input.

        Raises:
            ModelCallError: If the budget is spent. Finished sessions are kept, no other is started.
            StoreError: If the log cannot be written.
            InputError: If the input cannot be read any further.
        """
        results = recommend_many(
            self._sessions(rows),
            self._components,
            concurrency=self._concurrency,
            time_limit=self._time_limit,
        )
        async with aclosing(results):
            async for result in results:
                await self._keep(result)

    async def _sessions(
        self, rows: AsyncIterable[SessionRow | RejectedRow]
    ) -> AsyncGenerator[Session, None]:
        """Yield the sessions to work on."""
        chunk: list[SessionRow] = []
        async for row in rows:
            if isinstance(row, RejectedRow):
                content = asdict(row)
                await self._reject(content.pop("index"), content.pop("reason"), content)
                continue
            chunk.append(row)
            if len(chunk) == _CHUNK:
                for session in await self._unfinished(chunk):
                    yield session
                chunk = []
        for session in await self._unfinished(chunk):
            yield session

    async def _unfinished(self, chunk: list[SessionRow]) -> list[Session]:
        known = await self._log.known([row.session.session_id for row in chunk])
        unfinished = []
        for row in chunk:
            session_id = row.session.session_id
            before = known.get(session_id)
            first = self._active.get(session_id) if before is None else before.row_index
            if first is not None and first != row.index:
                problem = f"field 'session_id': {session_id!r} is already the id of row {first}"
                content = {"line": row.line, "session_id": session_id, "problem": problem}
                await self._reject(row.index, "duplicate_id", content)
            elif before is not None and not (self._retry_failed and before.failure is not None):
                self.counter.skipped += 1
            else:
                self._active[session_id] = row.index
                unfinished.append(row.session)
        return unfinished

    async def _reject(self, row_index: int, reason: str, content: Mapping[str, object]) -> None:
        content = {"row_index": row_index, "reason": reason, **content}
        await self._log.put(RejectedSession(row_index, reason, content))
        self.counter.rejected[reason] += 1

    async def _keep(self, result: SessionResult) -> None:
        session_id = result.session.session_id
        row_index = self._active[session_id]
        failure = result.failure
        if failure is not None and failure.kind == "budget_spent":
            # Not tried, so not failed: with more money it is a session like any other.
            raise ModelCallError(failure.problem, kind="budget_spent") from result.error
        content: dict[str, object] = {"session_id": session_id, "row_index": row_index}
        if failure is None:
            ranking = result.ranking
            content |= {
                "items": list(ranking.item_ids),
                "hint_id": ranking.hint_id,
                "backfilled": ranking.backfilled,
                "illegal": ranking.illegal,
                "repaired": ranking.repaired,
                "notes": list(ranking.notes),
            }
            self.counter.count_done(result.seconds)
        else:
            content |= asdict(failure)
            self.counter.failed[failure.kind] += 1
        content["seconds"] = round(result.seconds, 4)
        kind = None if failure is None else failure.kind
        await self._log.put(FinishedSession(session_id, row_index, content, kind))
        # Only now, when the log knows it.
        del self._active[session_id]


class PartitionTask(BaseModel):
    """A partition and all that a worker needs to work on it, in whichever process.

    Attributes:
        settings: Settings of the run, with the limits and the budget of this partition.
        options: What the batch is asked to do.
        partition: Which rows are meant.
        hints: A copy of the run's knowledge base; ``None`` to open the run's own.
    """

    model_config = ConfigDict(frozen=True)

    settings: SerializeAsAny[RunSettings]
    options: BatchOptions
    partition: Partition = Partition()
    hints: Path | None = None

    @property
    def folder(self) -> Path:
        """Folder of its log and its journal."""
        return self.partition.folder(self.options.out)


class PartitionWorker:
    """Works on one partition after the other; the run's data is loaded once.

    Args:
        display: Where the opening of the run is shown; nowhere by default.
        run: The run, if it is resolved already.
    """

    def __init__(
        self, display: ProgressDisplay | None = None, run: ResolvedRun | None = None
    ) -> None:
        self._display = display or ProgressDisplay()
        self._run = run
        self._active: tuple[BatchRunner, OpenRun, int] | None = None

    def progress(self) -> BatchProgress:
        """Return the progress of the current partition, or of the last one."""
        if self._active is None:
            return BatchProgress()
        runner, run, tokens_before = self._active
        tokens = sum(run.journal.tokens.values()) - tokens_before
        return runner.counter.progress(tokens, run.components.gateway.usage.total.money)

    async def work(self, task: PartitionTask) -> None:
        """Work on a partition, or resume it; may be cancelled at any time, and run again.

        Args:
            task: The partition.

        Raises:
            InputError: If a file or a setting cannot be used, or the folder holds another batch.
            ModelCallError: If the budget is spent; with a larger one the same call resumes.
            StoreError: If another process has the partition or the knowledge base open.
        """
        self._active = None
        run = self._run
        if run is None:
            run = await resolve_run(task.settings, self._display)
            await run.begin()
        # The run stays the same; limits and budget may differ between partitions.
        self._run = run = replace(run, settings=task.settings)
        options, files = task.options, RunFolder(task.folder)
        # The journal needs an existing folder.
        await asyncio.to_thread(lambda: task.folder.mkdir(parents=True, exist_ok=True))
        async with (
            _local_copy(task.hints) as hints,
            open_run(
                run,
                self._display,
                policy=await run.live_policy(),
                hints=hints,
                calls=files.calls,
                usage=files.usage,
            ) as opened,
            await open_log(options, task.partition) as log,
        ):
            await check_input(log, options.sessions)
            await check_knowledge(log, opened)
            calls = opened.concurrency
            runner = BatchRunner(
                opened.components,
                log,
                # For every call slot, 1.5 sessions are active, so that one is ready when a call
                # ends. With a time limit one, because waiting for a call would use up its time.
                concurrency=calls if options.time_limit is not None else calls + (calls + 1) // 2,
                retry_failed=options.retry_failed,
                time_limit=options.time_limit,
            )
            self._active = runner, opened, sum(opened.journal.tokens.values())
            catalog = opened.dataset.catalog
            rows = stream_session_rows(options.sessions, catalog, wanted=task.partition.contains)
            async with aclosing(rows):
                await runner.run(rows)


async def open_log(options: BatchOptions, partition: Partition) -> SessionLog:
    """Open the log of a partition; see ``SessionLog.open``."""
    return await SessionLog.open(
        partition.folder(options.out),
        ResultFormat(options.result_format),
        results=options.out,
        prefix=partition.file_prefix,
    )


@asynccontextmanager
async def _local_copy(hints: Path | None) -> AsyncIterator[Path | None]:
    """Copy a knowledge base to a local disk: shared file systems may not support its locks."""
    if hints is None:
        yield None
        return
    with TemporaryDirectory(prefix="agentrec-") as folder:
        copy = Path(folder) / "knowledge-base"
        await asyncio.to_thread(shutil.copytree, hints, copy)
        yield copy
