"""Both backbones on MovieLens-100K beside what needs no training and beside RecTools' SASRec.

RecTools asks for other versions than agentrec does. Install it apart,
``python -m venv DIR && DIR/bin/pip install 'rectools[torch]'``, and name its interpreter in
``AGENTREC_BENCH_RECTOOLS``; without it that row is left out. ``AGENTREC_BENCH_SEEDS`` is how many
seeds, each of negatives and training alike; ``AGENTREC_BENCH_SPLIT=valid`` looks at validation
sessions only, which is where to try things out.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from agentrec.data import Dataset, load_movielens
from agentrec.evaluation.baselines import ItemKNNRanker, PopularityRanker, Ranker
from agentrec.evaluation.intervals import bootstrap_intervals
from agentrec.evaluation.metrics import METRICS, as_ranks, score_sessions
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.sessions import Session

SEEDS = range(int(os.environ.get("AGENTREC_BENCH_SEEDS", "3")))
SPLIT = os.environ.get("AGENTREC_BENCH_SPLIT", "test")
RECTOOLS = os.environ.get("AGENTREC_BENCH_RECTOOLS")
KINDS: tuple[BackboneKind, ...] = ("sasrec", "gru4rec")

# Chosen on validation sessions, as ours are; the rest is RecTools' own. It learns nothing but
# popularity for some epochs, and needs patience.
RECTOOLS_PATIENCE = 30
RECTOOLS_SASREC = {
    "n_blocks": 2,
    "n_heads": 1,
    "n_factors": 64,
    "dropout_rate": 0.5,
    "lr": 0.003,
    "session_max_len": 10,
}

Scores = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@pytest.mark.bench
@pytest.mark.enable_socket
@pytest.mark.filterwarnings("default")
def test_backbones_beside_simple_rankers_and_rectools(tmp_path: Path) -> None:
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
        if RECTOOLS is not None:
            told = rectools(data, sessions, seed, tmp_path)
            scores.setdefault("rectools sasrec", []).append(scored(told["ranks"][SPLIT]))
            seconds.setdefault("rectools sasrec", []).append(told["seconds"])
        print(f"seed {seed}: done")
    print_tables(scores, seconds, found)
    if RECTOOLS is None:
        print("no row of RecTools: AGENTREC_BENCH_RECTOOLS names no interpreter that has it")
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


def rectools(data: Dataset, sessions: Sequence[Session], seed: int, folder: Path):
    ours = BackboneConfig()
    task = {
        "train": [[*each.items, each.target] for each in data.train],
        "valid": [plain(each) for each in data.valid],
        "rank": {SPLIT: [plain(each) for each in sessions]},
        "model": RECTOOLS_SASREC,
        "seed": seed,
        "epochs": ours.epochs,
        "patience": RECTOOLS_PATIENCE,
        "selection_window": ours.selection_window,
    }
    (folder / "task.json").write_text(json.dumps(task))
    worker = Path(__file__).with_name("rectools_sasrec.py")
    subprocess.run(
        [str(RECTOOLS), str(worker), str(folder / "task.json"), str(folder / "answer.json")],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return json.loads((folder / "answer.json").read_text())


def plain(session: Session) -> Mapping[str, object]:
    return session.model_dump(include={"items", "target", "candidates"})


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
        told = "".join(
            f"{each.mean:.3f} [{each.low:.3f}, {each.high:.3f}]  "
            for each in bootstrap_intervals(columns, seed=0)
        )
        print(f"{name:<18}{told}" + " ".join(f"{rows[:, 0].mean():.3f}" for rows in scores[name]))
    reference = "rectools sasrec" if "rectools sasrec" in means else "item_knn"
    print(f"\nndcg@10 minus that of {reference}, paired; training time in its seconds")
    for name, columns in means.items():
        (gain,) = bootstrap_intervals((columns - means[reference])[:, :1], seed=0)
        taken = ""
        if name in seconds and reference in seconds:
            taken = f"{np.sum(seconds[name]) / np.sum(seconds[reference]):.2f}"
        share = columns[:, 0].mean() / means[reference][:, 0].mean()
        print(
            f"{name:<18}{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]   {share:.0%}  {taken}"
        )
    for name, shares in found.items():
        print(f"{name}: target among 50 generated of the whole catalogue: {np.mean(shares):.3f}")
