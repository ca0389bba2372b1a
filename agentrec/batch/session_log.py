"""The outcome of every session of a batch, kept so that no crash loses or repeats a result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from agentrec.batch.partitions import ResultFormat
from agentrec.batch.session_log_file import (
    BatchCounts,
    FinishedSession,
    KnownSession,
    RejectedSession,
    SessionLogFile,
)

Result = TypeVar("Result")

_MAX_PENDING = 1000
"""How many sessions may wait to be written before ``put`` blocks."""


class SessionLog:
    """Results, failures and rejected rows of a batch, and its result files.

    Writes of many sessions share a transaction. A session counts as done once it is written,
    shortly after ``put`` returned. If a crash comes before, the session is done again, with its
    language model's answer from the call journal. ``flush`` waits until everything is written.

    Use ``await SessionLog.open(folder, result_format)`` and ``async with``.
    """

    def __init__(self, file: SessionLogFile, thread: ThreadPoolExecutor, part_size: int) -> None:
        """Take over an open file; see ``open``."""
        self._file = file
        self._thread = thread
        self._part_size = part_size
        self._queue: list[FinishedSession | RejectedSession] = []
        self._unwritten = 0
        # Sessions that were put and are not in the file yet.
        self._pending: dict[str, KnownSession] = {}
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        folder: Path,
        result_format: ResultFormat,
        *,
        part_size: int = 10_000,
        results: Path | None = None,
        prefix: str = "",
    ) -> Self:
        """Open or create a log, and finish the part file that a crash interrupted.

        Args:
            folder: Folder of the log.
            result_format: How results are written.
            part_size: About how many results a part file holds, at least 1.
            results: Folder that holds the folder of part files; ``None`` for ``folder``.
            prefix: Prefix of part files' names, where several logs share their folder.

        Raises:
            InputError: If the file is not a session log, or cannot be opened or created.
            StoreError: If another process has it open.
            ValueError: If ``part_size`` is out of range.
        """
        if part_size < 1:
            raise ValueError(f"part_size must be at least 1, not {part_size}")
        thread = ThreadPoolExecutor(1, thread_name_prefix="session-log")

        def open_file() -> tuple[SessionLogFile, int]:
            file = SessionLogFile(folder, result_format, results=results, prefix=prefix)
            return file, file.unwritten()

        try:
            loop = asyncio.get_running_loop()
            file, unwritten = await loop.run_in_executor(thread, open_file)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        log = cls(file, thread, part_size)
        log._unwritten = unwritten
        return log

    async def known(self, session_ids: Sequence[str]) -> dict[str, KnownSession]:
        """Return what is known of sessions, by id, pending ones included."""
        found = await self._run(lambda: self._file.known(session_ids))
        pending = {one: self._pending[one] for one in session_ids if one in self._pending}
        # A written result stays, whatever came after it.
        results = {one: known for one, known in found.items() if known.failure is None}
        return {**found, **pending, **results}

    async def put(self, entry: FinishedSession | RejectedSession) -> None:
        """Keep a session's outcome or a rejected row.

        An existing result stays; a failure is replaced.

        Raises:
            StoreError: If the log cannot be written.
        """
        self._queue.append(entry)
        if isinstance(entry, FinishedSession):
            self._pending[entry.session_id] = KnownSession(entry.row_index, entry.failure)
        if self._writer is None or self._writer.done():
            await self._finish_writer()
            self._writer = asyncio.create_task(self._write())
        while len(self._queue) > _MAX_PENDING:
            await self._finish_writer()
            self._writer = asyncio.create_task(self._write())

    async def counts(self) -> BatchCounts:
        """Return how many sessions have which outcome, over all attempts."""
        await self._write_all()
        return await self._run(self._file.counts)

    async def fact(self, name: str) -> str | None:
        """Return a noted value; ``None`` if there is none."""
        return await self._run(lambda: self._file.fact(name))

    async def set_fact(self, name: str, value: str) -> None:
        """Note a value; it replaces an earlier one."""
        await self._run(lambda: self._file.set_fact(name, value))

    async def flush(self) -> None:
        """Write everything that was put, and all of it to the result files."""
        await self._write_all()

        def write() -> None:
            self._file.write_part()
            self._file.write_failures()

        await self._run(write)
        self._unwritten = 0

    async def close(self) -> None:
        """Write what was put, and release the file."""
        try:
            await self._write_all()
        finally:
            await asyncio.to_thread(self._thread.shutdown)
            self._file.close()

    async def __aenter__(self) -> Self:
        """Return the open log."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def _write_all(self) -> None:
        while self._writer is not None or self._queue:
            await self._finish_writer()
            if self._queue:
                self._writer = asyncio.create_task(self._write())

    async def _finish_writer(self) -> None:
        """Wait for the current write, and raise its error."""
        if self._writer is not None:
            writer = self._writer
            # Shielded: a caller that is cancelled must not leave others' sessions unwritten.
            await asyncio.shield(writer)
            if self._writer is writer:
                self._writer = None

    async def _write(self) -> None:
        while self._queue:
            queue, self._queue = self._queue, []
            finished = [one for one in queue if isinstance(one, FinishedSession)]
            rejected = [one for one in queue if isinstance(one, RejectedSession)]
            self._unwritten += sum(one.failure is None for one in finished)
            is_full = self._unwritten >= self._part_size
            await self._run(partial(self._file.keep, finished, rejected))
            if is_full:
                await self._run(self._file.write_part)
                self._unwritten = 0
            put_again = {one.session_id for one in self._queue if isinstance(one, FinishedSession)}
            for one in finished:
                if one.session_id not in put_again:
                    self._pending.pop(one.session_id, None)

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
