"""Insert many rows into a SQLite table with few statements, beside a busy event loop.

Python's ``sqlite3`` releases the interpreter lock for every step of a statement. While another
thread computes, getting it back takes five milliseconds (``sys.getswitchinterval``): a hundred
single rows take half a second.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence


def insert_rows(
    connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[object]], then: str = ""
) -> None:
    """Insert rows, as many in one statement as SQLite takes.

    Args:
        connection: In a transaction, or each statement is one of its own.
        into: Beginning of the statement, such as ``INSERT INTO answers``.
        rows: The rows, all of one length.
        then: End of the statement, such as ``ON CONFLICT DO NOTHING``.
    """
    if not rows:
        return
    marks = f"({','.join('?' * len(rows[0]))})"
    most = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(rows[0])
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        values = ",".join([marks] * len(part))
        connection.execute(f"{into} VALUES {values} {then}", [each for row in part for each in row])
