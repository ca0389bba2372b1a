"""Preference pairs in a file, one JSON object a line, that only ever grows."""

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
    BrokenPairError,
    line_of,
    pair_in_line,
)

_Result = TypeVar("_Result")


class JsonlPreferenceSink(PreferenceSink):
    """A file of pairs with one opener at a time, in this process or any other.

    Every append is on the disk before it is answered. A process killed in the middle of one
    leaves whole lines and perhaps the beginning of another, which the next opening takes off.
    What was appended before is known by its id, also in the next run: a collection that is
    interrupted and repeated in its order ends with the bytes of one that was not.

    Memory holds the ids, not the pairs: about 100 bytes each.

    Make it with ``open`` and close it, or use it as ``async with``.
    """

    def __init__(self, stream: BinaryIO, file: Path, known: set[str], end: int) -> None:
        """Take over an open, locked and mended file; see ``open``."""
        self._stream = stream
        self._file = file
        self._known = known
        self._end = end
        # One thread, so that appends stand in the file in the order of the calls, and one that
        # its caller gave up ends before the next begins.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="preference-sink")

    @classmethod
    async def open(cls, file: Path) -> Self:
        """Open or make a file of pairs; missing folders are made.

        Every line is read and checked: thousands a second.

        Args:
            file: Where it is or will be.

        Raises:
            StoreError: If it cannot be opened, is open elsewhere, or a line is no pair.
        """
        return cls(*await asyncio.to_thread(_opened, file))

    async def append(self, pairs: Sequence[PreferencePair]) -> int:
        """Keep pairs; see ``PreferenceSink.append``.

        Raises:
            StoreError: If they cannot be written. Then none of them is kept.
        """
        given = tuple(pairs)
        return await self._in_turn(lambda: self._append(given))

    async def all(self) -> list[PreferencePair]:
        """Every pair, in order; read from the file, which may be large: see ``pairs_in``."""

        def read() -> list[PreferencePair]:
            return [line.pair for line in _lines(self._file, self._end)]

        return await self._in_turn(read)

    async def close(self) -> None:
        """Let go of the file; may be called again."""
        await asyncio.to_thread(self._writer.shutdown)
        self._stream.close()

    async def __aenter__(self) -> Self:
        """The open sink."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def _in_turn(self, work: Callable[[], _Result]) -> _Result:
        try:
            future = self._writer.submit(work)
        except RuntimeError as error:
            raise StoreError(f"{self._file}: this file of pairs was closed") from error
        return await asyncio.wrap_future(future)

    def _append(self, pairs: Sequence[PreferencePair]) -> int:
        new: dict[str, bytes] = {}
        for pair in pairs:
            pair_id = pair.pair_id
            if pair_id not in self._known and pair_id not in new:
                line = line_of(pair, pair_id)
                if len(line) > MAX_LINE_BYTES:
                    raise StoreError(
                        f"{self._file}: a pair of session {pair.session_id!r} is larger than "
                        f"{MAX_LINE_BYTES:,} bytes"
                    )
                new[pair_id] = line
        if not new:
            return 0
        content = b"".join(new.values())
        try:
            if os.fstat(self._stream.fileno()).st_size != self._end:
                # By a program that knows of no locks, or because the disk was too full even to
                # take off what had not gone in.
                raise StoreError(
                    f"{self._file}: this file of pairs was changed from outside; open it again"
                )
            _write(self._stream, content, self._end)
        except OSError as error:
            raise _failed(self._file, "written", error) from error
        self._end += len(content)
        self._known.update(new)
        return len(new)


def pairs_in(file: Path) -> Iterator[PreferencePair]:
    """The pairs of a file, one after the other, also while a sink has it open.

    Args:
        file: The file. A last line that is not complete is left out.

    Raises:
        StoreError: If it cannot be read, or a line is no pair.
    """
    for line in _lines(file):
        yield line.pair


def _opened(file: Path) -> tuple[BinaryIO, Path, set[str], int]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        made = not file.exists()
        # Unbuffered: what an interrupted append has left in a buffer would be written later.
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
        end = _mended(stream, known, end)
        if made:
            _sync_folder(file.parent)
    except portalocker.exceptions.LockException as error:
        stream.close()
        raise StoreError(
            f"{file}: this file of pairs is open elsewhere; close it there or use another file"
        ) from error
    except OSError as error:
        stream.close()
        raise _failed(file, "opened", error) from error
    except BaseException:
        stream.close()
        raise
    return stream, file, known, end


def _mended(stream: BinaryIO, known: set[str], end: int) -> int:
    """Take off the beginning of a line, or end a line that only lacks its end.

    Args:
        stream: The file.
        known: The ids of its pairs; that of a last line that is whole is added.
        end: Where its last complete line ends.

    Returns:
        Where the file now ends.
    """
    stream.seek(end)
    torn = stream.read(MAX_LINE_BYTES)
    if not torn:
        return end
    try:
        known.add(pair_in_line(torn)[0])
    except BrokenPairError:
        stream.truncate(end)
        os.fsync(stream.fileno())
        return end
    _write(stream, b"\n", end + len(torn))
    return end + len(torn) + 1


def _write(stream: BinaryIO, content: bytes, end: int) -> None:
    """Write behind the end and see to it that it is on the disk, or leave the file as it was."""
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
    """A complete line: its pair, and where in the file it ends."""

    pair_id: str
    pair: PreferencePair
    end: int


def _lines(file: Path, end: int | None = None) -> Iterator[_Line]:
    """The complete lines of a file, up to a place in it."""
    known: set[str] = set()
    at = 0
    try:
        with file.open("rb") as stream:
            number = 0
            while end is None or at < end:
                line = stream.readline(MAX_LINE_BYTES + 1)
                if not line.endswith(b"\n"):
                    if len(line) > MAX_LINE_BYTES:
                        raise _broken(file, number + 1, f"is longer than {MAX_LINE_BYTES:,} bytes")
                    return
                number += 1
                at += len(line)
                try:
                    pair_id, pair = pair_in_line(line)
                except BrokenPairError as error:
                    raise _broken(file, number, str(error)) from error
                if pair_id in known:
                    raise _broken(file, number, "is the pair of an earlier line again")
                known.add(pair_id)
                yield _Line(pair_id, pair, at)
    except OSError as error:
        raise _failed(file, "read", error) from error


def _broken(file: Path, number: int, problem: str) -> StoreError:
    return StoreError(
        f"{file}:{number}: {problem}; take the line out, restore the file from a copy, or use a "
        "new one"
    )


def _failed(file: Path, what: str, error: OSError) -> StoreError:
    return StoreError(f"{file}: this file of pairs cannot be {what} ({error.strerror or error})")


def _sync_folder(folder: Path) -> None:
    """Keep the name of a new file from being lost with the machine's power."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
