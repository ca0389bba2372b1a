"""Run the same function on very many tasks, a bounded number at a time.

The source of the tasks may be endless, and the consumer of the results slow: the number of tasks
that are running or waiting to be consumed is bounded, and so is memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar, cast

Task = TypeVar("Task")
Result = TypeVar("Result")
Awaited = TypeVar("Awaited")

_AHEAD = 4
"""Tasks that may be started beyond the last consumed result, as a multiple of the concurrency: one
slow task does not stop the others, and memory stays bounded."""


class UnfinishedError(Exception):
    """A task was started and not finished: it took too long, or something cancelled it."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Task, Result]):
    """The outcome of one task.

    Attributes:
        position: Position of the task in the stream, from 0.
        task: The task.
        seconds: How long it ran.
        failure: The exception it failed with; ``None`` if it did not fail.
    """

    position: int
    task: Task
    seconds: float
    failure: Exception | None
    _result: Result | None

    @property
    def result(self) -> Result:
        """The result.

        Raises:
            Exception: The failure, if there is one.
        """
        if self.failure is not None:
            raise self.failure
        return cast("Result", self._result)


async def stream(
    tasks: Iterable[Task] | AsyncIterable[Task],
    do: Callable[[Task], Awaitable[Result]],
    concurrency: int,
    *,
    ordered: bool = False,
    time_limit: float | None = None,
    deadline: float | None = None,
) -> AsyncGenerator[Outcome[Task, Result], None]:
    """Run ``do`` on every task and yield the outcomes.

    A failed task does not affect the others. A consumer that may stop early closes the stream
    (``contextlib.aclosing``): running tasks are then cancelled and awaited.

    Args:
        tasks: The tasks, taken one by one when there is room. A plain iterable runs in the event
            loop and must be fast.
        do: The function.
        concurrency: Most tasks at a time, at least 1.
        ordered: Whether outcomes come in the order of the tasks instead of as they finish.
        time_limit: Seconds, above 0, after which a task fails with ``UnfinishedError``; ``None``
            for no limit.
        deadline: Seconds from now, at least 0, after which no task starts and running ones fail
            with ``UnfinishedError``; ``None`` for no deadline.

    Raises:
        Exception: What ``tasks`` raises, after the outcomes of the tasks before.
        ValueError: If a number is out of range.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"time_limit must be above 0, not {time_limit}")
    if deadline is not None and not deadline >= 0:
        raise ValueError(f"deadline must be at least 0, not {deadline}")
    workers = _Workers(tasks, do, concurrency, time_limit, deadline)
    async with aclosing(workers):
        early: dict[int, Outcome[Task, Result]] = {}
        position = 0
        while (outcome := await workers.next_outcome()) is not None:
            # Unordered, whatever is done comes next.
            early[outcome.position if ordered else position] = outcome
            while position in early:
                yield early.pop(position)
                position += 1
                # Only after the consumer took it: an outcome that nobody takes makes no room.
                workers.make_room()
    if workers.source_failure is not None:
        raise workers.source_failure


class _Workers(Generic[Task, Result]):
    """The workers of a stream, and the outcomes that are not consumed yet."""

    def __init__(
        self,
        tasks: Iterable[Task] | AsyncIterable[Task],
        do: Callable[[Task], Awaitable[Result]],
        concurrency: int,
        time_limit: float | None,
        deadline: float | None,
    ) -> None:
        self._tasks: Iterator[Task] | AsyncIterator[Task] = (
            aiter(tasks) if isinstance(tasks, AsyncIterable) else iter(tasks)
        )
        self._do = do
        self._time_limit = time_limit
        self._end = None if deadline is None else _now() + deadline
        self._room = asyncio.Semaphore(_AHEAD * concurrency)
        self._turn = asyncio.Lock()
        self._taken = 0
        self._exhausted = False
        self.source_failure: Exception | None = None
        self._outcomes: deque[Outcome[Task, Result]] = deque()
        self._changed = asyncio.Event()
        self._working = concurrency
        self._workers = [asyncio.create_task(self._work()) for _ in range(concurrency)]

    async def next_outcome(self) -> Outcome[Task, Result] | None:
        """Return the next outcome as tasks finish; ``None`` after the last one."""
        while not self._outcomes:
            if not self._working:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._outcomes.popleft()

    def make_room(self) -> None:
        """Allow another task to start."""
        self._room.release()

    async def aclose(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self) -> None:
        try:
            while True:
                await self._room.acquire()
                taken = await self._take()
                if taken is None:
                    # The next worker uses the room to find out as well.
                    self._room.release()
                    return
                self._outcomes.append(await self._outcome(*taken))
                self._changed.set()
        finally:
            self._working -= 1
            self._changed.set()

    async def _take(self) -> tuple[int, Task] | None:
        """Return the next task with its position; ``None`` if there is none left."""
        async with self._turn:
            if self._exhausted or (self._end is not None and _now() >= self._end):
                return None
            try:
                if isinstance(self._tasks, AsyncIterator):
                    task = await self._in_time(anext(self._tasks))
                else:
                    task = next(self._tasks)
            except (StopIteration, StopAsyncIteration, UnfinishedError):
                self._exhausted = True
                return None
            except Exception as error:
                self._exhausted = True
                self.source_failure = error
                return None
            self._taken += 1
            return self._taken - 1, task

    async def _outcome(self, position: int, task: Task) -> Outcome[Task, Result]:
        begun = perf_counter()
        failure: Exception | None = None
        result: Result | None = None
        try:
            if self._time_limit is None and self._end is None:
                result = await self._do(task)
            else:
                result = await self._in_time(self._do(task), self._time_limit)
        except asyncio.CancelledError:
            worker = asyncio.current_task()
            if worker is None or worker.cancelling():
                raise
            # Not this worker was cancelled, but something that the task waited for.
            failure = UnfinishedError("something it waited for was cancelled")
        except Exception as error:
            failure = error
        return Outcome(position, task, perf_counter() - begun, failure, result)

    async def _in_time(self, awaited: Awaitable[Awaited], limit: float | None = None) -> Awaited:
        """Await something no longer than the deadline and the limit allow."""
        ends = [] if self._end is None else [self._end]
        if limit is not None:
            ends.append(_now() + limit)
        scope = asyncio.timeout_at(min(ends, default=None))
        try:
            async with scope:
                return await awaited
        except TimeoutError as error:
            if not scope.expired():
                raise
            late = self._end is not None and _now() >= self._end
            problem = "the deadline has passed" if late else f"not done within {limit:g} s"
            raise UnfinishedError(problem) from error


def _now() -> float:
    return asyncio.get_running_loop().time()


async def map_concurrently(
    tasks: Iterable[Task],
    do: Callable[[Task], Awaitable[Result]],
    concurrency: int,
    on_done: Callable[[], None] | None = None,
) -> list[Result]:
    """Run ``do`` on every task and return all results; the first failure ends it.

    Tasks are taken in order and only when a worker is free, so an iterator may stop early.

    Args:
        tasks: The tasks.
        do: The function.
        concurrency: Most tasks at a time, at least 1.
        on_done: Called after each task.

    Returns:
        The results in the order of the tasks.

    Raises:
        Exception: The first failure, after the other tasks were cancelled and awaited.
    """
    numbered = iter(enumerate(tasks))
    results: dict[int, Result] = {}

    async def worker() -> None:
        for position, task in numbered:
            results[position] = await do(task)
            if on_done is not None:
                on_done()

    workers = [asyncio.create_task(worker()) for _ in range(max(1, concurrency))]
    try:
        await asyncio.gather(*workers)
    finally:
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[position] for position in sorted(results)]
