"""Limits on concurrency, requests and tokens, shared by one or several gateways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agentrec.llm.limits.pacing import Pacer, Permit


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
        # Refuses an impossible rate where it is given, not where it is first used.
        Pacer(self.requests_per_minute, self.tokens_per_minute)


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
