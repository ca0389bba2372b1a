"""The contract of a hint arbiter."""

from __future__ import annotations

from typing import Protocol


class HintArbiter(Protocol):
    """Decides whether two hints mean the same where their vectors leave it open."""

    async def same(self, first: str, second: str) -> bool:
        """Return whether two hints give a recommender the same advice.

        Args:
            first: The text of a hint.
            second: The text of another hint.

        Raises:
            ModelCallError: If it asks a model and the call failed for good.
        """
        ...
