"""Working through the sessions of a file: each once, whatever was done before."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field

from agentrec.batch.latencies import LatencyCounter
from agentrec.batch.records import DoneSession, RejectedSession
from agentrec.batch.session_log import SessionLog
from agentrec.components import Components
from agentrec.data.session_rows import RejectedRow, SessionRow
from agentrec.errors import ModelCallError
from agentrec.graphs.recommendation.recommend_many import SessionResult, recommend_many
from agentrec.sessions import Session

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
            if place is not None and place != row.index:
                told = {"line": row.line, "session_id": session_id}
                problem = f"field 'session_id': {session_id!r} is the id of row {place} already"
                await self._reject(row.index, "duplicate_id", {**told, "problem": problem})
            elif before is not None and not (self._retry_failed and before.failure is not None):
                self.tally.skipped += 1
            else:
                self._places[session_id] = row.index
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
