"""The hint store: a log of revisions, an index over it, and the history in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from agentrec.catalog import clean_text
from agentrec.contracts import HintStore
from agentrec.errors import StoreError
from agentrec.hints import ADMITTED, Hint, HintEmbedding, HintState, Revision, ScoredHint
from agentrec.stores.hints.cosine import check_limit, unit_vector, unit_vectors
from agentrec.stores.hints.history import (
    Change,
    HintHistory,
    check_each_once,
    check_namespace,
    check_of_namespace,
)
from agentrec.stores.hints.revision_log import LoggedChange, MemoryLog, RevisionLog
from agentrec.stores.hints.vector_index import Direction, ExactIndex, VectorIndex

_Result = TypeVar("_Result")


class LoggedHintStore(HintStore):
    """Hints whose truth is a ``RevisionLog``; a ``VectorIndex`` finds the nearest.

    Before each call the store reads what other writers appended. A change is worked out on the
    history, appended to the log, and then put into the index; where another writer took the
    revision's number first, it is worked out again. Blocking work runs in threads. A cancelled
    wait does not cancel a change: a hint was paid for, and adding it again changes nothing.

    Made by ``open_hint_store``; closed by ``aclose`` or by leaving ``async with``.

    Args:
        log: The log.
        index: The index; empty, or the server's own.
        dimension: Length of every vector, at least 1.
        namespace: The namespace of every hint.
        embedding_model: What vectors are made with; empty if unknown.
        address: What failures call the knowledge base.
        secret: A key that must not appear in the text of a failure.

    Raises:
        StoreError: The log cannot be read.
        ValueError: ``dimension`` is below 1, or ``namespace`` is none.
    """

    def __init__(
        self,
        log: RevisionLog,
        index: VectorIndex,
        dimension: int,
        *,
        namespace: str = "",
        embedding_model: str = "",
        address: str = "in memory",
        secret: str = "",
    ) -> None:
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, not {dimension}")
        check_namespace(namespace)
        self.dimension = dimension
        self.namespace = namespace
        self.embedding_model = embedding_model
        self._log = log
        self._index = index
        self._address = address
        self._secret = secret
        self._embedding = (
            HintEmbedding(model=embedding_model, dimension=dimension) if embedding_model else None
        )
        self._history = HintHistory()
        self._lock = threading.Lock()
        self._closed = False
        self._catch_up()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what was begun and close the log. Closing twice is allowed."""
        await asyncio.shield(asyncio.to_thread(self._close))

    async def add(self, hint: Hint, vector: Sequence[float]) -> bool:
        """Store a hint; see ``HintWriter.add``."""
        return (await self.add_many([hint], [vector]))[0]

    async def add_many(
        self, hints: Sequence[Hint], vectors: Sequence[Sequence[float]], note: str = "added"
    ) -> list[bool]:
        """Store hints in one revision; see ``HintWriter.add_many``."""
        kept, given = tuple(hints), tuple(vectors)
        check_of_namespace(kept, self.namespace)

        def write() -> list[bool]:
            directions = unit_vectors(given, len(kept), self.dimension)

            def work_out() -> tuple[list[bool], LoggedChange | None]:
                answers, change = self._history.adding(kept, note, self._embedding)
                if change is None:
                    return answers, None
                of = {
                    hint.hint_id: direction
                    for hint, direction, new in zip(kept, directions, answers, strict=True)
                    if new
                }
                return answers, LoggedChange(change, of)

            return self._write(work_out)

        return await self._in_thread(write)

    async def change(self, hints: Sequence[Hint], note: str) -> int:
        """Replace stored hints by new versions; see ``HintWriter.change``."""
        kept = tuple(hints)
        check_of_namespace(kept, self.namespace)
        check_each_once(kept)
        return await self._rewrite(lambda: self._history.changing(kept, note))

    async def roll_back(self, revision: int) -> int:
        """Restore what a revision left; see ``HintHistory.roll_back``."""
        return await self._rewrite(lambda: self._history.rolling_back(revision))

    async def get(self, hint_id: str) -> Hint | None:
        """Return the hint with an id; see ``HintReader.get``."""
        return await self._read(lambda: self._history.get(hint_id))

    async def all(self, states: Sequence[HintState] = ADMITTED) -> list[Hint]:
        """Return every hint in some states; see ``HintReader.all``."""
        wanted = tuple(states)
        return await self._read(lambda: self._history.all(wanted))

    async def revisions(self) -> list[Revision]:
        """Return every revision; see ``HintHistory.revisions``."""
        return await self._read(self._history.revisions)

    async def as_of(self, revision: int) -> list[Hint]:
        """Return the hints as a revision left them; see ``HintHistory.as_of``."""
        return await self._read(lambda: self._history.as_of(revision))

    async def search(
        self, vector: Sequence[float], limit: int, states: Sequence[HintState] = ADMITTED
    ) -> list[ScoredHint]:
        """Find the nearest hints; see ``HintSearch.search``."""
        check_limit(limit)
        query, wanted = unit_vector(vector, self.dimension)[None], tuple(states)
        return (await self._read(lambda: self._search(query, limit, wanted)))[0]

    async def search_many(
        self,
        vectors: Sequence[Sequence[float]],
        limit: int,
        states: Sequence[HintState] = ADMITTED,
    ) -> list[list[ScoredHint]]:
        """Search for many vectors at once; see ``HintSearch.search_many``."""
        check_limit(limit)
        given, wanted = tuple(vectors), tuple(states)

        def search() -> list[list[ScoredHint]]:
            queries = unit_vectors(given, len(given), self.dimension)
            return self._search(queries, limit, wanted)

        return await self._in_thread(lambda: self._current(search))

    def _search(
        self, queries: Direction, limit: int, states: Sequence[HintState]
    ) -> list[list[ScoredHint]]:
        return [
            [
                ScoredHint(hint=hint, similarity=similarity, vector=vector)
                for similarity, hint_id, vector in found
                # On a server a writer may be between the log and the index.
                if (hint := self._history.get(hint_id)) is not None
            ]
            for found in self._index.search(queries, limit, states)
        ]

    async def _rewrite(self, work_out: Callable[[], Change]) -> int:
        def change_of() -> tuple[int, LoggedChange]:
            change = work_out()
            return change.number, LoggedChange(change)

        return await self._in_thread(lambda: self._write(change_of))

    def _write(self, work_out: Callable[[], tuple[_Result, LoggedChange | None]]) -> _Result:
        with self._lock:
            while True:
                self._check_open()
                self._catch_up()
                result, logged = work_out()
                if logged is None:
                    return result
                if self._log.append(logged):
                    self._take([logged])
                    return result

    async def _read(self, read: Callable[[], _Result]) -> _Result:
        return await self._in_thread(lambda: self._current(read))

    def _current(self, read: Callable[[], _Result]) -> _Result:
        with self._lock:
            self._check_open()
            self._catch_up()
            return read()

    async def _in_thread(self, blocking: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.to_thread(blocking)
        except (StoreError, ValueError):
            raise
        except Exception as error:
            raise failure(self._address, error, self._secret) from None

    def _catch_up(self) -> None:
        news = self._log.read(self._history.latest)
        if news:
            self._take(news)

    def _take(self, news: Sequence[LoggedChange]) -> None:
        # What was embedded anew meanwhile has a later vector.
        directions = {
            hint_id: direction
            for logged in news
            for hint_id, direction in logged.directions.items()
        }
        if any(len(direction) != self.dimension for direction in directions.values()):
            raise StoreError(
                f"{self._address}: this knowledge base now has vectors of another model; "
                "open it again"
            )
        for logged in news:
            self._history.record(logged.change)
        touched = dict.fromkeys(hint.hint_id for logged in news for hint in logged.change.hints)
        self._index.put([self._history[hint_id] for hint_id in touched], directions)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self._address}: this knowledge base is closed; open it again")

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._log.close()


def failure(address: str, error: Exception, secret: str = "") -> StoreError:
    """Turn what a client raised into one line, without the secret."""
    text = f"{type(error).__name__}: {error}"
    shown = clean_text(text.replace(secret, "***") if secret else text, 200)
    return StoreError(f"{address}: the knowledge base failed: {shown}")


class InMemoryHintStore(LoggedHintStore):
    """The reference hint store: everything in memory, gone with the process.

    One search stays in the event loop: about a millisecond at 10,000 hints of 384 dimensions.

    Args:
        dimension: Length of every vector, at least 1.
        namespace: The namespace of every hint.
        embedding_model: What vectors are made with; empty if unknown.

    Raises:
        ValueError: ``dimension`` is below 1, or ``namespace`` is none.
    """

    def __init__(self, dimension: int, namespace: str = "", embedding_model: str = "") -> None:
        super().__init__(
            MemoryLog(),
            ExactIndex(),
            dimension,
            namespace=namespace,
            embedding_model=embedding_model,
        )

    async def _read(self, read: Callable[[], _Result]) -> _Result:
        return self._current(read)
