"""Rows of Parquet files, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentrec.catalog import clean_text
from agentrec.data.records import Record, RowError
from agentrec.data.session_records import FoundRow
from agentrec.errors import InputError

_ROWS_AT_ONCE = 256
_IDS_AT_ONCE = 20_000
_BUFFER = 1 << 16
_IDS_SHOWN = 100
_MOST_TOLD = 200


@contextmanager
def parquet_rows(
    file: Path, *, needed: Sequence[str], lists: Mapping[str, int], others: set[str]
) -> Iterator[Iterator[FoundRow]]:
    """Open a Parquet file.

    Args:
        file: Columns of texts or whole numbers, which become their digits, or of lists of them.
        needed: The columns that must be there.
        lists: The columns that hold lists, and how long one may be, at least 1. A longer one is
            not made into Python objects.
        others: Further columns that are read if they are there; any more are ignored.

    Raises:
        InputError: If it is no whole Parquet file, or a column is missing or of another type; also
            while it is read.
        OSError: If it cannot be read.
    """
    # Loaded here and not above: who reads JSON lines need not wait for it.
    import pyarrow
    from pyarrow import parquet

    try:
        source = parquet.ParquetFile(file, buffer_size=_BUFFER, page_checksum_verification=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _failure(file, error) from error
    with source:
        names = _columns(file, source.schema_arrow, needed, lists, others)
        yield _rows(file, source, names, lists)


def _columns(
    file: Path, schema: Any, needed: Sequence[str], lists: Mapping[str, int], others: set[str]
) -> list[str]:
    from pyarrow import types

    if missing := [name for name in needed if name not in schema.names]:
        problem = f"lacks the columns {', '.join(missing)}; it needs {', '.join(needed)}"
        raise InputError(problem, file=file)
    names = [name for name in schema.names if name in needed or name in others]
    for name in names:
        if names.count(name) > 1:
            raise InputError("two columns have this name", file=file, field=name)
        found = schema.field(name).type
        held, wanted = found, "texts or whole numbers"
        if name in lists:
            wanted = f"lists of {wanted}"
            if types.is_list(found) or types.is_large_list(found):
                held = found.value_type
        elif name in others and types.is_null(found):
            continue
        if (name in lists and held is found) or not _holds_ids(held):
            raise InputError(f"must hold {wanted}, not {found}", file=file, field=name)
    return names


def _holds_ids(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind))


def _rows(
    file: Path, source: Any, names: list[str], lists: Mapping[str, int]
) -> Iterator[FoundRow]:
    import pyarrow

    try:
        # One thread: reading leaves none behind.
        for batch in source.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False):
            for some in _pieces(batch, lists):
                yield from _found(some, lists)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _failure(file, error) from error


def _pieces(batch: Any, lists: Mapping[str, int]) -> Iterator[Any]:
    """Parts of a batch with at most so many ids, as a Python object is many times larger."""
    from pyarrow import compute

    lengths = [compute.fill_null(compute.list_value_length(batch[name]), 0) for name in lists]
    start = held = 0
    for row, ids in enumerate(map(sum, zip(*(each.to_pylist() for each in lengths), strict=True))):
        if row > start and held + ids > _IDS_AT_ONCE:
            yield batch.slice(start, row - start)
            start, held = row, 0
        held += ids
    yield batch.slice(start)


def _found(some: Any, lists: Mapping[str, int]) -> Iterator[FoundRow]:
    if some.num_rows == 1:
        for name, most in lists.items():
            held = len(some[name][0]) if some[name][0].is_valid else 0
            if held > most:
                yield _too_many(some, name, held, most)
                return
    try:
        records: list[Record] = some.to_pylist()
    except UnicodeDecodeError:
        if some.num_rows > 1:
            for row in range(some.num_rows):
                yield from _found(some.slice(row, 1), lists)
            return
        yield _wrong_encoding(some)
        return
    for record in records:
        yield FoundRow(None, record, None, record)


def _too_many(row: Any, name: str, held: int, most: int) -> FoundRow:
    record = _readable(row.select([one for one in row.schema.names if one != name]))
    start = row[name][0].values.slice(0, _IDS_SHOWN).to_pylist()
    problem = f"holds {held:,} ids; at most {most:,} may be given"
    return FoundRow(
        None, record, RowError("too_many", problem, field=name), {**record, name: start}
    )


def _wrong_encoding(row: Any) -> FoundRow:
    record = _readable(row)
    wrong = next((name for name in row.schema.names if name not in record), None)
    fault = RowError("wrong_encoding", "holds text that is not UTF-8", field=wrong)
    return FoundRow(None, record, fault, record)


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
    # Of what is in the file, Arrow also makes an OSError, but one without a number.
    if isinstance(error, OSError) and error.errno is not None:
        return error
    reason = clean_text(str(error), _MOST_TOLD)
    return InputError(f"is not a whole Parquet file ({reason})", file=file)
