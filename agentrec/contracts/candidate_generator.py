"""The contract of what finds, in the whole catalogue, something to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentrec.sessions import Session


class CandidateGenerator(Protocol):
    """Finds candidates for sessions that come without any.

    It looks at a session's ``items`` alone, never at its ``target`` or its ``candidates``: what
    comes back may lack the target, and how often it does is what a generator is measured by.
    ``generate_many`` computes and does not wait: callers in an event loop run it in a thread.
    """

    def generate_many(self, sessions: Sequence[Session], count: int) -> list[tuple[str, ...]]:
        """Find the items that most likely come next in each session.

        Args:
            sessions: The sessions; may be none. One may name items that the generator does not
                know.
            count: How many items a session at most, at least 1.

        Returns:
            One tuple a session, in order: different items of the generator's catalogue, none of
            them in the session's ``items``, the likeliest first. Fewer than ``count`` only where
            the catalogue has no more. What a session gets does not depend on the others.

        Raises:
            ValueError: If ``count`` is below 1.
        """
        ...
