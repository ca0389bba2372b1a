"""Files with sessions to recommend for, and what is read from them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
from pyarrow import parquet

from agentrec.catalog import Catalog, Item
from agentrec.data import RejectedRow, SessionRow
from agentrec.sessions import Session

CATALOG = Catalog(Item(item_id=i, title=i.upper()) for i in ("a", "b", "c", "d", "7", "8", "x|y"))
GOOD = {"session_id": "s", "items": ["a", "b"], "candidates": ["c", "d"]}
NEEDED = ("session_id", "items", "candidates")

Rows = list[SessionRow | RejectedRow]


def row(**changes: object) -> dict[str, object]:
    """Give a sound row with some fields changed, or left out where they are ``...``."""
    return {k: v for k, v in {**GOOD, **changes}.items() if v is not ...}


def lines_file(folder: Path, *lines: object, name: str = "sessions.jsonl") -> Path:
    """Write lines: objects are dumped, texts and bytes written as they are."""
    file = folder / name
    raw = [
        line
        if isinstance(line, bytes)
        else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    file.write_bytes(b"".join(line + b"\n" for line in raw))
    return file


def csv_file(folder: Path, *lines: str | bytes, header: str = ",".join(NEEDED)) -> Path:
    return lines_file(folder, header, *lines, name="sessions.csv")


def parquet_file(folder: Path, **columns: object) -> Path:
    file = folder / "sessions.parquet"
    parquet.write_table(pyarrow.table(columns), file)
    return file


def rejected(rows: Rows) -> RejectedRow:
    """The only row there is, which was rejected."""
    (only,) = rows
    assert isinstance(only, RejectedRow)
    assert "\n" not in only.problem
    assert only.raw.isprintable()
    assert len(only.raw) <= 500
    return only


def sessions(rows: Rows) -> list[Session]:
    assert all(isinstance(one, SessionRow) for one in rows), rows
    return [one.session for one in rows if isinstance(one, SessionRow)]
