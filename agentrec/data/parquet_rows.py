"""Rows of Parquet files, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentrec.catalog import clean_text
from agentrec.data.records import Record, RowError
from agentrec.data.session_records import RawRow
from agentrec.errors import InputError

_BATCH_ROWS = 256
_MAX_IDS_IN_MEMORY = 20_000
_BUFFER_BYTES = 1 << 16
_IDS_SHOWN = 100
_MAX_REASON = 200


@contextmanager
def parquet_rows(
    file: Path, *, needed: Sequence[str], lists: Mapping[str, int], others: set[str]
) -> Iterator[Iterator[RawRow]]:
    """Open a Parquet file.

    Args:
        file: Columns of texts or whole numbers, which become their digits, or of lists of them.
        needed: The columns that must be there.
        lists: The columns that hold lists, and how long one may be, at least 1. A longer one is
            never made into Python objects.
        others: Optional columns; any further ones are ignored.

    Raises:
        InputError: If it is not a whole Parquet file, or a column is missing or of another type;
            also while it is read.
        OSError: If it cannot be read.
    """
    # Imported here: readers of JSON lines need not wait for it.
    import pyarrow
    from pyarrow import parquet

    try:
        source = parquet.ParquetFile(
            file, buffer_size=_BUFFER_BYTES, page_checksum_verification=True
        )
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _failure(file, error) from error
    with source:
        names = _columns(file, source.schema_arrow, needed, lists, others)
        present = {name: most for name, most in lists.items() if name in names}
        yield _rows(file, source, names, present)


def _columns(
    file: Path, schema: Any, needed: Sequence[str], lists: Mapping[str, int], others: set[str]
) -> list[str]:
    from pyarrow import types

    if missing := [name for name in needed if name not in schema.names]:
        problem = f"lacks the columns {', '.join(missing)}; it needs {', '.join(needed)}"
        raise InputError(problem, file=file)
    names = []
    for name in schema.names:
        if name not in needed and name not in others:
            continue
        if schema.names.count(name) > 1:
            raise InputError("two columns have this name", file=file, field=name)
        kind = schema.field(name).type
        if name in others and types.is_null(kind):
            continue
        names.append(name)
        id_kind, expected = kind, "texts or whole numbers"
        if name in lists:
            expected = f"lists of {expected}"
            if types.is_list(kind) or types.is_large_list(kind):
                id_kind = kind.value_type
        if (name in lists and id_kind is kind) or not _is_id_type(id_kind):
            found = clean_text(str(kind), _MAX_REASON)
            raise InputError(f"must hold {expected}, not {found}", file=file, field=name)
    return names


def _is_id_type(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind))


def _rows(file: Path, source: Any, names: list[str], lists: Mapping[str, int]) -> Iterator[RawRow]:
    import pyarrow

    try:
        # One thread: reading leaves none behind.
        for batch in source.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
            for piece in _pieces(batch, lists):
                yield from _raw_rows(piece, lists)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _failure(file, error) from error


def _pieces(batch: Any, lists: Mapping[str, int]) -> Iterator[Any]:
    """Slices of a batch with a bounded number of ids, as Python objects are many times larger."""
    from pyarrow import compute

    lengths = [compute.fill_null(compute.list_value_length(batch[name]), 0) for name in lists]
    start = num_ids = 0
    for row, own in enumerate(map(sum, zip(*(each.to_pylist() for each in lengths), strict=True))):
        if row > start and num_ids + own > _MAX_IDS_IN_MEMORY:
            yield batch.slice(start, row - start)
            start, num_ids = row, 0
        num_ids += own
    yield batch.slice(start)


def _raw_rows(piece: Any, lists: Mapping[str, int]) -> Iterator[RawRow]:
    if piece.num_rows == 1:
        for name, most in lists.items():
            length = len(piece[name][0]) if piece[name][0].is_valid else 0
            if length > most:
                yield _too_many(piece, name, length, most)
                return
    try:
        records: list[Record] = piece.to_pylist()
    except UnicodeDecodeError:
        if piece.num_rows > 1:
            for row in range(piece.num_rows):
                yield from _raw_rows(piece.slice(row, 1), lists)
            return
        yield _wrong_encoding(piece)
        return
    for record in records:
        yield RawRow(None, record, None, record)


def _too_many(row: Any, name: str, length: int, most: int) -> RawRow:
    record = _readable(row.select([one for one in row.schema.names if one != name]))
    start = row[name][0].values.slice(0, _IDS_SHOWN).to_pylist()
    problem = f"holds {length:,} ids; at most {most:,} are allowed"
    return RawRow(None, record, RowError("too_many", problem, field=name), {**record, name: start})


def _wrong_encoding(row: Any) -> RawRow:
    record = _readable(row)
    wrong = next((name for name in row.schema.names if name not in record), None)
    error = RowError("wrong_encoding", "holds text that is not UTF-8", field=wrong)
    return RawRow(None, record, error, record)


def _readable(row: Any) -> Record:
    """The columns of one row that can be made into Python objects."""
    record: Record = {}
    for name in row.schema.names:
        try:
            record[name] = row[name][0].as_py()
        except UnicodeDecodeError:
            continue
    return record


def _failure(file: Path, error: Exception) -> Exception:
    # Arrow also reports bad content as an OSError, but without an error number.
    if isinstance(error, OSError) and error.errno is not None:
        return error
    reason = clean_text(str(error), _MAX_REASON)
    return InputError(f"is not a whole Parquet file ({reason})", file=file)
