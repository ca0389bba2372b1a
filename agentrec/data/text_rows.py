"""Rows of JSON lines and of CSV: every line is a row, and no error reaches the next line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from agentrec.data.records import (
    BYTE_ORDER_MARK,
    Record,
    RowError,
    encoding_error,
    parse_json,
    parse_record,
)
from agentrec.data.session_records import RawRow, RowLimits
from agentrec.errors import InputError

_BUFFER_BYTES = 1 << 16

_LINE_ENDS = b"\r\n"


@contextmanager
def json_line_rows(file: Path, limits: RowLimits) -> Iterator[Iterator[RawRow]]:
    """Open a file with one JSON object a line; blank lines are no rows.

    Args:
        file: UTF-8 text; a byte order mark is ignored.
        limits: How long a line may be.

    Raises:
        OSError: If it cannot be read.
    """
    with file.open("rb", buffering=_BUFFER_BYTES) as stream:
        yield _json_rows(stream, limits.line_bytes)


@contextmanager
def csv_rows(
    file: Path, limits: RowLimits, *, needed: Sequence[str], lists: Sequence[str], others: set[str]
) -> Iterator[Iterator[RawRow]]:
    """Open a file of comma-separated values with a header; blank lines are no rows.

    A row ends with its line, also within quotes: otherwise a forgotten quote would swallow all
    rows up to the next one.

    Args:
        file: UTF-8 text; a byte order mark is ignored.
        limits: How long a line may be. The process-wide ``csv.field_size_limit`` is raised to that
            if it is lower.
        needed: The columns that must be there.
        lists: Those among them that hold lists: a JSON array, or texts with ``|`` between them.
        others: Optional columns; any further ones are ignored.

    Raises:
        InputError: If there is no header, or it lacks a column.
        OSError: If it cannot be read.
    """
    # Lines are bounded before csv sees them, so a field needs no bound of its own.
    csv.field_size_limit(max(csv.field_size_limit(), limits.line_bytes))
    with file.open("rb", buffering=_BUFFER_BYTES) as stream:
        lines = _lines(stream, limits.line_bytes)
        header = _header(file, lines, needed, others)
        yield _csv_rows(lines, header, {*needed, *others}, set(lists), limits.line_bytes)


def _json_rows(stream: IO[bytes], most: int) -> Iterator[RawRow]:
    for number, line, whole in _lines(stream, most):
        if not whole:
            yield RawRow(number, {}, _too_long(most), line)
            continue
        try:
            yield RawRow(number, parse_record(line), None, line)
        except RowError as error:
            yield RawRow(number, {}, error, line)


def _csv_rows(
    lines: Iterator[tuple[int, bytes, bool]],
    header: Sequence[str],
    read: set[str],
    lists: set[str],
    most: int,
) -> Iterator[RawRow]:
    columns = [(index, name, name in lists) for index, name in enumerate(header) if name in read]
    for number, line, whole in lines:
        record: Record = {}
        problem: RowError | None = None if whole else _too_long(most)
        try:
            if whole:
                cells = _cells(line)
                if len(cells) != len(header):
                    counts = f"has {len(cells)} fields, and the header names {len(header)}"
                    raise RowError("wrong_columns", counts)
                for index, name, _ in columns:
                    # An empty cell is a missing field.
                    if cells[index]:
                        record[name] = cells[index]
                for _, name, is_list in columns:
                    if is_list and name in record:
                        record[name] = _list_of(str(record[name]), name)
        except RowError as error:
            problem = error
        yield RawRow(number, record, problem, line)


def _header(
    file: Path,
    lines: Iterator[tuple[int, bytes, bool]],
    needed: Sequence[str],
    others: set[str],
) -> list[str]:
    expected = f"the first line names the columns, at least {','.join(needed)}"
    number, line, whole = next(lines, (1, b"", True))
    if not whole:
        raise InputError(f"is too long for a header; {expected}", file=file, line=number)
    try:
        names = [name.strip() for name in _cells(line)]
    except RowError as error:
        raise InputError(f"{error.problem}; {expected}", file=file, line=number) from error
    if missing := [name for name in needed if name not in names]:
        problem = f"the header lacks {', '.join(missing)}; {expected}"
        raise InputError(problem, file=file, line=number)
    for name in (*needed, *sorted(others)):
        if names.count(name) > 1:
            raise InputError("two columns have this name", file=file, line=number, field=name)
    return names


def _cells(line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise encoding_error(error) from error
    try:
        return next(csv.reader((text,), strict=True), [])
    except csv.Error as error:
        problem = f"is not one line of CSV ({error}); a quoted field ends on its line"
        raise RowError("not_csv", problem) from error


def _list_of(cell: str, name: str) -> object:
    if not cell.lstrip().startswith("["):
        return cell.split("|")
    try:
        return parse_json(cell.strip(), 'a list is ["a", "b"] or a|b')
    except RowError as error:
        raise RowError(error.reason, error.problem, field=name) from error


def _lines(stream: IO[bytes], most: int) -> Iterator[tuple[int, bytes, bool]]:
    """Read the lines that are not blank, none of them longer than ``most`` bytes.

    Bytes are split at line feeds only; text would also be split at separators such as U+2028, which
    a line may hold.

    Yields:
        The 1-based line number, the line without its end (of a longer one its beginning), and
        whether it is whole.
    """
    # The line's end and a byte order mark do not count.
    longest = most + len(_LINE_ENDS) + len(BYTE_ORDER_MARK)
    number = 0
    while piece := stream.readline(longest):
        number += 1
        whole = piece.endswith(b"\n") or len(piece) < longest
        line = piece.rstrip(_LINE_ENDS)
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not whole:
            _skip_line(stream)
        if not whole or len(line) > most:
            yield number, line[:_BUFFER_BYTES], False
        elif line and not line.isspace():
            yield number, line, True


def _skip_line(stream: IO[bytes]) -> None:
    while (piece := stream.readline(_BUFFER_BYTES)) and not piece.endswith(b"\n"):
        pass


def _too_long(most: int) -> RowError:
    return RowError("too_long", f"the line is longer than {most:,} bytes")
