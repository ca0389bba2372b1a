"""The truth of a knowledge base: an append-only log of revisions, in memory or in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from agentrec.catalog import clean_text
from agentrec.errors import StoreError
from agentrec.hints import Hint
from agentrec.stores.hints.history import Change

Direction = npt.NDArray[np.float64]

FORMAT = "1"
_WAIT_FOR_WRITER = 10.0
_SCHEMA = {
    "base": "CREATE TABLE base (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "revision": (
        "CREATE TABLE revision (number INTEGER PRIMARY KEY, at TEXT NOT NULL, note TEXT NOT NULL)"
    ),
    "version": (
        "CREATE TABLE version (revision INTEGER NOT NULL, position INTEGER NOT NULL, "
        "hint TEXT NOT NULL, direction BLOB, PRIMARY KEY (revision, position)) WITHOUT ROWID"
    ),
}


@dataclass(frozen=True)
class LoggedChange:
    """A revision as the log holds it.

    Attributes:
        change: The revision and the hints it added or changed.
        directions: Vectors of length 1 that came with it, ``[dimension]``, by hint id.
    """

    change: Change
    directions: Mapping[str, Direction] = field(default_factory=dict)


class RevisionLog(Protocol):
    """Appends revisions and reads them back, in order. Methods may block."""

    def read(self, after: int) -> list[LoggedChange]:
        """Read the revisions that follow a number, the first one first."""
        ...

    def append(self, logged: LoggedChange) -> bool:
        """Append a revision, all of it or nothing.

        Returns:
            False if another writer has appended a revision with this number.
        """
        ...

    def close(self) -> None:
        """Give back what it holds open. Closing twice is allowed."""
        ...


class MemoryLog:
    """Keeps nothing: the store's own memory is all there is."""

    def read(self, after: int) -> list[LoggedChange]:
        """See ``RevisionLog.read``."""
        return []

    def append(self, logged: LoggedChange) -> bool:
        """See ``RevisionLog.append``."""
        return True

    def close(self) -> None:
        """See ``RevisionLog.close``."""


@dataclass(frozen=True)
class BaseFacts:
    """What a knowledge base is made with.

    Attributes:
        dimension: Length of its vectors.
        embedding_model: What its vectors are made with; empty if unknown.
    """

    dimension: int
    embedding_model: str = ""


class SqliteLog:
    """Revisions in one SQLite file. One process writes at a time, any number reads meanwhile.

    A file may come from a stranger, so it must hold the three tables of this format and nothing
    else: no views, no triggers. Hints are JSON, vectors are bytes of 64-bit floats.

    Args:
        file: The file.
        facts: What to make it with if it is not there; ``None`` if it must be there.

    Raises:
        StoreError: It is missing, damaged, in use or not such a file.
    """

    def __init__(self, file: Path, facts: BaseFacts | None = None) -> None:
        self._file = file
        if file.is_symlink():
            raise StoreError(f"{file}: is a symbolic link; name the knowledge base itself")
        if facts is None and not file.is_file():
            raise StoreError(f"{file.parent}: there is no knowledge base here")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                file, timeout=_WAIT_FOR_WRITER, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from error
        try:
            self._prepare(facts)
        except BaseException:
            self._connection.close()
            raise

    def facts(self) -> BaseFacts:
        """Read what the knowledge base is made with."""
        try:
            known = dict(self._connection.execute("SELECT key, value FROM base"))
            return BaseFacts(int(known["dimension"]), known["embedding_model"])
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise self._failure(error) from error

    def latest(self) -> int:
        """Return the number of the last revision, 0 before the first."""
        return int(self._connection.execute("SELECT MAX(number) FROM revision").fetchone()[0] or 0)

    def read(self, after: int) -> list[LoggedChange]:
        """See ``RevisionLog.read``."""
        try:
            if self.latest() <= after:
                return []
            # One statement: a writer that commits meanwhile is seen whole or not at all.
            rows = self._connection.execute(
                "SELECT number, at, note, hint, direction FROM revision "
                "LEFT JOIN version ON version.revision = number "
                "WHERE number > ? ORDER BY number, position",
                (after,),
            ).fetchall()
            return _changes(rows)
        except (sqlite3.Error, ValidationError, ValueError, TypeError) as error:
            raise self._failure(error) from error

    def append(self, logged: LoggedChange) -> bool:
        """See ``RevisionLog.append``."""
        return self._append(logged, None)

    def append_embedded_anew(self, logged: LoggedChange, facts: BaseFacts) -> bool:
        """Append a revision that gives all hints vectors of another model."""
        return self._append(logged, facts)

    def _append(self, logged: LoggedChange, facts: BaseFacts | None) -> bool:
        change = logged.change
        rows = [
            (change.number, position, json.dumps(hint.model_dump()), _blob(logged, hint))
            for position, hint in enumerate(change.hints)
        ]
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if self.latest() >= change.number:
                    connection.execute("ROLLBACK")
                    return False
                connection.execute(
                    "INSERT INTO revision VALUES (?, ?, ?)",
                    (change.number, change.at.isoformat(), change.note),
                )
                connection.executemany("INSERT INTO version VALUES (?, ?, ?, ?)", rows)
                if facts is not None:
                    self._write_facts(facts)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._failure(error) from error
        return True

    def close(self) -> None:
        """See ``RevisionLog.close``."""
        self._connection.close()

    def _prepare(self, facts: BaseFacts | None) -> None:
        connection = self._connection
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            if facts is not None and not self._schema():
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                # Another process may have been first.
                if not self._schema():
                    for statement in _SCHEMA.values():
                        connection.execute(statement)
                    connection.execute("INSERT INTO base VALUES ('format', ?)", (FORMAT,))
                    self._write_facts(facts)
                connection.execute("COMMIT")
            if self._schema() != set(_SCHEMA.items()):
                raise StoreError(f"{self._file}: is not a knowledge base of this version")
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _schema(self) -> set[tuple[str, str]]:
        rows = self._connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        )
        return {(str(name), str(sql)) for name, sql in rows}

    def _write_facts(self, facts: BaseFacts) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO base VALUES (?, ?)",
            [("dimension", str(facts.dimension)), ("embedding_model", facts.embedding_model)],
        )

    def _failure(self, error: Exception) -> StoreError:
        if "locked" in str(error) or "busy" in str(error):
            return StoreError(
                f"{self._file.parent}: another process is writing to this knowledge base; "
                "try again when it is done"
            )
        shown = clean_text(str(error), 200)
        return StoreError(f"{self._file}: the knowledge base cannot be used ({shown})")


def _blob(logged: LoggedChange, hint: Hint) -> bytes | None:
    direction = logged.directions.get(hint.hint_id)
    return None if direction is None else direction.astype("<f8").tobytes()


def _changes(rows: list[tuple[int, str, str, str | None, bytes | None]]) -> list[LoggedChange]:
    changes: list[LoggedChange] = []
    hints: list[Hint] = []
    directions: dict[str, Direction] = {}
    for row, (number, at, note, text, blob) in enumerate(rows):
        if text is not None:
            hint = Hint.model_validate(json.loads(text))
            hints.append(hint)
            if blob is not None:
                directions[hint.hint_id] = np.frombuffer(blob, dtype="<f8").astype(np.float64)
        if row + 1 == len(rows) or rows[row + 1][0] != number:
            change = Change(number, datetime.fromisoformat(at), note, tuple(hints))
            changes.append(LoggedChange(change, directions))
            hints, directions = [], {}
    return changes
