"""Both backbones on MovieLens-100K beside rankers that need no training.

``AGENTREC_BENCH_SEEDS`` is the number of seeds, each of negatives and training alike;
``AGENTREC_BENCH_SPLIT=valid`` uses validation sessions, for trying things out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from agentrec.data import load_movielens
from agentrec.evaluation.baselines import ItemKNNRanker, PopularityRanker, Ranker
from agentrec.evaluation.intervals import bootstrap_intervals
from agentrec.evaluation.metrics import METRICS, as_ranks, score_sessions
from agentrec.policies.sequential.config import BackboneKind
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.sessions import Session

SEEDS = range(int(os.environ.get("AGENTREC_BENCH_SEEDS", "3")))
SPLIT = os.environ.get("AGENTREC_BENCH_SPLIT", "test")
KINDS: tuple[BackboneKind, ...] = ("sasrec", "gru4rec")

Scores = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@pytest.mark.bench
@pytest.mark.enable_socket
@pytest.mark.filterwarnings("default")
def test_backbones_beside_simple_rankers() -> None:
    torch.set_num_threads(1)
    scores: dict[str, list[Scores]] = {}
    seconds: dict[str, list[float]] = {}
    found: dict[str, list[float]] = {}
    for seed in SEEDS:
        data = load_movielens(negatives="popularity", seed=seed)
        sessions = data.valid if SPLIT == "valid" else data.test
        rankers: dict[str, Ranker] = {
            "popularity": PopularityRanker.fit(data.train),
            "item_knn": ItemKNNRanker(data.train, data.catalog.item_ids),
        }
        for kind in KINDS:
            started = time.perf_counter()
            recommender = BackboneTrainer(kind).fit(data.train, data.valid, data.catalog, seed=seed)
            seconds.setdefault(kind, []).append(time.perf_counter() - started)
            rankers[kind] = recommender
            found.setdefault(kind, []).append(recall(recommender, sessions))
        for name, ranker in rankers.items():
            scores.setdefault(name, []).append(scored(ranks_of(ranker, sessions)))
        print(f"seed {seed}: done")
    print_tables(scores, seconds, found)
    for kind in KINDS:
        assert np.mean(scores[kind]) > np.mean(scores["popularity"])


def ranks_of(ranker: Ranker, sessions: Sequence[Session]) -> list[int]:
    return [ranker.rank(each).index(str(each.target)) + 1 for each in sessions]


def scored(ranks: Sequence[int]) -> Scores:
    """Every metric of every session, ``[sessions, metrics]``."""
    by_metric = score_sessions(as_ranks(ranks))
    return np.stack([by_metric[metric] for metric in METRICS], axis=1)


def recall(recommender: SequentialRecommender, sessions: Sequence[Session], count: int = 50):
    items = recommender.generate_many(sessions, count)
    return float(np.mean([s.target in own for s, own in zip(sessions, items, strict=True)]))


def print_tables(
    scores: Mapping[str, Sequence[Scores]],
    seconds: Mapping[str, Sequence[float]],
    found: Mapping[str, Sequence[float]],
) -> None:
    """Means over seeds with intervals over sessions, which are the same for all seeds."""
    means = {name: np.mean(rows, axis=0) for name, rows in scores.items()}
    first = next(iter(means.values()))
    print(f"\nMovieLens-100K, {len(first)} {SPLIT} sessions, {len(SEEDS)} seeds")
    print(f"{'':<18}" + "".join(f"{metric:<22}" for metric in METRICS) + "ndcg@10 by seed")
    for name, columns in means.items():
        shown = "".join(
            f"{each.mean:.3f} [{each.low:.3f}, {each.high:.3f}]  "
            for each in bootstrap_intervals(columns, seed=0)
        )
        print(f"{name:<18}{shown}" + " ".join(f"{rows[:, 0].mean():.3f}" for rows in scores[name]))
    print("\nndcg@10 minus that of item_knn, paired; training time")
    for name, columns in means.items():
        (gain,) = bootstrap_intervals((columns - means["item_knn"])[:, :1], seed=0)
        taken = f"{np.mean(seconds[name]):.0f} s" if name in seconds else ""
        share = columns[:, 0].mean() / means["item_knn"][:, 0].mean()
        print(
            f"{name:<18}{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]   {share:.0%}  {taken}"
        )
    for name, shares in found.items():
        print(f"{name}: target among 50 generated of the whole catalogue: {np.mean(shares):.3f}")
