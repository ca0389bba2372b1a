"""Limits on concurrency, requests and tokens, shared by one or several gateways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from langchain_core.rate_limiters import BaseRateLimiter

from agentrec.llm.limits.pacing import Pace, Start, TurnQueue


@dataclass(frozen=True)
class CallLimits:
    """How many calls may be made.

    Attributes:
        max_concurrency: Most calls in flight, at least 1.
        requests_per_minute: Most calls in any minute, above 0, spread evenly; ``None`` for no
            limit. Up to 2.5 % less is used, because calls do not all travel equally fast.
        tokens_per_minute: Most tokens, read and written, in any minute, above 0, estimated before
            a call and corrected after it; ``None`` for no limit.
        longest_pause: Most seconds that an endpoint's ``Retry-After`` is obeyed for, at least 0.

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
        # Says what is wrong with a rate where it is given, not where it is first used.
        Pace(self.requests_per_minute, self.tokens_per_minute)


class CallLimiter:
    """Keeps limits for all who are given this object, in one event loop.

    Args:
        limits: The limits; none but 64 calls at a time by default.
    """

    def __init__(self, limits: CallLimits | None = None) -> None:
        self.limits = CallLimits() if limits is None else limits
        self._slots = asyncio.Semaphore(self.limits.max_concurrency)
        pace = Pace(self.limits.requests_per_minute, self.limits.tokens_per_minute)
        self._turns = TurnQueue(pace, self.limits.max_concurrency)

    @asynccontextmanager
    async def place(self, tokens: int = 0) -> AsyncIterator[Start]:
        """A place among the calls in flight, had once the call may start; first come, first served.

        Args:
            tokens: What the call will read and write, estimated, at least 0.
        """
        # In this order: a turn that is taken is used at once, or starts would bunch together
        # behind the slots. It also bounds the line before the pace.
        async with self._slots:
            yield await self._turns.start(tokens)

    def correct(self, start: Start, tokens: int) -> None:
        """Say how many tokens a call really read and wrote."""
        self._turns.correct(start, tokens)

    def pause(self, seconds: float) -> None:
        """Hold everybody's calls back, as an endpoint asks for that is overloaded."""
        self._turns.pause(min(seconds, self.limits.longest_pause))


class PacedRateLimiter(BaseRateLimiter):
    """Spreads calls evenly and never lets more start in a minute than allowed.

    One object may serve several models, event loops and threads at the same time; all of them
    stand in one line. A caller that is cancelled leaves it. For models behind a ``ModelGateway``
    the gateway's own limits are the better place: they also stop calls that nobody needs::

        model = init_chat_model("openai:gpt-4o-mini", rate_limiter=PacedRateLimiter(500))

    Args:
        requests_per_minute: Most calls in any minute, above 0 and finite.
        max_waiting: How many callers may stand in line, at least 1.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, requests_per_minute: float, *, max_waiting: int = 100_000) -> None:
        self._turns = TurnQueue(Pace(requests_per_minute), max_waiting)

    def acquire(self, *, blocking: bool = True) -> bool:
        """Take a turn, waiting for it in this thread if ``blocking``.

        Returns:
            Whether there is a turn; without ``blocking`` only if it is there now and nobody waits.

        Raises:
            ModelCallError: If the line is full.
        """
        if not blocking:
            return self._turns.try_start() is not None
        self._turns.start_blocking()
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        """Take a turn, letting other tasks run meanwhile; see ``acquire``."""
        if not blocking:
            return self._turns.try_start() is not None
        await self._turns.start()
        return True
