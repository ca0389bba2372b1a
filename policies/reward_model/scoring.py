"""The reward of preference texts: how much they help the frozen, augmented recommender."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import torch
from langchain_core.embeddings import Embeddings

from agentrec.policies.reward_model.augmented import AugmentedRecommender, Floats
from agentrec.policies.reward_model.target_odds import TargetOdds
from agentrec.policies.reward_model.text_vectors import TextVectors
from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session

_AT_A_TIME = 2_048


class KnowledgeRewardModel:
    """Scores texts by the ranking of a recommender that is told them.

    The reward is the mean of NDCG@K and MAP@K of the target; with one target MAP is the reciprocal
    of its place. The tie-break is the target's log-probability among the candidates with the text
    minus without it. All texts of a call are one pass.

    Source: RLRF4Rec, reward model.

    Args:
        recommender: The augmented recommender; frozen.
        embeddings: What its texts were encoded with in training.
    """

    def __init__(self, recommender: AugmentedRecommender, embeddings: Embeddings) -> None:
        self.recommender = recommender
        self.text_vectors = TextVectors(embeddings, recommender.texts.raw_dim)
        self._hash = recommender.parameter_hash

    @property
    def parameter_hash(self) -> str:
        """That of the recommender, backbone included."""
        return self._hash

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward]]:
        """Say what texts are worth; see ``RewardModel.score``."""
        if len(texts) != len(sessions):
            raise ValueError(f"{len(sessions)} sessions need as many lists, not {len(texts)}")
        vectors = await self.text_vectors.of([text for each in texts for text in each])
        owners = [row for row, each in enumerate(texts) for _ in each]
        rewards = await asyncio.to_thread(self._rewards, sessions, owners, vectors)
        found = iter(rewards)
        return [[next(found) for _ in each] for each in texts]

    def _rewards(
        self, sessions: Sequence[Session], owners: Sequence[int], vectors: Floats
    ) -> list[PreferenceReward]:
        odds = TargetOdds.of(self.recommender.recommender, sessions)
        cutoff, temperature = self.recommender.config.cutoff, self.recommender.fusion.temperature
        rewards: list[PreferenceReward] = []
        for start in range(0, len(owners), _AT_A_TIME):
            rows = list(owners[start : start + _AT_A_TIME])
            own = odds.rows(torch.tensor(rows, dtype=torch.int64))
            moves = self.recommender.moves(vectors[start : start + _AT_A_TIME])
            ranks = own.ranks(moves).tolist()
            without = own.log_probabilities(torch.zeros_like(moves), temperature)
            margins = own.log_probabilities(moves, temperature) - without
            rewards += [
                PreferenceReward(value=ranking_value(rank, cutoff), margin=margin)
                for rank, margin in zip(ranks, margins.tolist(), strict=True)
            ]
        return rewards


def ranking_value(rank: int, cutoff: int) -> float:
    """Mean of NDCG@K and MAP@K of a ranking with one target, 0 to 1.

    Args:
        rank: Place of the target, from 1.
        cutoff: K, at least 1.

    >>> ranking_value(1, 10), ranking_value(11, 10)
    (1.0, 0.0)
    """
    return 0.0 if rank > cutoff else float((1 / np.log2(rank + 1) + 1 / rank) / 2)
