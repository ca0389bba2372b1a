"""Metrics of rankings, by hand and by their definitions."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrec.evaluation import metrics
from agentrec.evaluation.metrics import (
    METRICS,
    as_ranks,
    average_precision,
    multi_target_ndcg,
    ndcg,
    ndcg_of_ranks,
    ranking_value,
    score_sessions,
)

some_rank = st.one_of(st.none(), st.integers(1, 60))


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(metrics).failed == 0


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        (1, (1.0, 1.0, 1.0)),
        (2, (1 / math.log2(3), 1.0, 0.5)),
        (10, (1 / math.log2(11), 1.0, 0.1)),
        (11, (0.0, 0.0, 0.0)),
        (None, (0.0, 0.0, 0.0)),
    ],
)
def test_computed_by_hand(rank: int | None, expected: tuple[float, ...]) -> None:
    assert ndcg(rank) == pytest.approx(expected[0], abs=0)
    scores = score_sessions(as_ranks([rank]))
    assert tuple(scores) == METRICS == ("ndcg@10", "hr@10", "mrr")
    assert [float(scores[metric][0]) for metric in METRICS] == pytest.approx(expected, abs=0)


@given(st.lists(some_rank, max_size=30))
def test_arrays_agree_with_single_values_and_stay_in_range(ranks: list[int | None]) -> None:
    scores = score_sessions(as_ranks(ranks))
    assert scores["ndcg@10"].tolist() == [ndcg(rank) for rank in ranks]
    assert np.all(scores["mrr"] <= scores["ndcg@10"])
    assert np.all(scores["ndcg@10"] <= scores["hr@10"])


def test_impossible_ranks_are_refused() -> None:
    for rank in (0, -1):
        with pytest.raises(ValueError, match="rank"):
            as_ranks([1, rank])
    with pytest.raises(ValueError, match="rank"):
        ndcg_of_ranks(np.array([-1]))


SomeRanks = Sequence[int | None]
MEASURES: list[Callable[..., float]] = [multi_target_ndcg, average_precision, ranking_value]


@st.composite
def rankings(draw: st.DrawFn) -> list[int | None]:
    """Ranks of relevant items, some of them not in the list."""
    found = draw(st.lists(st.integers(1, 14), max_size=6, unique=True))
    missing: list[int | None] = [None] * draw(st.integers(0 if found else 1, 3))
    return draw(st.permutations([*found, *missing]))


@pytest.mark.parametrize(
    ("ranks", "k", "gain", "precision"),
    [
        ([1], 10, 1, 1),
        ([2], 10, 1 / math.log2(3), 1 / 2),
        ([10], 10, 1 / math.log2(11), 1 / 10),
        ([11], 10, 0, 0),
        ([None], 10, 0, 0),
        ([2, 1], 10, 1, 1),
        # 1 + 1/2 of the 1 + 1/log2(3) that are possible; 1/1 and 2/3.
        ([3, 1], 10, 1.5 / (1 + 1 / math.log2(3)), (1 + 2 / 3) / 2),
        ([4, 1], 10, (1 + 1 / math.log2(5)) / (1 + 1 / math.log2(3)), (1 + 2 / 4) / 2),
        # What is not in the list is missed, and so is what stands behind the cutoff.
        ([None, 1], 10, 1 / (1 + 1 / math.log2(3)), 1 / 2),
        ([12, 1], 10, 1 / (1 + 1 / math.log2(3)), 1 / 2),
        # Of three relevant items two fit among the first two.
        ([1, 2, 3], 2, 1, 1),
        ([1, None, 5], 2, 1 / (1 + 1 / math.log2(3)), 1 / 2),
        ([2, 3, None], 2, 1 / math.log2(3) / (1 + 1 / math.log2(3)), 1 / 4),
    ],
)
def test_values_are_those_that_are_computed_by_hand(
    ranks: SomeRanks, k: int, gain: float, precision: float
) -> None:
    assert multi_target_ndcg(ranks, k) == pytest.approx(gain)
    assert average_precision(ranks, k) == pytest.approx(precision)
    assert ranking_value(ranks, k) == pytest.approx((gain + precision) / 2)


def dcg(relevance: Sequence[bool]) -> float:
    return sum(hit / math.log2(at + 1) for at, hit in enumerate(relevance, start=1))


@given(rankings(), st.integers(1, 12))
def test_values_are_what_the_definitions_say(ranks: list[int | None], k: int) -> None:
    hits = [at in ranks for at in range(1, 15)][:k]
    # The best that so many relevant items can be worth, of all ways to place them.
    count = min(len(ranks), k)
    best = dcg([True] * count + [False] * (k - count))
    assert multi_target_ndcg(ranks, k) == pytest.approx(dcg(hits) / best)
    precisions = [sum(hits[:at]) / at for at in range(1, k + 1) if hits[at - 1]]
    assert average_precision(ranks, k) == pytest.approx(sum(precisions) / count)


@given(rankings(), st.integers(1, 12))
def test_the_order_of_the_items_does_not_matter_and_values_are_shares(
    ranks: list[int | None], k: int
) -> None:
    for measure in MEASURES:
        value = measure(ranks, k)
        # Rewards are refused beyond 1.
        assert 0 <= value <= 1
        assert measure(ranks[::-1], k) == pytest.approx(value)


@given(rankings(), st.integers(1, 12), st.data())
def test_further_up_is_worth_more(ranks: list[int | None], k: int, data: st.DataObject) -> None:
    chosen = data.draw(st.integers(0, len(ranks) - 1))
    rank = ranks[chosen] or 15
    free = [at for at in range(1, rank) if at not in ranks]
    if not free:
        return
    better = data.draw(st.sampled_from(free))
    moved = [*ranks[:chosen], better, *ranks[chosen + 1 :]]
    for measure in MEASURES:
        if better <= k:
            assert measure(moved, k) > measure(ranks, k)
        else:
            assert measure(moved, k) == pytest.approx(measure(ranks, k))


@given(st.none() | st.integers(1, 30))
def test_with_one_relevant_item_it_is_the_metric_of_reports(rank: int | None) -> None:
    assert multi_target_ndcg([rank]) == pytest.approx(ndcg(rank))
    assert average_precision([rank]) == (1 / rank if rank and rank <= 10 else 0)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("ranks", "k", "result"),
    [
        ([], 10, "no item is relevant"),
        ([1], 0, "k is at least 1"),
        ([0], 10, "at least 1, or None"),
    ],
)
def test_what_cannot_be_valued_is_refused(
    measure: Callable[..., float], ranks: SomeRanks, k: int, result: str
) -> None:
    with pytest.raises(ValueError, match=result):
        measure(ranks, k)
