"""Working through the sessions of a file: each once, whatever was done before."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, SerializeAsAny
from rich.console import Console

from agentrec.app.serving.serving import find_serving, serving_parts
from agentrec.batch.input_fingerprint import claim_input, claim_knowledge
from agentrec.batch.partitions import BatchOptions, Partition, ResultFormat
from agentrec.batch.progress import LatencyCounter, Standing
from agentrec.batch.session_log import SessionLog
from agentrec.batch.session_log_file import DoneSession, RejectedSession
from agentrec.components import Components
from agentrec.data.session_row_stream import stream_session_rows
from agentrec.data.session_rows import RejectedRow, SessionRow
from agentrec.errors import ModelCallError
from agentrec.graphs.batching import SessionResult, recommend_many
from agentrec.runs.open_run import OpenRun, ResolvedRun
from agentrec.runs.run_folder import RunFolder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings

_CHUNK = 256
"""How many rows are looked up in the log at a time."""


@dataclass
class BatchTally:
    """What was done in this attempt.

    Attributes:
        done: Sessions with a result.
        failed: By kind of failure.
        rejected: Rows that are no sessions, by reason.
        skipped: Rows that an earlier attempt had done with.
        latencies: How long sessions with a result were worked on.
    """

    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    latencies: LatencyCounter = field(default_factory=LatencyCounter)


class BatchRunner:
    """Takes rows of sessions through the recommendation graph and into a log.

    Args:
        components: The parts of the graph.
        log: Where results go.
        concurrency: Most sessions at a time, at least 1.
        retry_failed: Whether sessions that failed before are tried again.
        time_limit: After how many seconds a session is given up; ``None`` for never.
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
        self.tally = BatchTally()
        # Rows under way, by session: two of one id are not worked on side by side.
        self._places: dict[str, int] = {}

    async def run(self, rows: AsyncIterable[SessionRow | RejectedRow]) -> None:
        """Work through rows; may be cancelled at any time, and done again.

        Args:
            rows: The rows, in the order of the input.

        Raises:
            ModelCallError: If the budget is spent: what is done is kept, the rest is not begun.
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
        """The sessions that are to be worked on."""
        chunk: list[SessionRow] = []
        async for row in rows:
            if isinstance(row, RejectedRow):
                told = asdict(row)
                await self._reject(told.pop("place"), told.pop("reason"), told)
                continue
            chunk.append(row)
            if len(chunk) == _CHUNK:
                for session in await self._wanted(chunk):
                    yield session
                chunk = []
        for session in await self._wanted(chunk):
            yield session

    async def _wanted(self, chunk: list[SessionRow]) -> list[Session]:
        known = await self._log.known([row.session.session_id for row in chunk])
        wanted = []
        for row in chunk:
            session_id = row.session.session_id
            before = known.get(session_id)
            place = self._places.get(session_id) if before is None else before.place
            if place is not None and place != row.place:
                told = {"line": row.line, "session_id": session_id}
                problem = f"field 'session_id': {session_id!r} is the id of row {place} already"
                await self._reject(row.place, "duplicate_id", {**told, "problem": problem})
            elif before is not None and not (self._retry_failed and before.failure is not None):
                self.tally.skipped += 1
            else:
                self._places[session_id] = row.place
                wanted.append(row.session)
        return wanted

    async def _reject(self, place: int, reason: str, row: Mapping[str, object]) -> None:
        told = {"place": place, "reason": reason, **row}
        await self._log.reject(RejectedSession(place, reason, told))
        self.tally.rejected[reason] += 1

    async def _keep(self, result: SessionResult) -> None:
        session_id = result.session.session_id
        place = self._places[session_id]
        failure = result.failure
        if failure is None:
            row = _ranking_row(result, place)
            self.tally.done += 1
            self.tally.latencies.add(result.seconds)
        else:
            if failure.kind == "budget_spent":
                # Not tried, and so not failed: with more money it is a session like any other.
                raise ModelCallError(failure.problem, kind="budget_spent") from result.error
            row = {
                "session_id": session_id,
                "place": place,
                "kind": failure.kind,
                "problem": failure.problem,
                "transient": failure.transient,
                "seconds": round(result.seconds, 4),
            }
            self.tally.failed[failure.kind] += 1
        await self._log.put(
            DoneSession(session_id, place, row, None if failure is None else failure.kind)
        )
        # Only now: the log knows of it from here on.
        del self._places[session_id]


def _ranking_row(result: SessionResult, place: int) -> Mapping[str, object]:
    ranking = result.ranking
    return {
        "session_id": ranking.session_id,
        "place": place,
        "items": list(ranking.item_ids),
        "hint_id": ranking.hint_id,
        "backfilled": ranking.backfilled,
        "illegal": ranking.illegal,
        "repaired": ranking.repaired,
        "notes": list(ranking.notes),
        "seconds": round(result.seconds, 4),
    }


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
            money=parts.components.model.usage.total.money,
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
        place = self._place or await find_serving(task.settings, self._console)
        # Limits and budget may be others than those of the part before; the run is the same.
        self._place = place = replace(place, settings=task.settings)
        options, partition = task.options, task.partition
        files = RunFolder(task.folder)
        # Made here: the journal wants a folder that is there.
        await asyncio.to_thread(lambda: task.folder.mkdir(parents=True, exist_ok=True))
        async with (
            _own_copy(task.knowledge_base) as knowledge_base,
            serving_parts(
                place,
                self._console,
                calls=files.calls,
                usage=files.usage,
                knowledge_base=knowledge_base,
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
