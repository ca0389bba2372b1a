"""Rows of sessions beside other work: read in a thread, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from threading import Lock

from agentrec.catalog import Catalog
from agentrec.data.found_rows import RowLimits
from agentrec.data.session_rows import RejectedRow, SessionRow, read_session_rows
from agentrec.errors import InputError

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
