"""The reward of preference texts: how much they help the frozen, augmented recommender."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import torch
from langchain_core.embeddings import Embeddings

from agentrec.continuations import Relevant, continuation_of
from agentrec.evaluation.relevant_items import ranking_value
from agentrec.policies.reward_model.augmented import AugmentedRecommender, Floats
from agentrec.policies.reward_model.target_odds import TargetOdds
from agentrec.policies.reward_model.text_vectors import TextVectors
from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session

_AT_A_TIME = 2_048


class KnowledgeRewardModel:
    """Scores texts by the ranking of a recommender that is told them.

    The reward is the mean of NDCG@K and MAP@K of what is relevant; the tie-break is its mean
    log-probability among the candidates with the text minus without it. All texts of a call are
    one pass.

    Source: RLRF4Rec, reward model.

    Args:
        recommender: The augmented recommender; frozen.
        embeddings: What its texts were encoded with in training.
        relevant: What a text is to find: the target, or all that came after what it is about.
        shown_share: Share of a history that texts are written from, above 0 to 1.
    """

    def __init__(
        self,
        recommender: AugmentedRecommender,
        embeddings: Embeddings,
        *,
        relevant: Relevant = "target",
        shown_share: float = 1.0,
    ) -> None:
        self.recommender = recommender
        self._relevant = relevant
        self._shown_share = shown_share
        self.text_vectors = TextVectors(embeddings, recommender.texts.raw_dim)
        judged = f"{recommender.parameter_hash} {relevant} {shown_share:g}"
        self._hash = hashlib.sha256(judged.encode()).hexdigest()

    @property
    def parameter_hash(self) -> str:
        """Over the recommender, backbone included, and what is relevant."""
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
        odds = TargetOdds.of_continuations(
            self.recommender.recommender,
            [continuation_of(one, self._shown_share, self._relevant) for one in sessions],
        )
        config, temperature = self.recommender.config, self.recommender.fusion.temperature
        rewards: list[PreferenceReward] = []
        for start in range(0, len(owners), _AT_A_TIME):
            rows = list(owners[start : start + _AT_A_TIME])
            own = odds.rows(torch.tensor(rows, dtype=torch.int64))
            moves = self.recommender.moves(vectors[start : start + _AT_A_TIME])
            without = own.log_probabilities(torch.zeros_like(moves), temperature)
            margins = own.log_probabilities(moves, temperature) - without
            rewards += [
                PreferenceReward(value=ranking_value(places, config.cutoff), margin=margin)
                for places, margin in zip(own.places(moves), margins.tolist(), strict=True)
            ]
        return rewards
