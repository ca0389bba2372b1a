"""What is there is learnt, and what is not there is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agentrec.data import Dataset
from agentrec.evaluation.baselines import PopularityRanker, Ranker
from agentrec.evaluation.metrics import ndcg
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer


def mean_ndcg(ranker: Ranker, data: Dataset) -> float:
    ranks = [ranker.rank(each).index(str(each.target)) + 1 for each in data.test]
    return float(np.mean([ndcg(rank) for rank in ranks]))


def test_a_chain_is_learnt_far_above_popularity(
    recommender: SequentialRecommender, world: Dataset
) -> None:
    popularity = mean_ndcg(PopularityRanker.fit(world.train), world)
    # Who knows the chain, and of the fifth that breaks it nothing, reaches about 0.85.
    assert mean_ndcg(recommender, world) > max(0.75, popularity + 0.2)


def test_what_follows_is_found_in_the_whole_catalogue(
    recommender: SequentialRecommender, world: Dataset
) -> None:
    # Items come again in a chain; what generates looks for new ones only.
    new = [each for each in world.test if each.target not in each.items]
    found = recommender.generate_many(new, 3)
    hits = [each.target in items for each, items in zip(new, found, strict=True)]
    assert np.mean(hits) > 0.7


def test_where_nothing_follows_nothing_is_found(
    kind: BackboneKind, chains: Callable[[float], Dataset], quick: BackboneConfig
) -> None:
    noise = chains(0.0)
    popularity = mean_ndcg(PopularityRanker.fit(noise.train), noise)
    for offset in (0.0, 0.75):
        config = quick.model_copy(update={"popularity_offset": offset})
        recommender = BackboneTrainer(kind, config).fit(
            noise.train, noise.valid, noise.catalog, seed=1
        )
        assert mean_ndcg(recommender, noise) < popularity + 0.02


def test_fame_that_is_taken_for_granted_is_not_learnt_again(
    kind: BackboneKind, chains: Callable[[float], Dataset], quick: BackboneConfig
) -> None:
    noise = chains(0.0)
    config = quick.model_copy(update={"popularity_offset": 1.0})
    recommender = BackboneTrainer(kind, config).fit(noise.train, (), noise.catalog, seed=1)
    alone, with_fame = (
        np.corrcoef(scores.mean(dim=0).numpy(), recommender.log_counts.numpy())[0, 1]
        for scores in (
            recommender.scores(noise.test),
            recommender.scores(noise.test) + recommender.popularity,
        )
    )
    assert abs(alone) < 0.6
    assert with_fame > 0.8
