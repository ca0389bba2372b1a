"""Pacing: when the next call may start under limits on requests and tokens a minute."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass

from asyncio_throttle.throttler import Throttler

# Seconds of a "minute". Endpoints count arrivals, and calls do not all travel equally fast: those
# at the end of one minute may take up to a second longer than those at the start of the next.
WINDOW = 61.0
# Requests are let through in at most so many batches a window, one every half second.
_BATCHES = 120
# A waiting call sleeps at most so long before it checks whether its time has changed.
_RECHECK = 0.25
# A start that is late by up to so many seconds, because the process was busy, does not delay the
# next ones. After a longer gap nothing is made up for.
_MADE_UP = 0.4


@dataclass(eq=False)
class Permit:
    """A call that was allowed to start.

    Attributes:
        at: When, in seconds of ``time.monotonic()``.
        tokens: Tokens it counts as, at least 0.
        in_window: Whether it still counts.
    """

    at: float
    tokens: int
    in_window: bool = True


class Pacer:
    """Lets calls start one after the other, in the order in which they asked.

    No window of a minute holds more requests or tokens than allowed, and both are spread over
    the minute: requests to within half a second, tokens evenly. A rate of requests above 1 is
    rounded down to a whole number. A single call with more tokens than the limit starts once
    nothing else is in the window. A cancelled caller leaves the queue and uses nothing up.

    asyncio-throttle keeps the log of requests. It polls and has no queue, so only the first
    caller in the queue waits for it. It would also let the whole quota of a minute through at
    once; with a quota for every half second it does not.

    Args:
        requests_per_minute: Most requests in any minute, above 0; ``None`` for no limit.
        tokens_per_minute: Most tokens in any minute, above 0; ``None`` for no limit.

    Raises:
        ValueError: If a limit is not a finite number above 0.
    """

    def __init__(
        self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        _check_rate("requests_per_minute", requests_per_minute)
        _check_rate("tokens_per_minute", tokens_per_minute)
        self._queue = asyncio.Lock()
        self._requests = None if requests_per_minute is None else _throttler(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else TokenWindow(tokens_per_minute)
        self._paused_until = -math.inf

    async def start(self, tokens: int = 0) -> Permit:
        """Wait until a call may start.

        Args:
            tokens: Estimate of the tokens that the call reads and writes, at least 0.
        """
        async with self._queue:
            while True:
                await self._wait(tokens)
                if self._requests is not None:
                    await self._requests.acquire()  # type: ignore[no-untyped-call]
                # A pause may have begun meanwhile; then this request of the quota stays unused.
                if self._paused_until <= time.monotonic():
                    break
            permit = Permit(time.monotonic(), tokens)
            if self._tokens is not None:
                self._tokens.add(permit)
            return permit

    def correct(self, permit: Permit, tokens: int) -> None:
        """Replace the estimate of a call's tokens by their real number."""
        if self._tokens is not None:
            self._tokens.correct(permit, tokens)

    def pause(self, seconds: float) -> None:
        """Let no call start for so long; the longest of several pauses counts."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    async def _wait(self, tokens: int) -> None:
        while True:
            now = time.monotonic()
            ready = self._paused_until
            if self._tokens is not None:
                ready = max(ready, self._tokens.ready_at(now, tokens))
            if ready <= now:
                return
            # Not longer: a correction may bring the time nearer.
            await asyncio.sleep(min(ready - now, _RECHECK))


class TokenWindow:
    """The tokens of the last minute: none above the limit, and spread evenly.

    Args:
        limit: Most tokens in any minute, above 0.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._seconds_per_token = (WINDOW + 0.5) / limit
        self._permits: deque[Permit] = deque()
        self._total = 0
        self._due = -math.inf

    def ready_at(self, now: float, tokens: int) -> float:
        """Return when a call of so many tokens may start."""
        while self._permits and now - self._permits[0].at > WINDOW:
            expired = self._permits.popleft()
            expired.in_window = False
            self._total -= expired.tokens
        ready, total = self._due, self._total
        for permit in self._permits:
            if total + tokens <= self._limit:
                break
            total -= permit.tokens
            ready = max(ready, permit.at + WINDOW + 0.001)
        return ready

    def add(self, permit: Permit) -> None:
        """Count a call that starts now."""
        self._permits.append(permit)
        self._total += permit.tokens
        begin = self._due if permit.at - self._due <= _MADE_UP else permit.at
        self._due = begin + permit.tokens * self._seconds_per_token

    def correct(self, permit: Permit, tokens: int) -> None:
        """Replace a call's number of tokens; calls outside the window no longer count."""
        change = tokens - permit.tokens
        permit.tokens = tokens
        self._due += change * self._seconds_per_token
        if permit.in_window:
            self._total += change


def _check_rate(name: str, rate: float | None) -> None:
    if rate is not None and not 0 < rate < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, not {rate}")


def _throttler(rate: float) -> Throttler:
    """A throttle that spreads the requests of a minute, and never lets more of them through."""
    size = math.ceil(rate / _BATCHES)
    batches = math.floor(rate) // size
    # Below one a minute, the window is as long as one request needs.
    period = WINDOW / rate if rate < 1 else WINDOW / batches
    return Throttler(size, period, retry_interval=min(_RECHECK, period / 100))
