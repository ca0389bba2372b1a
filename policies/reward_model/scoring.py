"""The reward of preference texts: how much they help the frozen, augmented recommender."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from langchain_core.embeddings import Embeddings

from agentrec.policies.reward_model.augmented import AugmentedRecommender, Floats
from agentrec.policies.reward_model.target_odds import TargetOdds
from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session

CACHED_TEXTS = 20_000
_AT_A_TIME = 2_048


class KnowledgeRewardModel:
    """Scores texts by the ranking of a recommender that is told them.

    The reward is the mean of NDCG@K and MAP@K of the target; with one target MAP is the reciprocal
    of its place. The tie-break is the target's log-probability among the candidates with the text
    minus without it. All texts of a call are one pass. The vectors of the 20,000 texts used last
    are kept by their content.

    Source: RLRF4Rec, reward model.

    Args:
        recommender: The augmented recommender; frozen.
        embeddings: What its texts were encoded with in training.
    """

    def __init__(self, recommender: AugmentedRecommender, embeddings: Embeddings) -> None:
        self.recommender = recommender
        self._embeddings = embeddings
        self._vectors: dict[str, Floats] = {}
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
        vectors = await self.encode([text for each in texts for text in each])
        owners = [row for row, each in enumerate(texts) for _ in each]
        rewards = await asyncio.to_thread(self._rewards, sessions, owners, vectors)
        found = iter(rewards)
        return [[next(found) for _ in each] for each in texts]

    async def encode(self, texts: Sequence[str]) -> Floats:
        """The vectors of texts, each distinct one encoded once.

        Args:
            texts: Any number; an empty text has a vector of zeros: nothing is said.

        Returns:
            Float32 ``[texts, text_dim]``.
        """
        missing = [one for one in dict.fromkeys(texts) if one and one not in self._vectors]
        if missing:
            made = await self._embeddings.aembed_documents(missing)
            for text, vector in zip(missing, made, strict=True):
                self._vectors[text] = np.asarray(vector, dtype=np.float32)
        nothing = np.zeros(self.recommender.texts.raw_dim, dtype=np.float32)
        found = np.stack([self._vectors[text] if text else nothing for text in texts] or [nothing])
        self._forget(texts)
        return np.asarray(found[: len(texts)], dtype=np.float32)

    def _forget(self, used: Iterable[str]) -> None:
        """Keep what was used last."""
        for text in dict.fromkeys(used):
            if text in self._vectors:
                self._vectors[text] = self._vectors.pop(text)
        while len(self._vectors) > CACHED_TEXTS:
            del self._vectors[next(iter(self._vectors))]

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
