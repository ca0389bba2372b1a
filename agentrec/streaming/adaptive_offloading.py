"""Work that computes and does not wait: in the event loop once it is known to be short.

A thread keeps the event loop free, and handing work over to one and back costs more than a small
computation does. How long it takes is not known beforehand, so it is looked at.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import TypeVar
from weakref import WeakKeyDictionary

Result = TypeVar("Result")

SHORT = 0.001
"""Seconds that work may take in the event loop."""

_LOOKED_AT = 8
_MORE_EACH_TIME = 8
_MUCH_TOO_LONG = 5 * SHORT


class ShortWork:
    """Where to do one kind of work.

    It begins in threads. When most of the last eight times it computed for less than a millisecond,
    it is done in the event loop from then on: the first times nearly always take longer, with
    nothing in the processor's caches and many at once. It stays there until it takes five
    milliseconds twice in a row: a single time may be the machine's doing. Then threads do it again,
    for eight times as long before it may come back.
    """

    def __init__(self) -> None:
        self._short: deque[bool] = deque(maxlen=_LOOKED_AT)
        self._left = _LOOKED_AT
        self._wanted = _LOOKED_AT
        self._too_long = 0

    @property
    def in_the_loop(self) -> bool:
        """Whether the next one is done in the event loop."""
        return self._left <= 0 and sum(self._short) > _LOOKED_AT // 2

    async def do(self, work: Callable[[], Result]) -> Result:
        """Do it, here or in a thread.

        Raises:
            Exception: What the work raises.
        """
        if self.in_the_loop:
            begun = perf_counter()
            result = work()
            self._too_long = self._too_long + 1 if perf_counter() - begun > _MUCH_TOO_LONG else 0
            if self._too_long > 1:
                self._wanted *= _MORE_EACH_TIME
                self._left, self._too_long = self._wanted, 0
            return result
        result, seconds = await asyncio.to_thread(_timed, work)
        self._left -= 1
        self._short.append(seconds <= SHORT)
        return result


class ShortWorks:
    """Where to do the work of each of many objects; threads do that of what is no weak key."""

    def __init__(self) -> None:
        self._works: WeakKeyDictionary[object, ShortWork] = WeakKeyDictionary()

    def of(self, owner: object) -> ShortWork:
        """The work of an object."""
        try:
            work = self._works.get(owner)
            if work is None:
                work = self._works[owner] = ShortWork()
        except TypeError:
            return ShortWork()
        return work


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    # Of this thread's own: waiting for others that compute would count on the clock.
    begun = thread_time()
    result = work()
    return result, thread_time() - begun
