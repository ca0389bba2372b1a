"""The shape that every baseline has."""

from __future__ import annotations

from typing import Protocol

from agentrec.sessions import Session


class Ranker(Protocol):
    """Ranks the candidates of one session, without looking at its target."""

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank.

        Returns:
            All of ``session.candidates``, best first; the same for the same session, in
            whatever order its candidates are listed.
        """
        ...
