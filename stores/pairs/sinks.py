"""Preference sinks: in memory, and a file of JSON lines that only ever grows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import portalocker

from agentrec.contracts import PreferenceSink
from agentrec.errors import StoreError
from agentrec.preferences import PreferencePair
from agentrec.stores.pairs.records import (
    MAX_LINE_BYTES,
    PairFormatError,
    pair_from_line,
    pair_to_line,
)


class InMemoryPreferenceSink(PreferenceSink):
    """Keeps pairs until the process ends. Use a file for pairs that were paid for."""

    def __init__(self) -> None:
        self._pairs: dict[str, PreferencePair] = {}

    async def append(self, pairs: Sequence[PreferencePair]) -> int:
        """Keep pairs; see ``PreferenceSink.append``."""
        before = len(self._pairs)
        for pair in pairs:
            self._pairs.setdefault(pair.pair_id, pair)
        return len(self._pairs) - before

    async def all(self) -> list[PreferencePair]:
        """Return every pair, in order."""
        return list(self._pairs.values())


_Result = TypeVar("_Result")


class JsonlPreferenceSink(PreferenceSink):
    """A file of pairs that one sink at a time has open, across all processes of a machine.

    ``append`` returns when the pairs are on disk. A process killed while appending leaves whole
    lines and perhaps a partial one, which the next ``open`` removes. Pairs are recognised by
    their ids in later runs too: a collection that is interrupted and repeated in the same order
    ends with the same bytes as one that was not.

    Memory holds the ids, about 100 bytes each, not the pairs.

    Create it with ``open``; close it with ``close`` or ``async with``.
    """

    def __init__(self, stream: BinaryIO, file: Path, known: set[str], end: int) -> None:
        """Take an open, locked and repaired file; use ``open`` instead."""
        self._stream = stream
        self._file = file
        self._known = known
        self._end = end
        # One thread: appends are written in the order of the calls, and a cancelled one ends
        # before the next begins.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="preference-sink")

    @classmethod
    async def open(cls, file: Path) -> Self:
        """Open a file of pairs, or create it with its folders.

        Every line is read and checked, thousands per second.

        Args:
            file: The file.

        Raises:
            StoreError: It cannot be opened, another sink has it open, or a line is not a pair.
        """
        return cls(*await asyncio.to_thread(_open_locked, file))

    async def append(self, pairs: Sequence[PreferencePair]) -> int:
        """Keep pairs; see ``PreferenceSink.append``.

        Raises:
            StoreError: The pairs cannot be written. Then none of them is kept.
        """
        given = tuple(pairs)
        return await self._on_writer_thread(lambda: self._append(given))

    async def all(self) -> list[PreferencePair]:
        """Read every pair, in order; ``iterate_sink`` reads a large file one pair at a time."""

        def read() -> list[PreferencePair]:
            return [line.pair for line in _lines(self._file, self._end)]

        return await self._on_writer_thread(read)

    async def close(self) -> None:
        """Close the file; may be called again."""
        await asyncio.to_thread(self._writer.shutdown)
        self._stream.close()

    async def __aenter__(self) -> Self:
        """Return the open sink."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        await self.close()

    async def _on_writer_thread(self, work: Callable[[], _Result]) -> _Result:
        try:
            future = self._writer.submit(work)
        except RuntimeError as error:
            raise StoreError(f"{self._file}: this sink is closed") from error
        return await asyncio.wrap_future(future)

    def _append(self, pairs: Sequence[PreferencePair]) -> int:
        new: dict[str, bytes] = {}
        for pair in pairs:
            pair_id = pair.pair_id
            if pair_id not in self._known and pair_id not in new:
                line = pair_to_line(pair, pair_id)
                if len(line) > MAX_LINE_BYTES:
                    raise StoreError(
                        f"{self._file}: a pair of session {pair.session_id!r} is larger than"
                        f" {MAX_LINE_BYTES:,} bytes"
                    )
                new[pair_id] = line
        if not new:
            return 0
        content = b"".join(new.values())
        try:
            if os.fstat(self._stream.fileno()).st_size != self._end:
                # A program without locks wrote to it, or a failed append could not be undone.
                raise StoreError(
                    f"{self._file}: something else changed this file of pairs; open it again"
                )
            _write(self._stream, content, self._end)
        except OSError as error:
            raise _failed(self._file, "written", error) from error
        self._end += len(content)
        self._known.update(new)
        return len(new)


def iterate_sink(file: Path) -> Iterator[PreferencePair]:
    """Read the pairs of a sink's file one at a time, also while a sink has it open.

    Args:
        file: The file. An incomplete last line is skipped.

    Raises:
        StoreError: The file cannot be read, or a line is not a pair.
    """
    for line in _lines(file):
        yield line.pair


def _open_locked(file: Path) -> tuple[BinaryIO, Path, set[str], int]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        created = not file.exists()
        # Unbuffered: a buffer would write the rest of a failed append later.
        stream = file.open("ab+", buffering=0)
    except OSError as error:
        raise _failed(file, "opened", error) from error
    try:
        portalocker.lock(
            stream, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
        )
        known, end = set[str](), 0
        for line in _lines(file):
            known.add(line.pair_id)
            end = line.end
        end = _repair_end(stream, known, end)
        if created:
            _sync_folder(file.parent)
    except portalocker.exceptions.LockException as error:
        stream.close()
        raise StoreError(
            f"{file}: another sink has this file of pairs open; close it there or use another file"
        ) from error
    except OSError as error:
        stream.close()
        raise _failed(file, "opened", error) from error
    except BaseException:
        stream.close()
        raise
    return stream, file, known, end


def _repair_end(stream: BinaryIO, known: set[str], end: int) -> int:
    """Remove a partial last line, or add a line feed that is all it lacks.

    Args:
        stream: The file.
        known: The ids of its pairs; the id of a completed last line is added.
        end: Offset at which the last complete line ends.

    Returns:
        Offset at which the file now ends.
    """
    stream.seek(end)
    partial = stream.read(MAX_LINE_BYTES)
    if not partial:
        return end
    try:
        known.add(pair_from_line(partial)[0])
    except PairFormatError:
        stream.truncate(end)
        os.fsync(stream.fileno())
        return end
    _write(stream, b"\n", end + len(partial))
    return end + len(partial) + 1


def _write(stream: BinaryIO, content: bytes, end: int) -> None:
    """Append to the file and sync it to disk, or leave it as it was."""
    left = memoryview(content)
    try:
        while left:
            left = left[stream.write(left) :]
        os.fsync(stream.fileno())
    except BaseException:
        stream.truncate(end)
        raise


@dataclass(frozen=True, slots=True)
class _Line:
    """A complete line: its pair, and the offset at which it ends."""

    pair_id: str
    pair: PreferencePair
    end: int


def _lines(file: Path, end: int | None = None) -> Iterator[_Line]:
    """Read the complete lines of a file, up to an offset."""
    known: set[str] = set()
    offset = 0
    try:
        with file.open("rb") as stream:
            number = 0
            while end is None or offset < end:
                line = stream.readline(MAX_LINE_BYTES + 1)
                if not line.endswith(b"\n"):
                    if len(line) > MAX_LINE_BYTES:
                        raise _broken(file, number + 1, f"is longer than {MAX_LINE_BYTES:,} bytes")
                    return
                number += 1
                offset += len(line)
                try:
                    pair_id, pair = pair_from_line(line)
                except PairFormatError as error:
                    raise _broken(file, number, str(error)) from error
                if pair_id in known:
                    raise _broken(file, number, "repeats the pair of an earlier line")
                known.add(pair_id)
                yield _Line(pair_id, pair, offset)
    except OSError as error:
        raise _failed(file, "read", error) from error


def _broken(file: Path, number: int, problem: str) -> StoreError:
    return StoreError(
        f"{file}:{number}: {problem}; remove the line, restore the file from a copy, or use a new"
        " file"
    )


def _failed(file: Path, what: str, error: OSError) -> StoreError:
    return StoreError(f"{file}: this file of pairs cannot be {what} ({error.strerror or error})")


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a power failure does not lose the name of a new file."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
