"""Limits on concurrency, requests and tokens, shared by one or several gateways."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from asyncio_throttle.throttler import Throttler

# Seconds of a "minute". Endpoints count arrivals, and calls do not all travel equally fast: those
# at the end of one minute may take up to a second longer than those at the start of the next.
_WINDOW = 61.0
# Requests are let through in at most so many batches a window, one every half second.
_BATCHES = 120
# A waiting call sleeps at most so long before it checks whether its time has changed.
_RECHECK = 0.25
# A start that is late by up to so many seconds, because the process was busy, does not delay the
# next ones. Nothing is made up for after a longer gap.
_MADE_UP = 0.4


@dataclass(frozen=True)
class CallLimits:
    """How many calls may be made.

    Attributes:
        max_concurrency: Most calls in flight, at least 1.
        requests_per_minute: Most calls in any minute, above 0, spread over the minute; ``None``
            for no limit. Up to 4 % less is used, because calls do not all travel equally fast.
        tokens_per_minute: Most tokens, read and written, in any minute, above 0, estimated before
            a call and corrected after it; ``None`` for no limit.
        longest_pause: Most seconds for which an endpoint's ``Retry-After`` is obeyed, at least 0.

    Raises:
        ValueError: If a limit is out of range.
    """

    max_concurrency: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    longest_pause: float = 300.0

    def __post_init__(self) -> None:
        if self.max_concurrency < 1:
            raise ValueError("max_concurrency must be at least 1")
        if not self.longest_pause >= 0:
            raise ValueError("longest_pause must be at least 0")
        for name in ("requests_per_minute", "tokens_per_minute"):
            _check_rate(name, getattr(self, name))


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


class CallLimiter:
    """Enforces limits on all callers that share this object, in one event loop.

    Args:
        limits: The limits; by default 64 concurrent calls and no rate limit.
    """

    def __init__(self, limits: CallLimits | None = None) -> None:
        self.limits = CallLimits() if limits is None else limits
        self._slots = asyncio.Semaphore(self.limits.max_concurrency)
        self._pacer = Pacer(self.limits.requests_per_minute, self.limits.tokens_per_minute)

    @asynccontextmanager
    async def acquire(self, tokens: int = 0) -> AsyncIterator[Permit]:
        """Wait until a call may start, and count it as in flight; first come, first served.

        Args:
            tokens: Estimate of the tokens that the call reads and writes, at least 0.
        """
        # The slot comes first: a permit is then used at once, and starts do not pile up behind
        # the slots. It also bounds the queue before the pacer.
        async with self._slots:
            yield await self._pacer.start(tokens)

    def correct(self, permit: Permit, tokens: int) -> None:
        """Replace the estimate of a call's tokens by their real number."""
        self._pacer.correct(permit, tokens)

    def pause(self, seconds: float) -> None:
        """Hold all calls back, because the endpoint says it is overloaded."""
        self._pacer.pause(min(seconds, self.limits.longest_pause))


class Pacer:
    """Lets calls start one after the other, in the order in which they asked.

    No window of a minute holds more requests or tokens than allowed, and both are spread over
    the minute: requests to within half a second, tokens evenly. A rate of requests above 1 is
    rounded down to a whole number. A single call with more tokens than the limit starts once
    nothing else is in the window. A cancelled caller leaves the queue and uses nothing up.

    Requests are counted by asyncio-throttle. It polls and has no queue, so only the first caller
    in the queue waits for it. It lets a whole quota through at once, so it gets a quota for every
    half second.

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
        self._tokens = None if tokens_per_minute is None else _TokenWindow(tokens_per_minute)
        self._paused_until = -math.inf

    async def start(self, tokens: int = 0) -> Permit:
        """Wait until a call with about so many tokens may start."""
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


class _TokenWindow:
    """The tokens of the last minute: never above the limit, and spread evenly."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._seconds_per_token = (_WINDOW + 0.5) / limit
        self._permits: deque[Permit] = deque()
        self._total = 0
        self._due = -math.inf

    def ready_at(self, now: float, tokens: int) -> float:
        """Return when a call with so many tokens may start."""
        while self._permits and now - self._permits[0].at > _WINDOW:
            expired = self._permits.popleft()
            expired.in_window = False
            self._total -= expired.tokens
        ready, total = self._due, self._total
        for permit in self._permits:
            if total + tokens <= self._limit:
                break
            total -= permit.tokens
            ready = max(ready, permit.at + _WINDOW + 0.001)
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
    """Return a throttle that spreads the requests of a minute and never lets more through."""
    size = math.ceil(rate / _BATCHES)
    # Below one a minute, the window is as long as one request needs.
    period = _WINDOW / rate if rate < 1 else _WINDOW / (math.floor(rate) // size)
    return Throttler(size, period, retry_interval=min(_RECHECK, period / 100))
