"""Doing the same for very many, as a stream: so many at a time, results as they finish or in order.

What comes in may be without end, and what goes out may be taken slowly: a bounded number of pieces
is under way or waits to be taken, so memory does not grow with either.
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

Piece = TypeVar("Piece")
Made = TypeVar("Made")
Result = TypeVar("Result")

_AHEAD = 4
"""How many times as many pieces are begun or done beyond the last result taken, as may be worked
on at a time: a slow one holds nobody up, and memory holds no more."""


class UnfinishedError(Exception):
    """A piece was begun and not finished: it took too long, or something cancelled it."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Piece, Made]):
    """What came of one piece.

    Attributes:
        place: Number of the piece in the stream, from 0.
        piece: The piece.
        seconds: How long it was worked on.
        failure: What it failed with; ``None`` if it did not.
    """

    place: int
    piece: Piece
    seconds: float
    failure: Exception | None
    _made: Made | None

    @property
    def made(self) -> Made:
        """The result.

        Raises:
            Exception: The failure, if there is one.
        """
        if self.failure is not None:
            raise self.failure
        return cast("Made", self._made)


async def stream(
    pieces: Iterable[Piece] | AsyncIterable[Piece],
    do: Callable[[Piece], Awaitable[Made]],
    concurrency: int,
    *,
    ordered: bool = False,
    time_limit: float | None = None,
    deadline: float | None = None,
) -> AsyncGenerator[Outcome[Piece, Made], None]:
    """Do something with every piece, and say of each what came of it.

    A failed piece costs no other one. Whoever may stop before the end closes the stream
    (``contextlib.aclosing``): work that is under way is cancelled then, and has ended when that
    returns.

    Args:
        pieces: The pieces; taken up one after the other, and only when there is room. Those of a
            plain iterable are made in the event loop, and must not take long.
        do: What to do with one.
        concurrency: Most pieces at a time, at least 1.
        ordered: Whether results come in the order of the pieces, and not as they finish.
        time_limit: After how many seconds, above 0, a piece is given up and fails with
            ``UnfinishedError``; ``None`` for never.
        deadline: After how many seconds, at least 0, from now no piece is begun any more and those
            under way fail with ``UnfinishedError``; ``None`` for never.

    Raises:
        Exception: What ``pieces`` raises, when what was begun before has been taken.
        ValueError: If a number is out of range.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency is at least 1, not {concurrency}")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"time_limit is above 0, not {time_limit}")
    if deadline is not None and not deadline >= 0:
        raise ValueError(f"deadline is at least 0, not {deadline}")
    work = _Work(pieces, do, concurrency, time_limit, deadline)
    async with aclosing(work):
        early: dict[int, Outcome[Piece, Made]] = {}
        following = 0
        while (outcome := await work.finished()) is not None:
            # Unordered, what is done is what comes next.
            early[outcome.place if ordered else following] = outcome
            while following in early:
                yield early.pop(following)
                following += 1
                # Once it is taken, and not before: what nobody takes makes no room.
                work.make_room()
    if work.source_failure is not None:
        raise work.source_failure


class _Work(Generic[Piece, Made]):
    """The workers of a stream, and what is done and not taken yet."""

    def __init__(
        self,
        pieces: Iterable[Piece] | AsyncIterable[Piece],
        do: Callable[[Piece], Awaitable[Made]],
        concurrency: int,
        time_limit: float | None,
        deadline: float | None,
    ) -> None:
        self._pieces: Iterator[Piece] | AsyncIterator[Piece] = (
            aiter(pieces) if isinstance(pieces, AsyncIterable) else iter(pieces)
        )
        self._do = do
        self._time_limit = time_limit
        self._end = None if deadline is None else asyncio.get_running_loop().time() + deadline
        self._room = asyncio.Semaphore(_AHEAD * concurrency)
        self._turn = asyncio.Lock()
        self._places = 0
        self._over = False
        self.source_failure: Exception | None = None
        self._done: deque[Outcome[Piece, Made]] = deque()
        self._news = asyncio.Event()
        self._working = concurrency
        self._workers = [asyncio.create_task(self._worker()) for _ in range(concurrency)]

    async def finished(self) -> Outcome[Piece, Made] | None:
        """The next outcome as they come; ``None`` after the last one."""
        while not self._done:
            if not self._working:
                return None
            self._news.clear()
            await self._news.wait()
        return self._done.popleft()

    def make_room(self) -> None:
        """Let another piece be taken up."""
        self._room.release()

    async def aclose(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _worker(self) -> None:
        try:
            while True:
                await self._room.acquire()
                taken = await self._next()
                if taken is None:
                    # The place goes on to the next, who finds out as well.
                    self._room.release()
                    return
                self._done.append(await self._outcome(*taken))
                self._news.set()
        finally:
            self._working -= 1
            self._news.set()

    async def _next(self) -> tuple[int, Piece] | None:
        """The next piece with its number; ``None`` if there is none any more."""
        async with self._turn:
            if self._over or (self._end is not None and self._now() >= self._end):
                return None
            try:
                if isinstance(self._pieces, AsyncIterator):
                    piece = await self._until_end(anext(self._pieces))
                else:
                    piece = next(self._pieces)
            except (StopIteration, StopAsyncIteration, UnfinishedError):
                self._over = True
                return None
            except Exception as error:
                self._over = True
                self.source_failure = error
                return None
            place = self._places
            self._places += 1
            return place, piece

    async def _outcome(self, place: int, piece: Piece) -> Outcome[Piece, Made]:
        begun = perf_counter()
        failure: Exception | None = None
        made: Made | None = None
        try:
            if self._time_limit is None and self._end is None:
                made = await self._do(piece)
            else:
                made = await self._until_end(self._do(piece), self._time_limit)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not this worker is cancelled, but something that the piece waited for.
            failure = UnfinishedError("what it waited for was cancelled")
        except Exception as error:
            failure = error
        return Outcome(place, piece, perf_counter() - begun, failure, made)

    async def _until_end(self, wanted: Awaitable[Result], limit: float | None = None) -> Result:
        """Wait no longer than the deadline, or the limit, allows."""
        ends = [] if self._end is None else [self._end]
        if limit is not None:
            ends.append(self._now() + limit)
        scope = asyncio.timeout_at(min(ends, default=None))
        try:
            async with scope:
                return await wanted
        except TimeoutError as error:
            if not scope.expired():
                raise
            late = self._end is not None and self._now() >= self._end
            told = "the deadline of all is over" if late else f"not done within {limit:g} s"
            raise UnfinishedError(told) from error

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


Work = TypeVar("Work")


async def map_concurrently(
    work: Iterable[Work],
    do: Callable[[Work], Awaitable[Result]],
    concurrency: int,
    on_done: Callable[[], None] | None = None,
) -> list[Result]:
    """Await ``do`` for every piece of work.

    Pieces are taken up in order, so with an iterator that decides late what comes next, what
    was not needed is never started.

    Args:
        work: The pieces.
        do: What to do with one.
        concurrency: Most pieces at a time, at least 1.
        on_done: Called after each piece.

    Returns:
        The results in the order of the pieces.

    Raises:
        Exception: The first failure; the other pieces are cancelled and awaited first.
    """
    pieces = iter(enumerate(work))
    results: dict[int, Result] = {}

    async def worker() -> None:
        for place, piece in pieces:
            results[place] = await do(piece)
            if on_done is not None:
                on_done()

    tasks = [asyncio.create_task(worker()) for _ in range(max(1, concurrency))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[place] for place in sorted(results)]
