"""What holds for each baseline."""

import random
from collections import Counter

import numpy as np
import pytest

from agentrec.evaluation.baselines import (
    ItemKNNRanker,
    PopularityRanker,
    RandomRanker,
    Ranker,
    TextSimilarityRanker,
)
from agentrec.sessions import Session

IDS = [f"i{number}" for number in range(60)]


def some_sessions(count: int, seed: int) -> list[Session]:
    lot = random.Random(seed)
    sessions = []
    for number in range(count):
        chosen = lot.sample(IDS, 30)
        sessions.append(
            Session(
                session_id=f"{seed}-{number}",
                items=tuple(chosen[:6]),
                target=chosen[6],
                candidates=tuple(sorted(chosen[6:])),
            )
        )
    return sessions


TRAIN = some_sessions(40, seed=1)


def rankers() -> dict[str, Ranker]:
    # Half of the items look the same, so that ties are frequent.
    vectors = np.random.default_rng(0).integers(0, 2, size=(60, 2)).astype(float)
    return {
        "random": RandomRanker(seed=0),
        "popularity": PopularityRanker.fit(TRAIN),
        "item_knn": ItemKNNRanker(TRAIN, IDS, neighbours=5),
        "text_similarity": TextSimilarityRanker(IDS, vectors),
    }


every_ranker = pytest.mark.parametrize("name", list(rankers()))


@every_ranker
def test_all_candidates_come_back_once(name: str) -> None:
    ranker = rankers()[name]
    for session in some_sessions(10, seed=2):
        assert sorted(ranker.rank(session)) == sorted(session.candidates)
    assert ranker.rank(Session(session_id="s", items=("i1",))) == ()


@every_ranker
def test_neither_the_order_of_candidates_nor_the_target_matters(name: str) -> None:
    ranker = rankers()[name]
    lot = random.Random(3)
    for session in some_sessions(10, seed=4):
        candidates = list(session.candidates)
        lot.shuffle(candidates)
        shuffled = session.model_copy(update={"candidates": tuple(candidates)})
        hidden = session.model_copy(update={"target": None})
        other = session.model_copy(update={"target": candidates[0]})
        expected = ranker.rank(session)
        assert ranker.rank(shuffled) == ranker.rank(hidden) == ranker.rank(other) == expected


@every_ranker
def test_a_second_ranker_made_alike_ranks_alike(name: str) -> None:
    session = some_sessions(1, seed=5)[0]
    assert rankers()[name].rank(session) == rankers()[name].rank(session)


def session(number: int, candidates: str = "abcde", items: str = "x") -> Session:
    return Session(session_id=str(number), items=tuple(items), candidates=tuple(candidates))


def test_every_item_is_first_equally_often() -> None:
    ranker = RandomRanker(seed=1)
    first = Counter(ranker.rank(session(number))[0] for number in range(2_000))
    # 400 each; the standard deviation of a count is 18.
    assert all(310 < first[item_id] < 490 for item_id in "abcde")


def test_another_seed_is_another_order() -> None:
    orders = {RandomRanker(seed).rank(session(0)) for seed in range(20)}
    assert len(orders) > 10


def test_the_most_frequent_item_comes_first_and_unknown_ones_last() -> None:
    ranker = PopularityRanker({"b": 5, "d": 7, "a": 1})
    assert ranker.rank(session(0))[:3] == ("d", "b", "a")


def test_a_session_counts_once_for_each_of_its_items() -> None:
    train = [
        Session(session_id="1", items=("a", "a", "a"), target="b"),
        Session(session_id="2", items=("b", "c"), target=None),
    ]
    assert PopularityRanker.fit(train).rank(session(0, "abc"))[0] == "b"
    equal = {PopularityRanker.fit(train).rank(session(n, "ac")) for n in range(30)}
    assert equal == {("a", "c"), ("c", "a")}
