"""When the next call may start under limits a minute on requests and tokens.

asyncio-throttle keeps the log of requests and answers whether one more fits into the window. What
it lacks is added here: even spacing in front of it, so that it nearly always says yes at once;
weights for tokens; a pause that an endpoint asks for. Nothing here waits.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from asyncio_throttle.throttler import Throttler

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
