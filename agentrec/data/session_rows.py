"""Sessions to recommend for, out of files of any size: a bad row is rejected, the rest goes on."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from agentrec.catalog import Catalog
from agentrec.data.found_rows import FoundRow, RowLimits
from agentrec.data.parquet_rows import parquet_rows
from agentrec.data.record_fields import PlacedRecord
from agentrec.data.row_faults import RowError, RowReason
from agentrec.data.session_fields import SessionFields
from agentrec.data.text_rows import csv_rows, json_line_rows
from agentrec.errors import InputError
from agentrec.sessions import Session

_NEEDED = ("session_id", "items", "candidates")
_OTHERS = {"target", "user_id"}
_NO_LIMITS = RowLimits()


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A row that can be recommended for.

    Attributes:
        place: Number of the row in the file, from 0; a CSV's header and blank lines are no rows.
        line: 1-based line of the file; ``None`` in a file without lines.
        session: The session; it has at least 2 candidates.
    """

    place: int
    line: int | None
    session: Session


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be used.

    Attributes:
        place: Number of the row in the file, from 0, counted together with those that can be used.
        line: 1-based line of the file; ``None`` in a file without lines.
        session_id: Whose row it is; ``None`` where that could not be read.
        reason: Why, as a stable word; see ``RowReason``.
        problem: What is wrong, in one line that names the field.
        raw: The row as it stood, for people: one line of at most 500 characters, those that cannot
            be printed escaped.
    """

    place: int
    line: int | None
    session_id: str | None
    reason: RowReason
    problem: str
    raw: str


def read_session_rows(
    file: Path | str, catalog: Catalog | None, *, limits: RowLimits = _NO_LIMITS
) -> Generator[SessionRow | RejectedRow, None, None]:
    """Read sessions to recommend for, one by one; memory is bounded however large the file is.

    A candidate that is named twice is dropped the second time, and fields that a session does not
    have are ignored. Whether ids of sessions repeat is not looked at.

    Args:
        file: JSON lines (.jsonl, .ndjson), CSV with a header (.csv) or Parquet (.parquet), with
            ``session_id``, ``items``, ``candidates`` and, if wanted, ``target`` and ``user_id``.
            A list in a CSV is a JSON array, or ids with ``|`` between them.
        catalog: What items and candidates are of; ``None`` if it is not known.
        limits: How much a row may hold.

    Returns:
        Every row once, in order; at least one. Closing it closes the file.

    Raises:
        InputError: If the file cannot be read at all: at once. Further ones may come while it is
            read: the file breaks off, or there was no row.
    """
    rows = _rows(Path(file), catalog, limits)
    # Up to the first row, so that what is wrong with the file is said here.
    next(rows)
    return cast("Generator[SessionRow | RejectedRow, None, None]", rows)


def read_sessions(file: Path | str, catalog: Catalog | None = None) -> Iterator[Session]:
    """Read sessions to recommend for, one by one; the first bad row ends it.

    Args:
        file: As for ``read_session_rows``.
        catalog: What items and candidates have to be of; ``None`` to leave that to whoever
            recommends.

    Yields:
        Every session, in order; at least one.

    Raises:
        InputError: If the file or a row cannot be used: names the file, line and field.
    """
    for row in read_session_rows(file, catalog):
        if isinstance(row, RejectedRow):
            raise InputError(row.problem, file=file, line=row.line)
        yield row.session


class _AnyItem(frozenset[str]):
    """Stands for a catalogue that is not at hand."""

    def __contains__(self, item: object) -> bool:
        return True

    def issuperset(self, other: Iterable[object]) -> bool:
        # Ids are looked at one by one: they have to be ids all the same.
        return False


def _rows(
    file: Path, catalog: Catalog | None, limits: RowLimits
) -> Generator[SessionRow | RejectedRow | None, None, None]:
    """The rows, after one ``None`` when the file is open."""
    place = -1
    try:
        with _opened(file, limits) as found_rows:
            known = _AnyItem() if catalog is None else frozenset(catalog)
            fields = SessionFields(known, to_rank=True, limits=limits)
            yield None
            for place, found in enumerate(found_rows):
                yield _row(file, place, found, fields)
    except FileNotFoundError as error:
        raise InputError("is missing", file=file) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", file=file) from error
    if place < 0:
        raise InputError("holds no rows; give at least one session", file=file)


def _opened(file: Path, limits: RowLimits) -> AbstractContextManager[Iterator[FoundRow]]:
    kind = file.suffix.lower()
    if kind not in (".jsonl", ".ndjson", ".csv", ".parquet"):
        problem = "is of an unknown kind; give a file named .jsonl, .ndjson, .csv or .parquet"
        raise InputError(problem, file=file)
    # Opening what is no plain file, such as a pipe, may wait for ever.
    if file.exists() and not file.is_file():
        raise InputError("is no file", file=file)
    if not file.stat().st_size:
        raise InputError("is empty; give at least one session", file=file)
    lists = {"items": limits.items, "candidates": limits.candidates}
    if kind == ".parquet":
        return parquet_rows(file, needed=_NEEDED, lists=lists, others=_OTHERS)
    if kind == ".csv":
        return csv_rows(file, limits, needed=_NEEDED, lists=tuple(lists), others=_OTHERS)
    return json_line_rows(file, limits)


def _row(
    file: Path, place: int, found: FoundRow, fields: SessionFields
) -> SessionRow | RejectedRow:
    record = PlacedRecord(file, found.line, found.record)
    if found.fault is not None:
        return _rejected(place, found, record, fields, found.fault)
    try:
        return SessionRow(place, found.line, fields.read(record)[0])
    except RowError as fault:
        # Under no name of this frame that lasts: the two would hold each other, and the row, until
        # somebody looks for such objects. Among a hundred thousand rows those are many.
        return _rejected(place, found, record, fields, fault)


def _rejected(
    place: int, found: FoundRow, record: PlacedRecord, fields: SessionFields, fault: RowError
) -> RejectedRow:
    session_id = None
    with suppress(RowError):
        session_id = fields.own_id(record, "session_id")
    named = "" if fault.field is None else f"field {fault.field!r}: "
    return RejectedRow(
        place, found.line, session_id, fault.reason, named + fault.problem, found.shown()
    )
