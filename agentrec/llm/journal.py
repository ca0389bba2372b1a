"""A journal of every paid answer: on disk before anybody sees it.

It survives the death of the process, however sudden: with SQLite's write-ahead log, a commit hands
its pages to the operating system, which writes them whatever happens to the process.
``synchronous`` is NORMAL, so a commit does not wait for the disk itself: a power cut or a crash of
the operating system can cost the answers of the last moments (they are asked for again), never
the file.

Memory is bounded: the answers used last stay in memory, all others are read from the file, in a
thread of the journal's own.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from agentrec.errors import AgentRecError
from agentrec.llm.cost.usage import Spending
from agentrec.llm.journal_file import (
    Batch,
    JournaledAnswer,
    JournaledFailure,
    JournalFile,
    Written,
)

# Bytes that an answer takes in memory beside its text.
_OVERHEAD = 400


class RecentAnswers:
    """The answers used last, by key; the least recently used make room for new ones.

    Args:
        memory: Approximate number of bytes to hold, at least 0.

    Raises:
        ValueError: If ``memory`` is below 0.
    """

    def __init__(self, memory: int) -> None:
        if memory < 0:
            raise ValueError("memory must be at least 0")
        self._answers: OrderedDict[str, JournaledAnswer] = OrderedDict()
        self._room = memory

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> JournaledAnswer | None:
        """Return the answer under a key, if it is still held."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def hold(self, key: str, answer: JournaledAnswer) -> None:
        """Hold an answer, unless there is one under this key."""
        if key in self._answers:
            return
        self._answers[key] = answer
        self._room -= _weight(answer)
        while self._room < 0:
            _, oldest = self._answers.popitem(last=False)
            self._room += _weight(oldest)


def _weight(answer: JournaledAnswer) -> int:
    return len(answer.text) + _OVERHEAD


_MEMORY = 32 * 2**20


class CallJournal:
    """Stores answers by key in an SQLite file.

    Writes of concurrent callers share one transaction, and look-ups one query. ``put`` returns
    once the answer is committed, so an answer that anybody saw survives a kill. Of several answers
    under one key the first stays, also if another process wrote it: processes may share a file.
    Failures are noted beside the answers, never as answers: a failed call is made again.

    Use ``await CallJournal.open(path)`` and ``async with``.
    """

    def __init__(
        self,
        file: JournalFile,
        thread: ThreadPoolExecutor,
        spendings: tuple[Spending, ...],
        facts: dict[str, str],
        memory: int,
    ) -> None:
        self._file = file
        self._thread = thread
        self._answers = sum(each.answers for each in spendings)
        self._tokens_read = sum(each.input_tokens for each in spendings)
        self._tokens_written = sum(each.output_tokens for each in spendings)
        self._facts = facts
        self._recent = RecentAnswers(memory)
        self._unwritten = Batch()
        self._waiters: list[asyncio.Future[Mapping[str, JournaledAnswer]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._unread: dict[str, asyncio.Future[JournaledAnswer | None]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, memory: int = _MEMORY) -> CallJournal:
        """Open a journal; create it if it does not exist.

        Args:
            path: The file.
            memory: Approximate bytes of answers to keep in memory, at least 0.

        Raises:
            InputError: If the file is not a journal, cannot be opened or created, or is locked.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="call-journal")

        def opened() -> tuple[JournalFile, tuple[Spending, ...], dict[str, str]]:
            file = JournalFile(path)
            return file, file.spendings(), file.facts()

        try:
            file, spendings, facts = await asyncio.get_running_loop().run_in_executor(
                thread, opened
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(file, thread, spendings, facts, memory)

    def __len__(self) -> int:
        """Number of answers: those on opening and those put since."""
        return self._answers

    @property
    def tokens(self) -> Mapping[str, int]:
        """Tokens read and written for all answers."""
        return {"input": self._tokens_read, "output": self._tokens_written}

    async def spendings(self) -> tuple[Spending, ...]:
        """Return what was paid by node and model, over the file's whole life and by all processes.

        Raises:
            AgentRecError: If the journal is closed.
        """
        self._check_open()
        await self._written()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._file.spendings)

    def fact(self, name: str) -> str | None:
        """Return a fact stored beside the answers, such as whether a model supports a feature."""
        return self._facts.get(name)

    async def put_fact(self, name: str, value: str) -> None:
        """Store a fact; return when it is committed. A later value replaces it.

        Raises:
            AgentRecError: If it could not be written.
        """
        self._check_open()
        self._unwritten.facts.append((name, value))
        await self._write()
        self._facts[name] = value

    async def take_facts(self, other: Path) -> None:
        """Copy the facts of another journal that this one lacks.

        Args:
            other: That journal's file; a missing file has no facts.

        Raises:
            InputError: If that file cannot be used as a journal.
            AgentRecError: If it could not be written.
        """

        def facts() -> dict[str, str]:
            if not other.is_file():
                return {}
            with closing(JournalFile(other)) as file:
                return file.facts()

        for name, value in (await asyncio.to_thread(facts)).items():
            if name not in self._facts:
                await self.put_fact(name, value)

    def in_memory(self, key: str) -> JournaledAnswer | None:
        """Return the answer under a key if it is in memory; if not, the file may still have it."""
        return self._recent.get(key)

    async def get(self, key: str) -> JournaledAnswer | None:
        """Return the answer under a key, if there is one.

        Raises:
            AgentRecError: If the file cannot be read, or the journal is closed.
        """
        answer = self.in_memory(key)
        if answer is not None:
            return answer
        self._check_open()
        loop = asyncio.get_running_loop()
        if key not in self._unread:
            self._unread[key] = loop.create_future()
            if self._reader is None:
                self._reader = loop.create_task(self._read_all())
        return await asyncio.shield(self._unread[key])

    async def put(self, key: str, node: str, answer: JournaledAnswer) -> JournaledAnswer:
        """Store an answer; return when it is committed.

        Args:
            key: Content-derived key of the request.
            node: What the call was for.
            answer: The answer.

        Returns:
            The stored answer: this one, or an earlier one.

        Raises:
            AgentRecError: If it could not be written (disk full, journal closed).
        """
        self._check_open()
        answer = replace(answer, text=_storable(answer.text))
        self._unwritten.answers.append((key, node, answer))
        return (await self._write())[key]

    def note_failure(self, failure: JournaledFailure) -> None:
        """Note a failed call; it is written with the next batch.

        A failure to write it is not reported: the call has failed already, and the next answer
        will report the disk.
        """
        if not self._closed:
            failure = replace(failure, problem=_storable(failure.problem))
            self._unwritten.failures.append(failure)
            self._start_writing()

    async def _write(self) -> Mapping[str, JournaledAnswer]:
        written = asyncio.get_running_loop().create_future()
        self._waiters.append(written)
        self._start_writing()
        # Shielded: the answer is paid for, so cancelling the caller must not lose it.
        kept: Mapping[str, JournaledAnswer] = await asyncio.shield(written)
        return kept

    def _start_writing(self) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unwritten:
                batch, self._unwritten = self._unwritten, Batch()
                waiters, self._waiters = self._waiters, []
                try:
                    written = await loop.run_in_executor(self._thread, self._file.write, batch)
                # Whatever it is: a caller that hears nothing would wait for ever.
                except Exception as error:
                    why = _why(error)
                    for waiter in waiters:
                        problem = f"an answer could not be written to the call journal: {why}"
                        waiter.set_exception(AgentRecError(problem))
                        # Retrieved, because its caller may be gone.
                        waiter.exception()
                    continue
                # Not in put, whose caller may be gone by now.
                self._count(batch, written)
                for waiter in waiters:
                    waiter.set_result(written.kept)
        finally:
            self._writer = None

    def _count(self, batch: Batch, written: Written) -> None:
        self._answers += len(written.new)
        self._tokens_read += sum(each.input_tokens for each in written.new)
        self._tokens_written += sum(each.output_tokens for each in written.new)
        for key, _, _ in batch.answers:
            self._recent.hold(key, written.kept[key])

    async def _read_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unread:
                unread, self._unread = self._unread, {}
                try:
                    found = await loop.run_in_executor(
                        self._thread, self._file.answers, list(unread)
                    )
                except Exception as error:
                    for waiter in unread.values():
                        problem = f"the call journal cannot be read: {_why(error)}"
                        waiter.set_exception(AgentRecError(problem))
                        waiter.exception()
                    continue
                for key, waiter in unread.items():
                    if key in found:
                        self._recent.hold(key, found[key])
                    waiter.set_result(found.get(key))
        finally:
            self._reader = None

    async def _written(self) -> None:
        if self._writer is not None:
            # Shielded: a cancellation must not lose the last answers.
            await asyncio.shield(self._writer)

    def _check_open(self) -> None:
        if self._closed:
            raise AgentRecError("the call journal is closed")

    async def aclose(self) -> None:
        """Write everything that waits and close the file; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._written()
        if self._reader is not None:
            await asyncio.shield(self._reader)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._file.close)
        # It has nothing left to do, and waiting for its end would block the loop.
        self._thread.shutdown(wait=False)

    async def __aenter__(self) -> CallJournal:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _storable(text: str) -> str:
    # Half a surrogate pair (an answer cut off inside a character) is not UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


def _why(error: Exception) -> str:
    return "another process keeps it locked" if "locked" in str(error) else str(error)
