"""Waiting for a turn: first come, first served, and only the first looks at the clock."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from agentrec.errors import ModelCallError
from agentrec.llm.limits.pacing import Pace, Start

# How long the first in the line sleeps at most before it looks whether its time has changed.
_LOOKS_AGAIN = 0.25


class TurnQueue:
    """Callers of any thread and event loop in one line before one pace.

    Whoever is first sleeps until its time has come, all others until they are first, so that a
    long line costs nothing. A caller that is cancelled leaves the line and takes no quota.

    Args:
        pace: When calls may start.
        max_waiting: How many may stand in line, at least 1.
    """

    def __init__(self, pace: Pace, max_waiting: int = 100_000) -> None:
        if max_waiting < 1:
            raise ValueError("max_waiting must be at least 1")
        self._pace = pace
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._line: OrderedDict[_Waiter, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._line)

    def try_start(self, tokens: int = 0) -> Start | None:
        """Start now if nobody waits and it is allowed."""
        with self._lock:
            if self._line:
                return None
            start = self._pace.try_start(tokens)
        return start if isinstance(start, Start) else None

    async def start(self, tokens: int = 0) -> Start:
        """Wait for a turn.

        Raises:
            ModelCallError: If the line is full.
        """
        start = self.try_start(tokens)
        if start is not None:
            return start
        waiter = _Task(asyncio.get_running_loop())
        self._join(waiter)
        try:
            while not isinstance(turn := self._step(waiter, tokens), Start):
                if turn is None:
                    await waiter.first.wait()
                else:
                    # A plain sleep: the time may come nearer, which nobody would be told.
                    await asyncio.sleep(min(turn, _LOOKS_AGAIN))
            # Nothing may be awaited from here on: what was taken would be lost to a cancellation.
            return turn
        finally:
            self._leave(waiter)

    def start_blocking(self, tokens: int = 0) -> Start:
        """Wait for a turn in a thread without an event loop.

        Raises:
            ModelCallError: If the line is full.
        """
        start = self.try_start(tokens)
        if start is not None:
            return start
        waiter = _Thread()
        self._join(waiter)
        try:
            while not isinstance(turn := self._step(waiter, tokens), Start):
                if turn is None:
                    waiter.first.wait()
                else:
                    time.sleep(min(turn, _LOOKS_AGAIN))
            return turn
        finally:
            self._leave(waiter)

    def pause(self, seconds: float) -> None:
        """Let nobody start for a while."""
        with self._lock:
            self._pace.pause(seconds)

    def correct(self, start: Start, tokens: int) -> None:
        """Say what a call really came to."""
        with self._lock:
            self._pace.correct(start, tokens)

    def _join(self, waiter: _Waiter) -> None:
        with self._lock:
            if len(self._line) >= self._max_waiting:
                raise ModelCallError(
                    f"{self._max_waiting} callers wait for a turn already; ask less at a time",
                    kind="rate_limited",
                    transient=False,
                )
            self._line[waiter] = None

    def _step(self, waiter: _Waiter, tokens: int) -> Start | float | None:
        """The start, seconds to wait for it, or nothing while others are before."""
        with self._lock:
            if next(iter(self._line), None) is not waiter:
                return None
            return self._pace.try_start(tokens)

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            self._line.pop(waiter, None)
            while self._line:
                try:
                    next(iter(self._line)).wake()
                except RuntimeError:
                    # Its event loop was closed under it; nobody waits there any more.
                    self._line.popitem(last=False)
                else:
                    return


class _Waiter(Protocol):
    @property
    def wake(self) -> Callable[[], object]:
        """Tells the waiter that it is first now; may be called from any thread."""


class _Task:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.first = asyncio.Event()
        self.wake = lambda: loop.call_soon_threadsafe(self.first.set)


class _Thread:
    def __init__(self) -> None:
        self.first = threading.Event()
        self.wake = self.first.set
