"""Ranking with a text by an augmented recommender."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from agentrec.catalog import Catalog, Item
from agentrec.policies.reward_model.augmented_recommender import (
    AugmentedRecommender,
    Floats,
    Fusion,
    make_adapter,
)
from agentrec.policies.reward_model.config import RewardModelConfig
from agentrec.policies.reward_model.knowledge_reward_model import (
    AugmentedPreferenceRanker,
    KnowledgeRewardModel,
    TextVectors,
)
from agentrec.policies.sequential.config import BackboneConfig
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.policies.standardiser import Standardiser
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.sessions import Session
from agentrec.testing.preference_ranker_conformance import PreferenceRankerConformance

DIMENSION = 16
IDS = [f"i{number}" for number in range(20)]
EMBEDDINGS = HashedWordEmbeddings(DIMENSION)
TEXT = "genre: war films"


def made_sessions() -> list[Session]:
    lot = np.random.default_rng(0)
    made = []
    for number in range(40):
        drawn = [IDS[place] for place in lot.permutation(len(IDS))]
        session = Session(
            session_id=f"s{number}",
            items=tuple(drawn[:4]),
            target=drawn[4],
            candidates=tuple(drawn[4:16]),
        )
        made.append(session)
    return made


@pytest.fixture(scope="module")
def recommender() -> AugmentedRecommender:
    """A backbone that learnt little, and an adapter that wants something of every text."""
    config = RewardModelConfig(hidden=8)
    catalog = Catalog(Item(item_id=one, title=f"Film {one}") for one in IDS)
    backbone = BackboneTrainer("gru4rec", BackboneConfig(dim=8, layers=1, epochs=2)).fit(
        made_sessions(), [], catalog
    )
    generator = torch.Generator().manual_seed(0)
    adapter = make_adapter(DIMENSION, 4, config, generator)
    torch.nn.init.normal_(adapter.out.weight, generator=generator)
    eye = np.eye(DIMENSION, dtype=np.float32)
    features = torch.eye(4)[torch.arange(len(IDS)) % 4]
    texts = Standardiser(np.zeros(DIMENSION, dtype=np.float32), eye)
    return AugmentedRecommender(
        backbone, adapter, texts, features, fusion=Fusion(), config=config, seed=0
    )


@pytest.fixture
def ranker(recommender: AugmentedRecommender) -> AugmentedPreferenceRanker:
    return AugmentedPreferenceRanker(recommender, TextVectors(EMBEDDINGS, DIMENSION))


class TestRanksByContract(PreferenceRankerConformance):
    @pytest.fixture
    def sessions(self) -> Sequence[Session]:
        with_stranger = made_sessions()[0].model_copy(update={"candidates": ("i1", "new", "i2")})
        return [*made_sessions()[:3], with_stranger]


async def test_without_a_text_it_is_the_backbone(
    ranker: AugmentedPreferenceRanker, recommender: AugmentedRecommender
) -> None:
    for session in made_sessions()[:10]:
        assert await ranker.rank(session, None) == recommender.recommender.rank(session)


async def test_a_text_moves_candidates_as_it_moves_scores(
    ranker: AugmentedPreferenceRanker, recommender: AugmentedRecommender
) -> None:
    vectors = np.array(EMBEDDINGS.embed_documents([TEXT]), dtype=np.float32)
    moved = 0
    for session in made_sessions()[:10]:
        (scores,) = recommender.scores([session], vectors)
        ranked = await ranker.rank(session, TEXT)
        fits = [float(scores[IDS.index(one)]) for one in ranked]
        assert fits == sorted(fits, reverse=True)
        moved += ranked != await ranker.rank(session, None)
    assert moved > 5


async def test_it_shares_the_vectors_of_a_reward_model(recommender: AugmentedRecommender) -> None:
    class Counting(HashedWordEmbeddings):
        asked = 0

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            Counting.asked += len(texts)
            return super().embed_documents(texts)

    rewarding = KnowledgeRewardModel(recommender, Counting(DIMENSION))
    ranker = AugmentedPreferenceRanker(rewarding.recommender, rewarding.text_vectors)
    session = made_sessions()[0]
    await rewarding.score([session], [[TEXT]])
    await ranker.rank(session, TEXT)
    assert Counting.asked == 1


async def test_scores_are_computed_in_a_thread(
    ranker: AugmentedPreferenceRanker,
    recommender: AugmentedRecommender,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[threading.Thread] = []
    compute = recommender.scores

    def watched(sessions: Sequence[Session], vectors: Floats) -> torch.Tensor:
        threads.append(threading.current_thread())
        return compute(sessions, vectors)

    monkeypatch.setattr(recommender, "scores", watched)
    await asyncio.gather(*(ranker.rank(one, TEXT) for one in made_sessions()[:3]))
    assert len(threads) == 3
    assert threading.main_thread() not in threads
