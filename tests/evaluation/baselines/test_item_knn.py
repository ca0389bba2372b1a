import math
import random
import time

import pytest

from agentrec.evaluation.baselines import ItemKNNRanker
from agentrec.sessions import Session


def seen(number: int, items: str, target: str | None = None) -> Session:
    return Session(session_id=str(number), items=tuple(items), target=target)


def test_similarities_computed_by_hand() -> None:
    # a is in 3 sessions, b in 2, c in 2; a and b share 2, a and c share 1.
    train = [seen(0, "ab"), seen(1, "a", "b"), seen(2, "aac"), seen(3, "c")]
    ranker = ItemKNNRanker(train, "abcd", shrinkage=1.0)
    assert ranker.similarities("a") == pytest.approx(
        {"b": 2 / (math.sqrt(6) + 1), "c": 1 / (math.sqrt(6) + 1)}
    )
    assert list(ItemKNNRanker(train, "abcd", neighbours=1).similarities("a")) == ["b"]
    assert ranker.similarities("d") == {}


def test_a_planted_company_is_found() -> None:
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
        session = Session(
            session_id=f"v{pair}", items=(noise[pair], f"left{pair}"), candidates=candidates
        )
        assert ranker.rank(session)[0] == f"right{pair}"


def test_recent_items_count_more_and_old_ones_not_at_all() -> None:
    train = [seen(0, "ax"), seen(1, "by"), seen(2, "oz")]
    ids = "abxyzof"
    ranker = ItemKNNRanker(train, ids, decay=0.5)

    def first(items: str) -> str:
        return ranker.rank(Session(session_id="s", items=tuple(items), candidates=("x", "y", "z")))[
            0
        ]

    assert first("ab") == "y"
    assert first("ba") == "x"
    # o stands eleven places back, behind ten items of which only the oldest says anything.
    assert first("oafffffffff") == "x"


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


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="neighbours"):
        ItemKNNRanker([], "ab", neighbours=0)
    with pytest.raises(ValueError, match="shrinkage"):
        ItemKNNRanker([], "ab", shrinkage=-1.0)
    for decay in (0.0, 1.1):
        with pytest.raises(ValueError, match="decay"):
            ItemKNNRanker([], "ab", decay=decay)
