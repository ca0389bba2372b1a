"""What most people took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from agentrec.evaluation.baselines.ranker import Ranker, order_by_score
from agentrec.sessions import Session


class PopularityRanker(Ranker):
    """Ranks by how often an item occurs in the training sessions.

    Args:
        counts: Occurrences by item id, from the training split only; a missing one counts 0.
        seed: Seed of the lot among equal counts.
    """

    def __init__(self, counts: Mapping[str, int], seed: int = 0) -> None:
        self._counts = dict(counts)
        self._seed = seed

    @classmethod
    def fit(cls, sessions: Iterable[Session], seed: int = 0) -> PopularityRanker:
        """Count in how many training sessions each item is, history and target alike."""
        counts: Counter[str] = Counter()
        for session in sessions:
            target = () if session.target is None else (session.target,)
            counts.update({*session.items, *target})
        return cls(counts, seed)

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates by count; see ``Ranker.rank``."""
        return order_by_score(session, self._counts, self._seed)
