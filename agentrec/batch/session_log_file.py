"""What is kept of a session in a batch, and what is told of all of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

import portalocker

from agentrec.atomic_files import write_pieces_atomically
from agentrec.batch.partitions import ResultFormat
from agentrec.errors import InputError, StoreError
from agentrec.sqlite_rows import insert_rows

Remarks = Literal["failures", "rejected"]
"""What is told of sessions without a result, each in a file of its own."""


@dataclass(frozen=True, slots=True)
class DoneSession:
    """A session that was worked on.

    Attributes:
        session_id: Its id, unique in its batch.
        place: Number of its row in the input, from 0.
        row: What is to be written of it, a JSON object.
        failure: Kind of its failure; ``None`` if it has a result.
    """

    session_id: str
    place: int
    row: Mapping[str, object]
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class KnownSession:
    """What a log knows of a session.

    Attributes:
        place: Number of its row in the input, from 0.
        failure: Kind of its failure; ``None`` if it has a result.
    """

    place: int
    failure: str | None


@dataclass(frozen=True, slots=True)
class RejectedSession:
    """A row of the input that is no session to be worked on.

    Attributes:
        place: Number of the row, from 0.
        reason: A stable word for reports.
        row: What is to be written of it, a JSON object.
    """

    place: int
    reason: str
    row: Mapping[str, object]


@dataclass(frozen=True)
class BatchCounts:
    """How many sessions came to what.

    Attributes:
        done: Sessions with a result.
        failed: By kind of failure.
        rejected: Rows of the input that are no sessions, by reason.
    """

    done: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> int:
        """Sessions that failed, whatever with."""
        return sum(self.failed.values())

    @property
    def rejections(self) -> int:
        """Rows that were rejected, whatever for."""
        return sum(self.rejected.values())


# Seconds to wait for another process; there is none but one that reads.
_BUSY_TIMEOUT = 30.0
# SQLite's least of variables in one statement.
_MOST_VARIABLES = 900

RESULTS = "results"
"""Name of the folder of the parts: it holds nothing else, so that it can be read as a whole."""

_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY,
    place INTEGER NOT NULL,
    failure TEXT,
    part INTEGER,
    row TEXT
);
CREATE INDEX IF NOT EXISTS unwritten ON sessions (part, place) WHERE row IS NOT NULL;
CREATE TABLE IF NOT EXISTS rejected (
    place INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    row TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
"""
# A result stays; a failure gives way to whatever came of trying again.
_UNLESS_A_RESULT = """
ON CONFLICT (session_id) DO UPDATE SET failure = excluded.failure, row = excluded.row
WHERE sessions.failure IS NOT NULL
"""


class SessionLogFile:
    """One connection, used by one thread at a time.

    Args:
        folder: Where the log and what failed lie, made where it is missing.
        form: How parts are written.
        results: Where results lie, in a folder of their own; ``None`` for ``folder`` too.
        label: What the names of parts begin with, where several logs share a folder of results.

    Raises:
        InputError: If the log is none, or cannot be opened or made.
        StoreError: If another process has it open.
    """

    def __init__(
        self, folder: Path, form: ResultFormat, *, results: Path | None = None, label: str = ""
    ) -> None:
        self._folder = folder
        self._results = (folder if results is None else results) / RESULTS
        self._label = label
        self._form = form
        self._path = folder / "sessions.sqlite"
        with self._typed():
            folder.mkdir(parents=True, exist_ok=True)
            self._results.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / ".lock").open("ab")
        try:
            flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
            # Let go of by the operating system when the process ends, however it ends.
            portalocker.lock(self._lock, flags)
        except portalocker.exceptions.LockException as error:
            self._lock.close()
            raise StoreError(f"{folder}: another process is at work on this batch") from error
        with self._typed():
            # Opened in one thread and used in another, never in two at a time.
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_TIMEOUT, check_same_thread=False, isolation_level=None
            )
        try:
            with self._typed():
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")
                self._connection.executescript(_TABLES)
                self._finish_parts()
        except BaseException:
            self.close()
            raise

    def known(self, session_ids: Sequence[str]) -> dict[str, KnownSession]:
        """What is known of sessions, by id."""
        found: dict[str, KnownSession] = {}
        with self._typed():
            for start in range(0, len(session_ids), _MOST_VARIABLES):
                asked = session_ids[start : start + _MOST_VARIABLES]
                places = ",".join("?" * len(asked))
                rows = self._connection.execute(
                    # The values are bound; what is put in are question marks.
                    f"SELECT session_id, place, failure FROM sessions"  # noqa: S608
                    f" WHERE session_id IN ({places})",
                    asked,
                )
                found.update({one: KnownSession(place, failure) for one, place, failure in rows})
        return found

    def keep(self, done: Sequence[DoneSession], rejected: Sequence[RejectedSession]) -> None:
        """Keep what came of sessions, in one transaction."""
        with self._transaction() as connection:
            insert_rows(
                connection,
                "INSERT INTO sessions (session_id, place, failure, row)",
                [(one.session_id, one.place, one.failure, _json(one.row)) for one in done],
                _UNLESS_A_RESULT,
            )
            insert_rows(
                connection,
                "INSERT OR IGNORE INTO rejected",
                [(one.place, one.reason, _json(one.row)) for one in rejected],
            )

    def unwritten(self) -> int:
        """How many results are in no part yet."""
        return self._number(
            "SELECT COUNT(*) FROM sessions"
            " WHERE row IS NOT NULL AND part IS NULL AND failure IS NULL"
        )

    def write_part(self) -> Path | None:
        """Make a part of the results that are in none; ``None`` if there is no such result."""
        if not self.unwritten():
            return None
        part = 1 + self._number("SELECT COALESCE(MAX(part), -1) FROM sessions")
        with self._transaction() as connection:
            connection.execute(
                "UPDATE sessions SET part = ?"
                " WHERE row IS NOT NULL AND part IS NULL AND failure IS NULL",
                (part,),
            )
        self._finish_parts()
        return self._part_file(part)

    def write_remarks(self) -> None:
        """Write what failed and what was rejected, each a file of JSON lines, if there is any."""
        with self._typed():
            failed = self._connection.execute(
                "SELECT row FROM sessions WHERE failure IS NOT NULL ORDER BY place"
            )
            self._write_lines("failures", failed)
            rejected = self._connection.execute("SELECT row FROM rejected ORDER BY place")
            self._write_lines("rejected", rejected)

    def counts(self) -> BatchCounts:
        """How many sessions came to what."""
        with self._typed():
            states = dict(
                self._connection.execute("SELECT failure, COUNT(*) FROM sessions GROUP BY failure")
            )
            rejected = dict(
                self._connection.execute("SELECT reason, COUNT(*) FROM rejected GROUP BY reason")
            )
        return BatchCounts(states.pop(None, 0), states, rejected)

    def fact(self, name: str) -> str | None:
        """Something that was noted; ``None`` if it was not."""
        with self._typed():
            found = self._connection.execute(
                "SELECT value FROM facts WHERE name = ?", (name,)
            ).fetchone()
        return None if found is None else str(found[0])

    def note(self, name: str, value: str) -> None:
        """Note something; a later value replaces it."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Let go of the file; nothing else may be called afterwards."""
        self._connection.close()
        self._lock.close()

    def _finish_parts(self) -> None:
        """Write parts whose rows are here still; again, if a crash came after the writing."""
        parts = self._connection.execute(
            "SELECT DISTINCT part FROM sessions WHERE row IS NOT NULL AND part IS NOT NULL"
        ).fetchall()
        for (part,) in parts:
            rows = self._connection.execute(
                "SELECT row FROM sessions WHERE row IS NOT NULL AND part = ? ORDER BY place",
                (part,),
            )
            file = self._part_file(part)
            try:
                self._form.write(file, (json.loads(row) for (row,) in rows))
            except OSError as error:
                raise StoreError(f"{file}: cannot be written ({error.strerror})") from error
            with self._transaction() as connection:
                connection.execute(
                    "UPDATE sessions SET row = NULL WHERE part = ? AND row IS NOT NULL", (part,)
                )

    def _part_file(self, part: int) -> Path:
        return self._results / f"part-{self._label}{part:05d}{self._form.suffix}"

    def _write_lines(self, name: Remarks, rows: sqlite3.Cursor) -> None:
        file = self._folder / f"{name}.jsonl"
        first = rows.fetchone()
        if first is None:
            file.unlink(missing_ok=True)
        else:
            # One by one: nothing bounds how many rows of a file are wrong.
            write_pieces_atomically(file, (f"{row}\n".encode() for (row,) in chain([first], rows)))

    def _number(self, query: str) -> int:
        with self._typed():
            return int(self._connection.execute(query).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._typed():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self._path}: cannot be used ({error})") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"is not a log of sessions ({error})", file=self._path) from error
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", file=self._path) from error


def _json(row: object) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
