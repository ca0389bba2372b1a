"""Sessions to recommend for, out of files of any size: a bad row is rejected, the rest is read."""

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
from agentrec.data.records import LocatedRecord, RowError, RowReason
from agentrec.data.session_records import SESSION_FIELDS, RawRow, RowLimits, SessionParser
from agentrec.data.text_rows import csv_rows, json_line_rows
from agentrec.errors import InputError
from agentrec.sessions import Session

_DEFAULT_LIMITS = RowLimits()
_MAX_ROWS_AHEAD = 256
_MAX_IDS_AHEAD = 50_000
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A row that can be recommended for.

    Attributes:
        index: Index of the row in the file, from 0; a CSV's header and blank lines are no rows.
        line: 1-based line of the file; ``None`` in a file without lines.
        session: The session.
    """

    index: int
    line: int | None
    session: Session


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be used.

    Attributes:
        index: Index of the row in the file, from 0, counted together with the usable rows.
        line: 1-based line of the file; ``None`` in a file without lines.
        session_id: The session's id; ``None`` where it could not be read.
        reason: Why, as a stable word; see ``RowReason``.
        problem: What is wrong, in one line that names the field.
        raw: The row as it stood, for people: one line of at most 500 printable characters.
    """

    index: int
    line: int | None
    session_id: str | None
    reason: RowReason
    problem: str
    raw: str


def read_sessions(
    file: Path | str,
    catalog: Catalog | None = None,
    *,
    on_rejected: Callable[[RejectedRow], None] | None = None,
    limits: RowLimits = _DEFAULT_LIMITS,
) -> Generator[Session, None, None]:
    """Read sessions one by one; memory is bounded however large the file is.

    Args:
        file: JSON lines (.jsonl, .ndjson), CSV with a header (.csv) or Parquet (.parquet), with
            ``session_id`` and ``items`` and, optionally, ``candidates``, ``target`` and
            ``user_id``. A list in a CSV is a JSON array, or ids with ``|`` between them.
        catalog: Checks that items, target and candidates are in it; ``None`` accepts any id.
        on_rejected: Called with each row that cannot be used, which is then skipped; ``None``
            raises at the first such row.
        limits: How much a row may hold.

    Returns:
        The sessions in file order. Closing the iterator closes the file.

    Raises:
        InputError: If the file cannot be read: at once. While it is read: if the file breaks off
            or holds no rows, or, without ``on_rejected``, at a row that cannot be used.
    """
    known = None if catalog is None else frozenset(catalog)
    rows = _open_rows(Path(file), SessionParser(known, limits=limits), limits)
    return _sessions(Path(file), rows, on_rejected)


def _sessions(
    file: Path,
    rows: Generator[SessionRow | RejectedRow, None, None],
    on_rejected: Callable[[RejectedRow], None] | None,
) -> Generator[Session, None, None]:
    try:
        for row in rows:
            if isinstance(row, SessionRow):
                yield row.session
            elif on_rejected is not None:
                on_rejected(row)
            else:
                where = f"row {row.index + 1}: " if row.line is None else ""
                raise InputError(where + row.problem, file=file, line=row.line)
    finally:
        rows.close()


def read_session_rows(
    file: Path | str, catalog: Catalog, *, limits: RowLimits = _DEFAULT_LIMITS
) -> Generator[SessionRow | RejectedRow, None, None]:
    """Read sessions with candidates to recommend from; memory is bounded.

    The second mention of a candidate is dropped, and unknown fields are ignored. Repeated session
    ids are not looked for.

    Args:
        file: As for ``read_sessions``; ``candidates`` are required, at least 2 different ones.
        catalog: Holds every item, target and candidate.
        limits: How much a row may hold.

    Returns:
        Every row once, in order; at least one. Closing it closes the file.

    Raises:
        InputError: If the file cannot be read: at once. While it is read: if the file breaks off
            or holds no rows.
    """
    parser = SessionParser(frozenset(catalog), frozenset({"candidates"}), limits)
    return _open_rows(Path(file), parser, limits)


def _open_rows(
    file: Path, parser: SessionParser, limits: RowLimits
) -> Generator[SessionRow | RejectedRow, None, None]:
    rows = _rows(file, parser, limits)
    # Up to the first row, so that an unreadable file raises here.
    next(rows)
    return cast("Generator[SessionRow | RejectedRow, None, None]", rows)


def _rows(
    file: Path, parser: SessionParser, limits: RowLimits
) -> Generator[SessionRow | RejectedRow | None, None, None]:
    """Yield ``None`` once the file is open, then the rows."""
    index = -1
    try:
        with _raw_rows(file, parser.required, limits) as raw_rows:
            yield None
            for index, raw in enumerate(raw_rows):
                yield _parsed(file, index, raw, parser)
    except FileNotFoundError as error:
        raise InputError("is missing", file=file) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", file=file) from error
    if index < 0:
        raise InputError("holds no rows; it needs at least one session", file=file)


def _raw_rows(
    file: Path, required: frozenset[str], limits: RowLimits
) -> AbstractContextManager[Iterator[RawRow]]:
    suffix = file.suffix.lower()
    if suffix not in (".jsonl", ".ndjson", ".csv", ".parquet"):
        problem = "is of an unknown kind; give a file named .jsonl, .ndjson, .csv or .parquet"
        raise InputError(problem, file=file)
    # Opening anything but a plain file, such as a pipe, may wait for ever.
    if file.exists() and not file.is_file():
        raise InputError("is not a file", file=file)
    if not file.stat().st_size:
        raise InputError("is empty; it needs at least one session", file=file)
    needed = ("session_id", "items", *sorted(required))
    others = set(SESSION_FIELDS.difference(needed))
    lists = {"items": limits.items, "candidates": limits.candidates}
    if suffix == ".parquet":
        return parquet_rows(file, needed=needed, lists=lists, others=others)
    if suffix == ".csv":
        return csv_rows(file, limits, needed=needed, lists=tuple(lists), others=others)
    return json_line_rows(file, limits)


def _parsed(file: Path, index: int, raw: RawRow, parser: SessionParser) -> SessionRow | RejectedRow:
    record = LocatedRecord(file, raw.line, raw.record)
    if raw.error is not None:
        return _rejected(index, raw, record, parser, raw.error)
    try:
        return SessionRow(index, raw.line, parser.parse(record)[0])
    except RowError as error:
        # Kept under no lasting name of this frame: the error and the frame would hold each other,
        # and the row, until a garbage collection. Among a hundred thousand rows that is a lot.
        return _rejected(index, raw, record, parser, error)


def _rejected(
    index: int, raw: RawRow, record: LocatedRecord, parser: SessionParser, error: RowError
) -> RejectedRow:
    session_id = None
    with suppress(RowError):
        session_id = parser.own_id(record, "session_id")
    field = "" if error.field is None else f"field {error.field!r}: "
    return RejectedRow(
        index, raw.line, session_id, error.reason, field + error.problem, raw.excerpt()
    )


async def stream_session_rows(
    file: Path | str,
    catalog: Catalog,
    *,
    limits: RowLimits = _DEFAULT_LIMITS,
    wanted: Callable[[SessionRow | RejectedRow], bool] | None = None,
) -> AsyncGenerator[SessionRow | RejectedRow, None]:
    """Read rows as ``read_session_rows`` does, without blocking the event loop.

    The file is read in a thread, up to 256 rows ahead of the consumer, fewer if they are large.
    A consumer that may stop before the end closes the stream (``contextlib.aclosing``): the file
    is closed when that returns. When the task that waits for a row is cancelled, it is closed too.

    Args:
        file: As for ``read_session_rows``.
        catalog: Holds every item, target and candidate.
        limits: How much a row may hold.
        wanted: Which rows are wanted, called in a thread; ``None`` for all.

    Yields:
        Every wanted row once, in order; without ``wanted`` at least one.

    Raises:
        InputError: As from ``read_session_rows``, when the first row is asked for or later.
    """
    reader = _ChunkReader(Path(file), catalog, limits, wanted)
    try:
        while rows := await asyncio.to_thread(reader.next_chunk):
            for row in rows:
                yield row
    finally:
        reader.stop()
        # Shielded: a second cancellation ends the caller, and the file is closed all the same.
        await asyncio.shield(asyncio.to_thread(reader.close))


class _ChunkReader:
    """Reads rows in lists; one thread at a time reads or closes.

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

    def next_chunk(self) -> list[SessionRow | RejectedRow]:
        """Return the next rows, at least one; none after the last."""
        chunk: list[SessionRow | RejectedRow] = []
        with self._lock:
            try:
                self._read_into(chunk)
            except InputError as error:
                # Rows read before the failure are handed over first.
                self._failure = error
            if self._failure is not None and not chunk:
                raise self._failure
        return chunk

    def _read_into(self, chunk: list[SessionRow | RejectedRow]) -> None:
        if self._stopped or self._failure is not None:
            return
        if self._rows is None:
            self._rows = read_session_rows(self._file, self._catalog, limits=self._limits)
        num_ids = 0
        for row in self._rows:
            if self._wanted is None or self._wanted(row):
                chunk.append(row)
                if isinstance(row, SessionRow):
                    num_ids += len(row.session.items) + len(row.session.candidates)
            if len(chunk) >= _MAX_ROWS_AHEAD or num_ids >= _MAX_IDS_AHEAD or self._stopped:
                return

    def stop(self) -> None:
        """Make a thread that is reading stop after its current row."""
        self._stopped = True

    def close(self) -> None:
        """Close the file, once no thread reads from it."""
        with self._lock:
            if self._rows is not None:
                self._rows.close()


def count_session_rows(file: Path) -> int | None:
    """Count rows without parsing them; blocks for about a second a gigabyte.

    Args:
        file: As for ``read_session_rows``.

    Returns:
        An upper bound: blank lines of text count too. ``None`` where the file cannot be read.
    """
    if file.suffix.lower() == ".parquet":
        # Imported here: readers of other files need not wait for it.
        import pyarrow
        from pyarrow import parquet

        try:
            return int(parquet.read_metadata(file).num_rows)
        except (OSError, pyarrow.ArrowException):
            return None
    lines, last = 0, b"\n"
    try:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                lines += block.count(b"\n")
                last = block[-1:]
    except OSError:
        return None
    lines += last != b"\n"
    return max(0, lines - (file.suffix.lower() == ".csv"))
