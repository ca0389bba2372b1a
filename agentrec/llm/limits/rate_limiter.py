"""A rate limiter for anybody's own LangChain chat models."""

from __future__ import annotations

from langchain_core.rate_limiters import BaseRateLimiter

from agentrec.llm.limits.pacing import Pace
from agentrec.llm.limits.turn_queue import TurnQueue


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
