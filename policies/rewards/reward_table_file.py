"""The Parquet file of a reward table: a line for each measured option of each session.

============  ========  =========================================================
column        type      holds
============  ========  =========================================================
session_id    string    the session
draw          int32     which draw of negatives its candidates are, from 0
hint_id       string    the hint; null for no hint
ndcg          float32   NDCG@10, 0 to 1
============  ========  =========================================================

Any reader of Parquet can read it. The lines of no hint stand in the order of the table's rows. The
order of the hints, of which some may not have been measured at all, and the number of lines are in
the schema's metadata under ``agentrec``, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from agentrec.errors import InputError

LARGEST_DRAW = 2**31 - 1

_FORMAT = "agentrec-reward-table-2"
_KEY = b"agentrec"


class _Header(BaseModel):
    """The schema's metadata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    hint_ids: tuple[str, ...]
    lines: int


@dataclass(frozen=True, eq=False)
class TableCells:
    """The content of a file in rows and columns; see ``RewardTable`` for the attributes."""

    session_ids: tuple[str, ...]
    draws: tuple[int, ...]
    hint_ids: tuple[str, ...]
    ndcg: npt.NDArray[np.float32]


def table_file(
    session_ids: Sequence[str],
    draws: Sequence[int],
    hint_ids: Sequence[str],
    ndcg: npt.NDArray[np.float32],
) -> bytes:
    """The content of the file; see ``RewardTable`` for the arguments."""
    # Loaded here: training from a table in memory does not need it.
    import pyarrow
    from pyarrow import parquet

    rows, columns = np.nonzero(~np.isnan(ndcg))
    hint_of = np.array([None, *hint_ids], dtype=object)
    header = _Header(format=_FORMAT, hint_ids=tuple(hint_ids), lines=len(rows))
    lines = pyarrow.Table.from_arrays(
        [
            pyarrow.array(np.array(session_ids, dtype=object)[rows], pyarrow.string()),
            pyarrow.array(np.array(draws, dtype=np.int32)[rows]),
            pyarrow.array(hint_of[columns], pyarrow.string()),
            pyarrow.array(ndcg[rows, columns]),
        ],
        schema=_schema().with_metadata({_KEY: header.model_dump_json().encode()}),
    )
    content = pyarrow.BufferOutputStream()
    parquet.write_table(lines, content, compression="zstd", write_page_checksum=True)
    whole: bytes = content.getvalue().to_pybytes()
    return whole


def read_cells(path: Path) -> TableCells:
    """Read a file that ``table_file`` made.

    Raises:
        InputError: There is no such file, or it is not a reward table.
    """
    lines = _read_lines(path)
    described = (lines.schema.metadata or {}).get(_KEY, b"null")
    try:
        header = _Header.model_validate(json.loads(described))
    except (ValidationError, ValueError) as error:
        raise InputError("its header is not that of a reward table", file=path) from error
    if header.format != _FORMAT:
        raise InputError(f"its format is {header.format!r}; {_FORMAT!r} can be read", file=path)
    if not lines.schema.equals(_schema()):
        raise InputError("its columns are not those of a reward table", file=path)
    # Parquet has checksums for what the lines hold, but none for how many there are.
    if len(lines) != header.lines:
        reason = f"is not a whole reward table ({len(lines)} of {header.lines} lines)"
        raise InputError(reason, file=path)
    try:
        lines.validate(full=True)
        return _placed(lines, header.hint_ids)
    except ValueError as error:
        raise InputError(str(error).splitlines()[0], file=path) from error


def _schema() -> Any:
    """Names and types of the columns."""
    import pyarrow

    return pyarrow.schema(
        [
            pyarrow.field("session_id", pyarrow.string(), nullable=False),
            pyarrow.field("draw", pyarrow.int32(), nullable=False),
            pyarrow.field("hint_id", pyarrow.string()),
            pyarrow.field("ndcg", pyarrow.float32(), nullable=False),
        ]
    )


def _read_lines(path: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError("there is no such file", file=path) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from error
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content), page_checksum_verification=True)
        # Few lines are read sooner by one thread, and reading leaves no threads behind.
        return file.read(use_threads=False)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"is not a whole reward table ({reason})", file=path) from error


def _placed(lines: Any, hint_ids: tuple[str, ...]) -> TableCells:
    """Put lines into rows and columns.

    Raises:
        ValueError: A line fits no cell, or two fit the same one.
    """
    sessions = lines["session_id"].combine_chunks().dictionary_encode()
    names = sessions.dictionary.to_pylist()
    draw = lines["draw"].to_numpy().astype(np.int64)
    # One number for a session and draw: both are below 2 ** 31.
    key = sessions.indices.to_numpy().astype(np.int64) * (LARGEST_DRAW + 1) + draw

    hints = lines["hint_id"].combine_chunks().dictionary_encode()
    column = {hint_id: 1 + at for at, hint_id in enumerate(hint_ids)}
    for hint_id in hints.dictionary.to_pylist():
        if hint_id not in column:
            raise ValueError(f"its header does not list the hint {hint_id!r}")
    columns_of = np.array([*(column[one] for one in hints.dictionary.to_pylist()), 0])
    columns = columns_of[hints.indices.fill_null(len(hints.dictionary)).to_numpy()]

    first = np.flatnonzero(columns == 0)
    order = np.argsort(key[first], kind="stable")
    ordered = key[first][order]
    at = np.searchsorted(ordered, key)
    known = np.append(ordered, -1)[at] == key
    if not known.all():
        lost = names[sessions.indices.to_numpy()[np.argmin(known)]]
        raise ValueError(f"session {lost!r} has no line for no hint")
    rows = order[at] if len(order) else at
    cells = rows * (1 + len(hint_ids)) + columns
    if len(np.unique(cells)) != len(cells):
        raise ValueError("it holds a session, draw and hint twice")
    values = lines["ndcg"].to_numpy()
    if np.isnan(values).any():
        raise ValueError("its ndcg holds a value that is no number")
    ndcg = np.full((len(first), 1 + len(hint_ids)), np.nan, dtype=np.float32)
    ndcg[rows, columns] = values
    return TableCells(
        tuple(names[index] for index in sessions.indices.to_numpy()[first].tolist()),
        tuple(draw[first].tolist()),
        hint_ids,
        ndcg,
    )
