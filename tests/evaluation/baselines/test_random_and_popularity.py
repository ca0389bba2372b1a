from collections import Counter

from agentrec.evaluation.baselines import PopularityRanker, RandomRanker
from agentrec.sessions import Session


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
