"""The contract of a recommender that reads a text about what a user prefers."""

from __future__ import annotations

from typing import Protocol

from agentrec.sessions import Session


class PreferenceRanker(Protocol):
    """Ranks the candidates of a session, given a text about its user.

    It never looks at the session's target. The method may be awaited from an event loop: an
    implementation moves blocking work to a thread.
    """

    async def rank(self, session: Session, text: str | None) -> tuple[str, ...]:
        """Rank the candidates of a session.

        Args:
            session: A session with candidates.
            text: What is known of the user; ``None`` or empty for nothing.

        Returns:
            All of ``session.candidates``, best first; the same for the same session and text, in
            whatever order its candidates are listed.
        """
        ...
