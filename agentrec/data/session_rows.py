"""Sessions to recommend for, out of files of any size: a bad row is rejected, the rest goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import cast

from agentrec.catalog import Catalog
from agentrec.data.parquet_rows import parquet_rows
from agentrec.data.records import PlacedRecord, RowError, RowReason
from agentrec.data.session_records import FoundRow, RowLimits, SessionFields
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
    file: Path | str, catalog: Catalog, *, limits: RowLimits = _NO_LIMITS
) -> Generator[SessionRow | RejectedRow, None, None]:
    """Read sessions to recommend for, one by one; memory is bounded however large the file is.

    A candidate that is named twice is dropped the second time, and fields that a session does not
    have are ignored. Whether ids of sessions repeat is not looked at.

    Args:
        file: JSON lines (.jsonl, .ndjson), CSV with a header (.csv) or Parquet (.parquet), with
            ``session_id``, ``items``, ``candidates`` and, if wanted, ``target`` and ``user_id``.
            A list in a CSV is a JSON array, or ids with ``|`` between them.
        catalog: What items and candidates are of.
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


def _rows(
    file: Path, catalog: Catalog, limits: RowLimits
) -> Generator[SessionRow | RejectedRow | None, None, None]:
    """The rows, after one ``None`` when the file is open."""
    place = -1
    try:
        with _opened(file, limits) as found_rows:
            fields = SessionFields(frozenset(catalog), to_rank=True, limits=limits)
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


_ROWS_AT_ONCE = 256
_IDS_AT_ONCE = 50_000


async def stream_session_rows(
    file: Path | str,
    catalog: Catalog,
    *,
    limits: RowLimits | None = None,
    wanted: Callable[[SessionRow | RejectedRow], bool] | None = None,
) -> AsyncGenerator[SessionRow | RejectedRow, None]:
    """Read sessions to recommend for without blocking the event loop.

    The file is read in a thread, up to 256 rows ahead of what is taken, fewer if they are large.
    Whoever may stop before the end closes it (``contextlib.aclosing``): the file is closed when
    that returns. When the task that waits for a row is cancelled, it is closed too.

    Args:
        file: As for ``read_session_rows``.
        catalog: What items and candidates are of.
        limits: How much a row may hold; ``None`` for the limits that ``RowLimits`` has by itself.
        wanted: Which rows are wanted, asked in a thread; ``None`` for all.

    Yields:
        Every row that is wanted once, in order; without ``wanted`` at least one.

    Raises:
        InputError: As from ``read_session_rows``, when the first row is asked for or later.
    """
    chunks = _Chunks(Path(file), catalog, limits or RowLimits(), wanted)
    try:
        while rows := await asyncio.to_thread(chunks.following):
            for row in rows:
                yield row
    finally:
        chunks.stop()
        # Shielded: whoever is cancelled once more leaves, and the file is closed all the same.
        await asyncio.shield(asyncio.to_thread(chunks.close))


class _Chunks:
    """Rows in lists; one thread at a time reads or closes.

    A cancelled task leaves its thread behind, which may still be reading.
    """

    def __init__(
        self,
        file: Path,
        catalog: Catalog,
        limits: RowLimits,
        wanted: Callable[[SessionRow | RejectedRow], bool] | None,
    ) -> None:
        self._file = file
        self._catalog = catalog
        self._limits = limits
        self._wanted = wanted
        self._rows: Generator[SessionRow | RejectedRow, None, None] | None = None
        self._failure: InputError | None = None
        self._stopped = False
        self._lock = Lock()

    def following(self) -> list[SessionRow | RejectedRow]:
        """The next rows, at least one; none after the last."""
        some: list[SessionRow | RejectedRow] = []
        with self._lock:
            try:
                self._read_into(some)
            except InputError as error:
                # What was read before is handed over first.
                self._failure = error
            if self._failure is not None and not some:
                raise self._failure
        return some

    def _read_into(self, some: list[SessionRow | RejectedRow]) -> None:
        if self._stopped or self._failure is not None:
            return
        if self._rows is None:
            self._rows = read_session_rows(self._file, self._catalog, limits=self._limits)
        ids = 0
        for row in self._rows:
            if self._wanted is None or self._wanted(row):
                some.append(row)
                if isinstance(row, SessionRow):
                    ids += len(row.session.items) + len(row.session.candidates)
            if len(some) >= _ROWS_AT_ONCE or ids >= _IDS_AT_ONCE or self._stopped:
                return

    def stop(self) -> None:
        """Have a thread that is reading come to its end after the row it is at."""
        self._stopped = True

    def close(self) -> None:
        """Close the file, once nobody reads from it any more."""
        with self._lock:
            if self._rows is not None:
                self._rows.close()


_BLOCK = 1 << 20


def count_session_rows(file: Path) -> int | None:
    """Count rows without reading them; blocks for about a second a gigabyte.

    Args:
        file: As for ``read_session_rows``.

    Returns:
        How many there are, at most: blank lines of text, and lines within a field of a CSV, count
        too. ``None`` where the file cannot be read.
    """
    if file.suffix.lower() == ".parquet":
        return _rows_in_parquet(file)
    try:
        lines, last = 0, b"\n"
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                lines += block.count(b"\n")
                last = block[-1:]
    except OSError:
        return None
    lines += last != b"\n"
    return max(0, lines - (file.suffix.lower() == ".csv"))


def _rows_in_parquet(file: Path) -> int | None:
    # Here, because it takes long to load for who reads no such file.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException):
        return None
