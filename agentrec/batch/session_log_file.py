"""The SQLite file of a session log, and the result files beside it; everything here blocks.

A result is first a row in the log. Once there are enough, they become a part file: the log notes
which rows belong to it, the file is written atomically, and the log drops the rows' content. If the
process is killed in between, the next opening finds rows and part number and writes the same file
again. So every result is in the output exactly once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import portalocker

from agentrec.atomic_files import write_pieces_atomically
from agentrec.batch.partitions import ResultFormat
from agentrec.errors import InputError, StoreError
from agentrec.sqlite_rows import insert_rows

RESULTS = "results"
"""Folder of the part files. It holds nothing else, so it can be read as a whole."""
FAILURES = "failures.jsonl"
REJECTED = "rejected.jsonl"

_BUSY_TIMEOUT = 30.0
# SQLite allows at least so many variables in a statement.
_VERSION = 2

_TABLES = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY,
    row_index INTEGER NOT NULL,
    failure TEXT,
    part INTEGER,
    content TEXT
);
CREATE INDEX IF NOT EXISTS unwritten ON sessions (part, row_index) WHERE content IS NOT NULL;
CREATE TABLE IF NOT EXISTS rejected (
    row_index INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
PRAGMA user_version = {_VERSION};
COMMIT;
"""
# A result stays; a failure is replaced by the outcome of the next try.
_KEEP_RESULTS = """
ON CONFLICT (session_id) DO UPDATE SET failure = excluded.failure, content = excluded.content
WHERE sessions.failure IS NOT NULL
"""
_COUNT_UNWRITTEN = """
SELECT COUNT(*) FROM sessions WHERE content IS NOT NULL AND part IS NULL AND failure IS NULL
"""
_ASSIGN_PART = """
UPDATE sessions SET part = ? WHERE content IS NOT NULL AND part IS NULL AND failure IS NULL
"""


@dataclass(frozen=True, slots=True)
class FinishedSession:
    """A session with a result or a failure.

    Attributes:
        session_id: Its id, unique in its batch.
        row_index: Index of its row in the input, from 0.
        content: What is written about it, a JSON object.
        failure: Kind of its failure; ``None`` if it has a result.
    """

    session_id: str
    row_index: int
    content: Mapping[str, object]
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class KnownSession:
    """What a log knows of a session.

    Attributes:
        row_index: Index of its row in the input, from 0.
        failure: Kind of its failure; ``None`` if it has a result.
    """

    row_index: int
    failure: str | None


@dataclass(frozen=True, slots=True)
class RejectedSession:
    """A row of the input that is not a usable session.

    Attributes:
        row_index: Index of the row, from 0.
        reason: A stable word for reports.
        content: What is written about it, a JSON object.
    """

    row_index: int
    reason: str
    content: Mapping[str, object]


@dataclass(frozen=True)
class BatchCounts:
    """How many sessions have which outcome.

    Attributes:
        done: Sessions with a result.
        failed: Failed sessions, by kind of failure.
        rejected: Rows that are not usable sessions, by reason.
    """

    done: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)


class SessionLogFile:
    """One connection, used by one thread at a time.

    Args:
        folder: Folder of the log and of failures; created if missing.
        result_format: How part files are written.
        results: Folder that holds the folder of part files; ``None`` for ``folder``.
        prefix: Prefix of part files' names, where several logs share their folder.

    Raises:
        InputError: If the file is not a session log, is one of another version, or cannot be
            opened or created.
        StoreError: If another process has it open.
    """

    def __init__(
        self,
        folder: Path,
        result_format: ResultFormat,
        *,
        results: Path | None = None,
        prefix: str = "",
    ) -> None:
        self._folder = folder
        self._results = (folder if results is None else results) / RESULTS
        self._prefix = prefix
        self._format = result_format
        self._path = folder / "sessions.sqlite"
        with self._typed_errors():
            folder.mkdir(parents=True, exist_ok=True)
            self._results.mkdir(parents=True, exist_ok=True)
            # The operating system releases it when the process ends, however it ends.
            self._lock = (folder / ".lock").open("ab")
        try:
            flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
            portalocker.lock(self._lock, flags)
        except portalocker.exceptions.LockException as error:
            self._lock.close()
            raise StoreError(f"{folder}: another process is working on this batch") from error
        with self._typed_errors():
            # Opened in one thread and used in another, never in two at a time.
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_TIMEOUT, check_same_thread=False, isolation_level=None
            )
        try:
            with self._typed_errors():
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")
                self._check_version()
                self._connection.executescript(_TABLES)
                self._finish_parts()
        except BaseException:
            self.close()
            raise

    def known(self, session_ids: Sequence[str]) -> dict[str, KnownSession]:
        """Return what is known of sessions, by id."""
        with self._typed_errors():
            rows = self._connection.execute(
                "SELECT session_id, row_index, failure FROM sessions"
                " WHERE session_id IN (SELECT value FROM json_each(?))",
                (json.dumps(session_ids),),
            )
            return {one: KnownSession(index, failure) for one, index, failure in rows}

    def keep(
        self, finished: Sequence[FinishedSession], rejected: Sequence[RejectedSession]
    ) -> None:
        """Keep sessions and rejected rows, in one transaction."""
        with self._transaction() as connection:
            insert_rows(
                connection,
                "INSERT INTO sessions (session_id, row_index, failure, content)",
                [(one.session_id, one.row_index, one.failure, _json(one)) for one in finished],
                _KEEP_RESULTS,
            )
            insert_rows(
                connection,
                "INSERT OR IGNORE INTO rejected",
                [(one.row_index, one.reason, _json(one)) for one in rejected],
            )

    def unwritten(self) -> int:
        """Return how many results are in no part file yet."""
        return self._number(_COUNT_UNWRITTEN)

    def write_part(self) -> None:
        """Write a part file of the results that are in none, if there are any."""
        if not self.unwritten():
            return
        part = 1 + self._number("SELECT COALESCE(MAX(part), -1) FROM sessions")
        with self._transaction() as connection:
            connection.execute(_ASSIGN_PART, (part,))
        self._finish_parts()

    def write_failures(self) -> None:
        """Write failed sessions and rejected rows, each as a file of JSON lines, if any."""
        with self._typed_errors():
            failed = "SELECT content FROM sessions WHERE failure IS NOT NULL ORDER BY row_index"
            self._write_lines(FAILURES, self._connection.execute(failed))
            rejected = "SELECT content FROM rejected ORDER BY row_index"
            self._write_lines(REJECTED, self._connection.execute(rejected))

    def counts(self) -> BatchCounts:
        """Return how many sessions have which outcome."""
        with self._typed_errors():
            failed = dict(
                self._connection.execute("SELECT failure, COUNT(*) FROM sessions GROUP BY failure")
            )
            rejected = dict(
                self._connection.execute("SELECT reason, COUNT(*) FROM rejected GROUP BY reason")
            )
        return BatchCounts(failed.pop(None, 0), failed, rejected)

    def fact(self, name: str) -> str | None:
        """Return a noted value; ``None`` if there is none."""
        query = "SELECT value FROM facts WHERE name = ?"
        with self._typed_errors():
            found = self._connection.execute(query, (name,)).fetchone()
        return None if found is None else str(found[0])

    def set_fact(self, name: str, value: str) -> None:
        """Note a value; it replaces an earlier one."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Release the file; nothing else may be called afterwards."""
        self._connection.close()
        self._lock.close()

    def _check_version(self) -> None:
        has_tables = self._number("SELECT COUNT(*) FROM sqlite_master")
        if has_tables and self._number("PRAGMA user_version") != _VERSION:
            raise InputError(
                "was written by another version of agentrec; finish the batch with that version or"
                " name another folder with --out",
                file=self._path,
            )

    def _finish_parts(self) -> None:
        """Write the part files whose rows are still here, again if a crash came after writing."""
        parts = self._connection.execute(
            "SELECT DISTINCT part FROM sessions WHERE content IS NOT NULL AND part IS NOT NULL"
        ).fetchall()
        for (part,) in parts:
            rows = self._connection.execute(
                "SELECT content FROM sessions WHERE content IS NOT NULL AND part = ?"
                " ORDER BY row_index",
                (part,),
            )
            file = self._results / f"part-{self._prefix}{part:05d}.{self._format.name}"
            try:
                self._format.write(file, (json.loads(row) for (row,) in rows))
            except OSError as error:
                raise StoreError(f"{file}: cannot be written ({error.strerror})") from error
            with self._transaction() as connection:
                connection.execute(
                    "UPDATE sessions SET content = NULL WHERE part = ? AND content IS NOT NULL",
                    (part,),
                )

    def _write_lines(self, name: str, rows: sqlite3.Cursor) -> None:
        file = self._folder / name
        first = rows.fetchone()
        if first is None:
            file.unlink(missing_ok=True)
        else:
            # One by one: any number of rows may be bad.
            write_pieces_atomically(file, (f"{row}\n".encode() for (row,) in chain([first], rows)))

    def _number(self, query: str) -> int:
        with self._typed_errors():
            return int(self._connection.execute(query).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._typed_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self._path}: cannot be used ({error})") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"is not a session log ({error})", file=self._path) from error
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", file=self._path) from error


def _json(one: FinishedSession | RejectedSession) -> str:
    return json.dumps(one.content, ensure_ascii=False, separators=(",", ":"))
