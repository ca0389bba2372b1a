"""Every answer that was paid for, in a file before anybody sees it.

Kept against the death of the process, however sudden: with SQLite's write-ahead log a commit has
handed its pages to the operating system, which writes them out whoever dies. ``synchronous`` is
NORMAL, so a commit does not wait for the disk itself: a power cut or a crash of the operating
system can cost the answers of the last moments (they are asked for again), never the file.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from agentrec.errors import AgentRecError, InputError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    text TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class JournaledAnswer:
    """One answer of a model.

    Attributes:
        text: The answer.
        input_tokens: Tokens read for it, 0 if the model does not say.
        output_tokens: Tokens written, 0 if the model does not say.
    """

    text: str
    input_tokens: int = 0
    output_tokens: int = 0


class CallJournal:
    """Answers by key, in an SQLite file.

    Look-ups are answered from memory. Writes of concurrent callers share one transaction, made
    in a thread of the journal's own; ``put`` returns once that is committed, and not earlier, so
    an answer that was seen is there after the process was killed. Of several answers under one
    key the first stays. Only answers are kept: a failed call leaves nothing and is made again.

    Use ``await CallJournal.open(path)`` and ``async with``.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        thread: ThreadPoolExecutor,
        answers: dict[str, JournaledAnswer],
    ) -> None:
        self._connection = connection
        self._thread = thread
        self._answers = answers
        self._waiting: list[tuple[str, str, JournaledAnswer, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> CallJournal:
        """Open a journal, making it where there is none.

        Raises:
            InputError: If the file is not a journal, or cannot be opened or made.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="call-journal")
        loop = asyncio.get_running_loop()
        try:
            connection, answers = await loop.run_in_executor(thread, _open, path)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(connection, thread, answers)

    def get(self, key: str) -> JournaledAnswer | None:
        """The answer under a key, if there is one; never blocks."""
        return self._answers.get(key)

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def tokens(self) -> Mapping[str, int]:
        """Tokens read and written for all answers kept."""
        return {
            "input": sum(answer.input_tokens for answer in self._answers.values()),
            "output": sum(answer.output_tokens for answer in self._answers.values()),
        }

    async def put(self, key: str, node: str, answer: JournaledAnswer) -> None:
        """Keep an answer; returns when it is committed.

        Args:
            key: Content-derived key of the request.
            node: What step of what graph the call was made for.
            answer: The answer.

        Raises:
            AgentRecError: If it could not be written (the disk is full, the journal closed).
        """
        if self._closed:
            raise AgentRecError("the call journal is closed")
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        self._waiting.append((key, node, answer, stored))
        if self._writer is None:
            self._writer = loop.create_task(self._write_all())
        # Shielded: the answer is paid for, so a caller that is cancelled must not take it along.
        await asyncio.shield(stored)

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                rows = [(k, n, _text(a), a.input_tokens, a.output_tokens) for k, n, a, _ in batch]
                try:
                    await loop.run_in_executor(self._thread, _insert, self._connection, rows)
                # Whatever it is: a caller that is told nothing would wait for ever.
                except Exception as error:
                    problem = f"an answer could not be written to the call journal: {error}"
                    for *_, stored in batch:
                        stored.set_exception(AgentRecError(problem))
                    continue
                for key, _, answer, stored in batch:
                    # Here and not in put, whose caller may be gone by now.
                    self._answers.setdefault(key, answer)
                    stored.set_result(None)
        finally:
            self._writer = None

    async def aclose(self) -> None:
        """Write what is waiting and close the file; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._writer is not None:
            # Shielded: who is cancelled while closing must not take the last answers along.
            await asyncio.shield(self._writer)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._connection.close)
        # Nothing is left for it to do, and waiting for its end would block the loop.
        self._thread.shutdown(wait=False)

    async def __aenter__(self) -> CallJournal:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _open(path: Path) -> tuple[sqlite3.Connection, dict[str, JournaledAnswer]]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"a call journal cannot be opened here ({error})", file=path) from error
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_SCHEMA)
        rows = connection.execute("SELECT key, text, input_tokens, output_tokens FROM answers")
        return connection, {row[0]: JournaledAnswer(*row[1:]) for row in rows}
    except sqlite3.DatabaseError as error:
        connection.close()
        raise InputError(f"cannot be used as a call journal ({error})", file=path) from error


def _text(answer: JournaledAnswer) -> str:
    # Half a surrogate pair (an answer cut off in the middle of a character) is no UTF-8.
    return answer.text.encode("utf-8", "replace").decode("utf-8")


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[str, str, str, int, int]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
