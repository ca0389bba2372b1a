from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from agentrec.sqlite_rows import insert_rows


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER, note TEXT)")
        yield connection


def things(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT * FROM things ORDER BY name").fetchall()


def test_values_come_back_as_they_were(connection: sqlite3.Connection) -> None:
    rows = [("a\0b", 1, None), ("'); DROP TABLE things; --", -(2**62), "漢\n")]
    insert_rows(connection, "INSERT INTO things", rows)
    assert things(connection) == sorted(rows)


def test_nothing_is_inserted_of_no_rows(connection: sqlite3.Connection) -> None:
    insert_rows(connection, "INSERT INTO things", [])
    assert not things(connection)


def test_more_rows_than_one_statement_takes(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 10)
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    rows = [(f"{n:02d}", n, "x") for n in range(10)]
    insert_rows(connection, "INSERT INTO things", rows)
    connection.set_trace_callback(None)
    assert len(asked) == 4
    assert things(connection) == rows


def test_the_end_of_the_statement_holds_for_every_row(connection: sqlite3.Connection) -> None:
    rows = [("a", 1, "x"), ("b", 2, "x"), ("a", 3, "x")]
    insert_rows(connection, "INSERT INTO things", rows, "ON CONFLICT DO NOTHING")
    assert things(connection) == rows[:2]
