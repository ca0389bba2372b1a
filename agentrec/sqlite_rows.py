"""Many rows into a SQLite table by few statements, for threads beside a busy event loop.

Python's ``sqlite3`` lets go of the interpreter's lock for every step of a statement, and while
another thread computes it takes five milliseconds to have it back (``sys.getswitchinterval``): a
hundred rows one by one take half a second.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence


def insert_rows(
    connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[object]], then: str = ""
) -> None:
    """Insert rows, as many in one step as SQLite takes values in one statement.

    Args:
        connection: In a transaction, or each statement is one of its own.
        into: How the statement begins, such as ``INSERT INTO answers``.
        rows: The rows, all of one length.
        then: How it ends, such as ``ON CONFLICT DO NOTHING``.
    """
    if not rows:
        return
    marks = f"({','.join('?' * len(rows[0]))})"
    most = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(rows[0])
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        values = ",".join([marks] * len(part))
        connection.execute(f"{into} VALUES {values} {then}", [each for row in part for each in row])
