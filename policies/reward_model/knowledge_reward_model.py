"""The vectors of texts, each text encoded once."""

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

MOST_KEPT = 20_000


class TextVectors:
    """Encodes texts, and keeps the vectors of the 20,000 that were used last.

    Args:
        embeddings: What encodes.
        dimension: How many numbers a vector has, at least 1.
    """

    def __init__(self, embeddings: Embeddings, dimension: int) -> None:
        self.dimension = dimension
        self._embeddings = embeddings
        # In the order of use, what was used last at the end.
        self._kept: dict[str, Floats] = {}

    async def of(self, texts: Sequence[str]) -> Floats:
        """The vectors of texts, each distinct one encoded once.

        Args:
            texts: Any number; an empty text has a vector of zeros: nothing is said.

        Returns:
            Float32 ``[texts, dimension]``.

        Raises:
            ValueError: If what encodes gives vectors of another dimension.
        """
        distinct = dict.fromkeys(text for text in texts if text)
        # Taken before anything is awaited: whoever asks meanwhile may push it out.
        found = {text: self._kept[text] for text in distinct if text in self._kept}
        missing = [text for text in distinct if text not in found]
        if missing:
            made = await self._embeddings.aembed_documents(missing)
            found |= {text: self._vector(one) for text, one in zip(missing, made, strict=True)}
        self._keep({text: found[text] for text in distinct})
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            if text:
                vectors[row] = found[text]
        return vectors

    def _vector(self, numbers: Sequence[float]) -> Floats:
        if len(numbers) != self.dimension:
            raise ValueError(f"a text was encoded as {len(numbers)} numbers, not {self.dimension}")
        return np.asarray(numbers, dtype=np.float32)

    def _keep(self, used: Mapping[str, Floats]) -> None:
        """Keep what was used last."""
        for text, vector in used.items():
            self._kept.pop(text, None)
            self._kept[text] = vector
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]


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
        odds = CandidateScores.of_continuations(
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
