import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrec.evaluation import metrics
from agentrec.evaluation.metrics import (
    METRICS,
    as_ranks,
    hit,
    ndcg,
    ndcg_of_ranks,
    reciprocal_rank,
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
    assert (ndcg(rank), hit(rank), reciprocal_rank(rank)) == pytest.approx(expected, abs=0)
    scores = score_sessions(as_ranks([rank]))
    assert tuple(scores) == METRICS == ("ndcg@10", "hr@10", "mrr")
    assert [float(scores[metric][0]) for metric in METRICS] == pytest.approx(expected, abs=0)


def test_another_cutoff() -> None:
    assert (ndcg(3, k=2), hit(3, k=3), reciprocal_rank(20, k=50)) == (0.0, 1.0, 0.05)


@given(st.lists(some_rank, max_size=30))
def test_arrays_agree_with_single_values_and_stay_in_range(ranks: list[int | None]) -> None:
    scores = score_sessions(as_ranks(ranks))
    assert scores["ndcg@10"].tolist() == [ndcg(rank) for rank in ranks]
    assert scores["hr@10"].tolist() == [hit(rank) for rank in ranks]
    assert scores["mrr"].tolist() == [reciprocal_rank(rank) for rank in ranks]
    assert np.all(scores["mrr"] <= scores["ndcg@10"])
    assert np.all(scores["ndcg@10"] <= scores["hr@10"])


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_better_rank_is_never_worth_less(one: int, other: int) -> None:
    better, worse = sorted((one, other))
    assert ndcg(better) >= ndcg(worse)


def test_impossible_ranks_and_cutoffs_are_refused() -> None:
    for rank in (0, -1):
        with pytest.raises(ValueError, match="rank"):
            as_ranks([1, rank])
    with pytest.raises(ValueError, match="rank"):
        ndcg_of_ranks(np.array([-1]))
    with pytest.raises(ValueError, match="k is"):
        ndcg(1, k=0)
