"""The contract of a hint knowledge base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentrec.hints import Hint, ScoredHint


class HintStore(Protocol):
    """Keeps hints with their vectors and finds the nearest ones.

    Every method may be awaited from an event loop: an implementation moves blocking work to a
    thread. Vectors are 1-D float sequences of one length per store; similarity is the cosine.
    An implementation raises ``StoreError`` when its storage fails, ``ValueError`` on a vector of
    the wrong length or without direction (all zeros, not finite).
    """

    async def add(self, hint: Hint, vector: Sequence[float]) -> bool:
        """Store a hint.

        Args:
            hint: The hint; its ``hint_id`` is its identity.
            vector: Its embedding, shape ``[dimension]``.

        Returns:
            True if it was new; False if a hint with that id is stored already (nothing changes).
        """
        ...

    async def search(self, vector: Sequence[float], limit: int) -> list[ScoredHint]:
        """Find the stored hints nearest to a vector.

        Args:
            vector: The query, shape ``[dimension]``.
            limit: How many at most, at least 1.

        Returns:
            The nearest hints, most similar first; equal similarities in order of ``hint_id``.
        """
        ...

    async def all(self) -> list[Hint]:
        """Every stored hint, in the order in which they were added."""
        ...
