"""Ranking with a preference text by the recommender that rewards such texts."""

from __future__ import annotations

import asyncio

from agentrec.policies.reward_model.augmented import AugmentedRecommender, Floats
from agentrec.policies.reward_model.text_vectors import TextVectors
from agentrec.sessions import Session


class AugmentedPreferenceRanker:
    """Ranks as an augmented recommender that is told the text; see ``PreferenceRanker``.

    Without a text the order is the backbone's. Candidates that the catalogue lacks come last.

    Args:
        recommender: The recommender; frozen.
        text_vectors: Vectors of what its texts were encoded with in training, such as a reward
            model's own.
    """

    def __init__(self, recommender: AugmentedRecommender, text_vectors: TextVectors) -> None:
        self._recommender = recommender
        self._text_vectors = text_vectors

    async def rank(self, session: Session, text: str | None) -> tuple[str, ...]:
        """Rank the candidates; see ``PreferenceRanker.rank``."""
        vectors = await self._text_vectors.of([text or ""])
        return await asyncio.to_thread(self._ranked, session, vectors)

    def _ranked(self, session: Session, vectors: Floats) -> tuple[str, ...]:
        (scores,) = self._recommender.scores([session], vectors)
        return self._recommender.recommender.ordered(session, scores)
