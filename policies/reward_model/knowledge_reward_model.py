"""The reward of preference texts, and ranking by them: the augmented recommender at work."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from langchain_core.embeddings import Embeddings

from agentrec.continuations import Relevant, continuation_of
from agentrec.evaluation.metrics import ranking_value
from agentrec.policies.reward_model.augmented_recommender import AugmentedRecommender, Floats
from agentrec.policies.reward_model.candidate_scores import CandidateScores
from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session

CACHED_TEXTS = 20_000

_CHUNK = 2_048


class TextVectors:
    """Encodes texts, and keeps the vectors of the 20,000 used last.

    Args:
        embeddings: The text embeddings.
        dimension: Width of a vector, at least 1.
    """

    def __init__(self, embeddings: Embeddings, dimension: int) -> None:
        self.dimension = dimension
        self._embeddings = embeddings
        # In the order of use, the last one at the end.
        self._cached: dict[str, Floats] = {}

    async def of(self, texts: Sequence[str]) -> Floats:
        """Return the vectors of texts, each distinct one encoded once.

        Args:
            texts: Any number; an empty text has a vector of zeros.

        Returns:
            Float32 ``[texts, dimension]``.

        Raises:
            ValueError: If the embeddings give vectors of another dimension.
        """
        distinct = dict.fromkeys(text for text in texts if text)
        # Taken before anything is awaited: another caller may push it out meanwhile.
        found = {text: self._cached[text] for text in distinct if text in self._cached}
        missing = [text for text in distinct if text not in found]
        if missing:
            made = await self._embeddings.aembed_documents(missing)
            found |= {text: self._vector(one) for text, one in zip(missing, made, strict=True)}
        self._cache({text: found[text] for text in distinct})
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            if text:
                vectors[row] = found[text]
        return vectors

    def _vector(self, numbers: Sequence[float]) -> Floats:
        if len(numbers) != self.dimension:
            raise ValueError(f"a text was encoded as {len(numbers)} numbers, not {self.dimension}")
        return np.asarray(numbers, dtype=np.float32)

    def _cache(self, used: Mapping[str, Floats]) -> None:
        for text, vector in used.items():
            self._cached.pop(text, None)
            self._cached[text] = vector
        while len(self._cached) > CACHED_TEXTS:
            del self._cached[next(iter(self._cached))]


class KnowledgeRewardModel:
    """Scores texts by the ranking of an augmented recommender that reads them.

    The reward is the mean of NDCG@K and MAP@K of what is relevant; the tie-break is its mean
    log-probability among the candidates with the text minus without it. All texts of a call are
    computed in one pass.

    Source: RLRF4Rec, reward model.

    Args:
        recommender: The augmented recommender; frozen.
        embeddings: The text embeddings it was trained with.
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
        identity = f"{recommender.parameter_hash} {relevant} {shown_share:g}"
        self._hash = hashlib.sha256(identity.encode()).hexdigest()

    @property
    def parameter_hash(self) -> str:
        """SHA-256 over the recommender, backbone included, and what is relevant."""
        return self._hash

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward]]:
        """Score texts; see ``RewardModel.score``."""
        if len(texts) != len(sessions):
            raise ValueError(f"{len(sessions)} sessions need as many lists, not {len(texts)}")
        vectors = await self.text_vectors.of([text for each in texts for text in each])
        owners = [row for row, each in enumerate(texts) for _ in each]
        rewards = iter(await asyncio.to_thread(self._rewards, sessions, owners, vectors))
        return [[next(rewards) for _ in each] for each in texts]

    def _rewards(
        self, sessions: Sequence[Session], owners: Sequence[int], vectors: Floats
    ) -> list[PreferenceReward]:
        scores = CandidateScores.of_continuations(
            self.recommender.recommender,
            [continuation_of(one, self._shown_share, self._relevant) for one in sessions],
        )
        cutoff, temperature = self.recommender.config.cutoff, self.recommender.fusion.temperature
        rewards: list[PreferenceReward] = []
        for start in range(0, len(owners), _CHUNK):
            own = scores.rows(torch.tensor(owners[start : start + _CHUNK], dtype=torch.int64))
            added = self.recommender.text_scores(vectors[start : start + _CHUNK])
            without = own.log_probabilities(torch.zeros_like(added), temperature)
            margins = own.log_probabilities(added, temperature) - without
            rewards += [
                PreferenceReward(value=ranking_value(ranks, cutoff), margin=margin)
                for ranks, margin in zip(own.relevant_ranks(added), margins.tolist(), strict=True)
            ]
        return rewards


class AugmentedPreferenceRanker:
    """Ranks as an augmented recommender that reads the text; see ``PreferenceRanker``.

    Without a text the order is the backbone's. Candidates that the catalogue lacks come last.

    Args:
        recommender: The recommender; frozen.
        text_vectors: Vectors by the embeddings it was trained with, such as a reward model's own.
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
