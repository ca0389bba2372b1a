"""The floor: an order that knows nothing."""

from __future__ import annotations

from agentrec.evaluation.baselines.ordering import order_by_score
from agentrec.evaluation.baselines.ranker import Ranker
from agentrec.sessions import Session


class RandomRanker(Ranker):
    """Ranks by lot.

    Args:
        seed: Another seed, another order.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def rank(self, session: Session) -> tuple[str, ...]:
        """Shuffle the candidates; see ``Ranker.rank``."""
        return order_by_score(session, {}, self._seed)
