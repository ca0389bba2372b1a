"""The rule that the embedded model is distilled from, as a recommender of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from agentrec.catalog import Catalog
from agentrec.embedded_model.teaching.teacher import Teacher
from agentrec.evaluation.baselines import Ranker
from agentrec.evaluation.baselines.ordering import order_by_score
from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.sessions import Session


class RuleRanker(Ranker):
    """Ranks by the teacher's scores without a hint: what the embedded model should come near to.

    Args:
        catalog: The items.
        teacher: The rule.
        seed: Seed of the lot among equal scores.
    """

    def __init__(self, catalog: Catalog, teacher: Teacher, seed: int = 0) -> None:
        self._catalog = catalog
        self._teacher = teacher
        self._seed = seed

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates; see ``Ranker.rank``."""
        history = self._places(session.items[-HISTORY_LENGTH:])
        lengths = torch.tensor([history.shape[1]])
        scored = self._teacher.base_scores(history, lengths, self._places(session.candidates))
        scores = dict(zip(session.candidates, scored[0].tolist(), strict=True))
        return order_by_score(session, scores, self._seed)

    def _places(self, item_ids: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[self._catalog.index[item_id] for item_id in item_ids]])
