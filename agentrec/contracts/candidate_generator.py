"""The contract of generators that find candidates in the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentrec.sessions import Session


class CandidateGenerator(Protocol):
    """Finds candidates for sessions that come without any.

    It uses a session's ``items`` alone, never its ``target`` or ``candidates``. The result may lack
    the target; how often it does measures a generator. ``generate_many`` blocks while it computes:
    callers in an event loop run it in a thread.
    """

    def generate_many(self, sessions: Sequence[Session], count: int) -> list[tuple[str, ...]]:
        """Find the items that most likely come next in each session.

        Args:
            sessions: The sessions; may be none. They may name unknown items.
            count: Most items per session, at least 1.

        Returns:
            One tuple per session, in order: distinct items of the generator's catalogue that are
            not in the session's ``items``, most likely first. Fewer than ``count`` only where the
            catalogue has no more. The result of a session does not depend on the others.

        Raises:
            ValueError: If ``count`` is below 1.
        """
        ...
