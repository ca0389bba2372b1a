"""Write preference pairs as a data set for training, JSON Lines or Parquet, and read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from agentrec.atomic_files import write_atomically
from agentrec.data.records import read_json_lines
from agentrec.errors import InputError
from agentrec.preferences import PreferencePair
from agentrec.stores.pairs.records import (
    COLUMNS,
    MAX_LINE_BYTES,
    ColumnType,
    ExportForm,
    PairFormatError,
    pair_from_row,
    pair_to_row,
)

JSON_LINES, PARQUET = ".jsonl", ".parquet"

_ROWS_AT_ONCE = 4_096


def write_pairs(
    file: Path, pairs: Iterable[PreferencePair], form: ExportForm = "conversational"
) -> int:
    """Write a data set of pairs, whole or not at all; ``records`` describes the columns.

    Args:
        file: The file; its suffix, ``.jsonl`` or ``.parquet``, decides the format.
        pairs: At least one pair; an iterator is read once. Memory holds the file's content.
        form: How prompts and texts are written.

    Returns:
        The number of pairs.

    Raises:
        InputError: The suffix is another one, there is no pair, or the file cannot be written.
    """
    kind = _format_of(file)
    rows = [pair_to_row(pair, form) for pair in pairs]
    if not rows:
        raise InputError("there is no pair to write", file=file)
    try:
        write_atomically(file, _as_lines(rows) if kind == JSON_LINES else _as_parquet(rows, form))
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=file) from error
    return len(rows)


def read_pairs(file: Path) -> list[PreferencePair]:
    """Read the pairs of a file; see ``iterate_pairs``.

    Raises:
        InputError: Also if the file holds no pair.
    """
    pairs = list(iterate_pairs(file))
    if not pairs:
        raise InputError("holds no pair", file=file)
    return pairs


def iterate_pairs(file: Path) -> Iterator[PreferencePair]:
    """Read the pairs of a data set of either form, or of a sink's file, one at a time.

    Args:
        file: A ``.jsonl`` or ``.parquet`` file, which may be untrusted. It needs TRL's columns and
            those with the rewards; other columns are ignored.

    Yields:
        The pairs, in order.

    Raises:
        InputError: It is not such a file, a row is not a pair, or a pair is repeated. The error
            names file, line (in Parquet the row, from 1) and field.
    """
    rows = read_json_lines(file, MAX_LINE_BYTES) if _format_of(file) == JSON_LINES else _rows(file)
    first_lines: dict[str, int] = {}
    for line, row in rows:
        try:
            pair = pair_from_row(row)
        except PairFormatError as error:
            field = error.field or None
            raise InputError(error.problem, file=file, line=line, field=field) from error
        first = first_lines.setdefault(pair.pair_id, line)
        if first != line:
            raise InputError(f"repeats the pair of line {first}", file=file, line=line)
        yield pair


def _format_of(file: Path) -> str:
    if file.suffix not in {JSON_LINES, PARQUET}:
        problem = f"a file of pairs ends in {JSON_LINES} or {PARQUET}"
        raise InputError(problem, file=file)
    return file.suffix


def _as_lines(rows: Iterable[Mapping[str, object]]) -> bytes:
    return b"".join((json.dumps(row, ensure_ascii=False) + "\n").encode() for row in rows)


def _as_parquet(rows: list[dict[str, object]], form: ExportForm) -> bytes:
    import pyarrow
    from pyarrow import parquet

    schema = _schema(form)
    content = pyarrow.BufferOutputStream()
    with parquet.ParquetWriter(
        content, schema, compression="zstd", write_page_checksum=True
    ) as writer:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            writer.write_table(pyarrow.Table.from_pylist(some, schema=schema))
    whole: bytes = content.getvalue().to_pybytes()
    return whole


def _schema(form: ExportForm) -> Any:
    import pyarrow

    message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    types: dict[ColumnType, Any] = {
        "chat": pyarrow.list_(message) if form == "conversational" else pyarrow.string(),
        "string": pyarrow.string(),
        "double": pyarrow.float64(),
        "int64": pyarrow.int64(),
    }
    return pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file, page_checksum_verification=True) as source:
            _check_columns(file, source.schema_arrow)
            wanted = [name for name in source.schema_arrow.names if name in COLUMNS]
            number = 0
            # On this thread: reading leaves no other threads behind.
            for batch in source.iter_batches(_ROWS_AT_ONCE, columns=wanted, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except FileNotFoundError as error:
        raise InputError("is missing", file=file) from error
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"is not a whole Parquet file ({reason})", file=file) from error


def _check_columns(file: Path, schema: Any) -> None:
    """Report a missing column as such, not as an error of the first row."""
    for name in ("prompt", "chosen", "rejected", "session_id", "chosen_value", "model"):
        if name not in schema.names:
            raise InputError("is missing; every pair needs it", file=file, field=name)
