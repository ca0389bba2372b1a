"""Progress: quantiles are near the true ones, and counts of processes add up."""

from __future__ import annotations

import numpy as np
import pytest

from agentrec.batch.progress import BatchProgress, Latencies, ProgressCounter


def counted(seconds: list[float]) -> Latencies:
    counter = ProgressCounter()
    for one in seconds:
        counter.count_done(one)
    assert counter.done == len(seconds)
    return counter.progress(0, None).latencies


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_are_within_one_percent(share: float) -> None:
    seconds = np.random.default_rng(0).lognormal(0.0, 2.0, 5000).tolist()
    true = float(np.quantile(seconds, share, method="inverted_cdf"))
    assert counted(seconds).quantile(share) == pytest.approx(true, rel=0.011)


def test_the_sum_of_two_counts_is_the_count_of_both() -> None:
    one, other = [0.1, 0.2, 3.0], [0.2, 50.0, 0.0]
    assert counted(one) + counted(other) == counted(one + other)
    assert (Latencies() + Latencies()).quantile(0.9) == 0.0


def test_what_a_successor_skipped_is_counted_once() -> None:
    before = BatchProgress(done=3, failed={"refused": 1}, skipped=10, tokens=5, money=0.5)
    after = before.then(BatchProgress(done=2, skipped=14, tokens=1, money=None))
    assert (after.attempted, after.skipped, after.rows) == (6, 10, 16)
    assert (after.tokens, after.money) == (6, None)
