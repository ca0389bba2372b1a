"""The SQLite file behind a call journal: its rows and its transactions. Everything here blocks.

A table of totals stands beside the rows and changes in the same transactions, so the cost of a run
is known without reading a million answers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path

from agentrec.errors import FailureKind, InputError
from agentrec.llm.cost.usage import Spending
from agentrec.sqlite_rows import insert_rows


@dataclass(frozen=True)
class JournaledAnswer:
    """One answer of a model.

    Attributes:
        text: The answer.
        input_tokens: Tokens read for it, 0 if not reported.
        output_tokens: Tokens written, 0 if not reported.
        model: The model's name at the gateway.
        attempt: Number of the attempt that brought it, from 1.
    """

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""
    attempt: int = 1


@dataclass(frozen=True)
class JournaledFailure:
    """One failed call; it does not keep the call from being made again.

    Attributes:
        key: Content-derived key of the request.
        node: What the call was for.
        kind: What kind of failure it was.
        problem: One line without secrets.
        time: When, in seconds since 1970.
        attempt: Number of the attempt, from 1.
        model: The model's name at the gateway.
        input_tokens: Tokens read, if the model reported them.
        output_tokens: Tokens written, if the model reported them.
    """

    key: str
    node: str
    kind: FailureKind
    problem: str
    time: float
    attempt: int
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


# Seconds to wait for another process that is writing, which takes milliseconds unless it is
# stopped or the disk is very slow.
BUSY_TIMEOUT = 30.0

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS answers (
        key TEXT PRIMARY KEY,
        node TEXT NOT NULL,
        text TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        model TEXT NOT NULL DEFAULT '',
        attempt INTEGER NOT NULL DEFAULT 1
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS failures (
        key TEXT NOT NULL,
        node TEXT NOT NULL,
        kind TEXT NOT NULL,
        problem TEXT NOT NULL,
        time REAL NOT NULL,
        attempt INTEGER NOT NULL,
        model TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS facts (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS sums (
        node TEXT NOT NULL,
        model TEXT NOT NULL,
        answers INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        lost_input_tokens INTEGER NOT NULL,
        lost_output_tokens INTEGER NOT NULL,
        retries INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (node, model)
    ) WITHOUT ROWID
    """,
)
_ADD_TO_SUMS = """
ON CONFLICT (node, model) DO UPDATE SET
    answers = answers + excluded.answers,
    failures = failures + excluded.failures,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    lost_input_tokens = lost_input_tokens + excluded.lost_input_tokens,
    lost_output_tokens = lost_output_tokens + excluded.lost_output_tokens,
    retries = retries + excluded.retries
"""


@dataclass
class Batch:
    """Rows that are written in one transaction."""

    answers: list[tuple[str, str, JournaledAnswer]] = field(default_factory=list)
    failures: list[JournaledFailure] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.answers or self.failures or self.facts)


@dataclass(frozen=True)
class Written:
    """The result of writing a batch.

    Attributes:
        new: The answers that were not in the file before.
        kept: The stored answers of all keys in the batch.
    """

    new: Sequence[JournaledAnswer]
    kept: Mapping[str, JournaledAnswer]


class JournalFile:
    """One connection, used by one thread at a time.

    Args:
        path: The file; created, with its folder, if it does not exist.

    Raises:
        InputError: If it is not a journal, or cannot be opened or created.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Opened in one thread and used in another, never in two at a time.
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT, check_same_thread=False, isolation_level=None
            )
        except (sqlite3.Error, OSError) as error:
            raise _unusable(error, path) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise _unusable(error, path) from error

    def answers(self, keys: Sequence[str]) -> dict[str, JournaledAnswer]:
        """Return the stored answers of some keys."""
        rows = self._connection.execute(
            "SELECT key, text, input_tokens, output_tokens, model, attempt FROM answers "
            "WHERE key IN (SELECT value FROM json_each(?))",
            (json.dumps(keys),),
        )
        return {row[0]: JournaledAnswer(*row[1:]) for row in rows}

    def write(self, batch: Batch) -> Written:
        """Write all rows or none; of several answers under one key the first stays."""
        with self._transaction() as connection:
            earlier = self.answers([key for key, _, _ in batch.answers])
            new: dict[str, tuple[str, JournaledAnswer]] = {}
            for key, node, answer in batch.answers:
                if key not in earlier:
                    new.setdefault(key, (node, answer))
            rows = [(key, node, *astuple(answer)) for key, (node, answer) in new.items()]
            insert_rows(connection, "INSERT INTO answers", rows)
            insert_rows(connection, "INSERT INTO failures", [astuple(f) for f in batch.failures])
            connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", batch.facts)
            answered = [
                (node, a.model, 1, 0, a.input_tokens, a.output_tokens, 0, 0, a.attempt > 1)
                for node, a in new.values()
            ]
            failed = [
                (f.node, f.model, 0, 1, 0, 0, f.input_tokens, f.output_tokens, f.attempt > 1)
                for f in batch.failures
            ]
            insert_rows(connection, "INSERT INTO sums", [*answered, *failed], _ADD_TO_SUMS)
        added = {key: answer for key, (_, answer) in new.items()}
        return Written(tuple(added.values()), earlier | added)

    def spendings(self) -> tuple[Spending, ...]:
        """Return what was paid, by node and model."""
        rows = self._connection.execute("SELECT * FROM sums ORDER BY node, model")
        return tuple(Spending(*row) for row in rows)

    def facts(self) -> dict[str, str]:
        """Return the facts stored beside the answers."""
        return dict(self._connection.execute("SELECT name, value FROM facts"))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        with self._transaction() as connection:
            for table in _TABLES:
                connection.execute(table)
        # These fail on tables of other programs with the same names.
        self.answers([""])
        self.facts()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk has ended the transaction already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _unusable(error: Exception, path: Path) -> InputError:
    if "locked" in str(error):
        problem = "the call journal is locked by another process; stop it or wait for it"
        return InputError(problem, file=path)
    return InputError(f"cannot be used as a call journal ({error})", file=path)
