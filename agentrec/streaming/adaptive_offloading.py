"""Computations that run in the event loop once they are known to be fast, else in a thread.

A thread keeps the event loop free, but handing work to a thread costs more than a small computation
takes. How long a computation takes is measured.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import TypeVar
from weakref import WeakKeyDictionary

Result = TypeVar("Result")

INLINE_LIMIT = 0.001
"""Seconds that a computation may take in the event loop."""

_MEASURED = 8
_BACK_OFF = 8
_MUCH_TOO_LONG = 5 * INLINE_LIMIT


class AdaptiveOffloader:
    """Runs one kind of computation where it costs least.

    It starts in threads. Once most of the last eight runs computed for less than a millisecond,
    it runs in the event loop: the first runs are slower, with cold caches and many at once. After
    two runs in a row of over five milliseconds (one may be the machine's doing) it goes back to
    threads, for eight times as many runs before the next try.
    """

    def __init__(self) -> None:
        self._fast: deque[bool] = deque(maxlen=_MEASURED)
        self._remaining = _MEASURED
        self._required = _MEASURED
        self._too_long = 0

    @property
    def runs_inline(self) -> bool:
        """Whether the next computation runs in the event loop."""
        return self._remaining <= 0 and sum(self._fast) > _MEASURED // 2

    async def run(self, compute: Callable[[], Result]) -> Result:
        """Run a computation, here or in a thread.

        Raises:
            Exception: What the computation raises.
        """
        if self.runs_inline:
            begun = perf_counter()
            result = compute()
            self._too_long = self._too_long + 1 if perf_counter() - begun > _MUCH_TOO_LONG else 0
            if self._too_long > 1:
                self._required *= _BACK_OFF
                self._remaining, self._too_long = self._required, 0
            return result
        result, seconds = await asyncio.to_thread(_timed, compute)
        self._remaining -= 1
        self._fast.append(seconds <= INLINE_LIMIT)
        return result


class OffloaderByOwner:
    """One ``AdaptiveOffloader`` for each object; objects that are no weak keys use threads."""

    def __init__(self) -> None:
        self._offloaders: WeakKeyDictionary[object, AdaptiveOffloader] = WeakKeyDictionary()

    def of(self, owner: object) -> AdaptiveOffloader:
        """Return the offloader of an object."""
        try:
            return self._offloaders.setdefault(owner, AdaptiveOffloader())
        except TypeError:
            return AdaptiveOffloader()


def _timed(compute: Callable[[], Result]) -> tuple[Result, float]:
    # The thread's own clock: it does not count waiting for other threads.
    begun = thread_time()
    result = compute()
    return result, thread_time() - begun
