"""Pacing: when the next call may start under limits on requests and tokens a minute."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from asyncio_throttle.throttler import Throttler

from agentrec.errors import ModelCallError

# Longer than a minute, since what counts is when calls arrive: those of one minute's end may take
# longer on their way than those of the next one's beginning. A second of that is allowed for.
WINDOW = 61.0
# Longer than the window by more than can be made up for, or the log would stop what is in time.
_SPREAD = 61.5
# A start that comes late by up to so many seconds, because the process was busy, is made up for;
# whoever comes later than that comes to an idle pace, which owes nothing.
_MADE_UP = 0.4


@dataclass(eq=False)
class Start:
    """One call that was allowed to start.

    Attributes:
        at: When, on the pace's clock.
        tokens: What it counts as, at least 0.
        in_window: Whether it still counts.
    """

    at: float
    tokens: int
    in_window: bool = True


@dataclass
class Pace:
    """Spaces starts evenly and keeps every window of a minute within its limits.

    A rate of requests above 1 is rounded down to a whole number. One call that is larger than
    the limit on tokens starts when nothing else is in the window.

    Args:
        requests_per_minute: Most starts a minute, above 0; ``None`` for no limit.
        tokens_per_minute: Most tokens a minute, above 0; ``None`` for no limit.
        clock: Seconds that never go back.

    Raises:
        ValueError: If a limit is not a finite number above 0.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    clock: Callable[[], float] = time.monotonic
    _log: Throttler | None = field(init=False, default=None)
    _interval: float = field(init=False, default=0.0)
    _next: float = field(init=False, default=-math.inf)
    _paused_until: float = field(init=False, default=-math.inf)
    _starts: deque[Start] = field(init=False, default_factory=deque)
    _in_window: int = field(init=False, default=0)
    _next_by_tokens: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            if limit is not None and not 0 < limit < math.inf:
                raise ValueError(f"{name} must be a finite number above 0")
        rate = self.requests_per_minute
        if rate is not None:
            number = max(1, math.floor(rate))
            # Below one a minute, the window is what one request takes.
            scale = 1 / rate if rate < 1 else 1.0
            self._interval = _SPREAD * scale / number
            self._log = Throttler(number, WINDOW * scale, retry_interval=0)

    def try_start(self, tokens: int = 0) -> Start | float:
        """Start a call now if that is allowed.

        Args:
            tokens: What it will count as, as far as that is known, at least 0.

        Returns:
            The start, or after how many seconds to ask again, above 0.
        """
        now = self.clock()
        wait = max(self._paused_until, self._next, self._after_tokens(now, tokens)) - now
        if wait > 0:
            return wait
        if self._log is not None and not _takes(self._log):
            return max(self._interval / 10, 0.001)
        if self._log is not None:
            self._next = _following(self._next, now, self._interval)
        start = Start(now, tokens)
        if self.tokens_per_minute is not None:
            self._starts.append(start)
            self._in_window += tokens
            self._next_by_tokens = _following(self._next_by_tokens, now, self._cost(tokens))
        return start

    def correct(self, start: Start, tokens: int) -> None:
        """Say what a call really came to."""
        change = tokens - start.tokens
        start.tokens = tokens
        if self.tokens_per_minute is not None:
            self._next_by_tokens += self._cost(change)
            if start.in_window:
                self._in_window += change

    def pause(self, seconds: float) -> None:
        """Let nothing start for a while; the longest of several pauses holds."""
        self._paused_until = max(self._paused_until, self.clock() + seconds)

    def _after_tokens(self, now: float, tokens: int) -> float:
        limit = self.tokens_per_minute
        if limit is None:
            return -math.inf
        starts = self._starts
        while starts and now - starts[0].at > WINDOW:
            gone = starts.popleft()
            gone.in_window = False
            self._in_window -= gone.tokens
        ready, left = self._next_by_tokens, self._in_window
        for each in starts:
            if left + tokens <= limit:
                break
            left -= each.tokens
            ready = max(ready, each.at + WINDOW + 0.001)
        return ready

    def _cost(self, tokens: int) -> float:
        return 0.0 if self.tokens_per_minute is None else tokens * _SPREAD / self.tokens_per_minute


def _following(due: float, now: float, interval: float) -> float:
    """When the start after this one is due, on a grid that forgives a little lateness."""
    return (due if now - due <= _MADE_UP else now) + interval


def _takes(log: Throttler) -> bool:
    # With a retry interval of 0 the engine yields once where it would wait and needs no event
    # loop, so one step of it tells whether it lets the request through, on any thread.
    attempt = log.acquire()  # type: ignore[no-untyped-call]
    try:
        attempt.send(None)
    except StopIteration:
        return True
    attempt.close()
    return False


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
