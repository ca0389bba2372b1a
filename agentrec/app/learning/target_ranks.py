"""Ranks of the target on test sessions, for every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agentrec.assembly import CatalogKnowledge
from agentrec.components import Components
from agentrec.data import Dataset
from agentrec.evaluation.baselines import (
    ItemKNNRanker,
    PopularityRanker,
    RandomRanker,
    Ranker,
    TextSimilarityRanker,
)
from agentrec.graphs.recommendation.graph import RecommendationInput, build_recommendation_graph
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.rankings import Ranking
from agentrec.sessions import Session
from agentrec.streaming.stream import map_concurrently

DIFFERENCES = (
    ("policy", "no_hint"),
    ("policy", "best_single_hint"),
    ("policy", "random_hint"),
    ("best_single_hint", "no_hint"),
    ("noise_control", "no_hint"),
    ("noise_control", "best_single_hint"),
    ("policy", "noise_control"),
)


def baselines(
    dataset: Dataset,
    knowledge: CatalogKnowledge,
    seed: int,
    backbone: SequentialRecommender | None = None,
) -> dict[str, Ranker]:
    """What ranks without a language model, by its name.

    Args:
        dataset: The training sessions are learnt from.
        knowledge: What is known of the items.
        seed: Of whatever is drawn by lot.
        backbone: The run's sequential recommender, if it has one.
    """
    ids = dataset.catalog.item_ids
    rankers: dict[str, Ranker] = {
        "random": RandomRanker(seed),
        "popularity": PopularityRanker(knowledge.counts, seed),
        "item_knn": ItemKNNRanker(dataset.train, ids, seed=seed),
        "text_similarity": TextSimilarityRanker(ids, knowledge.text_vectors, seed=seed),
    }
    return rankers if backbone is None else {**rankers, backbone.backbone_kind: backbone}


def baseline_ranks(
    rankers: Mapping[str, Ranker], sessions: Sequence[Session]
) -> dict[str, list[int | None]]:
    """Rank of each session's target under each of them."""
    return {
        name: [_rank_in(ranker.rank(session), session) for session in sessions]
        for name, ranker in rankers.items()
    }


async def policy_rankings(
    sessions: Sequence[Session],
    components: Components,
    concurrency: int,
    on_done: Callable[[], None],
) -> list[Ranking]:
    """What the recommendation graph recommends to each session with some components.

    Raises:
        ModelCallError: If a call failed for good.
    """
    graph = build_recommendation_graph()

    async def recommended(session: Session) -> Ranking:
        state = await graph.ainvoke(RecommendationInput(session=session), context=components)
        ranking: Ranking = state["ranking"]
        return ranking

    return await map_concurrently(sessions, recommended, concurrency, on_done)


def target_ranks(sessions: Sequence[Session], rankings: Sequence[Ranking]) -> list[int | None]:
    """Rank of each session's target in the ranking made for it."""
    pairs = zip(sessions, rankings, strict=True)
    return [_rank_in(ranking.item_ids, session) for session, ranking in pairs]


def _rank_in(ranked: Sequence[str], session: Session) -> int | None:
    target = session.target
    return ranked.index(target) + 1 if target is not None and target in ranked else None
