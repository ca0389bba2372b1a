"""Rankers without a language model."""

import math
import random
import time
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
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
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
        "item_knn": ItemKNNRanker(TRAIN, IDS),
        "text_similarity": TextSimilarityRanker(IDS, vectors),
    }


every_ranker = pytest.mark.parametrize("name", list(rankers()))


@every_ranker
def test_all_candidates_come_back_once(name: str) -> None:
    ranker = rankers()[name]
    for each in some_sessions(10, seed=2):
        assert sorted(ranker.rank(each)) == sorted(each.candidates)
    assert ranker.rank(Session(session_id="s", items=("i1",))) == ()


@every_ranker
def test_only_history_and_candidates_matter_in_any_order(name: str) -> None:
    ranker, again = rankers()[name], rankers()[name]
    lot = random.Random(3)
    for each in some_sessions(10, seed=4):
        candidates = list(each.candidates)
        lot.shuffle(candidates)
        shuffled = each.model_copy(update={"candidates": tuple(candidates)})
        hidden = each.model_copy(update={"target": None})
        other = each.model_copy(update={"target": candidates[0]})
        expected = again.rank(each)
        assert ranker.rank(shuffled) == ranker.rank(hidden) == ranker.rank(other) == expected


def session(number: int, candidates: str = "abcde", items: str = "x") -> Session:
    return Session(session_id=str(number), items=tuple(items), candidates=tuple(candidates))


def seen(number: int, items: str, target: str | None = None) -> Session:
    return Session(session_id=str(number), items=tuple(items), target=target)


def test_at_random_every_item_is_first_equally_often() -> None:
    ranker = RandomRanker(seed=1)
    first = Counter(ranker.rank(session(number))[0] for number in range(2_000))
    # 400 each; the standard deviation of a count is 18.
    assert all(310 < first[item_id] < 490 for item_id in "abcde")
    assert len({RandomRanker(seed).rank(session(0)) for seed in range(20)}) > 10


def test_the_most_frequent_item_comes_first_and_unknown_ones_last() -> None:
    ranker = PopularityRanker({"b": 5, "d": 7, "a": 1})
    assert ranker.rank(session(0))[:3] == ("d", "b", "a")


def test_a_session_counts_once_for_each_of_its_items() -> None:
    train = [seen(1, "aaa", "b"), seen(2, "bc")]
    assert PopularityRanker.fit(train).rank(session(0, "abc"))[0] == "b"
    equal = {PopularityRanker.fit(train).rank(session(n, "ac")) for n in range(30)}
    assert equal == {("a", "c"), ("c", "a")}


def test_similarities_computed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # a is in 3 sessions, b in 2, c in 2; a and b share 2, a and c share 1.
    train = [seen(0, "ab"), seen(1, "a", "b"), seen(2, "aac"), seen(3, "c")]
    ranker = ItemKNNRanker(train, "abcd")
    assert ranker.similarities("a") == pytest.approx(
        {"b": 2 / (math.sqrt(6) + 1), "c": 1 / (math.sqrt(6) + 1)}
    )
    assert ranker.similarities("d") == {}
    monkeypatch.setattr(ItemKNNRanker, "NEIGHBOURS", 1)
    assert list(ItemKNNRanker(train, "abcd").similarities("a")) == ["b"]


def test_planted_pairs_are_found() -> None:
    lot = random.Random(0)
    noise = [f"n{number}" for number in range(200)]
    train = []
    for number in range(300):
        items = lot.sample(noise, 5)
        pair = number % 30
        if number < 150:
            items += [f"left{pair}"]
        train.append(
            Session(
                session_id=f"t{number}",
                items=tuple(lot.sample(items, len(items))),
                target=f"right{pair}" if number < 150 else lot.choice(noise),
            )
        )
    ids = [*noise, *(f"{side}{pair}" for side in ("left", "right") for pair in range(30))]
    ranker = ItemKNNRanker(train, ids)
    for pair in range(30):
        candidates = (*lot.sample(noise, 20), *(f"right{other}" for other in range(30)))
        items = (noise[pair], f"left{pair}")
        ranked = ranker.rank(Session(session_id=f"v{pair}", items=items, candidates=candidates))
        assert ranked[0] == f"right{pair}"


@pytest.mark.parametrize(("items", "first"), [("ab", "y"), ("ba", "x"), ("oafffffffff", "x")])
def test_recent_items_count_more_and_the_eleventh_not_at_all(items: str, first: str) -> None:
    ranker = ItemKNNRanker([seen(0, "ax"), seen(1, "by"), seen(2, "oz")], "abxyzof")
    assert ranker.rank(session(0, "xyz", items))[0] == first


def test_a_large_catalogue_is_quick() -> None:
    lot = random.Random(1)
    ids = [str(number) for number in range(10_197)]
    train = [
        Session(session_id=str(number), items=tuple(lot.sample(ids, 40))) for number in range(500)
    ]
    started = time.process_time()
    ranker = ItemKNNRanker(train, ids)
    for number in range(100):
        items, candidates = tuple(lot.sample(ids, 10)), tuple(lot.sample(ids, 50))
        ranker.rank(Session(session_id=str(number), items=items, candidates=candidates))
    assert time.process_time() - started < 5.0  # it takes a tenth of a second


def test_an_unknown_item_in_training_is_named() -> None:
    with pytest.raises(ValueError, match="'z'"):
        ItemKNNRanker([seen(0, "az")], "ab")


TITLES = {
    "1": "Star Trek: The Motion Picture",
    "2": "Star Trek: The Wrath of Khan",
    "3": "Star Trek: First Contact",
    "4": "Muppet Treasure Island",
    "5": "Pulp Fiction",
    "6": "Four Weddings and a Funeral",
    "7": "Nothing",
}


def test_titles_that_share_words_come_first() -> None:
    vectors = np.array(HashedWordEmbeddings(256).embed_documents(list(TITLES.values())))
    ranker = TextSimilarityRanker(list(TITLES), vectors)
    assert ranker.rank(session(0, "45637", "12"))[0] == "3"


def test_text_similarities_computed_by_hand() -> None:
    # Profile of a then b: b + 0.9 a. Cosines: a .669, b .743, c -.743, d .999, e 0.
    vectors = np.array([[1.0, 0.0], [0.0, 7.0], [0.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
    ranker = TextSimilarityRanker("abcde", vectors)
    assert ranker.rank(session(0, "abcde", "ab")) == ("d", "b", "a", "e", "c")
    assert ranker.rank(session(0, "ab", "ba")) == ("a", "b")


def test_only_the_last_ten_texts_count() -> None:
    ranker = TextSimilarityRanker("abc", np.eye(3))
    ties = {ranker.rank(session(number, "ab", "a" + "c" * 10)) for number in range(30)}
    assert len(ties) == 2


def test_vectors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one vector an item"):
        TextSimilarityRanker("abc", np.eye(2))
    with pytest.raises(ValueError, match="finite"):
        TextSimilarityRanker("ab", np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match="twice"):
        TextSimilarityRanker("aa", np.eye(2))
    with pytest.raises(ValueError, match="'z' has no vector"):
        TextSimilarityRanker("ab", np.eye(2)).rank(session(0, "ab", "z"))
