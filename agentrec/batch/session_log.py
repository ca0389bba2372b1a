"""What came of every session of a batch, kept so that no crash loses or repeats a result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from agentrec.batch.partitions import ResultFormat
from agentrec.batch.session_log_file import (
    BatchCounts,
    DoneSession,
    KnownSession,
    RejectedSession,
    SessionLogFile,
)

Made = TypeVar("Made")

_MOST_WAITING = 1000
"""How many sessions may wait to be written before whoever brings more has to wait."""


class SessionLog:
    """Results, failures and rejected rows of a batch, and the files of results beside them.

    Writes of many share a transaction. A session counts as done once it is written, which is a
    moment after ``put`` returned: one that a crash took is worked on again, and what its language
    model answered is in the call journal. ``flush`` waits until all is written.

    Use ``await SessionLog.open(folder, form)`` and ``async with``.
    """

    def __init__(self, file: SessionLogFile, thread: ThreadPoolExecutor, part_size: int) -> None:
        """Take over an open file; see ``open``."""
        self._file = file
        self._thread = thread
        self._part_size = part_size
        self._done: list[DoneSession] = []
        self._rejected: list[RejectedSession] = []
        self._unwritten = 0
        # What was put and is not in the file yet, for who asks meanwhile.
        self._fresh: dict[str, KnownSession] = {}
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        folder: Path,
        form: ResultFormat,
        *,
        part_size: int = 10_000,
        results: Path | None = None,
        label: str = "",
    ) -> Self:
        """Open a log, making it where there is none, and finish the part that a crash left.

        Args:
            folder: Where the log and the files of results lie.
            form: How results are written.
            part_size: How many results a file holds about, at least 1.
            results: Where the folder of results lies; ``None`` for ``folder`` too.
            label: What the names of its files begin with, where several logs share that folder.

        Raises:
            InputError: If the log is none, or cannot be opened or made.
            StoreError: If another process has it open.
            ValueError: If ``part_size`` is out of range.
        """
        if part_size < 1:
            raise ValueError(f"part_size is at least 1, not {part_size}")
        thread = ThreadPoolExecutor(1, thread_name_prefix="session-log")

        def opened() -> tuple[SessionLogFile, int]:
            file = SessionLogFile(folder, form, results=results, label=label)
            return file, file.unwritten()

        try:
            loop = asyncio.get_running_loop()
            file, unwritten = await loop.run_in_executor(thread, opened)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        log = cls(file, thread, part_size)
        log._unwritten = unwritten
        return log

    async def known(self, session_ids: Sequence[str]) -> dict[str, KnownSession]:
        """What is known of sessions, by id, those that are being written included."""
        found = await self._run(lambda: self._file.known(session_ids))
        fresh = {one: self._fresh[one] for one in session_ids if one in self._fresh}
        # What was kept under an id with a result stays, whatever came after it.
        kept = {one: known for one, known in found.items() if known.failure is None}
        return {**found, **fresh, **kept}

    async def put(self, done: DoneSession) -> None:
        """Keep what came of a session; a result that is there stays, a failure gives way.

        Raises:
            StoreError: If the log cannot be written.
        """
        self._done.append(done)
        self._fresh[done.session_id] = KnownSession(done.place, done.failure)
        await self._begun_to_write()

    async def reject(self, rejected: RejectedSession) -> None:
        """Keep what became of a row that is no session to be worked on.

        Raises:
            StoreError: If the log cannot be written.
        """
        self._rejected.append(rejected)
        await self._begun_to_write()

    async def counts(self) -> BatchCounts:
        """How many sessions came to what, in all attempts."""
        await self._written()
        return await self._run(self._file.counts)

    async def fact(self, name: str) -> str | None:
        """Something that was noted; ``None`` if it was not."""
        return await self._run(lambda: self._file.fact(name))

    async def note(self, name: str, value: str) -> None:
        """Note something; a later value replaces it."""
        await self._run(lambda: self._file.note(name, value))

    async def flush(self) -> None:
        """Have everything that was put written, and all of it in the files beside the log."""
        await self._written()

        def write() -> None:
            self._file.write_part()
            self._file.write_remarks()

        await self._run(write)
        self._unwritten = 0

    async def close(self) -> None:
        """Write what was put, and let go of the file."""
        try:
            await self._written()
        finally:
            await asyncio.to_thread(self._thread.shutdown)
            self._file.close()

    async def __aenter__(self) -> Self:
        """The open log."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def _begun_to_write(self) -> None:
        if self._writer is None or self._writer.done():
            await self._writer_result()
            self._writer = asyncio.create_task(self._write())
        while len(self._done) + len(self._rejected) > _MOST_WAITING:
            await self._writer_result()
            self._writer = asyncio.create_task(self._write())

    async def _written(self) -> None:
        while self._writer is not None or self._done or self._rejected:
            await self._writer_result()
            if self._done or self._rejected:
                self._writer = asyncio.create_task(self._write())

    async def _writer_result(self) -> None:
        """Wait for what is being written, and raise what it failed with."""
        if self._writer is not None:
            writer = self._writer
            # Shielded: whoever is cancelled here must not leave others' sessions unwritten.
            await asyncio.shield(writer)
            if self._writer is writer:
                self._writer = None

    async def _write(self) -> None:
        while self._done or self._rejected:
            done, self._done = self._done, []
            rejected, self._rejected = self._rejected, []
            self._unwritten += sum(one.failure is None for one in done)
            full = self._unwritten >= self._part_size

            def write(
                done: Sequence[DoneSession] = done,
                rejected: Sequence[RejectedSession] = rejected,
                full: bool = full,
            ) -> None:
                self._file.keep(done, rejected)
                if full:
                    self._file.write_part()

            await self._run(write)
            waiting = {one.session_id for one in self._done}
            for one in done:
                if one.session_id not in waiting:
                    self._fresh.pop(one.session_id, None)
            if full:
                self._unwritten = 0

    async def _run(self, do: Callable[[], Made]) -> Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do)
