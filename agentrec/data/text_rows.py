"""Rows of JSON lines and of CSV, where every line is a row and no fault reaches the next one."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from agentrec.data.records import BYTE_ORDER_MARK, Record, RowError, json_value, record_of_line
from agentrec.data.session_records import FoundRow, RowLimits
from agentrec.errors import InputError

_BUFFER = 1 << 16

_LINE_ENDS = b"\r\n"


@contextmanager
def json_line_rows(file: Path, limits: RowLimits) -> Iterator[Iterator[FoundRow]]:
    """Open a file with one JSON object a line; blank lines are no rows.

    Args:
        file: UTF-8 text; a byte order mark does no harm.
        limits: How long a line may be.

    Raises:
        OSError: If it cannot be read.
    """
    with file.open("rb", buffering=_BUFFER) as stream:
        yield _json_rows(stream, limits.line_bytes)


@contextmanager
def csv_rows(
    file: Path, limits: RowLimits, *, needed: Sequence[str], lists: Sequence[str], others: set[str]
) -> Iterator[Iterator[FoundRow]]:
    """Open a file of comma-separated values with a header; blank lines are no rows.

    A row ends with its line, also within quotes: otherwise a quote that somebody forgot would take
    all rows up to the next quote with it.

    Args:
        file: UTF-8 text; a byte order mark does no harm.
        limits: How long a line may be. The process-wide ``csv.field_size_limit`` is raised to that
            if it is lower.
        needed: The columns that must be there.
        lists: Those among them that hold lists: a JSON array, or texts with ``|`` between them.
        others: Further columns that are read if they are there; any more are ignored.

    Raises:
        InputError: If there is no header, or it lacks a column.
        OSError: If it cannot be read.
    """
    # Lines are bounded before csv sees them, so that a field needs no lower bound of its own.
    csv.field_size_limit(max(csv.field_size_limit(), limits.line_bytes))
    with file.open("rb", buffering=_BUFFER) as stream:
        lines = _filled_lines(stream, limits.line_bytes)
        header = _header(file, lines, needed, others)
        yield _csv_rows(lines, header, {*needed, *others}, set(lists), limits.line_bytes)


def _json_rows(stream: IO[bytes], most: int) -> Iterator[FoundRow]:
    for number, line, whole in _filled_lines(stream, most):
        if not whole:
            yield FoundRow(number, {}, _too_long(most), line)
            continue
        try:
            yield FoundRow(number, record_of_line(line), None, line)
        except RowError as fault:
            yield FoundRow(number, {}, fault, line)


def _csv_rows(
    lines: Iterator[tuple[int, bytes, bool]],
    header: Sequence[str],
    read: set[str],
    lists: set[str],
    most: int,
) -> Iterator[FoundRow]:
    columns = [(place, name, name in lists) for place, name in enumerate(header) if name in read]
    for number, line, whole in lines:
        record: Record = {}
        fault: RowError | None = None if whole else _too_long(most)
        try:
            if whole:
                cells = _cells(line)
                if len(cells) != len(header):
                    problem = f"has {len(cells)} fields, and the header names {len(header)}"
                    raise RowError("wrong_columns", problem)
                for place, name, _ in columns:
                    # An empty cell is a field that is not there.
                    if cells[place]:
                        record[name] = cells[place]
                for _, name, is_list in columns:
                    if is_list and name in record:
                        record[name] = _list_of(str(record[name]), name)
        except RowError as error:
            fault = error
        yield FoundRow(number, record, fault, line)


def _header(
    file: Path,
    lines: Iterator[tuple[int, bytes, bool]],
    needed: Sequence[str],
    others: set[str],
) -> list[str]:
    wanted = f"the first line names the columns, at least {','.join(needed)}"
    number, line, whole = next(lines, (1, b"", True))
    if not whole:
        raise InputError(f"is too long for a header; {wanted}", file=file, line=number)
    try:
        names = [name.strip() for name in _cells(line)]
    except RowError as fault:
        raise InputError(f"{fault.problem}; {wanted}", file=file, line=number) from fault
    if missing := [name for name in needed if name not in names]:
        problem = f"the header lacks {', '.join(missing)}; {wanted}"
        raise InputError(problem, file=file, line=number)
    for name in (*needed, *sorted(others)):
        if names.count(name) > 1:
            raise InputError("two columns have this name", file=file, line=number, field=name)
    return names


def _cells(line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1} of the line"
        raise RowError("wrong_encoding", f"{place} is not UTF-8; save the file as UTF-8") from error
    try:
        return next(csv.reader((text,), strict=True), [])
    except csv.Error as error:
        problem = f"is not one line of CSV ({error}); a quoted field ends on its line"
        raise RowError("not_csv", problem) from error


def _list_of(cell: str, name: str) -> object:
    if not cell.lstrip().startswith("["):
        return cell.split("|")
    try:
        return json_value(cell.strip(), 'a list is ["a", "b"] or a|b')
    except RowError as fault:
        raise RowError(fault.reason, fault.problem, field=name) from fault


def _filled_lines(stream: IO[bytes], most: int) -> Iterator[tuple[int, bytes, bool]]:
    """Lines that are not blank, none of them longer than so many bytes.

    Bytes are split at line feeds only; text would also be split at separators such as U+2028, which
    may stand within a line.

    Yields:
        The 1-based line number, the line without its end, and whether it is whole; of a line that
        is not, the beginning.
    """
    # The line's end and a byte order mark do not count.
    at_once = most + len(_LINE_ENDS) + len(BYTE_ORDER_MARK)
    number = 0
    while piece := stream.readline(at_once):
        number += 1
        whole = piece.endswith(b"\n") or len(piece) < at_once
        line = piece.rstrip(_LINE_ENDS)
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not whole:
            _skip_line(stream)
        if not whole or len(line) > most:
            yield number, line[:_BUFFER], False
        elif line and not line.isspace():
            yield number, line, True


def _skip_line(stream: IO[bytes]) -> None:
    while (piece := stream.readline(_BUFFER)) and not piece.endswith(b"\n"):
        pass


def _too_long(most: int) -> RowError:
    return RowError("too_long", f"the line is longer than {most:,} bytes")
